import type { DialectName } from "../dialect/Dialect.ts"
import { type GatewayError, gatewayError } from "../dialect/GatewayError.ts"
import { anthropicModel, anthropicModelPage, isAnthropicCaller } from "../dialect/ModelList.ts"
import type { HeaderMap, Upstream } from "../upstream/Upstream.ts"

type Models = Upstream["Service"]["models"]
type Model = Models[number]

export { isAnthropicCaller } from "../dialect/ModelList.ts"

/** The models that a caller can call on the unified routes: those whose providers speak what the caller's clients do. */
export const modelsFor = (upstream: Upstream["Service"], headers: HeaderMap): Models => {
  const dialects: ReadonlyArray<DialectName> = isAnthropicCaller(headers)
    ? ["anthropic-messages"]
    : ["openai-chat", "openai-responses"]
  return upstream.models.filter(({ id }) => dialects.some((dialect) => !("_tag" in upstream.forModel(id, dialect))))
}

/** The models that the unified routes know, in OpenAI's form. */
export const openAiModels = (models: Models): string =>
  JSON.stringify({
    object: "list",
    data: models.map(openAiModel)
  })

const openAiModel = ({ id, provider }: Model) => ({ id, object: "model", created: 0, owned_by: provider })

/**
 * The same in Anthropic's form, a page of them.
 *
 * @param query with its question mark, or empty
 */
export const anthropicModels = (models: Models, query: string): string =>
  JSON.stringify(anthropicModelPage(models, query))

/** What is answered to a caller who asks for one model: it as JSON, in the caller's form, or that there is none. */
export type OneModel =
  | { readonly body: string; readonly error?: never }
  | { readonly body?: never; readonly error: GatewayError }

/**
 * One of the models that the unified routes list.
 *
 * @param path of the unified routes, as it was written. Ids have slashes, which some clients escape: both are taken.
 * @returns `null` where the path is none of a model's
 */
export const modelAt = (models: Models, path: string, headers: HeaderMap): OneModel | null => {
  const id = idIn(path)
  if (id === null) return null
  const model = models.find((one) => one.id === id)
  if (model === undefined) {
    return { error: gatewayError(404, "model_not_found", `The model '${shown(id)}' is not one that /v1/models lists.`) }
  }
  return { body: JSON.stringify(isAnthropicCaller(headers) ? anthropicModel(model) : openAiModel(model)) }
}

const prefix = "/v1/models/"

const idIn = (path: string): string | null => {
  if (!path.startsWith(prefix) || path.length === prefix.length) return null
  const written = path.slice(prefix.length)
  try {
    return decodeURIComponent(written)
  } catch {
    return written
  }
}

/** A client's name for something, as far as it helps: a message is no place for megabytes. */
const shown = (name: string): string => (name.length > 200 ? `${name.slice(0, 200)}…` : name)
