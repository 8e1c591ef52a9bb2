import { readFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { MemoryCursor, Recorder } from "../../src/recorder/Recorder.ts"
import type { Memory, Turn } from "../../src/recorder/Records.ts"
import { eventually, turns } from "./eventually.ts"
import { temporaryFolder } from "./folder.ts"
import { during, open, stores } from "./recorders.ts"
import { interception, settlement, turn } from "./rows.ts"

const memory = (key: string, change: Partial<Memory> = {}): Memory => ({
  actor: "alice",
  key,
  value: `{"of":"${key}"}`,
  expiresAt: 10_000,
  ...change
})

/** All that is remembered, page by page. */
const all = (recorder: Recorder["Service"], now = 0) =>
  Effect.gen(function* () {
    const found: Array<Memory> = []
    let pages = 0
    let before: MemoryCursor | null = null
    do {
      const page: Effect.Success<ReturnType<typeof recorder.memories>> = yield* recorder.memories({ now, before })
      found.push(...page.memories)
      before = page.next
      pages++
    } while (before !== null)
    return { found, pages }
  })

const rowsIn = (folder: string): number => {
  const database = new DatabaseSync(join(folder, "records.db"), { readOnly: true })
  const row = database.prepare("SELECT count(*) AS count FROM memories").get()
  database.close()
  return Number(row?.["count"])
}

for (const { name, make } of stores) {
  describe(`memories over ${name}`, () => {
    it.effect("are read newest first, each actor's own, a newer one in the place of an older", () =>
      Effect.gen(function* () {
        const recorder = yield* make
        assert.deepStrictEqual((yield* all(recorder)).found, [])
        yield* recorder.commit({ memories: [memory("a", { expiresAt: 1 }), memory("b", { expiresAt: 2 })] })
        yield* recorder.commit({ memories: [memory("a", { actor: "bob", expiresAt: 3 })] })
        yield* recorder.commit({ memories: [memory("a", { expiresAt: 4, value: "2" })] })
        const expected = [
          memory("a", { expiresAt: 4, value: "2" }),
          memory("a", { actor: "bob", expiresAt: 3 }),
          memory("b", { expiresAt: 2 })
        ]
        assert.deepStrictEqual((yield* all(recorder)).found, expected)
        assert.deepStrictEqual((yield* all(recorder, 2)).found, expected.slice(0, 2), "expired at 2")
      })
    )

    it.effect("do not show in what is told of an interception", () =>
      Effect.gen(function* () {
        const recorder = yield* make
        yield* recorder.open(interception("i1"))
        yield* recorder.commit({ ...settlement("i1"), memories: [memory("a")] })
        assert.notInclude(JSON.stringify(yield* recorder.interception("i1")), '{\\"of\\"')
      })
    )
  })

  describe(`the turns behind a response id over ${name}`, () => {
    const id = (n: number) => `01a00000-0000-7000-8000-00000000000${n}`
    const turnsOf = (n: number, ...changes: ReadonlyArray<Partial<Turn>>) =>
      changes.map((change, index) => turn(id(n), index, { framesOut: 0, ...change }))
    const responses = (n: number, ...changes: ReadonlyArray<Partial<Turn>>) => ({
      opens: [interception(id(n), { actor: "alice", dialect: "openai-responses" as const })],
      turns: turnsOf(n, ...changes)
    })
    const is = (upstreamResponseId: string | null, change: Partial<Turn> = {}) => ({ upstreamResponseId, ...change })

    it.effect("are found by the first one's, for its actor", () =>
      Effect.gen(function* () {
        const recorder = yield* make
        const ask = (response: string, actor = "alice") => recorder.responseTurns({ actor, id: response })
        assert.isNull(yield* ask("r1"), "nothing is recorded")
        yield* recorder.commit(responses(1, is("r1"), is("r2"), is("r3")))
        yield* recorder.commit(responses(2, is("s1")))
        assert.deepStrictEqual(yield* ask("r1"), { ids: ["r1", "r2", "r3"], shownBefore: false })
        assert.isNull(yield* ask("r2"), "no client knows it")
        assert.isNull(yield* ask("s1"), "one turn")
        assert.isNull(yield* ask("r1", "bob"), "another actor")
        yield* recorder.commit({
          opens: [interception(id(3), { actor: "alice", dialect: "openai-chat" })],
          turns: turnsOf(3, is("c1"), is("c2"))
        })
        assert.isNull(yield* ask("c1"), "another protocol")
      })
    )

    it.effect(
      "are those of the newest interception where ids repeat, and only those that have an id of their own",
      () =>
        Effect.gen(function* () {
          const recorder = yield* make
          const ask = recorder.responseTurns({ actor: "alice", id: "r1" })
          // Turns of one interception land in batches of their own.
          yield* recorder.commit(responses(1, is("r1"), is("r2")))
          const later = responses(2, is("r1"), is(null), is("r1"), is("r4"))
          yield* recorder.commit({ opens: later.opens, turns: later.turns.slice(2) })
          yield* recorder.commit({ turns: later.turns.slice(0, 2) })
          assert.deepStrictEqual(yield* ask, { ids: ["r1", "r4"], shownBefore: false })
          yield* recorder.commit(responses(3, is("r1"), is("r1")))
          assert.isNull(yield* ask)
        })
    )

    it.effect("are told to have shown something before the last, unless it is known that they have not", () =>
      Effect.gen(function* () {
        const recorder = yield* make
        const cases = [
          [is("r1", { framesOut: 2 }), is("r2"), false],
          [is("r1", { framesOut: 3 }), is("r2", { framesOut: 50 }), false],
          [is("r1", { framesOut: 4 }), is("r2"), true],
          [is("r1", { transport: "json" }), is("r2", { transport: "json", framesOut: 1 }), true]
        ] as const
        for (const [n, [first, second, shownBefore]] of cases.entries()) {
          yield* recorder.commit(responses(n + 1, first, second))
          const found = yield* recorder.responseTurns({ actor: "alice", id: "r1" })
          assert.deepStrictEqual(found, { ids: ["r1", "r2"], shownBefore }, `case ${n}`)
        }
        yield* recorder.commit(responses(5, is("r1"), is("r2", { framesOut: 1 }), is("r3")))
        assert.isTrue((yield* recorder.responseTurns({ actor: "alice", id: "r1" }))?.shownBefore)
      })
    )
  })
}

describe("memories in a database", () => {
  it.effect("are there after a restart", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const value = JSON.stringify({ text: "é🕐\u0000", lone: "\ud800" })
      const [first, second] = [memory("a", { value }), memory("b", { expiresAt: 9_000 })]
      yield* during(folder, (recorder) => recorder.commit({ memories: [second, first] }))
      const { found } = yield* during(folder, (recorder) => all(recorder))
      assert.deepStrictEqual(found, [first, second])
    })
  )

  it.effect("are not stored with recorder.content: none", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const none = { content: "none" } as const
      yield* during(folder, (recorder) => recorder.commit({ memories: [memory("a")] }), none)
      assert.strictEqual(rowsIn(folder), 0)
      assert.notInclude(readFileSync(join(folder, "records.db"), "latin1"), '{"of":"a"}')
    })
  )

  it.effect("are deleted once they have expired: at the start, and now and then with what is written", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const some = Array.from({ length: 50 }, (_, n) => memory(`k${n}`, { expiresAt: 1_000 + (n < 25 ? 0 : 200_000) }))
      yield* during(folder, (recorder) => recorder.commit({ memories: some }))
      assert.strictEqual(rowsIn(folder), 50)
      yield* TestClock.adjust("1 second")
      const recorder = yield* open(folder)
      assert.strictEqual(rowsIn(folder), 25)
      yield* TestClock.adjust("200 seconds")
      assert.deepStrictEqual((yield* all(recorder, 201_000)).found, [])
      // What is swept at a time is bounded by time: so many writes are enough on any machine.
      for (let n = 0; n < 25 && rowsIn(folder) > 0; n++) yield* recorder.open(interception(`i${n}`))
      assert.strictEqual(rowsIn(folder), 0)
    })
  )

  it.effect("go through the spool, and what comes late from there is not put over what is newer", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const recorder = yield* open(folder)
      const database = new DatabaseSync(join(folder, "records.db"))
      database.exec("BEGIN IMMEDIATE")
      const late = recorder.commit({ memories: [memory("a", { expiresAt: 5, value: '"old"' }), memory("b")] })
      const committing = yield* Effect.forkChild(late, { startImmediately: true })
      yield* turns
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(committing)
      assert.deepInclude(yield* recorder.statistics, { spooledBatches: 1, lostBatches: 0 })
      // Somebody else has written the newer one meanwhile.
      database.exec(`INSERT INTO memories (actor, key, value, expires_at) VALUES ('alice', 'a', '"new"', 6)`)
      database.exec("COMMIT")
      database.close()
      yield* TestClock.adjust("1 second")
      yield* eventually(Effect.map(recorder.statistics, ({ replayedBatches }) => replayedBatches > 0))
      const { found } = yield* all(recorder)
      assert.deepStrictEqual(found, [memory("b"), memory("a", { expiresAt: 6, value: '"new"' })])
    })
  )

  it.live("by the ten thousand are stored and read quickly, by pages", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const recorder = yield* open(folder)
      const many = Array.from({ length: 10_000 }, (_, n) =>
        memory(`k${n}`, { value: `"${"x".repeat(1_000)}"`, expiresAt: 1e15 + (n >> 1) })
      )
      for (let n = 0; n < many.length; n += 100) yield* recorder.commit({ memories: many.slice(n, n + 100) })
      const started = performance.now()
      const { found, pages } = yield* all(recorder)
      assert.isBelow(performance.now() - started, 1_000)
      assert.deepStrictEqual(
        found.map(({ key }) => key),
        many.map(({ key }) => key).reverse()
      )
      assert.isAbove(pages, 10)
      assert.isBelow(pages, 30)
    })
  )
})

describe("looking for the turns behind a response id", () => {
  it.effect("goes by indexes", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* during(folder, () => Effect.void)
      const database = new DatabaseSync(join(folder, "records.db"), { readOnly: true })
      const planOf = (sql: string) =>
        database
          .prepare(`EXPLAIN QUERY PLAN ${sql}`)
          .all()
          .map((row) => String(row["detail"]))
          .join("; ")
      assert.include(planOf('SELECT 1 FROM turns WHERE "index" > 0 LIMIT 1'), "turns_later")
      assert.include(
        planOf("SELECT place FROM memories WHERE expires_at <= 5 ORDER BY expires_at LIMIT 1"),
        "memories_"
      )
      const paged = planOf(
        "SELECT * FROM memories WHERE expires_at > 1 AND (expires_at, place) < (5, 5) ORDER BY expires_at DESC, place DESC"
      )
      assert.notInclude(paged, "TEMP B-TREE")
      database.close()
    })
  )
})
