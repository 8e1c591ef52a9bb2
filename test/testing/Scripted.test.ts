import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Latch, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Scripted, Turn } from "../../src/testing/index.ts"
import { drain, post, readAll } from "../support/Exchanges.ts"

const request = post("/v1/chat/completions", { model: "m" })

describe("a scripted upstream", () => {
  it.effect("answers turn by turn and keeps what it received", () =>
    Effect.gen(function* () {
      const upstream = yield* Scripted.make([
        Turn.sse([{ a: 1 }, "[DONE]", ": comment\r\n\r\n", Buffer.from("event: x\n\n")]),
        Turn.json({ b: 2 }, { headers: { "x-request-id": "r" } }),
        Turn.error(429, { error: { message: "later" } }, { "retry-after": "3" }),
        { status: 201, body: "plain" }
      ])
      const sse = yield* readAll(upstream.exchanger, request)
      assert.strictEqual(sse.headers["content-type"], "text/event-stream; charset=utf-8")
      assert.deepStrictEqual(sse.chunks.map(String), [
        'data: {"a":1}\n\n',
        "data: [DONE]\n\n",
        ": comment\r\n\r\n",
        "event: x\n\n"
      ])
      const json = yield* readAll(upstream.exchanger, request)
      assert.deepStrictEqual([json.text, json.headers["x-request-id"]], ['{"b":2}', "r"])
      const error = yield* readAll(upstream.exchanger, request)
      assert.deepStrictEqual([error.status, error.headers["retry-after"]], [429, "3"])
      const plain = yield* readAll(upstream.exchanger, request)
      assert.deepStrictEqual([plain.status, plain.text], [201, "plain"])
      assert.deepStrictEqual(
        upstream.requests.map((one) => [one.index, one.method, one.url.pathname, one.json, one.outcome]),
        [0, 1, 2, 3].map((index) => [index, "POST", "/v1/chat/completions", { model: "m" }, "finished"])
      )
    })
  )

  it.effect("answers by a function of the request", () =>
    Effect.gen(function* () {
      const upstream = yield* Scripted.make(({ json }, index) => Turn.json({ index, json }))
      yield* readAll(upstream.exchanger, request)
      assert.strictEqual((yield* readAll(upstream.exchanger, request)).text, '{"index":1,"json":{"model":"m"}}')
    })
  )

  it.effect("waits, by the clock and for others, before the head and within the body", () =>
    Effect.gen(function* () {
      const latch = yield* Latch.make()
      const body = ["a", { wait: "2 seconds" as const }, "b", { await: latch.await }, "c", { end: true as const }, "d"]
      const upstream = yield* Scripted.make([{ opening: [{ wait: "1 second" }], body }])
      const chunks: Array<Buffer> = []
      const read = () => Buffer.concat(chunks).toString()
      const reading = yield* Effect.forkChild(
        Effect.scoped(Effect.flatMap(upstream.exchanger(request), (exchange) => drain(exchange, chunks)))
      )
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(read(), "")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(read(), "a")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(read(), "ab")
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(read(), "ab")
      yield* latch.open
      assert.isUndefined(yield* Fiber.join(reading))
      assert.strictEqual(read(), "abc")
    })
  )

  it.effect("breaks off, refuses, and tells it from being left", () =>
    Effect.gen(function* () {
      const upstream = yield* Scripted.make([
        Turn.sse(["x", { cut: "gone" }]),
        Turn.refused,
        Turn.hang,
        Turn.sse(["x", { hang: true }])
      ])
      const cut = yield* readAll(upstream.exchanger, request)
      assert.strictEqual(cut.text, "data: x\n\n")
      assert.include(cut.error?.message, "gone")
      const refused = yield* Effect.flip(readAll(upstream.exchanger, request))
      assert.strictEqual(refused.reason._tag, "Unreachable")
      const hanging = yield* Effect.forkChild(readAll(upstream.exchanger, request))
      yield* upstream.received(3)
      yield* Fiber.interrupt(hanging)
      const scope = yield* Scope.make()
      yield* upstream.exchanger(request).pipe(Scope.provide(scope))
      yield* TestClock.adjust("5 seconds")
      const last = upstream.requests[3]!
      assert.isUndefined(last.outcome)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* last.closed, "aborted")
      assert.strictEqual(last.closedAt! - last.receivedAt, 5000)
      assert.deepStrictEqual(
        upstream.requests.map((one) => one.outcome),
        ["failed", "failed", "aborted", "aborted"]
      )
    })
  )

  it.effect("waits until requests have come in", () =>
    Effect.gen(function* () {
      const upstream = yield* Scripted.make(() => Turn.json({}))
      const waiting = yield* Effect.forkChild(upstream.received(2), { startImmediately: true })
      yield* readAll(upstream.exchanger, request)
      yield* TestClock.adjust(0)
      assert.isUndefined(waiting.pollUnsafe())
      yield* readAll(upstream.exchanger, request)
      assert.strictEqual((yield* Fiber.join(waiting)).length, 2)
    })
  )

  it.effect("fails the test when it is asked more than it was told, even where the defect was caught", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        Effect.scoped(
          Effect.gen(function* () {
            const upstream = yield* Scripted.make([Turn.json({})])
            yield* readAll(upstream.exchanger, request)
            const direct = yield* Effect.exit(readAll(upstream.exchanger, request))
            assert.isTrue(Exit.hasDies(direct))
          })
        )
      )
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isFailure(exit)) {
        assert.include(
          Cause.pretty(exit.cause),
          "the script has 1 turns, but request 2 came in: POST http://upstream.test/"
        )
      }
    })
  )
})
