import type { Frame } from "../../wire/Frame.ts"
import { readString } from "../../wire/JsonScan.ts"
import { locate } from "../../wire/JsonSpan.ts"

/** Names of the events that end an answer, and how it ended. */
export const terminals: ReadonlyMap<string, "completed" | "incomplete" | "failed"> = new Map([
  ["response.completed", "completed"],
  ["response.incomplete", "incomplete"],
  ["response.failed", "failed"]
])

const prefix = "response."

/** How the data of nearly every event begins, but for the space that some servers put before its value. */
const typeFirst = '{"type":'

/** How far into the data a name is looked for that stands first. */
const headLength = 96

const quote = 0x22
const space = 0x20

/**
 * What an event is called: the `type` in its data, by which OpenAI's SDKs and Codex read it, or, where it says nothing of
 * that, its `event:` line. Empty where neither is there, or no data. The data is not parsed for it.
 */
export const nameOf = (frame: Frame): string => {
  const { dataEnd, dataStart, event, source } = frame
  if (dataStart === dataEnd) return ""
  // Where the frame's cutter had no text at hand, the beginning of the data is enough of it.
  const text = frame.text ?? source.toString("latin1", dataStart, Math.min(dataEnd, dataStart + headLength))
  const start = frame.text === null ? 0 : dataStart
  if (text.startsWith(typeFirst, start)) {
    let from = start + typeFirst.length
    if (text.charCodeAt(from) === space) from++
    if (text.charCodeAt(from++) === quote) {
      // Nearly always both say the same: then nothing has to be cut out.
      if (event !== "" && text.charCodeAt(from + event.length) === quote && text.startsWith(event, from)) return event
      const end = text.indexOf('"', from)
      const name = end === -1 || end - start > headLength ? "\\" : text.slice(from, end)
      if (!name.includes("\\")) return name
    }
  }
  return laterNameOf(frame)
}

/** The name of an event whose `type` does not stand first, or is written in a way that has to be read. */
const laterNameOf = (frame: Frame): string => {
  const { event } = frame
  const isNamed = event.startsWith(prefix) || event === "error"
  if (isNamed && endsWithType(frame, event)) return event
  const data = frame.dataBytes
  const span = locate(data, ["type"])
  const type = span === null || data[span.start] !== quote ? null : readString(data, span.start, span.end)
  return type ?? (isNamed ? event : "")
}

/** Whether the last member of an event's data is a `type` of this name: some servers write it there. */
const endsWithType = ({ dataEnd, dataStart, source }: Frame, name: string): boolean => {
  const last = `"type":"${name}"}`
  return source.toString("latin1", Math.max(dataStart, dataEnd - last.length), dataEnd) === last
}

/** Whether an event of this name is about the response as a whole, and so may hold a response object. */
export const isAboutResponse = (name: string): boolean =>
  name.startsWith(prefix) && name.indexOf(".", prefix.length) === -1
