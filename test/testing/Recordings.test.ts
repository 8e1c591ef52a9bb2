import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Recorder } from "../../src/recorder/Recorder.ts"
import type { Interception, InterceptionClose } from "../../src/recorder/Records.ts"
import { Recordings } from "../../src/testing/index.ts"

const opened = (id: string): Interception => ({
  id,
  actor: "anonymous",
  provider: "sim",
  providerType: "simulated",
  requestedModel: "sim",
  servedModel: null,
  dialect: "openai-chat",
  transport: null,
  client: "unknown",
  sessionId: null,
  parentId: null,
  userAgent: null,
  credentialKind: "none",
  credentialHint: null,
  startedAt: 0,
  endedAt: null,
  status: null,
  error: null
})

const close = (id: string): InterceptionClose => ({ id, endedAt: 5, status: "completed", error: null })

const first = "018f4e9a-0000-7000-8000-000000000001"
const second = "018f4e9a-0000-7000-8000-000000000002"

describe("recordings", () => {
  it.effect("wait until interceptions are closed and answer them as the recorder reads them", () =>
    Effect.gen(function* () {
      const recorder = yield* Recorder
      const recordings = yield* Recordings
      const waiting = yield* Effect.forkChild(recordings.closed(2), { startImmediately: true })
      const named = yield* Effect.forkChild(recordings.closedAs(first), { startImmediately: true })
      yield* recorder.open(opened(first))
      yield* recorder.open(opened(second))
      yield* recorder.commit({ closes: [close(second)] })
      yield* TestClock.adjust(0)
      assert.isUndefined(waiting.pollUnsafe())
      assert.isUndefined(named.pollUnsafe())
      yield* recorder.commit({
        prompts: [{ interceptionId: first, turnId: "t", text: "Hi" }],
        closes: [close(first)]
      })
      const details = yield* Fiber.join(waiting)
      assert.deepStrictEqual(
        details.map(({ interception }) => [interception.id, interception.status]),
        [
          [second, "completed"],
          [first, "completed"]
        ]
      )
      const detail = yield* Fiber.join(named)
      assert.strictEqual(detail.prompts[0]!.text, "Hi")
      assert.strictEqual((yield* recordings.closed(1)).length, 2)
    }).pipe(Effect.provide(Recordings.layer))
  )

  it.effect("count a row that was written twice twice", () =>
    Effect.gen(function* () {
      const recorder = yield* Recorder
      const recordings = yield* Recordings
      yield* recorder.open(opened(first))
      yield* recorder.commit({ closes: [close(first)] })
      yield* recorder.commit({ closes: [close(first)] })
      const rows = yield* recordings.rows
      assert.deepStrictEqual([rows.opens.length, rows.closes.length, rows.turns.length], [1, 2, 0])
      assert.strictEqual((yield* recordings.batches).length, 3)
      assert.strictEqual((yield* recordings.closed(1)).length, 1)
    }).pipe(Effect.provide(Recordings.layer))
  )

  it.effect("take a rejected call, written whole, for closed", () =>
    Effect.gen(function* () {
      const recorder = yield* Recorder
      const recordings = yield* Recordings
      yield* recorder.commit({ opens: [{ ...opened(first), endedAt: 0, status: "rejected" }] })
      assert.strictEqual((yield* recordings.closed(1))[0]!.interception.status, "rejected")
    }).pipe(Effect.provide(Recordings.layer))
  )
})
