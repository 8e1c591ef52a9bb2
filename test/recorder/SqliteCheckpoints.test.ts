import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { Checkpoints } from "../../src/recorder/SqliteCheckpoints.ts"

/** Checkpoints that are answered by hand. */
const scripted = Effect.gen(function* () {
  const writer = { pages: 0 }
  const asked: Array<Deferred.Deferred<boolean>> = []
  const checkpoint = Effect.suspend(() => {
    const answer = Deferred.makeUnsafe<boolean>()
    asked.push(answer)
    return Deferred.await(answer)
  })
  const checkpoints = new Checkpoints(writer, checkpoint, Effect.runForkWith(yield* Effect.context<never>()))
  const write = (pages: number) => {
    writer.pages += pages
    checkpoints.written()
  }
  const answer = (all: boolean) => Effect.andThen(Deferred.succeed(asked.at(-1)!, all), Effect.yieldNow)
  return { writer, asked, checkpoints, write, answer }
})

describe("Checkpoints", () => {
  it.effect("run one at a time, when the log has grown enough", () =>
    Effect.gen(function* () {
      const { asked, write } = yield* scripted
      write(1_999)
      assert.strictEqual(asked.length, 0)
      write(1)
      write(5_000)
      assert.strictEqual(asked.length, 1)
    })
  )

  it.effect("take the log for empty when nothing was written meanwhile", () =>
    Effect.gen(function* () {
      const { writer, asked, write, answer } = yield* scripted
      write(2_000)
      yield* answer(true)
      assert.strictEqual(writer.pages, 0)
      write(1_999)
      assert.strictEqual(asked.length, 1)
    })
  )

  it.effect("have writing wait once the log is large and steady writing keeps it from being begun anew", () =>
    Effect.gen(function* () {
      const { writer, checkpoints, write, answer } = yield* scripted
      for (let i = 0; i < 4; i++) {
        assert.isFalse(checkpoints.due)
        write(2_000)
        writer.pages += 10
        yield* answer(true)
      }
      assert.isTrue(checkpoints.due)
      const waiting = yield* Effect.forkChild(checkpoints.whileNobodyWrites, { startImmediately: true })
      assert.isUndefined(waiting.pollUnsafe())
      yield* answer(true)
      assert.strictEqual(writer.pages, 0)
      assert.isFalse(checkpoints.due)
    })
  )

  it.effect("do not have writing wait again at once where a reader holds on to the log", () =>
    Effect.gen(function* () {
      const { writer, checkpoints, write, answer } = yield* scripted
      write(8_000)
      yield* answer(false)
      assert.isTrue(checkpoints.due)
      yield* Effect.forkChild(checkpoints.whileNobodyWrites, { startImmediately: true })
      yield* answer(false)
      assert.strictEqual(writer.pages, 8_000)
      write(2_000)
      yield* answer(false)
      assert.isFalse(checkpoints.due)
      write(6_000)
      yield* answer(false)
      assert.isTrue(checkpoints.due)
    })
  )
})
