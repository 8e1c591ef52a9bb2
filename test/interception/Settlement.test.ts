import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import type { TurnSummary } from "../../src/dialect/Dialect.ts"
import { beginTurn, Settlement } from "../../src/interception/Settlement.ts"
import { Recorder } from "../../src/recorder/Recorder.ts"
import type { Interception } from "../../src/recorder/Records.ts"
import { Sessions } from "../../src/sessions/Sessions.ts"
import { Recordings } from "../../src/testing/Recordings.ts"
import { interception, start } from "../recorder/rows.ts"
import { remembering } from "../sessions/remembering.ts"

const completed = { status: "completed", error: null, complete: true } as const

const sightOf = (responseId: string | null) => {
  const summary: TurnSummary = {
    responseId,
    model: "m-1",
    finishReason: null,
    outcome: "completed",
    ended: true,
    usage: null,
    toolCalls: [],
    thoughts: [],
    error: null
  }
  return { framesIn: 1, overflowed: false, summary }
}

const turnOf = (index: number) => beginTurn(`t${index}`, index, start)

const setting = (change: Partial<Interception> = {}) =>
  Effect.gen(function* () {
    const built = yield* Layer.build(Layer.merge(remembering({}), Recordings.layer))
    const sessions = Context.get(built, Sessions)
    const settlement = new Settlement({
      row: interception("i1", { actor: "alice", dialect: "openai-responses", ...change }),
      recorder: Context.get(built, Recorder),
      sessions,
      observe: () => undefined,
      now: () => start,
      asked: null,
      socket: undefined
    })
    return { settlement, sessions, recordings: Context.get(built, Recordings) }
  })

describe("an interception that is settled", () => {
  it.effect("puts what its client was not shown on record together with its end, for its actor", () =>
    Effect.gen(function* () {
      const { recordings, sessions, settlement } = yield* setting()
      settlement.remember([])
      settlement.remember([{ key: "a", value: "1" }])
      settlement.remember([{ key: "b", value: "2" }])
      assert.strictEqual(sessions.recall("alice")?.("a"), "1", "at once in this process")
      assert.isNull(sessions.recall("anonymous"))
      yield* settlement.settleTurn(turnOf(0), sightOf("r1"), completed)
      assert.deepStrictEqual((yield* recordings.rows).memories, [])
      yield* settlement.settle(turnOf(1), sightOf("r2"), completed)
      const batch = (yield* recordings.batches).at(-1)!
      assert.strictEqual(batch.closes?.length, 1)
      assert.deepStrictEqual(
        batch.memories?.map(({ actor, key, value }) => [actor, key, value]),
        [
          ["alice", "a", "1"],
          ["alice", "b", "2"]
        ]
      )
      settlement.remember([{ key: "c", value: "3" }])
      assert.isNull(sessions.recall("alice")?.("c"), "it would not come on record")
    })
  )

  it.effect("has no memories on record where there is nothing to remember", () =>
    Effect.gen(function* () {
      const { recordings, settlement } = yield* setting()
      yield* settlement.settle(turnOf(0), sightOf("r1"), completed)
      assert.notProperty((yield* recordings.batches).at(-1), "memories")
    })
  )

  it.effect("lets its first response's id stand for all its turns", () =>
    Effect.gen(function* () {
      const { sessions, settlement } = yield* setting()
      yield* settlement.settleTurn(turnOf(0), sightOf("r1"), completed)
      yield* settlement.settleTurn(turnOf(1), sightOf(null), completed)
      const settling = settlement.settle(turnOf(2), sightOf("r3"), completed)
      assert.isNotNull(yield* sessions.responseTurns("alice", "r1"), "before anybody is told of its end")
      yield* settling
      assert.deepStrictEqual(yield* sessions.responseTurns("alice", "r1"), { ids: ["r1", "r3"], shownBefore: false })
      assert.isNull(yield* sessions.responseTurns("bob", "r1"))
    })
  )

  it.effect("of another protocol, or of one turn, stands for nothing else", () =>
    Effect.gen(function* () {
      const chat = yield* setting({ dialect: "openai-chat" })
      yield* chat.settlement.settleTurn(turnOf(0), sightOf("c1"), completed)
      yield* chat.settlement.settle(turnOf(1), sightOf("c2"), completed)
      assert.isNull(yield* chat.sessions.responseTurns("alice", "c1"))
      const single = yield* setting()
      single.sessions.chained("alice", "r1", { ids: ["r1", "r0"], shownBefore: true })
      yield* single.settlement.settle(turnOf(0), sightOf("r1"), completed)
      assert.isNull(yield* single.sessions.responseTurns("alice", "r1"), "the newest wins")
    })
  )
})
