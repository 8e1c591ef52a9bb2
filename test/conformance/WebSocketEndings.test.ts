import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Recorder, RecorderError } from "../../src/recorder/Recorder.ts"
import { Turn } from "../../src/testing/index.ts"
import { settleDown } from "./Engine.ts"
import { asked, create, eventsOf, messagesOf, settled, socketSetup, ways } from "./WebSocketSetup.ts"

const errorOf = (event: { readonly [name: string]: unknown } = {}) => event["error"] as { code: string; param?: string }

describe.each(ways)("a connection, %s", (way) => {
  const answers = [1, 2, 3].map((n) => Turn.sse([...eventsOf(`r${n}`, "hi")]))
  const hanging = [1, 2].map((n) => Turn.sse([eventsOf(`r${n}`, "hi")[0], { hang: true }]))

  it.effect("that could not be recorded says so with 503 and goes on", () =>
    Effect.gen(function* () {
      const recorder = Layer.effect(
        Recorder,
        Effect.map(Recorder, (none) =>
          Recorder.of({ ...none, open: () => Effect.fail(RecorderError.failed("write", "full")) })
        )
      ).pipe(Layer.provide(Recorder.layerNone))
      const setup = yield* socketSetup({ way, turns: answers, recorder })
      for (let n = 1; n < 3; n++) {
        setup.client.say(create({ stream_id: "a" }))
        yield* settleDown(() => setup.client.received.length === n)
        const event = setup.client.events.at(-1)!
        assert.deepInclude(event, { type: "error", status: 503, stream_id: "a" })
        assert.strictEqual(errorOf(event).code, "recorder_unavailable")
      }
      assert.strictEqual(setup.scripted.requests.length, 0)
      assert.isNull(setup.client.closing())
    }).pipe(Effect.scoped)
  )

  it.effect("in which something of ours fails says so with 500 and goes on", () =>
    Effect.gen(function* () {
      const recorder = Layer.effect(
        Recorder,
        Effect.map(Recorder, (none) => Recorder.of({ ...none, open: () => Effect.die("a defect") }))
      ).pipe(Layer.provide(Recorder.layerNone))
      const setup = yield* socketSetup({ way, recorder })
      for (let n = 1; n < 3; n++) {
        setup.client.say(create({ stream_id: "a" }))
        yield* settleDown(() => setup.client.received.length === n)
        assert.deepInclude(setup.client.events.at(-1)!, { type: "error", status: 500, stream_id: "a" })
      }
    }).pipe(Effect.scoped)
  )

  it.effect("answers what it cannot make anything of, by its lane, and goes on", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way, turns: answers })
      const bad: ReadonlyArray<readonly [message: string | Buffer | object, param: string | null, code: string]> = [
        ["{", null, "invalid_request"],
        ["", null, "invalid_request"],
        ["[]", null, "invalid_request"],
        ['"response.create"', null, "invalid_request"],
        ["{}", "type", "invalid_request"],
        ['{"type":1}', "type", "invalid_request"],
        [Buffer.from("{}"), null, "invalid_request"],
        [create({ stream_id: "" }), "stream_id", "invalid_stream_id"],
        [create({ stream_id: "a b" }), "stream_id", "invalid_stream_id"],
        [create({ stream_id: "x".repeat(257) }), "stream_id", "invalid_stream_id"],
        [create({ stream_id: 7 }), "stream_id", "invalid_stream_id"],
        [create({ model: undefined }), "model", "invalid_request"],
        [create({ model: 7 }), "model", "invalid_request"],
        [create({ input: 7 }), "input", "invalid_request"]
      ]
      for (const [message] of bad) setup.client.say(message)
      yield* settleDown(() => setup.client.received.length === bad.length)
      yield* settleDown()
      const seen = setup.client.events.map((event) => [errorOf(event).code, errorOf(event).param, event["status"]])
      const expected = bad.map(([, param, code]) => [code, param, 400])
      const inOrder = (rows: ReadonlyArray<ReadonlyArray<unknown>>) => rows.map((row) => JSON.stringify(row)).sort()
      assert.deepStrictEqual(inOrder(seen), inOrder(expected))
      for (const event of setup.client.events) assert.notProperty(event, "stream_id")
      setup.client.say(create({ model: undefined, stream_id: "a" }))
      yield* settleDown(() => setup.client.received.length === bad.length + 1)
      assert.deepInclude(setup.client.events.at(-1)!, { status: 400, stream_id: "a" })
      setup.client.say(create())
      if (way === "native") {
        yield* asked(setup, 1)
        for (const message of messagesOf("r1", "hi")) setup.upstream().say(message)
      }
      yield* settled(setup, 5)
      assert.strictEqual(setup.types().at(-1), "response.completed")
    }).pipe(Effect.scoped)
  )

  it.effect("that is shut down tells each response so, and both sides with 1001", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way, turns: hanging })
      for (const lane of ["a", "b"]) setup.client.say(create({ stream_id: lane }))
      if (way === "native") yield* asked(setup, 2)
      yield* settleDown()
      setup.connection.drain()
      yield* setup.interception.shutdown
      setup.connection.shutDown()
      yield* Fiber.await(setup.running)
      const errors = setup.client.events.filter(({ type }) => type === "error")
      assert.deepStrictEqual(errors.map(({ status, stream_id }) => [status, stream_id]).sort(), [
        [503, "a"],
        [503, "b"]
      ])
      const close = { code: 1001, reason: "the gateway is shutting down" }
      assert.deepStrictEqual(setup.client.closing(), close)
      if (way === "native") assert.deepStrictEqual(setup.upstream().closing(), close)
      assert.deepStrictEqual(setup.closes(), ["failed", "failed"])
      for (const batch of setup.ledger.settlements) assert.strictEqual(batch.closes![0]!.error!.code, "shutdown")
    }).pipe(Effect.scoped)
  )

  it.effect("that is drained lets what runs and waits finish", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way, turns: answers.map((turn) => ({ ...turn, opening: [{ wait: 1000 }] })) })
      for (let n = 0; n < 2; n++) setup.client.say(create())
      yield* settleDown()
      setup.connection.drain()
      for (let n = 1; n < 3; n++) {
        if (way === "native") {
          yield* asked(setup, n)
          for (const message of messagesOf(`r${n}`, "hi")) setup.upstream().say(message)
        } else yield* TestClock.adjust("1 second")
        yield* settled(setup, n)
      }
      yield* Fiber.await(setup.running)
      assert.deepStrictEqual(setup.closes(), ["completed", "completed"])
      assert.strictEqual(setup.client.closing()!.code, 1001)
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    [1000, 1000],
    [1001, 1001],
    [1005, 1000],
    [1006, 1001],
    [1011, 1011],
    [3000, 3000],
    [4999, 4999]
  ])("whose client closes it with %i closes the upstream with %i, and records how", ([code, told]) =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way, turns: hanging })
      setup.client.say(create({ stream_id: "a" }))
      if (way === "native") yield* asked(setup, 1)
      yield* settleDown()
      setup.client.leave(code!, "enough")
      yield* Fiber.await(setup.running)
      const { close, turn } = setup.ledger.settled()
      assert.strictEqual(close.status, "cancelled")
      assert.deepInclude(turn, { lane: "a", closeCode: code!, closeReason: "enough" })
      if (way === "native") assert.deepStrictEqual(setup.upstream().closing(), { code: told!, reason: "enough" })
      else assert.strictEqual(setup.scripted.requests[0]!.outcome, "aborted")
    }).pipe(Effect.scoped)
  )
})
