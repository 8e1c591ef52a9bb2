import type { Frame } from "../../wire/Frame.ts"
import type { RequestView, TurnOutcome, TurnReader, TurnSummary } from "../Dialect.ts"
import { ChatReader } from "../openai-chat/Reader.ts"
import { ResponsesReader } from "../openai-responses/Reader.ts"
import { PlainReader } from "./PlainReader.ts"
import { protocolOf, tells } from "./Protocol.ts"

/**
 * Reads an answer to inference that is passed through: how it ended and what it used. Where it comes in the frames of a
 * protocol that Sluice speaks, the reader of that knows both.
 */
export class PassThroughReader implements TurnReader {
  readonly holding = false
  private readonly asked: RequestView
  private reader: TurnReader = new PlainReader()
  private known = false

  constructor({ asked }: { readonly asked: RequestView }) {
    this.asked = asked
  }

  push(frame: Frame, out: Array<Frame>): void {
    if (!this.known && tells(frame)) {
      this.known = true
      const protocol = protocolOf(frame)
      this.reader.release(out)
      if (protocol === "openai-responses") this.reader = new ResponsesReader()
      else if (protocol === "openai-chat") this.reader = new ChatReader({ asked: this.asked })
    }
    this.reader.push(frame, out)
  }

  release(): void {}

  end(cut: boolean, out: Array<Frame>): void {
    this.reader.end(cut, out)
  }

  get malformed(): string | null {
    return this.reader.malformed
  }

  get outcome(): TurnOutcome | null {
    return this.reader.outcome
  }

  get ended(): boolean {
    return this.reader.ended
  }

  /** Without what was said: that is recorded of the protocols that are intercepted. */
  summary(): TurnSummary {
    return { ...this.reader.summary(), responseId: null, toolCalls: [], thoughts: [] }
  }
}
