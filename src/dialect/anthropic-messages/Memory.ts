import { type Edit, locateAll, type Span, set } from "../../wire/JsonSpan.ts"
import { digestOf } from "../Arguments.ts"
import { isObject, type JsonObject, objectsOf, parsed } from "../Json.ts"
import { type Marks, mark } from "../Marks.ts"
import { type FoundMessage, messageMemory } from "../MessageMemory.ts"
import {
  callMark,
  type KeptAnswer,
  type KnownCall,
  type Part,
  type Piece,
  type ReadTurn,
  type Unit
} from "../Recall.ts"
import type { HiddenTurn, ToolMemory } from "../ToolMemory.ts"
import { blocksOf } from "./Blocks.ts"
import { resultTexts } from "./Tools.ts"

const readTurn = ({ injected, output, results }: HiddenTurn): ReadTurn | null => {
  const blocks = output[0] === undefined ? null : blocksOf(Buffer.from(output[0]))
  if (blocks === null) return null
  const parts: Array<Part> = []
  const calls: Array<KnownCall> = []
  const hidden: Array<KnownCall> = []
  for (const raw of blocks) {
    const block = parsed(raw)
    if (!isObject(block)) return null
    const call = callOf(block)
    if (call !== null && injected.has(call.id)) {
      hidden.push(call)
      parts.push({ kind: "hidden", raw })
    } else if (block.type === "text" && typeof block.text === "string") {
      parts.push({ kind: "text", text: block.text, marks: [] })
    } else {
      if (call !== null) calls.push(call)
      const thought = block.type === "thinking" || block.type === "redacted_thinking"
      parts.push({ kind: "item", marks: marksOf(block), optional: call === null, raw: thought ? raw : null })
    }
  }
  return { parts, calls, hidden, results: resultTexts(results) }
}

const answeredIn = ({ content }: JsonObject): ReadonlyArray<string> => {
  const ids: Array<string> = []
  for (const { tool_use_id, type } of objectsOf(content))
    if (type === "tool_result" && typeof tool_use_id === "string") ids.push(tool_use_id)
  return ids
}

const callOf = ({ id, input, name, type }: JsonObject): KnownCall | null =>
  type === "tool_use" && typeof id === "string" && typeof name === "string" ? { id, name, arguments: input } : null

const callsOf = ({ content }: JsonObject): ReadonlyArray<KnownCall> =>
  objectsOf(content)
    .map(callOf)
    .filter((call) => call !== null)

/** What a block is known by that is no text. */
const marksOf = (block: JsonObject): Marks => {
  const call = callOf(block)
  if (call !== null) return [callMark(call)]
  const { cache_control: _, ...rest } = block
  const type = String(block.type)
  for (const name of ["signature", "data", "id", "tool_use_id"]) {
    const value = block[name]
    if (typeof value === "string" && value !== "") return [mark(type, name, value)]
  }
  return [mark(type, digestOf(rest))]
}

const unitsOf = ({ content }: JsonObject): ReadonlyArray<Unit> => {
  if (typeof content === "string") return [{ text: content, marks: [] }]
  return (Array.isArray(content) ? content : []).map((block: unknown) => {
    if (!isObject(block)) return { text: null, marks: [] }
    if (block.type === "text" && typeof block.text === "string") return { text: block.text, marks: [] }
    return { text: null, marks: marksOf(block) }
  })
}

/** An answer that was found, and where the results of its last calls go. */
interface Found extends FoundMessage {
  /** Where the message stands with the results of the client's calls; `null` where it has none beside hidden ones. */
  readonly resultsAt: number | null
}

const placed = (found: FoundMessage, messages: ReadonlyArray<unknown>): Found | null => {
  const { at, kept } = found
  const results = kept.turns.at(-1)!.results
  const resultsAt = results.length === 0 || kept.calls.length === 0 ? null : resultsOf(messages, at, kept)
  return resultsAt === undefined ? null : { ...found, resultsAt }
}

/**
 * Where the results of the client's calls stand that an answer ends with: the upstream wants those of the hidden calls in
 * the same message. `undefined` where the client has sent none.
 */
const resultsOf = (messages: ReadonlyArray<unknown>, at: number, { calls }: KeptAnswer): number | undefined => {
  for (let i = at + 1; i < messages.length; i++) {
    const message = messages[i]
    if (!isObject(message) || message.role === "assistant") return undefined
    if (message.role === "user" && answeredIn(message).some((id) => calls.includes(id))) return i
  }
  return undefined
}

const editsOf = (body: Buffer, found: ReadonlyArray<Found>): ReadonlyArray<Edit> => {
  const contents = found.map(({ at }) => ["messages", at, "content"])
  const paths = found.flatMap(({ message: { content } }, index) =>
    Array.isArray(content) ? content.map((_, block) => [...contents[index]!, block]) : [contents[index]!]
  )
  const spans = locateAll(body, paths)
  const edits: Array<Edit> = []
  let first = 0
  for (const one of found) {
    const { content } = one.message
    const count = Array.isArray(content) ? content.length : 1
    edits.push(...answerEdits(body, one, spans.slice(first, first + count)))
    first += count
  }
  return edits
}

/** What puts the hidden part of one answer back. The client's message becomes that of its last turn that said anything. */
const answerEdits = (
  body: Buffer,
  { at, kept, message, resultsAt, turns }: Found,
  spans: ReadonlyArray<Span | null>
): ReadonlyArray<Edit> => {
  const own = turns.findLastIndex((pieces) => pieces.length > 0)
  const before: Array<string> = []
  const behind: Array<string> = []
  const edits: Array<Edit> = []
  for (const [index, pieces] of turns.entries()) {
    const { results } = kept.turns[index]!
    const content = `[${pieces.map((piece) => blockText(body, message, piece, spans)).join(",")}]`
    if (index === own) edits.push({ op: "replace", path: ["messages", at, "content"], raw: content })
    else if (pieces.length > 0) before.push(`{"role":"assistant","content":${content}}`)
    if (results.length === 0) continue
    if (index === turns.length - 1 && resultsAt !== null) {
      edits.push({ op: "insert", path: ["messages", resultsAt, "content"], at: "first", raw: results.join(",") })
    } else {
      const list = index < own ? before : behind
      list.push(`{"role":"user","content":[${results.join(",")}]}`)
    }
  }
  if (before.length > 0) edits.push({ op: "insert", path: ["messages"], at, raw: before.join(",") })
  if (behind.length > 0) edits.push({ op: "insert", path: ["messages"], at: at + 1, raw: behind.join(",") })
  return edits
}

const blockText = (body: Buffer, { content }: JsonObject, piece: Piece, spans: ReadonlyArray<Span | null>): string => {
  if (piece.unit === null) return piece.raw
  const span = spans[piece.unit]!
  const raw = body.subarray(span.start, span.end)
  if (!Array.isArray(content)) {
    const text = piece.split === null ? raw.toString() : JSON.stringify(piece.split.text)
    return `{"type":"text","text":${text}}`
  }
  if (piece.split === null) return raw.toString()
  const text = JSON.stringify(piece.split.text)
  // What the client says of the whole block stays at its end, a mark for a cache for one.
  return piece.split.last ? String(set(raw, ["text"], text)) : `{"type":"text","text":${text}}`
}

/**
 * Remembers the hidden calls of Messages. An answer is one message of the assistant for its client, with the blocks of all
 * turns in it. It is cut into the messages of its turns, with the client's own blocks: thoughts keep their signatures, and
 * `cache_control` stays where the client has put it.
 */
export const memory: ToolMemory = messageMemory({
  name: "anthropic-messages",
  readTurn,
  tell: (said, message) => {
    if (message.role !== "user") return
    said.byUser(message.content)
    for (const id of answeredIn(message)) said.byTool(id)
  },
  callsOf,
  unitsOf,
  // Where a model thinks, a turn with calls that goes on must begin with what it thought:
  // https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking#extended-thinking-with-tool-use
  restores: ({ thinking }) => isObject(thinking) && thinking.type !== "disabled",
  place: placed,
  edits: editsOf
})
