import type { Frame } from "../../wire/Frame.ts"
import { MemberReplacer } from "../../wire/MemberReplacer.ts"
import type { AnswerWriter, Dialect, RequestView, TransportName } from "../Dialect.ts"
import type { GatewayError } from "../GatewayError.ts"
import { ChatWriter } from "../openai-chat/Writer.ts"
import { ResponsesWriter } from "../openai-responses/Writer.ts"
import { expectedProtocol, type Protocol, protocolOf, tells } from "./Protocol.ts"

/**
 * Writes the answer to inference that is passed through. Its frames stay as they came, but for the model's name where
 * Sluice changed that in the request; a stream that breaks ends in an error of the protocol it came in.
 */
export class PassThroughWriter implements AnswerWriter {
  private readonly asked: RequestView
  private readonly model: string | null
  private readonly headers: Parameters<Dialect["answer"]>[0]["headers"]
  private readonly replacer: MemberReplacer | null
  /** Writes frames of a protocol that Sluice speaks. */
  private writer: AnswerWriter | null = null
  private known = false

  constructor({ asked, headers, model }: Pick<Parameters<Dialect["answer"]>[0], "asked" | "headers" | "model">) {
    this.asked = asked
    this.model = model
    this.headers = headers
    this.replacer = model === null ? null : new MemberReplacer("model", JSON.stringify(model))
  }

  push(frame: Frame, turn: number, out: Array<Frame>): void {
    if (!this.known && tells(frame)) {
      this.known = true
      const protocol = protocolOf(frame)
      if (protocol !== null) this.writer = this.writerOf(protocol)
    }
    if (this.writer !== null) this.writer.push(frame, turn, out)
    else out.push(this.replacer === null ? frame : this.replacer.apply(frame))
  }

  private writerOf(protocol: Protocol): AnswerWriter {
    const { headers, model } = this
    return protocol === "openai-responses"
      ? new ResponsesWriter({ model, ...(headers === undefined ? {} : { headers }) })
      : new ChatWriter({ model, usageAdded: false })
  }

  next(): void {}

  finish(): void {}

  keepAlive(): Frame | null {
    return null
  }

  fail(error: GatewayError, transport: TransportName, out: Array<Frame>): void {
    const writer = this.writer ?? this.writerOf(this.known ? "openai-chat" : expectedProtocol(this.asked))
    writer.fail(error, transport, out)
  }
}
