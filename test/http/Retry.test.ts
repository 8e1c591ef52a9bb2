import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { eventually } from "../support/Eventually.ts"
import { RawClient } from "../support/RawClient.ts"
import { muteServer } from "../support/MuteServer.ts"
import { type RawTurn, UpstreamServer } from "../support/UpstreamServer.ts"
import { answers, chat, type Gateway, startGateway } from "./InProcessGateway.ts"

const json = { "content-type": "application/json" }

const retries =
  (times: number, more: SluiceConfigInput = {}) =>
  (url: string): SluiceConfigInput => ({
    providers: { up: { type: "openai", base_url: `${url}/v1`, api_key: "central-key" } },
    retries: { times, max_wait: "20 millis" },
    ...more
  })

const ask = Effect.fnUntraced(function* (gateway: Gateway, more: object = {}) {
  const answer = yield* RawClient.post(`${gateway.url}/up/v1/chat/completions`, { ...chat, ...more })
  const ending = yield* answer.ended
  const id = String(answer.headers["x-sluice-interception-id"])
  const { interception, turns } = yield* gateway.recordings.closedAs(id)
  return { answer, ending, interception, turn: turns[0]! }
})

const status = (code: number, headers: { readonly [name: string]: string } = {}): RawTurn => ({
  status: code,
  headers: { ...json, ...headers },
  steps: [`{"error":{"message":"${code}"}}`]
})

describe("a call whose upstream fails before its answer begins", () => {
  it.live.each([408, 429, 500, 502, 503, 504].map((code) => [`${code}`, status(code)] as const))(
    "is tried again after %s, with the same request",
    ([, fault]) =>
      Effect.gen(function* () {
        const gateway = yield* startGateway({ config: retries(2), turns: [fault, fault, answers] })
        const { answer, interception, turn } = yield* ask(gateway)
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(interception.status, "completed")
        assert.deepInclude(turn, { attempts: 3, httpStatus: 200, status: "completed" })
        const [first, ...others] = gateway.upstream.requests
        assert.lengthOf(others, 2)
        for (const other of others) {
          assert.deepStrictEqual(
            [other.url, other.text, other.rawHeaders],
            [first!.url, first!.text, first!.rawHeaders]
          )
        }
      })
  )

  it.live.each([
    ["breaks", { before: [{ reset: true }] }],
    ["closes", { before: [{ fin: true }] }]
  ] as ReadonlyArray<readonly [string, RawTurn]>)(
    "is not asked twice where its connection %s behind the request: it may be at work on it",
    ([, fault]) =>
      Effect.gen(function* () {
        const gateway = yield* startGateway({ config: retries(2), turns: [fault, answers] })
        const { answer, interception, turn } = yield* ask(gateway)
        assert.strictEqual(answer.status, 502)
        assert.strictEqual(interception.error?.code, "upstream_unreachable")
        assert.strictEqual(turn.attempts, 1)
        assert.lengthOf(gateway.upstream.requests, 1)
      })
  )

  it.live("shows what the last attempt brought, and records one turn of so many attempts", () =>
    Effect.gen(function* () {
      const gateway = yield* startGateway({ config: retries(2), turns: [status(500), status(429), status(503)] })
      const { answer, interception, turn } = yield* ask(gateway)
      assert.deepStrictEqual([answer.status, answer.text()], [503, '{"error":{"message":"503"}}'])
      assert.deepInclude(turn, { attempts: 3, httpStatus: 503, status: "failed", index: 0 })
      assert.deepStrictEqual(interception.error, { code: "upstream_status", message: "the upstream answered 503: 503" })
      assert.lengthOf((yield* gateway.recordings.rows).turns, 1)
    })
  )

  it.live("is answered 502 where there never was a connection", () =>
    Effect.gen(function* () {
      const port = yield* UpstreamServer.closedPort
      const gateway = yield* startGateway({ config: () => retries(3)(`http://127.0.0.1:${port}`) })
      const { answer, interception, turn } = yield* ask(gateway)
      assert.strictEqual(answer.status, 502)
      assert.strictEqual(JSON.parse(answer.text()).error.code, "upstream_unreachable")
      assert.strictEqual(interception.error?.code, "upstream_unreachable")
      assert.deepInclude(turn, { attempts: 4, httpStatus: null, status: "failed" })
    })
  )

  it.live.each([
    ["reset", { before: [{ reset: true }] }],
    ["429", status(429, { "retry-after": "0" })],
    ["500", status(500)]
  ] as ReadonlyArray<readonly [string, RawTurn]>)("is one POST and no more with times: 0 (%s)", ([, fault]) =>
    Effect.gen(function* () {
      const gateway = yield* startGateway({ config: retries(0), turns: [fault, answers] })
      // A connection that was kept and broke meanwhile is no reason either.
      const { turn } = yield* ask(gateway)
      yield* Effect.sleep("100 millis")
      assert.strictEqual(turn.attempts, 1)
      assert.strictEqual(gateway.upstream.requests.length, 1)
      assert.strictEqual(gateway.upstream.requests[0]!.method, "POST")
    })
  )

  it.live.each([
    ["a longer retry-after than allowed", status(429, { "retry-after": "1" })],
    ["x-should-retry: false", status(500, { "x-should-retry": "false" })],
    ["a final status", status(400)]
  ] as ReadonlyArray<readonly [string, RawTurn]>)("is not tried again after %s", ([, fault]) =>
    Effect.gen(function* () {
      const gateway = yield* startGateway({ config: retries(3), turns: [fault, answers] })
      const { answer, turn } = yield* ask(gateway)
      assert.strictEqual(answer.status, fault.status)
      assert.strictEqual(turn.attempts, 1)
      assert.strictEqual(gateway.upstream.requests.length, 1)
    })
  )

  it.live("leaves no connection of an attempt open, however its answer would have gone on", () =>
    Effect.gen(function* () {
      const endless: RawTurn = { status: 503, headers: json, steps: ["{", { hang: true }] }
      const gateway = yield* startGateway({
        config: retries(2),
        turns: (_, index) => (index % 3 < 2 ? endless : answers)
      })
      for (let i = 0; i < 10; i++) yield* ask(gateway)
      const { upstream } = gateway
      assert.strictEqual(upstream.requests.length, 30)
      for (const [index, request] of upstream.requests.entries()) {
        assert.strictEqual(yield* request.over, index % 3 < 2 ? "aborted" : "sent")
      }
      // One that ended well is kept for the next call.
      yield* eventually(() => upstream.openSockets() <= 1)
    })
  )

  it.live("is not tried again when its client has left", () =>
    Effect.gen(function* () {
      const gateway = yield* startGateway({
        config: (url) => ({ ...retries(5)(url), retries: { times: 5, max_wait: "5 seconds" } }),
        turns: [status(503, { "retry-after": "5" })]
      })
      const { upstream, recordings, url } = gateway
      yield* Effect.timeoutOption(Effect.scoped(RawClient.post(`${url}/up/v1/chat/completions`, chat)), "100 millis")
      const [call] = yield* recordings.closed(1)
      assert.strictEqual(call!.interception.status, "cancelled")
      assert.strictEqual(upstream.requests.length, 1)
    })
  )
})

describe("a call whose answer has begun", () => {
  const begun = 'data: {"id":"1","choices":[]}\n\n'

  it.live.each([
    ["breaks", { steps: [begun, { reset: true }] }],
    ["ends too early", { steps: [begun] }],
    ["holds an error", { steps: [begun, 'data: {"error":{"message":"overloaded","code":503}}\n\n'] }],
    ["was JSON and breaks", { headers: { ...json, "content-length": "100" }, steps: ["{", { fin: true }] }],
    ["is malformed", { headers: json, steps: ["nonsense"] }],
    ["breaks before its first byte", { steps: [{ reset: true }] }]
  ] as ReadonlyArray<readonly [string, RawTurn]>)("is not tried again where it %s", ([, turn]) =>
    Effect.gen(function* () {
      const gateway = yield* startGateway({ config: retries(5), turns: [turn, answers] })
      const result = yield* ask(gateway, { stream: true })
      yield* Effect.sleep("50 millis")
      assert.strictEqual(gateway.upstream.requests.length, 1)
      assert.deepInclude(result.turn, { attempts: 1, status: "failed" })
      assert.notInclude(result.answer.text(), "[DONE]")
    })
  )
})

describe("limits of time", () => {
  const chunk = 'data: {"id":"1","choices":[]}\n\n'
  const limits = (more: SluiceConfigInput["limits"]) => retries(0, { limits: { ...more } })

  it.live("first_frame: 504 before a head, an error event behind one", () =>
    Effect.gen(function* () {
      const gateway = yield* startGateway({
        config: limits({ first_frame: "80 millis" }),
        turns: [{ before: [{ hang: true }] }, { steps: [{ hang: true }] }]
      })
      const none = yield* ask(gateway)
      assert.deepStrictEqual([none.answer.status, JSON.parse(none.answer.text()).error.code], [504, "upstream_timeout"])
      const silent = yield* ask(gateway, { stream: true })
      assert.deepStrictEqual([silent.answer.status, silent.ending], [200, "clean"])
      assert.match(silent.answer.text(), /^data: \{"error":\{.*limits\.first_frame/)
      for (const { interception, turn } of [none, silent]) {
        assert.strictEqual(interception.error?.code, "timeout")
        assert.strictEqual(turn.status, "failed")
      }
      for (const request of gateway.upstream.requests) assert.strictEqual(yield* request.over, "aborted")
    })
  )

  it.live("idle: an error event, and the upstream is closed", () =>
    Effect.gen(function* () {
      const gateway = yield* startGateway({
        config: limits({ idle: "500 millis" }),
        turns: [{ steps: [chunk, { wait: 300 }, chunk, { wait: 300 }, chunk, { hang: true }] }]
      })
      const { answer, interception } = yield* ask(gateway, { stream: true })
      assert.isTrue(answer.text().startsWith(chunk.repeat(3)))
      assert.match(answer.text(), /limits\.idle/)
      assert.strictEqual(interception.error?.code, "timeout")
      assert.strictEqual(yield* gateway.upstream.requests[0]!.over, "aborted")
    })
  )

  it.live("connect: 504", () =>
    Effect.gen(function* () {
      // The handshake of TLS is a part of connecting.
      const port = yield* muteServer
      const gateway = yield* startGateway({
        config: () => limits({ connect: "50 millis" })(`https://127.0.0.1:${port}`)
      })
      const { answer, interception } = yield* ask(gateway)
      assert.deepStrictEqual([answer.status, JSON.parse(answer.text()).error.code], [504, "upstream_timeout"])
      assert.strictEqual(interception.error?.code, "timeout")
      assert.include(interception.error?.message, "limits.connect")
    })
  )

  it.live("idle stands still while the client is the slow one", () =>
    Effect.gen(function* () {
      const part = `data: ${JSON.stringify({ choices: [], x: "x".repeat(100_000) })}\n\n`
      const steps = [
        ...Array.from({ length: 200 }, () => part),
        chunk.replace("[]", '[{"index":0,"finish_reason":"stop"}]'),
        "data: [DONE]\n\n"
      ]
      const gateway = yield* startGateway({ config: limits({ idle: "400 millis" }), turns: [{ steps }] })
      const body = JSON.stringify({ ...chat, stream: true })
      const socket = connect(gateway.port, "127.0.0.1")
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      let text = ""
      socket.setEncoding("latin1").on("data", (more) => {
        text += String(more)
        if (text.length === String(more).length) socket.pause()
      })
      socket.write(
        `POST /up/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`
      )
      yield* eventually(() => text.length > 0)
      yield* Effect.sleep("800 millis")
      assert.isBelow(text.length, 1_000_000)
      socket.resume()
      yield* eventually(() => text.includes("[DONE]"))
      const [call] = yield* gateway.recordings.closed(1)
      assert.strictEqual(call!.interception.status, "completed")
      assert.notInclude(text, "limits.idle")
    })
  )
})
