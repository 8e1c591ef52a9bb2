import { assert, describe, it } from "@effect/vitest"
import { type Context, Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Interception, inboundRequest, Provider, Recorder, Sluice } from "sluice"
import { Recordings, ScriptedUpstream, Turn } from "sluice/testing"
import { temporaryFolder } from "../recorder/folder.ts"
import { sqlite } from "../recorder/recorders.ts"

const calling = (id: string, name: string, args: string) => ({
  id,
  type: "function",
  function: { name, arguments: args }
})

/** A whole answer that calls tools. */
const calls = (...toolCalls: ReadonlyArray<ReturnType<typeof calling>>): Turn =>
  Turn.json({
    id: "chatcmpl-1",
    object: "chat.completion",
    model: "m-1",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: null, tool_calls: toolCalls },
        finish_reason: "tool_calls"
      }
    ],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
  })

const event = (delta: object, finish: string | null = null) =>
  JSON.stringify({ id: "chatcmpl-1", model: "m-1", choices: [{ index: 0, delta, finish_reason: finish }] })

/** The same as a stream, its arguments in pieces. */
const streamed = (id: string, name: string, args: string): Turn =>
  Turn.sse([
    event({ tool_calls: [{ index: 0, ...calling(id, name, "") }] }),
    ...[...args].map((letter) => event({ tool_calls: [{ index: 0, function: { arguments: letter } }] })),
    event({}, "tool_calls"),
    "[DONE]"
  ])

/** The request that comes back with the result of a call. */
const result = (...made: ReadonlyArray<ReturnType<typeof calling>>) => ({
  model: "m",
  messages: [
    { role: "user", content: "what is here?" },
    { role: "assistant", content: null, tool_calls: made },
    ...made.map(({ id }) => ({ role: "tool", tool_call_id: id, content: "a.txt" }))
  ]
})

const question = { model: "m", messages: [{ role: "user", content: "what is here?" }] }

const session = { "session-id": "s1", originator: "codex_exec", "user-agent": "codex_exec/0.169.0" }

/** Carries out a call and answers its id. */
const call = (body: object, options: { readonly headers?: { [name: string]: string }; readonly actor?: string } = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { headers = session, actor = "alice" } = options
      const answer = yield* Interception.open(inboundRequest({ provider: "up", body, headers, actor }))
      yield* Stream.runDrain(answer.frames)
      return answer.id
    })
  )

const gateway = (turns: ReadonlyArray<Turn>) =>
  Sluice.layer({ providers: { up: Provider.openai({ apiKey: "k-test" }) }, retries: { times: 0 } }).pipe(
    Layer.provideMerge(ScriptedUpstream.layer(turns))
  )

const inMemory = (turns: ReadonlyArray<Turn>) => gateway(turns).pipe(Layer.provideMerge(Recordings.layer))

const rowOf = (id: string) =>
  Effect.gen(function* () {
    const { interception } = yield* (yield* Recordings).closedAs(id)
    return interception
  })

const answered = calls()

const nextTurn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

describe("a recorded call", () => {
  it.effect("says who made it and in which session", () =>
    Effect.gen(function* () {
      const row = yield* rowOf(yield* call(question))
      assert.deepInclude(row, { client: "codex", sessionId: "s1", parentId: null, userAgent: "codex_exec/0.169.0" })
      const plain = yield* rowOf(yield* call({ ...question, prompt_cache_key: "k1" }, { headers: {} }))
      assert.deepInclude(plain, { client: "unknown", sessionId: "k1" })
      const none = yield* rowOf(yield* call({ ...question, user: "alice" }, { headers: {} }))
      assert.deepInclude(none, { client: "unknown", sessionId: null })
    }).pipe(Effect.provide(inMemory([answered, answered, answered])))
  )

  it.effect("says so, too, where it was refused", () =>
    Effect.gen(function* () {
      const refused = yield* Effect.flip(call({ model: 7, prompt_cache_key: "k1" }))
      assert(refused._tag === "Refused")
      const row = yield* rowOf(refused.interceptionId)
      assert.deepInclude(row, { status: "rejected", client: "codex", sessionId: "s1" })
    }).pipe(Effect.provide(inMemory([])))
  )
})

describe("a call that comes back with the result of a tool", () => {
  const ls = calling("call_1", "ls", '{"path":".","all":true}')

  it.effect("has the call that called the tool for its parent", () =>
    Effect.gen(function* () {
      const first = yield* call(question)
      const second = yield* call(result(ls))
      const third = yield* call(result(calling("call_2", "cat", '{"path": "a.txt"}')))
      assert.isNull((yield* rowOf(first)).parentId)
      assert.strictEqual((yield* rowOf(second)).parentId, first)
      assert.strictEqual((yield* rowOf(third)).parentId, second)
      // A client that resumes sends the same history under a session of another name.
      const resumed = yield* call(result(ls), { headers: { "session-id": "s2" } })
      assert.strictEqual((yield* rowOf(resumed)).parentId, first)
      const detail = yield* (yield* Recorder).session({ id: "s1", limit: 10 })
      assert(detail._tag === "Found")
      assert.strictEqual(detail.detail.interceptions[0]?.children[0]?.children[0]?.interception.id, third)
      assert.deepInclude(detail.detail.session.usage, { turns: 3, input: 6, output: 4 })
    }).pipe(Effect.provide(inMemory([calls(ls), streamed("call_2", "cat", '{"path":"a.txt"}'), answered, answered])))
  )

  it.effect("has none where another tool or other arguments were called, and none of another actor", () =>
    Effect.gen(function* () {
      yield* call(question)
      for (const [body, actor] of [
        [result(calling("call_1", "rm", ls.function.arguments)), "alice"],
        [result(calling("call_1", "ls", '{"path":"/","all":true}')), "alice"],
        [result(ls), "bob"]
      ] as const) {
        const id = yield* call(body, { actor })
        assert.isNull((yield* rowOf(id)).parentId)
      }
      const same = yield* call(result(calling("call_1", "ls", '{ "all": true, "path": "." }')))
      assert.isNotNull((yield* rowOf(same)).parentId, "the same JSON in other words")
    }).pipe(Effect.provide(inMemory([calls(ls), answered, answered, answered, answered])))
  )

  it.effect("goes on from its last result", () =>
    Effect.gen(function* () {
      const first = yield* call(question)
      const second = yield* call(question)
      const both = yield* call(result(ls, calling("call_2", "pwd", "{}")))
      assert.notStrictEqual(first, second)
      assert.strictEqual((yield* rowOf(both)).parentId, second)
    }).pipe(Effect.provide(inMemory([calls(ls), calls(calling("call_2", "pwd", "{}")), answered])))
  )

  it.effect("has its parent also where it fails, or its client leaves", () =>
    Effect.gen(function* () {
      const first = yield* call(question)
      const failed = yield* call(result(ls))
      assert.deepInclude(yield* rowOf(failed), { status: "failed", parentId: first })
      const left = yield* Effect.scoped(
        Effect.map(
          Interception.open(inboundRequest({ provider: "up", body: result(ls), headers: session, actor: "alice" })),
          ({ id }) => id
        )
      )
      assert.deepInclude(yield* rowOf(left), { status: "cancelled", parentId: first })
    }).pipe(
      Effect.provide(
        inMemory([
          calls(ls),
          Turn.error(500, { error: { message: "no" } }),
          Turn.sse([event({ content: "a" }), { hang: true }])
        ])
      )
    )
  )

  it.effect(
    "is recorded though its client leaves while the store is looked into, and waits no longer than that",
    () => {
      const slow = Recordings.layerNoDeps.pipe(
        Layer.provide(
          Layer.effect(
            Recorder,
            Effect.map(Recorder, (recorder) => ({ ...recorder, toolCalls: () => Effect.never }))
          ).pipe(Layer.provide(Recorder.layerMemory))
        )
      )
      return Effect.gen(function* () {
        const recordings = yield* Recordings
        const calling = yield* Effect.forkChild(call(result(ls)), { startImmediately: true })
        yield* (yield* ScriptedUpstream).received(1)
        // Its answer has come by then, and its commit waits.
        for (let n = 0; n < 50; n++) yield* nextTurn
        assert.strictEqual((yield* recordings.rows).closes.length, 0)
        const leaving = yield* Effect.forkChild(Fiber.interrupt(calling), { startImmediately: true })
        yield* TestClock.adjust("500 millis")
        yield* Fiber.join(leaving)
        const [left] = yield* recordings.closed(1)
        assert.deepInclude(left!.interception, { status: "completed", parentId: null })
        const waiting = yield* Effect.forkChild(call(result(ls)), { startImmediately: true })
        while ((yield* recordings.rows).opens.length === 1) yield* Effect.yieldNow
        yield* TestClock.adjust("499 millis")
        assert.isUndefined(waiting.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        assert.deepInclude(yield* rowOf(yield* Fiber.join(waiting)), { status: "completed", parentId: null })
      }).pipe(Effect.provide(gateway([answered, answered]).pipe(Layer.provideMerge(slow))))
    }
  )

  for (const content of ["all", "none"] as const) {
    it.live(`finds its parent in the store after a restart, with recorder.content: ${content}`, () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const run = <A, E, R>(turns: ReadonlyArray<Turn>, effect: Effect.Effect<A, E, R>) =>
          Effect.gen(function* () {
            const built = yield* Layer.build(
              gateway(turns).pipe(Layer.provideMerge(sqlite(folder, { commitTimeout: "5 seconds", content })))
            )
            return yield* Effect.provideContext(
              effect,
              built as Context.Context<Layer.Success<ReturnType<typeof gateway>> | Recorder | R>
            )
          }).pipe(Effect.scoped)
        const parent = yield* run(
          [calls(ls), calls(ls)],
          Effect.andThen(call(question, { actor: "bob" }), call(question))
        )
        const child = yield* run(
          [answered],
          // The worker that reads has started: how long that takes is the machine's affair.
          Effect.andThen(
            Effect.flatMap(Recorder, (recorder) => recorder.sessions({ limit: 1 })),
            call(result(ls))
          )
        )
        const row = yield* run(
          [],
          Effect.flatMap(Recorder, (recorder) => recorder.interceptions({ limit: 1, session: "s1" }))
        )
        assert.strictEqual(row.interceptions[0]?.id, child)
        assert.strictEqual(row.interceptions[0]?.parentId, parent)
      })
    )
  }
})
