import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { ScriptedTools, Turn } from "../../src/testing/index.ts"
import { settleDown } from "./Engine.ts"
import { openAiResponsesCase as dialect } from "./OpenAiResponsesCase.ts"
import { answering, slowly, turnsOf } from "./toolloop/Loop.ts"
import { asked, create, eventsOf, messagesIn, messagesOf, onLane, settled, socketSetup } from "./WebSocketSetup.ts"

const key = "sk-secret-key"

const rowsOf = (setup: { readonly ledger: { readonly settlements: ReadonlyArray<object> } }) =>
  setup.ledger.settlements as ReadonlyArray<{
    turns: ReadonlyArray<{ lane: string | null; upstreamResponseId: string | null }>
    closes: ReadonlyArray<{ status: string; error: { code: string } | null }>
  }>

describe("a credential that a native upstream echoes", () => {
  it.effect("is not shown in what belongs to no turn", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      const error = { type: "error", status: 401, error: { code: "x", message: `bad key ${key}` } }
      setup.upstream().say(error)
      yield* settleDown(() => setup.client.received.length === 1)
      assert.include(setup.client.received[0]!, "bad key ")
      assert.notInclude(setup.client.received[0]!, key)
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    ["whole", `bad key ${key}`],
    ["cut off", `bad key ${key.slice(0, -2)}`]
  ])("is not told of its close, %s", ([, reason]) =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      setup.client.say(create())
      yield* asked(setup, 1)
      setup.upstream().say(messagesOf("r1", "hi")[0]!)
      yield* settleDown(() => setup.client.received.length === 1)
      setup.upstream().leave(1008, reason)
      yield* Fiber.await(setup.running)
      const { turn } = setup.ledger.settled()
      assert.strictEqual(turn.closeCode, 1008)
      const told = setup.client.received.at(-1)!
      assert.include(told, "upstream_cut")
      const everything = [told, setup.client.closing()!.reason, JSON.stringify(setup.ledger.batches)]
      for (const text of everything) {
        assert.include(text, "bad key ")
        assert.notInclude(text, key.slice(0, 9))
      }
    }).pipe(Effect.scoped)
  )
})

describe("a response that nobody asked for", () => {
  it.effect("holds up no other lane while its own is busy elsewhere, and is shown behind that", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({
        way: "native",
        unified: true,
        turns: [Turn.sse([{ wait: "5 seconds" }, ...eventsOf("resp_other", "elsewhere")])]
      })
      const { client } = setup
      client.say(create({ stream_id: "b", model: "up/m" }))
      yield* settleDown(() => setup.isDialled())
      yield* asked(setup, 1)
      client.say(create({ stream_id: "a", model: "other/m" }))
      yield* settleDown()
      const unasked = messagesOf("resp_1", "unasked", "a")
      for (const message of [...unasked, ...messagesOf("resp_2", "hi", "b")]) setup.upstream().say(message)
      yield* settled(setup, 1)
      assert.deepStrictEqual(
        client.received.map((text) => text.includes('"stream_id":"b"')),
        [...messagesOf("resp_2", "hi").map(() => true)]
      )
      yield* TestClock.adjust("5 seconds")
      yield* settled(setup, 3)
      assert.deepStrictEqual(client.received.slice(-unasked.length).map(namesOf), unasked.map(namesOf))
      assert.deepStrictEqual(
        rowsOf(setup).map(({ closes, turns }) => [turns[0]!.upstreamResponseId, turns[0]!.lane, closes[0]!.status]),
        [
          ["resp_2", "b", "completed"],
          ["resp_other", "a", "completed"],
          ["resp_1", "a", "completed"]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("holds up no other lane while a tool runs on its own", () =>
    Effect.gen(function* () {
      const services = yield* Layer.build(ScriptedTools.layer(answering))
      const [turn] = turnsOf([slowly("one")])
      const setup = yield* socketSetup({ way: "native" }).pipe(Effect.provide(services))
      setup.client.say({ type: "response.create", ...(JSON.parse(dialect.request(true)) as object) })
      yield* asked(setup, 1)
      for (const message of messagesIn(dialect.toolLoop.stream(turn!).join(""))) setup.upstream().say(message)
      yield* Context.get(services, ScriptedTools).received(1)
      setup.upstream().say(messagesOf("resp_9", "unasked")[0]!)
      setup.client.say(create({ stream_id: "b" }))
      yield* asked(setup, 2)
      for (const message of messagesOf("resp_2", "hi", "b")) setup.upstream().say(message)
      yield* settled(setup, 1)
      assert.deepStrictEqual(setup.closes(), ["completed"])
      yield* TestClock.adjust("5 seconds")
      // The turn goes on from its own response, and what never came to its end is behind it, as failed.
      assert.deepInclude(JSON.parse(yield* asked(setup, 3)), { previous_response_id: turn!.id })
      for (const message of messagesOf("resp_3", "done")) setup.upstream().say(message)
      yield* settled(setup, 3)
      assert.deepStrictEqual(setup.closes(), ["completed", "completed", "failed"])
    }).pipe(Effect.scoped)
  )

  it.effect("is given up where more of it would have to be held than may be", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({
        way: "native",
        unified: true,
        turns: [Turn.sse([{ wait: "5 seconds" }, ...eventsOf("resp_other", "elsewhere")])]
      })
      setup.client.say(create({ stream_id: "b", model: "up/m" }))
      yield* settleDown(() => setup.isDialled())
      yield* asked(setup, 1)
      setup.client.say(create({ stream_id: "a", model: "other/m" }))
      yield* settleDown()
      const [first, ...rest] = messagesOf("resp_1", "unasked", "a")
      setup.upstream().say(first!)
      const delta = onLane(JSON.stringify({ type: "response.output_text.delta", delta: "x".repeat(1_000_000) }), "a")
      for (let n = 0; n < 6; n++) setup.upstream().say(delta)
      for (const message of [...rest, ...messagesOf("resp_2", "hi", "b")]) setup.upstream().say(message)
      yield* settled(setup, 1)
      yield* TestClock.adjust("5 seconds")
      yield* settled(setup, 3)
      assert.deepStrictEqual(setup.closes(), ["completed", "completed", "failed"])
      assert.strictEqual(rowsOf(setup)[2]!.closes[0]!.error!.code, "malformed")
    }).pipe(Effect.scoped)
  )

  it.effect.each([false, true])("is recorded with its own model where its lane had none, unified %s", (unified) =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native", unified })
      setup.client.say(create({ stream_id: "a", model: "up/m" }))
      yield* settleDown(() => setup.isDialled())
      yield* asked(setup, 1)
      const unasked = messagesOf("resp_1", "unasked", "zz", "its-model")
      for (const message of unasked) setup.upstream().say(message)
      yield* settled(setup, 1)
      const opened = setup.ledger.batches.flatMap((batch) => batch.opens ?? [])
      assert.strictEqual(opened.at(-1)!.requestedModel, unified ? "up/its-model" : "its-model")
      assert.deepInclude(setup.ledger.settlements[0]!.turns![0]!, {
        lane: "zz",
        upstreamResponseId: "resp_1",
        servedModel: "its-model"
      })
      assert.strictEqual(setup.client.received.length, unasked.length)
    }).pipe(Effect.scoped)
  )
})

const namesOf = (text: string): unknown => (JSON.parse(text) as { type: unknown }).type

describe("an upstream that names no lanes", () => {
  it.effect("answers the only one on which a turn runs, and its client is told which", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      setup.client.say(create({ stream_id: "a" }))
      yield* asked(setup, 1)
      const messages = messagesOf("r1", "hi")
      for (const message of messages) setup.upstream().say(message)
      yield* settled(setup, 1)
      assert.deepInclude(setup.ledger.settled().turn, { lane: "a", upstreamResponseId: "r1", status: "completed" })
      assert.deepStrictEqual(
        setup.client.events,
        messages.map((message) => JSON.parse(onLane(message, "a")))
      )
    }).pipe(Effect.scoped)
  )
})

describe("behind the end of a response", () => {
  it.effect("nothing of it is shown again, nor its upstream's name of the model", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native", unified: true, models: { fast: "up/slow" } })
      setup.client.say(create({ model: "fast" }))
      yield* settleDown(() => setup.isDialled())
      yield* asked(setup, 1)
      const messages = messagesOf("r1", "hi", null, "slow-2025")
      for (const message of [...messages, messages.at(-1)!]) setup.upstream().say(message)
      setup.upstream().say('{"type":"codex.rate_limits"}')
      yield* settled(setup, 1)
      const shown = [...messagesOf("r1", "hi", null, "fast"), '{"type":"codex.rate_limits"}']
      assert.deepStrictEqual(setup.client.received, shown)
    }).pipe(Effect.scoped)
  )

  it.effect("nor is its end, said again, that of the next", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      const first = messagesOf("r1", "hi")
      const second = messagesOf("r2", "ho")
      setup.client.say(create())
      yield* asked(setup, 1)
      for (const message of first) setup.upstream().say(message)
      yield* settled(setup, 1)
      setup.client.say(create())
      yield* asked(setup, 2)
      const [created, ...rest] = second
      for (const message of [first.at(-1)!, created!, first.at(-1)!, ...rest]) setup.upstream().say(message)
      yield* settled(setup, 2)
      assert.deepStrictEqual(setup.client.received, [...first, ...second])
      assert.deepStrictEqual(
        rowsOf(setup).map(({ turns }) => turns[0]!.upstreamResponseId),
        ["r1", "r2"]
      )
    }).pipe(Effect.scoped)
  )
})

describe("other events of a client", () => {
  it.effect("go to the upstream that their lane or response is of, and to nobody else", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native", unified: true, turns: [Turn.hang] })
      setup.client.say(create({ stream_id: "a", model: "up/m" }))
      yield* settleDown(() => setup.isDialled())
      yield* asked(setup, 1)
      setup.upstream().say(messagesOf("r1", "hi", "a")[0]!)
      setup.client.say(create({ stream_id: "b", model: "other/m" }))
      yield* settleDown()
      const shown = setup.client.received.length
      const steer = (more: object) => setup.client.say({ type: "response.steer", input: "x", ...more })
      steer({ stream_id: "b" })
      steer({})
      yield* settleDown(() => setup.client.received.length === shown + 2)
      assert.deepStrictEqual(
        setup.client.events.slice(shown).map((event) => [event["type"], event["status"], event["stream_id"]]),
        [
          ["error", 400, "b"],
          ["error", 400, undefined]
        ]
      )
      assert.strictEqual(setup.upstream().received.length, 1)
      steer({ stream_id: "a" })
      steer({ response_id: "r1" })
      yield* asked(setup, 3)
      assert.strictEqual(setup.client.received.length, shown + 2)
    }).pipe(Effect.scoped)
  )
})

describe("what one client may hold", () => {
  const limited = { limits: { body_bytes: 2000 } }
  const codes = (events: ReadonlyArray<{ readonly [name: string]: unknown }>) =>
    events.map(({ error, status }) => [status, (error as { code: string } | undefined)?.code])

  it.effect.each(["native", "bridged"] as const)("a request over limits.body_bytes is refused, %s", (way) =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way, config: limited, turns: [Turn.hang] })
      setup.client.say(create({ input: "x".repeat(2000), stream_id: "a" }))
      yield* settleDown(() => setup.client.received.length === 1)
      assert.deepStrictEqual(codes(setup.client.events), [[413, "request_too_large"]])
      assert.strictEqual(setup.client.events[0]!["stream_id"], "a")
    }).pipe(Effect.scoped)
  )

  it.effect("what waits has as many bytes together, and no more", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native", config: limited })
      for (let n = 0; n < 4; n++) setup.client.say(create({ input: "x".repeat(850) }))
      yield* settleDown(() => setup.client.received.length === 1)
      yield* settleDown()
      assert.deepStrictEqual(codes(setup.client.events), [[429, "rate_limit_exceeded"]])
      for (let n = 0; n < 3; n++) {
        yield* asked(setup, n + 1)
        for (const message of messagesOf(`r${n}`, "hi")) setup.upstream().say(message)
        yield* settled(setup, n + 1)
      }
      assert.deepStrictEqual(setup.closes(), ["completed", "completed", "completed"])
    }).pipe(Effect.scoped)
  )

  it.effect("so does a request with what it goes on from", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "bridged", config: limited, turns: [Turn.sse(eventsOf("r1", "hi"))] })
      setup.client.say(create({ store: false, input: "x".repeat(1200) }))
      yield* settled(setup, 1)
      const shown = setup.client.received.length
      setup.client.say(create({ store: false, input: "x".repeat(900), previous_response_id: "r1" }))
      yield* settled(setup, 2)
      assert.deepStrictEqual(codes(setup.client.events.slice(shown)), [[413, "request_too_large"]])
      assert.deepStrictEqual(setup.closes(), ["completed", "rejected"])
      assert.strictEqual(setup.scripted.requests.length, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("an event over limits.event_bytes fails its response, and is recorded so", () =>
    Effect.gen(function* () {
      const large = `data: {"type":"response.output_text.delta","delta":"${"x".repeat(5000)}"}\n\n`
      const [first, ...rest] = eventsOf("r1", "hi")
      const turns = [Turn.sse([first!, large, ...rest]), Turn.sse(eventsOf("r2", "hi"))]
      const setup = yield* socketSetup({ way: "bridged", config: { limits: { event_bytes: 4000 } }, turns })
      setup.client.say(create())
      yield* settled(setup, 1)
      const { close } = setup.ledger.settled()
      assert.deepStrictEqual([close.status, close.error?.code], ["failed", "malformed"])
      assert.deepInclude(setup.client.events.at(-1)!, { type: "error", status: 502 })
      setup.client.say(create())
      yield* settled(setup, 2)
      assert.strictEqual(setup.types().at(-1), "response.completed")
    }).pipe(Effect.scoped)
  )
})

describe("who breaks the protocol", () => {
  it.effect.each([1002, 1007, 1009])("is not the other side: %i", (code) =>
    Effect.gen(function* () {
      const first = yield* socketSetup({ way: "native" })
      first.upstream().violate(code)
      yield* Fiber.await(first.running)
      assert.strictEqual(first.client.closing()!.code, 1011)
      const second = yield* socketSetup({ way: "native" })
      second.client.violate(code)
      yield* Fiber.await(second.running)
      assert.strictEqual(second.upstream().closing()!.code, 1001)
    }).pipe(Effect.scoped)
  )
})
