import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { dialects, transports } from "../conformance/Dialects.ts"
import { loop, looks, recordsOf, say, sent, turnsOf } from "../conformance/toolloop/Loop.ts"
import type { CallPart } from "../conformance/toolloop/ToolLoopCase.ts"
import { openAiResponsesCase } from "../conformance/OpenAiResponsesCase.ts"

const rows = dialects.flatMap((dialect) =>
  transports.map((transport) => ({ dialect, transport, title: `${dialect.name}, ${transport}` }))
)

/** A call of a tool that nobody has. */
const unknown: CallPart = { type: "call", id: "call_gone_1", name: "bmcp_gone_hidden", arguments: "{}" }

describe.each(rows)("turns that end on calls of tools, in $title", ({ dialect, transport }) => {
  const upstream = (turns: ReturnType<typeof turnsOf>) => turns.map((turn) => sent(dialect, transport, turn))

  it.effect("answer a call of a tool of ours that is not there with an error, unseen by the client", () =>
    Effect.gen(function* () {
      const made = yield* loop(dialect, transport, upstream(turnsOf([unknown], [say("Done.")])))
      const call = yield* made.ask()
      yield* call.ended
      assert.notInclude(call.text, "bmcp_")
      assert.include(made.upstream.requests[1]!.body!.toString(), "There is no such tool")
      const [row] = recordsOf(made.ledger).toolCalls
      assert.deepStrictEqual([row?.injected, row?.serverUrl, row?.error?.code], [true, null, "upstream_unreachable"])
    }).pipe(Effect.scoped)
  )

  it.effect("leave calls to a client that declares a tool of such a name", () =>
    Effect.gen(function* () {
      const made = yield* loop(dialect, transport, upstream(turnsOf([unknown])))
      const call = yield* made.ask(dialect.toolLoop.clientTools([unknown.name]))
      yield* call.ended
      assert.include(call.text, unknown.name)
      assert.strictEqual(made.upstream.requests.length, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("run so many calls and no more, and say so to the model", () =>
    Effect.gen(function* () {
      const calls = Array.from({ length: 130 }, (_, n) => looks(`place ${n}`))
      const made = yield* loop(dialect, transport, upstream(turnsOf(calls, [say("Done.")])))
      const call = yield* made.ask()
      yield* call.ended
      assert.strictEqual(made.tools.calls.length, 128)
      const body = made.upstream.requests[1]!.body!.toString()
      assert.strictEqual(body.split("Not run: more than 128 calls").length - 1, 2)
      assert.strictEqual(recordsOf(made.ledger).toolCalls.length, 130)
    }).pipe(Effect.scoped)
  )

  it.effect("leave out results that are too large together", () =>
    Effect.gen(function* () {
      const calls = Array.from({ length: 20 }, (_, n) => looks(`place ${n}`))
      const made = yield* loop(dialect, transport, upstream(turnsOf(calls, [say("Done.")])), {
        config: { tools: { max_result_bytes: 1000 } },
        tools: [
          { name: "hidden_look", answer: "x".repeat(1000) },
          { name: "hidden_find", answer: "" },
          { name: "hidden_slow", answer: "" }
        ]
      })
      const call = yield* made.ask()
      yield* call.ended
      const body = made.upstream.requests[1]!.body!.toString()
      assert.strictEqual(body.split("x".repeat(1000)).length - 1, 16)
      assert.strictEqual(body.split("are too large together").length - 1, 4)
    }).pipe(Effect.scoped)
  )
})

describe("an answer whose later turn is refused", () => {
  it.effect("is not to be asked for again, for its tools would run again", () =>
    Effect.gen(function* () {
      const [first] = turnsOf([looks("here")])
      const broken = { status: 503, headers: {}, body: '{"error":{"message":"busy"}}' }
      const made = yield* loop(openAiResponsesCase, "json", [sent(openAiResponsesCase, "json", first!), broken])
      const call = yield* made.ask()
      yield* call.ended
      assert.strictEqual(call.refused?.status, 503)
      assert.strictEqual(call.refused?.headers["x-should-retry"], "false")
    }).pipe(Effect.scoped)
  )
})
