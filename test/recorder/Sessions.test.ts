import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Recorder } from "../../src/recorder/Recorder.ts"
import type { Interception, SessionDetail, SessionNode } from "../../src/recorder/Records.ts"
import { temporaryFolder } from "./folder.ts"
import { during, open, stores } from "./recorders.ts"
import { close, interception, start, toolCall, turn, usage } from "./rows.ts"

/** Opens, uses and closes an interception of a session. */
const call = (recorder: Recorder["Service"], id: string, change: Partial<Interception> = {}, cost = "0.01") =>
  Effect.gen(function* () {
    yield* recorder.open(interception(id, { sessionId: "s1", actor: "alice", ...change }))
    yield* recorder.commit({
      turns: [turn(id)],
      usage: [usage(id, 0, { cost, currency: "USD", priceVersion: "1" })],
      closes: [close(id)]
    })
  })

const ids = (nodes: ReadonlyArray<SessionNode>): ReadonlyArray<unknown> =>
  nodes.map(({ interception: { id }, children }) => (children.length === 0 ? id : [id, ids(children)]))

const found = (
  recorder: Recorder["Service"],
  id: string,
  change: { actor?: string; limit?: number; after?: string } = {}
) =>
  Effect.gen(function* () {
    const answer = yield* recorder.session({ id, limit: 500, ...change })
    assert(answer._tag === "Found")
    return answer.detail
  })

describe.each(stores)("sessions over $name", ({ make }) => {
  it.effect("are listed with their totals, those begun last first", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      yield* call(recorder, "i1", { client: "codex", startedAt: start })
      yield* call(recorder, "i2", { sessionId: "s2", client: "zed", startedAt: start + 10 })
      yield* call(recorder, "i3", { startedAt: start + 20 }, "0.02")
      yield* call(recorder, "i4", { sessionId: null })
      yield* recorder.open(interception("i5", { sessionId: "s3", actor: "bob", startedAt: start + 30 }))
      const page = yield* recorder.sessions({ limit: 10 })
      const one = { input: 10, output: 20, cacheRead: 5, cacheWrite: 0, reasoning: 3 }
      assert.deepStrictEqual(page, {
        sessions: [
          {
            id: "s3",
            client: "codex",
            actor: "bob",
            startedAt: start + 30,
            endedAt: null,
            interceptions: 1,
            usage: {
              turns: 0,
              input: 0,
              output: 0,
              cacheRead: 0,
              cacheWrite: 0,
              reasoning: 0,
              cost: null,
              currency: null
            }
          },
          {
            id: "s2",
            client: "zed",
            actor: "alice",
            startedAt: start + 10,
            endedAt: start + 200,
            interceptions: 1,
            usage: { turns: 1, ...one, cost: "0.01", currency: "USD" }
          },
          {
            id: "s1",
            client: "codex",
            actor: "alice",
            startedAt: start,
            endedAt: start + 200,
            interceptions: 2,
            usage: {
              turns: 2,
              input: 20,
              output: 40,
              cacheRead: 10,
              cacheWrite: 0,
              reasoning: 6,
              cost: "0.03",
              currency: "USD"
            }
          }
        ],
        next: null
      })
    })
  )

  it.effect("are filtered, and paged without missing one that goes on meanwhile", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      for (let i = 0; i < 7; i++) {
        yield* call(recorder, `i${i}`, {
          sessionId: `s${i}`,
          actor: i % 2 === 0 ? "alice" : "bob",
          client: `c${i % 3}`
        })
      }
      const pages = (filter: { actor?: string; client?: string }) =>
        Effect.gen(function* () {
          const seen: Array<string> = []
          let before: string | undefined
          for (let n = 0; n < 10; n++) {
            const page = yield* recorder.sessions({ limit: 2, ...filter, ...(before === undefined ? {} : { before }) })
            seen.push(page.sessions.map(({ id }) => id).join())
            if (page.next === null) break
            before = page.next
            yield* call(recorder, `j${filter.actor ?? ""}${n}`, { sessionId: "s0", actor: "alice", client: "c0" })
          }
          return seen
        })
      assert.deepStrictEqual(yield* pages({}), ["s6,s5", "s4,s3", "s2,s1", "s0"])
      assert.deepStrictEqual(yield* pages({ actor: "bob" }), ["s5,s3", "s1"])
      assert.deepStrictEqual(yield* pages({ client: "c0" }), ["s6,s3", "s0"])
      assert.deepStrictEqual(yield* pages({ actor: "nobody" }), [""])
    })
  )

  it.effect("are shown as trees by parent; what has lost its parent is a root", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      yield* call(recorder, "i1")
      yield* call(recorder, "i2", { parentId: "i1" })
      yield* call(recorder, "i3", { parentId: "i2" })
      yield* call(recorder, "i4", { parentId: "i1" })
      yield* call(recorder, "i5", { parentId: "gone" })
      yield* call(recorder, "i6", { parentId: "other" })
      yield* call(recorder, "other", { sessionId: "s2" })
      yield* call(recorder, "i7")
      const detail = yield* found(recorder, "s1")
      assert.deepStrictEqual(ids(detail.interceptions), [["i1", [["i2", ["i3"]], "i4"]], "i5", "i6", "i7"])
      assert.strictEqual(detail.session.interceptions, 7)
      assert.isNull(detail.next)
      const page = yield* recorder.interceptions({ limit: 10, session: "s1" })
      assert.strictEqual(page.interceptions.map(({ id }) => id).join(), "i7,i6,i5,i4,i3,i2,i1")
    })
  )

  it.effect("come to an end even where rows name each other as parents", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      yield* call(recorder, "i1", { parentId: "i2" })
      yield* call(recorder, "i2", { parentId: "i1" })
      yield* call(recorder, "i3", { parentId: "i3" })
      assert.deepStrictEqual(ids((yield* found(recorder, "s1")).interceptions), [["i1", ["i2"]], "i3"])
    })
  )

  it.effect("are each one actor's", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      yield* call(recorder, "i1")
      yield* call(recorder, "i2", { actor: "bob", parentId: "i1" })
      yield* call(recorder, "i3", { parentId: "i1" })
      assert.deepStrictEqual(
        (yield* recorder.sessions({ limit: 10 })).sessions.map(({ actor, interceptions }) => [actor, interceptions]),
        [
          ["bob", 1],
          ["alice", 2]
        ]
      )
      assert.deepStrictEqual(yield* recorder.session({ id: "s1", limit: 10 }), {
        _tag: "Ambiguous",
        actors: ["alice", "bob"]
      })
      assert.deepStrictEqual(ids((yield* found(recorder, "s1", { actor: "alice" })).interceptions), [["i1", ["i3"]]])
      assert.deepStrictEqual(ids((yield* found(recorder, "s1", { actor: "bob" })).interceptions), ["i2"])
      assert.deepStrictEqual(yield* recorder.session({ id: "s1", actor: "eve", limit: 10 }), { _tag: "Missing" })
      assert.deepStrictEqual(yield* recorder.session({ id: "s9", limit: 10 }), { _tag: "Missing" })
    })
  )

  it.effect("of thousands of calls, each the child of the one before, are paged whole", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      const name = (n: number) => `i${String(n).padStart(5, "0")}`
      const count = 5000
      for (let n = 0; n < count; n += 100) {
        const rows = Array.from({ length: 100 }, (_, i) => n + i)
        yield* recorder.commit({
          opens: rows.map((i) =>
            interception(name(i), { sessionId: "s1", actor: "alice", parentId: i === 0 ? null : name(i - 1) })
          ),
          closes: rows.map((i) => close(name(i)))
        })
      }
      let seen = 0
      let after: string | undefined
      let last: string | null = null
      for (;;) {
        const detail: SessionDetail = yield* found(recorder, "s1", after === undefined ? {} : { after })
        assert.strictEqual(detail.session.interceptions, count)
        assert.strictEqual(detail.interceptions.length, 1)
        let node: SessionNode | undefined = detail.interceptions[0]
        for (; node !== undefined; node = node.children[0]) {
          assert.strictEqual(node.interception.parentId, last)
          last = node.interception.id
          seen++
        }
        if (detail.next === null) break
        after = detail.next
      }
      assert.strictEqual(seen, count)
    })
  )
})

describe.each(stores)("tool calls over $name", ({ make }) => {
  const all = { actor: "alice", callId: "c", name: null, sessionId: "s1", before: "z" }

  it.effect("are found by id for their actor only, the newest first", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      for (const [id, actor] of [
        ["i1", "alice"],
        ["i2", "bob"],
        ["i3", "alice"]
      ] as const) {
        yield* call(recorder, id, { actor, sessionId: id === "i3" ? null : "s1" })
        yield* recorder.commit({
          toolCalls: [toolCall(id, "c"), toolCall(id, "d", { name: "other" }), toolCall(id, "")]
        })
      }
      const one = { name: "get_time", arguments: '{"zone":"UTC"}' }
      const byId = (rows: ReadonlyArray<{ interceptionId: string }>) =>
        [...rows]
          .map((row) => row.interceptionId)
          .sort()
          .join()
      assert.deepStrictEqual(
        [...(yield* recorder.toolCalls(all))].sort((a, b) => (a.interceptionId < b.interceptionId ? -1 : 1)),
        [
          { interceptionId: "i1", sessionId: "s1", ...one },
          { interceptionId: "i3", sessionId: null, ...one }
        ]
      )
      assert.strictEqual(byId(yield* recorder.toolCalls({ ...all, actor: "bob" })), "i2")
      assert.strictEqual(byId(yield* recorder.toolCalls({ ...all, actor: "eve" })), "")
      assert.strictEqual(byId(yield* recorder.toolCalls({ ...all, before: "i3" })), "i1")
      assert.strictEqual(byId(yield* recorder.toolCalls({ ...all, name: "other" })), "")
      assert.strictEqual(byId(yield* recorder.toolCalls({ ...all, callId: "d", name: "other" })), "i1,i3")
      assert.strictEqual(byId(yield* recorder.toolCalls({ ...all, callId: "" })), "")
    })
  )

  it.effect("of the session that is asked for are found among many others", () =>
    Effect.gen(function* () {
      const recorder = yield* make
      for (let n = 10; n < 90; n++) {
        yield* call(recorder, `i${n}`, { sessionId: n === 11 ? "s1" : `t${n}` })
        yield* recorder.commit({ toolCalls: [toolCall(`i${n}`, "c")] })
      }
      const rows = yield* recorder.toolCalls(all)
      assert.isBelow(rows.length, 40)
      assert.deepStrictEqual(
        rows.filter(({ sessionId }) => sessionId === "s1").map(({ interceptionId }) => interceptionId),
        ["i11"]
      )
    })
  )
})

describe("a large database", () => {
  it.live(
    "answers sessions and tool calls quickly",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        yield* during(folder, () => Effect.void)
        fill(join(folder, "records.db"))
        const recorder = yield* open(folder, { commitTimeout: "20 seconds" })
        yield* recorder.interceptions({ limit: 1 })
        const timed = <A, E>(name: string, limit: number, effect: Effect.Effect<A, E>) =>
          Effect.gen(function* () {
            const started = performance.now()
            const value = yield* effect
            const took = performance.now() - started
            yield* Effect.logDebug(`${name}: ${took.toFixed(1)} ms`)
            assert.isBelow(took, limit, name)
            return value
          })
        const page = yield* timed("the newest sessions", 2000, recorder.sessions({ limit: 50 }))
        assert.strictEqual(page.sessions.length, 50)
        yield* timed("those of one actor", 2000, recorder.sessions({ limit: 50, actor: "actor3" }))
        const none = yield* timed(
          "those of a client that is not there",
          5000,
          recorder.sessions({ limit: 50, client: "x" })
        )
        assert.strictEqual(none.sessions.length, 0)
        yield* timed("the last page", 2000, recorder.sessions({ limit: 50, before: idOf(700) }))
        const small = yield* timed("a session of 20 calls", 1000, recorder.session({ id: "s300", limit: 200 }))
        assert.strictEqual(small._tag, "Found")
        const big = yield* timed("a session of 5,000 calls", 2000, recorder.session({ id: "big", limit: 500 }))
        assert(big._tag === "Found")
        assert.strictEqual(big.detail.session.interceptions, 5000)
        const asked = { actor: "actor1", name: null, sessionId: "s1", before: "z" }
        const unique = yield* timed("a tool call", 500, recorder.toolCalls({ ...asked, callId: "toolu_777" }))
        assert.strictEqual(unique.length, 1)
        const counted = yield* timed(
          "one that every call has",
          2000,
          recorder.toolCalls({ ...asked, callId: "call_0" })
        )
        assert.isAbove(counted.length, 0)
      }),
    120_000
  )
})

const idOf = (n: number) => `i${String(n).padStart(6, "0")}`

/** 100,000 interceptions with turns, usage and tool calls: one session of 5,000, the others of 20, of eight actors. */
const fill = (filename: string): void => {
  const database = new DatabaseSync(filename)
  database.exec(`
    PRAGMA synchronous = OFF;
    BEGIN;
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999)
    INSERT INTO interceptions (id, instance, actor, client, session_id, parent_id, credential_kind, started_at, ended_at, status)
    SELECT printf('i%06d', i), 1, CASE WHEN i >= 95000 THEN 'actor0' ELSE 'actor' || ((i / 20) % 8) END, 'codex',
      CASE WHEN i >= 95000 THEN 'big' ELSE 's' || (i / 20) END,
      CASE WHEN i % 20 = 0 THEN NULL ELSE printf('i%06d', i - 1) END, 'none', i, i + 1, 'completed' FROM n;
    INSERT INTO turns (interception_id, id, "index", started_at, attempts, frames_in, frames_out)
    SELECT id, id || 't', 0, started_at, 1, 1, 1 FROM interceptions;
    INSERT INTO usage (interception_id, turn_id, input, output, other, provenance)
    SELECT id, id || 't', 10, 20, '{}', 'provider' FROM interceptions;
    INSERT INTO tool_calls (interception_id, batch, place, turn_id, call_id, name, arguments, injected)
    SELECT id, 1, 0, id || 't', 'call_0', 'ls', '{"path":"."}', 0 FROM interceptions;
    INSERT INTO tool_calls (interception_id, batch, place, turn_id, call_id, name, arguments, injected)
    SELECT id, 1, 1, id || 't', 'toolu_' || started_at, 'ls', '{"path":"."}', 0 FROM interceptions
    WHERE actor = 'actor1' OR started_at % 3 = 0;
    UPDATE tool_calls SET interception_id = 'i000020', place = 2 WHERE call_id = 'toolu_777';
    COMMIT;
  `)
  database.close()
}
