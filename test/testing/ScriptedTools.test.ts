import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch } from "effect"
import { TestClock } from "effect/testing"
import { ScriptedTools } from "sluice/testing"
import { ToolCatalog } from "../../src/tools/ToolCatalog.ts"

const call = (name: string, input = "{}") =>
  Effect.gen(function* () {
    const catalog = yield* ToolCatalog
    const tool = catalog.tools(null).find((offered) => offered.tool === name)
    return yield* catalog.call(tool!, input)
  })

const text = (value: string) => [{ type: "text" as const, text: value }]

describe("ScriptedTools", () => {
  it.effect("offers tools as a catalogue does, the same array until they change", () =>
    Effect.gen(function* () {
      const catalog = yield* ToolCatalog
      const scripted = yield* ScriptedTools
      const all = catalog.tools(null)
      assert.deepStrictEqual(
        all.map(({ description, inputSchema, name }) => [name, description, inputSchema]),
        [
          ["bmcp_scripted_one", "The first", '{"type":"object","properties":{}}'],
          ["bmcp_b_two", null, '{ "type":"object" }']
        ]
      )
      assert.strictEqual(catalog.tools(null), all)
      assert.strictEqual(scripted.tools, all)
      assert.deepStrictEqual(
        catalog.tools(["b"]).map(({ tool }) => tool),
        ["two"]
      )
      assert.strictEqual(catalog.tools(["b"]), catalog.tools(["b"]))
      assert.deepStrictEqual(catalog.tools([]), [])
      assert.strictEqual(catalog.servers().length, 2)
      yield* scripted.offer([])
      assert.deepStrictEqual(catalog.tools(null), [])
    }).pipe(
      Effect.provide(
        ScriptedTools.layer([
          { name: "one", description: "The first", answer: "1" },
          { name: "two", server: "b", inputSchema: '{ "type":"object" }', answer: "2" }
        ])
      )
    )
  )

  it.effect("answers with values, effects and functions of the arguments, and errors as results", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* call("plain"), { content: text("12:00"), error: null })
      assert.deepStrictEqual((yield* call("add", '{"a":1,"b":2}')).content, text("3"))
      assert.strictEqual((yield* call("broken")).error, "out of order")
      assert.strictEqual((yield* call("failing")).error, "no")
      assert.isNotNull((yield* call("plain", '{"a":')).error)
    }).pipe(
      Effect.provide(
        ScriptedTools.layer([
          { name: "plain", answer: "12:00" },
          { name: "add", answer: ({ a, b }) => String(Number(a) + Number(b)) },
          { name: "broken", answer: { content: [{ type: "text", text: "out of order" }], error: "out of order" } },
          { name: "failing", answer: Effect.fail("no") }
        ])
      )
    )
  )

  it.effect("waits by the clock or for the test, and knows how calls were over", () => {
    const latch = Latch.makeUnsafe(false)
    return Effect.gen(function* () {
      const { calls, received } = yield* ScriptedTools
      const slow = yield* Effect.forkChild(call("slow", '{"a":1}'))
      const hanging = yield* Effect.forkChild(call("hanging"))
      const latched = yield* Effect.forkChild(call("latched"))
      yield* received(3)
      assert.deepStrictEqual(
        calls.map(({ args, outcome }) => [args, outcome]),
        [
          [{ a: 1 }, undefined],
          [{}, undefined],
          [{}, undefined]
        ]
      )
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual((yield* Fiber.join(slow)).content, text("done"))
      assert.strictEqual(calls[0]!.endedAt, 5000)
      yield* Fiber.interrupt(hanging)
      assert.strictEqual(yield* calls[1]!.ended, "interrupted")
      latch.openUnsafe()
      yield* Fiber.join(latched)
      assert.strictEqual(calls[2]!.outcome, "answered")
    }).pipe(
      Effect.provide(
        ScriptedTools.layer([
          { name: "slow", answer: Effect.delay(Effect.succeed("done"), "5 seconds") },
          { name: "hanging", answer: Effect.never },
          { name: "latched", answer: Effect.as(latch.await, "open") }
        ])
      )
    )
  })
})
