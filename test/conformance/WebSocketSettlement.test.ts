import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, References } from "effect"
import { TestClock } from "effect/testing"
import { isObject } from "../../src/dialect/Json.ts"
import type { Step, Turn } from "../../src/testing/index.ts"
import { settleDown } from "./Engine.ts"
import type { Expected } from "./DialectCase.ts"
import { openAiResponsesCase as dialect } from "./OpenAiResponsesCase.ts"
import { type RunningCall, type Saw, settingOf, type WayOut } from "./WayOut.ts"
import { commonWaysOut } from "./WaysOut.ts"
import { asked, messagesIn, settled, type SocketSetup, socketSetup, type Way, ways } from "./WebSocketSetup.ts"

/** Frames that are shown in parts are none of a WebSocket's. */
const inParts = /flows on unread|flowed on unread/
/** What only HTTP has: an answer's head, its statuses, and a body that ends by itself. */
const ofHttp = /head|upstream's [45]|body breaks|connection that|no connection|attempt|\[DONE\]|no second/i

const rows = commonWaysOut(dialect).filter((row) => row.transport !== "json" && !inParts.test(row.name))

const table = ways.flatMap((way) =>
  rows
    .filter((row) => way === "bridged" || !ofHttp.test(row.name))
    .map((row) => ({ way, row, title: `${way}: ${row.name}` }))
)

/** An upstream's WebSocket that says what a stream does. */
const play = Effect.fnUntraced(function* (setup: SocketSetup, turn: Turn) {
  const upstream = setup.upstream()
  const steps: ReadonlyArray<Step> = typeof turn.body === "string" ? [turn.body] : (turn.body as ReadonlyArray<Step>)
  let text = ""
  for (const step of steps) {
    if (typeof step === "string") {
      text += step
      const end = text.lastIndexOf("\n\n") + 2
      for (const message of messagesIn(text.slice(0, end))) upstream.say(message)
      text = text.slice(end)
      yield* Effect.yieldNow
    } else if (step instanceof Uint8Array) return yield* Effect.die("bytes are no messages")
    else if ("wait" in step) yield* Effect.sleep(step.wait)
    else if ("await" in step) yield* step.await
    else if ("cut" in step) upstream.leave(1006)
  }
})

/** The one response of a connection, as a row of the table sees its call. */
const callOf = (setup: SocketSetup): RunningCall => {
  const ended = settled(setup, 1)
  return {
    saw: (text) => {
      const messages = shownMessages(text)
      return Effect.andThen(
        settleDown(() => setup.client.received.length >= messages.length),
        Effect.sync(() => assert.deepStrictEqual(setup.client.received, messages))
      )
    },
    leave: Effect.suspend(() => {
      setup.client.leave(1006)
      return Effect.asVoid(Fiber.await(setup.running))
    }),
    ended,
    get ending() {
      return setup.ledger.settlements.length === 0 ? ("open" as const) : ("clean" as const)
    },
    get head() {
      const status = setup.client.events.at(-1)?.["status"]
      return { status: typeof status === "number" ? status : 200, headers: {} }
    }
  }
}

/** Errors of streams have another form here; see `assertError`. */
const shownMessages = (text: string): ReadonlyArray<string> =>
  messagesIn(text).filter((message) => !message.startsWith('{"type":"error"'))

const assertError = (message: string | undefined, code: string | null, status: number | null): void => {
  assert.isDefined(message, "no error was told")
  const event: unknown = JSON.parse(message!)
  assert(isObject(event) && isObject(event["error"]), message)
  assert.strictEqual(event["type"], "error")
  assert.isNumber(event["status"])
  assert.notProperty(event, "status_code")
  if (status !== null) assert.strictEqual(event["status"], status)
  if (code !== null) assert.strictEqual(event["error"]["code"], code)
}

const isError = (message: string): boolean => message.startsWith('{"type":"error"')

const assertSaw = (way: Way, { client }: SocketSetup, saw: Saw, status: number): void => {
  const received = client.received.filter((message) => message !== '{"type":"keepalive"}')
  if ("refused" in saw || status !== 200) {
    assert.strictEqual(received.length, 1)
    assertError(received[0], "refused" in saw ? saw.code : null, "refused" in saw ? saw.refused : status)
    return
  }
  assert.deepStrictEqual(
    received.filter((message) => !isError(message)),
    shownMessages(saw.text)
  )
  const errors = received.filter(isError)
  if ("errorEvent" in saw) {
    assert.strictEqual(errors.length, 1)
    assert.strictEqual(received.at(-1), errors[0])
    assertError(errors[0], saw.errorEvent, null)
    return
  }
  const own = messagesIn(saw.text).filter(isError)
  assert.strictEqual(errors.length, own.length)
  if (way === "native") assert.deepStrictEqual(errors, own)
  else for (const error of errors) assertError(error, "server_error", 500)
}

const goOut = Effect.fnUntraced(
  function* (way: Way, row: WayOut) {
    const setting = settingOf(dialect, "sse")
    const turns = row.turns(setting)
    const { config = {}, exchanger } = row.options ?? {}
    const setup = yield* socketSetup({
      way,
      ...(way === "bridged" ? { turns } : {}),
      config,
      ...(exchanger === undefined ? {} : { exchanger })
    })
    setup.client.say({ ...JSON.parse(dialect.request(true, row.request)), type: "response.create" })
    if (way === "native") {
      yield* asked(setup, 1)
      yield* Effect.forkChild(play(setup, turns[0]!))
    } else yield* Effect.yieldNow
    const call = callOf(setup)
    if (row.meanwhile !== undefined)
      yield* row.meanwhile(call, { ...setup, shutdown: setup.interception.shutdown }, setting)
    else yield* call.ended
    yield* settleDown()
    const wanted: Expected = typeof row.expected === "function" ? row.expected(setting) : row.expected
    const { httpStatus } = wanted
    const saw = row.saw(setting)
    const status = "text" in saw && !saw.text.includes("\n\n") && saw.text !== "" ? (httpStatus ?? 200) : 200
    assertSaw(way, setup, saw, status)
    const { close, turn } = setup.ledger.expect(wanted)
    assert.strictEqual(close.transport, "ws")
    if (turn.transport !== null && turn.httpStatus === 200) {
      assert.strictEqual(turn.transport, way === "native" ? "ws" : "sse")
    }
    setup.client.leave(1000)
    yield* Fiber.await(setup.running)
    assert.isNotNull(setup.client.closing())
    if (way === "native") assert.isNotNull(setup.upstream().closing())
    for (const request of setup.scripted.requests) assert.isDefined(request.outcome, "an exchange was left open")
    assert.deepStrictEqual(setup.atGateway.late, [])
    // What waited for something behind the end of an answer waits no longer than a second.
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual(setup.timers.size(), 0)
  },
  Effect.provideService(References.MinimumLogLevel, "None")
)

describe("every way out of a response over a WebSocket settles once", () => {
  it.effect.each(table)("$title", ({ row, way }) => goOut(way, row))
})
