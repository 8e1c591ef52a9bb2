import { comment, type Frame, sse } from "../../wire/Frame.ts"
import { MemberReplacer } from "../../wire/MemberReplacer.ts"
import type { AnswerWriter, Dialect, TransportName } from "../Dialect.ts"
import { isDone } from "../Done.ts"
import { type GatewayError, openAiErrorType } from "../GatewayError.ts"
import { isObject } from "../Json.ts"
import { JoinedTurns } from "./JoinedTurns.ts"

/** A comment: the one form of keep-alive that every Chat client passes over. */
const keepAlive = comment("keep-alive")

/** Writes Chat Completions to the client. */
export class ChatWriter implements AnswerWriter {
  private readonly model: MemberReplacer | null
  private readonly usageAdded: boolean
  /** What makes several turns one answer; `null` where there is but one. */
  private readonly turns: JoinedTurns | null

  constructor(options: Pick<Parameters<Dialect["answer"]>[0], "model" | "usageAdded" | "injected" | "usage">) {
    this.model = options.model === null ? null : new MemberReplacer("model", JSON.stringify(options.model))
    this.usageAdded = options.usageAdded
    this.turns = options.injected === true ? new JoinedTurns(options.usage ?? "sum") : null
  }

  push(frame: Frame, turn: number, out: Array<Frame>): void {
    if (frame.kind === "comment" || frame.kind === "part") {
      out.push(frame)
      return
    }
    if (isDone(frame)) {
      out.push(frame.asTerminal())
      return
    }
    const shown = this.turns === null ? frame : this.turns.apply(frame, turn)
    // A frame with usage was read by the turn's reader, so a look at what was parsed is enough.
    if (shown === null || (this.usageAdded && isUsageOnly(frame.peek))) return
    out.push(this.model === null ? shown : this.model.apply(shown))
  }

  next(end: ReadonlyArray<Frame>): void {
    this.turns?.end(end)
  }

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
