import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schedule } from "effect"
import OpenAI, {
  APIError,
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  NotFoundError,
  RateLimitError
} from "openai"
import { Gateway } from "../support/Gateway.ts"
import { UpstreamServer } from "../support/UpstreamServer.ts"

/** The gateway's process, and a provider over real sockets beside the simulated one. */
class Running extends Context.Service<Running, { readonly gateway: Gateway; readonly upstream: UpstreamServer }>()(
  "test/e2e/OpenAiSdk/Running"
) {
  static readonly layer = Layer.effect(
    Running,
    Effect.gen(function* () {
      const upstream = yield* UpstreamServer.make(() => ({ steps: [opening, { hang: true }] }))
      const gateway = yield* Gateway.start({
        config: {
          providers: {
            sim: { type: "simulated" },
            up: { type: "openai-compatible", base_url: `${upstream.url}/v1` }
          },
          models: { fast: "sim/sim" },
          retries: { times: 0 }
        }
      })
      return { gateway, upstream }
    })
  )
}

const opening = `data: ${JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  created: 1_800_000_000,
  model: "m",
  choices: [{ index: 0, delta: { role: "assistant", content: "Hello" }, finish_reason: null }]
})}\n\n`

/** The two forms of address: below a provider's name, and with the provider in the model's name. */
const forms = [
  { name: "below the provider's name", base: "/sim/v1", model: (name: string) => name },
  { name: "on the unified routes", base: "/v1", model: (name: string) => `sim/${name}` }
] as const

const client = (base: string) =>
  Effect.map(Running, ({ gateway }) => new OpenAI({ baseURL: `${gateway.url}${base}`, apiKey: "none", maxRetries: 0 }))

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
const failure = (make: () => PromiseLike<unknown>): Effect.Effect<unknown> =>
  Effect.promise(() =>
    Promise.resolve(make()).then(
      () => assert.fail("it did not fail"),
      (error: unknown) => error
    )
  )

/** A stream read to its end, with the id under which it was recorded. */
const collect = (openai: OpenAI, body: Omit<OpenAI.ChatCompletionCreateParamsStreaming, "stream">) =>
  Effect.promise(async () => {
    const { data, response } = await openai.chat.completions.create({ ...body, stream: true }).withResponse()
    const chunks: Array<OpenAI.ChatCompletionChunk> = []
    for await (const chunk of data) chunks.push(chunk)
    return { chunks, id: idOf(response) }
  })

const idOf = (response: Response): string => response.headers.get("x-sluice-interception-id") ?? "none"

type Row = { readonly [column: string]: unknown }

/** What was recorded of an interception, once it is closed. */
const recorded = (id: string) =>
  Effect.gen(function* () {
    const { gateway } = yield* Running
    const database = yield* Effect.acquireRelease(
      Effect.sync(() => new DatabaseSync(join(gateway.dir, "sluice.db"), { readOnly: true })),
      (open) => Effect.sync(() => open.close())
    )
    const rows = (table: string): ReadonlyArray<Row> =>
      database.prepare(`SELECT * FROM ${table} WHERE interception_id = ?`).all(id)
    const read = () => ({
      interception: (database.prepare("SELECT * FROM interceptions WHERE id = ?").get(id) ?? {}) as Row,
      turns: rows("turns"),
      usage: rows("usage"),
      toolCalls: rows("tool_calls"),
      thoughts: rows("thoughts")
    })
    return yield* Effect.repeat(Effect.sync(read), {
      schedule: Schedule.spaced("20 millis"),
      times: 250,
      until: ({ interception }) => interception["status"] != null
    })
  }).pipe(Effect.scoped)

const counts = ({ input, output, provenance }: Row): unknown => ({ input, output, provenance })

layer(Running.layer, { excludeTestServices: true, timeout: "90 seconds" })(
  "the OpenAI SDK through the gateway",
  (it) => {
    for (const form of forms) {
      describe(form.name, () => {
        it.effect("reads the same answer streamed and not, under the model's name that it asked for", () =>
          Effect.gen(function* () {
            const openai = yield* client(form.base)
            const given = { model: form.model("sim"), messages: user("Hello there, Zürich 🌊") }
            const whole = yield* Effect.promise(() => openai.chat.completions.create(given).withResponse())
            const { chunks, id } = yield* collect(openai, given)
            assert.include(whole.data.choices[0]!.message.content, "Hello there, Zürich 🌊")
            const streamed = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")
            assert.strictEqual(streamed, whole.data.choices[0]!.message.content)
            assert.deepStrictEqual([...new Set([whole.data, ...chunks].map((one) => one.model))], [form.model("sim")])
            for (const one of [yield* recorded(idOf(whole.response)), yield* recorded(id)]) {
              assert.deepInclude(one.interception, {
                status: "completed",
                provider: "sim",
                requested_model: form.model("sim"),
                served_model: "sim"
              })
              assert.deepStrictEqual(one.usage.map(counts), [
                {
                  input: whole.data.usage!.prompt_tokens,
                  output: whole.data.usage!.completion_tokens,
                  provenance: "provider"
                }
              ])
            }
          })
        )

        it.effect("is shown usage on a stream only when it asked for it; it is recorded anyway", () =>
          Effect.gen(function* () {
            const openai = yield* client(form.base)
            const given = { model: form.model("sim"), messages: user("Hello [[sim: input=70, cached=20, output=30]]") }
            const asked = yield* collect(openai, { ...given, stream_options: { include_usage: true } })
            assert.strictEqual(asked.chunks.at(-1)!.usage?.total_tokens, 100)
            assert.deepStrictEqual(asked.chunks.at(-1)!.choices, [])
            const unasked = yield* collect(openai, given)
            const refused = yield* collect(openai, { ...given, stream_options: { include_usage: false } })
            for (const { chunks } of [unasked, refused]) {
              assert.isTrue(chunks.every((chunk) => chunk.choices.length === 1 && !chunk.usage))
              assert.strictEqual(chunks.at(-1)!.choices[0]!.finish_reason, "stop")
            }
            for (const { id } of [asked, unasked, refused]) {
              const { usage } = yield* recorded(id)
              assert.deepStrictEqual(usage.map(counts), [{ input: 50, output: 30, provenance: "provider" }])
              assert.strictEqual(usage[0]!["cache_read"], 20)
            }
          })
        )

        it.effect("reads parallel tool calls, streamed and not, and answers them", () =>
          Effect.gen(function* () {
            const openai = yield* client(form.base)
            const messages = user("The weather in Lisbon? [[sim: parallel=2, preamble]]")
            const model = form.model("sim")
            const whole = yield* Effect.promise(() =>
              openai.chat.completions.create({ model, messages, tools }).withResponse()
            )
            const stream = openai.chat.completions.stream({ model, messages, tools })
            const streamed = yield* Effect.promise(() => stream.finalChatCompletion())
            const { message, finish_reason } = streamed.choices[0]!
            assert.strictEqual(finish_reason, "tool_calls")
            assert.deepStrictEqual(message.tool_calls, whole.data.choices[0]!.message.tool_calls)
            const calls = message.tool_calls!
            assert.strictEqual(new Set(calls.map((call) => call.id)).size, 2)
            const { toolCalls } = yield* recorded(idOf(whole.response))
            assert.deepStrictEqual(
              toolCalls.map((call) => [call["call_id"], call["name"], JSON.parse(String(call["arguments"]))]),
              calls.map((call) => [call.id, "get_weather", { location: "Lisbon" }])
            )
            const results = calls.map((call) => ({ role: "tool" as const, tool_call_id: call.id, content: "21 °C" }))
            const answer = yield* Effect.promise(() =>
              openai.chat.completions.create({ model, messages: [...messages, message, ...results], tools })
            )
            assert.include(answer.choices[0]!.message.content, 'get_weather says: "21 °C"')
          })
        )

        it.effect("reads reasoning, streamed and not", () =>
          Effect.gen(function* () {
            const openai = yield* client(form.base)
            const given = { model: form.model("sim-reasoning"), messages: user("Why?") }
            const whole = yield* Effect.promise(() => openai.chat.completions.create(given))
            const { chunks, id } = yield* collect(openai, given)
            const thought = Reflect.get(whole.choices[0]!.message, "reasoning_content") as string
            assert.isAbove(thought.length, 0)
            const streamed = chunks.map((chunk) =>
              chunk.choices[0] === undefined ? "" : (Reflect.get(chunk.choices[0].delta, "reasoning_content") ?? "")
            )
            assert.strictEqual(streamed.join(""), thought)
            const { thoughts, usage } = yield* recorded(id)
            assert.deepStrictEqual(
              thoughts.map((one) => [one["text"], one["source"]]),
              [[thought, "thinking"]]
            )
            assert.strictEqual(usage[0]!["reasoning"], whole.usage!.completion_tokens_details!.reasoning_tokens)
          })
        )

        it.effect("throws the errors that the upstream answers with", () =>
          Effect.gen(function* () {
            const openai = yield* client(form.base)
            const fails = (model: string, text = "Hi") =>
              failure(() => openai.chat.completions.create({ model: form.model(model), messages: user(text) }))
            const limited = yield* fails("sim-429")
            assert.instanceOf(limited, RateLimitError)
            assert.strictEqual(limited.headers.get("retry-after"), "1")
            assert.strictEqual(limited.code, "rate_limit_exceeded")
            assert.deepInclude((yield* recorded(limited.headers.get("x-sluice-interception-id")!)).interception, {
              status: "failed",
              error_code: "upstream_status"
            })
            const unauthorized = yield* fails("sim-401")
            assert.instanceOf(unauthorized, AuthenticationError)
            assert.strictEqual(unauthorized.code, "invalid_api_key")
            const bad = yield* fails("sim", "[[sim: nonsense]]")
            assert.instanceOf(bad, BadRequestError)
            assert.strictEqual(bad.code, "invalid_directive")
            const missing = yield* fails("sim-nonsense")
            assert.instanceOf(missing, NotFoundError)
            assert.strictEqual(missing.code, "model_not_found")
            const broken = yield* fails("sim-500")
            assert.instanceOf(broken, APIError)
            assert.strictEqual(broken.status, 500)
            const refused = yield* fails("sim-refused")
            assert.instanceOf(refused, APIError)
            assert.strictEqual(refused.status, 502)
          })
        )

        it.effect("throws where the answer breaks off: never is a part of it taken for the whole", () =>
          Effect.gen(function* () {
            const openai = yield* client(form.base)
            const given = (directive: string) => ({
              model: form.model("sim"),
              messages: user(`Hello [[sim: words=30, ${directive}]]`)
            })
            for (const directive of [
              "cut=0",
              "cut=300",
              "cut=1500",
              "cut=2600",
              "eof=0",
              "eof=1500",
              "malformed",
              "error"
            ]) {
              let id = ""
              const thrown = yield* failure(async () => {
                const { data, response } = await openai.chat.completions
                  .create({ ...given(directive), stream: true })
                  .withResponse()
                id = idOf(response)
                for await (const _chunk of data);
              })
              assert.instanceOf(thrown, Error, directive)
              assert.strictEqual((yield* recorded(id)).interception["status"], "failed", directive)
            }
            for (const directive of ["cut=0", "cut", "eof=0", "eof", "malformed"]) {
              const thrown = yield* failure(() => openai.chat.completions.create(given(directive)))
              assert.instanceOf(thrown, APIError, directive)
              assert.strictEqual(thrown.status, 502, directive)
            }
          })
        )

        it.effect("lists models and makes embeddings", () =>
          Effect.gen(function* () {
            const openai = yield* client(form.base)
            const models = yield* Effect.promise(() => openai.models.list())
            assert.include(
              models.data.map((model) => model.id),
              form.base === "/v1" ? "fast" : "sim"
            )
            const made = yield* Effect.promise(() =>
              openai.embeddings.create({ model: form.model("sim"), input: ["a", "b"], dimensions: 4 }).withResponse()
            )
            assert.strictEqual(made.data.data.length, 2)
            assert.strictEqual(made.data.data[0]!.embedding.length, 4)
            const { interception, usage } = yield* recorded(idOf(made.response))
            assert.deepInclude(interception, { status: "completed", dialect: null, provider: "sim" })
            assert.strictEqual(usage[0]!["input"], made.data.usage.prompt_tokens)
          })
        )
      })
    }

    it.effect("asks for a model by its alias, and is answered under it", () =>
      Effect.gen(function* () {
        const openai = yield* client("/v1")
        const given = { model: "fast", messages: user("Hello") }
        const whole = yield* Effect.promise(() => openai.chat.completions.create(given))
        const { chunks, id } = yield* collect(openai, given)
        assert.deepStrictEqual([...new Set([whole, ...chunks].map((one) => one.model))], ["fast"])
        assert.deepInclude((yield* recorded(id)).interception, { requested_model: "fast", served_model: "sim" })
      })
    )

    it.effect("is told what there is where it asks for what is not", () =>
      Effect.gen(function* () {
        const fails = (base: string, model: string) =>
          Effect.flatMap(client(base), (openai) =>
            failure(() => openai.chat.completions.create({ model, messages: user("Hi") }))
          )
        const model = yield* fails("/v1", "nobody/nothing")
        assert.instanceOf(model, NotFoundError)
        assert.strictEqual(model.code, "model_not_found")
        assert.include(model.message, "fast")
        const provider = yield* fails("/nobody/v1", "sim")
        assert.instanceOf(provider, NotFoundError)
        const openai = yield* client("/sim/v1")
        const bad = yield* failure(() => openai.post("/chat/completions", { body: { model: "sim" } }))
        assert.instanceOf(bad, BadRequestError)
        assert.strictEqual(bad.param, "messages")
        assert.isNotNull(bad.requestID)
      })
    )

    it.effect("aborts: the upstream is left within a second, and the call recorded as cancelled", () =>
      Effect.gen(function* () {
        const { upstream } = yield* Running
        const openai = yield* client("/up/v1")
        const controller = new AbortController()
        const before = upstream.requests.length
        let left = 0
        let id = ""
        const thrown = yield* Effect.promise(async () => {
          const { data, response } = await openai.chat.completions
            .create({ model: "m", messages: user("Hello"), stream: true }, { signal: controller.signal })
            .withResponse()
          id = idOf(response)
          try {
            for await (const _chunk of data) {
              left = performance.now()
              controller.abort()
            }
            // The SDK ends the loop quietly where it was the caller who aborted.
            return undefined
          } catch (error) {
            return error
          }
        })
        if (thrown !== undefined) assert.instanceOf(thrown, APIUserAbortError)
        const served = upstream.requests[before]!
        assert.strictEqual(yield* served.over, "aborted")
        assert.isBelow(served.abortedAt! - left, 1_000)
        const { interception, turns, usage } = yield* recorded(id)
        assert.deepInclude(interception, { status: "cancelled", error_code: "client_gone" })
        assert.deepStrictEqual(
          turns.map((turn) => turn["status"]),
          ["cancelled"]
        )
        assert.deepStrictEqual(usage.map(counts), [{ input: null, output: null, provenance: "unknown" }])
      })
    )

    it.effect("aborts before there was an answer", () =>
      Effect.gen(function* () {
        const { gateway } = yield* Running
        const openai = yield* client("/sim/v1")
        const controller = new AbortController()
        yield* Effect.forkChild(
          Effect.andThen(
            Effect.sleep("200 millis"),
            Effect.sync(() => controller.abort())
          )
        )
        const thrown = yield* failure(() =>
          openai.chat.completions.create(
            { model: "sim", messages: user("Aborted early [[sim: hang]]") },
            { signal: controller.signal }
          )
        )
        assert.instanceOf(thrown, APIUserAbortError)
        const database = new DatabaseSync(join(gateway.dir, "sluice.db"), { readOnly: true })
        const statuses = yield* Effect.sync(() =>
          database
            .prepare(
              "SELECT i.status FROM interceptions i JOIN prompts p ON p.interception_id = i.id WHERE p.text LIKE 'Aborted early%'"
            )
            .all()
        ).pipe(Effect.repeat({ schedule: Schedule.spaced("20 millis"), times: 250, until: (rows) => rows.length > 0 }))
        database.close()
        assert.deepStrictEqual(
          statuses.map((row) => row["status"]),
          ["cancelled"]
        )
      })
    )
  }
)
