import type { Frame } from "../../wire/Frame.ts"
import { locate, replace } from "../../wire/JsonSpan.ts"
import {
  type AnswerWriter,
  type Dialect,
  noSession,
  noTools,
  type RequestView,
  type TransportName,
  type TurnReader,
  type TurnSummary
} from "../Dialect.ts"
import type { GatewayError } from "../GatewayError.ts"
import { isObject } from "../Json.ts"
import { errorBody, errorEvent } from "../openai-chat/Writer.ts"
import { fromChat, fromResponses, type TokenUsage } from "../Usage.ts"

/**
 * Inference in a protocol that Sluice does not speak (embeddings, images, …): nothing is judged or changed, and of the
 * answer only the usage is read, where it is JSON and has one in OpenAI's form.
 */
export const passThrough: Dialect = {
  name: null,
  terminalEvents: new Set(),
  view: (raw) => ({
    _tag: "RequestView",
    raw,
    model: modelOf(raw),
    stream: false,
    prompt: null,
    wantsUsage: true,
    choices: 1,
    background: false,
    answered: null,
    tools: noTools,
    session: noSession
  }),
  edit: {
    model: (body, model) =>
      locate(body, ["model"]) === null ? body : (replace(body, ["model"], JSON.stringify(model)) ?? body),
    askForUsage: (_view: RequestView, body) => body,
    injectTools: (body) => body,
    forbidTools: (body) => body,
    continueWith: () => null
  },
  output: () => null,
  turn: () => new PassThroughReader(),
  answer: () => new PassThroughWriter(),
  errorBody,
  requestIdHeader: "x-request-id"
}

const modelOf = (raw: Buffer): string => {
  // A body may be a form with a file in it; JSON begins with a brace.
  if (raw[0] !== 0x7b && !/^\s*\{/.test(raw.toString("latin1", 0, 64))) return ""
  const body = parse(raw)
  return isObject(body) && typeof body.model === "string" ? body.model : ""
}

const parse = (raw: Buffer): unknown => {
  try {
    return JSON.parse(raw.toString("utf8"))
  } catch {
    return null
  }
}

class PassThroughReader implements TurnReader {
  readonly malformed = null
  readonly holding = false
  outcome: "completed" | null = null
  private model: string | null = null
  private usage: TokenUsage | null = null

  push(frame: Frame, out: Array<Frame>): void {
    if (frame.kind === "body" && isObject(frame.json)) {
      const { model, usage } = frame.json
      if (typeof model === "string") this.model = model
      if (isObject(usage)) this.usage = usage.input_tokens === undefined ? fromChat(usage) : fromResponses(usage)
      this.outcome = "completed"
    }
    out.push(frame)
  }

  release(): void {}

  end(): void {
    this.outcome = "completed"
  }

  get ended(): boolean {
    return this.outcome !== null
  }

  summary(): TurnSummary {
    return {
      responseId: null,
      model: this.model,
      finishReason: null,
      outcome: this.outcome,
      ended: this.ended,
      usage: this.usage,
      toolCalls: [],
      thoughts: [],
      error: null
    }
  }
}

class PassThroughWriter implements AnswerWriter {
  push(frame: Frame, _turn: number, out: Array<Frame>): void {
    out.push(frame)
  }

  next(): void {}

  finish(): void {}

  keepAlive(): Frame | null {
    return null
  }

  fail(error: GatewayError, transport: TransportName, out: Array<Frame>): void {
    if (transport === "sse") out.push(errorEvent(error))
  }
}
