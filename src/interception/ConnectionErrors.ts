import { type GatewayError, gatewayError } from "../dialect/GatewayError.ts"

/** What a WebSocket's client is told where the connection itself refuses something. */

/** The real service's limits of a connection: how many responses run at once, and how many named lanes it may have. */
export const serviceLimits = { running: 16, lanes: 32 }

export const notText = gatewayError(400, "invalid_request", "Messages must be text, and not binary.")

export const unknownEvent = (type: string): GatewayError =>
  gatewayError(
    400,
    "invalid_request",
    `Unknown event type '${type.slice(0, 100)}': only response.create is known here.`,
    { param: "type" }
  )

export const tooManyLanes = gatewayError(
  400,
  "websocket_stream_limit_reached",
  `A connection may have at most ${serviceLimits.lanes} named streams.`,
  { param: "stream_id" }
)

export const tooManyWaiting = gatewayError(
  429,
  "rate_limit_exceeded",
  "Too many requests of this connection are waiting, or too large ones.",
  { retryAfter: 1 }
)

export const tooLarge = gatewayError(
  502,
  "upstream_malformed",
  "An event of the upstream's is larger than limits.event_bytes."
)

export const requestTooLarge = (limit: number): GatewayError =>
  gatewayError(
    413,
    "request_too_large",
    `The request is larger than limits.body_bytes (${limit} bytes), together with what it goes on from.`
  )

export const nobodyFor = (type: string): GatewayError =>
  gatewayError(
    400,
    "invalid_request",
    `No WebSocket to a provider is open for the stream or the response that this '${type.slice(0, 100)}' is about.`,
    { param: "stream_id" }
  )

export const shuttingDown = gatewayError(503, "shutting_down", "the gateway is shutting down", { retryAfter: 1 })

export const tooOld = gatewayError(
  400,
  "websocket_connection_limit_reached",
  "This connection has reached its age limit. Open a new one to go on."
)

export const responseNotFound = (id: string): GatewayError =>
  gatewayError(400, "previous_response_not_found", `Previous response with id '${id.slice(0, 200)}' not found.`, {
    param: "previous_response_id"
  })
