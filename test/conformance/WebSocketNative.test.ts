import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Declined, TimedOut, Unreachable, UpstreamError } from "../../src/upstream/Exchange.ts"
import { settleDown } from "./Engine.ts"
import { asked, create, messagesOf, onLane, settled, socketSetup } from "./WebSocketSetup.ts"

const codeOf = (event: { readonly [name: string]: unknown } = {}) => (event["error"] as { code: string }).code

describe("what a native client is shown", () => {
  it.effect(
    "every message as it came, whatever its white space, and the upstream gets the request as it was sent",
    () =>
      Effect.gen(function* () {
        const setup = yield* socketSetup({ way: "native" })
        const request = '{"type" : "response.create" , "model":"m", "input": [ ] , "stream_id":"a", "n":1e2, "n":2}'
        setup.client.say(request)
        assert.strictEqual(yield* asked(setup, 1), request)
        const messages = [
          '{ "stream_id" : "a", "type":"response.created","response" :{"id":"r1", "status":"in_progress"}}',
          '{"x":1.00, "type": "from.the.future","stream_id":"\\u0061"}',
          ' {"type":"response.output_text.delta","delta":"\\ud83d\\udc4b 👋" ,"stream_id":"a"}\n',
          '{"response":{"id":"r1","status":"completed","output":[ ]},"stream_id":"a","type":"response.completed"}'
        ]
        for (const message of messages) setup.upstream().say(message)
        yield* settled(setup, 1)
        assert.deepStrictEqual(setup.client.received, messages)
        const { turn } = setup.ledger.settled()
        assert.deepInclude(turn, { lane: "a", framesIn: 4, framesOut: 4, transport: "ws", upstreamResponseId: "r1" })
      }).pipe(Effect.scoped)
  )

  it.effect("the model by the name that it used, and nothing else changed", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native", unified: true, models: { fast: "up/slow" } })
      setup.client.say('{"type":"response.create", "model" : "fast","input":"hi"}')
      yield* settleDown(() => setup.dials() === 1)
      assert.strictEqual(yield* asked(setup, 1), '{"type":"response.create", "model" : "slow","input":"hi"}')
      for (const message of messagesOf("r1", "hi", null, "slow-2025")) setup.upstream().say(message)
      yield* settled(setup, 1)
      assert.deepStrictEqual(setup.client.received, messagesOf("r1", "hi", null, "fast"))
    }).pipe(Effect.scoped)
  )

  it.effect("a warm-up as any response, and what is kept of it", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      setup.client.say(create({ generate: false }))
      assert.deepInclude(JSON.parse(yield* asked(setup, 1)), { generate: false })
      const usage = { input_tokens: 9, output_tokens: 0, total_tokens: 9 }
      setup.upstream().say({ type: "response.created", response: { id: "r1", status: "in_progress" } })
      setup
        .upstream()
        .say({ type: "response.completed", response: { id: "r1", status: "completed", output: [], usage } })
      yield* settled(setup, 1)
      const { close, usage: row } = setup.ledger.settled()
      assert.deepStrictEqual([close.status, row.input, row.output, row.provenance], ["completed", 9, 0, "provider"])
    }).pipe(Effect.scoped)
  )

  it.effect("an error of its upstream's as it came, without credentials", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      setup.client.say(create({ stream_id: "a" }))
      yield* asked(setup, 1)
      const error = { type: "error", status: 429, error: { code: "rate_limit_exceeded", message: "m sk-secret-key" } }
      setup.upstream().say(onLane(JSON.stringify({ ...error, headers: { "retry-after": "3" } }), "a"))
      yield* settled(setup, 1)
      assert.strictEqual(setup.client.received.length, 1)
      assert.notInclude(setup.client.received[0]!, "sk-secret-key")
      assert.deepInclude(setup.client.events[0]!, { status: 429, stream_id: "a", headers: { "retry-after": "3" } })
      setup.client.say(create({ stream_id: "a" }))
      yield* asked(setup, 2)
    }).pipe(Effect.scoped)
  )

  it.effect("nothing of binary messages, and no two keep-alives for one silence", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      for (const lane of ["a", "b", "c"]) setup.client.say(create({ stream_id: lane }))
      yield* asked(setup, 3)
      setup.upstream().say(Buffer.from([1, 2]))
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(setup.client.received, [])
      yield* TestClock.adjust("2 seconds")
      yield* settleDown()
      assert.deepStrictEqual(setup.client.received, ['{"type":"keepalive"}'])
      for (const lane of ["a", "b", "c"]) {
        for (const message of messagesOf(`r-${lane}`, "hi", lane)) setup.upstream().say(message)
      }
      yield* settled(setup, 3)
      const { length } = setup.client.received
      yield* TestClock.adjust("60 seconds")
      yield* settleDown()
      assert.strictEqual(setup.client.received.length, length)
    }).pipe(Effect.scoped)
  )
})

describe("a connection whose responses pick their providers", () => {
  const fails = (reason: UpstreamError["reason"]) => new UpstreamError({ provider: "up", reason })

  it.effect("a failed dial is an error of its response, and the next one dials again", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({
        way: "native",
        unified: true,
        dialFails: (dial) =>
          [
            fails(new Unreachable({ detail: "refused" })),
            fails(new TimedOut({ limit: "connect" })),
            fails(new Declined({ status: 429, detail: "slow", retryAfter: 5 }))
          ][dial] ?? null
      })
      for (let n = 0; n < 3; n++) {
        setup.client.say(create({ model: "up/m" }))
        yield* settled(setup, n + 1)
      }
      assert.deepStrictEqual(
        setup.client.events.map(({ status }) => status),
        [502, 504, 502]
      )
      assert.isNull(setup.client.closing())
      setup.client.say(create({ model: "up/m" }))
      yield* settleDown(() => setup.dials() === 4)
      yield* asked(setup, 1)
      assert.deepStrictEqual(setup.closes(), ["failed", "failed", "failed"])
    }).pipe(Effect.scoped)
  )

  it.effect("several dial once; a lost upstream fails them and not the connection, and is dialled anew", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native", unified: true })
      for (const lane of ["a", "b"]) setup.client.say(create({ model: "up/m", stream_id: lane }))
      yield* settleDown(() => setup.dials() === 1)
      yield* asked(setup, 2)
      assert.strictEqual(setup.dials(), 1)
      setup.upstream().leave(1012, "restart")
      yield* settled(setup, 2)
      assert.deepStrictEqual(
        setup.client.events.map(({ status, stream_id }) => [status, stream_id]),
        [
          [502, "a"],
          [502, "b"]
        ]
      )
      assert.isNull(setup.client.closing())
      assert.deepStrictEqual(
        setup.ledger.settlements.map((batch) => [batch.turns![0]!.closeCode, batch.turns![0]!.closeReason]),
        [
          [1012, "restart"],
          [1012, "restart"]
        ]
      )
      for (const lane of ["a", "b"]) setup.client.say(create({ model: "up/m", stream_id: lane }))
      yield* settleDown(() => setup.dials() === 2)
      yield* asked(setup, 2)
      assert.strictEqual(setup.dials(), 2)
      for (const lane of ["a", "b"]) {
        for (const message of messagesOf(`r-${lane}`, "hi", lane)) setup.upstream().say(message)
      }
      yield* settled(setup, 4)
      assert.deepStrictEqual(setup.closes(), ["failed", "failed", "completed", "completed"])
    }).pipe(Effect.scoped)
  )

  it.effect("a model that nobody serves is an error, as is one that is not named", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native", unified: true })
      setup.client.say(create({ model: "nobody/m" }))
      setup.client.say(create({ model: undefined }))
      yield* settled(setup, 2)
      assert.deepStrictEqual(
        setup.client.events.map(({ status }) => status),
        [404, 400]
      )
      assert.strictEqual(codeOf(setup.client.events[0]), "model_not_found")
    }).pipe(Effect.scoped)
  )
})

describe("how a native connection ends", () => {
  it.effect.each([
    [1000, 1000],
    [1001, 1001],
    [1005, 1000],
    [1006, 1011],
    [1008, 1008],
    [1009, 1009],
    [1011, 1011],
    [1012, 1012],
    [1015, 1011],
    [2999, 1011],
    [3000, 3000],
    [4999, 4999],
    [5000, 1011]
  ])("an upstream that closes between two responses with %i closes the client with %i", ([code, told]) =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      setup.upstream().leave(code!, "because")
      yield* Fiber.await(setup.running)
      assert.deepStrictEqual(setup.client.closing(), { code: told!, reason: "because" })
      yield* settleDown()
      assert.strictEqual(setup.timers.size(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("at websocket.max_age what runs and waits goes on, and nothing new begins", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({
        way: "native",
        config: { websocket: { max_age: "10 minutes" }, limits: { first_frame: "1 hour", idle: "1 hour" } }
      })
      yield* TestClock.adjust("599 seconds")
      setup.client.say(create())
      setup.client.say(create())
      yield* asked(setup, 1)
      yield* TestClock.adjust("2 seconds")
      setup.client.say(create({ stream_id: "b" }))
      yield* settleDown(() => setup.client.received.length > 0)
      const refused = setup.client.events.find(({ type }) => type === "error")
      assert.deepInclude(refused!, { status: 400, stream_id: "b" })
      assert.strictEqual(codeOf(refused), "websocket_connection_limit_reached")
      for (let n = 1; n < 3; n++) {
        yield* asked(setup, n)
        for (const message of messagesOf(`r${n}`, "hi")) setup.upstream().say(message)
        yield* settled(setup, n)
      }
      assert.deepStrictEqual(setup.closes(), ["completed", "completed"])
      yield* TestClock.adjust("3 minutes")
      yield* Fiber.await(setup.running)
      assert.strictEqual(setup.client.closing()!.code, 1000)
      assert.strictEqual(setup.upstream().closing()!.code, 1000)
    }).pipe(Effect.scoped)
  )

  it.effect("interrupted, it closes both sides, and what runs is cancelled", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      setup.client.say(create())
      yield* asked(setup, 1)
      yield* Fiber.interrupt(setup.running)
      assert.deepStrictEqual(setup.closes(), ["cancelled"])
      assert.strictEqual(setup.upstream().closing()!.code, 1001)
      assert.isNotNull(setup.client.closing())
      assert.strictEqual(setup.timers.size(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("a client that leaves is noticed though its upstream takes nothing", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      setup.client.say(create())
      yield* asked(setup, 1)
      setup.upstream().stopTaking()
      for (let n = 0; n < 3; n++) setup.client.say({ type: "response.processed", n })
      yield* settleDown()
      setup.client.leave(1000)
      yield* Fiber.await(setup.running)
      assert.deepStrictEqual(setup.closes(), ["cancelled"])
      assert.strictEqual(setup.upstream().closing()!.code, 1000)
    }).pipe(Effect.scoped)
  )

  it.effect("what is said while it ends begins nothing", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      setup.client.say(create({ stream_id: "a" }))
      yield* asked(setup, 1)
      setup.client.stopTaking()
      setup.upstream().leave(1011, "broken")
      yield* settleDown()
      for (let n = 0; n < 3; n++) setup.client.say(create({ stream_id: `b${n}` }))
      yield* settleDown()
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.await(setup.running)
      assert.deepStrictEqual(setup.client.closing(), { code: 1011, reason: "broken" })
      assert.deepStrictEqual(setup.closes(), ["failed"])
      assert.strictEqual(setup.scripted.requests.length, 0)
    }).pipe(Effect.scoped)
  )
})
