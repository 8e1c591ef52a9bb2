import Anthropic, { APIConnectionError, APIError, InternalServerError, RateLimitError } from "@anthropic-ai/sdk"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { simulated } from "../../src/upstream/Simulated.ts"
import { serveExchanger } from "../support/ExchangerServer.ts"

const sdk = Effect.map(
  serveExchanger(simulated()),
  (url) => new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 })
)

const user = (content: string) => [{ role: "user" as const, content }]
const asking = (content: string, model = "sim") => ({ model, max_tokens: 500, messages: user(content) })

const tools = [
  {
    name: "get_weather",
    input_schema: { type: "object" as const, properties: { location: { type: "string" } }, required: ["location"] }
  }
]

const whole = (anthropic: Anthropic, body: Anthropic.MessageCreateParamsNonStreaming) =>
  Effect.promise(() => anthropic.messages.create(body))

const folded = (anthropic: Anthropic, body: Anthropic.MessageCreateParamsNonStreaming) =>
  Effect.promise(() => anthropic.messages.stream(body).finalMessage())

/** What a promise is rejected with. */
const failure = (promise: Promise<unknown>): Effect.Effect<unknown> =>
  Effect.promise(() =>
    promise.then(
      () => assert.fail("it did not fail"),
      (error: unknown) => error
    )
  )

const textOf = (message: Anthropic.Message): string =>
  message.content.map((block) => (block.type === "text" ? block.text : "")).join("")

/** What both forms of an answer have: the usage of a stream comes in two parts. */
const comparable = ({ id, model, role, content, stop_reason, usage }: Anthropic.Message) => ({
  id,
  model,
  role,
  content,
  stop_reason,
  counts: [
    usage.input_tokens,
    usage.output_tokens,
    usage.cache_read_input_tokens,
    usage.cache_creation_input_tokens,
    usage.cache_creation
  ]
})

describe("the Anthropic SDK against the simulated provider", () => {
  it.live.each([
    "Hello there, Zürich 🌊",
    "[[sim: reasoning]] Think",
    "[[sim: tool=get_weather, parallel=2, preamble, reasoning]] The weather in Lisbon?",
    "[[sim: tool=now, args={}]] Now?",
    "[[sim: cached=1000, input=2000, cache-write=200, cache-write-1h=300, output=77]]",
    "[[sim: words=60, finish=length, obfuscation]]",
    "[[sim: refusal, crlf, comments]]",
    "[[sim: words=40, bytes=7]]"
  ])("reads the same answer streamed and not: %s", (prompt) =>
    Effect.gen(function* () {
      const anthropic = yield* sdk
      const body = { ...asking(prompt), tools }
      const given = yield* whole(anthropic, body)
      const streamed = yield* folded(anthropic, body)
      assert.deepStrictEqual(comparable(streamed), comparable(given))
      assert.match(given.id, /^msg_\w{24}$/)
    })
  )

  it.live("reads why an answer ended", () =>
    Effect.gen(function* () {
      const anthropic = yield* sdk
      const reason = (prompt: string, more: object = {}) =>
        Effect.map(whole(anthropic, { ...asking(prompt), ...more }), (message) => message.stop_reason)
      assert.strictEqual(yield* reason("Hi"), "end_turn")
      assert.strictEqual(yield* reason("Hi", { max_tokens: 3 }), "max_tokens")
      assert.strictEqual(yield* reason("[[sim: refusal]]"), "refusal")
      assert.strictEqual(yield* reason("[[sim: finish=content_filter]]"), "refusal")
      assert.strictEqual(yield* reason("the weather in Lisbon", { tools }), "tool_use")
    })
  )

  it.live("reads tokens of caches apart from the input", () =>
    Effect.gen(function* () {
      const anthropic = yield* sdk
      const prompt = "[[sim: input=2000, cached=1000, cache-write=200, cache-write-1h=300, output=77, reasoning]]"
      const { usage } = yield* folded(anthropic, asking(prompt))
      assert.strictEqual(usage.input_tokens, 500)
      assert.strictEqual(usage.cache_read_input_tokens, 1000)
      assert.strictEqual(usage.cache_creation_input_tokens, 500)
      assert.deepStrictEqual(usage.cache_creation, { ephemeral_5m_input_tokens: 200, ephemeral_1h_input_tokens: 300 })
      assert.strictEqual(usage.output_tokens, 77)
      assert.isAbove(usage.output_tokens_details!.thinking_tokens, 5)
    })
  )

  it.live("reads thoughts with their signatures, and parallel calls, and answers them", () =>
    Effect.gen(function* () {
      const anthropic = yield* sdk
      const messages = user("The weather in Lisbon? [[sim: parallel=2, preamble, reasoning]]")
      const message = yield* folded(anthropic, { model: "sim", max_tokens: 500, messages, tools })
      assert.deepStrictEqual(
        message.content.map((block) => block.type),
        ["thinking", "text", "tool_use", "tool_use"]
      )
      const [thought] = message.content
      assert(thought?.type === "thinking")
      assert.include(thought.thinking, "Let me think")
      assert.match(thought.signature, /^\w{86}==$/)
      const calls = message.content.filter((block) => block.type === "tool_use")
      assert.notStrictEqual(calls[0]!.id, calls[1]!.id)
      for (const call of calls) assert.deepStrictEqual(call.input, { location: "Lisbon" })
      const results = calls.map(({ id }) => ({ type: "tool_result" as const, tool_use_id: id, content: "21 °C" }))
      const answer = yield* whole(anthropic, {
        ...asking(""),
        tools,
        messages: [
          ...messages,
          { role: "assistant", content: message.content },
          { role: "user", content: results },
          { role: "system", content: "Be brief." }
        ]
      })
      assert.include(textOf(answer), 'get_weather says: "21 °C"')
    })
  )

  it.live("obeys tool_choice and output_config", () =>
    Effect.gen(function* () {
      const anthropic = yield* sdk
      const chosen = yield* whole(anthropic, {
        ...asking("Hi"),
        tools,
        tool_choice: { type: "tool", name: "get_weather" }
      })
      assert.strictEqual(chosen.content[0]!.type, "tool_use")
      const none = yield* whole(anthropic, { ...asking("get_weather"), tools, tool_choice: { type: "none" } })
      assert.strictEqual(none.stop_reason, "end_turn")
      const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
      const shaped = yield* whole(anthropic, {
        ...asking("A city in Japan"),
        output_config: { format: { type: "json_schema", schema } }
      })
      assert.hasAllKeys(JSON.parse(textOf(shaped)), ["city"])
    })
  )

  it.live("counts tokens", () =>
    Effect.gen(function* () {
      const anthropic = yield* sdk
      const count = (content: string) =>
        Effect.promise(() => anthropic.messages.countTokens({ model: "sim", messages: user(content) }))
      assert.isAbove((yield* count("one two three four")).input_tokens, 3)
      assert.deepStrictEqual(yield* count("[[sim: input=17]]"), { input_tokens: 17 })
    })
  )

  it.live("lists its models in pages, and reads each of them", () =>
    Effect.gen(function* () {
      const anthropic = yield* sdk
      const ids: Array<string> = []
      yield* Effect.promise(async () => {
        for await (const model of anthropic.models.list({ limit: 4 })) ids.push(model.id)
      })
      assert.isAbove(ids.length, 8)
      assert.strictEqual(new Set(ids).size, ids.length)
      assert.strictEqual(ids[0], "sim")
      const model = yield* Effect.promise(() => anthropic.models.retrieve("sim-slow"))
      assert.deepInclude(model, {
        type: "model",
        id: "sim-slow",
        display_name: "sim-slow",
        created_at: "2026-01-01T00:00:00Z"
      })
      const unknown = yield* failure(anthropic.models.retrieve("sim-nonsense"))
      assert.deepInclude(unknown as APIError, { status: 404, type: "not_found_error" })
    })
  )

  it.live("answers what the user wrote, and not what Claude Code reminds it of", () =>
    Effect.gen(function* () {
      const anthropic = yield* sdk
      const reminder = "<system-reminder>\nThe weather of get_weather\n</system-reminder>"
      const blocks = (...texts: ReadonlyArray<string>) => texts.map((text) => ({ type: "text" as const, text }))
      const asked: ReadonlyArray<Anthropic.MessageParam["content"]> = [
        blocks(reminder, "Good morning", `${reminder}\n`),
        blocks(`${reminder}\n\n${reminder}\nGood morning`),
        `${reminder}\nGood morning`
      ]
      for (const content of asked) {
        const messages = [{ role: "user" as const, content }]
        const said = textOf(yield* whole(anthropic, { ...asking(""), messages, tools }))
        assert.include(said, 'You said: "Good morning"')
      }
      const later = [...user("Good evening"), { role: "user" as const, content: blocks(reminder) }]
      const said = textOf(yield* whole(anthropic, { ...asking(""), messages: later, tools }))
      assert.include(said, 'You said: "Good evening"')
    })
  )

  it.live("throws for errors before the stream, with their ids", () =>
    Effect.gen(function* () {
      const anthropic = yield* sdk
      const refusedWith = (model: string) => failure(anthropic.messages.create(asking("Hi", model)))
      const limited = yield* refusedWith("sim-429")
      assert.instanceOf(limited, RateLimitError)
      assert.strictEqual((limited as RateLimitError).headers?.get("retry-after"), "1")
      const overloaded = yield* refusedWith("sim-529")
      assert.instanceOf(overloaded, InternalServerError)
      assert.deepInclude(overloaded as InternalServerError, { status: 529, type: "overloaded_error" })
      const { error, requestID } = overloaded as InternalServerError
      assert.match(requestID!, /^req_/)
      assert.deepInclude(error as object, { request_id: requestID })
      const unknown = yield* failure(anthropic.messages.create(asking("[[sim: nonsense]]")))
      assert.deepInclude(unknown as APIError, { status: 400, type: "invalid_request_error" })
      assert.instanceOf(yield* refusedWith("sim-refused"), APIConnectionError)
    })
  )

  it.live.each(["sim-error-2", "sim-cut-700", "sim-eof-700", "sim-malformed-4", "sim-no-done"])(
    "never takes what broke off for an answer: %s",
    (model) =>
      Effect.gen(function* () {
        const anthropic = yield* sdk
        const error = yield* failure(anthropic.messages.stream(asking("Hi there", model)).finalMessage())
        assert.instanceOf(error, Error)
        if (model.startsWith("sim-error")) {
          assert.instanceOf(error, APIError)
          assert.strictEqual((error as APIError).type, "overloaded_error")
        }
      })
  )
})
