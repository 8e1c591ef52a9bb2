import { createServer, type IncomingMessage } from "node:http"
import { connect, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Pull, Scope } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { make as makeConfig } from "../../src/config/Load.ts"
import type { DialRequest } from "../../src/upstream/Dial.ts"
import type { Environment } from "../../src/upstream/Proxy.ts"
import * as Providers from "../../src/upstream/Providers.ts"
import { socketDialer, type SocketDialerOptions } from "../../src/upstream/SocketDialer.ts"
import { IdleTimers, type Peer, Upstream } from "../../src/upstream/Upstream.ts"
import { eventually } from "../support/Eventually.ts"
import { listen } from "../support/LocalServer.ts"
import { muteServer, talkingServer } from "../support/MuteServer.ts"
import { idleTimers } from "../support/PeerPair.ts"
import { UpstreamServer } from "../support/UpstreamServer.ts"
import { type HandshakeAnswer, WebSocketUpstream } from "../support/WebSocketUpstream.ts"

const request = (url: string, more: Partial<DialRequest> = {}): DialRequest => ({
  origin: new URL(url).origin,
  target: "/v1/responses",
  headers: {},
  ...more
})

const dialer = Effect.fnUntraced(function* (options: Partial<SocketDialerOptions> = {}) {
  const timers = options.timers ?? (yield* idleTimers)
  const standard = { connect: Duration.millis(300), maxPayload: 65_536, write: 10_000, environment: {} }
  return socketDialer({ ...standard, ...options, timers })("up")
})

/** Dials and is connected, or the test fails. */
const connected = Effect.fnUntraced(function* (
  url: string,
  more: Partial<DialRequest> = {},
  environment: Environment = {}
) {
  const result = yield* (yield* dialer({ environment }))(request(url, more))
  if (result._tag === "Answered") return yield* Effect.die(new Error(`answered ${result.status}`))
  return result
}, Effect.orDie)

/** Dials in vain; why. */
const reason = Effect.fnUntraced(function* (
  url: string,
  more: Partial<DialRequest> = {},
  environment: Environment = {}
) {
  const error = yield* Effect.flip((yield* dialer({ environment }))(request(url, more)))
  return error.reason
})

const next = (peer: Peer) =>
  peer.pull.pipe(
    Pull.catchDone(() => Effect.succeed([])),
    Effect.map((messages) => messages.map(({ data }) => data.toString()))
  )

describe("dialling", () => {
  it.live("carries path, query and headers, with a handshake of its own", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make({ handshakes: [{ headers: { "x-request-id": "r1" } }] })
      const headers = { authorization: "Bearer k", "openai-beta": "responses_websockets=2026-02-06" }
      const { headers: answered, peer } = yield* connected(upstream.url, {
        target: "/a/v1/responses?x=%20&y=1",
        headers
      })
      assert.strictEqual(answered["x-request-id"], "r1")
      const [seen] = upstream.handshakes
      assert.strictEqual(seen!.url, "/a/v1/responses?x=%20&y=1")
      assert.deepStrictEqual(Object.keys(seen!.headers).sort(), [
        "authorization",
        "connection",
        "host",
        "openai-beta",
        "sec-websocket-key",
        "sec-websocket-version",
        "upgrade"
      ])
      assert.include(seen!.headers, headers)
      assert.strictEqual(seen!.headers.host, new URL(upstream.url).host)
      const there = yield* upstream.connection(0)
      there.send("from upstream")
      assert.deepStrictEqual(yield* next(peer), ["from upstream"])
      yield* peer.send(Buffer.from("from us"))
      assert.deepStrictEqual(yield* there.received(1), ["from us"])
      there.close(1013, "later")
      assert.deepStrictEqual(yield* peer.closed, { code: 1013, reason: "later" })
    })
  )

  it.live("loses nothing that the upstream sends with its handshake", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make({
        onConnection: (socket) => {
          socket.send("first")
          socket.send("second")
          socket.close(1000, "all")
        }
      })
      const { peer } = yield* connected(upstream.url)
      yield* peer.closed
      assert.deepStrictEqual(yield* next(peer), ["first", "second"])
    })
  )

  it.live("closes the connection with its scope, and the dialling with its interruption", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make({ handshakes: [{}, { instead: "hang" }] })
      const scope = yield* Scope.make()
      yield* Scope.provide(connected(upstream.url), scope)
      const there = yield* upstream.connection(0)
      const closed = yield* Effect.forkChild(there.closed, { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Fiber.join(closed), { code: 1000, reason: "" })
      const dialling = yield* Effect.forkChild(Effect.scoped(connected(upstream.url)))
      yield* upstream.dialled(2)
      assert.strictEqual(upstream.openSockets(), 1)
      yield* Fiber.interrupt(dialling)
      yield* eventually(() => upstream.openSockets() === 0)
    })
  )

  const answers: ReadonlyArray<HandshakeAnswer> = [
    { status: 401, headers: { "x-request-id": "r" }, body: '{"error":{"message":"no"}}' },
    { status: 429, headers: { "retry-after": "7" }, body: "" },
    { status: 302, headers: { location: "http://127.0.0.1:1/" } }
  ]
  it.live.each(answers)("shows a status that it is answered with: %o", (given) =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make({ handshakes: [given] })
      const scope = yield* Scope.make()
      const answer = yield* Scope.provide((yield* dialer())(request(upstream.url)), scope)
      assert(answer._tag === "Answered")
      assert.deepStrictEqual([answer.status, answer.body.toString()], [given.status, given.body ?? ""])
      assert.include(answer.headers, given.headers ?? {})
      assert.strictEqual(upstream.handshakes.length, 1)
      yield* Scope.close(scope, Exit.void)
      yield* eventually(() => upstream.openSockets() === 0)
    })
  )

  it.live("shows a status whose body stops coming, or never ends, with the beginning of that", () =>
    Effect.gen(function* () {
      const head = "HTTP/1.1 403 X\r\ncontent-length: 1000000\r\n\r\n"
      const upstream = yield* WebSocketUpstream.make({
        handshakes: [{ instead: { raw: `${head}half` } }, { instead: { raw: `${head}${"x".repeat(100_000)}` } }]
      })
      const bodies: Array<string> = []
      for (let i = 0; i < 2; i++) {
        const answer = yield* (yield* dialer())(request(upstream.url))
        assert(answer._tag === "Answered")
        assert.strictEqual(answer.status, 403)
        bodies.push(answer.body.toString())
      }
      assert.deepStrictEqual(bodies, ["half", "x".repeat(65_536)])
    })
  )

  it.live("tells apart whether nobody was there, nobody answered, or not in HTTP", () =>
    Effect.gen(function* () {
      const refused = yield* reason(`http://127.0.0.1:${yield* UpstreamServer.closedPort}`)
      assert(refused._tag === "Unreachable")
      assert.match(refused.detail, /ECONNREFUSED/)
      assert.isUndefined(refused.sent)
      const unknown = yield* reason("http://nowhere.invalid")
      assert.strictEqual(unknown._tag, "Unreachable")
      const resetting = yield* WebSocketUpstream.make({ handshakes: [{ instead: "reset" }] })
      const reset = yield* reason(resetting.url)
      assert(reset._tag === "Unreachable")
      assert.isTrue(reset.sent)
      const talking = yield* talkingServer("SSH-2.0-OpenSSH\r\n")
      assert.strictEqual((yield* reason(`http://127.0.0.1:${talking}`))._tag, "Malformed")
      const wrong = yield* WebSocketUpstream.make({
        handshakes: [
          {
            instead: {
              raw: "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n"
            }
          }
        ]
      })
      assert.strictEqual((yield* reason(wrong.url))._tag, "Malformed")
      assert.strictEqual((yield* reason(wrong.url, { headers: { "x-bad": "a\nb" } }))._tag, "Unreachable")
    })
  )

  it.live("gives up connecting after its limit, TLS included", () =>
    Effect.gen(function* () {
      const port = yield* muteServer
      const began = performance.now()
      const error = yield* reason(`https://127.0.0.1:${port}`)
      assert.deepInclude(error, { _tag: "TimedOut", limit: "connect" })
      assert.isBelow(performance.now() - began, 1_500)
    })
  )
})

/** A proxy that tunnels whatever it is asked for to one port, or answers with a status. */
const proxyServer = Effect.fnUntraced(function* (port: number, status = 200) {
  const asked: Array<IncomingMessage> = []
  const server = createServer((_request, response) => response.writeHead(405).end())
  server.on("connect", (request: IncomingMessage, socket: Socket) => {
    asked.push(request)
    if (status !== 200) {
      socket.end(`HTTP/1.1 ${status} X\r\ncontent-length: 0\r\n\r\n`)
      return
    }
    const onward = connect(port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
      socket.pipe(onward).pipe(socket)
    })
    onward.on("error", () => socket.destroy())
    socket.on("close", () => onward.destroy())
  })
  const { port: ownPort } = yield* listen(server)
  return { asked, port: ownPort }
})

describe("a proxy of the environment", () => {
  it.live("is asked for a tunnel, with its login, and carries the connection", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make()
      const proxy = yield* proxyServer(upstream.port)
      const environment = { http_proxy: `http://us%40er:pass@127.0.0.1:${proxy.port}` }
      const { peer } = yield* connected("http://provider.test:8080", {}, environment)
      assert.deepStrictEqual(
        proxy.asked.map(({ headers, url }) => [url, headers["proxy-authorization"]]),
        [["provider.test:8080", `Basic ${Buffer.from("us@er:pass").toString("base64")}`]]
      )
      const there = yield* upstream.connection(0)
      assert.deepStrictEqual(
        [there.request.headers.host, there.request.headers["proxy-authorization"]],
        ["provider.test:8080", undefined]
      )
      there.send("through")
      assert.deepStrictEqual(yield* next(peer), ["through"])
    })
  )

  it.live("that refuses is why a provider cannot be reached, and one that is not asked is not used", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make()
      const proxy = yield* proxyServer(upstream.port, 407)
      const environment = { HTTP_PROXY: `127.0.0.1:${proxy.port}`, NO_PROXY: "127.0.0.1" }
      const error = yield* reason("http://provider.test", {}, environment)
      assert.deepInclude(error, { _tag: "Unreachable", detail: "the proxy answered 407" })
      yield* connected(upstream.url, {}, environment)
      assert.strictEqual(proxy.asked.length, 1)
    })
  )

  it.live("that is of another kind is said to be", () =>
    Effect.gen(function* () {
      const error = yield* reason("https://provider.test", {}, { https_proxy: "socks5://127.0.0.1:1" })
      assert.deepInclude(error, { _tag: "Unreachable", detail: "the proxy of the environment is none of HTTP" })
    })
  )
})

const key = "sk-central-0123456789"

/** The providers of a config, dialled over the network. */
const providers = Effect.fnUntraced(function* (config: SluiceConfigInput) {
  const layer = Layer.unwrap(Effect.map(makeConfig({ retries: { times: 0 }, ...config }), Providers.layer)).pipe(
    Layer.provideMerge(IdleTimers.layer),
    Layer.orDie
  )
  return Context.get(yield* Layer.build(layer), Upstream)
})

describe("connecting to a provider", () => {
  it.live("goes where its base URL says, with the headers that go on and its own credential", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make({
        handshakes: [
          {
            headers: {
              "x-request-id": "r",
              "x-codex-turn-state": "s",
              "x-ratelimit-limit-requests": "9",
              "openai-model": "m",
              "set-cookie": "c",
              server: "nginx",
              "openai-organization": `echo ${key}`
            }
          }
        ]
      })
      const { connect } = yield* providers({
        providers: { up: { type: "openai", base_url: `${upstream.url}/base/v1?api-version=1`, api_key: key } }
      })
      const { headers, peer, secrets } = yield* connect({
        provider: "up",
        path: "/v1/responses",
        query: "?a=b",
        headers: {
          "openai-beta": "responses_websockets=2026-02-06",
          "user-agent": "codex",
          "session-id": "s",
          "sec-websocket-key": "theirs",
          "sec-websocket-extensions": "permessage-deflate",
          "sec-websocket-protocol": "theirs",
          connection: "Upgrade",
          upgrade: "websocket",
          origin: "http://evil",
          cookie: "c",
          authorization: "Bearer client",
          "x-sluice-thing": "x"
        },
        credential: { key: "client-key-0123", form: "bearer" }
      })
      const [seen] = upstream.handshakes
      assert.strictEqual(seen!.url, "/base/v1/responses?api-version=1&a=b")
      const { "sec-websocket-key": nonce, ...rest } = seen!.headers
      assert.notStrictEqual(nonce, "theirs")
      assert.deepStrictEqual(rest, {
        host: new URL(upstream.url).host,
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "openai-beta": "responses_websockets=2026-02-06",
        "user-agent": "codex",
        "session-id": "s",
        authorization: `Bearer ${key}`,
        "accept-encoding": "identity"
      })
      assert.deepStrictEqual(headers, {
        "x-request-id": "r",
        "x-codex-turn-state": "s",
        "x-ratelimit-limit-requests": "9",
        "openai-model": "m",
        "openai-organization": "echo sk-c...6789"
      })
      assert.deepStrictEqual(secrets, [key, "client-key-0123"])
      assert.strictEqual(peer.closing(), null)
    })
  )

  it.live("brings the client's credential where the provider has none", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make()
      const { connect } = yield* providers({ providers: { up: { type: "openai", base_url: upstream.url } } })
      const credential = { key: "client-key-0123", form: "bearer" } as const
      yield* connect({ provider: "up", path: "/v1/responses", query: "", headers: {}, credential })
      const [seen] = upstream.handshakes
      assert.deepStrictEqual([seen!.url, seen!.headers.authorization], ["/v1/responses", "Bearer client-key-0123"])
    })
  )

  it.live("closes with 1009 what is larger than websocket.max_frame_bytes", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make()
      const { connect } = yield* providers({
        providers: { up: { type: "openai", base_url: upstream.url } },
        websocket: { max_frame_bytes: 2_000 }
      })
      const { peer } = yield* connect({
        provider: "up",
        path: "/v1/responses",
        query: "",
        headers: {},
        credential: null
      })
      const there = yield* upstream.connection(0)
      there.send("x".repeat(2_001))
      assert.deepStrictEqual(yield* peer.closed, { code: 1009, reason: "", violated: true })
      assert.strictEqual((yield* there.closed).code, 1009)
    })
  )

  it.live("is declined with the status and the masked message, and by the simulated one with 426", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make({
        handshakes: [{ status: 401, body: JSON.stringify({ error: { message: `bad key ${key}` } }) }]
      })
      const { connect } = yield* providers({
        providers: { up: { type: "openai", base_url: upstream.url, api_key: key }, sim: { type: "simulated" } }
      })
      const declined = (provider: string) =>
        Effect.map(
          Effect.flip(connect({ provider, path: "/v1/responses", query: "", headers: {}, credential: null })),
          (error) => error.message
        )
      assert.strictEqual(yield* declined("up"), "up: the upstream answered 401: bad key sk-c…6789")
      assert.strictEqual(
        yield* declined("sim"),
        "sim: the upstream answered 426: the simulated provider has no WebSockets"
      )
    })
  )

  it.live("is swapped by a test", () =>
    Effect.gen(function* () {
      const dialled = Deferred.makeUnsafe<DialRequest>()
      const { connect } = yield* Effect.provideService(
        providers({ providers: { up: { type: "openai", base_url: "https://up.test/v1", api_key: key } } }),
        Providers.Dialers,
        () =>
          Effect.succeed((provider) => (asked) => {
            Deferred.doneUnsafe(dialled, Effect.succeed(asked))
            return Effect.succeed({ _tag: "Connected", peer: {} as Peer, headers: { "x-request-id": provider } })
          })
      )
      const { headers } = yield* connect({
        provider: "up",
        path: "/v1/responses",
        query: "",
        headers: {},
        credential: null
      })
      assert.deepStrictEqual(headers, { "x-request-id": "up" })
      assert.deepInclude(yield* Deferred.await(dialled), { origin: "https://up.test", target: "/v1/responses" })
    })
  )
})
