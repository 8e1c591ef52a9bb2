import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Turn } from "../../src/testing/index.ts"
import { replyUsage } from "./Dialects.ts"
import { settleDown } from "./Engine.ts"
import {
  cancelled,
  cancelledEarly,
  failed,
  failedEarly,
  finished,
  limited,
  pieces,
  said,
  whole
} from "./WayOutParts.ts"
import type { WayOut } from "./WayOut.ts"

const leaving: ReadonlyArray<WayOut> = [
  {
    name: "a client that leaves before the head",
    turns: () => [Turn.hang],
    meanwhile: (call) => Effect.andThen(settleDown(), call.leave),
    expected: { ...cancelled, httpStatus: null },
    saw: () => ({ text: "", ending: "left" })
  },
  {
    name: "a client that leaves between two attempts",
    options: { config: { retries: { times: 2 } } },
    turns: () => [Turn.error(500, "")],
    meanwhile: (call) => Effect.andThen(settleDown(), call.leave),
    expected: { ...cancelled, httpStatus: null },
    saw: () => ({ text: "", ending: "left" })
  },
  {
    name: "a client that leaves behind the head and before the first byte",
    turns: (it) => [it.turn([{ hang: true }])],
    meanwhile: (call) => Effect.andThen(settleDown(), call.leave),
    expected: { ...cancelled, httpStatus: 200 },
    saw: () => ({ text: "", ending: "left" })
  },
  {
    name: "a client that leaves in the middle of a body",
    transport: "json",
    turns: (it) => [it.turn([it.body.slice(0, 50), { hang: true }])],
    meanwhile: (call) => Effect.andThen(settleDown(), call.leave),
    expected: cancelled,
    saw: () => ({ text: "", ending: "left" })
  },
  {
    name: "a client that leaves behind the first byte",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, { hang: true }])],
    meanwhile: (call, _, it) => Effect.andThen(call.saw(said(it)), call.leave),
    expected: cancelledEarly,
    saw: (it) => ({ text: said(it), ending: "left" })
  },
  {
    name: "a client that leaves behind the end",
    transport: "sse",
    turns: (it) => [it.turn([it.stream, { hang: true }])],
    meanwhile: (call, _, it) => Effect.andThen(call.saw(it.stream), call.leave),
    expected: whole,
    saw: (it) => ({ text: it.stream, ending: "left" })
  },
  {
    name: "a client that leaves while the end waits for its records",
    transport: "sse",
    turns: (it) => [it.turn(pieces(it))],
    meanwhile: (call, { ledger }, it) =>
      Effect.gen(function* () {
        ledger.hold()
        yield* call.saw(it.stream.slice(0, -it.events.end.length))
        yield* settleDown()
        yield* call.leave
        ledger.release()
      }),
    expected: whole,
    saw: (it) => ({ text: it.stream.slice(0, -it.events.end.length), ending: "left" })
  },
  {
    name: "a client that leaves while a body waits for its records",
    transport: "json",
    turns: (it) => [it.turn(it.body)],
    meanwhile: (call, { ledger }) =>
      Effect.gen(function* () {
        ledger.hold()
        yield* settleDown(() => ledger.settlements.length > 0)
        yield* call.leave
        ledger.release()
      }),
    expected: whole,
    saw: () => ({ text: "", ending: "left" })
  },
  {
    name: "a client that leaves in the middle, the upstream read to its end (on_client_gone: drain)",
    transport: "sse",
    options: { config: { on_client_gone: "drain", limits: { drain: "10 seconds" } } },
    turns: (it) => [it.turn([...it.events.body, { wait: "3 seconds" }, ...pieces(it).slice(it.events.body.length)])],
    meanwhile: (call, _, it) =>
      Effect.gen(function* () {
        yield* call.saw(said(it))
        yield* Effect.all([call.leave, TestClock.adjust("3 seconds")], { concurrency: 2 })
      }),
    expected: { status: "cancelled", error: "client_gone", provenance: "provider", usage: replyUsage },
    saw: (it) => ({ text: said(it), ending: "left" })
  },
  {
    name: "a client that leaves before a body is whole, which is read to its end (on_client_gone: drain)",
    transport: "json",
    options: { config: { on_client_gone: "drain", limits: { drain: "10 seconds" } } },
    turns: (it) => [it.turn([it.body.slice(0, 50), { wait: "3 seconds" }, it.body.slice(50)])],
    meanwhile: (call) =>
      Effect.gen(function* () {
        yield* settleDown()
        yield* Effect.all([call.leave, TestClock.adjust("3 seconds")], { concurrency: 2 })
      }),
    expected: { status: "cancelled", error: "client_gone", provenance: "provider", usage: replyUsage },
    saw: () => ({ text: "", ending: "left" })
  },
  {
    name: "a client that leaves in the middle of what takes longer than limits.drain",
    transport: "sse",
    options: { config: { on_client_gone: "drain", limits: { drain: "10 seconds" } } },
    turns: (it) => [it.turn([...it.events.body, { wait: "11 seconds" }, ...pieces(it).slice(it.events.body.length)])],
    meanwhile: (call, _, it) =>
      Effect.gen(function* () {
        yield* call.saw(said(it))
        yield* Effect.all([call.leave, TestClock.adjust("10 seconds")], { concurrency: 2 })
      }),
    expected: cancelledEarly,
    saw: (it) => ({ text: said(it), ending: "left" })
  }
]

/** Behind the finish its client saw, the upstream is waited for. */
export const leavingFinished: ReadonlyArray<WayOut> = [
  {
    name: "a client that leaves behind the finish, the usage coming within a second",
    transport: "sse",
    turns: (it) => [
      it.turn([
        it.events.body.join("") + it.events.finish.join(""),
        { wait: "900 millis" },
        ...it.events.after,
        it.events.end,
        { hang: true }
      ])
    ],
    meanwhile: (call, _, it) =>
      Effect.gen(function* () {
        yield* call.saw(finished(it))
        yield* Effect.all([call.leave, TestClock.adjust("900 millis")], { concurrency: 2 })
      }),
    expected: whole,
    saw: (it) => ({ text: finished(it), ending: "left" })
  },
  {
    name: "a client that leaves behind the finish, the usage coming too late",
    transport: "sse",
    turns: (it) => [
      it.turn([
        it.events.body.join("") + it.events.finish.join(""),
        { wait: "1100 millis" },
        ...it.events.after,
        it.events.end
      ])
    ],
    meanwhile: (call, _, it) =>
      Effect.gen(function* () {
        yield* call.saw(finished(it))
        yield* Effect.all([call.leave, TestClock.adjust("1 second")], { concurrency: 2 })
      }),
    expected: { status: "completed", provenance: "unknown" },
    saw: (it) => ({ text: finished(it), ending: "left" })
  },
  {
    name: "a client that leaves behind the finish, the connection breaking then",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, ...it.events.finish, { wait: "100 millis" }, { cut: true }])],
    meanwhile: (call, _, it) =>
      Effect.gen(function* () {
        yield* call.saw(finished(it))
        yield* Effect.all([call.leave, TestClock.adjust("100 millis")], { concurrency: 2 })
      }),
    expected: { status: "completed", provenance: "unknown" },
    saw: (it) => ({ text: finished(it), ending: "left" })
  }
]

/** Where a finish is no end for its clients, one that leaves behind it has left before the end. */
export const leavingUnfinished: ReadonlyArray<WayOut> = [
  {
    name: "a client that leaves behind the finish and before the end",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, ...it.events.finish, ...it.events.after, { hang: true }])],
    meanwhile: (call, _, it) =>
      Effect.andThen(call.saw(finished(it) + it.events.after.join("")), Effect.andThen(settleDown(), call.leave)),
    expected: { status: "cancelled", error: "client_gone", provenance: "partial", usage: replyUsage },
    saw: (it) => ({ text: finished(it) + it.events.after.join(""), ending: "left" })
  },
  {
    name: "a stream that ends behind the finish and before the end",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, ...it.events.finish, ...it.events.after])],
    expected: { status: "failed", error: "upstream_cut", provenance: "partial", usage: replyUsage },
    saw: (it) => ({ text: finished(it) + it.events.after.join(""), errorEvent: "upstream_cut" })
  }
]

const timing: ReadonlyArray<WayOut> = [
  {
    name: "silence in the middle of a stream (limits.idle)",
    transport: "sse",
    options: limited({ idle: "10 seconds" }),
    turns: (it) => [it.turn([{ wait: "9 seconds" }, ...it.events.body, { hang: true }])],
    meanwhile: (call) =>
      Effect.gen(function* () {
        yield* TestClock.adjust("18 seconds")
        assert.strictEqual(call.ending, "open")
        yield* TestClock.adjust("3 seconds")
        yield* call.ended
      }),
    expected: failedEarly("timeout"),
    saw: (it) => ({ text: said(it), errorEvent: "upstream_timeout" })
  },
  {
    name: "silence in the middle of a body (limits.idle)",
    transport: "json",
    options: limited({ idle: "10 seconds" }),
    turns: (it) => [it.turn([it.body.slice(0, 50), { hang: true }])],
    meanwhile: (call) => Effect.andThen(TestClock.adjust("12 seconds"), call.ended),
    expected: { ...failed, error: "timeout" },
    saw: () => ({ refused: 504, code: "upstream_timeout" })
  },
  {
    name: "no head in time (limits.first_frame)",
    options: limited({ first_frame: "10 seconds", idle: "100 seconds" }),
    turns: () => [Turn.hang],
    meanwhile: (call) =>
      Effect.gen(function* () {
        yield* TestClock.adjust("9999 millis")
        assert.strictEqual(call.ending, "open")
        yield* TestClock.adjust("1 millis")
        yield* call.ended
      }),
    expected: { ...failed, error: "timeout", httpStatus: null, attempts: 1 },
    saw: () => ({ refused: 504, code: "upstream_timeout" })
  },
  {
    name: "no second attempt when the time for the first frame is over",
    options: { config: { limits: { first_frame: "10 seconds" }, retries: { times: 2 } } },
    turns: () => [Turn.hang],
    meanwhile: (call) => Effect.andThen(TestClock.adjust("10 seconds"), call.ended),
    expected: { ...failed, error: "timeout", httpStatus: null, attempts: 1 },
    saw: () => ({ refused: 504, code: "upstream_timeout" })
  },
  {
    name: "a head in time and no frame (limits.first_frame)",
    transport: "sse",
    options: limited({ first_frame: "10 seconds", idle: "100 seconds" }),
    turns: (it) => [it.turn([{ hang: true }], [{ wait: "9 seconds" }])],
    meanwhile: (call) =>
      Effect.gen(function* () {
        yield* TestClock.adjust("9900 millis")
        assert.strictEqual(call.ending, "open")
        assert.isNotNull(call.head)
        yield* TestClock.adjust("200 millis")
        yield* call.ended
      }),
    expected: { ...failed, error: "timeout", httpStatus: 200 },
    saw: () => ({ text: "", errorEvent: "upstream_timeout" })
  },
  {
    name: "a head in time and a body that takes longer than limits.first_frame",
    transport: "json",
    options: limited({ first_frame: "10 seconds", idle: "100 seconds" }),
    turns: (it) => [it.turn([{ wait: "50 seconds" }, it.body], [{ wait: "9 seconds" }])],
    meanwhile: (call) => Effect.andThen(TestClock.adjust("60 seconds"), call.ended),
    expected: whole,
    saw: (it) => ({ text: it.body, ending: "clean" })
  }
]

const stopping: ReadonlyArray<WayOut> = [
  {
    name: "a shutdown in the middle of a stream",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, { hang: true }])],
    meanwhile: (call, { shutdown }, it) => Effect.andThen(Effect.andThen(call.saw(said(it)), shutdown), call.ended),
    expected: failedEarly("shutdown"),
    saw: (it) => ({ text: said(it), errorEvent: "shutting_down" })
  },
  {
    name: "a shutdown in the middle of a body",
    transport: "json",
    turns: (it) => [it.turn([it.body.slice(0, 50), { hang: true }])],
    meanwhile: (call, { shutdown }) => Effect.andThen(Effect.andThen(settleDown(), shutdown), call.ended),
    expected: { ...failed, error: "shutdown" },
    saw: () => ({ refused: 503, code: "shutting_down" })
  },
  {
    name: "a shutdown before the head",
    turns: () => [Turn.hang],
    // Whoever carries the call ends it, and answers in its own way.
    meanwhile: (call, { shutdown }) =>
      Effect.andThen(Effect.andThen(settleDown(), shutdown), Effect.andThen(settleDown(), call.leave)),
    expected: { ...failed, error: "shutdown", httpStatus: null },
    saw: () => ({ text: "", ending: "left" })
  },
  {
    name: "a shutdown between two attempts",
    options: { config: { retries: { times: 2 } } },
    turns: () => [Turn.error(500, "")],
    // Whoever carries the call ends it, and answers in its own way.
    meanwhile: (call, { shutdown }) =>
      Effect.andThen(Effect.andThen(settleDown(), shutdown), Effect.andThen(settleDown(), call.leave)),
    expected: { ...failed, error: "shutdown", httpStatus: null },
    saw: () => ({ text: "", ending: "left" })
  }
]

/** What clients, clocks and whoever stops the gateway do that ends a call. */
export const otherWaysOut: ReadonlyArray<WayOut> = [...leaving, ...timing, ...stopping]
