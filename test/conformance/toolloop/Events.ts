import { assert } from "@effect/vitest"
import { isObject, type JsonObject } from "../../../src/dialect/Json.ts"

/** An event as a client reads it. */
export interface ReadEvent {
  /** Empty where it has none. */
  readonly name: string
  readonly data: string
}

/** The events of a stream of whole frames, one `data:` line each, `comment` being those that are none. */
export const readEvents = (text: string): ReadonlyArray<ReadEvent | "comment"> => {
  if (text === "") return []
  assert.isTrue(text.endsWith("\n\n"), `the last frame is not whole: ${text.slice(-200)}`)
  return text
    .slice(0, -2)
    .split("\n\n")
    .map((frame) => {
      if (/^:[^\n]*$/.test(frame)) return "comment"
      const read = /^(?:event: ([^\n]+)\n)?data: ([^\n]*)$/.exec(frame)
      assert.isNotNull(read, `no event: ${JSON.stringify(frame)}`)
      return { name: read![1] ?? "", data: read![2]! }
    })
}

export const object = (value: unknown, what: string): JsonObject => {
  if (!isObject(value)) assert.fail(`${what} is no object: ${JSON.stringify(value)}`)
  return value
}

export const list = (value: unknown, what: string): ReadonlyArray<unknown> => {
  if (!Array.isArray(value)) assert.fail(`${what} is no list: ${JSON.stringify(value)}`)
  return value as ReadonlyArray<unknown>
}

export const text = (value: unknown, what: string): string => {
  if (typeof value !== "string") assert.fail(`${what} is no text: ${JSON.stringify(value)}`)
  return value
}

export const count = (value: unknown, what: string): number => {
  if (typeof value !== "number") assert.fail(`${what} is no number: ${JSON.stringify(value)}`)
  return value
}

/**
 * What a request adds to a list of the one before, as objects. Fails where it changes what the list had, or anything else
 * but the choice of tools.
 *
 * @param items reads the list
 */
export const addedTo = (
  before: object,
  after: object,
  member: string,
  items = (value: unknown): ReadonlyArray<unknown> => list(value, member)
): ReadonlyArray<JsonObject> => {
  const { [member]: earlier, tool_choice: _before, ...rest } = before as JsonObject
  const { [member]: later, tool_choice: _after, ...others } = after as JsonObject
  assert.deepStrictEqual(others, rest)
  const known = items(earlier)
  const all = items(later)
  assert.deepStrictEqual(all.slice(0, known.length), known)
  return all.slice(known.length).map((one) => object(one, member))
}

/** A text in three pieces, the first of them a letter; fewer where it is short. */
export const inPieces = (whole: string): ReadonlyArray<string> =>
  [whole.slice(0, 1), whole.slice(1, 4), whole.slice(4)].filter((piece) => piece !== "")

const errorPrefix = "Error: "

/** What a tool answered, in a dialect whose results say in words whether they are errors. */
export const readResult = (callId: string, said: string) => {
  const isError = said.startsWith(errorPrefix)
  return { callId, text: isError ? said.slice(errorPrefix.length) : said, isError }
}
