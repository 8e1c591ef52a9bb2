import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, References } from "effect"
import { TestClock } from "effect/testing"
import { make } from "../../src/config/Load.ts"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { Connection } from "../../src/interception/Connection.ts"
import { Interception } from "../../src/interception/Interception.ts"
import * as Sluice from "../../src/Sluice.ts"
import { Scripted, Turn } from "../../src/testing/index.ts"
import { Exchangers } from "../../src/upstream/Providers.ts"
import { IdleTimers, Upstream } from "../../src/upstream/Upstream.ts"
import { settleDown } from "../conformance/Engine.ts"
import { Ledger } from "../conformance/Ledger.ts"
import { openAiResponsesCase } from "../conformance/OpenAiResponsesCase.ts"
import { linkedPeers } from "../support/LinkedPeers.ts"

const turnOf = (id: string, text: string) => {
  const { body, finish, after, end } = openAiResponsesCase.events({ id, text: [text] })
  return [...body, ...finish, ...after, end]
}

/** The data of events, as messages. */
const messagesOf = (id: string, text: string) => turnOf(id, text).map((event) => /^data: (.*)$/m.exec(event)![1]!)

const setup = Effect.fnUntraced(function* (
  options: { readonly turns?: ReadonlyArray<Turn>; readonly native?: boolean; readonly config?: SluiceConfigInput } = {}
) {
  const scripted = yield* Scripted.make(options.turns ?? [])
  const ledger = new Ledger()
  const config: SluiceConfigInput = {
    ...options.config,
    retries: { times: 0 },
    providers: {
      up: { type: "openai-compatible", base_url: "http://up.test/v1", dialects: ["openai-responses"], websocket: false }
    }
  }
  const services = yield* Layer.build(
    Sluice.layer(config).pipe(
      Layer.provide(Layer.succeed(Exchangers, () => Effect.succeed(() => scripted.exchanger))),
      Layer.provide(ledger.layer)
    )
  ).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  const [client, atGateway] = linkedPeers()
  const [upstream, toUpstream] = linkedPeers()
  const scope = yield* Effect.scope
  const connection = new Connection(
    {
      client: atGateway,
      request: { provider: "up", path: "/v1/responses", query: "", headers: {}, credential: null, actor: () => "me" },
      dialled: options.native === true ? { peer: toUpstream, headers: {}, secrets: [] } : null,
      settings: yield* make(config),
      interception: Context.get(services, Interception),
      upstream: Context.get(services, Upstream),
      timers: Context.get(services, IdleTimers)
    },
    scope
  )
  const running = yield* Effect.forkChild(connection.run, { startImmediately: true })
  const types = () => client.events.map((event) => event["type"])
  const closes = () => ledger.settlements.map((batch) => batch.closes![0]!.status)
  return { client, upstream, ledger, scripted, connection, running, types, closes }
})

const create = (more: object = {}) => ({ type: "response.create", model: "m", input: "hello", ...more })

describe("a connection to a provider without WebSockets", () => {
  it.effect("carries a response out over HTTP and shows its events", () =>
    Effect.gen(function* () {
      const { client, ledger, scripted } = yield* setup({ turns: [Turn.sse(turnOf("resp_1", "hi"))] })
      client.say(create({ store: false }))
      yield* settleDown(() => ledger.settlements.length === 1)
      yield* settleDown()
      assert.deepStrictEqual(client.received, messagesOf("resp_1", "hi"))
      assert.deepStrictEqual(scripted.requests[0]!.json, { model: "m", input: "hello", store: false, stream: true })
      const { turn, close } = ledger.settled()
      assert.deepStrictEqual([close.transport, turn.transport, close.status], ["ws", "sse", "completed"])
    }).pipe(Effect.scoped)
  )

  it.effect("goes on from what it remembers, a warm-up among it, and forgets it when that fails", () =>
    Effect.gen(function* () {
      const { client, ledger, scripted } = yield* setup({
        turns: [Turn.sse(turnOf("resp_1", "hi")), Turn.error(500, { error: { message: "no" } })]
      })
      client.say(create({ generate: false, store: false, input: [{ role: "developer", content: "be kind" }] }))
      yield* settleDown(() => client.received.length === 2)
      const warm = (client.events[1] as { response: { id: string } }).response.id
      client.say(create({ previous_response_id: warm, store: false }))
      yield* settleDown(() => ledger.settlements.length === 2)
      assert.deepStrictEqual((scripted.requests[0]!.json as { input: unknown }).input, [
        { role: "developer", content: "be kind" },
        { role: "user", content: "hello" }
      ])
      client.say(create({ previous_response_id: "resp_1", store: false, input: "more" }))
      yield* settleDown(() => ledger.settlements.length === 3)
      const sent = scripted.requests[1]!.json as { input: ReadonlyArray<object>; previous_response_id?: string }
      assert.strictEqual(sent.previous_response_id, undefined)
      assert.strictEqual(sent.input.length, 4)
      yield* settleDown()
      assert.deepInclude(client.events.at(-1)!, { type: "error", status: 500 })
      client.say(create({ previous_response_id: "resp_1", store: false, input: "again" }))
      yield* settleDown(() => ledger.settlements.length === 4)
      yield* settleDown()
      const { error, status } = client.events.at(-1) as { error: { code: string }; status: number }
      assert.deepStrictEqual([status, error.code], [400, "previous_response_not_found"])
    }).pipe(Effect.scoped)
  )

  it.effect("says what is wrong with a message, and goes on", () =>
    Effect.gen(function* () {
      const { client, types } = yield* setup({ turns: [Turn.sse(turnOf("resp_1", "hi"))] })
      for (const bad of ["{", "[]", "{}", '{"type":"response.steer"}', Buffer.from([1, 2])]) client.say(bad)
      client.say(create({ stream_id: "" }))
      client.say(create({ model: undefined }))
      yield* settleDown(() => client.received.length === 7)
      yield* settleDown()
      assert.deepStrictEqual(types(), Array(7).fill("error"))
      for (const event of client.events) assert.strictEqual(event["status"], 400)
      client.say(create({ stream_id: "a" }))
      yield* settleDown(() => types().at(-1) === "response.completed")
      for (const event of client.events.slice(7)) assert.strictEqual(event["stream_id"], "a")
    }).pipe(Effect.scoped)
  )

  it.effect("fills silence while a response runs, and not otherwise", () =>
    Effect.gen(function* () {
      const { client } = yield* setup({ turns: [Turn.sse([{ wait: "25 seconds" }, ...turnOf("resp_1", "hi")])] })
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(client.received, [])
      client.say(create())
      yield* settleDown()
      yield* TestClock.adjust("24 seconds")
      yield* settleDown()
      assert.deepStrictEqual(client.received, ['{"type":"keepalive"}', '{"type":"keepalive"}'])
    }).pipe(Effect.scoped)
  )

  it.effect("cancels what runs when the client leaves", () =>
    Effect.gen(function* () {
      const { client, closes, running, scripted } = yield* setup({
        turns: [Turn.sse([...turnOf("resp_1", "hi").slice(0, 3), { hang: true }])]
      })
      client.say(create())
      yield* settleDown(() => client.received.length === 3)
      client.leave(1005)
      yield* Fiber.await(running)
      assert.deepStrictEqual(closes(), ["cancelled"])
      assert.strictEqual(scripted.requests[0]!.outcome, "aborted")
    }).pipe(Effect.scoped)
  )

  it.effect("drains: what runs may finish, nothing new begins, and it closes with 1001", () =>
    Effect.gen(function* () {
      const { client, closes, connection, running } = yield* setup({
        turns: [Turn.sse([{ wait: "5 seconds" }, ...turnOf("resp_1", "hi")])]
      })
      client.say(create())
      yield* settleDown()
      connection.drain()
      client.say(create())
      yield* settleDown(() => client.received.length === 1)
      assert.deepInclude(client.events[0]!, { type: "error", status: 503 })
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.await(running)
      assert.deepStrictEqual(closes(), ["completed"])
      assert.deepStrictEqual(client.closing(), { code: 1001, reason: "the gateway is shutting down" })
    }).pipe(Effect.scoped)
  )
})

describe("a connection to a provider's WebSocket", () => {
  it.effect("relays messages as they are, lane by lane, each response settled once", () =>
    Effect.gen(function* () {
      const { client, closes, ledger, upstream } = yield* setup({ native: true })
      const first = `{ "type" : "response.create", "model":"m","input":"hello", "odd": 1e2 }`
      client.say(first)
      client.say(create({ stream_id: "b" }))
      yield* settleDown(() => upstream.received.length === 2)
      assert.strictEqual(upstream.received[0], first)
      const one = messagesOf("resp_1", "hi")
      const two = messagesOf("resp_2", "ho").map((message) => `${message.slice(0, -1)},"stream_id":"b"}`)
      const mixed = one.flatMap((message, i) => [message, two[i]!])
      for (const message of mixed) upstream.say(message)
      yield* settleDown(() => ledger.settlements.length === 2)
      yield* settleDown()
      const lane = (named: boolean) => client.received.filter((text) => text.includes('"stream_id":"b"') === named)
      assert.deepStrictEqual([lane(false), lane(true)], [one, two])
      assert.deepStrictEqual(closes(), ["completed", "completed"])
      assert.deepStrictEqual(
        ledger.settlements.map((batch) => [batch.turns![0]!.lane, batch.turns![0]!.upstreamResponseId]).sort(),
        [
          ["b", "resp_2"],
          [null, "resp_1"]
        ].sort()
      )
    }).pipe(Effect.scoped)
  )

  it.effect("passes on what it does not know, both ways", () =>
    Effect.gen(function* () {
      const { client, upstream } = yield* setup({ native: true })
      client.say('{"type":"response.processed","response_id":"r"}')
      upstream.say('{"type":"codex.rate_limits","plan":"x"}')
      yield* settleDown(() => upstream.received.length === 1 && client.received.length === 1)
      assert.deepStrictEqual(upstream.received, ['{"type":"response.processed","response_id":"r"}'])
      assert.deepStrictEqual(client.received, ['{"type":"codex.rate_limits","plan":"x"}'])
    }).pipe(Effect.scoped)
  )

  it.effect("records a response that follows a steered one without being asked for", () =>
    Effect.gen(function* () {
      const { client, closes, ledger, upstream } = yield* setup({ native: true })
      client.say(create())
      yield* settleDown(() => upstream.received.length === 1)
      const steered = messagesOf("resp_1", "hi")
      for (const message of steered.slice(0, -1)) upstream.say(message)
      upstream.say({
        type: "response.incomplete",
        response: {
          id: "resp_1",
          model: "m",
          status: "incomplete",
          incomplete_details: { reason: "steered" },
          output: []
        }
      })
      for (const message of messagesOf("resp_2", "ho")) upstream.say(message)
      yield* settleDown(() => ledger.settlements.length === 2)
      yield* settleDown()
      assert.deepStrictEqual(closes(), ["incomplete", "completed"])
      assert.deepStrictEqual(client.received.slice(-steered.length), messagesOf("resp_2", "ho"))
    }).pipe(Effect.scoped)
  )

  it.effect("fails what runs when the upstream leaves, says so, and closes with its code and reason", () =>
    Effect.gen(function* () {
      const { client, closes, running, upstream, ledger } = yield* setup({ native: true })
      client.say(create())
      yield* settleDown(() => upstream.received.length === 1)
      upstream.say(messagesOf("resp_1", "hi")[0]!)
      yield* settleDown(() => client.received.length === 1)
      upstream.leave(1012, "service restart")
      yield* settleDown(() => client.closing() !== null)
      yield* Fiber.await(running)
      assert.deepStrictEqual(closes(), ["failed"])
      assert.deepInclude(client.events.at(-1)!, { type: "error", status: 502 })
      assert.deepStrictEqual(client.closing(), { code: 1012, reason: "service restart" })
      assert.strictEqual(ledger.settled().turn.closeCode, 1012)
    }).pipe(Effect.scoped)
  )

  it.effect("closes the upstream when the client leaves, with 1001 where it just broke off", () =>
    Effect.gen(function* () {
      const { client, closes, running, upstream } = yield* setup({ native: true })
      client.say(create())
      yield* settleDown(() => upstream.received.length === 1)
      client.leave(1006)
      yield* Fiber.await(running)
      assert.deepStrictEqual(closes(), ["cancelled"])
      assert.deepStrictEqual(upstream.closing(), { code: 1001, reason: "" })
    }).pipe(Effect.scoped)
  )
})
