import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Scope, Exit } from "effect"
import type { ExchangeRequest } from "../../src/upstream/Exchange.ts"
import { httpExchange } from "../../src/upstream/HttpExchange.ts"
import { eventually } from "../support/Eventually.ts"
import { drain, readAll } from "../support/Exchanges.ts"
import { muteServer, talkingServer } from "../support/MuteServer.ts"
import { gate, UpstreamServer } from "../support/UpstreamServer.ts"

const connect = Duration.millis(200)

const request = (url: string, more: Partial<ExchangeRequest> = {}): ExchangeRequest => ({
  method: "POST",
  origin: new URL(url).origin,
  target: url.slice(new URL(url).origin.length) || "/",
  headers: { "content-type": "application/json" },
  body: Buffer.from("{}"),
  ...more
})

const exchanger = Effect.map(httpExchange({ connect }), (make) => make("up"))

describe("an exchange over HTTP", () => {
  it.live("carries method, path, query, headers and body as they are", () =>
    Effect.gen(function* () {
      const server = yield* UpstreamServer.make([
        { status: 207, headers: { "content-type": "text/plain", "x-two": ["a", "b"] }, steps: ["é"] }
      ])
      const exchange = yield* exchanger
      const body = Buffer.from([0, 255, 1])
      const answer = yield* readAll(
        exchange,
        request(`${server.url}/a%2Fb/c?d=%zz&&e='`, { method: "PUT", headers: { "x-a": "caf\u00e9" }, body })
      )
      assert.deepStrictEqual([answer.status, answer.text, answer.headers["x-two"]], [207, "é", ["a", "b"]])
      const [seen] = server.requests
      assert.deepStrictEqual([seen!.method, seen!.url], ["PUT", "/a%2Fb/c?d=%zz&&e='"])
      assert.deepStrictEqual(seen!.body, body)
      assert.strictEqual(seen!.headers["x-a"], "caf\u00e9")
      assert.strictEqual(seen!.headers["content-length"], "3")
    })
  )

  it.live("sends nothing of its own but what HTTP needs", () =>
    Effect.gen(function* () {
      const server = yield* UpstreamServer.make([{ steps: ["x"] }])
      yield* readAll(yield* exchanger, request(server.url, { method: "GET", headers: {}, body: null }))
      assert.deepStrictEqual(Object.keys(server.requests[0]!.headers).sort(), ["connection", "host"])
    })
  )

  it.live("uses the connections of exchanges that ended again, and closes that of one which was left", () =>
    Effect.gen(function* () {
      const server = yield* UpstreamServer.make((_, index) => ({ steps: index === 9 ? ["x", { hang: true }] : ["x"] }))
      const exchange = yield* exchanger
      for (let i = 0; i < 9; i++) yield* readAll(exchange, request(server.url))
      // Who asks again at the very end of an answer comes before its connection is free.
      assert.isAtMost(server.connections(), 2)
      yield* Effect.scoped(exchange(request(server.url)))
      assert.strictEqual(yield* server.requests[9]!.over, "aborted")
      yield* eventually(() => server.openSockets() < server.connections())
    })
  )

  it.live("is closed by leaving before the head, too", () =>
    Effect.gen(function* () {
      const server = yield* UpstreamServer.make([{ before: [{ hang: true }] }])
      const asking = yield* Effect.forkChild(Effect.scoped(Effect.flatMap(exchanger, (to) => to(request(server.url)))))
      yield* server.received(1)
      yield* Fiber.interrupt(asking)
      assert.strictEqual(yield* server.requests[0]!.over, "aborted")
      yield* eventually(() => server.openSockets() === 0)
    })
  )

  it.live("breaks off where the upstream does, with everything that came before", () =>
    Effect.gen(function* () {
      const chunked = { "content-type": "text/event-stream" }
      const server = yield* UpstreamServer.make([
        { headers: chunked, steps: ["abc", { reset: true }] },
        { headers: chunked, steps: ["abc", { fin: true }] },
        { headers: { "content-length": "10" }, steps: ["abc", { fin: true }] }
      ])
      const exchange = yield* exchanger
      for (let i = 0; i < 3; i++) {
        const { text, error } = yield* readAll(exchange, request(server.url))
        assert.strictEqual(error?.reason._tag, "Cut")
        if (i > 0) assert.strictEqual(text, "abc")
      }
    })
  )

  it.live("does not begin where nobody listens, or the connection breaks before a head", () =>
    Effect.gen(function* () {
      const server = yield* UpstreamServer.make([{ before: [{ reset: true }] }, { before: [{ fin: true }] }])
      const exchange = yield* exchanger
      const port = yield* UpstreamServer.closedPort
      for (const url of [`http://127.0.0.1:${port}`, server.url, server.url]) {
        const { reason } = yield* Effect.flip(readAll(exchange, request(`${url}/secret-path?key=secret`)))
        assert.strictEqual(reason._tag, "Unreachable")
        assert.notInclude(reason.message, "secret")
      }
      // One attempt each: what is tried again is decided above.
      assert.strictEqual(server.requests.length, 2)
    })
  )

  for (const [name, said] of [
    ["no HTTP", "HELLO\r\n\r\n"],
    ["a control character in a header", "HTTP/1.1 200 OK\r\nx-a: b\u0001c\r\ncontent-length: 0\r\n\r\n"],
    ["a 100 Continue that nobody expected", "HTTP/1.1 100 Continue\r\n\r\n"]
  ] as const) {
    it.live(`is malformed where the upstream says ${name}`, () =>
      Effect.gen(function* () {
        const port = yield* talkingServer(said)
        const { reason } = yield* Effect.flip(readAll(yield* exchanger, request(`http://127.0.0.1:${port}/v1`)))
        assert.strictEqual(reason._tag, "Malformed")
      })
    )
  }

  it.live("does not begin where connecting takes too long, the handshake of TLS included", () =>
    Effect.gen(function* () {
      const port = yield* muteServer
      const started = performance.now()
      const { reason } = yield* Effect.flip(readAll(yield* exchanger, request(`https://127.0.0.1:${port}`)))
      assert.deepInclude(reason, { _tag: "TimedOut", limit: "connect" })
      assert.isAtLeast(performance.now() - started, 190)
    })
  )

  it.live("stops an upstream that is faster than its reader, and goes on with it", () =>
    Effect.gen(function* () {
      const megabyte = Buffer.alloc(1024 * 1024, "x")
      const total = 64
      let written = 0
      const steps = Array.from({ length: total }, () => megabyte)
      const begun = gate()
      const server = yield* UpstreamServer.make(() => ({
        steps: [...steps, { await: begun.opened }]
      }))
      const exchange = yield* exchanger
      const scope = yield* Scope.make()
      const answer = yield* exchange(request(server.url)).pipe(Scope.provide(scope))
      yield* eventually(() => answer.body.paused)
      written = answer.body.received
      yield* Effect.sleep("50 millis")
      // What was on its way when it was paused may still come, but no more.
      assert.isAtMost(answer.body.received - written, 1)
      begun.open()
      const chunks: Array<Buffer> = []
      assert.isUndefined(yield* drain(answer, chunks))
      assert.strictEqual(Buffer.concat(chunks).length, total * megabyte.length)
      yield* Scope.close(scope, Exit.void)
    })
  )
})
