import type { Frame } from "../../wire/Frame.ts"
import { type Edit, edit, locate } from "../../wire/JsonSpan.ts"
import { TextRoom } from "../CollectedText.ts"
import { isDone } from "../Done.ts"
import { isObject, type JsonObject, jsonText } from "../Json.ts"
import { choiceAt, placeOfFirst } from "./Chunk.ts"
import { type OpenCall, ToolCalls } from "./ToolCalls.ts"

/**
 * What an upstream said in one turn as the one assistant message that goes into the next request, as JSON text: of a
 * body the message as it stands, of a stream all its deltas put together, members that nobody knows among them. Calls
 * have the ids that their results have. `null` where the frames cannot be read.
 */
export const assistantMessage = (frames: ReadonlyArray<Frame>): string | null => {
  const deltas = new Deltas()
  for (const frame of frames) {
    if (frame.kind === "comment" || isDone(frame)) continue
    const chunk = frame.kind === "part" ? undefined : frame.json
    if (!isObject(chunk)) {
      if (frame.dataStart === frame.dataEnd && frame.kind === "event") continue
      return null
    }
    const at = placeOfFirst(chunk)
    const choice = choiceAt(chunk, at)
    if (frame.kind === "body")
      return choice !== null && isObject(choice.message) ? bodyMessage(frame, choice.message, at) : null
    if (choice !== null && isObject(choice.delta)) deltas.add(choice.delta)
  }
  return deltas.text()
}

const bodyMessage = (frame: Frame, message: JsonObject, at: number): string | null => {
  const body = frame.dataBytes
  const span = locate(body, ["choices", at, "message"])
  if (span === null) return null
  const edits: Array<Edit> = []
  if (message.role !== "assistant") edits.push({ op: "set", path: ["role"], raw: '"assistant"' })
  const calls = new ToolCalls(null, new TextRoom(Number.POSITIVE_INFINITY))
  const pieces = Array.isArray(message.tool_calls) ? message.tool_calls : []
  const places = pieces.map((piece) => (isObject(piece) ? calls.add(0, piece, true) : null))
  const ids = calls.answerIds()
  for (const [place, call] of places.entries()) {
    const id = call === null ? undefined : ids.get(call)
    if (id === undefined || id === call?.callId) continue
    edits.push({ op: "set", path: ["tool_calls", place, "id"], raw: JSON.stringify(id) })
  }
  return edit(body.subarray(span.start, span.end), edits)?.toString() ?? null
}

/** Members of tool calls that `ToolCalls` puts together, or that only mean something in a stream. */
const knownOfCall = new Set(["index", "id", "type", "function", "custom"])
const knownOfFunction = new Set(["name", "arguments", "input"])
/** Members of deltas that are written apart. The old `function_call` answers no tool that was added. */
const knownOfDelta = new Set(["role", "content", "tool_calls", "function_call"])

/** The deltas of one choice, put together. */
class Deltas {
  private readonly members = new Map<string, unknown>()
  private readonly calls = new ToolCalls(null, new TextRoom(Number.POSITIVE_INFINITY))
  /** What pieces of a call say besides its name and arguments: of the call, and of its function. */
  private readonly more = new Map<OpenCall, { readonly call: Members; readonly body: Members }>()

  add(delta: JsonObject): void {
    for (const key of Object.keys(delta)) {
      if (key !== "tool_calls") this.members.set(key, joined(this.members.get(key), delta[key]))
      else if (Array.isArray(delta.tool_calls)) for (const piece of delta.tool_calls) this.addPiece(piece)
    }
  }

  private addPiece(piece: unknown): void {
    if (!isObject(piece)) return
    const call = this.calls.add(0, piece)
    const more = this.more.get(call) ?? { call: new Map(), body: new Map() }
    this.more.set(call, more)
    keepLast(more.call, piece, knownOfCall)
    const body = isObject(piece.function) ? piece.function : piece.custom
    if (isObject(body)) keepLast(more.body, body, knownOfFunction)
  }

  text(): string | null {
    const ids = this.calls.answerIds()
    const calls = this.calls.all.map((call) => this.callText(call, ids.get(call)!))
    const content = this.members.get("content")
    const members: Array<string | null> = ['"role":"assistant"']
    if (!isHole(content)) members.push(memberText("content", content))
    else members.push(`"content":${calls.length > 0 ? "null" : '""'}`)
    for (const [key, value] of this.members)
      if (!knownOfDelta.has(key) && !isHole(value)) members.push(memberText(key, value))
    if (calls.length > 0) members.push(calls.includes(null) ? null : `"tool_calls":[${calls.join(",")}]`)
    return objectText(members)
  }

  private callText(call: OpenCall, id: string): string | null {
    const more = this.more.get(call)!
    const said = call.arguments.text
    const type = call.json ? "function" : "custom"
    // Servers that read the arguments of earlier calls take no text for no JSON.
    const body = call.json ? `"arguments":${JSON.stringify(said || "{}")}` : `"input":${JSON.stringify(said)}`
    const bodyText = objectText([memberText("name", call.name), body, ...memberTexts(more.body)])
    return objectText([
      memberText("id", id),
      memberText("type", type),
      bodyText === null ? null : `"${type}":${bodyText}`,
      ...memberTexts(more.call)
    ])
  }
}

type Members = Map<string, unknown>

const keepLast = (members: Members, from: JsonObject, known: ReadonlySet<string>): void => {
  for (const key of Object.keys(from)) if (!known.has(key) && from[key] !== null) members.set(key, from[key])
}

/** A member of deltas with a later one put to it: texts and lists grow, of anything else the last counts. */
const joined = (before: unknown, later: unknown): unknown => {
  if (later === null || later === undefined) return before
  if (typeof before === "string" && typeof later === "string") return before + later
  if (!Array.isArray(later)) return later
  const list: Array<unknown> = Array.isArray(before) ? before : []
  for (const element of later) addElement(list, element)
  return list
}

/** Members of list elements that come in pieces; of others, a signature for one, the last counts. */
const grown = new Set(["text", "summary", "data"])

/** Adds to the element that has the same index, if it is not another by its kind or id; else behind the last. */
const addElement = (list: Array<unknown>, element: unknown): void => {
  if (!isObject(element) || typeof element.index !== "number") {
    list.push(element)
    return
  }
  const at = list.findLastIndex(
    (known) =>
      isObject(known) && known.index === element.index && agree(known, element, "type") && agree(known, element, "id")
  )
  if (at === -1) {
    list.push(element)
    return
  }
  const merged = new Map<string, unknown>(Object.entries(list[at] as JsonObject))
  for (const [key, value] of Object.entries(element)) {
    const before = merged.get(key)
    if (grown.has(key) && typeof before === "string" && typeof value === "string") merged.set(key, before + value)
    else if (value !== null || before === undefined) merged.set(key, value)
  }
  list[at] = Object.fromEntries(merged)
}

const agree = (one: JsonObject, other: JsonObject, key: string): boolean =>
  typeof one[key] !== "string" || typeof other[key] !== "string" || one[key] === other[key]

/** Whether a member says nothing, and so stays out: some upstreams refuse what others send empty. */
const isHole = (value: unknown): boolean =>
  value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0)

const memberText = (key: string, value: unknown): string | null => {
  const text = jsonText(value)
  return text === null ? null : `${JSON.stringify(key)}:${text}`
}

const memberTexts = (members: Members): ReadonlyArray<string | null> =>
  [...members].map(([key, value]) => memberText(key, value))

const objectText = (members: ReadonlyArray<string | null>): string | null =>
  members.includes(null) ? null : `{${members.join(",")}}`
