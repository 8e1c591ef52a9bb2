import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as StandardErrorLogger from "../../src/telemetry/StandardErrorLogger.ts"

describe("the log of the program itself", () => {
  it.effect("has one line for each message, with its level, its cause and its annotations", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      yield* Effect.gen(function* () {
        yield* Effect.logInfo("the spool was replayed").pipe(Effect.annotateLogs({ batches: 3, spool: "./a b.spool" }))
        yield* Effect.logError("a call failed", new Error("one\ntwo"))
        yield* Effect.logWarning("it says \u001b[2J and \u202e")
      }).pipe(Effect.provide(StandardErrorLogger.layer((line) => lines.push(line))))
      assert.strictEqual(lines.length, 3)
      assert.strictEqual(
        lines[0],
        'timestamp=1970-01-01T00:00:00.000Z level=INFO message="the spool was replayed" batches=3 spool="./a b.spool"'
      )
      assert.match(lines[1]!, /^timestamp=\S+ level=ERROR message="a call failed.*one\\ntwo/)
      assert.strictEqual(
        lines[2],
        'timestamp=1970-01-01T00:00:00.000Z level=WARN message="it says \\u001b[2J and \\u202e"'
      )
      for (const line of lines) assert.notInclude(line, "\n")
    })
  )
})
