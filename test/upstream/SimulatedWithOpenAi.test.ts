import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI, { APIError, RateLimitError } from "openai"
import { simulated } from "../../src/upstream/Simulated.ts"
import { serveExchanger } from "../support/ExchangerServer.ts"

const sdk = Effect.map(
  serveExchanger(simulated()),
  (url) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 })
)

const user = (content: string) => [{ role: "user" as const, content }]

const tools = [
  {
    type: "function" as const,
    function: {
      name: "get_weather",
      parameters: { type: "object", properties: { location: { type: "string" } }, required: ["location"] }
    }
  }
]

/** What a promise is rejected with. */
const failure = (promise: Promise<unknown>): Effect.Effect<unknown> =>
  Effect.promise(() =>
    promise.then(
      () => undefined,
      (error: unknown) => error
    )
  )

describe("the OpenAI SDK against the simulated provider", () => {
  it.live("reads the same answer streamed and not, with the same usage", () =>
    Effect.gen(function* () {
      const openai = yield* sdk
      const given = { model: "sim", messages: user("Hello there") }
      const whole = yield* Effect.promise(() => openai.chat.completions.create(given))
      const stream = openai.chat.completions.stream({ ...given, stream_options: { include_usage: true } })
      const folded = yield* Effect.promise(() => stream.finalChatCompletion())
      assert.include(whole.choices[0]!.message.content, "Hello there")
      assert.strictEqual(folded.choices[0]!.message.content, whole.choices[0]!.message.content)
      assert.strictEqual(folded.choices[0]!.finish_reason, "stop")
      assert.strictEqual(folded.id, whole.id)
      assert.deepStrictEqual(folded.usage, whole.usage)
    })
  )

  it.live("reads parallel tool calls and answers them", () =>
    Effect.gen(function* () {
      const openai = yield* sdk
      const messages = user("The weather in Lisbon? [[sim: parallel=2, preamble]]")
      const stream = openai.chat.completions.stream({ model: "sim", messages, tools })
      const { message } = (yield* Effect.promise(() => stream.finalChatCompletion())).choices[0]!
      const calls = message.tool_calls!
      assert.strictEqual(calls.length, 2)
      assert.notStrictEqual(calls[0]!.id, calls[1]!.id)
      for (const call of calls) {
        assert.strictEqual(call.type, "function")
        if (call.type === "function")
          assert.deepStrictEqual(JSON.parse(call.function.arguments), { location: "Lisbon" })
      }
      const results = calls.map((call) => ({ role: "tool" as const, tool_call_id: call.id, content: "21 °C" }))
      const answer = yield* Effect.promise(() =>
        openai.chat.completions.create({ model: "sim", messages: [...messages, message, ...results], tools })
      )
      assert.include(answer.choices[0]!.message.content, 'get_weather says: "21 °C"')
    })
  )

  it.live("throws for errors before and in the stream, and for one that breaks off", () =>
    Effect.gen(function* () {
      const openai = yield* sdk
      const limited = yield* failure(openai.chat.completions.create({ model: "sim-429", messages: user("Hi") }))
      assert.instanceOf(limited, RateLimitError)
      const final = (model: string) =>
        failure(openai.chat.completions.stream({ model, messages: user("Hi") }).finalChatCompletion())
      const inStream = yield* final("sim-error-2")
      assert.instanceOf(inStream, APIError)
      assert.include((inStream as Error).message, "The server had an error")
      assert.include(String(yield* final("sim-cut-900")), "terminated")
    })
  )

  it.live("reads embeddings and models", () =>
    Effect.gen(function* () {
      const openai = yield* sdk
      const embed = (encoding: { encoding_format?: "float" }) =>
        Effect.promise(() => openai.embeddings.create({ model: "sim", input: ["a", "b"], dimensions: 4, ...encoding }))
      const encoded = yield* embed({})
      const floats = yield* embed({ encoding_format: "float" })
      assert.deepStrictEqual(
        encoded.data.map((one) => one.embedding),
        floats.data.map((one) => one.embedding)
      )
      assert.notDeepEqual(floats.data[0]!.embedding, floats.data[1]!.embedding)
      const models = yield* Effect.promise(() => openai.models.list())
      assert.include(
        models.data.map((model) => model.id),
        "sim"
      )
    })
  )
})
