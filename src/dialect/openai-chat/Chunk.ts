import { isObject, type JsonObject } from "../Json.ts"

/** What stands in the `choices` of a chunk or body. */
export const choicesOf = (chunk: JsonObject): ReadonlyArray<unknown> =>
  Array.isArray(chunk.choices) ? chunk.choices : []

/** The delta of each choice; `null` where it has none. */
export const deltasOf = (chunk: JsonObject): ReadonlyArray<JsonObject | null> =>
  choicesOf(chunk).map((choice) => (isObject(choice) && isObject(choice.delta) ? choice.delta : null))

/** Whether a member of a delta says nothing. */
export const isEmpty = (value: unknown): boolean =>
  value === null || value === "" || (Array.isArray(value) && value.length === 0)

/** Whether a choice says why it ends: some providers send an empty reason until there is one. */
export const isFinish = (choice: unknown): boolean =>
  isObject(choice) && typeof choice.finish_reason === "string" && choice.finish_reason !== ""

/** Whether a chunk has something of the answer's end: a finish reason, usage, or an error. */
export const isEnd = (chunk: JsonObject): boolean =>
  isObject(chunk.usage) || (chunk.error !== undefined && chunk.error !== null) || choicesOf(chunk).some(isFinish)

/** The place of the choice with the index 0, which is the first one that gives none too; -1 where there is no such choice. */
export const placeOfFirst = (chunk: JsonObject): number =>
  choicesOf(chunk).findIndex((choice) => isObject(choice) && (typeof choice.index !== "number" || choice.index === 0))

/** The choice at a place of `choices`; `null` where there is none. */
export const choiceAt = (chunk: JsonObject, place: number): JsonObject | null => {
  const choice = choicesOf(chunk)[place]
  return isObject(choice) ? choice : null
}
