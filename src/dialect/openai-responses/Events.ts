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

/** How data begins or ends whose `type` is a name. */
interface Forms {
  readonly first: string
  readonly last: string
}

/** Those of the names that came last: a stream has few. */
const forms = new Map<string, Forms>()
const mostForms = 256

const formsOf = (name: string): Forms => {
  const known = forms.get(name)
  if (known !== undefined) return known
  const written = JSON.stringify(name)
  const made = { first: `${typeFirst}${written}`, last: `"type":${written}}` }
  if (forms.size === mostForms) forms.clear()
  forms.set(name, made)
  return made
}

/**
 * What an event is called: the `type` in its data, by which OpenAI's SDKs and Codex read it, or, where it says nothing of
 * that, its `event:` line. Empty where neither is there, or no data. The data is not parsed for it.
 */
export const nameOf = (frame: Frame): string => {
  const { dataEnd, dataStart, event, text } = frame
  if (dataStart === dataEnd) return ""
  if (event !== "" && text !== null) {
    // Nearly always both say the same: then nothing has to be cut out.
    const { first, last } = formsOf(event)
    if (text.startsWith(first, dataStart) || text.startsWith(last, dataEnd - last.length)) return event
  }
  return firstTypeOf(frame) ?? typeOf(frame) ?? (event.startsWith(prefix) || event === "error" ? event : "")
}

/** The `type` of an event where it stands first and in one piece. */
const firstTypeOf = ({ dataEnd, dataStart, source }: Frame): string | null => {
  const text = source.toString("latin1", dataStart, Math.min(dataEnd, dataStart + headLength))
  if (!text.startsWith(typeFirst)) return null
  const from = typeFirst.length + (text.charCodeAt(typeFirst.length) === space ? 1 : 0)
  const end = text.charCodeAt(from) === quote ? text.indexOf('"', from + 1) : -1
  const name = text.slice(from + 1, end)
  return end === -1 || name.includes("\\") ? null : name
}

/** The `type` of an event, wherever it stands. */
const typeOf = (frame: Frame): string | null => {
  const data = frame.dataBytes
  const span = locate(data, ["type"])
  return span === null || data[span.start] !== quote ? null : readString(data, span.start, span.end)
}

/** Whether an event of this name is about the response as a whole, and so may hold a response object. */
export const isAboutResponse = (name: string): boolean =>
  name.startsWith(prefix) && name.indexOf(".", prefix.length) === -1
