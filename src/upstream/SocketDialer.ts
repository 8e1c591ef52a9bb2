import { type IncomingMessage, request as httpRequest } from "node:http"
import { connect, isIP, type Socket } from "node:net"
import { connect as tlsConnect } from "node:tls"
import { Deferred, Duration, Effect, Result, type Scope } from "effect"
import { WebSocket } from "ws"
import type { Answered, Connected, Dialer, DialRequest } from "./Dial.ts"
import { type HeaderMap, Malformed, TimedOut, Unreachable, UpstreamError } from "./Exchange.ts"
import { describe } from "./HttpExchange.ts"
import type { IdleTimers } from "./IdleTimers.ts"
import { type Environment, proxyFor } from "./Proxy.ts"
import { connectionOptions, WebSocketPeer } from "./WebSocketPeer.ts"

/** What a dialler takes from the configuration. */
export interface SocketDialerOptions {
  /** How long connecting may take, through a proxy and up to the end of TLS. */
  readonly connect: Duration.Duration
  /** The largest message that a provider may send, in bytes. */
  readonly maxPayload: number
  /** How long a provider may take nothing of what was sent, in milliseconds. */
  readonly write: number
  readonly timers: IdleTimers["Service"]
  /** Names the proxies; the process's unless given. */
  readonly environment?: Environment
}

/**
 * Dials providers over the network, each connection by itself. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are honoured
 * as for HTTP; `NODE_EXTRA_CA_CERTS` is by Node itself. Redirects are answers like any other status.
 */
export const socketDialer =
  (options: SocketDialerOptions) =>
  (provider: string): Dialer =>
  (request) => {
    const fail = (reason: UpstreamError["reason"]) => new UpstreamError({ provider, reason })
    return openSocket(new URL(request.origin), options.environment ?? process.env).pipe(
      Effect.mapError(fail),
      Effect.timeoutOrElse({
        duration: options.connect,
        orElse: () => Effect.fail(fail(new TimedOut({ limit: "connect" })))
      }),
      Effect.flatMap((socket) => Effect.mapError(shakeHands(socket, request, options), fail))
    )
  }

/** A socket to an address, secured where it is `https`, and through a proxy where the environment names one. */
const openSocket = Effect.fnUntraced(function* (
  url: URL,
  environment: Environment
): Effect.fn.Return<Socket, Unreachable, Scope.Scope> {
  const named = proxyFor(url, environment)
  if (named === null) return yield* connected(url)
  // People write the host and the port alone, too.
  const proxy = URL.parse(named.includes("://") ? named : `http://${named}`)
  if (proxy === null || !/^https?:$/.test(proxy.protocol)) {
    return yield* Effect.fail(new Unreachable({ detail: "the proxy of the environment is none of HTTP" }))
  }
  const tunnel = yield* tunnelled(yield* connected(proxy), proxy, url)
  return url.protocol === "https:" ? yield* secured(url, tunnel) : tunnel
})

const connected = (url: URL): Effect.Effect<Socket, Unreachable, Scope.Scope> =>
  url.protocol === "https:"
    ? secured(url, undefined)
    : whenReady("connect", () => connect({ host: hostOf(url), port: portOf(url) }))

/** TLS with an address (RFC 6455, section 4.1, steps 2 and 5), over a socket where there is one already. */
const secured = (url: URL, socket: Socket | undefined): Effect.Effect<Socket, Unreachable, Scope.Scope> => {
  const host = hostOf(url)
  return whenReady("secureConnect", () =>
    tlsConnect({
      ...(socket === undefined ? { host, port: portOf(url) } : { socket, host }),
      // An address is no name (RFC 6066, section 3).
      servername: isIP(host) === 0 ? host : "",
      ALPNProtocols: ["http/1.1"]
    })
  )
}

/** A socket of the scope, once it is ready. */
const whenReady = (
  event: "connect" | "secureConnect",
  open: () => Socket
): Effect.Effect<Socket, Unreachable, Scope.Scope> =>
  Effect.suspend(() => {
    const ready = Deferred.makeUnsafe<void, Unreachable>()
    const socket = open()
      .once(event, () => Deferred.doneUnsafe(ready, Effect.void))
      .on("error", (error) => Deferred.doneUnsafe(ready, Effect.fail(unreachable(error))))
      .once("close", () =>
        Deferred.doneUnsafe(ready, Effect.fail(new Unreachable({ detail: "the connection was closed" })))
      )
    return Effect.andThen(
      Effect.addFinalizer(() => Effect.sync(() => socket.destroy())),
      Effect.as(Deferred.await(ready), socket)
    )
  })

/** A tunnel to an address through a proxy (RFC 9110, section 9.3.6). */
const tunnelled = (socket: Socket, proxy: URL, url: URL): Effect.Effect<Socket, Unreachable> =>
  Effect.callback<Socket, Unreachable>((resume) => {
    const authority = `${url.hostname}:${portOf(url)}`
    const login = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`
    const request = httpRequest({
      method: "CONNECT",
      path: authority,
      headers: {
        host: authority,
        ...(login === ":" ? {} : { "proxy-authorization": `Basic ${Buffer.from(login).toString("base64")}` })
      },
      createConnection: () => socket
    })
    request.once("connect", ({ statusCode }: IncomingMessage, _socket, head: Buffer) => {
      if (statusCode !== 200) {
        return resume(Effect.fail(new Unreachable({ detail: `the proxy answered ${statusCode}` })))
      }
      if (head.length > 0) socket.unshift(head)
      resume(Effect.succeed(socket))
    })
    request.once("error", (error) => resume(Effect.fail(unreachable(error))))
    request.end()
  })

const unreachable = (error: Error) => new Unreachable({ detail: describe(error) })

const hostOf = (url: URL): string => url.hostname.replace(/^\[(.+)\]$/, "$1")

const portOf = (url: URL): number => Number(url.port === "" ? (url.protocol === "https:" ? 443 : 80) : url.port)

/** The largest head of an answer, in bytes: providers send long rate limit and trace headers. */
const maxHeaderSize = 65_536

/** How much of an answer that is no handshake is read, in bytes, and for how long: enough for its error message. */
const longestAnswer = 65_536
const longestRead = Duration.seconds(1)

/** The handshake over a socket (RFC 6455, section 4), up to its answer. */
const shakeHands = (
  socket: Socket,
  request: DialRequest,
  options: SocketDialerOptions
): Effect.Effect<Connected | Answered, UpstreamError["reason"], Scope.Scope> =>
  Effect.suspend(() => {
    let end: Effect.Effect<void> = Effect.sync(() => socket.destroy())
    return Effect.andThen(
      Effect.addFinalizer(() => Effect.suspend(() => end)),
      Effect.callback<Connected | Answered, UpstreamError["reason"]>((resume) => {
        const opening = open(socket, request, options)
        if (opening._tag === "Failure") return resume(Effect.fail(opening.failure))
        const webSocket = opening.success
        let headers: HeaderMap = {}
        webSocket.once("upgrade", (answer) => {
          headers = answer.headers
        })
        webSocket.once("open", () => {
          webSocket.off("error", onError)
          const peer = new WebSocketPeer(webSocket, socket, options)
          end = peer.release
          resume(Effect.succeed({ _tag: "Connected", peer, headers }))
        })
        webSocket.once("unexpected-response", (_request, answer) => {
          resume(readAnswer(answer))
        })
        const onError = (error: Error) => resume(Effect.fail(reasonOf(error)))
        webSocket.on("error", onError)
      })
    )
  })

/** Begins the handshake; a header that may not be sent is found out here. */
const open = (socket: Socket, request: DialRequest, options: SocketDialerOptions) => {
  // What `ws` hands on to Node's client as it is.
  const more = { ...connectionOptions(options.maxPayload), maxHeaderSize }
  return Result.try({
    try: () =>
      new WebSocket(`${request.origin}${request.target}`, {
        ...more,
        headers: request.headers,
        createConnection: () => socket
      }),
    catch: (error) => unreachable(error as Error)
  })
}

/** Why there was no answer. The parser and `ws` say what was wrong with one; of a connection that broke, Node does. */
const reasonOf = (error: NodeJS.ErrnoException): UpstreamError["reason"] =>
  error.code === undefined || error.code.startsWith("HPE_")
    ? new Malformed({ detail: describe(error) })
    : new Unreachable({ detail: describe(error), sent: true })

/** Reads the beginning of an answer's body; one that breaks off, or stops coming, is taken as far as it came. */
const readAnswer = (answer: IncomingMessage): Effect.Effect<Answered> => {
  const chunks: Array<Buffer> = []
  let size = 0
  const read = Effect.callback<void>((resume) => {
    const end = () => resume(Effect.void)
    answer.on("data", (chunk: Buffer) => {
      if (size < longestAnswer) chunks.push(chunk)
      size += chunk.length
      if (size >= longestAnswer) end()
    })
    answer.once("error", end).once("close", end).once("end", end)
    if (answer.destroyed) end()
  })
  return Effect.map(Effect.timeoutOption(read, longestRead), () => ({
    _tag: "Answered",
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    body: Buffer.concat(chunks).subarray(0, longestAnswer)
  }))
}
