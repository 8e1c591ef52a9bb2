import { isObject, type JsonObject } from "../dialect/Json.ts"
import { locate, remove, replace, set } from "../wire/JsonSpan.ts"
import { whole } from "../wire/Frame.ts"

/** What an upstream of Responses says over a WebSocket, as it says it over HTTP. */

/**
 * Whether a message is about its connection and stands in no stream: rate limits and timings, which HTTP has headers for,
 * and what fills silence, which is done for each stream anew. What is of a stream has a number in it.
 */
export const isOfConnection = (name: string, data: Buffer): boolean =>
  (name.startsWith("codex.") || name.startsWith("responsesapi.") || name === "keepalive") && !isNumbered(data)

const isNumbered = (data: Buffer): boolean => locate(data, ["sequence_number"]) !== null

/**
 * Whether an `error` is an event of its stream, which `response.failed` may follow, and not what a WebSocket says in
 * place of that: https://developers.openai.com/api/docs/guides/websocket-mode
 */
export const isErrorEvent = (data: Buffer): boolean => {
  const message = objectIn(data)
  return message.status === undefined && message.status_code === undefined && isNumbered(data)
}

const newLine = /\r\n|\r|\n/

/** A message as an event of a stream, with its name before it. */
export const eventOf = (name: string, data: Buffer): Buffer => {
  const line = name === "" || newLine.test(name) ? "data: " : `event: ${name}\ndata: `
  // White space between the values of JSON may break a line; within a string none does.
  const broken = data.includes(10) || data.includes(13)
  const text = broken ? Buffer.from(data.toString("latin1").split(newLine).join("\ndata: "), "latin1") : data
  return Buffer.concat([Buffer.from(line), text, blank])
}

const blank = Buffer.from("\n\n")

/** A message about a response that went on from another one, as if all input had been sent. */
export const withoutPrevious = (data: Buffer): Buffer => {
  const span = locate(data, previous)
  return span === null ? data : (replace(data, previous, "null") ?? data)
}

const previous = ["response", "previous_response_id"]

/** An error that a request was answered with, as HTTP has it. */
export interface SocketRefusal {
  readonly status: number
  readonly headers: { readonly [name: string]: string }
  readonly body: Buffer
  readonly code: string
}

/** An `error` that came in place of a response. Where it has no status, that is told by its code. */
export const refusalOf = (data: Buffer): SocketRefusal => {
  const message = objectIn(data)
  const span = isObject(message.error) ? locate(data, ["error"]) : null
  const error = errorIn(message)
  const code = typeof error.code === "string" ? error.code : ""
  const { headers = {}, status = message.status_code } = message
  const named = Object.entries(isObject(headers) ? headers : {}).flatMap(([name, value]) =>
    typeof value === "string" || typeof value === "number" ? [[name.toLowerCase(), String(value)] as const] : []
  )
  const body =
    span === null
      ? Buffer.from(JSON.stringify({ error: { type: error.type, code, message: error.message, param: error.param } }))
      : Buffer.concat([Buffer.from('{"error":'), data.subarray(span.start, span.end), Buffer.from("}")])
  return {
    status: typeof status === "number" && status >= 400 && status <= 599 ? status : statusOf(code),
    headers: { ...Object.fromEntries(named), "content-type": "application/json" },
    body,
    code
  }
}

const statusOf = (code: string): number => {
  if (/^(?:rate_limit|insufficient_quota)/.test(code)) return 429
  return /^(?:invalid_|context_length_exceeded|previous_response_not_found)/.test(code) ? 400 : 500
}

/**
 * An `error` that ends a response which has begun, as an event of its stream.
 *
 * @param before the message before it
 */
export const errorEventOf = (data: Buffer, before: Buffer): Buffer => {
  const { sequence_number: last } = objectIn(before)
  let event = data
  for (const key of ["status", "status_code", "headers"]) event = remove(event, [key]) ?? event
  const number = typeof last === "number" ? last + 1 : 0
  return eventOf("error", set(event, ["sequence_number"], String(number)) ?? event)
}

const objectIn = (data: Buffer): JsonObject => {
  const { json } = whole("message", data)
  return isObject(json) ? json : {}
}

const errorIn = (message: JsonObject): JsonObject => (isObject(message.error) ? message.error : message)
