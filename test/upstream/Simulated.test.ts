import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { simulated } from "../../src/upstream/Simulated.ts"
import { drain, get, post, readAll } from "../support/Exchanges.ts"

const sim = simulated()

const path = "/v1/chat/completions"

const ask = (content: string, more: object = {}) =>
  readAll(sim, post(path, { model: "gpt-4.1", messages: [{ role: "user", content }], ...more }))

const streamed = (content: string, more: object = {}) => ask(content, { stream: true, ...more })

interface Chunk {
  readonly id: string
  readonly model: string
  readonly choices: ReadonlyArray<{
    readonly index: number
    readonly delta: {
      readonly content?: string | null
      readonly reasoning_content?: string
      readonly reasoning?: string
      readonly refusal?: string | null
      readonly tool_calls?: ReadonlyArray<{ readonly index: number; readonly function?: { readonly name?: string } }>
    }
    readonly finish_reason: string | null
  }>
  readonly usage?: Usage | null
  readonly obfuscation?: string
}

interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly prompt_tokens_details: { readonly cached_tokens: number }
}

const dataOf = (text: string): ReadonlyArray<string> =>
  text
    .split("\n\n")
    .filter((event) => event.startsWith("data: "))
    .map((event) => event.slice(6))

const chunksOf = (text: string): ReadonlyArray<Chunk> =>
  dataOf(text)
    .filter((data) => data !== "[DONE]")
    .map((data) => JSON.parse(data) as Chunk)

const contentOf = (text: string): string =>
  chunksOf(text)
    .map((chunk) => chunk.choices[0]?.delta.content ?? "")
    .join("")

const messageOf = (text: string) => JSON.parse(text).choices[0].message

const errorOf = (text: string) => JSON.parse(text).error as { readonly [field in "message" | "type" | "code"]: string }

const weather = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: {
        location: { type: "string" },
        unit: { enum: ["celsius", "fahrenheit"] },
        days: { type: "integer", minimum: 1, maximum: 3 },
        note: { type: "string" }
      },
      required: ["location", "unit", "days"]
    }
  }
}

describe("simulated provider", () => {
  it.effect("gives the same bytes for the same request and seed, and others for another seed", () =>
    Effect.gen(function* () {
      const request = post(path, { model: "gpt-4.1", stream: true, messages: [{ role: "user", content: "Hi" }] })
      const first = yield* readAll(simulated({ seed: 7 }), request)
      const second = yield* readAll(simulated({ seed: 7 }), request)
      const other = yield* readAll(simulated({ seed: 8 }), request)
      assert.strictEqual(first.text, second.text)
      assert.deepStrictEqual(first.headers, second.headers)
      assert.notStrictEqual(chunksOf(first.text)[0]!.id, chunksOf(other.text)[0]!.id)
    })
  )

  it.effect("tells a request that a gateway has edited the same under the same id", () =>
    Effect.gen(function* () {
      const plain = chunksOf((yield* streamed("Hi")).text)
      const edited = chunksOf((yield* streamed("Hi", { model: "other", stream_options: { include_usage: true } })).text)
      assert.strictEqual(edited[0]!.id, plain[0]!.id)
      assert.strictEqual(edited[0]!.model, "other")
      assert.deepStrictEqual(
        edited.slice(0, -1).map((chunk) => chunk.choices),
        plain.map((chunk) => chunk.choices)
      )
    })
  )

  it.effect("streams and answers in the field order of OpenAI's API", () =>
    Effect.gen(function* () {
      const { headers, text } = yield* streamed("Hi", { stream_options: { include_usage: true } })
      assert.strictEqual(headers["content-type"], "text/event-stream; charset=utf-8")
      const fields = "id,object,created,model,service_tier,system_fingerprint,choices,usage"
      for (const chunk of chunksOf(text)) assert.strictEqual(Object.keys(chunk).join(), fields)
      assert.match(
        text,
        /"choices":\[\{"index":0,"delta":\{"role":"assistant","content":"","refusal":null\},"logprobs":null,"finish_reason":null\}\],"usage":null\}\n\n/
      )
      assert.match(text, /"choices":\[\{"index":0,"delta":\{\},"logprobs":null,"finish_reason":"stop"\}\],"usage":null/)
      assert.match(text, /"choices":\[\],"usage":\{"prompt_tokens":\d+,.*\}\}\n\ndata: \[DONE\]\n\n$/)
      assert.notInclude((yield* streamed("Hi")).text, "usage")
      const json = yield* ask("Hi")
      assert.strictEqual(json.headers["content-type"], "application/json")
      assert.match(json.text, /^\{\n {2}"id": "chatcmpl-\w{29}",\n {2}"object": "chat.completion",\n/)
      assert.match(json.text, /\n\}\n$/)
      assert.strictEqual(messageOf(json.text).content, contentOf(text))
    })
  )

  it.effect("quotes the prompt without its directives", () =>
    Effect.gen(function* () {
      const { content } = messageOf((yield* ask("Good morning [[sim: events=2]] to all")).text)
      assert.include(content, 'You said: "Good morning to all"')
    })
  )

  describe("tools", () => {
    it.effect("calls a tool that the prompt is about, with arguments that fit its schema", () =>
      Effect.gen(function* () {
        const { text } = yield* ask("How is the weather in Lisbon?", { tools: [weather] })
        const { content, tool_calls } = messageOf(text)
        assert.isNull(content)
        assert.strictEqual(tool_calls.length, 1)
        assert.match(tool_calls[0].id, /^call_\w{24}$/)
        const given = JSON.parse(tool_calls[0].function.arguments)
        assert.deepStrictEqual(Object.keys(given), ["location", "unit", "days"])
        assert.strictEqual(given.location, "Lisbon")
        assert.include(["celsius", "fahrenheit"], given.unit)
        assert.isTrue(Number.isInteger(given.days) && given.days >= 1 && given.days <= 3)
        assert.strictEqual(JSON.parse(text).choices[0].finish_reason, "tool_calls")
      })
    )

    it.effect("calls none where the prompt is about something else or tool_choice says none", () =>
      Effect.gen(function* () {
        assert.isUndefined(messageOf((yield* ask("Hi", { tools: [weather] })).text).tool_calls)
        const refused = yield* ask("the weather?", { tools: [weather], tool_choice: "none" })
        assert.isUndefined(messageOf(refused.text).tool_calls)
      })
    )

    it.effect("calls what tool_choice demands", () =>
      Effect.gen(function* () {
        const required = yield* ask("Hi", { tools: [weather], tool_choice: "required" })
        assert.strictEqual(messageOf(required.text).tool_calls[0].function.name, "get_weather")
      })
    )

    it.effect("calls several at once, numbered by index in the stream", () =>
      Effect.gen(function* () {
        const { text } = yield* streamed("[[sim: tool=get_weather, tool=unknown, parallel=2]]", { tools: [weather] })
        const named = chunksOf(text)
          .flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? [])
          .filter((call) => call.function?.name !== undefined)
        assert.deepStrictEqual(
          named.map((call) => [call.index, call.function?.name]),
          [
            [0, "get_weather"],
            [1, "get_weather"],
            [2, "unknown"],
            [3, "unknown"]
          ]
        )
      })
    )

    it.effect("takes arguments as they stand, with commas and brackets in them, broken JSON too", () =>
      Effect.gen(function* () {
        const whole = yield* ask('[[sim: tool=a, args={"x":[1,"]]"]}, usage=none]] go')
        assert.strictEqual(messageOf(whole.text).tool_calls[0].function.arguments, '{"x":[1,"]]"]}')
        assert.notProperty(JSON.parse(whole.text), "usage")
        const broken = yield* ask('[[sim: tool=a, args={"x":]]')
        assert.strictEqual(messageOf(broken.text).tool_calls[0].function.arguments, '{"x":')
      })
    )

    it.effect("answers from the results, after as many rounds as it was told", () =>
      Effect.gen(function* () {
        const round = (index: number) => [
          {
            role: "assistant",
            tool_calls: [{ id: `call_${index}`, type: "function", function: { name: "get_weather", arguments: "{}" } }]
          },
          { role: "tool", tool_call_id: `call_${index}`, content: "sunny, 21 °C" }
        ]
        const askAfter = (content: string, rounds: number) =>
          readAll(
            sim,
            post(path, {
              model: "m",
              tools: [weather],
              messages: [
                { role: "user", content },
                ...Array.from({ length: rounds }, (_, index) => round(index)).flat()
              ]
            })
          )
        const answered = messageOf((yield* askAfter("the weather?", 1)).text)
        assert.include(answered.content, 'get_weather says: "sunny, 21 °C"')
        const twice = "[[sim: tool=get_weather, rounds=2]]"
        assert.strictEqual(messageOf((yield* askAfter(twice, 1)).text).tool_calls.length, 1)
        assert.isUndefined(messageOf((yield* askAfter(twice, 2)).text).tool_calls)
      })
    )
  })

  it.effect("thinks in reasoning_content, or in reasoning", () =>
    Effect.gen(function* () {
      const usual = yield* streamed("Hi [[sim: reasoning]]")
      const thought = chunksOf(usual.text).map((chunk) => chunk.choices[0]?.delta.reasoning_content ?? "")
      assert.include(thought.join(""), "Let me think")
      assert.include(contentOf(usual.text), 'You said: "Hi"')
      const other = messageOf((yield* ask("Hi [[sim: reasoning=reasoning]]")).text)
      assert.include(other.reasoning, "Let me think")
      assert.notProperty(other, "reasoning_content")
    })
  )

  it.effect("obeys n, max_tokens and response_format", () =>
    Effect.gen(function* () {
      const several = chunksOf((yield* streamed("Hi", { n: 3 })).text)
      const finished = several.flatMap((chunk) => chunk.choices).filter((choice) => choice.finish_reason !== null)
      assert.deepStrictEqual(
        finished.map((choice) => choice.index),
        [0, 1, 2]
      )
      const short = JSON.parse((yield* ask("Hi", { max_completion_tokens: 3 })).text)
      assert.strictEqual(short.choices[0].finish_reason, "length")
      assert.strictEqual(short.usage.completion_tokens, 3)
      const schema = { type: "object", properties: { age: { type: "integer", minimum: 40, maximum: 40 } } }
      const formatted = yield* ask("Hi", {
        response_format: { type: "json_schema", json_schema: { name: "a", schema } }
      })
      assert.deepStrictEqual(JSON.parse(messageOf(formatted.text).content), { age: 40 })
    })
  )

  describe("usage", () => {
    const usageOf = (text: string) => chunksOf(text).map((chunk) => chunk.usage)

    it.effect("stands where it is told to", () =>
      Effect.gen(function* () {
        const on = { stream_options: { include_usage: true } }
        const last = chunksOf((yield* streamed("Hi [[sim: usage=last]]")).text).at(-1)!
        assert.deepStrictEqual(last.choices, [])
        assert.isAbove(last.usage!.completion_tokens, 0)
        const finish = chunksOf((yield* streamed("Hi", { model: "sim-usage-finish" })).text).at(-1)!
        assert.strictEqual(finish.choices[0]!.finish_reason, "stop")
        assert.isAbove(finish.usage!.completion_tokens, 0)
        const missing = usageOf((yield* streamed("Hi [[sim: usage=none]]", on)).text)
        assert.isTrue(missing.every((usage) => usage === null))
        const running = usageOf((yield* streamed("Hi", { model: "sim-usage-every-chunk" })).text)
        const totals = running.map((usage) => usage!.completion_tokens)
        assert.deepStrictEqual(
          totals,
          totals.toSorted((a, b) => a - b)
        )
        assert.strictEqual(totals[0], 0)
        assert.strictEqual(totals.at(-1), finish.usage!.completion_tokens)
      })
    )

    it.effect("says the counts it is told: none, or more cached than there was", () =>
      Effect.gen(function* () {
        const { usage } = JSON.parse((yield* ask("Hi [[sim: input=10, cached=50, output=0]]")).text) as { usage: Usage }
        assert.strictEqual(usage.prompt_tokens, 10)
        assert.strictEqual(usage.prompt_tokens_details.cached_tokens, 50)
        assert.strictEqual(usage.completion_tokens, 0)
      })
    )
  })

  describe("directives", () => {
    it.effect("mean the same in the model's name and in the prompt, which wins", () =>
      Effect.gen(function* () {
        const named = chunksOf((yield* streamed("Hi", { model: "sim-tool-get_weather+usage-finish" })).text)
        assert.strictEqual(named[0]!.choices[0]!.delta.tool_calls![0]!.function!.name, "get_weather")
        assert.isAbove(named.at(-1)!.usage!.prompt_tokens, 0)
        const both = yield* streamed("[[sim: words=2]]", { model: "sim-words-5" })
        assert.strictEqual(contentOf(both.text).split(" ").length, 2)
      })
    )

    it.effect("that are unknown or misused are refused with what there is", () =>
      Effect.gen(function* () {
        const model = yield* ask("Hi", { model: "sim-quick" })
        assert.strictEqual(model.status, 404)
        assert.strictEqual(errorOf(model.text).code, "model_not_found")
        assert.match(errorOf(model.text).message, /"quick".*tool=NAME.*stall=N/)
        const prompt = yield* ask("[[sim: nonsense=1]]")
        assert.strictEqual(prompt.status, 400)
        assert.match(errorOf(prompt.text).message, /"nonsense".*tool=NAME/)
        assert.match(errorOf((yield* ask("[[sim: words=many]]")).text).message, /"words" takes N, not "many"/)
        assert.strictEqual((yield* ask("[[sim: ]x[ ==, =1 ]]")).status, 400)
      })
    )

    it.effect("change how the stream is written", () =>
      Effect.gen(function* () {
        const crlf = (yield* streamed("Hi [[sim: crlf, comments]]")).text
        assert.notMatch(crlf, /[^\r]\n/)
        assert.match(crlf, /^: SIMULATED PROCESSING\r\n\r\ndata: /)
        assert.isString(chunksOf((yield* streamed("Hi [[sim: obfuscation]]")).text)[0]!.obfuscation)
        assert.notInclude((yield* streamed("Hi [[sim: no-done]]")).text, "[DONE]")
        assert.strictEqual((yield* streamed("Hi [[sim: as=json]]")).headers["content-type"], "application/json")
        assert.strictEqual((yield* ask("Hi", { model: "sim-as-sse" })).chunks.length > 1, true)
      })
    )

    it.effect("cut the network chunks: one event in each, several, or so many bytes", () =>
      Effect.gen(function* () {
        const single = yield* streamed("[[sim: words=40]]")
        assert.strictEqual(single.chunks.length, dataOf(single.text).length)
        const four = yield* streamed("[[sim: words=40, events=4]]")
        assert.strictEqual(four.chunks.length, Math.ceil(dataOf(four.text).length / 4))
        const bytes = yield* streamed("[[sim: words=40, bytes=7]]")
        assert.isTrue(bytes.chunks.slice(0, -1).every((chunk) => chunk.length === 7))
        assert.strictEqual(dataOf(bytes.text).at(-1), "[DONE]")
      })
    )
  })

  describe("faults", () => {
    it.effect("cut breaks off at a byte, or where a shorter body ends", () =>
      Effect.gen(function* () {
        const cut = yield* streamed("Hi", { model: "sim-cut-200" })
        assert.strictEqual(Buffer.byteLength(cut.text), 200)
        assert.strictEqual(cut.error?.reason._tag, "Cut")
        const short = yield* streamed("Hi", { model: "sim-cut-100000" })
        assert.strictEqual(dataOf(short.text).at(-1), "[DONE]")
        assert.strictEqual(short.error?.reason._tag, "Cut")
      })
    )

    it.effect("eof ends cleanly at a byte", () =>
      Effect.gen(function* () {
        const eof = yield* streamed("Hi", { model: "sim-eof-200" })
        assert.strictEqual(Buffer.byteLength(eof.text), 200)
        assert.isUndefined(eof.error)
      })
    )

    it.effect("malformed breaks one event's JSON, or the body's", () =>
      Effect.gen(function* () {
        const data = dataOf((yield* streamed("Hi", { model: "sim-malformed" })).text)
        const isJson = data.map((text) => Exit.isSuccess(Effect.runSyncExit(Effect.sync(() => JSON.parse(text)))))
        assert.deepStrictEqual(isJson.slice(0, 3), [true, false, true])
        const json = yield* ask("Hi", { model: "sim-malformed" })
        assert.strictEqual(json.status, 200)
        assert.throws(() => JSON.parse(json.text))
      })
    )

    it.effect("error ends the stream with an error event", () =>
      Effect.gen(function* () {
        const data = dataOf((yield* streamed("Hi", { model: "sim-error-2" })).text)
        assert.strictEqual(data.length, 3)
        assert.strictEqual(errorOf(data[2]!).type, "server_error")
      })
    )

    it.effect("a status is answered in OpenAI's error shape, 429 with retry-after", () =>
      Effect.gen(function* () {
        const limited = yield* streamed("Hi", { model: "sim-429" })
        assert.strictEqual(limited.status, 429)
        assert.strictEqual(limited.headers["retry-after"], "1")
        assert.strictEqual(errorOf(limited.text).code, "rate_limit_exceeded")
        const longer = yield* streamed("Hi", { model: "sim-429+retry-after-30" })
        assert.strictEqual(longer.headers["retry-after"], "30")
        const quota = yield* ask("Hi [[sim: quota]]")
        assert.strictEqual(errorOf(quota.text).code, "insufficient_quota")
        assert.isUndefined(quota.headers["retry-after"])
        const broken = yield* ask("Hi [[sim: 500]]")
        assert.strictEqual(broken.status, 500)
        assert.strictEqual(errorOf(broken.text).type, "server_error")
      })
    )

    it.effect("refused is unreachable", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ask("Hi", { model: "sim-refused" }))
        assert.strictEqual(error.reason._tag, "Unreachable")
        assert.strictEqual(error.provider, "simulated")
      })
    )

    it.effect("stall is silent after some events until the scope closes, which ends the body", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const exchange = yield* sim(
          post(path, { model: "sim-stall-2", stream: true, messages: [{ role: "user", content: "Hi" }] })
        ).pipe(Scope.provide(scope))
        const chunks: Array<Buffer> = []
        const reading = yield* Effect.forkChild(drain(exchange, chunks))
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(chunks.length, 2)
        assert.isFalse(exchange.body.closed)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Fiber.join(reading))?.reason._tag, "Cut")
      })
    )

    it.effect("hang never answers and can be interrupted", () =>
      Effect.gen(function* () {
        const asking = yield* Effect.forkChild(ask("Hi [[sim: hang]]"))
        yield* TestClock.adjust("1 hour")
        assert.isUndefined(asking.pollUnsafe())
        yield* Fiber.interrupt(asking)
      })
    )
  })

  it.effect("waits by the clock: before the head, before the first chunk and between chunks", () =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const content = "[[sim: words=5, wait=1s, first=500ms, delay=20ms]]"
      const asking = yield* Effect.forkChild(
        sim(post(path, { model: "m", stream: true, messages: [{ role: "user", content }] })).pipe(Scope.provide(scope))
      )
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(asking.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const exchange = yield* Fiber.join(asking)
      const chunks: Array<Buffer> = []
      yield* Effect.forkChild(drain(exchange, chunks))
      yield* TestClock.adjust("499 millis")
      assert.strictEqual(chunks.length, 0)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(chunks.length, 1)
      yield* TestClock.adjust("40 millis")
      assert.strictEqual(chunks.length, 3)
    })
  )

  it.effect("stops sending while nobody reads, and stops for good when the scope closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const content = "[[sim: words=8000]]"
      const request = post(path, { model: "m", stream: true, messages: [{ role: "user", content }] })
      const exchange = yield* sim(request).pipe(Scope.provide(scope))
      yield* TestClock.adjust(0)
      assert.isTrue(exchange.body.paused)
      const before = exchange.body.received
      yield* exchange.body.pull.pipe(Effect.orDie)
      yield* TestClock.adjust(0)
      const after = exchange.body.received
      assert.isAbove(after, before)
      assert.isFalse(exchange.body.closed)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(exchange.body.received, after)
      const whole = yield* readAll(sim, request)
      assert.isAbove(whole.chunks.length, after)
      assert.strictEqual(contentOf(whole.text).split(" ").length, 8000)
    })
  )

  describe("other requests", () => {
    it.effect("lists its models, each of which it serves", () =>
      Effect.gen(function* () {
        const list = JSON.parse((yield* readAll(sim, get("/v1/models"))).text)
        assert.strictEqual(list.object, "list")
        for (const { id } of list.data) assert.strictEqual((yield* readAll(sim, get(`/v1/models/${id}`))).status, 200)
        assert.strictEqual((yield* readAll(sim, get("/v1/models/sim-%"))).status, 404)
      })
    )

    it.effect("refuses what it does not know, in OpenAI's error shape", () =>
      Effect.gen(function* () {
        const expected: ReadonlyArray<readonly [ReturnType<typeof post>, number]> = [
          [post(path, "{"), 400],
          [post(path, "[]"), 400],
          [post(path, { messages: [] }), 400],
          [post(path, { model: "m" }), 400],
          [post(path, { model: "m", messages: "Hi" }), 400],
          [post("/v1/embeddings", { model: "m", input: 1 }), 400],
          [get(path), 405],
          [post("/v1/models", {}), 405],
          [post("/v1/nonsense", {}), 404]
        ]
        for (const [request, status] of expected) {
          const answer = yield* readAll(sim, request)
          assert.strictEqual(answer.status, status, answer.text)
          assert.strictEqual(errorOf(answer.text).type, "invalid_request_error")
        }
      })
    )
  })
})

describe("what the simulated provider counts as input", () => {
  const tool = { description: "Tells the weather of a city", properties: { city: { type: "string" } } }
  const schema = { type: "object", properties: tool.properties }
  const question = "What is the weather?"
  const messages = [{ role: "user", content: question }]

  const countOf = (target: string, body: object) =>
    Effect.map(readAll(sim, post(target, { model: "m", ...body })), ({ text }) => {
      const answer = JSON.parse(text) as { input_tokens?: number; usage?: { [name: string]: number } }
      return answer.input_tokens ?? answer.usage!["prompt_tokens"] ?? answer.usage!["input_tokens"]!
    })

  it.effect.each([
    {
      name: "chat",
      target: path,
      body: { messages },
      tools: [{ type: "function", function: { name: "weather", parameters: schema } }]
    },
    { name: "responses", target: "/v1/responses", body: { input: question }, tools: [{ type: "function", ...tool }] },
    {
      name: "input_tokens",
      target: "/v1/responses/input_tokens",
      body: { input: question },
      tools: [{ type: "function", ...tool }]
    },
    {
      name: "messages",
      target: "/v1/messages",
      body: { max_tokens: 10, messages },
      tools: [{ name: "weather", input_schema: schema }]
    },
    {
      name: "count_tokens",
      target: "/v1/messages/count_tokens",
      body: { messages },
      tools: [{ name: "weather", input_schema: schema }]
    }
  ])("are tools, too: $name", ({ body, target, tools }) =>
    Effect.gen(function* () {
      const without = yield* countOf(target, body)
      assert.isAbove(without, 0)
      assert.isAbove(yield* countOf(target, { ...body, tools }), without)
    })
  )

  it.effect("are the results of tools in Messages", () =>
    Effect.gen(function* () {
      const asked = [
        { role: "user", content: question },
        { role: "assistant", content: [{ type: "tool_use", id: "toolu_1", name: "weather", input: {} }] }
      ]
      const answered = (content: string) => ({
        messages: [...asked, { role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_1", content }] }]
      })
      const target = "/v1/messages/count_tokens"
      const short = yield* countOf(target, answered("sun"))
      assert.isAbove(yield* countOf(target, answered("sun, and rain in the evening, and then a rainbow")), short)
    })
  )
})
