import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Stream } from "effect"
import { compose, type Stage, through } from "../../src/interception/stages/Stage.ts"

/** Holds numbers back until there are two, and lets the last one go at the end. */
const pairs = (): Stage<number, string> => {
  let held: Array<number> = []
  return {
    push(input, out) {
      for (const one of input) {
        held.push(one)
        if (held.length < 2) continue
        out.push(held.join("+"))
        held = []
      }
    },
    end(out) {
      if (held.length > 0) out.push(`${held.join("+")}.`)
    }
  }
}

const twice: Stage<string, string> = {
  push(input, out) {
    for (const one of input) out.push(one, one)
  },
  end(out) {
    out.push("end")
  }
}

const run = (chunks: ReadonlyArray<ReadonlyArray<number>>, verdict: (ended: boolean) => string | null = () => null) => {
  const out: Array<ReadonlyArray<string>> = []
  const source = Stream.fromIterable(chunks).pipe(Stream.flatMap((chunk) => Stream.fromIterable(chunk)))
  const stream = Stream.transformPull(Stream.rechunk(source, 3), (pull) =>
    Effect.succeed(through(compose(pairs(), twice), verdict)(pull))
  )
  return Stream.runForEachArray(stream, (some) => Effect.sync(() => out.push(some))).pipe(
    Effect.result,
    Effect.map((result) => ({ out, error: Result.isFailure(result) ? result.failure : null }))
  )
}

describe("composed stages over a stream", () => {
  it.effect("let go what was held when the end comes, the first stage's before the second's", () =>
    Effect.gen(function* () {
      const { out, error } = yield* run([[1, 2, 3, 4, 5]])
      assert.deepStrictEqual(out, [
        ["1+2", "1+2"],
        ["3+4", "3+4"],
        ["5.", "5.", "end"]
      ])
      assert.isNull(error)
    })
  )

  it.effect("deliver what was released before an error, and nothing after it", () =>
    Effect.gen(function* () {
      let asked = 0
      const { out, error } = yield* run([[1, 2, 3, 4, 5]], (ended) => (!ended && ++asked === 2 ? "stop" : null))
      assert.deepStrictEqual(out, [
        ["1+2", "1+2"],
        ["3+4", "3+4"]
      ])
      assert.strictEqual(error, "stop")
    })
  )

  it.effect("deliver what the end released before an error that the end brings", () =>
    Effect.gen(function* () {
      const { out, error } = yield* run([[1]], (ended) => (ended ? "cut" : null))
      assert.deepStrictEqual(out, [["1.", "1.", "end"]])
      assert.strictEqual(error, "cut")
    })
  )
})
