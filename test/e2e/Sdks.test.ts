import Anthropic from "@anthropic-ai/sdk"
import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schedule } from "effect"
import OpenAI from "openai"
import { faulty, whole } from "../clients/Faults.ts"
import { makeScene, recordOf, type Scene } from "../clients/Scene.ts"
import { type Ask, type SdkCase, sdkCases } from "../clients/SdkCases.ts"

/** One gateway and one upstream for all of them. */
class Running extends Context.Service<Running, Scene>()("test/e2e/Sdks/Running") {
  static readonly layer = Layer.effect(
    Running,
    makeScene(faulty(), {
      limits: { keep_alive: "100 millis" },
      models: { quick: "openai/gpt-5", "claude-quick": "anthropic/claude-sonnet-5" }
    })
  )
}

const key = "sk-test-0123456789abcdefghij"

/** A run of an SDK: how it ended, and what the gateway and the upstream saw of it. */
const run = (sdk: SdkCase, how: "stream" | "whole" | "tools", prompt: string, more: Partial<Ask> = {}) =>
  Effect.gen(function* () {
    const { gateway, upstream } = yield* Running
    // Other cases may be asking, too: what this one asks is known by its prompt.
    const marked = `${sdk.name} ${how}: ${prompt}`
    const ids: Array<string> = []
    let posts = 0
    const counting: typeof fetch = async (input, init) => {
      posts++
      const response = await fetch(input, init)
      const id = response.headers.get("x-sluice-interception-id")
      if (id !== null) ids.push(id)
      return response
    }
    const ask: Ask = { url: gateway.url, key, model: "test-model", prompt: marked, fetch: counting, ...more }
    const result = yield* Effect.promise(() =>
      sdk[how](ask).then(
        (text) => ({ text, error: undefined }),
        (error: unknown) => ({ text: undefined, error })
      )
    )
    const served = upstream.requests.filter(({ text }) => text.includes(JSON.stringify(marked).slice(1, -1)))
    const records = yield* Effect.forEach(ids, (id) => recordOf(gateway, id))
    return { ...result, posts, served, records, marked }
  })

const statusOf = (error: unknown): unknown =>
  Reflect.get(Object(error), "status") ?? Reflect.get(Object(error), "statusCode")

layer(Running.layer, { excludeTestServices: true, timeout: "90 seconds" })("SDKs through the gateway", (it) => {
  for (const sdk of sdkCases) {
    describe.concurrent(sdk.name, () => {
      for (const how of ["stream", "whole"] as const) {
        it.effect(`reads an answer (${how})`, () =>
          Effect.gen(function* () {
            const { text, error, posts, served, records, marked } = yield* run(sdk, how, "grüß Zürich 🌊")
            assert.strictEqual(text, `Heard: ${marked}`, String(error))
            assert.deepStrictEqual([posts, served.length], [1, 1])
            const [record] = records
            assert.deepInclude(record!.interception, {
              client: sdk.client,
              dialect: sdk.dialect,
              status: "completed",
              transport: how === "stream" ? "sse" : "json",
              requestedModel: "test-model"
            })
            assert.deepStrictEqual(
              record!.prompts.map((prompt) => prompt.text),
              [marked]
            )
            assert.strictEqual(record!.usage[0]!.provenance, "provider")
          })
        )
      }

      it.effect("calls a tool and answers from what it said", () =>
        Effect.gen(function* () {
          const { text, error, posts, served, records } = yield* run(sdk, "tools", "read hello.txt")
          assert.strictEqual(text, "Heard: the file hello.txt says ahoy", String(error))
          assert.deepStrictEqual([posts, served.length], [2, 2])
          assert.deepStrictEqual(
            records.map(({ interception, toolCalls }) => [
              interception.status,
              toolCalls.map(({ name, arguments: args, injected }) => [name, args, injected])
            ]),
            [
              ["completed", [["read_file", { path: "hello.txt" }, false]]],
              ["completed", []]
            ]
          )
          assert.strictEqual(records[1]!.interception.parentId, records[0]!.interception.id)
        })
      )

      it.effect("throws the errors of the upstream, and asks but once where it may not retry", () =>
        Effect.gen(function* () {
          for (const [status, how] of [
            [400, "stream"],
            [401, "whole"],
            [429, "stream"],
            [500, "whole"],
            [529, "stream"]
          ] as const) {
            const { error, posts, served, records } = yield* run(sdk, how, `fault status ${status}`)
            assert.strictEqual(statusOf(error), status, String(error))
            assert.include(String(error), `status ${status}`)
            assert.deepStrictEqual([posts, served.length], [1, 1])
            assert.strictEqual(records[0]!.interception.status, "failed")
            assert.strictEqual(records[0]!.interception.error?.code, "upstream_status")
          }
        })
      )

      it.effect("tries again when a 429 says so", () =>
        Effect.gen(function* () {
          const { text, error, posts, served } = yield* run(sdk, "stream", "fault once 429", { retries: 1 })
          assert.strictEqual(text, "Heard: fault once 429", String(error))
          assert.deepStrictEqual([posts, served.length], [2, 2])
          assert.isAbove(served[1]!.receivedAt - served[0]!.receivedAt, 900)
        })
      )

      it.effect("throws where the answer breaks off: never is a part of it taken for the whole", () =>
        Effect.gen(function* () {
          for (const ending of ["reset", "fin", "eof", "middle", "error"]) {
            for (const events of [0, 1, 6, 18]) {
              const { text, error, posts, records } = yield* run(sdk, "stream", `fault ${ending} ${events}`)
              const label = `${ending} behind ${events} events: ${JSON.stringify(text)}`
              assert.isUndefined(text, label)
              assert.instanceOf(error, Error, label)
              assert.strictEqual(posts, 1, label)
              assert.strictEqual(records[0]!.interception.status, "failed", label)
            }
          }
        })
      )

      it.effect("throws where an answer that is not streamed breaks off", () =>
        Effect.gen(function* () {
          for (const ending of ["reset", "fin"]) {
            for (const characters of [0, 100]) {
              const { error, posts, records } = yield* run(sdk, "whole", `fault ${ending} ${characters}`)
              assert.strictEqual(statusOf(error), 502, String(error))
              assert.strictEqual(posts, 1)
              assert.strictEqual(records[0]!.interception.status, "failed")
              assert.strictEqual(records[0]!.interception.error?.code, "upstream_cut")
            }
          }
        })
      )

      it.effect("waits through silence, which the gateway fills with keep-alives", () =>
        Effect.gen(function* () {
          const { text, error, served } = yield* run(sdk, "stream", "fault silence 500")
          assert.strictEqual(text, whole, String(error))
          assert.strictEqual(served.length, 1)
        })
      )

      it.effect("aborts: the upstream is left within a second, and the call recorded as cancelled", () =>
        Effect.gen(function* () {
          const controller = new AbortController()
          let left = 0
          const onText = () => {
            left ||= performance.now()
            controller.abort()
          }
          const { served, records } = yield* run(sdk, "stream", "fault hang 18", { signal: controller.signal, onText })
          assert.isAbove(left, 0, "there was text")
          assert.strictEqual(yield* served[0]!.over, "aborted")
          assert.isBelow(served[0]!.abortedAt! - left, 1_000)
          assert.strictEqual(records[0]!.interception.status, "cancelled")
          assert.strictEqual(records[0]!.interception.error?.code, "client_gone")
        })
      )

      it.effect("aborts before there was an answer", () =>
        Effect.gen(function* () {
          const { upstream } = yield* Running
          const controller = new AbortController()
          const arrived = Effect.sync(() =>
            upstream.requests.some(({ text }) => text.includes(`${sdk.name} whole: fault mute`))
          )
          const abort = Effect.andThen(
            Effect.repeat(arrived, { schedule: Schedule.spaced("10 millis"), until: (there) => there }),
            Effect.sync(() => controller.abort())
          )
          const [{ error, served }] = yield* Effect.all(
            [run(sdk, "whole", "fault mute 0", { signal: controller.signal }), abort],
            { concurrency: 2 }
          )
          assert.instanceOf(error, Error)
          assert.strictEqual(yield* served[0]!.over, "aborted")
        })
      )
    })
  }

  it.effect("lists models to each SDK in its API's shape", () =>
    Effect.gen(function* () {
      const { gateway } = yield* Running
      const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, maxRetries: 0 })
      const theirs = yield* Effect.promise(() => openai.models.list())
      assert.deepStrictEqual(
        theirs.data.map(({ id, object }) => `${object} ${id}`),
        ["model quick"]
      )
      const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: key, maxRetries: 0 })
      const models = yield* Effect.promise(() => anthropic.models.list())
      assert.deepStrictEqual(
        models.data.map(({ id, type }) => `${type} ${id}`),
        ["model claude-quick"]
      )
      assert.strictEqual((yield* Effect.promise(() => openai.models.retrieve("quick"))).id, "quick")
      assert.strictEqual((yield* Effect.promise(() => anthropic.models.retrieve("claude-quick"))).type, "model")
      assert.isTrue(models.data.every(({ display_name }) => typeof display_name === "string"))
      assert.isBoolean(models.has_more)
    })
  )

  it.effect("counts tokens for the Anthropic SDK", () =>
    Effect.gen(function* () {
      const { gateway } = yield* Running
      const anthropic = new Anthropic({ baseURL: `${gateway.url}/anthropic`, apiKey: key, maxRetries: 0 })
      const counted = yield* Effect.promise(() =>
        anthropic.messages.countTokens({ model: "m", messages: [{ role: "user", content: "Hi" }] })
      )
      assert.strictEqual(counted.input_tokens, 1234)
    })
  )
})
