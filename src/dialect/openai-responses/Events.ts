import type { Frame } from "../../wire/Frame.ts"
import { locate } from "../../wire/JsonSpan.ts"

/** Names of the events that end an answer, and how it ended. */
export const terminals: ReadonlyMap<string, "completed" | "incomplete" | "failed"> = new Map([
  ["response.completed", "completed"],
  ["response.incomplete", "incomplete"],
  ["response.failed", "failed"]
])

const prefix = "response."

/** How the data of nearly every event begins. */
const typeFirst = '{"type":"'

/** How far into the data a name is looked for that stands first. */
const headLength = 96

/**
 * What an event is called: the value of its `event:` line or, where that says nothing (over WebSocket there is none),
 * of the `type` in its data. Empty where neither is there. The data is not parsed for it.
 */
export const nameOf = (frame: Frame): string => {
  const { event } = frame
  return event.startsWith(prefix) || event === "error" ? event : typeOf(frame)
}

const typeOf = (frame: Frame): string => {
  const { dataEnd, dataStart, source } = frame
  // Where the frame's cutter had no text at hand, the beginning of the data is enough of it.
  const text = frame.text ?? source.toString("latin1", dataStart, Math.min(dataEnd, dataStart + headLength))
  const start = frame.text === null ? 0 : dataStart
  if (text.startsWith(typeFirst, start)) {
    const end = text.indexOf('"', start + typeFirst.length)
    if (end !== -1 && end - start < headLength) return text.slice(start + typeFirst.length, end)
  }
  const data = frame.dataBytes
  const span = locate(data, ["type"])
  return span === null ? "" : data.toString("utf8", span.start + 1, span.end - 1)
}

/** Whether an event of this name is about the response as a whole, and so may hold a response object. */
export const isAboutResponse = (name: string): boolean =>
  name.startsWith(prefix) && name.indexOf(".", prefix.length) === -1

/** Whether the event is the `[DONE]` that some servers end every kind of stream with. */
export const isDone = (frame: Frame): boolean => {
  const length = frame.dataEnd - frame.dataStart
  return length >= 6 && length < 16 && frame.source[frame.dataStart] === 0x5b && frame.data.trim() === "[DONE]"
}
