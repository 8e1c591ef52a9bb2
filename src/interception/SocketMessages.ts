import type { GatewayError } from "../dialect/GatewayError.ts"
import { gatewayError, openAiErrorType } from "../dialect/GatewayError.ts"
import { isObject } from "../dialect/Json.ts"
import { nameOf } from "../dialect/openai-responses/Events.ts"
import { errorOnLane, onLane } from "../dialect/openai-responses/ClientEvents.ts"
import { whole } from "../wire/Frame.ts"
import { locate } from "../wire/JsonSpan.ts"
import type { Frame } from "../wire/Frame.ts"
import type { Head, Refused } from "./InboundRequest.ts"

/** The frames of an answer as messages of a WebSocket. */

/** What fills a connection's silence: one form for all its lanes. */
export const keepAliveMessage = Buffer.from('{"type":"keepalive"}')

/**
 * A frame as a message; `null` for what means nothing there: comments, and the `[DONE]` of some servers. Frames that came
 * over a WebSocket name their lane already, but for those that Sluice has made.
 */
export const messageOf = (frame: Frame, lane: string | null): Buffer | null => {
  if (frame.kind === "message") return frame.terminal ? onLane(frame.bytes, lane) : frame.bytes
  if (frame.kind === "body") return onLane(bodyMessage(frame), lane)
  const data = frame.dataBytes
  if (nameOf(frame) === "error") return streamError(frame, lane)
  return isObjectText(data) ? onLane(data, lane) : null
}

/** An error of a stream in the form of a WebSocket: clients there pass over one that has no status. */
const streamError = (frame: Frame, lane: string | null): Buffer => {
  const data = frame.dataBytes
  const { json } = frame
  if (!isObject(json) || typeof json.status === "number") return onLane(data, lane)
  const error = isObject(json.error) ? json.error : json
  const code = typeof error.code === "string" ? error.code : "server_error"
  const message = typeof error.message === "string" ? error.message : ""
  const param = typeof error.param === "string" ? error.param : null
  const status = /^(?:rate_limit|insufficient_quota)/.test(code) ? 429 : requestErrors.test(code) ? 400 : 500
  const paced = code.startsWith("rate_limit") ? { retryAfter: 1 } : {}
  return errorOnLane(gatewayError(status, code, message, { param, ...paced }), lane)
}

/** Codes of errors that are the request's. */
const requestErrors = /^(?:invalid_|context_length_exceeded)/

/** Whether a text begins as an object does: behind its white space (RFC 8259, section 2) with a brace. */
const isObjectText = (data: Buffer): boolean => {
  let at = 0
  while (space.has(data[at])) at++
  return data[at] === 0x7b
}

const space = new Set<number | undefined>([0x20, 0x09, 0x0a, 0x0d])

/** A response that came as one body, as the last event of a stream. */
const bodyMessage = (frame: Frame): Buffer => {
  const response = frame.json
  const status = isObject(response) ? response.status : undefined
  const type = status === "failed" || status === "incomplete" ? `response.${status}` : "response.completed"
  return Buffer.concat([
    Buffer.from(`{"type":"${type}","sequence_number":0,"response":`),
    frame.dataBytes,
    Buffer.from("}")
  ])
}

/** A refusal as a message. */
export const refusedMessage = ({ body, code, detail, headers, status }: Refused, lane: string | null): Buffer =>
  errorOnLane(errorOf(body, { status, code, message: detail, retryAfter: headers["retry-after"] }), lane)

/** The first byte of a JSON object. */
const brace = 0x7b

/** Headers of an error that clients wait by, or show: an error frame has them in itself. */
const ofErrors = /^(?:retry-after|retry-after-ms|x-ratelimit-.*|x-codex-.*)$/

/** An answer of an upstream that is an error, as a message: its error object as it came, and what its head says of limits. */
export const errorAnswerMessage = (head: Head, body: Frame, lane: string | null): Buffer => {
  const { status } = head
  const data = body.dataBytes
  const span = locate(data, ["error"])
  const isError = span !== null && data[span.start] === brace
  const message = body.data.slice(0, 1000)
  const error = isError
    ? data.toString("utf8", span.start, span.end)
    : JSON.stringify({ type: openAiErrorType(status), code: "upstream_error", message, param: null })
  const headers = Object.entries(head.headers)
    .filter(([name]) => ofErrors.test(name))
    .map(([name, value]) => [name, typeof value === "string" ? value : value.join(", ")])
  const shown = headers.length === 0 ? "" : `,"headers":${JSON.stringify(Object.fromEntries(headers))}`
  return onLane(Buffer.from(`{"type":"error","status":${status},"error":${error}${shown}}`), lane)
}

/** What an error body says, where it says it in the form of its protocol. */
const errorOf = (
  body: string,
  known: {
    readonly status: number
    readonly code: string
    readonly message: string
    readonly retryAfter: string | undefined
  }
): GatewayError => {
  const json = whole("body", Buffer.from(body)).json
  const error = isObject(json) && isObject(json.error) ? json.error : {}
  const text = (value: unknown, other: string) => (typeof value === "string" && value !== "" ? value : other)
  const seconds = Number(known.retryAfter === undefined || known.retryAfter === "" ? Number.NaN : known.retryAfter)
  return gatewayError(
    known.status,
    text(error.code, text(error.type, known.code)),
    text(error.message, known.message),
    {
      param: typeof error.param === "string" ? error.param : null,
      ...(Number.isFinite(seconds) ? { retryAfter: seconds } : {})
    }
  )
}
