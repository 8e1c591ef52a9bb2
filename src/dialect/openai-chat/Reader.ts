import type { Frame } from "../../wire/Frame.ts"
import { Interest } from "../../wire/Interest.ts"
import type { RequestView, SeenThought, SeenToolCall, TurnOutcome, TurnReader, TurnSummary } from "../Dialect.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { fromChat, latest } from "../Usage.ts"

/** A tool call while its pieces come in. */
interface OpenCall {
  readonly choice: number
  readonly index: number
  callId: string
  name: string
  json: boolean
  readonly pieces: Array<string>
}

const openBrace = 0x7b
const closeBrace = 0x7d

/** Reads one turn of Chat Completions: chunks of a stream, or one whole `chat.completion`. */
export class ChatReader implements TurnReader {
  malformed: string | null = null
  outcome: TurnOutcome | null = null
  private readonly expected: number
  private readonly interest = new Interest([
    { key: "finish_reason", value: "string" },
    { key: "usage", value: "object" },
    { key: "tool_calls", value: "present" },
    { key: "function_call", value: "object" },
    { key: "reasoning", prefix: true, value: "string" },
    { key: "error", value: "present" }
  ])
  private begun = false
  private ended = false
  private responseId: string | null = null
  private model: string | null = null
  private usage: JsonObject | null = null
  private error: string | null = null
  private readonly finishes = new Map<number, string>()
  private readonly choices = new Set<number>([0])
  private readonly calls: Array<OpenCall> = []
  private readonly thoughts = new Map<number, Array<string>>()

  constructor(options: { readonly asked: RequestView }) {
    this.expected = options.asked.choices
  }

  push(frame: Frame, out: Array<Frame>): void {
    if (this.malformed !== null) return
    // The upstream ended inside an event. What came may be whole but for its blank line; anything else was cut.
    if (frame.unterminated && frame.kind === "event" && !isDone(frame) && !isObject(frame.json)) return
    if (frame.kind === "event" || frame.kind === "body" || frame.kind === "message") {
      if (isDone(frame)) {
        this.ended = true
        if (this.outcome === null) this.outcome = this.error === null ? "completed" : "failed"
        out.push(frame)
        return
      }
      // What the person reading the code would expect to be checked and is not: a chunk that nobody needs is never
      // parsed. Its braces are looked at, which catches text that is no JSON at all and objects that were cut short.
      if (!this.begun || this.interest.has(frame)) this.read(frame)
      else if (!looksLikeObject(frame)) this.malformed = "a chunk is not a JSON object"
      if (this.malformed !== null) return
    }
    out.push(frame)
  }

  end(): void {}

  private read(frame: Frame): void {
    const chunk = frame.json
    if (!isObject(chunk)) {
      if (frame.dataStart === frame.dataEnd) return
      this.malformed = "a chunk is not a JSON object"
      return
    }
    this.begun = true
    if (typeof chunk.id === "string" && chunk.id !== "" && this.responseId === null) this.responseId = chunk.id
    if (typeof chunk.model === "string" && chunk.model !== "" && this.model === null) this.model = chunk.model
    if (isObject(chunk.usage)) this.usage = latest(this.usage, chunk.usage)
    if (chunk.error !== undefined && chunk.error !== null) this.fail(chunk.error)
    if (Array.isArray(chunk.choices)) {
      for (const choice of chunk.choices) if (isObject(choice)) this.readChoice(choice)
      this.conclude()
    }
    if (frame.kind !== "body") return
    // A body is whole or it is not there: it needs no finish reason to be at its end.
    this.ended = true
    if (this.outcome === null) this.outcome = "completed"
  }

  private readChoice(choice: JsonObject): void {
    const index = typeof choice.index === "number" ? choice.index : 0
    this.choices.add(index)
    const said = isObject(choice.delta) ? choice.delta : isObject(choice.message) ? choice.message : null
    if (said !== null) {
      // Some providers send the same thought under both names.
      const thought = typeof said.reasoning_content === "string" ? said.reasoning_content : said.reasoning
      if (typeof thought === "string" && thought !== "") this.think(index, thought)
      if (Array.isArray(said.tool_calls)) {
        for (const call of said.tool_calls) if (isObject(call)) this.readCall(index, call)
      }
      if (isObject(said.function_call)) this.readCall(index, { index: -1, function: said.function_call })
    }
    if (typeof choice.finish_reason === "string") this.finishes.set(index, choice.finish_reason)
  }

  private think(choice: number, text: string): void {
    const pieces = this.thoughts.get(choice)
    if (pieces === undefined) this.thoughts.set(choice, [text])
    else pieces.push(text)
  }

  private readCall(choice: number, delta: JsonObject): void {
    const body = isObject(delta.function) ? delta.function : isObject(delta.custom) ? delta.custom : {}
    const id = typeof delta.id === "string" ? delta.id : ""
    const call = this.callFor(choice, typeof delta.index === "number" ? delta.index : null, id)
    if (call.callId === "") call.callId = id
    if (isObject(delta.custom)) call.json = false
    if (call.name === "" && typeof body.name === "string") call.name = body.name
    const piece = body.arguments ?? body.input
    if (typeof piece === "string") call.pieces.push(piece)
    else if (isObject(piece)) call.pieces.push(JSON.stringify(piece))
  }

  /**
   * The call a piece belongs to: the latest one at its index, unless the piece brings another id, for some providers
   * give every parallel call the index 0. Without an index the id decides, and without both the latest call.
   */
  private callFor(choice: number, index: number | null, id: string): OpenCall {
    for (let i = this.calls.length - 1; i >= 0; i--) {
      const call = this.calls[i]!
      if (call.choice !== choice) continue
      if (index !== null && call.index !== index) continue
      if (id !== "" && call.callId !== "" && call.callId !== id) {
        if (index !== null) break
        continue
      }
      return call
    }
    const call: OpenCall = { choice, index: index ?? this.calls.length, callId: id, name: "", json: true, pieces: [] }
    this.calls.push(call)
    return call
  }

  private fail(error: unknown): void {
    this.outcome = "failed"
    const message = isObject(error) ? error.message : error
    this.error = typeof message === "string" ? message : JSON.stringify(error)
  }

  private conclude(): void {
    if (this.outcome === "failed") return
    if (this.finishes.size < Math.max(this.expected, this.choices.size)) return
    const reasons = [...this.finishes.values()]
    this.outcome = reasons.some(isIncomplete) ? "incomplete" : "completed"
  }

  summary(): TurnSummary {
    const reasons = [...this.finishes.entries()].sort((a, b) => a[0] - b[0]).map((entry) => entry[1])
    return {
      responseId: this.responseId,
      model: this.model,
      finishReason: reasons.find(isIncomplete) ?? reasons[0] ?? null,
      outcome: this.outcome,
      ended: this.ended,
      usage: this.usage === null ? null : fromChat(this.usage),
      toolCalls: this.calls.map(
        (call): SeenToolCall => ({
          callId: call.callId,
          name: call.name,
          arguments: call.pieces.join(""),
          json: call.json
        })
      ),
      thoughts: this.thoughts.size === 0 ? [] : [this.thought()],
      error: this.error
    }
  }

  private thought(): SeenThought {
    return { text: [...this.thoughts.values()].map((pieces) => pieces.join("")).join("\n"), source: "thinking" }
  }
}

const isIncomplete = (reason: string): boolean => reason === "length" || reason === "content_filter"

/** Whether the event is the `[DONE]` that ends a stream of Chat Completions. */
export const isDone = (frame: Frame): boolean => {
  const length = frame.dataEnd - frame.dataStart
  return length >= 6 && length < 16 && frame.source[frame.dataStart] === 0x5b && frame.data.trim() === "[DONE]"
}

const looksLikeObject = (frame: Frame): boolean => {
  let from = frame.dataStart
  let to = frame.dataEnd - 1
  while (from < to && isSpace(frame.source[from]!)) from++
  while (to > from && isSpace(frame.source[to]!)) to--
  return to < from || (frame.source[from] === openBrace && frame.source[to] === closeBrace)
}

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d
