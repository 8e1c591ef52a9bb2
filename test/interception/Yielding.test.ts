import { assert, describe, it } from "@effect/vitest"
import { Effect, Pull, References } from "effect"
import { ChunkQueue } from "../../src/upstream/ChunkQueue.ts"

/** How many chunks go through the queue, each offered only once the one before was taken. */
const chunks = 300

/** A fiber gives way to others after so many steps, so that it does so at each step of a pull in some of these. */
const paces = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13]

describe("a chunk that comes while the fiber that pulls gives way to others", () => {
  // It is lost until the next one comes, and the end for good: `pull` looks at the queue in one step and begins to
  // wait in another.
  it.live("wakes it", () =>
    Effect.gen(function* () {
      for (const pace of paces) {
        const queue = new ChunkQueue<never>()
        let taken = 0
        let offered = 0
        const offer = () => {
          if (offered++ < chunks) queue.offer(Buffer.from("x"))
          else queue.end()
        }
        const read = Effect.gen(function* () {
          for (let open = true; open; ) {
            const some = yield* queue.pull.pipe(Pull.catchDone(() => Effect.succeed(null)))
            if (some === null) open = false
            else {
              taken += some.length
              setImmediate(offer)
            }
          }
        })
        setImmediate(offer)
        const done = yield* read.pipe(
          Effect.provideService(References.MaxOpsBeforeYield, pace),
          Effect.timeoutOption("1 second")
        )
        assert.strictEqual(`${done._tag} ${taken}`, `Some ${chunks}`, `at pace ${pace}`)
      }
    })
  )
})
