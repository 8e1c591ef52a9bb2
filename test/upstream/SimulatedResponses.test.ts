import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI, { APIError, RateLimitError } from "openai"
import type {
  Response,
  ResponseCreateParamsNonStreaming,
  ResponseInputItem,
  ResponseStreamEvent
} from "openai/resources/responses/responses"
import { simulated } from "../../src/upstream/Simulated.ts"
import { post, readAll } from "../support/Exchanges.ts"
import { serveExchanger } from "../support/ExchangerServer.ts"

const sdk = Effect.map(
  serveExchanger(simulated()),
  (url) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 })
)

const tools: ResponseCreateParamsNonStreaming["tools"] = [
  {
    type: "function",
    name: "get_weather",
    strict: false,
    parameters: { type: "object", properties: { location: { type: "string" } }, required: ["location"] }
  },
  { type: "custom", name: "shell" }
]

/** A response as the accumulator of a stream and as one body, with every event of the stream. */
const bothWays = (openai: OpenAI, given: ResponseCreateParamsNonStreaming) =>
  Effect.promise(async () => {
    const whole = await openai.responses.create(given)
    const events: Array<ResponseStreamEvent> = []
    const stream = openai.responses.stream({ ...given, stream: true })
    stream.on("event", (event) => events.push(event))
    const folded = await stream.finalResponse()
    return { whole, folded, events }
  })

const failure = (promise: Promise<unknown>): Effect.Effect<unknown> =>
  Effect.promise(() =>
    promise.then(
      () => undefined,
      (error: unknown) => error
    )
  )

/** What the SDK adds to a response that was read with a parser. */
const unparsed = (response: Response): unknown =>
  JSON.parse(
    JSON.stringify(response, (key, value: unknown) =>
      key === "parsed" || key === "parsed_arguments" || key === "output_parsed" ? undefined : value
    )
  )

describe("the OpenAI SDK against the simulated Responses", () => {
  const asked: ReadonlyArray<readonly [name: string, given: ResponseCreateParamsNonStreaming]> = [
    ["text", { model: "sim", input: "Hello there" }],
    ["reasoning", { model: "sim-reasoning", input: "Hello there", include: ["reasoning.encrypted_content"] }],
    ["a refusal", { model: "sim-refusal", input: "Hello there" }],
    [
      "calls at once, said before",
      { model: "sim", input: "[[sim: parallel=2, preamble]] The weather in Lisbon?", tools }
    ],
    ["a custom call", { model: "sim", input: "[[sim: tool=shell]] ls -l", tools }],
    ["an incomplete answer", { model: "sim", input: "Hello there", max_output_tokens: 3 }],
    ["a filtered answer", { model: "sim-finish-content_filter", input: "Hello there" }],
    ["a failed answer", { model: "sim-failed", input: "Hello there" }],
    ["padding", { model: "sim-obfuscation+words-20", input: "Hello there" }],
    ["an array of input", { model: "sim", input: [{ role: "user", content: [{ type: "input_text", text: "Hi" }] }] }]
  ]

  it.live.each(asked.map(([name, given]) => ({ name, given })))("reads $name alike streamed and not", ({ given }) =>
    Effect.gen(function* () {
      const { events, folded, whole } = yield* bothWays(yield* sdk, given)
      assert.deepStrictEqual(unparsed(folded), unparsed(whole))
      assert.deepStrictEqual(
        events.map((event) => event.sequence_number),
        events.map((_, n) => n)
      )
      assert.strictEqual(events[0]!.type, "response.created")
      assert.strictEqual(events.at(-1)!.type, `response.${whole.status}`)
      const said = events.flatMap((event) => (event.type === "response.output_text.delta" ? [event.delta] : []))
      assert.strictEqual(said.join(""), whole.output_text)
    })
  )

  it.live("reads calls, and the answer that comes of their results", () =>
    Effect.gen(function* () {
      const openai = yield* sdk
      const input = [
        { role: "user" as const, content: "The weather in Lisbon? [[sim: parallel=2, preamble, reasoning]]" }
      ]
      const first = yield* Effect.promise(() => openai.responses.create({ model: "sim", input, tools }))
      assert.deepStrictEqual(
        first.output.map((item) => item.type),
        ["reasoning", "message", "function_call", "function_call"]
      )
      assert.strictEqual(first.output.flatMap((item) => (item.type === "message" ? [item.phase] : []))[0], "commentary")
      const calls = first.output.filter((item) => item.type === "function_call")
      assert.notStrictEqual(calls[0]!.call_id, calls[1]!.call_id)
      assert.deepStrictEqual(JSON.parse(calls[0]!.arguments), { location: "Lisbon" })
      const outputs = calls.map(({ call_id }) => ({ type: "function_call_output" as const, call_id, output: "21 °C" }))
      const said = first.output as ReadonlyArray<ResponseInputItem>
      const second = yield* Effect.promise(() =>
        openai.responses.create({ model: "sim", input: [...input, ...said, ...outputs], tools })
      )
      assert.include(second.output_text, 'get_weather says: "21 °C"')
      const third = yield* Effect.promise(() =>
        openai.responses.create({ model: "sim", previous_response_id: first.id, input: outputs, tools })
      )
      assert.include(third.output_text, "21 °C")
    })
  )

  it.live("names the namespace that a called tool stands in", () =>
    Effect.gen(function* () {
      const tools = [{ type: "namespace", name: "mcp__x", tools: [{ type: "function", name: "echo", parameters: {} }] }]
      const { text } = yield* readAll(
        simulated(),
        post("/v1/responses", { model: "sim", input: "[[sim: tool=echo]] Hi", tools })
      )
      const { output } = JSON.parse(text) as { output: ReadonlyArray<object> }
      assert.include(output[0], { type: "function_call", name: "echo", namespace: "mcp__x" })
    })
  )

  it.live("throws for errors before and in the stream, and for one that breaks off", () =>
    Effect.gen(function* () {
      const openai = yield* sdk
      const limited = yield* failure(openai.responses.create({ model: "sim-429", input: "Hi" }))
      assert.instanceOf(limited, RateLimitError)
      const final = (model: string) => failure(openai.responses.stream({ model, input: "Hi" }).finalResponse())
      const inStream = yield* final("sim-error-4")
      assert.instanceOf(inStream, APIError)
      assert.include((inStream as Error).message, "The server had an error")
      assert.include(String(yield* final("sim-cut-900")), "terminated")
    })
  )
})
