import type { IncomingMessage, Server, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { Data, Effect, Result, type Scope } from "effect"
import { WebSocketServer } from "ws"
import type { IdleTimers, Peer } from "../upstream/Upstream.ts"
import { connectionOptions, WebSocketPeer } from "../upstream/WebSocketPeer.ts"
import { wantsWebSocket } from "./Requests.ts"

/**
 * A handshake that cannot be accepted. Nothing was written: whoever asked for it is answered on the response like
 * every other request, with `status` and `headers`.
 */
export class UpgradeFailed extends Data.TaggedError("UpgradeFailed")<{
  readonly status: 400 | 426
  readonly message: string
  readonly headers: { readonly [name: string]: string }
}> {}

/** What a WebSocket with a client is given. */
export interface AcceptOptions {
  /** Put on the answer of the handshake. Names that a handshake has itself are left out. */
  readonly headers: { readonly [name: string]: string | ReadonlyArray<string> }
  /** The largest message that a client may send, in bytes: `websocket.max_frame_bytes`. */
  readonly maxPayload: number
  /** How long a client may take nothing of what was sent, in milliseconds: `limits.write`. */
  readonly write: number
  readonly timers: IdleTimers["Service"]
  /** After how much silence a client is asked for a sign of life, in milliseconds; 30 seconds unless given. */
  readonly ping?: number
}

/** What stands behind a handshake until it is answered. */
interface Waiting {
  /** What the client sent behind its request already. */
  readonly early: () => Buffer
  readonly unwatch: () => void
}

/** How many bytes a client may send behind a handshake that is not answered: it is to wait (RFC 6455, section 4.1). */
const earlyBound = 65_536

const waiting = new WeakMap<IncomingMessage, Waiting>()

/**
 * Keeps what Effect's server does not hand to its routes: the bytes that a client sent behind its handshake, for
 * `acceptPeer`. They are read as they come, for only behind them shows that a client has left: its connection is closed
 * then, by which its route is interrupted, and so is that of one which sends more than 64 KiB before it is answered.
 *
 * @param server that is not listening yet
 */
export const keepUpgrades = (server: Server): void => {
  server.prependListener("upgrade", (incoming: IncomingMessage, socket: Socket, head: Buffer) => {
    if (!wantsWebSocket(incoming)) return
    const chunks = [head]
    let size = head.length
    const onData = (chunk: Buffer) => {
      size += chunk.length
      chunks.push(chunk)
      if (size > earlyBound) leave()
    }
    const leave = () => {
      chunks.length = 0
      if (socket.writableLength === 0) socket.destroy()
      else socket.destroySoon()
    }
    socket.on("data", onData)
    socket.once("end", leave)
    const unwatch = () => {
      socket.off("data", onData)
      socket.off("end", leave)
      // Nothing is read until somebody listens again.
      socket.pause()
    }
    waiting.set(incoming, { early: () => Buffer.concat(chunks), unwatch })
  })
}

/** What is wrong with a handshake (RFC 6455, section 4.2.1), or `null`: to be asked before anything is done for it. */
export const handshakeFault = ({ headers, method }: IncomingMessage): UpgradeFailed | null => {
  if (method !== "GET" || !/^websocket$/i.test(headers.upgrade ?? "")) {
    return fault(426, "This is no handshake of a WebSocket.", { upgrade: "websocket", connection: "upgrade, close" })
  }
  if (headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) !== 0) {
    // Its body would be taken for the first frames.
    return fault(400, "A handshake of a WebSocket has no body.")
  }
  if (headers["sec-websocket-version"] !== "13") {
    // Section 4.2.2: it says which would have been taken.
    return fault(426, "WebSockets are spoken in version 13 here.", { "sec-websocket-version": "13" })
  }
  return /^[+/0-9A-Za-z]{22}==$/.test(headers["sec-websocket-key"] ?? "")
    ? null
    : fault(400, "The header Sec-WebSocket-Key is missing, or no key of a WebSocket.")
}

const fault = (
  status: UpgradeFailed["status"],
  message: string,
  headers: UpgradeFailed["headers"] = {}
): UpgradeFailed => new UpgradeFailed({ status, message, headers })

/**
 * Accepts a client's WebSocket. From then on the response belongs to nobody: it is ended without a byte, so that the
 * server writes none either. Closing the scope closes the connection.
 *
 * The connection is read at once. A client that leaves without a word closes its socket, by which Effect's server
 * interrupts the route; one that closes the WebSocket does not.
 *
 * @param response the one that the server gives for the request, of which nothing has been written
 */
export const acceptPeer = (
  incoming: IncomingMessage,
  response: ServerResponse,
  options: AcceptOptions
): Effect.Effect<Peer, UpgradeFailed, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.suspend(() => Effect.fromResult(upgrade(incoming, response, options))),
    (peer) => peer.release
  )

const upgrade = (
  incoming: IncomingMessage,
  response: ServerResponse,
  options: AcceptOptions
): Result.Result<WebSocketPeer, UpgradeFailed> => {
  const known = handshakeFault(incoming)
  if (known !== null) return Result.fail(known)
  const { socket } = incoming
  const { early, unwatch } = waiting.get(incoming) ?? { early: () => Buffer.alloc(0), unwatch: () => {} }
  const server = new WebSocketServer({
    ...connectionOptions(options.maxPayload),
    noServer: true,
    clientTracking: false,
    // No protocol of a provider has a name, and what is offered instead is a credential.
    handleProtocols: () => false
  })
  let result: Result.Result<WebSocketPeer, UpgradeFailed> = Result.fail(fault(400, "The client has left."))
  server.on("wsClientError", ({ message }: Error) => {
    result = Result.fail(fault(400, message))
  })
  server.on("headers", (lines: Array<string>) => {
    // Nothing was written so far, and could have been: from here on the socket is no longer the response's.
    unwatch()
    response.detachSocket(socket)
    response.statusCode = 101
    response.end()
    for (const [name, value] of Object.entries(options.headers)) {
      for (const one of typeof value === "string" ? [value] : value) {
        if (isOurs(name, one)) lines.push(`${name}: ${one}`)
      }
    }
  })
  server.handleUpgrade(incoming, socket, early(), (webSocket) => {
    result = Result.succeed(new WebSocketPeer(webSocket, socket, options))
    socket.resume()
  })
  return result
}

/** Headers that the handshake itself has, or that say something of a body. */
const notOurs = /^(?:connection|upgrade|content-.*|transfer-encoding|sec-websocket-.*)$/i

/** `ws` writes UTF-8, as which nothing beyond ASCII would come back as it was. */
const isOurs = (name: string, value: string): boolean => !notOurs.test(name) && /^[\t\x20-\x7e]*$/.test(value)
