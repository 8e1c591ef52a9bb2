import type { Frame } from "../../wire/Frame.ts"
import { locateAll } from "../../wire/JsonSpan.ts"
import { Shape } from "../../wire/Shape.ts"
import { SharedText } from "../../wire/SharedText.ts"
import { CollectedText, TextRoom } from "../CollectedText.ts"
import type { RequestView, SeenThought, SeenToolCall, TurnOutcome, TurnReader, TurnSummary } from "../Dialect.ts"
import { isDone } from "../Done.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { SeenUsage } from "../SeenUsage.ts"
import { fromChat } from "../Usage.ts"
import { ToolCalls } from "./ToolCalls.ts"
import { type Phase, type Piece, Withholding } from "./Withholding.ts"

/** Reads one turn of Chat Completions: chunks of a stream, or one whole `chat.completion`. */
export class ChatReader implements TurnReader {
  malformed: string | null = null
  outcome: TurnOutcome | null = null
  private readonly expected: number
  /** The shape of the last chunk that had nothing but text in it. */
  private shape: Shape | null = null
  /** Whether there was such a chunk. The first is seldom like those behind it: it says whose text it is. */
  private textSeen = false
  private readonly texts = new SharedText()
  ended = false
  private responseId: string | null = null
  private model: string | null = null
  private readonly usage = new SeenUsage(fromChat)
  private error: string | null = null
  private readonly finishes = new Map<number, string>()
  private readonly choices = new Set<number>([0])
  private readonly room = new TextRoom()
  private readonly calls: ToolCalls
  private readonly thoughts = new Map<number, CollectedText>()
  /** What keeps injected calls back; `null` where no tools were added. */
  private readonly withholding: Withholding | null
  /** The pieces of tool calls in the frame that was read last. */
  private pieces: Array<Piece> | null = null

  constructor(options: { readonly asked: RequestView; readonly injected?: ReadonlySet<string> }) {
    const { injected } = options
    this.expected = options.asked.choices
    this.calls = new ToolCalls(injected, this.room)
    this.withholding = injected === undefined || injected.size === 0 ? null : new Withholding(this.calls)
  }

  push(frame: Frame, out: Array<Frame>): void {
    if (this.malformed !== null) return
    this.pieces = null
    if (frame.unterminated && !isDone(frame)) {
      this.pushRest(frame, out)
      return
    }
    if (frame.kind === "event" || frame.kind === "body" || frame.kind === "message") {
      if (isDone(frame)) {
        this.ended = true
        if (this.outcome === null) this.outcome = this.reached
      } else if (this.isText(frame)) {
        if (this.withholding === null) out.push(frame)
        else this.withholding.pushText(frame, out)
        return
      } else {
        this.read(frame)
        if (this.malformed !== null) return
      }
    }
    this.pass(frame, out)
  }

  private pass(frame: Frame, out: Array<Frame>): void {
    if (this.withholding === null) out.push(frame)
    else {
      this.withholding.push(frame, this.pieces, this.phase, out)
      this.malformed = this.withholding.malformed
    }
  }

  private get phase(): Phase {
    if (this.outcome !== null) return this.outcome
    const reason = this.finishes.get(0)
    if (reason === undefined) return "open"
    return isIncomplete(reason) ? "incomplete" : "completed"
  }

  end(_cut: boolean, out: Array<Frame>): void {
    this.withholding?.end(out)
  }

  get holding(): boolean {
    return this.outcome === "completed" && this.withholding?.holding === true
  }

  release(out: Array<Frame>): void {
    this.withholding?.release(out)
  }

  /**
   * The upstream ended inside an event, which may be whole but for its blank line. It goes on if the turn is at its end
   * with it; else the turn was cut, and behind half an event no client could read the error event.
   */
  private pushRest(frame: Frame, out: Array<Frame>): void {
    if (frame.kind === "event") {
      if (!isObject(frame.json)) return
      this.read(frame)
    }
    if (this.outcome !== null) this.pass(frame, out)
  }

  /** Whether the frame is one more chunk of text, like one that was read: nothing else can be in it. */
  private isText(frame: Frame): boolean {
    if (this.shape === null || frame.lines !== 1 || frame.event === "error") return false
    return this.shape.matches(this.texts.of(frame), frame.dataStart, frame.dataEnd)
  }

  private read(frame: Frame): void {
    const chunk = frame.json
    if (frame.event === "error") {
      this.fail(isObject(chunk) ? (chunk.error ?? chunk) : frame.data)
      return
    }
    if (!isObject(chunk)) {
      if (frame.dataStart === frame.dataEnd && frame.kind !== "body") return
      this.malformed = frame.kind === "body" ? "its body is not a JSON object" : "a chunk is not a JSON object"
      return
    }
    if (typeof chunk.id === "string" && chunk.id !== "" && this.responseId === null) this.responseId = chunk.id
    if (typeof chunk.model === "string" && chunk.model !== "" && this.model === null) this.model = chunk.model
    this.usage.see(chunk.usage, frame, ["usage"])
    if (isError(chunk)) this.fail(chunk.error ?? chunk)
    if (Array.isArray(chunk.choices)) {
      for (let at = 0; at < chunk.choices.length; at++) {
        const choice: unknown = chunk.choices[at]
        if (isObject(choice)) this.readChoice(choice, at, frame.kind === "body")
      }
      this.conclude()
    }
    if (frame.kind !== "body") {
      if (isPlainText(chunk)) {
        if (this.textSeen) this.shape = shapeOf(frame)
        this.textSeen = true
      }
      return
    }
    // A body is whole or it is not there: it needs no finish reason to be at its end.
    this.ended = true
    if (!Array.isArray(chunk.choices) && this.outcome === null) this.fail("the answer has no choices")
    if (this.outcome === null) this.outcome = this.reached
  }

  private readChoice(choice: JsonObject, place: number, isBody: boolean): void {
    const index = typeof choice.index === "number" ? choice.index : 0
    this.choices.add(index)
    const said = isObject(choice.delta) ? choice.delta : isObject(choice.message) ? choice.message : null
    if (said !== null) {
      // Some providers send the same thought under both names.
      const thought = textOr(said.reasoning_content, said.reasoning)
      if (thought !== null) this.think(index, thought)
      if (Array.isArray(said.tool_calls)) {
        const where = { choice: place, said: said === choice.delta ? "delta" : "message" } as const
        this.readCalls(index, said.tool_calls, where, isBody)
      }
      if (isObject(said.function_call)) this.calls.add(index, { index: -1, function: said.function_call })
    }
    // Some providers send an empty one until there is one.
    if (typeof choice.finish_reason === "string" && choice.finish_reason !== "")
      this.finishes.set(index, choice.finish_reason)
  }

  private think(choice: number, text: string): void {
    let thought = this.thoughts.get(choice)
    if (thought === undefined) {
      thought = new CollectedText(this.room)
      this.thoughts.set(choice, thought)
    }
    thought.add(text)
  }

  private readCalls(
    choice: number,
    calls: ReadonlyArray<unknown>,
    where: Pick<Piece, "choice" | "said">,
    isBody: boolean
  ): void {
    for (let at = 0; at < calls.length; at++) {
      const piece = calls[at]
      if (!isObject(piece)) continue
      const call = this.calls.add(choice, piece, isBody)
      if (this.withholding === null) continue
      this.pieces ??= []
      this.pieces.push({ ...where, at, indexed: typeof piece.index === "number", call })
    }
  }

  private fail(error: unknown): void {
    this.outcome = "failed"
    const message = isObject(error) ? (error.message ?? error.detail) : error
    this.error = typeof message === "string" ? message : "the upstream reported an error"
  }

  private conclude(): void {
    if (this.outcome === "failed") return
    if (this.finishes.size < Math.max(this.expected, this.choices.size)) return
    this.outcome = this.reached
  }

  /** What the finish reasons so far say of the turn, if it is at its end. */
  private get reached(): TurnOutcome {
    return [...this.finishes.values()].some(isIncomplete) ? "incomplete" : "completed"
  }

  summary(): TurnSummary {
    const ids = this.calls.injected ? this.calls.answerIds() : null
    const reasons = [...this.finishes.entries()].sort((a, b) => a[0] - b[0]).map((entry) => entry[1])
    return {
      responseId: this.responseId,
      model: this.model,
      finishReason: reasons.find(isIncomplete) ?? reasons[0] ?? null,
      outcome: this.outcome,
      ended: this.ended,
      usage: this.usage.summary,
      // What is called by nobody who asked, and shown to nobody, is not run either.
      toolCalls: this.calls.all
        .filter((call) => call.choice === 0 || call.runner !== "gateway")
        .map(
          (call): SeenToolCall => ({
            callId: (call.runner === "gateway" ? ids?.get(call) : undefined) ?? call.callId,
            name: call.name,
            arguments: call.arguments.text,
            json: call.json,
            runner: call.runner ?? "client"
          })
        ),
      thoughts: this.thoughts.size === 0 ? [] : [this.thought()],
      error: this.error
    }
  }

  private thought(): SeenThought {
    return { text: [...this.thoughts.values()].map((thought) => thought.text).join("\n"), source: "thinking" }
  }
}

/** The first of two values that is a text and not empty. */
const textOr = (first: unknown, second: unknown): string | null => {
  if (typeof first === "string" && first !== "") return first
  return typeof second === "string" && second !== "" ? second : null
}

const isIncomplete = (reason: string): boolean => reason === "length" || reason === "content_filter"

/**
 * Whether what stands in the place of an answer, or of a piece of one, is an error: some servers send theirs with 200,
 * and not under `error`. Pieces without choices are usage, or what a gateway before us has to say.
 */
const isError = (chunk: JsonObject): boolean => {
  if (chunk.error !== undefined && chunk.error !== null) return true
  if (Array.isArray(chunk.choices) || isObject(chunk.usage)) return false
  return chunk.object === "error" || typeof chunk.message === "string" || chunk.detail !== undefined
}

/** Whether a chunk holds a piece of one choice's text and nothing that is recorded. */
const isPlainText = (chunk: JsonObject): boolean => {
  const choice = Array.isArray(chunk.choices) && chunk.choices.length === 1 ? chunk.choices[0] : null
  if (!isObject(choice) || !isObject(choice.delta) || typeof choice.finish_reason === "string") return false
  // The id is still to come.
  if (chunk.id === "") return false
  if (isObject(chunk.usage) || (chunk.error !== undefined && chunk.error !== null)) return false
  return Object.entries(choice.delta).every(
    ([key, value]) => key === "role" || (key === "content" && typeof value === "string") || value === null
  )
}

/** What may differ between chunks of text: the text, the padding that hides how long it is, and what names the chunk. */
const differing = [["choices", 0, "delta", "content"], ["obfuscation"], ["id"], ["created"]]

/** The shape of a chunk of text. */
const shapeOf = (frame: Frame): Shape | null => {
  if (frame.lines !== 1) return null
  const data = frame.source.subarray(frame.dataStart, frame.dataEnd)
  const located = locateAll(data, differing)
  const [text, padding] = located
  const spans = located.filter((span) => span !== null).sort((a, b) => a.start - b.start)
  const unsteady = spans.findIndex((span) => span === text || span === padding)
  return Shape.of(data.toString("latin1"), spans, unsteady === -1 ? spans.length : unsteady)
}
