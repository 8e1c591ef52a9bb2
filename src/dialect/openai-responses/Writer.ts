import { comment, type Frame, sse, whole } from "../../wire/Frame.ts"
import { type Edit, type JsonPath, locate } from "../../wire/JsonSpan.ts"
import { replaceValue } from "../../wire/ReplaceValue.ts"
import type { AnswerWriter, Dialect, TransportName } from "../Dialect.ts"
import { type GatewayError, openAiErrorType } from "../GatewayError.ts"
import { EarlierTurns } from "./EarlierTurns.ts"
import { isAboutResponse, nameOf, terminals } from "./Events.ts"
import { edited, placeOf, type Replacement, renumber, replaced } from "./FrameEdit.ts"

/** Writes Responses to the client. */
export class ResponsesWriter implements AnswerWriter {
  /** Members of a response that repeat the request, as its client sent them where Sluice has changed them. */
  private readonly echoes: ReadonlyArray<readonly [key: string, raw: string]>
  /** Whether the client is an SDK of OpenAI's. */
  private readonly isSdk: boolean
  /** Whether an event about the response was shown. */
  private begun = false
  /** The last event shown that counts in the sequence, until its number is asked for. */
  private last: Frame | null = null
  /** The highest number known to have been shown. */
  private sequence = -1

  /** What turns before this one have shown; `null` where there can be but one. */
  private readonly earlier: EarlierTurns | null
  /** The events of the present turn that finished an item. */
  private finished: Array<Frame> = []

  constructor(
    options: Pick<Parameters<Dialect["answer"]>[0], "model" | "previous" | "headers" | "injected" | "usage">
  ) {
    const { model, previous = null } = options
    this.echoes = [["model", model] as const, ["previous_response_id", previous] as const].flatMap(([key, value]) =>
      value === null ? [] : [[key, JSON.stringify(value)] as const]
    )
    this.isSdk = options.headers?.["x-stainless-lang"] !== undefined
    this.earlier = options.injected === true ? new EarlierTurns(options.usage ?? "sum") : null
  }

  push(frame: Frame, turn: number, out: Array<Frame>): void {
    if (frame.kind === "comment" || frame.kind === "part") {
      out.push(frame)
      return
    }
    if (frame.kind === "body") {
      const shown = turn === 0 ? frame : this.joined(frame)
      out.push(this.restored(shown, []))
      return
    }
    // What its reader had no reason to parse ends nothing: of a delta no more is asked, and nearly all events are deltas.
    const isDelta = frame.peek === undefined && frame.event.endsWith(".delta")
    const name = isDelta ? frame.event : nameOf(frame)
    if (turn > 0) {
      this.pushLater(frame, name, out)
      return
    }
    const shown = this.echoes.length > 0 && isAboutResponse(name) ? this.restored(frame, inEvent) : frame
    if (endsAnswer(frame, name)) {
      // It waits for its records, and keep-alives go before it: its number is not the last that was shown.
      out.push(shown.asTerminal())
      return
    }
    if (name.startsWith("response.")) {
      this.last = frame
      this.begun = true
      if (this.earlier !== null && name === itemDone) this.finished.push(frame)
    }
    out.push(shown)
  }

  next(end: ReadonlyArray<Frame>): void {
    this.earlier?.add(end, this.finished)
    this.finished = []
  }

  /** An event of a turn behind the first: the answer has begun, and this goes on where the turn before stopped. */
  private pushLater(frame: Frame, name: string, out: Array<Frame>): void {
    if (beginnings.has(name)) return
    if (endsAnswer(frame, name)) {
      out.push(this.restored(this.joined(frame), inEvent).asTerminal())
      return
    }
    if (name === itemDone) this.finished.push(frame)
    const { outputIndex, responseId, sequence } = placeOf(frame)
    const replacements: Array<Replacement> = []
    if (outputIndex !== null && this.earlier !== null)
      renumber(replacements, "output_index", outputIndex, outputIndex.value + this.earlier.places)
    if (sequence !== null) renumber(replacements, "sequence_number", sequence, this.takeSequence(name))
    const id = this.earlier?.id ?? null
    if (responseId !== null && id !== null) replacements.push({ key: "response_id", span: responseId, raw: id })
    const shown = replaced(frame, replacements)
    if (!isAboutResponse(name)) out.push(shown)
    // An event in the midst of a later turn that holds its response has the id of the first.
    else out.push(this.restored(id === null ? shown : replaceValue(shown, idPath, id), inEvent))
  }

  /** The number of an event that goes on now. One that fills silence repeats the last. */
  private takeSequence(name: string): number {
    if (name === "keepalive") return Math.max(0, this.lastSequence())
    this.sequence = this.lastSequence() + 1
    return this.sequence
  }

  /** The last frame of a later turn as that of the whole answer. */
  private joined(last: Frame): Frame {
    const edits: Array<Edit> = [...(this.earlier?.editsOf(last, this.finished) ?? [])]
    if (last.kind !== "body" && sequenceOf(last) !== null)
      edits.push({ op: "replace", path: ["sequence_number"], raw: String(this.lastSequence() + 1) })
    return edited(last, edits)
  }

  finish(): void {}

  /**
   * An event that every client of Responses passes over and that still stops their idle timers, as comments do not. Only
   * the streams of OpenAI's SDKs fail on any event before `response.created`; a comment does for them by then.
   */
  keepAlive(transport: TransportName): Frame | null {
    if (transport === "json") return null
    if (transport === "ws") return whole("message", Buffer.from('{"type":"keepalive"}'))
    if (this.isSdk && !this.begun) return firstSilence
    const sequence_number = Math.max(0, this.lastSequence())
    return sse("keepalive", JSON.stringify({ type: "keepalive", sequence_number }))
  }

  fail(error: GatewayError, transport: TransportName, out: Array<Frame>): void {
    if (transport === "sse") out.push(errorEvent(error, this.lastSequence() + 1))
    else if (transport === "ws") out.push(errorMessage(error))
  }

  /** The sequence number that was shown last; -1 before any. Numbers are looked for only here. */
  private lastSequence(): number {
    const { last } = this
    if (last !== null) {
      this.last = null
      this.sequence = sequenceOf(last) ?? this.sequence
    }
    return this.sequence
  }

  /** The frame with what its response repeats of the request as the client sent that. */
  private restored(frame: Frame, response: JsonPath): Frame {
    let shown = frame
    for (const [key, raw] of this.echoes) shown = replaceValue(shown, [...response, key], raw)
    return shown
  }
}

const itemDone = "response.output_item.done"

/** The events that begin an answer, of which it has but one each. */
const beginnings = new Set(["response.created", "response.queued", "response.in_progress"])

const endsAnswer = (frame: Frame, name: string): boolean =>
  terminals.has(name) || (name === "error" && frame.kind === "message")

const firstSilence = comment("keep-alive")

const inEvent: JsonPath = ["response"]
const idPath: JsonPath = ["response", "id"]

const sequenceOf = (frame: Frame): number | null => {
  const data = frame.dataBytes
  const span = locate(data, ["sequence_number"])
  const value = span === null ? null : Number(data.toString("latin1", span.start, span.end))
  return Number.isSafeInteger(value) ? value : null
}

/** The event of an error, which ends a stream: https://platform.openai.com/docs/api-reference/responses-streaming/error */
export const errorEvent = (error: GatewayError, sequence: number): Frame => {
  const { code, message, param } = error
  return sse("error", JSON.stringify({ type: "error", sequence_number: sequence, code, message, param }), true)
}

/** The same over WebSocket. Codex passes over an error without a status, and comes back from a 429 that says when. */
export const errorMessage = (error: GatewayError): Frame => {
  const { code, message, param, retryAfter, status } = error
  const headers = retryAfter === null ? {} : { headers: { "retry-after": String(retryAfter) } }
  const body = { type: "error", status, error: { type: openAiErrorType(status), code, message, param }, ...headers }
  return whole("message", Buffer.from(JSON.stringify(body))).asTerminal()
}
