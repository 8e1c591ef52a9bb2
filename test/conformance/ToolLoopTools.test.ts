import { assert, describe, it } from "@effect/vitest"
import { Effect, Latch } from "effect"
import { TestClock } from "effect/testing"
import type { ScriptedTool } from "../../src/testing/index.ts"
import { dialectTransports } from "./Dialects.ts"
import { settleDown } from "./Engine.ts"
import {
  answeringSlowly,
  assertAsked,
  assertRecorded,
  assertShown,
  edits,
  finds,
  headersOf,
  looks,
  loop,
  recordsOf,
  resultOf,
  say,
  seen,
  sent,
  sentAll,
  slowly,
  turnsOf
} from "./toolloop/Loop.ts"
import type { LoopTurn } from "./toolloop/ToolLoopCase.ts"

describe.each(dialectTransports)("tools in $title", ({ dialect, transport }) => {
  const upstream = (turns: ReadonlyArray<LoopTurn>) => sentAll(dialect, transport, turns)
  const isStream = transport === "sse"

  it.effect("run at once, and their results stand in the order of the calls", () =>
    Effect.gen(function* () {
      const turns = turnsOf([slowly("one"), slowly("two"), slowly("three")], [say("Done.")])
      const latches = [0, 1, 2].map(() => Latch.makeUnsafe(false))
      const tools = answeringSlowly((_, { index }) => Effect.as(latches[index]!.await, `hidden ${index}`))
      const made = yield* loop(dialect, transport, upstream(turns), { tools })
      const call = yield* made.ask()
      const calls = yield* made.tools.received(3)
      assert.deepStrictEqual(
        calls.map(({ input, outcome }) => [JSON.parse(input), outcome]),
        turns[0]!.parts.map((part) => [JSON.parse(part.type === "call" ? part.arguments : ""), undefined])
      )
      for (const at of [2, 0, 1]) {
        assert.strictEqual(made.upstream.requests.length, 1)
        yield* latches[at]!.open
        yield* settleDown()
      }
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertAsked(dialect, made, turns, ({ id }) => ({
        callId: id,
        text: `hidden ${["one", "two", "three"].indexOf(id.replace("hidden_slow_", ""))}`,
        isError: false
      }))
      assertRecorded(dialect, recordsOf(made.ledger), turns)
    })
  )

  it.effect("run no more at once than tools.concurrency says", () =>
    Effect.gen(function* () {
      const turns = turnsOf(
        ["a", "b", "c", "d", "e"].map((word) => slowly(word)),
        [say("Done.")]
      )
      const made = yield* loop(dialect, transport, upstream(turns), { config: { tools: { concurrency: 2 } } })
      const call = yield* made.ask()
      yield* made.tools.received(2)
      for (const known of [2, 4, 5]) {
        yield* settleDown()
        assert.strictEqual(made.tools.calls.length, known)
        yield* TestClock.adjust("5 seconds")
      }
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertAsked(dialect, made, turns)
      const records = recordsOf(made.ledger)
      assertRecorded(dialect, records, turns)
      for (const { durationMs } of records.toolCalls) assert.strictEqual(durationMs, 5000)
    })
  )

  it.effect("are recorded with how long they took, and the turn without", () =>
    Effect.gen(function* () {
      const turns = turnsOf([looks("one"), slowly("two")], [say("Done.")])
      const made = yield* loop(dialect, transport, upstream(turns))
      const call = yield* made.ask()
      yield* made.tools.received(2)
      yield* settleDown()
      yield* TestClock.adjust("5 seconds")
      yield* call.ended
      const { toolCalls, turns: rowsOfTurns } = recordsOf(made.ledger)
      assert.deepStrictEqual(
        toolCalls.map((one) => one.durationMs),
        [0, 5000]
      )
      assert.deepStrictEqual(
        rowsOfTurns.map(({ durationMs, startedAt }) => [startedAt - rowsOfTurns[0]!.startedAt, durationMs]),
        [
          [0, 0],
          [5000, 0]
        ]
      )
    })
  )

  const failures: ReadonlyArray<{
    readonly name: string
    readonly answer: ScriptedTool["answer"]
    readonly says: string
    readonly records: string
    readonly takes?: "60 seconds" | "3 seconds"
  }> = [
    {
      name: "says that it failed",
      answer: { content: [{ type: "text", text: "hidden trouble" }], error: "trouble" },
      says: "hidden trouble",
      records: "trouble"
    },
    {
      name: "takes too long, which its catalogue answers",
      answer: Effect.as(Effect.sleep("60 seconds"), {
        content: [{ type: "text", text: "hidden: no answer within 60 seconds" } as const],
        error: "timed out"
      }),
      says: "hidden: no answer within 60 seconds",
      records: "timed out",
      takes: "60 seconds"
    },
    {
      name: "loses its server in the middle",
      answer: Effect.delay(Effect.fail("hidden: socket hang up"), "3 seconds"),
      says: "hidden: socket hang up",
      records: "hidden: socket hang up",
      takes: "3 seconds"
    }
  ]

  it.effect.each(failures)("go on beside one that $name", ({ answer, records: why, says, takes }) =>
    Effect.gen(function* () {
      const turns = turnsOf([say("Well. "), slowly("one"), looks("two")], [say("So what.")])
      const made = yield* loop(dialect, transport, upstream(turns), { tools: answeringSlowly(answer) })
      const call = yield* made.ask()
      yield* made.tools.received(2)
      yield* settleDown()
      if (takes !== undefined) {
        assert.strictEqual(made.upstream.requests.length, 1)
        yield* TestClock.adjust(takes)
      }
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertAsked(dialect, made, turns, (one) =>
        one.name.endsWith("hidden_slow") ? { callId: one.id, text: says, isError: true } : resultOf(one)
      )
      const records = recordsOf(made.ledger)
      assertRecorded(dialect, records, turns, { errors: { hidden_slow_one: "upstream_status" } })
      const failed = records.toolCalls.find((one) => one.callId === "hidden_slow_one")!
      assert.strictEqual(failed.error?.message, why)
      assert.strictEqual(failed.durationMs, takes === undefined ? 0 : Number.parseInt(takes, 10) * 1000)
    })
  )

  it.effect("may answer 5 MB", () =>
    Effect.gen(function* () {
      const turns = turnsOf([slowly("one")], [say("Long.")])
      const large = "hidden ".repeat(750_000)
      const made = yield* loop(dialect, transport, upstream(turns), { tools: answeringSlowly(large) })
      const call = yield* made.ask()
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertAsked(dialect, made, turns, ({ id }) => ({ callId: id, text: large, isError: false }))
    })
  )

  it.effect.each(['{"q":', "nonsense", "[1]", '"text"', "7"])("answer arguments that are %s with an error", (written) =>
    Effect.gen(function* () {
      // Where arguments are no text in a body, a body cannot hold what is no JSON.
      if (!isStream && !dialect.toolLoop.textArguments) return
      const turns = turnsOf([say("Well. "), looks("one", written), finds("two")], [say("So what.")])
      const made = yield* loop(dialect, transport, upstream(turns))
      const call = yield* made.ask()
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      const said = dialect.toolLoop.goesOn(
        made.upstream.requests[0]!.json as object,
        made.upstream.requests[1]!.json as object
      )
      assert.deepStrictEqual(said.results, [
        { callId: "hidden_look_one", text: "The arguments are not a JSON object.", isError: true },
        resultOf(finds("two"))
      ])
      const { toolCalls } = recordsOf(made.ledger)
      const row = toolCalls.find((one) => one.callId === "hidden_look_one")!
      assert.strictEqual(row.error?.code, "upstream_status")
      // What is no JSON is recorded as text.
      const kept = JSON.parse(row.arguments!) as unknown
      assert.deepStrictEqual(kept, ['{"q":', "nonsense"].includes(written) ? written : JSON.parse(written))
    })
  )

  it.effect("that break the gateway itself end the interception, and no other way", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("Well. "), slowly("one")])
      const made = yield* loop(dialect, transport, upstream(turns), {
        tools: answeringSlowly(Effect.die("hidden defect"))
      })
      const call = yield* made.ask()
      yield* call.ended
      const records = recordsOf(made.ledger)
      assert.strictEqual(records.close.error?.code, "internal")
      assert.deepStrictEqual(
        records.turns.map((turn) => turn.status),
        ["completed"]
      )
      assert.strictEqual(records.toolCalls.length, 1)
      // Without a stream a defect is one for whoever called, who answers it as any other.
      if (!isStream) assert.strictEqual(call.ending, "broken")
      else {
        const read = seen(dialect, transport, call.text)
        assert.isNotNull(read.error)
        assert.deepStrictEqual(read.parts, dialect.toolLoop.shape([say("Well. ")]))
        assert.strictEqual(call.ending, "clean")
      }
    })
  )

  it.effect("wait for nothing: what their turn said is there while they run", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I will look. "), slowly("one"), say("Soon. ")], [say("Done.")])
      const made = yield* loop(dialect, transport, upstream(turns), { config: { limits: { idle: "2 seconds" } } })
      const call = yield* made.ask()
      yield* made.tools.received(1)
      yield* settleDown()
      // The upstream has said all; its connection is not kept.
      assert.isDefined(made.upstream.requests[0]!.outcome)
      assert.strictEqual(call.ending, "open")
      if (isStream) {
        const read = seen(dialect, transport, call.text)
        assert.deepStrictEqual(read.parts, dialect.toolLoop.shape([say("I will look. "), say("Soon. ")]))
        assert.deepStrictEqual([read.stop, read.ended, read.usage], [null, false, null])
      } else assert.isNull(call.answer)
      yield* TestClock.adjust("5 seconds")
      yield* call.ended
      assertShown(dialect, transport, call, turns)
    })
  )

  it.effect("of a turn with calls of both sides keep its end waiting, and nothing else", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I will. "), slowly("one"), edits("two")])
      const made = yield* loop(dialect, transport, upstream(turns))
      const call = yield* made.ask()
      yield* made.tools.received(1)
      yield* settleDown()
      assert.strictEqual(call.ending, "open")
      if (isStream) {
        const read = seen(dialect, transport, call.text)
        assert.deepStrictEqual(read.parts, dialect.toolLoop.shape([say("I will. "), edits("two")]))
        assert.deepStrictEqual([read.stop, read.ended, read.usage], [null, false, null])
      }
      yield* TestClock.adjust("5 seconds")
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertRecorded(dialect, recordsOf(made.ledger), turns)
      assert.strictEqual(made.upstream.requests.length, 1)
    })
  )

  it.effect("run as soon as the turn has ended, though its connection stays open", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I will look. "), looks("one")], [say("Done.")])
      if (!isStream) return
      const stream = dialect.toolLoop.stream(turns[0]!)
      const made = yield* loop(dialect, transport, [
        { headers: headersOf(transport), body: [...stream, { hang: true }] },
        sent(dialect, transport, turns[1]!)
      ])
      const call = yield* made.ask()
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertRecorded(dialect, recordsOf(made.ledger), turns)
    })
  )

  it.effect.each(
    [[], [say("I will look. ")]].map((parts) => ({ parts, title: parts.length === 0 ? "nothing" : "text" }))
  )("leave room for keep-alives behind $title", ({ parts }) =>
    Effect.gen(function* () {
      const turns = turnsOf([...parts, slowly("one")], [looks("two")], [slowly("three")], [say("Done.")])
      const made = yield* loop(dialect, transport, upstream(turns))
      const call = yield* made.ask()
      let fills = 0
      for (const received of [1, 3]) {
        yield* made.tools.received(received)
        yield* settleDown()
        for (let n = 0; n < 2 && isStream; n++) {
          const fill = call.answer!.keepAlive()
          assert.isNotNull(fill)
          call.chunks.push(fill!.bytes)
          fills++
        }
        yield* TestClock.adjust("5 seconds")
      }
      yield* call.ended
      if (isStream) assert.isNull(call.answer!.keepAlive(), "silence is filled behind the end")
      assertShown(dialect, transport, call, turns, { keepAlives: fills })
    })
  )

  it.effect("and turns wait for no record: only the end of the answer does", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I will look. "), looks("one")], [say("Done.")])
      const made = yield* loop(dialect, transport, upstream(turns))
      made.ledger.hold()
      const call = yield* made.ask()
      yield* settleDown(() => made.ledger.settlements.length > 0)
      yield* settleDown()
      assert.strictEqual(call.ending, "open")
      assert.strictEqual(made.upstream.requests.length, 2, "the second turn waits for the records of the first")
      if (isStream) {
        const read = seen(dialect, transport, call.text)
        assert.deepStrictEqual(read.parts, dialect.toolLoop.shape([say("I will look. "), say("Done.")]))
        assert.isFalse(read.ended)
      } else assert.isNull(call.answer)
      made.ledger.release()
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertRecorded(dialect, recordsOf(made.ledger), turns)
    })
  )

  it.effect("of a turn with calls of both sides: its end waits for its records", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I will. "), looks("one"), edits("two")])
      const made = yield* loop(dialect, transport, upstream(turns))
      made.ledger.hold()
      const call = yield* made.ask()
      yield* settleDown()
      yield* settleDown()
      assert.strictEqual(call.ending, "open")
      if (isStream) assert.isFalse(seen(dialect, transport, call.text).ended)
      made.ledger.release()
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertRecorded(dialect, recordsOf(made.ledger), turns)
    })
  )
})
