import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { IdleTimers, type Watched } from "../../src/upstream/Upstream.ts"

/** Expires once, at a moment of the timers' own. */
const alarm = (due: number, expire: () => void): Watched => ({
  due: () => due,
  expire: () => {
    expire()
    return "done"
  }
})

const boom = (): never => {
  throw new Error("boom")
}

describe("the idle timers", () => {
  it.effect("count on where the clock on the wall is set back", () =>
    Effect.gen(function* () {
      const timers = yield* IdleTimers
      yield* TestClock.setTime(3_600_000)
      const before = timers.now()
      let expired = false
      timers.watch(
        alarm(before + 1_000, () => {
          expired = true
        })
      )
      yield* TestClock.adjust("500 millis")
      yield* TestClock.setTime(1_000)
      assert.strictEqual(yield* Clock.currentTimeMillis, 1_000)
      assert.strictEqual(timers.now(), before + 500)
      yield* TestClock.adjust("400 millis")
      assert.isFalse(expired)
      yield* TestClock.adjust("3700 seconds")
      assert.isTrue(expired)
    }).pipe(Effect.provide(IdleTimers.layer))
  )

  it.effect.each(["due", "expire"] as const)("go on for all others where one fails in its %s, and say so", (method) => {
    const said: Array<string> = []
    const logger = Logger.make((entry) => {
      said.push(`${entry.logLevel} ${String(entry.message)}`)
    })
    return Effect.gen(function* () {
      const timers = yield* IdleTimers
      const expired: Array<string> = []
      let asked = 0
      timers.watch(alarm(100, () => expired.push("before")))
      timers.watch({
        // It can be watched, and fails once it is asked again.
        due: () => (method === "due" && asked++ > 0 ? boom() : 100),
        expire: boom
      })
      timers.watch(alarm(100, () => expired.push("beside")))
      timers.watch(alarm(200, () => expired.push("later")))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(expired, ["before", "beside"])
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(expired, ["before", "beside", "later"])
      timers.watch(alarm(300, () => expired.push("new")))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(expired, ["before", "beside", "later", "new"])
      assert.strictEqual(timers.size(), 0)
      assert.strictEqual(said.length, 1)
      assert.match(said[0]!, /^Error a timer failed/)
    }).pipe(Effect.provide(IdleTimers.layer.pipe(Layer.provideMerge(Logger.layer([logger])))))
  })

  it.effect("do not ask what another's expiring has ended, and never twice at one moment", () =>
    Effect.gen(function* () {
      const timers = yield* IdleTimers
      let ended = 0
      let insisted = 0
      const second = alarm(100, () => ended++)
      timers.watch(alarm(100, () => timers.unwatch(second)))
      timers.watch(second)
      timers.watch({
        due: () => 100,
        expire: () => {
          insisted++
          return "again"
        }
      })
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual([ended, insisted], [0, 1])
    }).pipe(Effect.provide(IdleTimers.layer))
  )
})
