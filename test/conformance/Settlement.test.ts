import { assert, describe, it } from "@effect/vitest"
import { Effect, Latch } from "effect"
import { dialects, transports } from "./Dialects.ts"
import { engine, settleDown } from "./Engine.ts"
import { leavingFinished, leavingUnfinished, otherWaysOut } from "./OtherWaysOut.ts"
import { finishedWaysOut, upstreamWaysOut } from "./UpstreamWaysOut.ts"
import { goOut, settingOf, type WayOut } from "./WayOut.ts"
import { failedEarly, said } from "./WayOutParts.ts"

describe.each(dialects)("every way out of a call in $name settles once", (dialect) => {
  const malformed = dialect.malformed.map(
    (one): WayOut => ({
      name: `an event that is ${one.name}`,
      transport: "sse",
      turns: (it) => [it.turn([...it.events.body, one.event, ...it.events.finish, it.events.end])],
      expected: failedEarly("malformed"),
      saw: (it) => ({ text: said(it), errorEvent: "upstream_malformed" })
    })
  )
  const cut = dialect.cutStreams.map(
    (one): WayOut => ({
      name: `a stream that ends with ${one.name}`,
      transport: "sse",
      turns: (it) => [it.turn(one.body)],
      expected: {
        status: "failed",
        error: "upstream_cut",
        ...(one.usage === undefined ? { provenance: "unknown" } : { provenance: "partial", usage: one.usage })
      },
      saw: () => ({ text: one.delivered, errorEvent: "upstream_cut" }),
      ...(one.request === undefined ? {} : { request: one.request })
    })
  )
  const behindFinish = dialect.leftAfterFinish === "completed" ? leavingFinished : leavingUnfinished
  const finished = dialect.events({}).finish.length === 0 ? [] : [...finishedWaysOut, ...behindFinish]
  const rows = [...upstreamWaysOut, ...otherWaysOut, ...malformed, ...cut, ...finished].flatMap((way) =>
    transports
      .filter((transport) => (way.transport ?? transport) === transport)
      .map((transport) => ({ way, transport, title: `${transport}: ${way.name}` }))
  )

  it.effect.each(rows)("$title", ({ way, transport }) => goOut(dialect, transport, way))

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
