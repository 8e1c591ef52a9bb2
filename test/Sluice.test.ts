import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { Interception, inboundRequest, Provider, Recorder, Sluice, type UpstreamError } from "sluice"
import { Recordings, ScriptedUpstream, Turn } from "sluice/testing"

const chunk = (delta: object, finish: string | null = null) =>
  JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    model: "m-1",
    choices: [{ index: 0, delta, finish_reason: finish }]
  })

const usage = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  model: "m-1",
  choices: [],
  usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
})

const said = (answer: { readonly frames: Stream.Stream<{ readonly data: string }, UpstreamError> }) =>
  Effect.map(Stream.runCollect(answer.frames), (frames) => frames.map((frame) => frame.data))

describe("embedding", () => {
  it.effect("carries out a call in process, with another provider and another recorder in place", () =>
    Effect.gen(function* () {
      const frames = yield* Effect.scoped(
        Effect.gen(function* () {
          const answer = yield* Interception.open(
            inboundRequest({
              provider: "up",
              actor: "tester",
              body: { model: "m", stream: true, messages: [{ role: "user", content: "hello" }] }
            })
          )
          assert.strictEqual(answer.head.status, 200)
          return yield* said(answer)
        })
      )
      assert.deepStrictEqual(frames, [chunk({ content: "Hi" }), chunk({}, "stop"), "[DONE]"])

      const [request] = yield* (yield* ScriptedUpstream).received(1)
      assert.strictEqual(request!.headers["authorization"], "Bearer k-test")
      assert.deepStrictEqual((request!.json as { stream_options: unknown }).stream_options, { include_usage: true })

      const [call] = yield* (yield* Recordings).closed(1)
      assert.strictEqual(call!.interception.actor, "tester")
      assert.strictEqual(call!.interception.status, "completed")
      assert.strictEqual(call!.prompts[0]!.text, "hello")
      assert.deepInclude(call!.usage[0]!, { input: 3, output: 2, provenance: "provider" })
    }).pipe(
      Effect.provide(
        Sluice.layer({ providers: { up: Provider.openai({ apiKey: "k-test" }) } }).pipe(
          Layer.provideMerge(
            ScriptedUpstream.layer([Turn.sse([chunk({ content: "Hi" }), chunk({}, "stop"), usage, "[DONE]"])])
          ),
          Layer.provideMerge(Recordings.layer)
        )
      )
    )
  )

  it.effect("answers from the simulated provider without a network", () =>
    Effect.gen(function* () {
      const frames = yield* Effect.scoped(
        Effect.flatMap(
          Interception.open(
            inboundRequest({ body: { model: "sim/any", messages: [{ role: "user", content: "hi" }] } })
          ),
          said
        )
      )
      assert.strictEqual(JSON.parse(frames[0]!).model, "sim/any")
    }).pipe(
      Effect.provide(
        Sluice.layer({ providers: { sim: Provider.simulated() } }).pipe(Layer.provide(Recorder.layerMemory))
      )
    )
  )
})
