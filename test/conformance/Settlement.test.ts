import { assert, describe, it } from "@effect/vitest"
import { Effect, Latch } from "effect"
import { dialects } from "./Dialects.ts"
import { engine, settleDown } from "./Engine.ts"
import { goOut, settingOf } from "./WayOut.ts"
import { said } from "./WayOutParts.ts"
import { waysOutOf } from "./WaysOut.ts"

describe.each(dialects)("every way out of a call in $name settles once", (dialect) => {
  it.effect.each(waysOutOf(dialect))("$title", ({ way, transport }) => goOut(dialect, transport, way))

  it.effect("sse: three ways out at the same moment", () =>
    Effect.gen(function* () {
      const setting = settingOf(dialect, "sse")
      const latch = yield* Latch.make()
      const made = yield* engine(dialect, [
        setting.turn([...setting.events.body, { await: latch.await }, { cut: true }])
      ])
      const call = yield* made.call(dialect.request(true))
      yield* call.saw(said(setting))
      yield* Effect.all([latch.open, made.shutdown, call.leave], { concurrency: 3 })
      yield* settleDown()
      assert.strictEqual(made.ledger.settled().turn.status, "failed")
    })
  )
})
