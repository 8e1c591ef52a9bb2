import type { Frame } from "../../wire/Frame.ts"
import type { TurnOutcome, TurnReader, TurnSummary } from "../Dialect.ts"
import { isDone } from "../Done.ts"
import { isObject, type JsonObject, jsonText } from "../Json.ts"
import { fromChat, fromResponses, latest } from "../Usage.ts"

/** How much of bytes that are not JSON is looked at before any of them goes on. */
const headLength = 64

/** A web page, behind white space or the mark of UTF-8. */
const webPage = /^(\xef\xbb\xbf)?\s*<(!doctype html|html)[\s>]/i

/**
 * Reads an answer that is of no protocol Sluice knows: vectors, pictures, sound. Of JSON, in a body or in events, the
 * model, the usage and an error are read; a body that should be JSON has to be it, and nothing is answered by a web page.
 */
export class PlainReader implements TurnReader {
  malformed: string | null = null
  outcome: TurnOutcome | null = null
  ended = false
  readonly holding = false
  private model: string | null = null
  private usage: JsonObject | null = null
  private error: string | null = null
  /** Whether an event has come that may be the first to say what the model is. */
  private begun = false
  /** The first parts of a body that is not held whole, until it is known that they are no web page. */
  private head: Array<Frame> | null = []
  /** Whether the stream has ended inside an event. */
  private broken = false

  push(frame: Frame, out: Array<Frame>): void {
    if (this.malformed !== null) return
    if (frame.kind === "part") {
      this.pushPart(frame, out)
      return
    }
    this.release(out)
    if (frame.kind === "body") this.readBody(frame)
    else if (frame.kind !== "comment") {
      // It may be whole but for its blank line; behind half an event no client could read how the answer ended.
      if (frame.unterminated && !isDone(frame) && frame.json === undefined) {
        this.broken = true
        return
      }
      this.readEvent(frame)
    }
    if (this.malformed === null) out.push(frame)
  }

  /** Lets parts go on that are held for what may still show them to be a web page. */
  release(out: Array<Frame>): void {
    if (this.head !== null) for (const part of this.head) out.push(part)
    this.head = null
  }

  end(): void {
    if (!this.broken) this.outcome ??= "completed"
  }

  private pushPart(frame: Frame, out: Array<Frame>): void {
    if (this.head === null) {
      out.push(frame)
      return
    }
    this.head.push(frame)
    let text = ""
    for (const part of this.head) text += part.source.toString("latin1", part.start, part.end)
    if (webPage.test(text)) this.malformed = "it is none that was asked for"
    else if (text.length >= headLength || frame.terminal) this.release(out)
  }

  private readBody(frame: Frame): void {
    if (frame.json === undefined) {
      this.malformed = frame.length === 0 ? "its body is empty" : "its body is not JSON"
      return
    }
    this.ended = true
    this.outcome = "completed"
    if (isObject(frame.json)) this.read(frame.json)
  }

  private readEvent(frame: Frame): void {
    if (isDone(frame)) {
      this.ended = true
      this.outcome ??= "completed"
      return
    }
    const failed = frame.event === "error"
    // What an image's event carries besides may be megabytes.
    const wanted = failed || !this.begun || frame.source.subarray(frame.dataStart, frame.dataEnd).includes('"usage"')
    this.begun = true
    const data = wanted ? frame.json : undefined
    if (isObject(data)) this.read(data)
    if (failed) this.fail(isObject(data) ? data : frame.data)
  }

  private read(data: JsonObject): void {
    const { error, model, usage } = data
    if (typeof model === "string" && model !== "") this.model = model
    if (isObject(usage)) this.usage = latest(this.usage, usage)
    if (isObject(error)) this.fail(error)
  }

  private fail(error: JsonObject | string): void {
    this.outcome = "failed"
    const message = typeof error === "string" ? error : error.message
    if (typeof message === "string") this.error ??= message
    else if (isObject(error)) this.error ??= jsonText(error)
  }

  summary(): TurnSummary {
    const { error, model, outcome, usage } = this
    return {
      responseId: null,
      model,
      finishReason: null,
      outcome,
      ended: this.ended,
      usage: usage === null ? null : usage.input_tokens === undefined ? fromChat(usage) : fromResponses(usage),
      toolCalls: [],
      thoughts: [],
      error
    }
  }
}
