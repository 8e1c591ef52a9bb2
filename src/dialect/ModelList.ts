/** A model as lists of models name it. */
export interface ListedModel {
  readonly id: string
  /** ISO 8601; left out where nobody knows it. */
  readonly createdAt?: string
}

/** Whether a caller sends the headers of Anthropic's clients, and so reads lists in Anthropic's form. */
export const isAnthropicCaller = (headers: { readonly [name: string]: unknown }): boolean =>
  headers["anthropic-version"] !== undefined || headers["x-api-key"] !== undefined

/** What stands for a time that nobody knows, in Anthropic's own words. */
const unknownTime = "1970-01-01T00:00:00Z"

/** A model in Anthropic's form: https://docs.anthropic.com/en/api/models */
export const anthropicModel = ({ createdAt, id }: ListedModel): object => ({
  type: "model",
  id,
  display_name: id,
  created_at: createdAt ?? unknownTime
})

/** The most models on a page. */
const largestPage = 1000

/**
 * A page of models in Anthropic's form: https://docs.anthropic.com/en/api/models-list
 *
 * @param query with its question mark, or empty: `limit`, `after_id` and `before_id` are looked at. Without a limit the
 * page is the largest; behind an id that is none of the models' it is empty.
 */
export const anthropicModelPage = (models: ReadonlyArray<ListedModel>, query: string): object => {
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
  return {
    data: page.map(anthropicModel),
    has_more: page.length > 0 && (before === null ? end < models.length : start > 0),
    first_id: page[0]?.id ?? null,
    last_id: page.at(-1)?.id ?? null
  }
}
