import type { IncomingMessage, ServerResponse } from "node:http"
import { type GatewayError, gatewayError } from "../dialect/GatewayError.ts"
import { dialectOf } from "../dialect/Dialects.ts"
import type { Refused } from "../interception/InboundRequest.ts"
import { isAnthropicCaller } from "./Models.ts"
import { dialectOfPath } from "./Paths.ts"

/** A path and its query, as the client wrote them. */
export interface Address {
  readonly path: string
  /** With its question mark, or empty. */
  readonly query: string
}

/** Takes a request target apart; one in absolute form (RFC 9112, section 3.2.2) loses its origin. */
export const addressOf = (target: string): Address => {
  const local = target.startsWith("/") ? target : target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, "")
  const mark = local.indexOf("?")
  const path = mark === -1 ? local : local.slice(0, mark)
  return { path: path === "" ? "/" : path, query: mark === -1 ? "" : local.slice(mark) }
}

/** Answers with an error in the form of its dialect. */
export const sendRefusal = (
  response: ServerResponse,
  refused: Refused,
  headers: { readonly [name: string]: string } = {}
): void => {
  sendJson(response, refused.status, refused.body, {
    ...refused.headers,
    ...headers,
    "x-sluice-interception-id": refused.interceptionId
  })
}

/** The dialect of a caller: that of the path, or else of the headers. */
const dialectOfCaller = ({ headers, url }: IncomingMessage) =>
  dialectOf(
    dialectOfPath(addressOf(url ?? "/").path) ?? (isAnthropicCaller(headers) ? "anthropic-messages" : "openai-chat")
  )

/**
 * Answers a call that is no interception with an error in the form of its caller's dialect; where there is none, in the
 * one most clients read.
 *
 * @param id stands in the head as the request's id
 */
export const sendError = (
  response: ServerResponse,
  error: GatewayError,
  id: string,
  headers: { readonly [name: string]: string } = {}
): void => {
  const dialect = dialectOfCaller(response.req)
  sendJson(response, error.status, dialect.errorBody(error, id), {
    [dialect.requestIdHeader]: id,
    ...(error.retryAfter === null ? {} : { "retry-after": String(error.retryAfter) }),
    ...headers
  })
}

const sendJson = (
  response: ServerResponse,
  status: number,
  body: string,
  headers: { readonly [name: string]: string }
): void => {
  if (response.headersSent || response.destroyed) return
  response.writeHead(status, {
    "content-type": "application/json",
    ...headers,
    "content-length": Buffer.byteLength(body)
  })
  response.end(response.req.method === "HEAD" ? undefined : body)
}

/** What a client is told that calls while the service stops. */
export const shuttingDown = gatewayError(503, "shutting_down", "The gateway is shutting down.", { retryAfter: 1 })

/** What a client is told where the gateway itself is at fault. */
export const internalError = gatewayError(500, "internal_error", "The gateway failed; its log says more.")

/** The refusal of a method that a route does not have. */
export const methodNotAllowed = (request: IncomingMessage, allowed: ReadonlyArray<string>): GatewayError =>
  gatewayError(405, "method_not_allowed", `${request.method} is not allowed here; allowed: ${allowed.join(", ")}.`)

/** Whether a request is the handshake of a WebSocket (RFC 6455, section 4.1). */
export const wantsWebSocket = ({ headers, method }: IncomingMessage): boolean =>
  method === "GET" && /^websocket$/i.test(headers.upgrade ?? "")

/** The refusal of a WebSocket. Clients send a POST at once after this status, and only after seconds after any other. */
export const noWebSocket = gatewayError(426, "websocket_unavailable", "There are no WebSockets here; send a POST.")
