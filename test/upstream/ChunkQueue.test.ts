import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Pull } from "effect"
import { ChunkQueue } from "../../src/upstream/ChunkQueue.ts"

const bytes = (text: string) => Buffer.from(text)

const textOf = (chunks: ReadonlyArray<Buffer>) => chunks.map((chunk) => chunk.toString())

/** One pull, as a fiber that has begun to wait. */
const pulling = <E>(queue: ChunkQueue<E>) => Effect.forkChild(queue.pull, { startImmediately: true })

/** What runs once what runs now is done, before anything of the network or a timer does. */
const microtask = Effect.promise(() => Promise.resolve())

describe("a queue of chunks", () => {
  it.effect("gives whoever waits a chunk at once, though nothing follows", () =>
    Effect.gen(function* () {
      const queue = new ChunkQueue<never>()
      const fiber = yield* pulling(queue)
      queue.offer(bytes("a"))
      yield* microtask
      const exit = fiber.pollUnsafe()
      assert.isTrue(exit !== undefined && Exit.isSuccess(exit))
      assert.deepStrictEqual(textOf(yield* Fiber.join(fiber)), ["a"])
    })
  )

  it.effect("gives all that comes in one turn together, and the end behind it", () =>
    Effect.gen(function* () {
      const queue = new ChunkQueue<never>()
      for (const ended of [false, true]) {
        const fiber = yield* pulling(queue)
        for (const text of ["a", "b", "c"]) queue.offer(bytes(text))
        if (ended) queue.end()
        assert.deepStrictEqual(textOf(yield* Fiber.join(fiber)), ["a", "b", "c"])
      }
      const exit = yield* Effect.exit(queue.pull)
      assert.isTrue(Exit.isFailure(exit) && Pull.isDoneCause(exit.cause))
    })
  )

  it.effect("gives what came before a failure, and then that", () =>
    Effect.gen(function* () {
      const queue = new ChunkQueue<string>()
      const fiber = yield* pulling(queue)
      queue.offer(bytes("a"))
      queue.fail("broken")
      queue.offer(bytes("too late"))
      assert.deepStrictEqual(textOf(yield* Fiber.join(fiber)), ["a"])
      const exit = yield* Effect.exit(queue.pull)
      assert.deepStrictEqual(exit, Exit.failCause(Cause.fail("broken")))
    })
  )

  it.effect("keeps for the next what came for one that is interrupted before it could take it", () =>
    Effect.gen(function* () {
      const queue = new ChunkQueue<never>()
      const fiber = yield* pulling(queue)
      queue.offer(bytes("a"))
      fiber.interruptUnsafe()
      yield* microtask
      queue.offer(bytes("b"))
      assert.deepStrictEqual(textOf(yield* queue.pull), ["a", "b"])
    })
  )

  it.effect("stops whoever fills it above the mark, until all of it was taken", () =>
    Effect.gen(function* () {
      const queue = new ChunkQueue<never>()
      const calls: Array<string> = []
      queue.connect({ pause: () => calls.push("pause"), resume: () => calls.push("resume") })
      for (let i = 0; i < 6; i++) queue.offer(Buffer.alloc(50_000))
      assert.deepStrictEqual([calls, queue.paused], [["pause"], true])
      assert.strictEqual((yield* queue.pull).length, 6)
      assert.deepStrictEqual([calls, queue.paused], [["pause", "resume"], false])
    })
  )
})
