import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Schema } from "effect"
import { type Interception, InterceptionDetail, Time, UsageSum } from "../../src/recorder/Records.ts"
import { temporaryFolder } from "./folder.ts"
import { open, stores } from "./recorders.ts"
import { close, interception, prompt, settlement, start, thought, toolCall, turn, usage } from "./rows.ts"

const syncFull = Effect.flatMap(temporaryFolder, (folder) => open(folder, { sync: "full" }))

describe.each([...stores, { name: "sqlite, sync full", make: syncFull }])("Recorder over $name", ({ make }) => {
  it.effect("answers everything that was committed of an interception, as it was given", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      const open = interception("i1", { sessionId: "s1" })
      yield* recorder.open(open)
      yield* recorder.commit({
        turns: [turn("i1"), turn("i1", 1, { status: "failed", error: { code: "upstream_cut", message: "cut" } })],
        prompts: [prompt("i1")],
        usage: [
          usage("i1"),
          usage("i1", 1, { input: null, output: null, raw: null, provenance: "unknown", other: {} })
        ],
        toolCalls: [
          toolCall("i1", "call_a", { arguments: '{"deep": [1, "zwei", null, {"x": true}]}' }),
          toolCall("i1", "call_b", { arguments: '"not json"', injected: true, durationMs: 4.25 })
        ],
        thoughts: [thought("i1", "first"), thought("i1", "second")],
        closes: [close("i1")]
      })
      const detail = Option.getOrThrow(yield* recorder.interception("i1"))
      assert.deepStrictEqual(detail.interception, {
        ...open,
        endedAt: start + 200,
        status: "completed",
        servedModel: "gpt-4.1-mini-2025-04-14"
      })
      assert.deepStrictEqual(detail.turns, [
        turn("i1"),
        turn("i1", 1, { status: "failed", error: { code: "upstream_cut", message: "cut" } })
      ])
      assert.deepStrictEqual(detail.prompts, [prompt("i1")])
      assert.deepStrictEqual(detail.usage, [
        usage("i1"),
        usage("i1", 1, { input: null, output: null, raw: null, provenance: "unknown", other: {} })
      ])
      assert.deepStrictEqual(detail.toolCalls, [
        toolCall("i1", "call_a", { arguments: '{"deep": [1, "zwei", null, {"x": true}]}' }),
        toolCall("i1", "call_b", { arguments: '"not json"', injected: true, durationMs: 4.25 })
      ])
      assert.deepStrictEqual(detail.thoughts, [thought("i1", "first"), thought("i1", "second")])
      const json = yield* Schema.encodeEffect(InterceptionDetail)(detail)
      assert.strictEqual(json.interception.startedAt, "2023-11-14T22:13:20.000Z")
      assert.deepStrictEqual(json.usage[0]?.raw, { prompt_tokens: 15, completion_tokens: 20 })
    })
  )

  it.effect("does not know an interception that was never opened", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      assert.isTrue(Option.isNone(yield* recorder.interception("nobody")))
    })
  )

  it.effect("keeps the first of two closes, and takes neither rows nor openings twice", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      yield* recorder.open(interception("i1"))
      yield* recorder.commit(settlement("i1"))
      yield* recorder.commit({
        opens: [interception("i1", { actor: "somebody else" })],
        turns: [turn("i1", 0, { status: "failed" })],
        usage: [usage("i1", 0, { input: 9_999 })],
        closes: [{ ...close("i1"), status: "failed" }]
      })
      const detail = Option.getOrThrow(yield* recorder.interception("i1"))
      assert.strictEqual(detail.interception.actor, "anonymous")
      assert.strictEqual(detail.interception.status, "completed")
      assert.deepStrictEqual(detail.turns, [turn("i1")])
      assert.deepStrictEqual(detail.usage, [usage("i1")])
    })
  )

  it.effect("pages through interceptions, newest first, without gap or repetition", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      for (let i = 10; i < 17; i++) yield* recorder.open(interception(`i${i}`))
      const seen: Array<string> = []
      let before: string | undefined
      let pages = 0
      do {
        const page: { interceptions: ReadonlyArray<Interception>; next: string | null } = yield* recorder.interceptions(
          {
            limit: 3,
            before
          }
        )
        seen.push(...page.interceptions.map((row) => row.id))
        before = page.next ?? undefined
        pages++
      } while (before !== undefined)
      assert.deepStrictEqual(seen, ["i16", "i15", "i14", "i13", "i12", "i11", "i10"])
      assert.strictEqual(pages, 3)
    })
  )

  it.effect("filters by actor, model asked for or served, session and upstream response", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      yield* recorder.open(interception("i1", { actor: "ann", sessionId: "s1" }))
      yield* recorder.open(interception("i2", { actor: "bob", requestedModel: "other", sessionId: "s1" }))
      yield* recorder.commit({ turns: [turn("i1")], closes: [close("i1")] })
      const ids = (filter: object) =>
        Effect.map(recorder.interceptions({ limit: 10, ...filter }), (page) => page.interceptions.map((row) => row.id))
      assert.deepStrictEqual(yield* ids({ actor: "ann" }), ["i1"])
      assert.deepStrictEqual(yield* ids({ model: "other" }), ["i2"])
      assert.deepStrictEqual(yield* ids({ model: "gpt-4.1-mini-2025-04-14" }), ["i1"])
      assert.deepStrictEqual(yield* ids({ session: "s1" }), ["i2", "i1"])
      assert.deepStrictEqual(yield* ids({ session: "s1", actor: "bob" }), ["i2"])
      assert.deepStrictEqual(yield* ids({ response: "chatcmpl-i1-0" }), ["i1"])
      assert.deepStrictEqual(yield* ids({ response: "chatcmpl-i2-0" }), [])
    })
  )

  it.effect("sums known usage by model, actor and day, and costs exactly", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      const day = 24 * 60 * 60 * 1000
      yield* recorder.commit({
        opens: [
          interception("i1", { actor: "ann" }),
          interception("i2", { actor: "ann", startedAt: start + day }),
          interception("i3", { actor: "bob", requestedModel: "rare" })
        ],
        turns: [turn("i1"), turn("i1", 1), turn("i2")],
        usage: [
          usage("i1", 0, { cost: "0.1", currency: "USD" }),
          usage("i1", 1, { cost: "0.20000000000000001", currency: "USD" }),
          usage("i2", 0, { input: null, cost: "1", currency: "USD" })
        ]
      })
      const ann = {
        key: "ann",
        interceptions: 2,
        turns: 3,
        input: 20,
        output: 60,
        cacheRead: 15,
        cacheWrite: 0,
        reasoning: 9,
        cost: "1.30000000000000001",
        currency: "USD"
      }
      const none = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, reasoning: 0, cost: null, currency: null }
      const bob = { key: "bob", interceptions: 1, turns: 0, ...none }
      assert.deepStrictEqual(yield* recorder.usage("actor"), [ann, bob])
      assert.deepStrictEqual(yield* recorder.usage("model"), [
        { ...ann, key: "fast" },
        { ...bob, key: "rare" }
      ])
      const days = yield* recorder.usage("day")
      assert.deepStrictEqual(
        days.map((row) => [row.key, row.interceptions, row.cost]),
        [
          ["2023-11-15", 1, "1"],
          ["2023-11-14", 2, "0.30000000000000001"]
        ]
      )
    })
  )

  it.effect("takes figures that no count can be as unknown, and sums the others", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      yield* recorder.open(interception("i1"))
      yield* recorder.commit({
        usage: [
          usage("i1"),
          usage("i1", 1, {
            input: 1e300,
            output: 2 ** 63,
            cacheRead: -5,
            reasoning: Number.NaN,
            other: { a: Infinity }
          }),
          usage("i1", 2, { input: 1.5, output: Number.MAX_SAFE_INTEGER, cacheRead: null })
        ]
      })
      const [sum] = yield* recorder.usage("model")
      assert.deepInclude(sum, { input: 11, output: Number.MAX_SAFE_INTEGER, cacheRead: 5, reasoning: 6 })
      yield* Schema.encodeEffect(UsageSum)(sum!)
      const detail = Option.getOrThrow(yield* recorder.interception("i1"))
      assert.deepInclude(detail.usage[1], { input: null, output: null, cacheRead: 0, reasoning: null })
      assert.deepStrictEqual(detail.usage[1]?.other, {})
      yield* Schema.encodeEffect(InterceptionDetail)(detail)
    })
  )

  it.effect("commits what many calls bring at once, and counts it", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      const ids = Array.from({ length: 300 }, (_, i) => `i${i + 100}`)
      yield* Effect.forEach(
        ids,
        (id) => Effect.andThen(recorder.open(interception(id)), recorder.commit(settlement(id))),
        { concurrency: "unbounded" }
      )
      const { interceptions } = yield* recorder.interceptions({ limit: 1_000 })
      assert.strictEqual(interceptions.length, 300)
      assert.isTrue(interceptions.every((row) => row.status === "completed"))
      const statistics = yield* recorder.statistics
      assert.strictEqual(statistics.committedBatches, 600)
      assert.strictEqual(statistics.lag.count, 600)
      assert.strictEqual(
        statistics.lag.counts.reduce((sum, count) => sum + count, 0),
        600
      )
      assert.strictEqual(statistics.queued, 0)
      assert.isTrue(yield* recorder.healthy)
    })
  )

  it.effect("commits what an interrupted fiber put, and flushes it", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      const fiber = yield* Effect.forkChild(recorder.open(interception("i1")), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      yield* recorder.flush
      assert.isTrue(Option.isSome(yield* recorder.interception("i1")))
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
    })
  )
})

describe("Recorder without content", () => {
  it.effect("keeps no prompt, thought, argument or raw usage", () =>
    Effect.gen(function* () {
      const recorder = yield* open(yield* temporaryFolder, { content: "none" })
      yield* recorder.open(interception("i1"))
      yield* recorder.commit({
        ...settlement("i1"),
        toolCalls: [toolCall("i1", "call_a")],
        thoughts: [thought("i1", "secret")]
      })
      const detail = Option.getOrThrow(yield* recorder.interception("i1"))
      assert.deepStrictEqual(detail.prompts, [])
      assert.deepStrictEqual(detail.thoughts, [])
      assert.deepStrictEqual(detail.toolCalls, [toolCall("i1", "call_a", { arguments: null })])
      assert.deepStrictEqual(detail.usage, [usage("i1", 0, { raw: null })])
    })
  )
})

describe("Records", () => {
  it.effect("presents times in UTC with milliseconds and reads them back", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Schema.encodeEffect(Time)(start + 7), "2023-11-14T22:13:20.007Z")
      assert.strictEqual(yield* Schema.decodeEffect(Time)("2023-11-14T23:13:20.007+01:00"), start + 7)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Schema.decodeEffect(Time)("yesterday"))))
    })
  )
})
