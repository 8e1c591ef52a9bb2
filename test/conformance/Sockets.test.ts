import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { muteServer } from "../support/MuteServer.ts"
import type { RawStep, RawTurn } from "../support/UpstreamServer.ts"
import { UpstreamServer } from "../support/UpstreamServer.ts"
import type { DialectCase, Expected } from "./DialectCase.ts"
import { dialects, replyUsage, transports } from "./Dialects.ts"
import { eventually, rawTurn, sockets } from "./Sockets.ts"
import { type Saw, type Setting, settingOf, wordOf } from "./WayOut.ts"
import { cancelled, cancelledEarly, failed, failedEarly, said } from "./WayOutParts.ts"

/** One way in which connections break under an answer. */
interface Break {
  readonly name: string
  readonly transport?: "sse" | "json"
  readonly turn: (setting: Setting) => RawTurn
  readonly limits?: object
  readonly expected: Expected | ((setting: Setting) => Expected)
  readonly saw: (setting: Setting) => Saw
}

const half = ({ body }: Setting) => body.slice(0, 50)

const breaks: ReadonlyArray<Break> = [
  ...(["reset", "fin"] as const).flatMap((how): ReadonlyArray<Break> => {
    const end = (how === "reset" ? { reset: true } : { fin: true }) as Exclude<RawStep, string | Uint8Array>
    return [
      {
        name: `${how} before the head`,
        turn: (it) => rawTurn(it.transport, [], [end]),
        expected: { ...failed, error: "upstream_unreachable", httpStatus: null },
        saw: () => ({ refused: 502, code: "upstream_unreachable" })
      },
      {
        name: `${how} behind the head`,
        transport: "sse",
        turn: (it) => rawTurn(it.transport, [{ wait: 20 }, end]),
        expected: { ...failed, error: "upstream_cut", httpStatus: 200 },
        saw: () => ({ text: "", errorEvent: "upstream_cut" })
      },
      {
        name: `${how} in the middle of a stream`,
        transport: "sse",
        turn: (it) => rawTurn(it.transport, [...it.events.body, { wait: 20 }, end]),
        expected: failedEarly("upstream_cut"),
        saw: (it) => ({ text: said(it), errorEvent: "upstream_cut" })
      },
      {
        name: `${how} inside an event`,
        transport: "sse",
        turn: (it) => rawTurn(it.transport, [said(it) + it.events.body[0]!.slice(0, 30), { wait: 20 }, end]),
        expected: failedEarly("upstream_cut"),
        saw: (it) => ({ text: said(it), errorEvent: "upstream_cut" })
      },
      {
        name: `${how} in the middle of a body`,
        transport: "json",
        turn: (it) => rawTurn(it.transport, [half(it), { wait: 20 }, end]),
        expected: { ...failed, error: "upstream_cut" },
        saw: () => ({ refused: 502, code: "upstream_cut" })
      },
      {
        name: `${how} inside an event that is too large to hold`,
        transport: "sse",
        limits: { event_bytes: 1024 },
        turn: (it) =>
          rawTurn(it.transport, [it.events.body[0]!, it.dialect.largeEvent(5000).slice(0, 3000), { wait: 20 }, end]),
        expected: { ...failed, error: "upstream_cut" },
        saw: (it) => ({ text: it.events.body[0]! + it.dialect.largeEvent(5000).slice(0, 3000), ending: "broken" })
      },
      {
        name: `${how} inside a body that is too large to hold`,
        transport: "json",
        limits: { event_bytes: 1024 },
        turn: (it) =>
          rawTurn(it.transport, [half(it), { wait: 20 }, " ".repeat(2000), { wait: 20 }, "{}", { wait: 20 }, end]),
        expected: { ...failed, error: "upstream_cut" },
        saw: (it) => ({ text: half(it) + " ".repeat(2000), ending: "broken" })
      }
    ]
  }),
  {
    name: "a clean end without the last frame",
    transport: "sse",
    turn: (it) => rawTurn(it.transport, [said(it)]),
    expected: failedEarly("upstream_cut"),
    saw: (it) => ({ text: said(it), errorEvent: "upstream_cut" })
  },
  {
    name: "a body shorter than its content-length",
    transport: "json",
    turn: (it) => ({
      headers: { "content-type": "application/json", "content-length": String(it.body.length + 100) },
      steps: [it.body, { wait: 20 }, { fin: true }]
    }),
    expected: { ...failed, error: "upstream_cut" },
    saw: () => ({ refused: 502, code: "upstream_cut" })
  },
  {
    name: "a whole stream",
    transport: "sse",
    turn: (it) => rawTurn(it.transport, [it.stream]),
    expected: { status: "completed", provenance: "provider", usage: replyUsage },
    saw: (it) => ({ text: it.stream, ending: "clean" })
  },
  {
    name: "a whole body",
    transport: "json",
    turn: (it) => rawTurn(it.transport, [it.body]),
    expected: { status: "completed", provenance: "provider", usage: replyUsage },
    saw: (it) => ({ text: it.body, ending: "clean" })
  }
]

const assertRefused = (dialect: DialectCase, answer: { status: number; text: () => string }, saw: Saw) => {
  assert("refused" in saw)
  assert.strictEqual(answer.status, saw.refused)
  assert.strictEqual(dialect.readErrorBody(answer.text())?.code, wordOf(dialect, saw.code, "body"))
}

/** Where in its life a call stands when its client leaves. */
interface Phase {
  readonly name: string
  readonly transport?: "sse" | "json"
  readonly turn: (setting: Setting) => RawTurn
  /** What the client has by then; `null` where it has no head yet. */
  readonly has: ((setting: Setting) => string) | null
  readonly held?: boolean
  readonly expected: Expected | ((setting: Setting) => Expected)
  /** Within how many milliseconds the upstream is closed. */
  readonly within: number
}

const phases: ReadonlyArray<Phase> = [
  {
    name: "before the head",
    turn: (it) => rawTurn(it.transport, [], [{ hang: true }]),
    has: null,
    expected: cancelled,
    within: 1000
  },
  {
    name: "before the first frame",
    transport: "sse",
    turn: (it) => rawTurn(it.transport, [{ hang: true }]),
    has: () => "",
    expected: cancelled,
    within: 1000
  },
  {
    name: "in the middle of a stream",
    transport: "sse",
    turn: (it) => rawTurn(it.transport, [...it.events.body, { hang: true }]),
    has: said,
    expected: cancelledEarly,
    within: 1000
  },
  {
    name: "in the middle of a body",
    transport: "json",
    turn: (it) => rawTurn(it.transport, [half(it), { hang: true }]),
    has: null,
    expected: cancelled,
    within: 1000
  },
  {
    name: "while the end waits for its records",
    transport: "sse",
    held: true,
    turn: (it) => rawTurn(it.transport, [it.stream, { hang: true }]),
    has: (it) => it.stream.slice(0, -it.events.end.length),
    expected: { status: "completed", provenance: "provider", usage: replyUsage },
    within: 1000
  },
  {
    name: "behind the end",
    transport: "sse",
    turn: (it) => rawTurn(it.transport, [it.stream, { hang: true }]),
    has: (it) => it.stream,
    expected: { status: "completed", provenance: "provider", usage: replyUsage },
    within: 1000
  }
]

/** A client that saw the finish is let go, but the upstream is listened to for up to a second more. */
const behindFinish: Phase = {
  name: "behind the finish",
  transport: "sse",
  turn: (it) => rawTurn(it.transport, [said(it) + it.events.finish.join(""), { hang: true }]),
  has: (it) => said(it) + it.events.finish.join(""),
  expected: { status: "completed", provenance: "unknown" },
  within: 1500
}

const rowsOf = <Row extends { readonly name: string; readonly transport?: "sse" | "json" }>(rows: ReadonlyArray<Row>) =>
  rows.flatMap((row) =>
    transports
      .filter((transport) => (row.transport ?? transport) === transport)
      .map((transport) => ({ row, transport, title: `${transport}: ${row.name}` }))
  )

describe.each(dialects)("$name over real sockets", (dialect) => {
  describe("an upstream that breaks is never shown as a clean end", () => {
    it.live.each(rowsOf(breaks))("$title", ({ row, transport }) =>
      Effect.gen(function* () {
        const setting = settingOf(dialect, transport)
        const limits = row.limits === undefined ? {} : { config: { limits: row.limits } }
        const { call, ledger, upstream } = yield* sockets(dialect, [row.turn(setting)], limits)
        const answer = yield* call(dialect.request(transport === "sse"))
        const ending = yield* answer.ended
        const saw = row.saw(setting)
        if ("refused" in saw) assertRefused(dialect, answer, saw)
        else {
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(answer.text().slice(0, saw.text.length), saw.text)
          const rest = answer.text().slice(saw.text.length)
          if ("errorEvent" in saw) {
            assert.strictEqual(dialect.readErrorEvent(rest)?.code, wordOf(dialect, saw.errorEvent, "event"), rest)
          } else assert.strictEqual(rest, "")
          assert.strictEqual(ending, "ending" in saw && saw.ending === "broken" ? "reset" : "clean")
        }
        const { batch } = ledger.expect(typeof row.expected === "function" ? row.expected(setting) : row.expected)
        if (!("refused" in saw)) assert.strictEqual(answer.headers["x-sluice-interception-id"], batch.closes![0]!.id)
        assert.strictEqual(upstream.requests.length, 1)
      })
    )

    it.live("a refused connection", () =>
      Effect.gen(function* () {
        const baseUrl = `http://127.0.0.1:${yield* UpstreamServer.closedPort}/v1`
        const { call, ledger } = yield* sockets(dialect, [], { baseUrl })
        const answer = yield* call(dialect.request(true))
        yield* answer.ended
        assertRefused(dialect, answer, { refused: 502, code: "upstream_unreachable" })
        ledger.expect({ ...failed, error: "upstream_unreachable" })
      })
    )

    it.live("a connection that takes longer than limits.connect", () =>
      Effect.gen(function* () {
        const baseUrl = `https://127.0.0.1:${yield* muteServer}/v1`
        const { call, ledger } = yield* sockets(dialect, [], { baseUrl, config: { limits: { connect: "100 millis" } } })
        const answer = yield* call(dialect.request(true))
        yield* answer.ended
        assertRefused(dialect, answer, { refused: 504, code: "upstream_timeout" })
        ledger.expect({ ...failed, error: "timeout" })
      })
    )
  })

  describe("a client that leaves is heard of by the upstream within a second", () => {
    const rows = dialect.leftAfterFinish === "completed" ? [...phases, behindFinish] : phases
    it.live.each(rowsOf(rows))("$title", ({ row, transport }) =>
      Effect.gen(function* () {
        const setting = settingOf(dialect, transport)
        const { call, ledger, upstream } = yield* sockets(dialect, [row.turn(setting)])
        if (row.held === true) ledger.hold()
        const request = dialect.request(transport === "sse")
        let left: number
        if (row.has === null) {
          const calling = yield* Effect.forkChild(Effect.scoped(call(request)))
          yield* upstream.received(1)
          yield* Effect.sleep(30)
          left = performance.now()
          yield* Fiber.interrupt(calling)
        } else {
          const answer = yield* call(request)
          const has = row.has(setting)
          yield* answer.bytes(Buffer.byteLength(has))
          yield* Effect.sleep(30)
          assert.strictEqual(answer.text(), has)
          left = performance.now()
          answer.abort()
        }
        assert.strictEqual(yield* upstream.requests[0]!.over, "aborted")
        assert.isBelow(upstream.requests[0]!.abortedAt! - left, row.within)
        yield* eventually("settled", () => ledger.settlements.length > 0)
        ledger.release()
        ledger.expect(typeof row.expected === "function" ? row.expected(setting) : row.expected)
        assert.strictEqual(upstream.openSockets(), 0)
      })
    )
  })
})
