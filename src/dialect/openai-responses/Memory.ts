import type { Edit } from "../../wire/JsonSpan.ts"
import { digestOf } from "../Arguments.ts"
import { isObject, type JsonObject, parsed } from "../Json.ts"
import { type Marks, mark } from "../Marks.ts"
import {
  type Aligned,
  type Answer,
  align,
  callMark,
  callName,
  editWithin,
  entriesOf,
  Finder,
  type Find,
  type KeptAnswer,
  type KnownCall,
  type Part,
  type ReadTurn,
  readTurns,
  textOf,
  type Unit
} from "../Recall.ts"
import { Said } from "../Said.ts"
import { type HiddenTurn, recallRoom, type ToolMemory } from "../ToolMemory.ts"
import { toolCallOf } from "./Items.ts"
import { resultTexts } from "./Tools.ts"

const dialect = "openai-responses"

/**
 * Remembers the hidden calls of Responses. An answer is a run of items for its client; the calls and their results go
 * between them. Where the upstream holds the answer itself, and the request brings the results of the client's calls, the
 * results of the hidden ones go beside those: the upstream waits for all.
 */
export const memory: ToolMemory = {
  remember: (body, turns, session = null) => {
    const read = readTurns(turns, readTurn)
    const request = read === null ? null : parsed(body.toString())
    if (read === null || !isObject(request)) return []
    const { input } = request
    const before = () => {
      const said = new Said(session)
      if (typeof input === "string") said.byUser(input)
      else if (Array.isArray(input)) for (const item of input) tell(said, item)
      return said.stand()
    }
    const holders = turns.flatMap(({ responseId }) => (responseId ? [responseId] : []))
    const conversation = conversationOf(request)
    if (conversation !== null) holders.push(conversation)
    const references = turns.flatMap(({ injected, output }) => idsOf(output, injected))
    return entriesOf(dialect, read, { before, references, holders })
  },
  recall: (body, find, room = recallRoom, session = null) => {
    const request = parsed(body.toString())
    if (!isObject(request) || !Array.isArray(request.input)) return body
    return editWithin(body, new Recalling(request, request.input, find, session).edits(), room)
  }
}

const readTurn = ({ injected, output, results }: HiddenTurn): ReadTurn | null => {
  const parts: Array<Part> = []
  const calls: Array<KnownCall> = []
  const hidden: Array<KnownCall> = []
  for (const raw of output) {
    const item = parsed(raw)
    if (!isObject(item)) return null
    const call = clientCallOf(item)
    const text = messageText(item)
    if (call !== null && injected.has(call.id)) {
      hidden.push(call)
      parts.push({ kind: "hidden", raw })
    } else if (text !== null) parts.push({ kind: "text", text, marks: idMarks(item) })
    else {
      if (call !== null) calls.push(call)
      // A message that is no text alone, a refusal for one, is left out by no client.
      const optional = call === null && item.type !== "message"
      const marks = [...marksOf(item), ...idMarks(item)]
      if (item.type === "reasoning") marks.push(summaryMark(item))
      parts.push({ kind: "item", marks, optional, raw: item.type === "reasoning" ? raw : null })
    }
  }
  return { parts, calls, hidden, results: resultTexts(results) }
}

/** The ids of items that a client sees. */
const idsOf = (output: ReadonlyArray<string>, injected: ReadonlySet<string>): ReadonlyArray<string> => {
  const ids: Array<string> = []
  for (const raw of output) {
    const item = parsed(raw)
    if (isObject(item) && typeof item.id === "string" && !injected.has(String(item.call_id))) ids.push(item.id)
  }
  return ids
}

const conversationOf = ({ conversation }: JsonObject): string | null => {
  const id = isObject(conversation) ? conversation.id : conversation
  return typeof id === "string" ? id : null
}

/** A call that is answered by an item of the next request. */
const clientCallOf = (item: JsonObject): KnownCall | null => {
  const call = toolCallOf(item)
  if (call === null || call.runner === "provider" || call.callId === "") return null
  const namespace = typeof item.namespace === "string" ? `${item.namespace} ` : ""
  return { id: call.callId, name: namespace + call.name, arguments: call.arguments }
}

/** The text of a message of the assistant's, which may leave out that it is one; `null` for what is not only text. */
const messageText = (item: JsonObject): string | null => {
  const { content } = item
  if (!isMessage(item) || item.role !== "assistant") return null
  if (typeof content === "string") return content
  const isText = Array.isArray(content) && content.every((part) => isObject(part) && typeof part.text === "string")
  return isText ? textOf(content) : null
}

const isMessage = ({ role, type }: JsonObject): boolean =>
  type === "message" || (type === undefined && typeof role === "string")

/** The call that an item brings the result of. */
const answeredBy = ({ call_id, type }: JsonObject): string | null =>
  typeof type === "string" && type.endsWith("_output") && typeof call_id === "string" ? call_id : null

const isInstruction = (item: unknown): boolean =>
  isObject(item) && isMessage(item) && (item.role === "system" || item.role === "developer")

/** Whether an item is part of an answer, and not what a client says. */
const isAnswered = (item: unknown): item is JsonObject => {
  if (!isObject(item)) return false
  if (isMessage(item)) return item.role === "assistant"
  const type = String(item.type)
  return !type.endsWith("_output") && type !== "mcp_approval_response"
}

/** Tells what an item says. */
const tell = (said: Said, item: unknown): void => {
  if (!isObject(item)) return
  const answered = answeredBy(item)
  if (answered !== null) said.byTool(answered)
  else if (typeof item.call_id === "string") said.byAssistant("", [item.call_id])
  else if (isMessage(item) && item.role === "user") said.byUser(item.content)
  else if (isMessage(item) && item.role === "assistant") said.byAssistant(textOf(item.content), [])
}

const namesIn = (input: ReadonlyArray<unknown>): ReadonlyArray<string> => {
  const names: Array<string> = []
  for (const item of input) {
    const call = isObject(item) && typeof item.call_id === "string" ? clientCallOf(item) : null
    if (call !== null) names.push(callName(call.id, call.name))
  }
  return names
}

const idMarks = ({ id }: JsonObject): Marks => (typeof id === "string" && id !== "" ? [mark("id", id)] : [])

/**
 * What an item is known by that is no text. A client's call is known by all that it says; anything else by its id, by
 * which a client may also refer to it, or else by what is in it.
 */
const marksOf = (item: JsonObject): Marks => {
  const call = clientCallOf(item)
  if (call !== null) return [callMark(call)]
  if (item.type === "item_reference" || isMessage(item)) return idMarks(item)
  const marks = [...idMarks(item)]
  if (item.type === "reasoning") {
    const { encrypted_content: encrypted } = item
    if (typeof encrypted === "string" && encrypted !== "") marks.push(mark("encrypted", encrypted))
    return marks.length === 0 ? [summaryMark(item)] : marks
  }
  const { id: _, status, ...rest } = item
  marks.push(mark("item", digestOf(rest)))
  return marks
}

const summaryMark = ({ summary }: JsonObject): string => mark("summary", textOf(summary))

/** Whether an upstream can read reasoning that is put back: it has kept it, or the item holds all of it. */
const readsReasoning = (request: JsonObject, raw: string): boolean => {
  if (request.store !== false) return true
  const item = parsed(raw)
  return isObject(item) && typeof item.encrypted_content === "string" && item.encrypted_content !== ""
}

/** Puts back what was hidden of the answers in one request. */
class Recalling {
  private readonly request: JsonObject
  private readonly input: ReadonlyArray<unknown>
  private readonly finder: Finder
  /** What was said up to a place in the input. */
  private readonly said: Said
  private told = 0
  private readonly changes: Array<Edit> = []
  private readonly units = new Map<number, Unit>()
  /** The ids of calls in the request, and of those whose results are. */
  private readonly made = new Set<string>()
  private readonly answered = new Set<string>()

  constructor(request: JsonObject, input: ReadonlyArray<unknown>, find: Find, session: string | null) {
    this.request = request
    this.input = input
    this.finder = new Finder(dialect, find, () => namesIn(input))
    this.said = new Said(session)
    for (const item of input) {
      if (!isObject(item) || typeof item.call_id !== "string") continue
      const answered = answeredBy(item)
      if (answered === null) this.made.add(item.call_id)
      else this.answered.add(answered)
    }
  }

  edits(): ReadonlyArray<Edit> {
    const { input } = this
    const repeated = new Set<string>()
    for (let at = 0; at < input.length; ) {
      let end = at
      while (end < input.length && (isAnswered(input[end]) || (end > at && isInstruction(input[end])))) end++
      const kept = end === at ? null : this.findAt(at, end)
      const aligned = kept === null ? null : this.aligned(kept, at)
      if (kept !== null && aligned !== null) {
        this.finder.use(kept)
        this.restore(kept, aligned, at)
        for (const id of kept.calls) repeated.add(id)
        at = Math.max(aligned.end, at + 1)
      } else at = Math.max(end, at + 1)
    }
    this.restoreHeld(repeated)
    return this.changes
  }

  /** What is kept of the answer that begins a run of items. */
  private findAt(at: number, end: number): KeptAnswer | null {
    let call: KnownCall | null = null
    let text = ""
    const references: Array<string> = []
    for (let i = at; i < end; i++) {
      const item = this.input[i] as JsonObject
      call ??= clientCallOf(item)
      if (item.type === "item_reference" && typeof item.id === "string") references.push(item.id)
      else text += messageText(item) ?? ""
    }
    const answer: Answer = { text, call, references, before: () => this.standAt(at) }
    return this.finder.answer(answer)
  }

  /** What was said before a place; those are asked for in their order. */
  private standAt(at: number): string {
    while (this.told < at) tell(this.said, this.input[this.told++])
    return this.said.stand()
  }

  private aligned(kept: KeptAnswer, at: number): Aligned | null {
    const own = new Set(kept.calls)
    return align(
      kept,
      (place) => this.unitAt(place, own),
      at,
      (raw) => readsReasoning(this.request, raw)
    )
  }

  /** Clients may put what a call came to right behind it, before the answer's next item. */
  private unitAt(at: number, own: ReadonlySet<string>): Unit | null | undefined {
    const item = this.input[at]
    if (item === undefined) return undefined
    if (!isObject(item)) return nothing
    const known = this.units.get(at)
    if (known !== undefined) return known
    if (isInstruction(item)) return null
    const answered = answeredBy(item)
    if (answered !== null && own.has(answered)) return null
    const unit = isAnswered(item) ? { text: messageText(item), marks: marksOf(item) } : nothing
    this.units.set(at, unit)
    return unit
  }

  private restore(kept: KeptAnswer, { turns }: Aligned, at: number): void {
    let slot = at
    const insert = (raw: string) => this.changes.push({ op: "insert", path: ["input"], at: slot, raw })
    for (const [index, pieces] of turns.entries()) {
      for (const piece of pieces) {
        if (piece.unit === null) insert(piece.raw)
        else if (piece.split === null) slot = piece.unit + 1
        else if (piece.split.last) {
          this.cut(piece.unit, piece.split.text)
          slot = piece.unit + 1
        } else {
          slot = piece.unit
          const content = [{ type: "output_text", text: piece.split.text }]
          insert(JSON.stringify({ type: "message", role: "assistant", content }))
        }
      }
      for (const raw of kept.turns[index]!.results) insert(raw)
    }
  }

  /** Leaves the last part of a message that a client has joined out of several. */
  private cut(at: number, rest: string): void {
    const { content } = this.input[at] as JsonObject
    const path = ["input", at, "content"]
    const text = JSON.stringify(rest)
    if (typeof content === "string") this.changes.push({ op: "replace", path, raw: text })
    else if (Array.isArray(content) && content.length === 1)
      this.changes.push({ op: "replace", path: [...path, 0, "text"], raw: text })
    else this.changes.push({ op: "replace", path, raw: `[{"type":"output_text","text":${text}}]` })
  }

  /** Adds the results that an upstream waits for which holds the calls itself. */
  private restoreHeld(repeated: Set<string>): void {
    const { previous_response_id: previous } = this.request
    const holder = typeof previous === "string" ? previous : conversationOf(this.request)
    if (holder === null) return
    for (const [at, item] of this.input.entries()) {
      const callId = isObject(item) ? answeredBy(item) : null
      if (callId === null || this.made.has(callId) || repeated.has(callId)) continue
      repeated.add(callId)
      const kept = this.finder.held(callId, holder)
      const results = kept?.turns.at(-1)?.results ?? []
      if (results.some((raw) => this.answered.has(String(objectOf(parsed(raw)).call_id)))) continue
      for (const raw of results) this.changes.push({ op: "insert", path: ["input"], at, raw })
    }
  }
}

const objectOf = (value: unknown): JsonObject => (isObject(value) ? value : {})

/** What is in no answer. */
const nothing: Unit = { text: null, marks: [] }
