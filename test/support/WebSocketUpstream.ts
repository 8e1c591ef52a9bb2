import { createServer, type IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import { Deferred, Effect, type Scope } from "effect"
import { WebSocketServer } from "ws"
import { listen } from "./LocalServer.ts"
import { WebSocketEnd } from "./WebSocketEnd.ts"

/** How an upstream answers a handshake. */
export interface HandshakeAnswer {
  /** 101 unless given. */
  readonly status?: number
  readonly headers?: { readonly [name: string]: string }
  /** With a status. */
  readonly body?: string
  /** Breaks the connection off instead, never answers, or answers with these bytes. */
  readonly instead?: "reset" | "hang" | { readonly raw: string }
}

/** The upstream's end of a connection, and the handshake that it began with. */
export interface UpstreamSocket extends WebSocketEnd {
  readonly request: IncomingMessage
}

export interface WebSocketUpstream {
  /** `http://127.0.0.1:port`, without a slash behind it: what stands in a provider's `base_url`. */
  readonly url: string
  readonly port: number
  /** All handshakes, in the order they came in, accepted or not. */
  readonly handshakes: ReadonlyArray<IncomingMessage>
  /** The connections that were accepted, in their order. */
  readonly connections: ReadonlyArray<UpstreamSocket>
  /** Waits for a connection, counted from 0. */
  readonly connection: (index: number) => Effect.Effect<UpstreamSocket>
  /** Waits until so many handshakes have come in. */
  readonly dialled: (count: number) => Effect.Effect<void>
  /** How many sockets are open now. */
  readonly openSockets: () => number
}

export interface WebSocketUpstreamOptions {
  /** The answers in order, the last one for all that follow; or a function of the handshake and its number. */
  readonly handshakes?: ReadonlyArray<HandshakeAnswer> | ((request: IncomingMessage, index: number) => HandshakeAnswer)
  /** Whatever it does of itself once a client is connected; it runs before anything comes in. */
  readonly onConnection?: (socket: UpstreamSocket) => void
  /** Whether it takes permessage-deflate where that is offered. */
  readonly deflate?: boolean
  /** Whether what comes is kept; it is unless this is false. */
  readonly keep?: boolean
}

/**
 * Starts a server of WebSockets on a free port of 127.0.0.1. Plain requests are answered 404. Closing the scope breaks
 * every connection off and stops it. Real time and real sockets.
 */
const make = Effect.fnUntraced(function* (
  options: WebSocketUpstreamOptions = {}
): Effect.fn.Return<WebSocketUpstream, never, Scope.Scope> {
  const handshakes: Array<IncomingMessage> = []
  const connections: Array<UpstreamSocket> = []
  const looks = new Set<() => void>()
  const acceptor = new WebSocketServer({
    noServer: true,
    perMessageDeflate: options.deflate ?? false,
    maxPayload: 2 ** 30
  })
  const extra = new WeakMap<IncomingMessage, HandshakeAnswer["headers"]>()
  acceptor.on("headers", (lines, request) => {
    for (const [name, value] of Object.entries(extra.get(request) ?? {})) lines.push(`${name}: ${value}`)
  })
  const server = createServer((_request, response) => response.writeHead(404).end())
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const index = handshakes.push(request) - 1
    const { handshakes: script = [] } = options
    const answer = typeof script === "function" ? script(request, index) : (script[index] ?? script.at(-1) ?? {})
    const { body = "", headers = {}, instead, status } = answer
    // Nobody else sees that a client leaves which is not answered.
    if (instead !== undefined) socket.on("end", () => socket.destroy()).resume()
    if (instead === "reset") socket.resetAndDestroy()
    else if (typeof instead === "object") socket.write(instead.raw, "latin1")
    else if (status !== undefined && status !== 101) {
      const lines = Object.entries({
        "content-length": String(Buffer.byteLength(body)),
        connection: "close",
        ...headers
      })
      socket.end(`HTTP/1.1 ${status} X\r\n${lines.map((line) => `${line.join(": ")}\r\n`).join("")}\r\n${body}`)
    } else if (instead === undefined) {
      extra.set(request, headers)
      acceptor.handleUpgrade(request, socket, head, (webSocket) => {
        const end = Object.assign(new WebSocketEnd(webSocket, socket, options.keep), { request })
        connections.push(end)
        options.onConnection?.(end)
      })
    }
    for (const look of looks) look()
  })
  const { port, sockets, url } = yield* listen(server)
  const until = (holds: () => boolean): Effect.Effect<void> =>
    Effect.suspend(() => {
      const held = Deferred.makeUnsafe<void>()
      const look = () => {
        if (!holds()) return
        looks.delete(look)
        Deferred.doneUnsafe(held, Effect.void)
      }
      looks.add(look)
      look()
      return Deferred.await(held)
    })
  return {
    url,
    port,
    handshakes,
    connections,
    connection: (index) =>
      Effect.map(
        until(() => connections.length > index),
        () => connections[index]!
      ),
    dialled: (count) => until(() => handshakes.length >= count),
    openSockets: () => sockets.size
  }
})

/** A provider with WebSockets, in the hands of a test. */
export const WebSocketUpstream = { make }
