import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { dialectOf } from "../../src/dialect/Dialects.ts"
import { Turn } from "../../src/testing/index.ts"
import { TimedOut, UpstreamError } from "../../src/upstream/Exchange.ts"
import { replyUsage } from "./Dialects.ts"
import { error, failed, failedEarly, finished, limited, pieces, said, whole } from "./WayOutParts.ts"
import type { Setting, WayOut } from "./WayOut.ts"

const hasNamedEnd = ({ dialect }: Setting): boolean => dialectOf(dialect.name).terminalEvents.size > 0

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
    expected: (it) => ({ ...failedEarly("upstream_cut")(it), finishReason: null }),
    saw: (it) => ({ text: said(it), errorEvent: "upstream_cut" })
  },
  {
    name: "a stream that is reset inside an event",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, it.events.body[0]!.slice(0, 30), { cut: true }])],
    expected: failedEarly("upstream_cut"),
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
    expected: failedEarly("upstream_status"),
    saw: (it) => ({ text: said(it) + it.dialect.upstreamError("overloaded"), ending: "clean" })
  },
  {
    name: "an error of the upstream's inside its stream, and a reset behind it",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, it.dialect.upstreamError("overloaded"), { wait: 1 }, { cut: true }])],
    meanwhile: (call) => Effect.andThen(TestClock.adjust("1 second"), call.ended),
    expected: failedEarly("upstream_status"),
    saw: (it) => ({ text: said(it) + it.dialect.upstreamError("overloaded"), ending: "clean" })
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
    name: "a clean end without an end behind an event that flowed on unread",
    transport: "sse",
    options: limited({ event_bytes: 1024 }),
    turns: (it) => [it.turn([it.events.body[0]!, it.dialect.largeEvent(5000)])],
    // Unless ends have a name of their own, what was not read may have been one: nobody can say that it was not.
    expected: (it) =>
      hasNamedEnd(it) ? { ...failed, error: "upstream_cut" } : { status: "completed", provenance: "unknown" },
    saw: (it) => {
      const text = it.events.body[0]! + it.dialect.largeEvent(5000)
      return hasNamedEnd(it) ? { text, errorEvent: "upstream_cut" } : { text, ending: "clean" }
    }
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

/** The same where a stream has a finish before its end. */
export const finishedWaysOut: ReadonlyArray<WayOut> = [
  {
    name: "a stream that is reset behind its finish",
    transport: "sse",
    turns: (it) => [it.turn([...it.events.body, ...it.events.finish, ...it.events.after, { cut: true }])],
    expected: { status: "failed", error: "upstream_cut", provenance: "partial", usage: replyUsage },
    saw: (it) => ({ text: finished(it) + it.events.after.join(""), errorEvent: "upstream_cut" })
  }
]

/** What upstreams do that ends a call. */
export const upstreamWaysOut: ReadonlyArray<WayOut> = [...finishing, ...refusing, ...breaking, ...large]
