import type { IncomingMessage, ServerResponse } from "node:http"
import { Duration, Effect } from "effect"
import type { SluiceConfig } from "../config/Config.ts"
import { type GatewayError, gatewayError } from "../dialect/GatewayError.ts"
import type { ErrorCode } from "../recorder/Records.ts"
import { clientError } from "../interception/Answering.ts"
import { Connection, type ConnectionRequest } from "../interception/Connection.ts"
import type { Interception } from "../interception/Interception.ts"
import type { IdleTimers, Upstream, UpstreamError } from "../upstream/Upstream.ts"
import { acceptPeer, handshakeFault } from "./Upgrade.ts"

/** A handshake that is refused, with a real status, while that is still possible. */
export interface HandshakeRefused {
  readonly error: GatewayError
  readonly headers: { readonly [name: string]: string }
  /** What is recorded of it. */
  readonly code: ErrorCode
}

/** What a WebSocket is served with. */
export interface SocketOptions {
  readonly incoming: IncomingMessage
  readonly response: ServerResponse
  readonly request: ConnectionRequest
  readonly config: SluiceConfig
  readonly interception: Interception["Service"]
  readonly upstream: Upstream["Service"]
  readonly timers: IdleTimers["Service"]
  /** Told of the connection once it stands. */
  readonly onOpen: (connection: Connection) => void
}

/** Names that a 426 says to turn to: the protocol, and the connection option for that (RFC 9110, sections 7.8 and 15.5.22). */
export const turnToHttp = { upgrade: "HTTP/1.1", connection: "upgrade, close" }

/**
 * Serves a client's WebSocket until both sides of it are closed. Where the path names a provider that has WebSockets,
 * its own is opened first, so that what it refuses is refused with its status.
 */
export const serveSocket = Effect.fnUntraced(function* (options: SocketOptions) {
  const { config, incoming, request, response, timers, upstream } = options
  const fault = handshakeFault(incoming)
  if (fault !== null)
    return yield* Effect.fail(refused(gatewayError(fault.status, "bad_handshake", fault.message), fault.headers))
  const scope = yield* Effect.scope
  const dialled = yield* dial(upstream, request)
  const peer = yield* acceptPeer(incoming, response, {
    headers: dialled?.headers ?? {},
    maxPayload: config.websocket.max_frame_bytes,
    write: Duration.toMillis(config.limits.write),
    timers
  }).pipe(
    Effect.mapError(({ headers, message, status }) => refused(gatewayError(status, "bad_handshake", message), headers))
  )
  const connection = new Connection(
    {
      client: peer,
      request,
      dialled,
      settings: config,
      interception: options.interception,
      upstream,
      timers
    },
    scope
  )
  options.onOpen(connection)
  yield* connection.run
}, Effect.scoped)

const refused = (
  error: GatewayError,
  headers: HandshakeRefused["headers"] = {},
  code: ErrorCode = "bad_request"
): HandshakeRefused => ({ error, headers, code })

/** The WebSocket of the provider that the path names; `null` where it takes none. */
const dial = Effect.fnUntraced(function* (upstream: Upstream["Service"], request: ConnectionRequest) {
  const { credential, headers, path, provider, query } = request
  if (provider === null) return null
  const route = upstream.named(provider, "openai-responses")
  if ("_tag" in route) return yield* Effect.fail(refused(gatewayError(404, route.code, route.message)))
  if (!route.provider.websocket) return null
  return yield* upstream.connect({ provider, path, query, headers, credential }).pipe(Effect.mapError(handshakeError))
})

/**
 * What a client is told of a provider that does not take a WebSocket. After a 426 it sends a POST at once, which then
 * gets a rate limit's own answer; other statuses cost it seconds, and a 429 here is the end for Codex.
 */
const handshakeError = (error: UpstreamError): HandshakeRefused => {
  const known = clientError(error)
  const { status } = known
  const { code } = error.reason
  if (status === 429 || status === 426) {
    return refused(gatewayError(426, "websocket_unavailable", `${known.message}; send a POST.`), turnToHttp, code)
  }
  return refused(status < 400 || status === 405 ? { ...known, status: 502 } : known, {}, code)
}
