import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { Exchanger } from "../../src/upstream/Exchange.ts"
import { ChunkQueue } from "../../src/upstream/ChunkQueue.ts"
import type { UpstreamError } from "../../src/upstream/Upstream.ts"
import { settleDown } from "./Engine.ts"
import { asked, create, eventsOf, messagesOf, settled, socketSetup } from "./WebSocketSetup.ts"

const delta = (n: number): string =>
  JSON.stringify({ type: "response.output_text.delta", delta: "x".repeat(10_000), output_index: 0, n })

const long = (): ReadonlyArray<string> => {
  const [first, ...rest] = messagesOf("r1", "hi")
  return [first!, ...Array.from({ length: 1000 }, (_, n) => delta(n)), ...rest]
}

describe("a client that takes nothing for a while", () => {
  it.effect("stops its native upstream from being read, and misses nothing", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native", config: { limits: { idle: "30 seconds" } } })
      setup.client.say(create())
      yield* asked(setup, 1)
      setup.client.stopTaking()
      const messages = long()
      for (const message of messages) setup.upstream().say(message)
      yield* settleDown()
      // A queue of 256 KiB, and what was handed over at once before it was full.
      const taken = messages.length - setup.toUpstream().waiting.length
      assert.isBelow(taken * 10_000, 256 * 1024 + 2 * 64 * 10_000)
      assert.strictEqual(setup.client.received.length, 0)
      // Its silence is not the upstream's.
      yield* TestClock.adjust("90 seconds")
      yield* settleDown()
      assert.strictEqual(messages.length - setup.toUpstream().waiting.length, taken)
      setup.client.takeOn()
      for (let n = 0; n < 50 && setup.closes().length === 0; n++) yield* settled(setup, 1)
      const shown = setup.client.received.filter((message) => message !== '{"type":"keepalive"}')
      assert.deepStrictEqual(shown, messages)
      assert.deepStrictEqual(setup.closes(), ["completed"])
    }).pipe(Effect.scoped)
  )

  it.effect("stops the upstream of its bridge from being read, and misses nothing", () =>
    Effect.gen(function* () {
      const body = new ChunkQueue<UpstreamError>()
      const exchanger: Exchanger = () =>
        Effect.succeed({ status: 200, headers: { "content-type": "text/event-stream" }, body })
      const setup = yield* socketSetup({ way: "bridged", exchanger })
      setup.client.say(create())
      yield* settleDown()
      setup.client.stopTaking()
      let waiting = long().map((message) => `data: ${message}\n\n`)
      const offer = Effect.gen(function* () {
        while (!body.paused && waiting.length > 0) {
          body.offer(Buffer.from(waiting[0]!))
          waiting = waiting.slice(1)
          yield* Effect.yieldNow
        }
      })
      yield* offer
      assert.isAbove(waiting.length, 900)
      setup.client.takeOn()
      while (waiting.length > 0) {
        yield* offer
        yield* settleDown(() => !body.paused)
      }
      body.end()
      for (let n = 0; n < 50 && setup.closes().length === 0; n++) yield* settled(setup, 1)
      assert.deepStrictEqual(setup.client.received, long())
    }).pipe(Effect.scoped)
  )

  it.effect("and then leaves is gone with all that waited for it", () =>
    Effect.gen(function* () {
      const setup = yield* socketSetup({ way: "native" })
      for (const lane of ["a", "b"]) setup.client.say(create({ stream_id: lane }))
      yield* asked(setup, 2)
      setup.client.stopTaking()
      // What nobody has asked for is a response of its own, on the lane without a name.
      for (const message of eventsOf("r1", "hi")) setup.upstream().say(message.slice(message.indexOf("{")).trim())
      yield* settleDown()
      setup.client.leave(1006)
      yield* Fiber.await(setup.running)
      // Its messages are taken from the one who waits as the connection breaks.
      assert.deepStrictEqual(setup.closes().slice(-2), ["cancelled", "cancelled"])
      assert.strictEqual(setup.closes().length, 3)
      assert.strictEqual(setup.upstream().closing()!.code, 1001)
      assert.strictEqual(setup.timers.size(), 0)
    }).pipe(Effect.scoped)
  )
})
