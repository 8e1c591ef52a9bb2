import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch } from "effect"
import { Turn } from "../../src/testing/index.ts"
import { settleDown } from "./Engine.ts"
import { asked, create, eventsOf, messagesOf, onLane, settled, socketSetup } from "./WebSocketSetup.ts"

/** 24 responses: on the first four of 20 lanes two. */
const lanes = Array.from({ length: 24 }, (_, n) => `lane-${n % 20}`)

/** What is recorded of each response: its lane, model and usage. */
const recorded = (setup: { readonly ledger: { readonly settlements: ReadonlyArray<object> } }) =>
  setup.ledger.settlements as ReadonlyArray<{
    turns: ReadonlyArray<{ lane: string | null; upstreamResponseId: string | null; servedModel: string | null }>
    usage: ReadonlyArray<{ input: number | null; provenance: string }>
    closes: ReadonlyArray<{ status: string }>
  }>

const laneOf = (text: string): string | null => (JSON.parse(text) as { stream_id?: string }).stream_id ?? null

describe("lanes of a native connection", () => {
  it.effect(
    "16 of 24 responses on 20 lanes run at once, one of each lane, every lane byte-exact and settled once",
    () =>
      Effect.gen(function* () {
        const setup = yield* socketSetup({ way: "native" })
        const { client } = setup
        for (const [n, lane] of lanes.entries()) client.say(create({ stream_id: lane, input: `${n}` }))
        yield* settleDown()
        const upstream = setup.upstream()
        assert.deepStrictEqual(upstream.received.map(laneOf), lanes.slice(0, 16))
        assert.strictEqual(setup.interception.running(), 16)
        const said = new Map<string, Array<string>>()
        const answered = new Set<number>()
        let running = 0
        // Those that run are answered message by message, in turns; what waits comes as soon as there is room.
        for (let round = 0; answered.size < 24; round++) {
          assert.isBelow(round, 10)
          const open = upstream.received.map((_, n) => n).filter((n) => !answered.has(n))
          running = Math.max(running, open.length)
          const names = open.map((n) => laneOf(upstream.received[n]!)!)
          assert.strictEqual(new Set(names).size, names.length, "two of one lane at once")
          const parts = open.map((n, at) => {
            const { input } = JSON.parse(upstream.received[n]!) as { input: string }
            answered.add(n)
            return messagesOf(`resp_${input}`, `text of ${input}`, names[at]!, `model-${input}`)
          })
          for (let at = 0; parts.some((messages) => messages.length > at); at++) {
            for (const [place, messages] of parts.entries()) {
              const message = messages[at]
              if (message === undefined) continue
              const name = names[place]!
              said.set(name, [...(said.get(name) ?? []), message])
              upstream.say(message)
            }
          }
          yield* settled(setup, answered.size)
        }
        assert.strictEqual(running, 16)
        for (const [name, messages] of said) {
          assert.deepStrictEqual(
            client.received.filter((text) => laneOf(text) === name),
            messages
          )
        }
        assert.strictEqual(client.received.length, [...said.values()].flat().length)
        const rows = recorded(setup)
        assert.strictEqual(rows.length, 24)
        for (const { closes, turns, usage } of rows) {
          const number = turns[0]!.upstreamResponseId!.slice("resp_".length)
          assert.strictEqual(turns[0]!.lane, lanes[Number(number)])
          assert.strictEqual(turns[0]!.servedModel, `model-${number}`)
          assert.deepStrictEqual(
            [usage[0]!.input, usage[0]!.provenance, closes[0]!.status],
            [8, "provider", "completed"]
          )
        }
        assert.strictEqual(new Set(rows.map(({ turns }) => turns[0]!.upstreamResponseId)).size, 24)
      }).pipe(Effect.scoped)
  )

  it.effect("a turn that was given up takes its own messages only, and the next of its lane the others", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      const { client } = setup
      const [first, ...rest] = messagesOf("resp_1", "late")
      client.say(create())
      yield* asked(setup, 1)
      setup.upstream().say(first!)
      setup.upstream().say("17")
      yield* settled(setup, 1)
      assert.deepStrictEqual(setup.closes(), ["failed"])
      client.say(create())
      yield* asked(setup, 2)
      const shown = client.received.length
      for (const message of [...rest, ...messagesOf("resp_2", "mine")]) setup.upstream().say(message)
      yield* settled(setup, 2)
      assert.deepStrictEqual(setup.closes(), ["failed", "completed"])
      assert.deepStrictEqual(client.received.slice(shown), messagesOf("resp_2", "mine"))
    }).pipe(Effect.scoped)
  )

  it.effect("so does one whose predecessor's end never came", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      const { client } = setup
      client.say(create())
      yield* asked(setup, 1)
      setup.upstream().say(messagesOf("resp_1", "late")[0]!)
      setup.upstream().say("17")
      yield* settled(setup, 1)
      client.say(create())
      yield* asked(setup, 2)
      for (const message of messagesOf("resp_2", "mine")) setup.upstream().say(message)
      yield* settled(setup, 2)
      assert.deepStrictEqual(setup.closes(), ["failed", "completed"])
      assert.deepStrictEqual(client.received.slice(-3), messagesOf("resp_2", "mine").slice(-3))
    }).pipe(Effect.scoped)
  )

  it.effect("what follows the end of a response is shown behind it, though that waits for its records", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      const { client, ledger } = setup
      client.say(create())
      yield* asked(setup, 1)
      ledger.hold()
      const messages = [...messagesOf("resp_1", "hi"), '{"type":"codex.rate_limits"}', ...messagesOf("resp_2", "more")]
      for (const message of messages) setup.upstream().say(message)
      yield* settleDown()
      assert.strictEqual(client.received.length, messagesOf("resp_1", "hi").length - 1)
      ledger.release()
      yield* settled(setup, 2)
      assert.deepStrictEqual(client.received, messages)
      assert.deepStrictEqual(
        recorded(setup).map(({ turns }) => turns[0]!.upstreamResponseId),
        ["resp_1", "resp_2"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("a response that nobody asked for goes before one that waits on its lane", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native", models: { fast: "up/slow" } })
      const { client } = setup
      client.say(create({ stream_id: "a" }))
      client.say(create({ stream_id: "a", input: "second" }))
      yield* asked(setup, 1)
      const steered = {
        type: "response.incomplete",
        stream_id: "a",
        response: { id: "resp_1", status: "incomplete", incomplete_details: { reason: "steered" }, output: [] }
      }
      const messages = [JSON.stringify(steered), ...messagesOf("resp_2", "steered", "a")]
      for (const message of messages) setup.upstream().say(message)
      yield* settled(setup, 2)
      assert.deepStrictEqual(client.received, messages)
      yield* asked(setup, 2)
      for (const message of messagesOf("resp_3", "asked", "a")) setup.upstream().say(message)
      yield* settled(setup, 3)
      assert.deepStrictEqual(setup.closes(), ["incomplete", "completed", "completed"])
      assert.deepStrictEqual(
        recorded(setup).map(({ turns }) => [turns[0]!.upstreamResponseId, turns[0]!.lane]),
        ["resp_1", "resp_2", "resp_3"].map((id) => [id, "a"])
      )
    }).pipe(Effect.scoped)
  )
})

describe("limits of a connection", () => {
  it.effect("lane 33 is refused, and what its lanes have goes on", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      const { client } = setup
      for (let n = 0; n < 33; n++) client.say(create({ stream_id: `l${n}` }))
      yield* settleDown(() => client.received.length > 0)
      assert.strictEqual(client.received.length, 1)
      assert.deepInclude(client.events[0]!, { type: "error", status: 400, stream_id: "l32" })
      assert.strictEqual((client.events[0]!["error"] as { code: string }).code, "websocket_stream_limit_reached")
      client.say(create({ stream_id: "l0" }))
      client.say(create())
      yield* settleDown()
      assert.strictEqual(client.received.length, 1)
      assert.strictEqual(setup.upstream().received.length, 16)
    }).pipe(Effect.scoped)
  )

  it.effect("what waits beyond websocket.max_queued is answered with 429 and when to come back", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native", config: { websocket: { max_queued: 2 } } })
      const { client } = setup
      for (let n = 0; n < 4; n++) client.say(create({ stream_id: "a", input: `${n}` }))
      yield* settleDown(() => client.received.length > 0)
      assert.strictEqual(client.received.length, 1)
      assert.deepInclude(client.events[0]!, {
        type: "error",
        status: 429,
        stream_id: "a",
        headers: { "retry-after": "1" }
      })
      for (let n = 0; n < 3; n++) {
        const request = JSON.parse(yield* asked(setup, n + 1)) as { input: string }
        assert.strictEqual(request.input, `${n}`)
        for (const message of messagesOf(`resp_${n}`, "hi", "a")) setup.upstream().say(message)
        yield* settled(setup, n + 1)
      }
      assert.deepStrictEqual(setup.closes(), ["completed", "completed", "completed"])
    }).pipe(Effect.scoped)
  )
})

describe("lanes of a bridged connection", () => {
  it.effect("run at once, 16 of them, one of each lane, and name their lane in every event", () =>
    Effect.gen(function* () {
      const latch = yield* Latch.make()
      const turns = lanes.map((_, n) => Turn.sse([{ await: latch.await }, ...eventsOf(`resp_${n}`, `text ${n}`)]))
      const setup = yield* socketSetup({ way: "bridged", turns })
      for (const [n, lane] of lanes.entries()) setup.client.say(create({ stream_id: lane, input: `${n}` }))
      yield* settleDown()
      assert.strictEqual(setup.scripted.requests.length, 16)
      yield* latch.open
      for (let n = 0; n < 20 && setup.closes().length < 24; n++) yield* settled(setup, 24)
      assert.deepStrictEqual(setup.closes(), Array(24).fill("completed"))
      for (const name of new Set(lanes)) {
        const numbers = setup.scripted.requests.flatMap(({ index, json }) =>
          lanes[Number((json as { input: string }).input)] === name ? [index] : []
        )
        assert.deepStrictEqual(
          setup.client.received.filter((text) => laneOf(text) === name),
          numbers.flatMap((n) => messagesOf(`resp_${n}`, `text ${n}`).map((message) => onLane(message, name)))
        )
      }
      setup.client.leave(1000)
      yield* Fiber.await(setup.running)
    }).pipe(Effect.scoped)
  )
})
