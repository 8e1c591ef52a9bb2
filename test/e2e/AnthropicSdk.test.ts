import Anthropic, {
  APIError,
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError
} from "@anthropic-ai/sdk"
import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { type Gateway, startGateway } from "../http/InProcessGateway.ts"

const event = (value: { readonly type: string; readonly [name: string]: unknown }) =>
  `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

/** How an upstream begins that then says nothing more. */
const opening = [
  event({
    type: "message_start",
    message: {
      model: "m",
      id: "msg_1",
      type: "message",
      role: "assistant",
      content: [],
      usage: { input_tokens: 3, output_tokens: 1 }
    }
  }),
  event({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }),
  event({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hello" } })
].join("")

/** The gateway on a port of its own, and a provider over real sockets beside the simulated one. */
class Running extends Context.Service<Running, Gateway>()("test/e2e/AnthropicSdk/Running") {
  static readonly layer = Layer.effect(
    Running,
    startGateway({
      turns: () => ({ headers: { "content-type": "text/event-stream" }, steps: [opening, { hang: true }] }),
      config: (url) => ({
        providers: { sim: { type: "simulated" }, up: { type: "anthropic", base_url: url } },
        models: { fast: "sim/sim", quiet: "sim/sim" },
        limits: { keep_alive: "100 millis" }
      })
    })
  )
}

/** The two forms of address: below a provider's name, and with the provider in the model's name. */
const forms = [
  { name: "below the provider's name", base: "/sim", model: (name: string) => name },
  { name: "on the unified routes", base: "", model: (name: string) => `sim/${name}` }
] as const

const client = (base: string) =>
  Effect.map(Running, ({ url }) => new Anthropic({ baseURL: `${url}${base}`, apiKey: "none", maxRetries: 0 }))

const asking = (model: string, content: string) => ({
  model,
  max_tokens: 500,
  messages: [{ role: "user" as const, content }]
})

const tools = [
  {
    name: "get_weather",
    input_schema: { type: "object" as const, properties: { location: { type: "string" } }, required: ["location"] }
  }
]

/** What a promise is rejected with. */
const failure = (make: () => PromiseLike<unknown>): Effect.Effect<unknown> =>
  Effect.promise(() =>
    Promise.resolve(make()).then(
      () => assert.fail("it did not fail"),
      (error: unknown) => error
    )
  )

const idOf = (response: Response): string => response.headers.get("x-sluice-interception-id") ?? "none"

const recorded = (id: string) => Effect.flatMap(Running, ({ recordings }) => recordings.closedAs(id))

/** An answer that is not streamed, and the same as a stream, with the ids under which they were recorded. */
const both = (anthropic: Anthropic, body: Anthropic.MessageCreateParamsNonStreaming) =>
  Effect.promise(async () => {
    const { data, response } = await anthropic.messages.create(body).withResponse()
    const stream = anthropic.messages.stream(body)
    const { response: head } = await stream.withResponse()
    const streamed = await stream.finalMessage()
    return { whole: data, streamed, ids: [idOf(response), idOf(head)] }
  })

layer(Running.layer, { excludeTestServices: true, timeout: "60 seconds" })(
  "the Anthropic SDK through the gateway",
  (it) => {
    for (const form of forms) {
      describe(form.name, () => {
        it.effect("reads the same answer streamed and not, under the model's name that it asked for", () =>
          Effect.gen(function* () {
            const anthropic = yield* client(form.base)
            const prompt = "Hello there, Zürich 🌊 [[sim: input=200, cached=20, cache-write=30, cache-write-1h=40]]"
            const { ids, streamed, whole } = yield* both(anthropic, asking(form.model("sim"), prompt))
            assert.deepStrictEqual(streamed.content, whole.content)
            assert.deepStrictEqual([whole.model, streamed.model], [form.model("sim"), form.model("sim")])
            assert.deepStrictEqual([whole.stop_reason, streamed.stop_reason], ["end_turn", "end_turn"])
            for (const id of ids) {
              const { interception, prompts, usage } = yield* recorded(id)
              assert.deepInclude(interception, {
                status: "completed",
                dialect: "anthropic-messages",
                requestedModel: form.model("sim"),
                servedModel: "sim"
              })
              assert.strictEqual(prompts[0]!.text, prompt)
              assert.deepInclude(usage[0], {
                input: 110,
                cacheRead: 20,
                cacheWrite: 70,
                output: whole.usage.output_tokens,
                reasoning: null,
                provenance: "provider"
              })
              assert.deepStrictEqual(usage[0]!.other, { cache_write_5m: 30, cache_write_1h: 40 })
            }
          })
        )

        it.effect("reads thoughts and parallel tool calls, streamed and not, and answers them", () =>
          Effect.gen(function* () {
            const anthropic = yield* client(form.base)
            const body = {
              ...asking(form.model("sim"), "The weather in Lisbon? [[sim: parallel=2, preamble, reasoning]]"),
              tools
            }
            const { ids, streamed, whole } = yield* both(anthropic, body)
            assert.strictEqual(whole.stop_reason, "tool_use")
            assert.deepStrictEqual(streamed.content, whole.content)
            const calls = streamed.content.filter((block) => block.type === "tool_use")
            const thought = streamed.content.find((block) => block.type === "thinking")!
            assert.strictEqual(calls.length, 2)
            for (const id of ids) {
              const { thoughts, toolCalls, usage } = yield* recorded(id)
              assert.deepStrictEqual(
                toolCalls.map((call) => [call.callId, call.name, call.arguments]),
                calls.map((call) => [call.id, "get_weather", '{"location":"Lisbon"}'])
              )
              assert.deepStrictEqual(
                thoughts.map(({ source, text }) => [source, text]),
                [["thinking", thought.thinking]]
              )
              assert.isAbove(usage[0]!.reasoning!, 5)
            }
            const results = calls.map(({ id }) => ({ type: "tool_result" as const, tool_use_id: id, content: "21 °C" }))
            const { whole: answer } = yield* both(anthropic, {
              ...body,
              messages: [
                ...body.messages,
                { role: "assistant", content: streamed.content },
                { role: "user", content: results }
              ]
            })
            assert.include(JSON.stringify(answer.content), "21 °C")
          })
        )

        it.effect("throws the errors that the upstream answers with", () =>
          Effect.gen(function* () {
            const anthropic = yield* client(form.base)
            const fails = (model: string, text = "Hi") =>
              failure(() => anthropic.messages.create(asking(form.model(model), text)))
            const limited = yield* fails("sim-429")
            assert.instanceOf(limited, RateLimitError)
            assert.strictEqual(limited.headers.get("retry-after"), "1")
            assert.strictEqual(limited.type, "rate_limit_error")
            const overloaded = yield* fails("sim-529")
            assert.instanceOf(overloaded, InternalServerError)
            assert.deepInclude(overloaded, { status: 529, type: "overloaded_error" })
            const id = overloaded.headers.get("x-sluice-interception-id")!
            assert.strictEqual((yield* recorded(id)).interception.error?.code, "upstream_status")
            assert.instanceOf(yield* fails("sim-401"), AuthenticationError)
            assert.instanceOf(yield* fails("sim", "[[sim: nonsense]]"), BadRequestError)
            assert.instanceOf(yield* fails("sim-nonsense"), NotFoundError)
            const refused = yield* fails("sim-refused")
            assert.instanceOf(refused, APIError)
            assert.deepInclude(refused, { status: 502, type: "api_error" })
            assert.strictEqual(refused.requestID, refused.headers!.get("x-sluice-interception-id"))
          })
        )

        it.effect("throws where the answer breaks off: never is a part of it taken for the whole", () =>
          Effect.gen(function* () {
            const anthropic = yield* client(form.base)
            const given = (directive: string) => asking(form.model("sim"), `Hello [[sim: words=30, ${directive}]]`)
            const broken = ["cut=0", "cut=300", "cut=1500", "cut=4500", "eof=0", "eof=1500", "malformed=9", "no-done"]
            for (const directive of [...broken, "error"]) {
              let id = ""
              const thrown = yield* failure(() => {
                const stream = anthropic.messages.stream(given(directive))
                return Promise.all([
                  stream.withResponse().then(({ response }) => {
                    id = idOf(response)
                  }),
                  stream.finalMessage()
                ])
              })
              assert.instanceOf(thrown, APIError, directive)
              assert.strictEqual(thrown.type, "overloaded_error", directive)
              assert.strictEqual((yield* recorded(id)).interception.status, "failed", directive)
            }
            for (const directive of ["cut=0", "cut", "eof=0", "eof", "malformed"]) {
              const thrown = yield* failure(() => anthropic.messages.create(given(directive)))
              assert.instanceOf(thrown, APIError, directive)
              assert.deepInclude(thrown, { status: 502, type: "api_error" }, directive)
            }
          })
        )

        it.effect("counts tokens", () =>
          Effect.gen(function* () {
            const anthropic = yield* client(form.base)
            const { messages, model } = asking(form.model("sim"), "[[sim: input=17]]")
            const counted = yield* Effect.promise(() => anthropic.messages.countTokens({ model, messages }))
            assert.deepStrictEqual(counted, { input_tokens: 17 })
          })
        )
      })
    }

    it.effect("waits through a silence that is filled with pings", () =>
      Effect.gen(function* () {
        const anthropic = yield* client("")
        const body = asking("quiet", "Hello [[sim: first=450ms, words=3]]")
        const { streamed } = yield* both(anthropic, body)
        assert.deepStrictEqual([streamed.model, streamed.stop_reason], ["quiet", "end_turn"])
        const bytes = yield* Effect.promise(async () => {
          const response = await anthropic.messages.create({ ...body, stream: true }).asResponse()
          return response.text()
        })
        assert.match(bytes, /^(event: ping\ndata: \{"type": "ping"\}\n\n){2,5}event: message_start\n/)
      })
    )

    it.effect("lists models page by page", () =>
      Effect.gen(function* () {
        const anthropic = yield* client("")
        const ids = yield* Effect.promise(async () => {
          const found: Array<string> = []
          for await (const model of anthropic.models.list({ limit: 1 })) found.push(model.id)
          return found
        })
        assert.deepStrictEqual(ids, ["fast", "quiet", "sim/sim"])
      })
    )

    it.effect("is told what there is where it asks for what is not", () =>
      Effect.gen(function* () {
        const fails = (base: string, model: string) =>
          Effect.flatMap(client(base), (anthropic) => failure(() => anthropic.messages.create(asking(model, "Hi"))))
        for (const thrown of [yield* fails("", "nobody/nothing"), yield* fails("/nobody", "sim")]) {
          assert.instanceOf(thrown, NotFoundError)
          assert.strictEqual(thrown.type, "not_found_error")
          assert.isNotNull(thrown.requestID)
        }
        assert.include(String(yield* fails("", "nothing")), "fast")
      })
    )

    it.effect("aborts: the upstream is left within a second, and the call recorded as cancelled", () =>
      Effect.gen(function* () {
        const { upstream } = yield* Running
        const anthropic = yield* client("/up")
        const before = upstream.requests.length
        let left = 0
        let id = ""
        const thrown = yield* failure(async () => {
          const stream = anthropic.messages.stream(asking("m", "Hello"))
          stream.on("text", () => {
            left = performance.now()
            stream.abort()
          })
          const ended = stream.finalMessage()
          ended.catch(() => {})
          id = idOf((await stream.withResponse()).response)
          await ended
        })
        assert.instanceOf(thrown, APIUserAbortError)
        const served = upstream.requests[before]!
        assert.strictEqual(yield* served.over, "aborted")
        assert.isBelow(served.abortedAt! - left, 1_000)
        const { interception, usage } = yield* recorded(id)
        assert.deepInclude(interception, { status: "cancelled" })
        assert.deepInclude(usage[0], { input: 3, output: 1, provenance: "partial" })
      })
    )
  }
)
