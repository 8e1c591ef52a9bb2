import { type GatewayError, gatewayError } from "../dialect/GatewayError.ts"
import type { HeaderMap, Upstream } from "../upstream/Upstream.ts"

type Models = Upstream["Service"]["models"]
type Model = Models[number]

/** Whether a caller sends the headers of Anthropic's clients, and so reads what Anthropic would answer. */
export const isAnthropicCaller = (headers: HeaderMap): boolean =>
  headers["anthropic-version"] !== undefined || headers["x-api-key"] !== undefined

/** The models that the unified routes know, in OpenAI's form. */
export const openAiModels = (models: Models): string =>
  JSON.stringify({
    object: "list",
    data: models.map(openAiModel)
  })

const openAiModel = ({ id, provider }: Model) => ({ id, object: "model", created: 0, owned_by: provider })

/** The most models on a page. */
const largestPage = 1000

/** What stands for a time that nobody knows, in Anthropic's own words. */
const unknownTime = "1970-01-01T00:00:00Z"

/**
 * The same in Anthropic's form: https://docs.anthropic.com/en/api/models-list
 *
 * @param query with its question mark, or empty: `limit`, `after_id` and `before_id` are looked at. Without a limit the
 * page is the largest; behind an id that is none of the models' it is empty.
 */
export const anthropicModels = (models: Models, query: string): string => {
  const options = new URLSearchParams(query)
  const asked = options.get("limit") ?? ""
  const limit = /^\d+$/.test(asked) ? Math.min(largestPage, Math.max(1, Number(asked))) : largestPage
  const after = options.get("after_id")
  const before = options.get("before_id")
  const place = (id: string): number => {
    const found = models.findIndex((model) => model.id === id)
    return found === -1 ? models.length : found
  }
  let start = after === null ? 0 : place(after) + 1
  let end = start + limit
  if (before !== null) {
    end = models.some((model) => model.id === before) ? place(before) : 0
    start = Math.max(start, end - limit)
  }
  const page = models.slice(start, end)
  return JSON.stringify({
    data: page.map(anthropicModel),
    has_more: page.length > 0 && (before === null ? end < models.length : start > 0),
    first_id: page[0]?.id ?? null,
    last_id: page.at(-1)?.id ?? null
  })
}

const anthropicModel = ({ id }: Model) => ({ type: "model", id, display_name: id, created_at: unknownTime })

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
