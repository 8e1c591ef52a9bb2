import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { ScriptedTools } from "../../src/testing/index.ts"
import { dialects } from "./Dialects.ts"
import { eventually, rawTurn, sockets } from "./Sockets.ts"
import { answeringSlowly, countsOf, recordsOf, say, seen, shown, slowly, turnsOf, usageAt } from "./toolloop/Loop.ts"
import { clientTool } from "./toolloop/Names.ts"

/** In milliseconds. The timers are exact to 25. */
const interval = 100

const options = { config: { limits: { keep_alive: `${interval} millis` } } } as const

describe.each(dialects)("over real sockets, injected tools in $name", (dialect) => {
  const request = dialect.request(true, dialect.toolLoop.clientTools([clientTool]))

  it.live.each([
    { title: "nothing", parts: [] },
    { title: "text", parts: [say("I will look. ")] }
  ])("are waited for behind $title, the silence filled", ({ parts }) =>
    Effect.gen(function* () {
      const turns = turnsOf([...parts, slowly("one")], [say("Done.")])
      const tools = ScriptedTools.layer(answeringSlowly(Effect.delay(Effect.succeed("hidden"), 3.5 * interval)))
      const raw = turns.map((turn) => rawTurn("sse", [dialect.toolLoop.stream(turn).join("")]))
      const { call, ledger } = yield* Effect.provide(sockets(dialect, raw, options), tools)
      const answer = yield* call(request)
      assert.strictEqual(yield* answer.ended, "clean")
      const read = seen(dialect, "sse", answer.text())
      assert.isAtLeast(read.keepAlives, 2)
      assert.deepStrictEqual({ ...read, keepAlives: 0 }, shown(dialect, turns))
      assert.strictEqual(recordsOf(ledger).close.status, "completed")
    })
  )

  it.live("are given up with their client, and all connections with them", () =>
    Effect.gen(function* () {
      const [turn] = turnsOf([say("I will look. "), slowly("one")])
      const services = yield* Layer.build(ScriptedTools.layer(answeringSlowly(Effect.never)))
      const tools = Context.get(services, ScriptedTools)
      const raw = [rawTurn("sse", [dialect.toolLoop.stream(turn!).join("")])]
      const { call, ledger } = yield* Effect.provide(sockets(dialect, raw), services)
      const answer = yield* call(request)
      const [running] = yield* tools.received(1)
      answer.abort()
      assert.strictEqual(yield* running!.ended, "interrupted")
      yield* eventually("settled", () => ledger.settlements.length > 0)
      const { close, toolCalls, usage } = recordsOf(ledger)
      assert.deepStrictEqual([close.status, close.error?.code], ["cancelled", "client_gone"])
      assert.deepStrictEqual(countsOf(usage[0]!), usageAt(0))
      assert.strictEqual(toolCalls[0]!.error?.code, "client_gone")
    })
  )
})
