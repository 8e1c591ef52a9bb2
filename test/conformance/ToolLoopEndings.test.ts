import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import type { ErrorCode } from "../../src/recorder/Records.ts"
import { type Step, Turn } from "../../src/testing/index.ts"
import { dialectTransports } from "./Dialects.ts"
import { settleDown } from "./Engine.ts"
import {
  assertAsked,
  assertRecorded,
  assertShown,
  countsOf,
  edits,
  finds,
  headersOf,
  looks,
  type Loop,
  loop,
  type LoopOptions,
  recordsOf,
  say,
  seen,
  sent,
  sentAll,
  slowly,
  think,
  type Transport,
  turnsOf,
  usageAt
} from "./toolloop/Loop.ts"
import type { LoopTurn } from "./toolloop/ToolLoopCase.ts"
import type { DialectCase } from "./DialectCase.ts"
import { error } from "./WayOutParts.ts"
import { wordOf } from "./WayOut.ts"

/** The text that a turn which breaks has shown before. */
const half = "It may be a ca"

/** A way in which the second turn fails. */
interface Failure {
  readonly name: string
  readonly transport?: Transport
  readonly turn: (dialect: DialectCase, transport: Transport) => Turn
  /** In the records. */
  readonly error: ErrorCode
  /** What the client is told. */
  readonly code: string
  readonly status: number
  /** Whether the client's error is worded by its status and not by its code. */
  readonly byStatus?: boolean
  readonly text?: string
  readonly options?: LoopOptions
  readonly takes?: "12 seconds"
}

/** The second turn as far as it came. */
const [, second] = turnsOf([looks("one")], [say(half)])

const bodyOf = (dialect: DialectCase): ReadonlyArray<string> => {
  const { endEvents, stream } = dialect.toolLoop
  return stream(second!).slice(0, -endEvents)
}

/** A turn that comes as these pieces of a stream. */
const streams = (body: (dialect: DialectCase) => ReadonlyArray<Step>) => ({
  transport: "sse" as const,
  turn: (dialect: DialectCase): Turn => ({ headers: headersOf("sse"), body: body(dialect) })
})

/** A turn of which a part of the body comes, and what happens then. */
const sendsHalf = (step: Step) => ({
  transport: "json" as const,
  turn: (dialect: DialectCase): Turn => ({
    headers: headersOf("json"),
    body: [dialect.toolLoop.body(second!).slice(0, 40), step]
  })
})

const wasCut = { error: "upstream_cut", code: "upstream_cut", status: 502 } as const
const wasMalformed = { error: "malformed", code: "upstream_malformed", status: 502 } as const
const wasSilent = { error: "timeout", code: "upstream_timeout", status: 504, takes: "12 seconds" } as const
const wasIdle = { ...wasSilent, options: { config: { limits: { idle: "9 seconds" } } } } as const

const failures: ReadonlyArray<Failure> = [
  ...([429, 500, 400] as const).map(
    (status): Failure => ({
      name: `is answered ${status}`,
      turn: () => Turn.error(status, error("no more of this"), status === 429 ? { "retry-after": "7" } : {}),
      error: "upstream_status",
      code: "upstream_error",
      status,
      byStatus: true
    })
  ),
  {
    name: "is refused",
    turn: () => Turn.refused,
    error: "upstream_unreachable",
    code: "upstream_unreachable",
    status: 502
  },
  {
    name: "gets no head in time",
    turn: () => Turn.hang,
    options: { config: { limits: { first_frame: "10 seconds" } } },
    ...wasSilent
  },
  {
    name: "comes over another transport",
    turn: (dialect, transport) => sent(dialect, transport === "sse" ? "json" : "sse", second!),
    ...wasMalformed
  },
  {
    name: "breaks off before a byte",
    turn: (_, transport) => ({ headers: headersOf(transport), body: [{ cut: true }] }),
    ...wasCut
  },
  {
    name: "breaks off before any text",
    ...streams((dialect) => [...bodyOf(dialect).slice(0, 1), { cut: true }]),
    ...wasCut
  },
  {
    name: "breaks off behind text",
    ...streams((dialect) => [...bodyOf(dialect), { cut: true }]),
    text: half,
    ...wasCut
  },
  {
    name: "breaks off inside an event",
    ...streams((dialect) => [...bodyOf(dialect), dialect.toolLoop.stream(second!)[1]!.slice(0, 25), { cut: true }]),
    text: half,
    ...wasCut
  },
  { name: "ends without an end", ...streams(bodyOf), text: half, ...wasCut },
  { name: "breaks off inside its body", ...sendsHalf({ cut: true }), ...wasCut },
  {
    name: "is malformed behind text",
    ...streams((dialect) => [...bodyOf(dialect), dialect.malformed[0]!.event]),
    text: half,
    ...wasMalformed
  },
  {
    name: "is malformed at once",
    turn: (dialect, transport) => ({
      headers: headersOf(transport),
      body: transport === "sse" ? [dialect.malformed[0]!.event] : "upstream timeout"
    }),
    ...wasMalformed
  },
  {
    name: "falls silent behind text",
    ...streams((dialect) => [...bodyOf(dialect), { hang: true }]),
    text: half,
    ...wasIdle
  },
  { name: "falls silent inside its body", ...sendsHalf({ hang: true }), ...wasIdle }
]

const statusesOf = (made: Loop) => {
  const { close, toolCalls, turns } = recordsOf(made.ledger)
  return {
    turns: turns.map((turn) => [turn.status, turn.error?.code ?? null]),
    close: [close.status, close.error?.code ?? null],
    calls: toolCalls.map((call) => [call.callId, call.error?.code ?? null])
  }
}

describe.each(dialectTransports)("with injected tools in $title", ({ dialect, transport }) => {
  const isStream = transport === "sse"
  const { shape } = dialect.toolLoop
  const upstream = (turns: ReadonlyArray<LoopTurn>) => sentAll(dialect, transport, turns)

  const known = failures.filter((failure) => (failure.transport ?? transport) === transport)
  const preambles = [[], [say("I will look. ")]]
  const cases = known.flatMap((failure) =>
    preambles.map((preamble) => ({
      failure,
      preamble,
      title: `${failure.name}${preamble.length === 0 ? "" : ", behind a preamble"}`
    }))
  )

  it.effect.each(cases)("a second turn that $title is an honest error", ({ failure, preamble }) =>
    Effect.gen(function* () {
      const [first] = turnsOf([...preamble, looks("one")], [])
      const turns = [sent(dialect, transport, first!), failure.turn(dialect, transport)]
      const made = yield* loop(dialect, transport, turns, failure.options)
      const call = yield* made.ask()
      yield* settleDown()
      if (failure.takes !== undefined) {
        assert.strictEqual(call.ending, "open")
        yield* TestClock.adjust(failure.takes)
      }
      yield* call.ended
      if (isStream) {
        assert.strictEqual(call.ending, "clean")
        const read = seen(dialect, transport, call.text)
        const said = failure.text === undefined ? [] : [say(failure.text)]
        assert.deepStrictEqual(read.parts, shape([...preamble, ...said]))
        assert.deepStrictEqual([read.id, read.stop, read.usage, read.ended], [first!.id, null, null, false])
        assert.isNotNull(read.error, "no error event")
        if (failure.byStatus !== true)
          assert.strictEqual(read.error!.code, wordOf(dialect, failure.code, "event"), read.error!.message)
      } else {
        assert.isNotNull(call.refused, call.text)
        assert.strictEqual(call.refused!.status, failure.status)
        assert.strictEqual(call.refused!.code, failure.code)
        const body = dialect.readErrorBody(call.refused!.body)
        assert.isNotNull(body)
        if (failure.byStatus !== true) assert.strictEqual(body!.code, wordOf(dialect, failure.code, "body"))
        assert.notMatch(call.refused!.body, /hidden|bmcp_/)
        if (failure.status === 429) assert.strictEqual(call.refused!.headers["retry-after"], "7")
      }
      assert.deepStrictEqual(statusesOf(made), {
        turns: [
          ["completed", null],
          ["failed", failure.error]
        ],
        close: ["failed", failure.error],
        calls: [["hidden_look_one", null]]
      })
      const { usage } = recordsOf(made.ledger)
      assert.deepStrictEqual(countsOf(usage[0]!), usageAt(0))
      assert.notStrictEqual(usage[1]!.provenance, "provider")
      for (const request of made.upstream.requests) assert.isDefined(request.outcome, "an exchange was left open")
    })
  )

  it.effect("an error that the upstream reports in its second stream goes on", () =>
    Effect.gen(function* () {
      if (!isStream) return
      const [first] = turnsOf([say("I will look. "), looks("one")], [])
      const body = [...bodyOf(dialect), dialect.upstreamError("overloaded")]
      const made = yield* loop(dialect, transport, [
        sent(dialect, transport, first!),
        { headers: headersOf("sse"), body }
      ])
      const call = yield* made.ask()
      yield* call.ended
      const read = seen(dialect, transport, call.text)
      assert.deepStrictEqual(read.parts, shape([say("I will look. "), say(half)]))
      assert.strictEqual(read.error?.message, "overloaded")
      assert.deepStrictEqual(statusesOf(made).close, ["failed", "upstream_status"])
    })
  )

  const brokenFirsts = [
    { name: "is cut", tail: [{ cut: true }], expected: "upstream_cut" },
    { name: "ends early", tail: [], expected: "upstream_cut" }
  ] as const
  it.effect.each(brokenFirsts)("a first turn that $name behind an injected call runs nothing", ({ expected, tail }) =>
    Effect.gen(function* () {
      if (!isStream) return
      const [first] = turnsOf([say("I will look. "), looks("one")], [])
      const events = dialect.toolLoop.stream(first!).slice(0, -dialect.toolLoop.endEvents)
      for (const count of [events.length - 2, events.length]) {
        const made = yield* loop(dialect, transport, [
          { headers: headersOf("sse"), body: [...events.slice(0, count), ...tail] }
        ])
        const call = yield* made.ask()
        yield* call.ended
        const read = seen(dialect, transport, call.text)
        assert.deepStrictEqual(read.parts, shape([say("I will look. ")]))
        assert.strictEqual(read.error?.code, wordOf(dialect, "upstream_cut", "event"))
        assert.strictEqual(made.tools.calls.length, 0)
        const { calls, close, turns } = statusesOf(made)
        assert.deepStrictEqual([close, turns], [["failed", expected], [["failed", expected]]])
        for (const [id, code] of calls) assert.deepStrictEqual([id, code], ["hidden_look_one", "internal"])
      }
    })
  )

  const incomplete = [
    { name: "ours", parts: [say("I will look. "), looks("one")] },
    { name: "of both sides", parts: [say("I will. "), edits("one"), looks("two")] },
    { name: "ours, and nothing said", parts: [looks("one")] }
  ]
  it.effect.each(incomplete)("a turn that was cut short with calls $name ends, and runs nothing", ({ parts }) =>
    Effect.gen(function* () {
      const turns = turnsOf({ parts, stop: "length" })
      const made = yield* loop(dialect, transport, upstream(turns))
      const call = yield* made.ask()
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertRecorded(dialect, recordsOf(made.ledger), turns, { last: "incomplete" })
      assert.strictEqual(made.tools.calls.length, 0)
    })
  )

  it.effect("a client that leaves during a tool closes everything", () =>
    Effect.gen(function* () {
      for (const parts of [[slowly("one")], [say("I will. "), slowly("one")], [slowly("one"), edits("two")]]) {
        const turns = turnsOf(parts)
        const made = yield* loop(dialect, transport, upstream(turns))
        const call = yield* made.ask()
        const [running] = yield* made.tools.received(1)
        yield* settleDown()
        yield* TestClock.adjust("3 seconds")
        yield* call.leave
        assert.strictEqual(running!.outcome, "interrupted")
        assert.isDefined(made.upstream.requests[0]!.outcome)
        const { calls, close, turns: settled } = statusesOf(made)
        assert.deepStrictEqual(close, ["cancelled", "client_gone"])
        assert.deepStrictEqual(settled, [["completed", null]])
        assert.deepStrictEqual(
          calls.find(([id]) => id === "hidden_slow_one"),
          ["hidden_slow_one", "client_gone"]
        )
        assert.strictEqual(calls.length, parts.filter((part) => part.type === "call").length)
        const records = recordsOf(made.ledger)
        assert.deepStrictEqual(countsOf(records.usage[0]!), usageAt(0))
        const row = records.toolCalls.find((one) => one.callId === "hidden_slow_one")!
        assert.strictEqual(row.durationMs, 3000)
        if (isStream) {
          const said = parts.filter(
            (part) => part !== parts.find((one) => one.type === "call" && one.id.startsWith("hidden"))
          )
          assert.deepStrictEqual(seen(dialect, transport, call.text).parts, shape(said))
        }
      }
    })
  )

  it.effect("a client that leaves while one tool is done and another runs", () =>
    Effect.gen(function* () {
      const made = yield* loop(dialect, transport, upstream(turnsOf([looks("one"), slowly("two")])))
      const call = yield* made.ask()
      yield* made.tools.received(2)
      yield* settleDown()
      yield* call.leave
      const { calls, close } = statusesOf(made)
      assert.deepStrictEqual(close, ["cancelled", "client_gone"])
      assert.deepStrictEqual(calls, [
        ["hidden_look_one", null],
        ["hidden_slow_two", "client_gone"]
      ])
    })
  )

  const hanging: ReadonlyArray<{ readonly name: string; readonly turn: Turn; readonly text: string }> = [
    { name: "before its head", turn: Turn.hang, text: "" },
    { name: "behind its head", turn: { headers: headersOf(transport), body: [{ hang: true }] }, text: "" },
    {
      name: "in the middle",
      turn: {
        headers: headersOf(transport),
        body: [...(isStream ? bodyOf(dialect) : [dialect.toolLoop.body(second!).slice(0, 40)]), { hang: true }]
      },
      text: isStream ? half : ""
    }
  ]
  it.effect.each(hanging)("a client that leaves during the second turn, $name", ({ text, turn }) =>
    Effect.gen(function* () {
      const [first] = turnsOf([say("I will look. "), looks("one")], [])
      const made = yield* loop(dialect, transport, [sent(dialect, transport, first!), turn])
      const call = yield* made.ask()
      yield* made.upstream.received(2)
      yield* settleDown()
      yield* call.leave
      assert.strictEqual(made.upstream.requests[1]!.outcome, "aborted")
      assert.deepStrictEqual(statusesOf(made), {
        turns: [
          ["completed", null],
          ["cancelled", "client_gone"]
        ],
        close: ["cancelled", "client_gone"],
        calls: [["hidden_look_one", null]]
      })
      if (isStream) {
        const said = text === "" ? [] : [say(text)]
        assert.deepStrictEqual(seen(dialect, transport, call.text).parts, shape([say("I will look. "), ...said]))
      }
    })
  )

  it.effect("a client that leaves while the records of a turn and its calls are written", () =>
    Effect.gen(function* () {
      const made = yield* loop(dialect, transport, upstream(turnsOf([looks("one")], [say("Done.")])))
      made.ledger.hold()
      const call = yield* made.ask()
      yield* made.tools.received(1)
      yield* settleDown()
      yield* Effect.all(
        [
          call.leave,
          Effect.andThen(
            settleDown(),
            Effect.sync(() => made.ledger.release())
          )
        ],
        {
          concurrency: 2
        }
      )
      const { calls, close, turns } = statusesOf(made)
      assert.deepStrictEqual(turns[0], ["completed", null])
      assert.include(["cancelled", "completed"], close[0])
      assert.deepStrictEqual(calls, [["hidden_look_one", null]])
    })
  )

  it.effect("a client that leaves while the end of the last turn waits for its records has finished", () =>
    Effect.gen(function* () {
      for (const turns of [
        turnsOf([slowly("one")], [say("Done.")]),
        turnsOf([say("I "), slowly("one"), edits("two")])
      ]) {
        const made = yield* loop(dialect, transport, upstream(turns))
        const call = yield* made.ask()
        yield* made.tools.received(1)
        yield* settleDown()
        // The turn with calls is on record by now.
        made.ledger.hold()
        yield* Effect.forkChild(
          Effect.andThen(
            settleDown(() => made.ledger.settlements.length > 0),
            Effect.sync(() => made.ledger.release())
          )
        )
        yield* TestClock.adjust("5 seconds")
        yield* settleDown(() => made.ledger.settlements.length > 0)
        yield* call.leave
        assertRecorded(dialect, recordsOf(made.ledger), turns)
      }
    })
  )

  it.effect("a client that leaves in the second turn, which is read to its end (on_client_gone: drain)", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I will look. "), looks("one")], [say(half)])
      const whole = isStream ? dialect.toolLoop.stream(turns[1]!) : [dialect.toolLoop.body(turns[1]!)]
      const pieces = isStream ? whole : [whole[0]!.slice(0, 40), whole[0]!.slice(40)]
      const at = isStream ? bodyOf(dialect).length : 1
      const made = yield* loop(
        dialect,
        transport,
        [
          sent(dialect, transport, turns[0]!),
          { headers: headersOf(transport), body: [...pieces.slice(0, at), { wait: "3 seconds" }, ...pieces.slice(at)] }
        ],
        { config: { on_client_gone: "drain", limits: { drain: "10 seconds" } } }
      )
      const call = yield* made.ask()
      yield* made.upstream.received(2)
      yield* settleDown()
      yield* Effect.all([call.leave, TestClock.adjust("3 seconds")], { concurrency: 2 })
      assert.deepStrictEqual(statusesOf(made), {
        turns: [
          ["completed", null],
          ["cancelled", "client_gone"]
        ],
        close: ["cancelled", "client_gone"],
        calls: [["hidden_look_one", null]]
      })
      const { usage } = recordsOf(made.ledger)
      assert.deepStrictEqual(countsOf(usage[1]!), usageAt(1))
      assert.strictEqual(usage[1]!.provenance, "provider")
    })
  )

  it.effect("a client that leaves before calls that are drained: none of them is run", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I will look. "), looks("one")])
      const whole = isStream ? dialect.toolLoop.stream(turns[0]!) : [dialect.toolLoop.body(turns[0]!)]
      const pieces = isStream ? whole : [whole[0]!.slice(0, 40), whole[0]!.slice(40)]
      const made = yield* loop(
        dialect,
        transport,
        [{ headers: headersOf(transport), body: [...pieces.slice(0, 1), { wait: "3 seconds" }, ...pieces.slice(1)] }],
        { config: { on_client_gone: "drain", limits: { drain: "10 seconds" } } }
      )
      const call = yield* made.ask()
      yield* made.upstream.received(1)
      yield* settleDown()
      yield* Effect.all([call.leave, TestClock.adjust("3 seconds")], { concurrency: 2 })
      assert.strictEqual(made.tools.calls.length, 0)
      const { calls, close } = statusesOf(made)
      assert.deepStrictEqual(close, ["cancelled", "client_gone"])
      assert.deepStrictEqual(countsOf(recordsOf(made.ledger).usage[0]!), usageAt(0))
      assert.strictEqual(calls.length, 1)
      assert.isNotNull(calls[0]![1], "a call that was not run is recorded as if it had been")
    })
  )

  it.effect("a client that leaves during a tool does not wait for it (on_client_gone: drain)", () =>
    Effect.gen(function* () {
      const made = yield* loop(dialect, transport, upstream(turnsOf([slowly("one")])), {
        config: { on_client_gone: "drain", limits: { drain: "10 seconds" } }
      })
      const call = yield* made.ask()
      const [running] = yield* made.tools.received(1)
      yield* settleDown()
      yield* call.leave
      assert.strictEqual(running!.outcome, "interrupted")
      assert.deepStrictEqual(statusesOf(made).close, ["cancelled", "client_gone"])
    })
  )

  it.effect("the last turn that tools.max_turns allows is asked with tools forbidden", () =>
    Effect.gen(function* () {
      const turns = turnsOf([looks("one")], [think("Hm"), finds("two")], [say("Done.")])
      const made = yield* loop(dialect, transport, upstream(turns), { config: { tools: { max_turns: 3 } } })
      const call = yield* made.ask()
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertAsked(dialect, made, turns)
      assertRecorded(dialect, recordsOf(made.ledger), turns)
      assert.deepStrictEqual(
        made.upstream.requests.map((request) => dialect.toolLoop.forbids(request.json as object)),
        [false, false, true]
      )
    })
  )

  it.effect("a single turn leaves no room for tools", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("Done.")])
      const made = yield* loop(dialect, transport, upstream(turns), { config: { tools: { max_turns: 1 } } })
      const call = yield* made.ask()
      yield* call.ended
      assert.deepStrictEqual(dialect.toolLoop.offered(made.upstream.requests[0]!.json as object), ["my_edit"])
      assertRecorded(dialect, recordsOf(made.ledger), turns)
    })
  )

  it.effect.each([false, true].map((strict) => ({ strict })))(
    "calls in the last turn that is allowed are an error (strict: $strict)",
    ({ strict }) =>
      Effect.gen(function* () {
        const turns = turnsOf([say("I look. "), looks("one")], [say("Once more. "), finds("two")])
        const made = yield* loop(dialect, transport, upstream(turns), { config: { tools: { max_turns: 2, strict } } })
        const call = yield* made.ask()
        yield* call.ended
        assert.deepStrictEqual(
          made.upstream.requests.map((request) => dialect.toolLoop.forbids(request.json as object)),
          [false, !strict]
        )
        assert.strictEqual(made.tools.calls.length, 1)
        if (isStream) {
          const read = seen(dialect, transport, call.text)
          assert.deepStrictEqual(read.parts, shape([say("I look. "), say("Once more. ")]))
          assert.strictEqual(read.error?.code, wordOf(dialect, "max_turns_reached", "event"))
        } else {
          assert.deepStrictEqual([call.refused?.status, call.refused?.code], [500, "max_turns_reached"])
        }
        const { calls, close, turns: settled } = statusesOf(made)
        assert.strictEqual(close[0], "failed")
        assert.deepStrictEqual(settled, [
          ["completed", null],
          ["completed", null]
        ])
        const { usage } = recordsOf(made.ledger)
        assert.deepStrictEqual(usage.map(countsOf), [usageAt(0), usageAt(1)])
        assert.deepStrictEqual(calls[0], ["hidden_look_one", null])
        assert.strictEqual(calls.length, 2, "the call that was not run is not on record")
        assert.isNotNull(calls[1]![1])
      })
  )

  it.effect("calls of both sides in the last turn that is allowed are run as ever", () =>
    Effect.gen(function* () {
      const turns = turnsOf([looks("one")], [finds("two"), edits("three")])
      const made = yield* loop(dialect, transport, upstream(turns), { config: { tools: { max_turns: 2 } } })
      const call = yield* made.ask()
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertRecorded(dialect, recordsOf(made.ledger), turns)
    })
  )

  it.effect("a shutdown during a tool", () =>
    Effect.gen(function* () {
      for (const parts of [
        [say("I will. "), slowly("one")],
        [say("I will. "), slowly("one"), edits("two")]
      ]) {
        const made = yield* loop(dialect, transport, upstream(turnsOf(parts)))
        const call = yield* made.ask()
        const [running] = yield* made.tools.received(1)
        yield* settleDown()
        yield* made.shutdown
        yield* call.ended
        assert.strictEqual(running!.outcome, "interrupted")
        if (isStream) {
          const read = seen(dialect, transport, call.text)
          assert.strictEqual(read.error?.code, wordOf(dialect, "shutting_down", "event"))
          assert.isFalse(read.ended)
        } else assert.deepStrictEqual([call.refused?.status, call.refused?.code], [503, "shutting_down"])
        const { calls, close, turns } = statusesOf(made)
        assert.deepStrictEqual(close, ["failed", "shutdown"])
        assert.deepStrictEqual(turns, [["completed", null]])
        assert.isNotNull(calls.find(([id]) => id === "hidden_slow_one")![1])
        assert.strictEqual(calls.length, parts.length - 1)
      }
    })
  )

  it.effect.each(hanging)("a shutdown during the second turn, $name", ({ text, turn }) =>
    Effect.gen(function* () {
      const [first] = turnsOf([say("I will look. "), looks("one")], [])
      const made = yield* loop(dialect, transport, [sent(dialect, transport, first!), turn])
      const call = yield* made.ask()
      yield* made.upstream.received(2)
      yield* settleDown()
      yield* made.shutdown
      yield* call.ended
      if (isStream) {
        const read = seen(dialect, transport, call.text)
        const said = text === "" ? [] : [say(text)]
        assert.deepStrictEqual(read.parts, shape([say("I will look. "), ...said]))
        assert.strictEqual(read.error?.code, wordOf(dialect, "shutting_down", "event"))
      } else assert.deepStrictEqual([call.refused?.status, call.refused?.code], [503, "shutting_down"])
      assert.deepStrictEqual(statusesOf(made), {
        turns: [
          ["completed", null],
          ["failed", "shutdown"]
        ],
        close: ["failed", "shutdown"],
        calls: [["hidden_look_one", null]]
      })
      assert.isDefined(made.upstream.requests[1]!.outcome)
    })
  )
})
