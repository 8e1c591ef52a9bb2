import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer } from "effect"
import { Recorder } from "../../src/recorder/Recorder.ts"
import { layer } from "../../src/sessions/Layer.ts"
import { Sessions } from "../../src/sessions/Sessions.ts"
import { temporaryFolder } from "../recorder/folder.ts"
import { sqlite } from "../recorder/recorders.ts"
import { interception, turn } from "../recorder/rows.ts"

/** Runs as a process of its own would, over one database. */
const during = <A, E>(
  folder: string,
  run: (services: {
    readonly recorder: Recorder["Service"]
    readonly sessions: Sessions["Service"]
  }) => Effect.Effect<A, E>
) =>
  Effect.gen(function* () {
    const recorder = sqlite(folder, { commitTimeout: "5 seconds" })
    const settings = { memory: true, memory_ttl: Duration.hours(24) }
    const sessions = Layer.unwrap(Effect.map(Recorder, (store) => layer(store, settings)))
    const built = yield* Layer.build(Layer.provideMerge(sessions, recorder))
    return yield* run({ recorder: Context.get(built, Recorder), sessions: Context.get(built, Sessions) })
  }).pipe(Effect.scoped)

describe("after a restart", () => {
  it.live("what clients were not shown is there again, ten thousand entries quickly, each its actor's", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const count = 10_000
      yield* during(folder, ({ recorder, sessions }) =>
        Effect.gen(function* () {
          for (let n = 0; n < count; n += 100) {
            const entries = Array.from({ length: 100 }, (_, i) => ({
              key: `k${n + i}`,
              value: JSON.stringify({ n: n + i, text: "x".repeat(500) })
            }))
            yield* recorder.commit({ memories: sessions.remember(n % 200 === 0 ? "alice" : "bob", entries) })
          }
        })
      )
      const started = performance.now()
      yield* during(folder, ({ sessions }) =>
        Effect.gen(function* () {
          assert.isBelow(performance.now() - started, 1_000)
          const find = sessions.recall("alice")
          while (find?.("k0") === null) yield* Effect.sleep(5)
          assert.include(find?.("k0"), '"n":0,')
          assert.include(find?.("k9899"), '"n":9899,')
          assert.isNull(find?.("k100"), "another's")
          assert.include(sessions.recall("bob")?.("k100"), '"n":100,')
          assert.isNull(sessions.recall("carol"))
        })
      )
    })
  )

  it.live("the id that a client knows stands for the last turn again", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* during(folder, ({ recorder }) =>
        recorder.commit({
          opens: [interception("i1", { actor: "alice", dialect: "openai-responses" })],
          turns: ["r1", "r2"].map((upstreamResponseId, index) => turn("i1", index, { upstreamResponseId }))
        })
      )
      yield* during(folder, ({ recorder, sessions }) =>
        Effect.gen(function* () {
          // The thread that reads has started: how long that takes is the machine's affair.
          yield* recorder.sessions({ limit: 1 })
          assert.deepStrictEqual((yield* sessions.responseTurns("alice", "r1"))?.ids, ["r1", "r2"])
          assert.isNull(yield* sessions.responseTurns("bob", "r1"))
        })
      )
    })
  )
})
