import { comment, type Frame, sse, whole } from "../../wire/Frame.ts"
import { type JsonPath, locate, replace } from "../../wire/JsonSpan.ts"
import type { AnswerWriter, Dialect, TransportName } from "../Dialect.ts"
import { type GatewayError, openAiErrorType } from "../GatewayError.ts"
import { isAboutResponse, nameOf, terminals } from "./Events.ts"

/** Writes Responses to the client. */
export class ResponsesWriter implements AnswerWriter {
  private readonly model: string | null
  /** Whether the client is an SDK of OpenAI's. */
  private readonly isSdk: boolean
  /** Whether an event about the response was shown. */
  private begun = false
  /** The last event shown that counts in the sequence, until its number is asked for. */
  private last: Frame | null = null
  /** The highest number known to have been shown. */
  private sequence = -1

  constructor(options: Pick<Parameters<Dialect["answer"]>[0], "model" | "headers">) {
    this.model = options.model === null ? null : JSON.stringify(options.model)
    this.isSdk = options.headers?.["x-stainless-lang"] !== undefined
  }

  push(frame: Frame, _turn: number, out: Array<Frame>): void {
    if (frame.kind === "comment" || frame.kind === "part") {
      out.push(frame)
      return
    }
    if (frame.kind === "body") {
      out.push(this.renamed(frame, bodyModel))
      return
    }
    const name = nameOf(frame)
    const shown = this.model !== null && isAboutResponse(name) ? this.renamed(frame, eventModel) : frame
    if (terminals.has(name) || (name === "error" && frame.kind === "message")) {
      // It waits for its records, and keep-alives go before it: its number is not the last that was shown.
      out.push(shown.asTerminal())
      return
    }
    if (name.startsWith("response.")) {
      this.last = frame
      this.begun = true
    }
    out.push(shown)
  }

  next(_end: ReadonlyArray<Frame>): void {}

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

  private renamed(frame: Frame, path: JsonPath): Frame {
    if (this.model === null) return frame
    if (frame.lines > 1) {
      const span = locate(frame.dataBytes, path)
      return span === null ? frame : frame.spliceData(span.start, span.end, Buffer.from(this.model))
    }
    const changed = replace(frame.dataBytes, path, this.model)
    return changed === null ? frame : frame.withData(changed)
  }
}

const firstSilence = comment("keep-alive")

const bodyModel: JsonPath = ["model"]
const eventModel: JsonPath = ["response", "model"]

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
const errorMessage = (error: GatewayError): Frame => {
  const { code, message, param, retryAfter, status } = error
  const headers = retryAfter === null ? {} : { headers: { "retry-after": String(retryAfter) } }
  const body = { type: "error", status, error: { type: openAiErrorType(status), code, message, param }, ...headers }
  return whole("message", Buffer.from(JSON.stringify(body))).asTerminal()
}
