import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { RecorderError } from "../../src/recorder/RecorderError.ts"
import type { SessionStore } from "../../src/sessions/Layer.ts"
import { type Memory, Sessions } from "../../src/sessions/Sessions.ts"
import { remembering } from "./remembering.ts"

const entry = (key: string, value = `"${key}"`) => ({ key, value })

const memory = (key: string, change: Partial<Memory> = {}): Memory => ({
  ...entry(key),
  actor: "alice",
  expiresAt: 1_000_000,
  ...change
})

const broken = RecorderError.failed("read", new Error("no such table"))

/** Keeps what is logged as a warning, in place of the console. */
const warnings = (kept: Array<string>) =>
  Logger.layer([
    Logger.make(({ logLevel, message }) => {
      if (logLevel === "Warn") kept.push(String(Array.isArray(message) ? message[0] : message))
    })
  ])

describe("what clients are not shown", () => {
  it.effect("is kept for its actor, answered as it is to be recorded, and found until it expires", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(500)
      const sessions = yield* Sessions
      assert.isNull(sessions.recall("alice"))
      const rows = sessions.remember("alice", [entry("a"), entry("b")])
      assert.deepStrictEqual(rows, [
        { actor: "alice", key: "a", value: '"a"', expiresAt: 60_500 },
        { actor: "alice", key: "b", value: '"b"', expiresAt: 60_500 }
      ])
      assert.isNull(sessions.recall("bob"))
      const find = sessions.recall("alice")
      assert.strictEqual(find?.("a"), '"a"')
      assert.isNull(find?.("c"))
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(find?.("b"), '"b"')
      yield* TestClock.adjust("1 second")
      assert.isNull(find?.("b"))
    }).pipe(Effect.provide(remembering({}, { memory_ttl: Duration.minutes(1) })))
  )

  it.effect("is not kept where tools.memory is off, nor read from the records", () => {
    let asked = 0
    const memories: SessionStore["memories"] = () => {
      asked++
      return Effect.succeed({ memories: [memory("a")], next: null })
    }
    return Effect.gen(function* () {
      const sessions = yield* Sessions
      assert.deepStrictEqual(sessions.remember("alice", [entry("a")]), [])
      assert.isNull(sessions.recall("alice"))
      assert.strictEqual(asked, 0)
    }).pipe(Effect.provide(remembering({ memories }, { memory: false })))
  })

  it.effect("is kept for an hour where tools.memory is off and the upstream waits for it, and not recorded", () =>
    Effect.gen(function* () {
      const sessions = yield* Sessions
      assert.deepStrictEqual(sessions.remember("alice", [entry("a"), { ...entry("b"), owed: true }]), [])
      assert.isNull(sessions.recall("alice")?.("a"))
      assert.isNotNull(sessions.recall("alice")?.("b"))
      yield* TestClock.adjust("1 hour")
      assert.isNull(sessions.recall("alice")?.("b"))
    }).pipe(Effect.provide(remembering({}, { memory: false })))
  )

  it.effect("is not recorded where it is larger than all the room", () =>
    Effect.gen(function* () {
      const sessions = yield* Sessions
      const large = { ...entry("a"), value: "x".repeat(10_000) }
      assert.deepStrictEqual(
        sessions.remember("alice", [large, entry("b")]).map(({ key }) => key),
        ["b"]
      )
    }).pipe(Effect.provide(remembering({}, {}, 4_096)))
  )

  it.effect("is bounded by its bytes, read from the records up to that, the newest first", () => {
    const asked: Array<unknown> = []
    const pages = [["a", "b"], ["c", "d"], ["e"]].map((keys) => keys.map((key) => memory(key)))
    const memories: SessionStore["memories"] = (query) => {
      asked.push(query.before?.place)
      const place = query.before === null ? 0 : query.before.place
      const next = { expiresAt: 0, place: place + 1 }
      return Effect.succeed({ memories: pages[place]!, next: place === 2 ? null : next })
    }
    return Effect.gen(function* () {
      const sessions = yield* Sessions
      const kept = () => ["a", "b", "c", "d", "e"].filter((key) => sessions.recall("alice")?.(key))
      assert.deepStrictEqual(kept(), ["a", "b", "c"])
      assert.deepStrictEqual(asked, [undefined, 1], "there was no room for the third page")
      sessions.remember("bob", [entry("z")])
      assert.deepStrictEqual(kept(), ["a", "b"])
    }).pipe(Effect.provide(remembering({ memories }, {}, 3 * 270)))
  })

  it.effect("does not keep the gateway from starting where it cannot be read, or takes long", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const start = (memories: SessionStore["memories"]) =>
        Effect.map(Layer.build(remembering({ memories })), (built) => built.mapUnsafe.get(Sessions.key))
      yield* start(() => Effect.fail(broken))
      assert.deepStrictEqual(logged, ["what earlier processes remembered could not be read from the records"])
      yield* start(() => Effect.die("defect"))
      assert.strictEqual(logged.length, 2)

      const slow = yield* Deferred.make<void>()
      const starting = yield* Effect.forkChild(
        start(() => Effect.as(Deferred.await(slow), { memories: [memory("a"), memory("b")], next: null })),
        { startImmediately: true }
      )
      yield* TestClock.adjust("249 millis")
      assert.isUndefined(starting.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const sessions = (yield* Fiber.join(starting)) as Sessions["Service"]
      sessions.remember("alice", [entry("a", '"new"')])
      yield* Deferred.succeed(slow, undefined)
      yield* Effect.yieldNow
      assert.strictEqual(sessions.recall("alice")?.("b"), '"b"', "it comes beside the first calls")
      assert.strictEqual(sessions.recall("alice")?.("a"), '"new"')
      assert.strictEqual(logged.length, 2)
    }).pipe(Effect.scoped, Effect.provide(warnings(logged)))
  })
})

describe("the turns behind a response id", () => {
  const turns = { ids: ["r1", "r2"], shownBefore: false }

  it.effect("are known of this process's interceptions, for their actor", () => {
    let asked = 0
    const responseTurns: SessionStore["responseTurns"] = () => {
      asked++
      return Effect.succeed(null)
    }
    return Effect.gen(function* () {
      const sessions = yield* Sessions
      sessions.chained("alice", "r1", turns)
      assert.deepStrictEqual(yield* sessions.responseTurns("alice", "r1"), turns)
      assert.strictEqual(asked, 0)
      assert.isNull(yield* sessions.responseTurns("bob", "r1"))
      assert.strictEqual(asked, 1)
      // The newest wins where an upstream repeats its ids.
      sessions.chained("alice", "r1", null)
      assert.isNull(yield* sessions.responseTurns("alice", "r1"))
      assert.strictEqual(asked, 1)
      for (let n = 0; n < 5_000; n++) sessions.chained("alice", `s${n}`, null)
      sessions.chained("alice", "s1", turns)
      assert.deepStrictEqual(yield* sessions.responseTurns("alice", "s1"), turns)
      for (let n = 0; n < 10_000; n++) sessions.chained("alice", `t${n}`, null)
      yield* sessions.responseTurns("alice", "s1")
      assert.strictEqual(asked, 2, "so many are remembered and no more")
    }).pipe(Effect.provide(remembering({ responseTurns })))
  })

  it.effect("are looked up of earlier ones, within half a second", () => {
    const logged: Array<string> = []
    const responseTurns: SessionStore["responseTurns"] = ({ actor, id }) =>
      actor !== "alice" ? Effect.never : id === "r1" ? Effect.succeed(turns) : Effect.fail(broken)
    return Effect.gen(function* () {
      const sessions = yield* Sessions
      assert.deepStrictEqual(yield* sessions.responseTurns("alice", "r1"), turns)
      assert.isNull(yield* sessions.responseTurns("alice", "r2"))
      assert.deepStrictEqual(logged, ["the turns behind a response id could not be looked up"])
      const slow = yield* Effect.forkChild(sessions.responseTurns("bob", "r1"), { startImmediately: true })
      yield* TestClock.adjust("499 millis")
      assert.isUndefined(slow.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.isNull(yield* Fiber.join(slow))
    }).pipe(Effect.provide(Layer.mergeAll(remembering({ responseTurns }), warnings(logged))))
  })
})
