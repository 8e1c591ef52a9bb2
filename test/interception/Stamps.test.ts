import { assert, describe, it } from "@effect/vitest"
import { Effect, Latch } from "effect"
import { TestClock } from "effect/testing"
import { dialects } from "../conformance/Dialects.ts"
import { engine, settleDown } from "../conformance/Engine.ts"
import { settingOf } from "../conformance/WayOut.ts"

const started = 1_800_000_000_000

describe.each(dialects)("the stamps of a call in $name", (dialect) => {
  it.effect("count on from its start where the clock on the wall is set back meanwhile", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(started)
      const setting = settingOf(dialect, "sse")
      const { body, finish, after, end } = setting.events
      const [begin, goOn] = [yield* Latch.make(), yield* Latch.make()]
      const made = yield* engine(dialect, [
        setting.turn([
          { await: begin.await },
          body[0]!,
          { await: goOn.await },
          ...body.slice(1),
          ...finish,
          ...after,
          end
        ])
      ])
      const call = yield* made.call(dialect.request(true))
      yield* settleDown()
      yield* TestClock.adjust("200 millis")
      yield* begin.open
      yield* call.saw(body[0]!)
      yield* TestClock.setTime(started - 3_600_000)
      yield* TestClock.adjust("300 millis")
      yield* goOn.open
      yield* call.ended
      const { turn, batch } = made.ledger.settled()
      assert.deepInclude(turn, {
        status: "completed",
        startedAt: started,
        timeToFirstFrameMs: 200,
        durationMs: 500,
        endedAt: started + 500
      })
      assert.strictEqual(batch.closes![0]!.endedAt, turn.endedAt)
    })
  )
})
