import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Turn } from "../../src/testing/index.ts"
import { create, eventsOf, messagesIn, settled, socketSetup } from "./WebSocketSetup.ts"

const answers = (...ids: ReadonlyArray<string>) => ids.map((id) => Turn.sse(eventsOf(id, `I am ${id}`)))

const inputs = (setup: { readonly scripted: { readonly requests: ReadonlyArray<{ readonly json: unknown }> } }) =>
  setup.scripted.requests.map(({ json }) => json as { input: unknown; previous_response_id?: string; store?: boolean })

/** What an input says, in short: the texts of its messages, whoever wrote them. */
const textsOf = (input: unknown): ReadonlyArray<unknown> =>
  typeof input === "string"
    ? [input]
    : (input as ReadonlyArray<{ content: string | ReadonlyArray<{ text: string }> }>).map(({ content }) =>
        typeof content === "string" ? content : content.map(({ text }) => text).join("")
      )

const codeOf = (event: { readonly [name: string]: unknown } = {}) => (event["error"] as { code: string }).code

describe("what a bridged connection remembers", () => {
  const failing = Turn.error(500, { error: { message: "no" } })

  it.effect("turn by turn it sends all that was said, and no id that its upstream cannot know", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "bridged", turns: answers("r1", "r2", "r3") })
      for (const [n, previous] of [undefined, "r1", "r2"].entries()) {
        setup.client.say(create({ store: false, input: `${n}`, previous_response_id: previous }))
        yield* settled(setup, n + 1)
      }
      assert.deepStrictEqual(
        inputs(setup).map(({ input }) => textsOf(input)),
        [["0"], ["0", "I am r1", "1"], ["0", "I am r1", "1", "I am r2", "2"]]
      )
      for (const request of inputs(setup)) assert.notProperty(request, "previous_response_id")
      assert.strictEqual(setup.scripted.requests[0]!.headers["content-type"], "application/json")
    }).pipe(Effect.scoped)
  )

  it.effect("an id of another lane resolves; a fork that fails keeps it, a continuation that fails loses it", () =>
    Effect.gen(function* () {
      const turns = [...answers("r1"), failing, ...answers("r2"), failing]
      const setup = yield* socketSetup({ way: "bridged", turns })
      const say = (stream_id: string, previous?: string) =>
        setup.client.say(create({ stream_id, store: false, previous_response_id: previous, input: "more" }))
      say("a")
      yield* settled(setup, 1)
      say("b", "r1")
      yield* settled(setup, 2)
      say("c", "r1")
      yield* settled(setup, 3)
      assert.deepStrictEqual(textsOf(inputs(setup)[2]!.input), ["more", "I am r1", "more"])
      say("a", "r1")
      yield* settled(setup, 4)
      say("b", "r1")
      yield* settled(setup, 5)
      assert.deepStrictEqual(setup.closes(), ["completed", "failed", "completed", "failed", "rejected"])
      const last = setup.client.events.at(-1)
      assert.deepInclude(last!, { type: "error", status: 400, stream_id: "b" })
      assert.strictEqual(codeOf(last), "previous_response_not_found")
      assert.strictEqual((last!["error"] as { param: string }).param, "previous_response_id")
    }).pipe(Effect.scoped)
  )

  it.effect("only the latest of a lane; any other goes upstream where that may have kept it", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "bridged", turns: answers("r1", "r2", "r3") })
      for (const [n, previous] of [undefined, "r1", "r1"].entries()) {
        setup.client.say(create({ input: `${n}`, previous_response_id: previous }))
        yield* settled(setup, n + 1)
      }
      assert.deepInclude(inputs(setup)[2]!, { input: "2", previous_response_id: "r1" })
      setup.client.say(create({ input: "4", store: false, previous_response_id: "r2" }))
      yield* settled(setup, 4)
      assert.strictEqual(codeOf(setup.client.events.at(-1)), "previous_response_not_found")
    }).pipe(Effect.scoped)
  )

  it.effect("a warm-up, which is answered here, and a response that came as a body", () =>
    Effect.gen(function* () {
      const body = JSON.stringify({
        id: "r1",
        object: "response",
        model: "m",
        status: "completed",
        output: [{ type: "message", role: "assistant", content: [{ type: "output_text", text: "whole" }] }]
      })
      const turns = [Turn.json(JSON.parse(body)), ...answers("r2")]
      const setup = yield* socketSetup({ way: "bridged", turns })
      setup.client.say(create({ generate: false, store: false, stream_id: "a", input: "warm" }))
      yield* settled(setup, 1)
      assert.deepStrictEqual(setup.types(), ["response.created", "response.completed"])
      for (const event of setup.client.events) assert.strictEqual(event["stream_id"], "a")
      assert.strictEqual(setup.scripted.requests.length, 0)
      const { id } = setup.client.events[1]!["response"] as { id: string }
      assert.deepStrictEqual(setup.closes(), ["completed"])
      setup.client.say(create({ stream_id: "a", store: false, previous_response_id: id, input: "go" }))
      yield* settled(setup, 2)
      assert.strictEqual(
        setup.client.received[2],
        `{"type":"response.completed","sequence_number":0,"response":${body},"stream_id":"a"}`
      )
      setup.client.say(create({ stream_id: "a", store: false, previous_response_id: "r1", input: "on" }))
      yield* settled(setup, 3)
      assert.deepStrictEqual(
        inputs(setup).map(({ input }) => textsOf(input)),
        [
          ["warm", "go"],
          ["warm", "go", "whole", "on"]
        ]
      )
    }).pipe(Effect.scoped)
  )
})

describe("what a bridged client is shown", () => {
  it.effect("the data of each event as it stands, but for comments and [DONE]", () =>
    Effect.gen(function* () {
      const odd = [
        ": a comment\n\n",
        'event: response.created\ndata:{ "type" : "response.created",  "response":{"id":"r1","status":"in_progress"}}\n\n',
        'data:  {"type":"response.from_the_future", "x": 1.0e2}\n\n',
        'data: {"type":"response.completed",\ndata: "response":{"id":"r1","status":"completed","output":[]}}\n\n',
        "data: [DONE]\n\n"
      ]
      const setup = yield* socketSetup({ way: "bridged", turns: [Turn.sse(odd)] })
      setup.client.say(create())
      yield* settled(setup, 1)
      assert.deepStrictEqual(setup.client.received, [
        '{ "type" : "response.created",  "response":{"id":"r1","status":"in_progress"}}',
        ' {"type":"response.from_the_future", "x": 1.0e2}',
        '{"type":"response.completed",\n"response":{"id":"r1","status":"completed","output":[]}}'
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("errors of its upstream with their status, code and wait", () =>
    Effect.gen(function* () {
      const said = { message: "slow down", type: "rate_limit", param: null, code: "rate_limit_exceeded" }
      const turns = [
        Turn.error(429, { error: said }, { "retry-after": "7" }),
        Turn.error(429, { error: said }),
        Turn.error(401, { error: { message: "who?", code: "invalid_api_key" } }),
        Turn.error(400, { error: { message: "no", code: "bad", param: "input" } }),
        Turn.error(500, "<html>"),
        Turn.sse(['data: {"type":"error","code":"rate_limit_exceeded","message":"slow"}\n\n'])
      ]
      const setup = yield* socketSetup({ way: "bridged", turns })
      for (const n of turns.keys()) {
        setup.client.say(create())
        yield* settled(setup, n + 1)
      }
      const seen = setup.client.events.map(({ error, headers, status, type }) => [
        type,
        status,
        (error as { code: string }).code,
        headers
      ])
      assert.deepStrictEqual(seen, [
        ["error", 429, "rate_limit_exceeded", { "retry-after": "7" }],
        ["error", 429, "rate_limit_exceeded", { "retry-after": "1" }],
        ["error", 401, "invalid_api_key", undefined],
        ["error", 400, "bad", undefined],
        ["error", 500, "upstream_error", undefined],
        ["error", 429, "rate_limit_exceeded", { "retry-after": "1" }]
      ])
      assert.deepStrictEqual(setup.closes(), Array(6).fill("failed"))
    }).pipe(Effect.scoped)
  )

  it.effect("all that an error says, and what its head says of limits", () =>
    Effect.gen(function* () {
      const error = '{"type":"usage_limit_reached","message":"spent","plan_type":"pro","resets_at":1800000000}'
      const limits = { "x-codex-primary-used-percent": "100", "x-ratelimit-reset-requests": "1s", "retry-after": "9" }
      const turns = [Turn.error(429, `{ "error" : ${error} }`, { ...limits, "content-type": "application/json" })]
      const setup = yield* socketSetup({ way: "bridged", turns })
      setup.client.say(create())
      yield* settled(setup, 1)
      const [text] = setup.client.received
      assert.include(text, `"error":${error}`)
      assert.deepStrictEqual(JSON.parse(text!).headers, limits)
    }).pipe(Effect.scoped)
  )

  it.effect("the model by the name that it used", () =>
    Effect.gen(function* () {
      const turns = [Turn.sse(eventsOf("r1", "hi", "slow-2025"))]
      const setup = yield* socketSetup({ way: "bridged", turns, unified: true, models: { fast: "other/slow" } })
      setup.client.say(create({ model: "fast" }))
      yield* settled(setup, 1)
      assert.deepInclude(setup.scripted.requests[0]!.json as object, { model: "slow" })
      assert.deepStrictEqual(setup.client.received, messagesIn(eventsOf("r1", "hi", "fast").join("")))
      assert.strictEqual(setup.ledger.settled().turn.servedModel, "slow-2025")
    }).pipe(Effect.scoped)
  )
})
