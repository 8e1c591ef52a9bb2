import type { Frame } from "../../wire/Frame.ts"
import { type Edit, edit, type JsonPath, locateAll, type Span } from "../../wire/JsonSpan.ts"
import { replaceValue } from "../../wire/ReplaceValue.ts"

/** A value of a frame's data, by its span in `dataBytes`, and what is to stand there. */
export interface Replacement {
  /** The member of the root that it is the value of, where that may stand there twice. */
  readonly key?: PlaceKey
  readonly span: Span
  readonly raw: string | Buffer
}

/** The members of an event that say where it has its place. */
export type PlaceKey = "output_index" | "sequence_number" | "response_id"

/** The frame with values of its data replaced by JSON texts of one line; where a `key` stands twice, both. */
export const replaced = (frame: Frame, replacements: ReadonlyArray<Replacement>): Frame => {
  if (replacements.length === 0) return frame
  const data = frame.dataBytes
  const fromBehind = [...replacements].sort((a, b) => b.span.start - a.span.start)
  let result = frame
  for (const { raw, span } of fromBehind)
    result = result.spliceData(span.start, span.end, typeof raw === "string" ? Buffer.from(raw) : raw)
  for (const { key, raw, span } of replacements) {
    if (key === undefined) continue
    // The span is that of the last one.
    const first = data.indexOf(`"${key}"`)
    if (first !== -1 && first + key.length + 2 < span.start - farthestColon)
      result = replaceValue(result, [key], String(raw))
  }
  return result
}

/** How far a value may stand behind its key without another of the same name being looked for before it. */
const farthestColon = 8

/** The frame with `edits` made to its data; the same frame where there are none, or one of them has no place. */
export const edited = (frame: Frame, edits: ReadonlyArray<Edit>): Frame => {
  if (edits.length === 0) return frame
  // Other lines of an event in several stay as they are, as long as no line comes or goes.
  if (frame.lines > 1 && edits.every((change) => change.op === "replace")) {
    return edits.reduce((result, { path, raw }) => replaceValue(result, path, String(raw)), frame)
  }
  const changed = edit(frame.dataBytes, edits)
  return changed === null ? frame : frame.withData(changed)
}

/** The members of an event by which it has its place in the answer; `null` for those it has not. */
export interface Place {
  readonly outputIndex: PlaceNumber | null
  readonly sequence: PlaceNumber | null
  readonly responseId: Span | null
}

/** A number, and where it stands in `dataBytes`. */
export interface PlaceNumber {
  readonly value: number
  readonly span: Span
}

const placeKeys: ReadonlyArray<PlaceKey> = ["output_index", "sequence_number", "response_id"]
const placePaths: ReadonlyArray<JsonPath> = placeKeys.map((key) => [key])

/** Where an event stands in the answer. It is scanned for it, not parsed. */
export const placeOf = (frame: Frame): Place => {
  const data = frame.dataBytes
  const [index, sequence, responseId] = locateAll(data, placePaths)
  return { outputIndex: numberAt(data, index), sequence: numberAt(data, sequence), responseId: responseId ?? null }
}

const numberAt = (data: Buffer, span: Span | null | undefined): PlaceNumber | null => {
  if (!span) return null
  const value = Number(data.toString("latin1", span.start, span.end))
  return Number.isSafeInteger(value) ? { value, span } : null
}

/** Replaces a number of an event's place, if it has it and it is another one. */
export const renumber = (to: Array<Replacement>, key: PlaceKey, number: PlaceNumber | null, value: number): void => {
  if (number !== null && number.value !== value) to.push({ key, span: number.span, raw: String(value) })
}

/** Whether a frame's data may hold a JSON string: it does as it stands, or has escapes by which it might. Nothing is parsed. */
export const mayHold = ({ dataEnd, dataStart, source }: Frame, text: string): boolean => {
  const data = source.subarray(dataStart, dataEnd)
  return data.includes(text) || data.includes("\\u")
}

/** Whether an event may announce the call of a function. */
export const mayBeCall = (frame: Frame): boolean => frame.peek !== undefined || mayHold(frame, '"function_call"')
