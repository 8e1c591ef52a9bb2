import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { make as makeConfig } from "../../src/config/Load.ts"
import { type Opening, Scripted, type Step, Turn } from "../../src/testing/Scripted.ts"
import type { ChunkQueue } from "../../src/upstream/ChunkQueue.ts"
import type { Exchanger } from "../../src/upstream/Exchange.ts"
import * as Providers from "../../src/upstream/Providers.ts"
import { IdleTimers, type TurnRequest, Upstream, type UpstreamError } from "../../src/upstream/Upstream.ts"
import { turnRequest } from "../support/Exchanges.ts"

const body = Buffer.from("{}")

const turn = (more: Partial<TurnRequest> = {}): TurnRequest =>
  turnRequest(body, { path: "/v1/chat/completions", ...more })

const key = "sk-central-0123456789"

const standard: SluiceConfigInput = {
  providers: { up: { type: "openai", base_url: "http://upstream.test/v1", api_key: key } }
}

/** The providers of a config over an exchanger that stands for all of them. */
const layer = (exchanger: Exchanger, config: SluiceConfigInput) =>
  Layer.unwrap(Effect.map(makeConfig({ ...standard, ...config }), Providers.layer)).pipe(
    Layer.provideMerge(IdleTimers.layer),
    Layer.provideMerge(Layer.succeed(Providers.Exchangers, () => Effect.succeed(() => exchanger))),
    Layer.orDie
  )

const scripted = Effect.fnUntraced(function* (
  turns: Parameters<typeof Scripted.make>[0],
  config: SluiceConfigInput = {}
) {
  const script = yield* Scripted.make(turns)
  const context = yield* Layer.build(layer(script.exchanger, config))
  const upstream = yield* Effect.provideContext(Upstream, context)
  const timers = yield* Effect.provideContext(IdleTimers, context)
  return { script, upstream, timers }
})

/** Reads a body to its end; answers its text, and what it broke with. */
const read = (queue: ChunkQueue<UpstreamError>) => {
  const chunks: Array<Buffer> = []
  return Effect.forever(Effect.map(queue.pull, (more) => chunks.push(...more))).pipe(
    Effect.catch((ended) => Effect.succeed("reason" in ended ? ended.message : null)),
    Effect.map((error) => ({ text: Buffer.concat(chunks).toString(), error }))
  )
}

const ok = Turn.json({ ok: true })
const retries = (times: number) => ({ retries: { times, max_wait: "5 seconds" } })

describe("attempts", () => {
  const faults: ReadonlyArray<readonly [string, Turn]> = [
    ["a refused connection", Turn.refused],
    ["a connection that broke before an answer", { opening: [{ refuse: "other side closed" }] }],
    ...[408, 429, 500, 502, 503, 504, 529].map((status) => [`${status}`, Turn.error(status, "")] as const)
  ]

  it.effect.each(faults)("are made again after %s", ([, fault]) =>
    Effect.gen(function* () {
      const { script, upstream } = yield* scripted([fault, fault, ok], retries(2))
      const fiber = yield* Effect.forkChild(upstream.open(turn()))
      yield* script.received(1)
      // The shortest wait is half of 250 ms.
      yield* TestClock.adjust("124 millis")
      assert.strictEqual(script.requests.length, 1)
      yield* TestClock.adjust("126 millis")
      yield* script.received(2)
      yield* TestClock.adjust("500 millis")
      const opened = yield* Fiber.join(fiber)
      assert.deepStrictEqual([opened.status, opened.attempts, script.requests.length], [200, 3, 3])
      assert.deepStrictEqual(yield* read(opened.body), { text: '{"ok":true}', error: null })
      for (const request of script.requests) assert.deepStrictEqual(request.body, body)
    })
  )

  it.effect("show the last answer where none was better, and say how many there were", () =>
    Effect.gen(function* () {
      const { script, upstream } = yield* scripted(
        [Turn.error(500, "a"), Turn.error(502, "b"), Turn.error(503, "c")],
        retries(2)
      )
      const fiber = yield* Effect.forkChild(upstream.open(turn()))
      yield* TestClock.adjust("10 seconds")
      const opened = yield* Fiber.join(fiber)
      assert.deepStrictEqual([opened.status, opened.attempts], [503, 3])
      assert.strictEqual((yield* read(opened.body)).text, "c")
      assert.strictEqual(script.requests.length, 3)
    })
  )

  it.effect("fail with the last failure, and say how many there were", () =>
    Effect.gen(function* () {
      const { upstream } = yield* scripted([Turn.error(500, ""), Turn.refused], retries(1))
      const fiber = yield* Effect.forkChild(Effect.flip(upstream.open(turn())))
      yield* TestClock.adjust("10 seconds")
      const { error, attempts } = yield* Fiber.join(fiber)
      assert.deepStrictEqual([error.reason._tag, error.provider, attempts], ["Unreachable", "scripted", 2])
    })
  )

  it.effect.each([
    ["refused", Turn.refused],
    ["429", Turn.error(429, "", { "retry-after": "0" })],
    ["500", Turn.error(500, "")]
  ] as const)("are not made again with times: 0 (%s)", ([, fault]) =>
    Effect.gen(function* () {
      const { script, upstream } = yield* scripted([fault, ok], retries(0))
      yield* Effect.exit(upstream.open(turn()))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(script.requests.length, 1)
    })
  )

  it.effect.each([
    ["a client error", Turn.error(400, "")],
    ["a spent key", Turn.error(401, "")],
    ["x-should-retry: false", Turn.error(503, "", { "x-should-retry": "false" })],
    ["a longer retry-after than allowed", Turn.error(429, "", { "retry-after": "6" })],
    ["a longer retry-after-ms than allowed", Turn.error(429, "", { "retry-after-ms": "5001" })],
    ["a later date than allowed", Turn.error(503, "", { "retry-after": "Thu, 01 Jan 1970 00:00:06 GMT" })]
  ] as const)("are not made again after %s, which is shown as it came", ([, answer]) =>
    Effect.gen(function* () {
      const { script, upstream } = yield* scripted([answer, ok], retries(5))
      const opened = yield* upstream.open(turn())
      assert.deepStrictEqual([opened.status, opened.attempts], [answer.status!, 1])
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(script.requests.length, 1)
      assert.isUndefined(script.requests[0]!.outcome)
    })
  )

  it.effect.each([
    ["seconds", { "retry-after": "3" }, 3000],
    ["a date", { "retry-after": "Thu, 01 Jan 1970 00:00:04 GMT" }, 4000],
    ["milliseconds, which win", { "retry-after-ms": "70", "retry-after": "60" }, 70],
    ["the longest that is allowed", { "retry-after": "5" }, 5000]
  ] as const)("wait as they are told in %s", ([, headers, milliseconds]) =>
    Effect.gen(function* () {
      const { script, upstream } = yield* scripted([Turn.error(429, "", headers), ok], retries(1))
      const fiber = yield* Effect.forkChild(upstream.open(turn()))
      yield* script.received(1)
      yield* TestClock.adjust(milliseconds - 1)
      assert.strictEqual(script.requests.length, 1)
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* Fiber.join(fiber)).status, 200)
      assert.strictEqual(script.requests[1]!.receivedAt, milliseconds)
    })
  )

  it.effect("are not made again once an answer has begun, however it ends", () =>
    Effect.gen(function* () {
      const { script, upstream } = yield* scripted([Turn.sse(["a", { cut: true }]), ok], retries(5))
      const opened = yield* upstream.open(turn())
      const { text, error } = yield* read(opened.body)
      assert.strictEqual(text, "data: a\n\n")
      assert.include(error, "broke off")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(script.requests.length, 1)
    })
  )

  it.effect("that gave way to another are closed before it begins, unread as they are", () =>
    Effect.gen(function* () {
      const unread = { status: 500, body: ["never", { hang: true }] } as Turn
      const { script, upstream } = yield* scripted([unread, Turn.refused, ok], retries(2))
      const scope = yield* Scope.make()
      const fiber = yield* Effect.forkChild(upstream.open(turn()).pipe(Scope.provide(scope)))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      const [first, second, third] = script.requests
      assert.deepStrictEqual([first!.outcome, second!.outcome], ["aborted", "failed"])
      assert.isAtMost(first!.closedAt!, second!.receivedAt)
      assert.isUndefined(third!.outcome)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* third!.closed, "finished")
    })
  )

  it.effect("stop when nobody waits any more, during an attempt and between two", () =>
    Effect.gen(function* () {
      const { script, upstream, timers } = yield* scripted([Turn.hang, Turn.error(503, "")], retries(5))
      const asking = yield* Effect.forkChild(Effect.scoped(upstream.open(turn())))
      yield* script.received(1)
      yield* Fiber.interrupt(asking)
      assert.strictEqual(script.requests[0]!.outcome, "aborted")
      const waiting = yield* Effect.forkChild(Effect.scoped(upstream.open(turn())))
      yield* script.received(2)
      yield* TestClock.adjust(1)
      yield* Fiber.interrupt(waiting)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(script.requests.length, 2)
      assert.isDefined(script.requests[1]!.outcome)
      assert.strictEqual(timers.size(), 0)
    })
  )

  it.effect("end with the answer there is where waiting would outlast first_frame", () =>
    Effect.gen(function* () {
      const { script, upstream } = yield* scripted([Turn.error(429, "slow down", { "retry-after": "3" }), ok], {
        ...retries(2),
        limits: { first_frame: "2 seconds" }
      })
      const opened = yield* upstream.open(turn())
      assert.deepStrictEqual([opened.status, opened.attempts, script.requests.length], [429, 1, 1])
    })
  )
})

describe("first_frame", () => {
  const limits = { limits: { first_frame: "10 seconds", idle: "4 seconds" }, ...retries(2) }
  const late = (steps: ReadonlyArray<Opening>): Turn => ({ opening: steps, body: "{}" })

  it.effect("runs to the head, once for all attempts, and is not tried again", () =>
    Effect.gen(function* () {
      const { script, upstream } = yield* scripted([late([{ wait: "8 seconds" }, { refuse: true }]), Turn.hang], limits)
      const fiber = yield* Effect.forkChild(Effect.flip(upstream.open(turn())))
      yield* script.received(1)
      yield* TestClock.adjust("9999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      const { error, attempts } = yield* Fiber.join(fiber)
      assert.deepInclude(error.reason, { _tag: "TimedOut", limit: "first_frame" })
      assert.strictEqual(attempts, 2)
      assert.deepStrictEqual(
        script.requests.map((request) => request.outcome),
        ["failed", "aborted"]
      )
    })
  )

  it.effect("runs to the first byte of a stream, longer than the idle limit", () =>
    Effect.gen(function* () {
      const { upstream } = yield* scripted(
        [Turn.sse([{ wait: "9 seconds" }, "a", { wait: "3 seconds" }, "b"]), Turn.sse([{ hang: true }])],
        limits
      )
      const early = yield* upstream.open(turn())
      const text = yield* Effect.forkChild(read(early.body))
      yield* TestClock.adjust("12 seconds")
      assert.deepStrictEqual(yield* Fiber.join(text), { text: "data: a\n\ndata: b\n\n", error: null })

      const never = yield* upstream.open(turn())
      const failed = yield* Effect.forkChild(read(never.body))
      yield* TestClock.adjust("9900 millis")
      assert.isUndefined(failed.pollUnsafe())
      yield* TestClock.adjust("700 millis")
      assert.include((yield* Fiber.join(failed)).error, "limits.first_frame")
    })
  )

  it.effect("is over with the head of a JSON answer, whose body the idle limit times", () =>
    Effect.gen(function* () {
      const { upstream } = yield* scripted([{ body: [{ hang: true }] }], limits)
      const opened = yield* upstream.open(turn())
      const failed = yield* Effect.forkChild(read(opened.body))
      yield* TestClock.adjust("3900 millis")
      assert.isUndefined(failed.pollUnsafe())
      yield* TestClock.adjust("700 millis")
      assert.include((yield* Fiber.join(failed)).error, "limits.idle")
    })
  )
})

describe("idle", () => {
  const limits = { limits: { first_frame: "10 seconds", idle: "4 seconds" } }

  it.effect("begins again with every chunk", () =>
    Effect.gen(function* () {
      const steps: Array<Step | string> = Array.from({ length: 10 }, (_, i) => [
        `c${i}`,
        { wait: "3500 millis" }
      ]).flat() as Array<Step>
      const { upstream, timers } = yield* scripted([Turn.sse([...steps, { hang: true }])], limits)
      const scope = yield* Scope.make()
      const opened = yield* upstream.open(turn()).pipe(Scope.provide(scope))
      const reading = yield* Effect.forkChild(read(opened.body))
      yield* TestClock.adjust("35 seconds")
      assert.isUndefined(reading.pollUnsafe())
      yield* TestClock.adjust("5 seconds")
      const { text, error } = yield* Fiber.join(reading)
      assert.include(text, "c9")
      assert.include(error, "limits.idle")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(timers.size(), 0)
    })
  )

  it.effect("stands still while we have paused the upstream, and runs again behind that", () =>
    Effect.gen(function* () {
      const large = "x".repeat(300_000)
      const { upstream } = yield* scripted([Turn.sse([large, "behind", { hang: true }])], limits)
      const opened = yield* upstream.open(turn())
      yield* TestClock.adjust("1 hour")
      assert.isTrue(opened.body.paused)
      const reading = yield* Effect.forkChild(read(opened.body))
      yield* TestClock.adjust("3500 millis")
      assert.isUndefined(reading.pollUnsafe())
      yield* TestClock.adjust("1500 millis")
      const { text, error } = yield* Fiber.join(reading)
      assert.strictEqual(text.length, large.length + "data: \n\ndata: behind\n\n".length)
      assert.include(error, "limits.idle")
    })
  )

  it.effect("is forgotten with the answer", () =>
    Effect.gen(function* () {
      const { upstream, timers } = yield* scripted(() => Turn.sse([{ hang: true }]), limits)
      yield* Effect.scoped(
        Effect.gen(function* () {
          for (let i = 0; i < 100; i++) yield* upstream.open(turn())
          assert.strictEqual(timers.size(), 100)
        })
      )
      assert.strictEqual(timers.size(), 0)
    })
  )
})

describe("credentials", () => {
  const base = "http://upstream.test"
  const providers: SluiceConfigInput = {
    providers: {
      central: { type: "openai", base_url: base, api_key: key },
      byok: { type: "openai", base_url: base },
      first: { type: "openai-compatible", base_url: base, api_key: key, credentials: "client-first" },
      claude: { type: "anthropic", base_url: base, api_key: key },
      "claude-byok": { type: "anthropic", base_url: base }
    }
  }
  const bearer = { key: "sk-client-0123456789", form: "bearer" } as const
  const apiKey = { key: "sk-client-0123456789", form: "x-api-key" } as const
  const asBearer = (text: string) => ({ authorization: `Bearer ${text}` })

  it.effect.each([
    ["central", null, asBearer(key), "central", "sk-c…6789"],
    ["central", bearer, asBearer(key), "central", "sk-c…6789"],
    ["central", apiKey, asBearer(key), "central", "sk-c…6789"],
    ["byok", null, {}, "none", null],
    ["byok", bearer, asBearer(bearer.key), "byok", "sk-c…6789"],
    ["byok", apiKey, asBearer(bearer.key), "byok", "sk-c…6789"],
    ["first", null, asBearer(key), "central", "sk-c…6789"],
    ["first", bearer, asBearer(bearer.key), "byok", "sk-c…6789"],
    ["first", { key, form: "bearer" }, asBearer(key), "central", "sk-c…6789"],
    ["claude", null, { "x-api-key": key }, "central", "sk-c…6789"],
    ["claude", bearer, { "x-api-key": key }, "central", "sk-c…6789"],
    ["claude-byok", apiKey, { "x-api-key": apiKey.key }, "byok", "sk-c…6789"],
    // An OAuth token, which Anthropic takes as a bearer only.
    ["claude-byok", bearer, asBearer(bearer.key), "byok", "sk-c…6789"]
  ] as const)("of %s with %j go out as %j", ([provider, credential, sent, kind, hint]) =>
    Effect.gen(function* () {
      const { script, upstream } = yield* scripted(() => ok, providers)
      const headers = { authorization: "Bearer of the client", "x-api-key": "of the client", cookie: "c", accept: "a" }
      yield* upstream.open(turn({ provider, credential, headers }))
      assert.deepStrictEqual(script.requests[0]!.headers, { accept: "a", ...sent, "accept-encoding": "identity" })
      assert.deepStrictEqual(upstream.credential(provider, credential), { kind, hint })
    })
  )

  it.effect("that an answer's head echoes are masked, whoever's they are", () =>
    Effect.gen(function* () {
      const client = "sk-own-9876543210"
      const echo = { "x-request-id": `${key} ${client} queried-secret`, "openai-version": ["2020", key] }
      const { upstream } = yield* scripted([Turn.json({}, { headers: echo })], {
        providers: {
          up: { type: "openai", base_url: `${base}/v1?k=queried-secret&api-version=2024-10-21`, api_key: key }
        }
      })
      const opened = yield* upstream.open(turn({ credential: { key: client, form: "bearer" } }))
      assert.strictEqual(opened.headers["x-request-id"], "sk-c...6789 sk...10 qu...et")
      assert.deepStrictEqual(opened.headers["openai-version"], ["2020", "sk-c...6789"])
      assert.sameMembers([...opened.secrets], [key, client, "queried-secret"])
      assert.notInclude(JSON.stringify(upstream.providers), key)
    })
  )
})

describe("the transport", () => {
  it.effect.each([
    ["text/event-stream", "sse"],
    ["text/event-stream; charset=utf-8", "sse"],
    ["Text/Event-Stream ;x", "sse"],
    ["application/json", "json"],
    ["text/event-streams", "json"],
    ["application/x; a=text/event-stream", "json"],
    ["", "json"]
  ] as const)("of %j is %s", ([contentType, transport]) =>
    Effect.gen(function* () {
      const { upstream } = yield* scripted([{ headers: { "content-type": contentType }, body: "{}" }])
      assert.strictEqual((yield* upstream.open(turn())).transport, transport)
    })
  )
})
