import { type Edit, elements, locate } from "../../wire/JsonSpan.ts"
import { digestOf } from "../Arguments.ts"
import { isObject, type JsonObject, objectsOf, parsed } from "../Json.ts"
import { type FoundMessage, messageMemory } from "../MessageMemory.ts"
import {
  callMark,
  isBlank,
  type KeptAnswer,
  type KnownCall,
  type Part,
  type Piece,
  type ReadTurn,
  type Unit
} from "../Recall.ts"
import type { HiddenTurn, ToolMemory } from "../ToolMemory.ts"
import { resultTexts } from "./Tools.ts"

const readTurn = ({ injected, output, results }: HiddenTurn): ReadTurn | null => {
  const raw = output[0]
  const message = parsed(raw ?? null)
  if (raw === undefined || !isObject(message)) return null
  const parts: Array<Part> = textsOf(message.content).map((text) => ({ kind: "text", text, marks: [] }))
  const calls: Array<KnownCall> = []
  const hidden: Array<KnownCall> = []
  const json = Buffer.from(raw)
  const span = locate(json, ["tool_calls"])
  for (const { end, start } of (span === null ? null : elements(json, span)) ?? []) {
    const text = json.toString("utf8", start, end)
    const call = callOf(parsed(text))
    if (call === null) return null
    if (injected.has(call.id)) {
      hidden.push(call)
      parts.push({ kind: "hidden", raw: text })
    } else {
      calls.push(call)
      parts.push({ kind: "item", marks: [callMark(call)], optional: false, raw: null })
    }
  }
  return { parts, calls, hidden, results: resultTexts(results), output }
}

const callOf = (call: unknown): KnownCall | null => {
  if (!isObject(call) || typeof call.id !== "string") return null
  const body = isObject(call.function) ? call.function : isObject(call.custom) ? call.custom : null
  if (body === null || typeof body.name !== "string") return null
  return { id: call.id, name: body.name, arguments: body.arguments ?? body.input }
}

const callsOf = (message: JsonObject): ReadonlyArray<KnownCall> =>
  objectsOf(message.tool_calls)
    .map(callOf)
    .filter((call) => call !== null)

const textsOf = (content: unknown): ReadonlyArray<string> =>
  typeof content === "string" ? [content] : partsOf(content).map(({ text }) => (typeof text === "string" ? text : ""))

const partsOf = (content: unknown): ReadonlyArray<JsonObject> => (Array.isArray(content) ? content : []).map(objectOf)

const objectOf = (value: unknown): JsonObject => (isObject(value) ? value : {})

/** How many units of a message are of its content; those of its calls come behind them. */
const contentUnits = ({ content }: JsonObject): number =>
  typeof content === "string" ? 1 : Array.isArray(content) ? content.length : 0

/** The units of a message; `null` for a part that is no text. */
const unitsOf = (message: JsonObject): ReadonlyArray<Unit | null> => {
  const { content } = message
  const texts: ReadonlyArray<unknown> =
    typeof content === "string" ? [content] : partsOf(content).map((part) => part.text)
  const calls = Array.isArray(message.tool_calls) ? message.tool_calls : []
  return [
    ...texts.map((text) => (typeof text === "string" ? { text, marks: [] } : null)),
    ...calls.map((given) => {
      const call = callOf(given)
      return { text: null, marks: call === null ? [] : [callMark(call)] }
    })
  ]
}

/** What puts the hidden part of an answer back into the message at a place. */
const editsOf = ({ at, kept, message, turns }: FoundMessage): ReadonlyArray<Edit> => {
  const edits: Array<Edit> = []
  const path = ["messages", at]
  const earlier = kept.turns.slice(0, -1)
  const whole = earlier.flatMap(({ output = [], results }) => [...output, ...results])
  if (whole.length > 0) edits.push({ op: "insert", path: ["messages"], at, raw: whole.join(",") })
  const last = turns.at(-1)!
  const texts = contentUnits(message)
  const content = last.filter((piece) => piece.unit !== null && piece.unit < texts)
  const says = content.some((piece) => !isBlank(saidIn(message, piece)))
  if (!says && last.length === content.length && !saysMore(message)) {
    // A turn that came to nothing was never part of a request.
    edits.push({ op: "remove", path })
  } else {
    if (earlier.length > 0) {
      edits.push(...contentEdits(message, content, says, at))
      edits.push(...reasoningEdits(message, earlier, at))
    }
    edits.push(...callEdits(message, last, at))
  }
  const { results } = kept.turns.at(-1)!
  if (results.length > 0) edits.push({ op: "insert", path: ["messages"], at: at + 1, raw: results.join(",") })
  return edits
}

const saidIn = ({ content }: JsonObject, piece: Piece): string => {
  if (piece.unit === null) return ""
  return piece.split?.text ?? textsOf(content)[piece.unit] ?? ""
}

/** Whether a message has something else to say than text and calls that are remembered. */
const saysMore = ({ audio, function_call, refusal }: JsonObject): boolean =>
  isObject(audio) || isObject(function_call) || (typeof refusal === "string" && refusal !== "")

/** What leaves in a message the text of its last turn alone. */
const contentEdits = (
  message: JsonObject,
  last: ReadonlyArray<Piece>,
  says: boolean,
  at: number
): ReadonlyArray<Edit> => {
  const path = ["messages", at, "content"]
  const { content } = message
  if (!says) return content === undefined || content === null ? [] : [{ op: "replace", path, raw: "null" }]
  if (typeof content === "string")
    return [{ op: "replace", path, raw: JSON.stringify(last.map((piece) => saidIn(message, piece)).join("")) }]
  const edits: Array<Edit> = []
  for (const [index, part] of (content as ReadonlyArray<unknown>).entries()) {
    const piece = last.find(({ unit }) => unit === index)
    if (piece?.unit === null) continue
    if (piece === undefined) {
      if (isObject(part) && typeof part.text === "string") edits.push({ op: "remove", path: [...path, index] })
    } else if (piece.split !== null) {
      edits.push({ op: "replace", path: [...path, index, "text"], raw: JSON.stringify(piece.split.text) })
    }
  }
  return edits
}

/** Members in which compatible servers tell what a model thought: text, and a list of it in parts with signatures. */
const thoughts = ["reasoning_content", "reasoning"]
const thoughtLists = ["reasoning_details", "thinking_blocks"]

/** What takes out of a message the thoughts of turns that have their own message: clients join those as they join text. */
const reasoningEdits = (message: JsonObject, earlier: KeptAnswer["turns"], at: number): ReadonlyArray<Edit> => {
  const edits: Array<Edit> = []
  const before = earlier.map(({ output }) => objectOf(parsed(output?.[0] ?? null)))
  for (const name of thoughts) {
    const joined = message[name]
    const theirs = before.map((turn) => (typeof turn[name] === "string" ? turn[name] : "")).join("")
    if (typeof joined !== "string" || theirs === "" || !joined.startsWith(theirs)) continue
    const path = ["messages", at, name]
    const rest = joined.slice(theirs.length)
    edits.push(rest === "" ? { op: "remove", path } : { op: "replace", path, raw: JSON.stringify(rest) })
  }
  for (const name of thoughtLists) {
    const joined = message[name]
    const theirs = before.flatMap((turn) => (Array.isArray(turn[name]) ? turn[name] : []))
    if (!Array.isArray(joined) || theirs.length === 0 || joined.length < theirs.length) continue
    if (!theirs.every((thought, index) => digestOf(thought) === digestOf(joined[index]))) continue
    const path = ["messages", at, name]
    if (joined.length === theirs.length) edits.push({ op: "remove", path })
    else for (const index of theirs.keys()) edits.push({ op: "remove", path: [...path, index] })
  }
  return edits
}

/** What puts the hidden calls of the last turn between those of the client. */
const callEdits = (message: JsonObject, last: ReadonlyArray<Piece>, at: number): ReadonlyArray<Edit> => {
  const path = ["messages", at, "tool_calls"]
  const hidden = last.filter((piece) => piece.unit === null)
  if (hidden.length === 0) return []
  if (!Array.isArray(message.tool_calls))
    return [{ op: "set", path, raw: `[${hidden.map(({ raw }) => raw).join(",")}]` }]
  const edits: Array<Edit> = []
  const texts = contentUnits(message)
  let place = 0
  for (const piece of last) {
    if (piece.unit === null) edits.push({ op: "insert", path, at: place, raw: piece.raw })
    else if (piece.unit >= texts) place = piece.unit - texts + 1
  }
  return edits
}

/**
 * Remembers the hidden calls of Chat Completions. An answer is one assistant message for its client, with the text of all
 * turns in it: the turns before the last are put back before it as their upstream made them, and their text is cut from it.
 */
export const memory: ToolMemory = messageMemory({
  name: "openai-chat",
  readTurn,
  tell: (said, { content, role, tool_call_id }) => {
    if (role === "user") said.byUser(content)
    else if (role === "tool" && typeof tool_call_id === "string") said.byTool(tool_call_id)
  },
  callsOf,
  unitsOf,
  restores: () => false,
  place: (found: FoundMessage) => found,
  edits: (_body, found) => found.flatMap(editsOf)
})
