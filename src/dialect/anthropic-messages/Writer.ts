import { type Frame, sse } from "../../wire/Frame.ts"
import { replaceValue } from "../../wire/ReplaceValue.ts"
import type { AnswerWriter, TransportName } from "../Dialect.ts"
import type { GatewayError } from "../GatewayError.ts"
import { isObject } from "../Json.ts"

/** The form of keep-alive that Anthropic itself has. */
const keepAlive = sse("ping", '{"type": "ping"}')

/** Writes Messages to the client. */
export class MessagesWriter implements AnswerWriter {
  /** The model as JSON text. */
  private readonly model: string | null

  constructor(options: { readonly model: string | null }) {
    this.model = options.model === null ? null : JSON.stringify(options.model)
  }

  push(frame: Frame, _turn: number, out: Array<Frame>): void {
    // The reader has parsed every frame in which there is something to see.
    const said = frame.peek
    const type = isObject(said) ? said.type : undefined
    if (type === "message_stop" || type === "error" || frame.event === "error") out.push(frame.asTerminal())
    else if (this.model === null) out.push(frame)
    else if (frame.kind === "body") out.push(replaceValue(frame, ["model"], this.model))
    else out.push(type === "message_start" ? replaceValue(frame, ["message", "model"], this.model) : frame)
  }

  next(_end: ReadonlyArray<Frame>): void {}

  finish(): void {}

  keepAlive(transport: TransportName): Frame | null {
    return transport === "sse" ? keepAlive : null
  }

  /**
   * An upstream that broke off is worded as an overloaded one: behind any other error Claude Code asks again without a
   * stream, where nothing fills the silence.
   */
  fail(error: GatewayError, transport: TransportName, out: Array<Frame>): void {
    if (transport === "sse") {
      const type = error.status === 502 || error.status === 504 ? "overloaded_error" : errorType(error.status)
      out.push(sse("error", JSON.stringify({ type: "error", error: { type, message: error.message } }), true))
    }
  }
}

/** The `type` of Anthropic's errors of a status: https://docs.anthropic.com/en/api/errors */
const errorType = (status: number): string => {
  switch (status) {
    case 401:
      return "authentication_error"
    case 402:
      return "billing_error"
    case 403:
      return "permission_error"
    case 404:
      return "not_found_error"
    case 413:
      return "request_too_large"
    case 429:
      return "rate_limit_error"
    case 503:
    case 529:
      return "overloaded_error"
    case 504:
      return "timeout_error"
  }
  return status >= 500 ? "api_error" : "invalid_request_error"
}

const errorObject = (error: GatewayError) => ({ type: errorType(error.status), message: error.message })

/** An error in Anthropic's form. */
export const errorBody = (error: GatewayError, requestId: string): string =>
  JSON.stringify({ type: "error", error: errorObject(error), request_id: requestId })
