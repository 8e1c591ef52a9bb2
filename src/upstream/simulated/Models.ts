import { anthropicModel, anthropicModelPage } from "../../dialect/ModelList.ts"
import { pretty } from "./Dialect.ts"

/** The models that are listed. Any other name is served too, unless it begins with `sim-` and means nothing. */
const models = [
  "sim",
  "sim-slow",
  "sim-reasoning",
  "sim-stall",
  "sim-cut-200",
  "sim-eof-200",
  "sim-malformed",
  "sim-error",
  "sim-429",
  "sim-500",
  "sim-refused"
].map((id) => ({ id, createdAt: "2026-01-01T00:00:00Z" }))

const openAiModel = (id: string) => ({ id, object: "model", created: 1_767_225_600, owned_by: "sluice" })

/** The body of one model. */
export const modelBody = (id: string, isAnthropic: boolean): string =>
  isAnthropic ? JSON.stringify(anthropicModel({ ...models[0]!, id })) : pretty(openAiModel(id))

/**
 * The body of the list.
 *
 * @param query with its question mark, or empty: only Anthropic's lists have pages
 */
export const modelsBody = (query: string, isAnthropic: boolean): string =>
  isAnthropic
    ? JSON.stringify(anthropicModelPage(models, query))
    : pretty({ object: "list", data: models.map(({ id }) => openAiModel(id)) })
