import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { type Answered, type Connected, dial, type Dialer } from "../../src/upstream/Dial.ts"
import { Malformed, TimedOut, Unreachable, UpstreamError } from "../../src/upstream/Exchange.ts"
import type { Peer } from "../../src/upstream/Upstream.ts"

const failing = (reason: UpstreamError["reason"]) => Effect.fail(new UpstreamError({ provider: "up", reason }))

const answered = (status: number, headers: Answered["headers"] = {}, body = ""): Effect.Effect<Answered> =>
  Effect.succeed({ _tag: "Answered", status, headers, body: Buffer.from(body) })

const connected: Effect.Effect<Connected> = Effect.succeed({
  _tag: "Connected",
  peer: {} as Peer,
  headers: { "x-request-id": "r" }
})

/** A dialer that answers in turn, and counts what it was asked and what of it is held. */
const script = (answers: ReadonlyArray<ReturnType<Dialer>>) => {
  const state = { dialled: 0, held: 0 }
  const dialer: Dialer = () =>
    Effect.gen(function* () {
      yield* Effect.acquireRelease(
        Effect.sync(() => state.held++),
        () => Effect.sync(() => state.held--)
      )
      return yield* answers[Math.min(state.dialled++, answers.length - 1)]!
    })
  return { state, dialer }
}

const request = { origin: "http://up.test", target: "/v1/responses", headers: {} }
const limits = { firstFrame: 10_000, times: 2, maxWait: 5_000 }
const dialled = (dialer: Dialer, more: Partial<typeof limits> = {}, secrets: ReadonlyArray<string> = []) =>
  dial("up", dialer, request, { ...limits, ...more }, secrets)

const reasonOf = <A, R>(effect: Effect.Effect<A, UpstreamError, R>) =>
  Effect.map(Effect.flip(effect), ({ provider, reason }) => {
    assert.strictEqual(provider, "up")
    return { ...reason } as unknown
  })

describe("a provider is dialled again", () => {
  const passing: ReadonlyArray<readonly [string, ReturnType<Dialer>]> = [
    ["it cannot be reached", failing(new Unreachable({ detail: "refused" }))],
    ["the handshake breaks off", failing(new Unreachable({ detail: "reset", sent: true }))],
    ["connecting takes too long", failing(new TimedOut({ limit: "connect" }))]
  ]
  it.effect.each(passing)("where %s, and only the last attempt is held on to", ([, fault]) =>
    Effect.gen(function* () {
      const { dialer, state } = script([fault, fault, connected])
      const scope = yield* Scope.make()
      const fiber = yield* Effect.forkChild(Scope.provide(dialled(dialer), scope))
      yield* TestClock.adjust("124 millis")
      assert.deepStrictEqual(state, { dialled: 1, held: 0 })
      yield* TestClock.adjust("700 millis")
      const { headers } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(headers, { "x-request-id": "r" })
      assert.deepStrictEqual(state, { dialled: 3, held: 1 })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(state.held, 0)
    })
  )

  it.effect("as often as it may be, and the last fault is told", () =>
    Effect.gen(function* () {
      const { dialer, state } = script([
        answered(500),
        failing(new Unreachable({ detail: "refused" })),
        answered(503, { "retry-after": "30" }, '{"error":{"message":"too busy"}}')
      ])
      const fiber = yield* Effect.forkChild(reasonOf(Effect.scoped(dialled(dialer))))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), {
        _tag: "Declined",
        status: 503,
        detail: "too busy",
        retryAfter: 30,
        code: "upstream_status"
      })
      assert.deepStrictEqual(state, { dialled: 3, held: 0 })
    })
  )

  it.effect.each([408, 500, 503])("a single time where it answers %d", (status) =>
    Effect.gen(function* () {
      const better = script([answered(status), connected])
      const fiber = yield* Effect.forkChild(Effect.scoped(dialled(better.dialer)))
      yield* TestClock.adjust("250 millis")
      assert.deepStrictEqual((yield* Fiber.join(fiber)).headers, { "x-request-id": "r" })
      const same = script([answered(status)])
      const failed = yield* Effect.forkChild(reasonOf(Effect.scoped(dialled(same.dialer, { times: 5 }))))
      yield* TestClock.adjust("250 millis")
      assert.include(yield* Fiber.join(failed), { _tag: "Declined", status })
      assert.deepStrictEqual(same.state, { dialled: 2, held: 0 })
    })
  )

  it.effect("after the wait that it asks for, unless that is longer than a second", () =>
    Effect.gen(function* () {
      const patient = script([answered(503, { "retry-after": "1" }), connected])
      const fiber = yield* Effect.forkChild(Effect.scoped(dialled(patient.dialer)))
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(patient.state.dialled, 1)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      const long = script([answered(503, { "retry-after": "2" }), connected])
      assert.include(yield* reasonOf(Effect.scoped(dialled(long.dialer))), { status: 503, retryAfter: 2 })
    })
  )
})

describe("a provider is dialled once", () => {
  const final: ReadonlyArray<readonly [string, ReturnType<Dialer>, object]> = [
    ["it answers 401", answered(401), { _tag: "Declined", status: 401, detail: "", retryAfter: null }],
    ["it answers 426", answered(426), { _tag: "Declined", status: 426 }],
    ["it answers 429", answered(429), { _tag: "Declined", status: 429, retryAfter: null }],
    [
      "it answers 429, and says when to come back",
      answered(429, { "retry-after": "1" }),
      { _tag: "Declined", status: 429, retryAfter: 1 }
    ],
    ["it redirects", answered(302, { location: "http://elsewhere" }), { _tag: "Malformed" }],
    [
      "it answers 200",
      answered(200, {}, "{}"),
      { _tag: "Malformed", detail: "it answered 200 to the handshake of a WebSocket" }
    ],
    ["it says so", answered(503, { "x-should-retry": "false" }), { _tag: "Declined", status: 503 }],
    ["it does not speak HTTP", failing(new Malformed({ detail: "?" })), { _tag: "Malformed", detail: "?" }]
  ]
  it.effect.each(final)("where %s", ([, fault, expected]) =>
    Effect.gen(function* () {
      const { dialer, state } = script([fault])
      assert.include(yield* reasonOf(Effect.scoped(dialled(dialer))), expected)
      assert.deepStrictEqual(state, { dialled: 1, held: 0 })
    })
  )

  it.effect("where it does not answer within the time for all attempts", () =>
    Effect.gen(function* () {
      const { dialer, state } = script([answered(500), Effect.never])
      const fiber = yield* Effect.forkChild(reasonOf(Effect.scoped(dialled(dialer))))
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual(state, { dialled: 2, held: 1 })
      yield* TestClock.adjust("1 millis")
      assert.include(yield* Fiber.join(fiber), { _tag: "TimedOut", limit: "first_frame" })
      assert.strictEqual(state.held, 0)
    })
  )

  it.effect("where there is no time for another attempt: the answer says more than running out of it", () =>
    Effect.gen(function* () {
      const { dialer } = script([answered(503, { "retry-after": "1" })])
      const reason = yield* reasonOf(Effect.scoped(dialled(dialer, { firstFrame: 1_000 })))
      assert.include(reason, { _tag: "Declined", status: 503 })
    })
  )
})

it.effect("an error message is shortened, and shows no secret even where that cuts one", () =>
  Effect.gen(function* () {
    const secret = "sk-secret-0123456789"
    const message = `${"x".repeat(490)}${secret} and more`
    const { dialer } = script([answered(401, {}, JSON.stringify({ error: { message } }))])
    const reason = (yield* reasonOf(Effect.scoped(dialled(dialer, {}, [secret])))) as { readonly detail: string }
    assert.strictEqual(reason.detail, `${"x".repeat(490)}sk-s…6789 `.slice(0, 500))
    assert.notInclude(reason.detail, "sk-secret")
  })
)

it.effect("leaving while dialling ends it", () =>
  Effect.gen(function* () {
    const { dialer, state } = script([Effect.never])
    const fiber = yield* Effect.forkChild(Effect.scoped(dialled(dialer)), { startImmediately: true })
    assert.strictEqual(state.held, 1)
    yield* Fiber.interrupt(fiber)
    assert.strictEqual(state.held, 0)
  })
)
