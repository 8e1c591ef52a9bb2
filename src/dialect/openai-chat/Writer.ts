import { comment, type Frame, sse } from "../../wire/Frame.ts"
import { MemberReplacer } from "../../wire/MemberReplacer.ts"
import type { AnswerWriter, TransportName } from "../Dialect.ts"
import { type GatewayError, openAiErrorType } from "../GatewayError.ts"
import { isObject } from "../Json.ts"
import { isDone } from "./Done.ts"

/** A comment: the one form of keep-alive that every Chat client passes over. */
const keepAlive = comment("keep-alive")

/** Writes Chat Completions to the client. */
export class ChatWriter implements AnswerWriter {
  private readonly model: MemberReplacer | null
  private readonly usageAdded: boolean

  constructor(options: { readonly model: string | null; readonly usageAdded: boolean }) {
    this.model = options.model === null ? null : new MemberReplacer("model", JSON.stringify(options.model))
    this.usageAdded = options.usageAdded
  }

  push(frame: Frame, _turn: number, out: Array<Frame>): void {
    if (frame.kind === "comment" || frame.kind === "part") {
      out.push(frame)
      return
    }
    if (isDone(frame)) {
      out.push(frame.asTerminal())
      return
    }
    // A frame with usage was read by the turn's reader, so a look at what was parsed is enough.
    if (this.usageAdded && isUsageOnly(frame.peek)) return
    out.push(this.model === null ? frame : this.model.apply(frame))
  }

  next(_end: ReadonlyArray<Frame>): void {}

  finish(): void {}

  keepAlive(transport: TransportName): Frame | null {
    return transport === "sse" ? keepAlive : null
  }

  fail(error: GatewayError, transport: TransportName, out: Array<Frame>): void {
    if (transport === "sse") out.push(errorEvent(error))
  }
}

/** The chunk that only the option Sluice added brings: usage, and no choice. */
const isUsageOnly = (chunk: unknown): boolean =>
  isObject(chunk) &&
  isObject(chunk.usage) &&
  (chunk.choices === undefined ||
    chunk.choices === null ||
    (Array.isArray(chunk.choices) && chunk.choices.length === 0))

/** An error in OpenAI's form: https://platform.openai.com/docs/guides/error-codes */
export const errorBody = (error: GatewayError): string =>
  JSON.stringify({
    error: { message: error.message, type: openAiErrorType(error.status), param: error.param, code: error.code }
  })

/** The same as an event of a stream, which it ends. */
export const errorEvent = (error: GatewayError): Frame => sse("", errorBody(error), true)
