import { assert, describe, it } from "@effect/vitest"
import { Effect, Latch } from "effect"
import { TestClock } from "effect/testing"
import { Turn } from "../../src/testing/index.ts"
import { TimedOut, UpstreamError } from "../../src/upstream/Exchange.ts"
import { dialects, replyUsage, transports } from "./Dialects.ts"
import { engine, settleDown } from "./Engine.ts"
import { goOut, type Setting, settingOf, type WayOut } from "./WayOut.ts"

const failed = { status: "failed", provenance: "unknown" } as const
const cancelled = { status: "cancelled", error: "client_gone", provenance: "unknown" } as const
const whole = { status: "completed", provenance: "provider", usage: replyUsage } as const

const said = ({ events }: Setting) => events.body.join("")
const finished = ({ events }: Setting) => events.body.join("") + events.finish.join("")
const pieces = ({ events }: Setting) => [...events.body, ...events.finish, ...events.after, events.end]

const limited = (limits: object) => ({ config: { limits } })
const error = (message: string) => ({ error: { message, type: "t", param: null, code: "c" } })

const finishing: ReadonlyArray<WayOut> = [
  {
    name: "a stream that comes to its end",
    transport: "sse",
    turns: (it) => [it.turn(pieces(it))],
    expected: whole,
    saw: (it) => ({ text: it.stream, ending: "clean" })
  },
  {
    name: "a stream in one network chunk",
    transport: "sse",
    turns: (it) => [it.turn(it.stream)],
    expected: whole,
    saw: (it) => ({ text: it.stream, ending: "clean" })
  },
  {
    name: "a body",
    transport: "json",
    turns: (it) => [it.turn(it.body)],
    expected: whole,
    saw: (it) => ({ text: it.body, ending: "clean" })
  },
  {
    name: "an upstream that keeps the connection open behind the end",
    transport: "sse",
    turns: (it) => [it.turn([it.stream, { hang: true }])],
    meanwhile: (call, _, it) =>
      Effect.andThen(Effect.andThen(call.saw(it.stream), TestClock.adjust("1 second")), call.ended),
    expected: whole,
    saw: (it) => ({ text: it.stream, ending: "clean" })
  },
  {
    name: "an upstream that goes on sending comments behind the end",
    transport: "sse",
    turns: (it) => [
      it.turn([it.stream, { wait: "600 millis" }, ": a\n\n", { wait: "600 millis" }, ": b\n\n", { hang: true }])
    ],
    meanwhile: (call) => Effect.andThen(TestClock.adjust("1 second"), call.ended),
    expected: whole,
    saw: (it) => ({ text: `${it.stream}: a\n\n`, ending: "clean" })
  },
  {
    name: "an upstream whose connection breaks behind the end",
    transport: "sse",
    turns: (it) => [it.turn([it.stream, { cut: true }])],
    expected: whole,
    saw: (it) => ({ text: it.stream, ending: "clean" })
  }
]

const refusing: ReadonlyArray<WayOut> = [
  ...[400, 401, 404].map(
    (status): WayOut => ({
      name: `an upstream's ${status}`,
      turns: () => [Turn.error(status, error("no such thing"))],
      expected: { ...failed, error: "upstream_status", attempts: 1, httpStatus: status },
      saw: () => ({ text: JSON.stringify(error("no such thing")), ending: "clean" }),
      meanwhile: (call) => Effect.map(call.ended, () => assert.strictEqual(call.head?.status, status))
    })
  ),
  {
    name: "an upstream's 503, without retries",
    turns: () => [Turn.error(503, "<html>down</html>", { "content-type": "text/html" })],
    expected: { ...failed, error: "upstream_status", attempts: 1, httpStatus: 503 },
    saw: () => ({ text: "<html>down</html>", ending: "clean" })
  },
  {
    name: "an upstream's 503, three times",
    options: { config: { retries: { times: 2 } } },
    turns: () => [1, 2, 3].map((n) => Turn.error(503, error(`down ${n}`))),
    meanwhile: (call) => Effect.andThen(TestClock.adjust("5 seconds"), call.ended),
    expected: { ...failed, error: "upstream_status", attempts: 3, httpStatus: 503 },
    saw: () => ({ text: JSON.stringify(error("down 3")), ending: "clean" })
  },
  {
    name: "an upstream's 500 and no connection, then an answer",
    options: { config: { retries: { times: 2 } } },
    turns: (it) => [
      Turn.error(500, error("down")),
      Turn.refused,
      it.turn(it.transport === "sse" ? it.stream : it.body)
    ],
    meanwhile: (call) => Effect.andThen(TestClock.adjust("5 seconds"), call.ended),
    expected: { ...whole, attempts: 3, httpStatus: 200 },
    saw: (it) => ({ text: it.transport === "sse" ? it.stream : it.body, ending: "clean" })
  },
  {
    name: "an upstream's error whose body breaks off",
    turns: () => [{ status: 500, body: ['{"error":', { cut: true }] }],
    expected: { ...failed, error: "upstream_cut", httpStatus: 500 },
    saw: () => ({ refused: 502, code: "upstream_cut" })
  },
  {
    name: "no connection",
    turns: () => [Turn.refused],
    expected: { ...failed, error: "upstream_unreachable", attempts: 1, httpStatus: null },
    saw: () => ({ refused: 502, code: "upstream_unreachable" })
  },
  {
    name: "a connection that breaks before the head",
    turns: () => [{ opening: [{ wait: "1 second" }, { refuse: "ECONNRESET" }] }],
    meanwhile: (call) => Effect.andThen(TestClock.adjust("1 second"), call.ended),
    expected: { ...failed, error: "upstream_unreachable", httpStatus: null },
    saw: () => ({ refused: 502, code: "upstream_unreachable" })
  },
  {
    name: "a connection that takes too long",
    turns: () => [],
    options: {
      exchanger: () => Effect.fail(new UpstreamError({ provider: "up", reason: new TimedOut({ limit: "connect" }) }))
    },
    expected: { ...failed, error: "timeout", httpStatus: null },
    saw: () => ({ refused: 504, code: "upstream_timeout" })
  }
]

const breaking: ReadonlyArray<WayOut> = [
  {
    name: "a stream that is reset in the middle",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, { cut: true }])],
    expected: { ...failed, error: "upstream_cut", finishReason: null },
    saw: (it) => ({ text: said(it), errorEvent: "upstream_cut" })
  },
  {
    name: "a stream that is reset behind its finish",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, ...it.events.finish, ...it.events.after, { cut: true }])],
    expected: { status: "failed", error: "upstream_cut", provenance: "partial", usage: replyUsage },
    saw: (it) => ({ text: finished(it) + it.events.after.join(""), errorEvent: "upstream_cut" })
  },
  {
    name: "a stream that is reset inside an event",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, it.events.body[0]!.slice(0, 30), { cut: true }])],
    expected: { ...failed, error: "upstream_cut" },
    saw: (it) => ({ text: said(it), errorEvent: "upstream_cut" })
  },
  {
    name: "a body that is reset",
    transport: "json",
    turns: (it) => [it.turn([it.body.slice(0, 50), { cut: true }])],
    expected: { ...failed, error: "upstream_cut" },
    saw: () => ({ refused: 502, code: "upstream_cut" })
  },
  {
    name: "an empty body",
    transport: "json",
    turns: (it) => [it.turn("")],
    expected: { ...failed, error: "malformed" },
    saw: () => ({ refused: 502, code: "upstream_malformed" })
  },
  ...['{"id":"chatcmpl-1","choices":[', "upstream timeout", "[1]", '"text"', "null"].map(
    (body): WayOut => ({
      name: `a body of ${body}`,
      transport: "json",
      turns: (it) => [it.turn(body)],
      expected: { ...failed, error: "malformed" },
      saw: () => ({ refused: 502, code: "upstream_malformed" })
    })
  ),
  {
    name: "an error of the upstream's inside its stream",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, it.dialect.upstreamError("overloaded")])],
    expected: { ...failed, error: "upstream_status" },
    saw: (it) => ({ text: said(it) + it.dialect.upstreamError("overloaded"), ending: "clean" })
  },
  {
    name: "an error of the upstream's inside its stream, and a reset behind it",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, it.dialect.upstreamError("overloaded"), { wait: 1 }, { cut: true }])],
    meanwhile: (call) => Effect.andThen(TestClock.adjust("1 second"), call.ended),
    expected: { ...failed, error: "upstream_status" },
    saw: (it) => ({ text: said(it) + it.dialect.upstreamError("overloaded"), ending: "clean" })
  }
]

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
    expected: cancelled,
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
    expected: cancelled,
    saw: (it) => ({ text: said(it), ending: "left" })
  }
]

/** Behind the finish its client saw, the upstream is waited for. */
const leavingFinished: ReadonlyArray<WayOut> = [
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
    expected: { ...failed, error: "timeout" },
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
    expected: { ...failed, error: "shutdown" },
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

const large: ReadonlyArray<WayOut> = [
  {
    name: "an event larger than limits.event_bytes, which flows on unread",
    transport: "sse",
    options: limited({ event_bytes: 1024 }),
    turns: (it) => {
      const event = it.dialect.largeEvent(5000)
      return [it.turn([it.events.body[0]!, event.slice(0, 2000), event.slice(2000), ...pieces(it).slice(1)])]
    },
    expected: { status: "completed", provenance: "unknown" },
    saw: (it) => ({
      text: [it.events.body[0], it.dialect.largeEvent(5000), ...pieces(it).slice(1)].join(""),
      ending: "clean"
    })
  },
  {
    name: "a reset inside an event that flows on unread",
    transport: "sse",
    options: limited({ event_bytes: 1024 }),
    turns: (it) => [it.turn([it.events.body[0]!, it.dialect.largeEvent(5000).slice(0, 2000), { cut: true }])],
    expected: { ...failed, error: "upstream_cut" },
    saw: (it) => ({ text: it.events.body[0]! + it.dialect.largeEvent(5000).slice(0, 2000), ending: "broken" })
  },
  {
    name: "a clean end inside an event that flows on unread",
    transport: "sse",
    options: limited({ event_bytes: 1024 }),
    turns: (it) => [it.turn([it.events.body[0]!, it.dialect.largeEvent(5000).slice(0, 2000)])],
    expected: { ...failed, error: "upstream_cut" },
    saw: (it) => ({ text: it.events.body[0]! + it.dialect.largeEvent(5000).slice(0, 2000), ending: "broken" })
  },
  {
    // What was not read may have been the finish: nobody can say that it was not.
    name: "a clean end without an end behind an event that flowed on unread",
    transport: "sse",
    options: limited({ event_bytes: 1024 }),
    turns: (it) => [it.turn([it.events.body[0]!, it.dialect.largeEvent(5000)])],
    expected: { status: "completed", provenance: "unknown" },
    saw: (it) => ({ text: it.events.body[0]! + it.dialect.largeEvent(5000), ending: "clean" })
  },
  {
    name: "a body larger than limits.event_bytes, which flows on unread",
    transport: "json",
    options: limited({ event_bytes: 1024 }),
    turns: (it) => [it.turn([it.body.slice(0, 50), " ".repeat(2000), it.body.slice(50)])],
    expected: { status: "completed", provenance: "unknown" },
    saw: (it) => ({ text: it.body.slice(0, 50) + " ".repeat(2000) + it.body.slice(50), ending: "clean" })
  },
  {
    name: "a reset inside a body that flows on unread",
    transport: "json",
    options: limited({ event_bytes: 1024 }),
    turns: (it) => [it.turn([it.body.slice(0, 50), " ".repeat(2000), "{}", { wait: "1 second" }, { cut: true }])],
    meanwhile: (call) => Effect.andThen(TestClock.adjust("1 second"), call.ended),
    expected: { ...failed, error: "upstream_cut" },
    saw: (it) => ({ text: it.body.slice(0, 50) + " ".repeat(2000), ending: "broken" })
  }
]

const table = [...finishing, ...refusing, ...breaking, ...leaving, ...timing, ...stopping, ...large]

describe.each(dialects)("every way out of a call in $name settles once", (dialect) => {
  const malformed = dialect.malformed.map(
    (one): WayOut => ({
      name: `an event that is ${one.name}`,
      transport: "sse",
      turns: (it) => [it.turn([...it.events.body, one.event, ...it.events.finish, it.events.end])],
      expected: { ...failed, error: "malformed" },
      saw: (it) => ({ text: said(it), errorEvent: "upstream_malformed" })
    })
  )
  const cut = dialect.cutStreams.map(
    (one): WayOut => ({
      name: `a stream that ends with ${one.name}`,
      transport: "sse",
      turns: (it) => [it.turn(one.body)],
      expected: { ...failed, error: "upstream_cut" },
      saw: () => ({ text: one.delivered, errorEvent: "upstream_cut" }),
      ...(one.request === undefined ? {} : { request: one.request })
    })
  )
  const finished = dialect.leftAfterFinish === "completed" ? leavingFinished : []
  const rows = [...table, ...malformed, ...cut, ...finished].flatMap((way) =>
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
