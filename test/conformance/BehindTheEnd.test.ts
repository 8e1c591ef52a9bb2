import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Step } from "../../src/testing/index.ts"
import { dialects } from "./Dialects.ts"
import { engine } from "./Engine.ts"
import { settingOf } from "./WayOut.ts"

/** The records of one call whose upstream writes in these pieces, apart from its ids. */
const recordsOf = Effect.fnUntraced(function* (dialect: (typeof dialects)[number], body: ReadonlyArray<Step>) {
  const { call, ledger } = yield* engine(dialect, [{ headers: { "content-type": "text/event-stream" }, body }])
  const answer = yield* call(dialect.request(true))
  yield* answer.ended
  const { turn, usage, batch } = ledger.settled()
  const { status, error, finishReason, framesIn, framesOut } = turn
  const { input, output, provenance, raw } = usage
  const toolCalls = (batch.toolCalls ?? []).map((made) => made.name)
  return {
    text: answer.text,
    status,
    error,
    finishReason,
    framesIn,
    framesOut,
    input,
    output,
    provenance,
    raw,
    toolCalls
  }
})

describe.each(dialects)("what an upstream of $name sends behind the end of its answer", (dialect) => {
  const { stream, events } = settingOf(dialect, "sse")
  const junk: ReadonlyArray<readonly [string, string]> = [
    ["a second end", events.end],
    ["a whole second answer", stream],
    ["an error", dialect.upstreamError("too late")],
    ["[DONE]", "data: [DONE]\n\n"],
    ["what is no JSON", "data: nothing\n\n"],
    ["an error of which nothing is said", "event: error\n\n"]
  ]

  it.effect.each(junk)("says nothing of it, in whichever chunk it comes: %s", ([, text]) =>
    Effect.gen(function* () {
      const alone = yield* recordsOf(dialect, [stream])
      const together = yield* recordsOf(dialect, [stream + text])
      const apart = yield* recordsOf(dialect, [stream, text])
      const late = yield* recordsOf(dialect, [...stream.match(/[\s\S]{1,7}/g)!, ...text])
      assert.strictEqual(together.text, stream + text)
      assert.deepStrictEqual(apart, together)
      assert.deepStrictEqual(late, together)
      assert.deepStrictEqual({ ...together, text: stream }, alone)
    }).pipe(Effect.scoped)
  )
})
