import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Pull, Scope } from "effect"
import type { Peer, PeerMessage } from "../../src/upstream/Upstream.ts"
import { eventually } from "../support/Eventually.ts"
import { peerPair } from "../support/PeerPair.ts"

/** Takes messages until so many are there, or the connection is over. */
const take = Effect.fnUntraced(function* (peer: Peer, count: number) {
  const taken: Array<PeerMessage> = []
  while (taken.length < count) {
    const more = yield* peer.pull.pipe(Pull.catchDone(() => Effect.succeed(null)))
    if (more === null) break
    taken.push(...more)
  }
  return taken
})

const goneWith = (code: number, reason: string) => ({ _tag: "PeerGone", code, reason })

const failure = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(effect), (error) => ({ ...(error as object) }) as unknown)

/** A text frame as a client sends it, with a mask of zeros (RFC 6455, section 5.2). */
const frame = (first: number, payload: Uint8Array) =>
  Buffer.concat([Buffer.from([first, 0x80 | payload.length, 0, 0, 0, 0]), payload])

describe("messages", () => {
  it.live("come as the bytes they are, in order, binary ones told apart", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* peerPair()
      client.send("é€😀")
      client.send("")
      client.sendBinary(Buffer.from([0, 255]))
      const taken = yield* take(peer, 3)
      assert.deepStrictEqual(
        taken.map(({ binary, data }) => [Buffer.isBuffer(data), data.toString("hex"), binary]),
        [
          [true, Buffer.from("é€😀").toString("hex"), false],
          [true, "", false],
          [true, "00ff", true]
        ]
      )
    })
  )

  it.live("go out as text, in the order they were sent in, and unchanged in the sender's hands", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* peerPair()
      const data = Buffer.from('{"a":"é"}')
      for (let i = 0; i < 3; i++) yield* peer.send(data)
      yield* peer.send(Buffer.from("last"))
      assert.deepStrictEqual(yield* client.received(4), ['{"a":"é"}', '{"a":"é"}', '{"a":"é"}', "last"])
      assert.strictEqual(client.binary, 0)
      assert.strictEqual(data.toString(), '{"a":"é"}')
    })
  )

  it.live("that came before the end are there to be taken behind it", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* peerPair()
      client.send("a")
      client.send("b")
      client.close(1000)
      yield* peer.closed
      assert.deepStrictEqual(
        (yield* take(peer, 9)).map(({ data }) => data.toString()),
        ["a", "b"]
      )
    })
  )

  it.live("are not lost to who was interrupted while waiting for one", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* peerPair()
      const waiting = yield* Effect.forkChild(peer.pull, { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      client.send("kept")
      assert.strictEqual((yield* take(peer, 1))[0]!.data.toString(), "kept")
    })
  )

  it.live("that nobody takes stop the reading at the bound, and all come once they are taken", () =>
    Effect.gen(function* () {
      const { client, peer, socket } = yield* peerPair()
      const message = Buffer.alloc(60_000, "x")
      const count = 600
      for (let i = 0; i < count; i++) client.send(message)
      yield* eventually(() => socket.isPaused())
      yield* Effect.sleep("50 millis")
      const read = socket.bytesRead
      // The bound, one message over it, and what the socket holds.
      assert.isBelow(read, 1_048_576 + 4 * 65_536)
      yield* Effect.sleep("50 millis")
      assert.strictEqual(socket.bytesRead, read)
      assert.isAbove(client.webSocket.bufferedAmount, 0)
      const taken = yield* take(peer, count)
      assert.strictEqual(taken.length, count)
      assert.isTrue(taken.every(({ data }) => data.equals(message)))
    })
  )

  it.live("without a byte count, too: a flood of them stops the reading", () =>
    Effect.gen(function* () {
      const { client, peer, socket } = yield* peerPair()
      client.sendRaw(Buffer.concat(Array.from({ length: 40_000 }, () => frame(0x81, Buffer.alloc(0)))))
      yield* eventually(() => socket.isPaused())
      assert.strictEqual((yield* take(peer, 40_000)).length, 40_000)
    })
  )
})

describe("a client that does not read", () => {
  it.live("lets the sender wait at the bound, and gets everything in order once it reads again", () =>
    Effect.gen(function* () {
      const { client, peer, socket } = yield* peerPair({ keep: false })
      client.pause()
      const message = Buffer.alloc(100_000, "x")
      let sent = 0
      const count = 300
      const sending = yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: count }),
          () =>
            Effect.andThen(
              peer.send(message),
              Effect.sync(() => sent++)
            ),
          { discard: true }
        )
      )
      yield* eventually(() => socket.writableLength > 1_048_576)
      yield* Effect.sleep("100 millis")
      const before = sent
      assert.isBelow(before, count)
      assert.isAtMost(socket.writableLength, 1_048_576 + 110_000)
      yield* Effect.sleep("50 millis")
      assert.strictEqual(sent, before)
      client.resume()
      yield* Fiber.join(sending)
      yield* client.until(() => client.bytes === count * message.length)
      assert.strictEqual(client.bytes, count * message.length)
    })
  )

  it.live("bounds what many senders have sent together, and keeps them in their order", () =>
    Effect.gen(function* () {
      const { client, peer, socket } = yield* peerPair()
      client.pause()
      const count = 200
      const one = (index: number) => Buffer.from(String(index).padStart(100_000, "0"))
      const sending = yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: count }, (_, index) => index),
          (index) => peer.send(one(index)),
          { concurrency: "unbounded", discard: true }
        )
      )
      yield* eventually(() => socket.writableLength > 1_048_576)
      yield* Effect.sleep("50 millis")
      assert.isAtMost(socket.writableLength, 1_048_576 + 110_000)
      client.resume()
      yield* Fiber.join(sending)
      const texts = yield* client.received(count)
      assert.deepStrictEqual(
        texts.map(Number),
        Array.from({ length: count }, (_, index) => index)
      )
    })
  )

  it.live("does not get what a sender wanted to send that was interrupted while it waited", () =>
    Effect.gen(function* () {
      const { client, peer, socket } = yield* peerPair()
      client.pause()
      const filling = yield* Effect.forkChild(Effect.forever(peer.send(Buffer.alloc(500_000, "x"))))
      yield* eventually(() => socket.writableLength > 1_048_576)
      yield* Effect.sleep("50 millis")
      yield* Fiber.interrupt(filling)
      const abandoned = yield* Effect.forkChild(peer.send(Buffer.from("abandoned")), { startImmediately: true })
      yield* Fiber.interrupt(abandoned)
      const last = yield* Effect.forkChild(peer.send(Buffer.from("last")), { startImmediately: true })
      client.resume()
      yield* Fiber.join(last)
      yield* client.until(() => client.texts().at(-1) === "last")
      assert.isFalse(client.texts().includes("abandoned"))
    })
  )

  it.live("is let go once it took nothing for the write deadline, and whoever waits is told", () =>
    Effect.gen(function* () {
      const { client, peer, timers } = yield* peerPair({ write: 200 })
      client.pause()
      const began = performance.now()
      const error = yield* failure(Effect.forever(peer.send(Buffer.alloc(500_000, "x"))))
      const took = performance.now() - began
      assert.deepStrictEqual(error, goneWith(1006, "nothing was taken for too long"))
      assert.deepStrictEqual(yield* peer.closed, { code: 1006, reason: "nothing was taken for too long" })
      assert.isAtLeast(took, 190)
      assert.isBelow(took, 1_500)
      assert.strictEqual(timers.size(), 0)
    })
  )

  it.live("is kept while it takes something now and then", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* peerPair({ write: 300, keep: false })
      client.pause()
      const sending = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 120 }), () => peer.send(Buffer.alloc(500_000, "x")), { discard: true })
      )
      for (let i = 0; i < 6; i++) {
        yield* Effect.sleep("120 millis")
        const seen = client.bytes
        client.resume()
        // So much that the window of the connection opens again.
        yield* client.until(() => client.bytes > seen + 6_000_000)
        client.pause()
      }
      assert.strictEqual(peer.closing(), null)
      assert.isBelow(client.bytes, 60_000_000)
      client.resume()
      yield* Fiber.join(sending)
    })
  )
})

describe("closing", () => {
  it.live.each([
    [1000, "done"],
    [1001, ""],
    [1008, "é".repeat(61)],
    [3000, "x"],
    [4999, "y"]
  ] as const)("with %i by the other end is known as it said it", ([code, reason]) =>
    Effect.gen(function* () {
      const { client, peer } = yield* peerPair()
      client.close(code, reason)
      assert.deepStrictEqual(yield* peer.closed, { code, reason })
      assert.deepStrictEqual(peer.closing(), { code, reason })
      assert.deepStrictEqual(yield* failure(peer.send(Buffer.from("x"))), goneWith(code, reason))
      // It is answered with the same.
      assert.strictEqual((yield* client.closed).code, code)
    })
  )

  it.live("without a code is 1005, and a connection that just ends is 1006", () =>
    Effect.gen(function* () {
      const silent = yield* peerPair()
      silent.client.close()
      assert.deepStrictEqual(yield* silent.peer.closed, { code: 1005, reason: "" })
      for (const how of ["fin", "reset"] as const) {
        const { client, peer } = yield* peerPair()
        const waiting = yield* Effect.forkChild(take(peer, 1), { startImmediately: true })
        client.drop(how)
        assert.deepStrictEqual(yield* peer.closed, { code: 1006, reason: "" })
        assert.deepStrictEqual(yield* Fiber.join(waiting), [])
      }
    })
  )

  it.live("is said once, with what was said first", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* peerPair()
      const first = yield* Effect.forkChild(peer.close(4001, "first"), { startImmediately: true })
      assert.deepStrictEqual(peer.closing(), { code: 4001, reason: "first" })
      assert.deepStrictEqual(yield* failure(peer.send(Buffer.from("x"))), goneWith(4001, "first"))
      yield* peer.close(4002, "second")
      yield* Fiber.join(first)
      assert.deepStrictEqual(yield* client.closed, { code: 4001, reason: "first" })
      assert.deepStrictEqual(yield* peer.closed, { code: 4001, reason: "first" })
    })
  )

  it.live("cuts a reason at a whole character, and says no code that may not be said", () =>
    Effect.gen(function* () {
      const long = yield* peerPair()
      yield* long.peer.close(1011, `${"x".repeat(122)}€€`)
      assert.deepStrictEqual(yield* long.client.closed, { code: 1011, reason: "x".repeat(122) })
      for (const [code, said] of [
        [1006, 1011],
        [1015, 1011],
        [999, 1011],
        [1004, 1011],
        [2000, 1011],
        [5000, 1011],
        [1005, 1005],
        [1013, 1013]
      ] as const) {
        const { client, peer } = yield* peerPair()
        yield* peer.close(code, "")
        assert.strictEqual((yield* client.closed).code, said)
      }
    })
  )

  it.live("comes behind everything that was sent before, to a client that is slow", () =>
    Effect.gen(function* () {
      const { client, peer, socket } = yield* peerPair({ keep: false })
      client.pause()
      let sent = 0
      const filling = yield* Effect.forkChild(
        Effect.forever(
          Effect.andThen(
            peer.send(Buffer.alloc(500_000, "x")),
            Effect.sync(() => sent++)
          )
        )
      )
      yield* eventually(() => socket.writableLength > 1_048_576)
      yield* Effect.sleep("50 millis")
      const closing = yield* Effect.forkChild(peer.close(1001, "bye"), { startImmediately: true })
      assert.isTrue(Exit.isFailure(yield* Fiber.await(filling)))
      client.resume()
      assert.deepStrictEqual(yield* client.closed, { code: 1001, reason: "bye" })
      assert.strictEqual(client.bytes, sent * 500_000)
      yield* Fiber.join(closing)
    })
  )

  it.live("waits for a client that is slow, as long as it takes something", () =>
    Effect.gen(function* () {
      const { client, peer, socket } = yield* peerPair({ keep: false })
      client.pause()
      yield* peer.send(Buffer.alloc(40_000_000, "x"))
      yield* Effect.forkChild(peer.close(1001, "bye"), { startImmediately: true })
      yield* Effect.sleep("1200 millis")
      client.resume()
      yield* eventually(() => client.socket.bytesRead > 12_000_000)
      client.pause()
      yield* Effect.sleep("1200 millis")
      assert.isAbove(socket.writableLength, 0)
      client.resume()
      assert.deepStrictEqual(yield* client.closed, { code: 1001, reason: "bye" })
      assert.strictEqual(client.bytes, 40_000_000)
    })
  )

  it.live(
    "cuts the connection where the other end does not answer for two seconds, taking nothing or saying nothing",
    () =>
      Effect.gen(function* () {
        const one = yield* peerPair()
        // It neither reads the close frame nor answers it.
        one.client.pause()
        const two = yield* peerPair()
        two.client.pause()
        const filling = yield* Effect.forkChild(Effect.forever(two.peer.send(Buffer.alloc(500_000, "x"))))
        yield* eventually(() => two.socket.writableLength > 1_048_576)
        const began = performance.now()
        yield* Effect.all([one.peer.close(1000, ""), two.peer.close(1000, "")], { concurrency: 2 })
        const took = performance.now() - began
        assert.isAtLeast(took, 1_900)
        assert.isBelow(took, 3_000)
        assert.deepStrictEqual(yield* one.peer.closed, { code: 1000, reason: "" })
        assert.isTrue(one.socket.destroyed && two.socket.destroyed)
        yield* Fiber.await(filling)
      })
  )

  it.live("goes on where we had paused the other end, and drops what still comes", () =>
    Effect.gen(function* () {
      const { client, peer, socket } = yield* peerPair()
      for (let i = 0; i < 100; i++) client.send(Buffer.alloc(60_000, "x"))
      yield* eventually(() => socket.isPaused())
      const began = performance.now()
      yield* peer.close(1000, "")
      assert.isBelow(performance.now() - began, 1_500)
      assert.isBelow((yield* take(peer, 100)).length, 20)
    })
  )

  it.live("follows from the scope's, and leaves neither timers, nor sockets, nor listeners", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { client, peer, socket, timers } = yield* Scope.provide(peerPair(), scope)
      assert.strictEqual(timers.size(), 1)
      const webSocket = client
      const waiting = yield* Effect.forkChild(take(peer, 1), { startImmediately: true })
      const closed = yield* Effect.forkChild(webSocket.closed, { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(closed)).code, 1000)
      assert.deepStrictEqual(yield* Fiber.join(waiting), [])
      assert.strictEqual(timers.size(), 0)
      assert.isTrue(socket.destroyed)
      assert.deepStrictEqual([socket.listenerCount("drain"), socket.listenerCount("data")], [0, 0])
    })
  )
})

describe("what breaks the protocol closes the connection", () => {
  const cases: ReadonlyArray<readonly [string, number, Buffer]> = [
    ["text that is no UTF-8", 1007, frame(0x81, Buffer.from([0xff, 0xfe]))],
    ["a reserved opcode", 1002, frame(0x83, Buffer.from("x"))],
    ["a frame without a mask", 1002, Buffer.from([0x81, 1, 0x78])],
    ["a compressed frame that was not agreed on", 1002, frame(0xc1, Buffer.from("x"))],
    ["a message over the limit", 1009, Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0])]
  ]

  it.live.each(cases)("%s", ([, code, bytes]) =>
    Effect.gen(function* () {
      const { client, peer } = yield* peerPair()
      client.send("before")
      client.sendRaw(bytes)
      assert.deepStrictEqual(yield* peer.closed, { code, reason: "", violated: true })
      assert.strictEqual((yield* client.closed).code, code)
      assert.deepStrictEqual(
        (yield* take(peer, 9)).map(({ data }) => data.toString()),
        ["before"]
      )
    })
  )

  it.live("and not what is as large as the limit", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* peerPair({ maxPayload: 100_000 })
      client.send("x".repeat(100_000))
      assert.strictEqual((yield* take(peer, 1))[0]!.data.length, 100_000)
      client.send("x".repeat(100_001))
      assert.strictEqual((yield* peer.closed).code, 1009)
    })
  )
})

describe("signs of life", () => {
  it.live("are asked for in silence, and given", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* peerPair({ ping: 100 })
      yield* client.until(() => client.pings >= 3)
      assert.strictEqual(client.pings, 3)
      assert.strictEqual(peer.closing(), null)
    })
  )

  it.live("that do not come end the connection as broken", () =>
    Effect.gen(function* () {
      const { client, peer, socket } = yield* peerPair({ ping: 150 })
      client.pause()
      const began = performance.now()
      assert.deepStrictEqual(yield* peer.closed, { code: 1006, reason: "no sign of life" })
      const took = performance.now() - began
      assert.isAtLeast(took, 280)
      assert.isBelow(took, 1_500)
      assert.isTrue(socket.destroyed)
    })
  )

  it.live("are not asked for while messages come, nor missed while we read none of them", () =>
    Effect.gen(function* () {
      const talking = yield* peerPair({ ping: 200 })
      const held = yield* peerPair({ ping: 100 })
      for (let i = 0; i < 100; i++) held.client.send(Buffer.alloc(60_000, "x"))
      yield* eventually(() => held.socket.isPaused())
      for (let i = 0; i < 20; i++) {
        talking.client.send("x")
        yield* Effect.sleep("30 millis")
      }
      assert.deepStrictEqual([talking.client.pings, talking.peer.closing(), held.peer.closing()], [0, null, null])
      assert.strictEqual((yield* take(held.peer, 100)).length, 100)
    })
  )

  it.live("that the other end asks for are given", () =>
    Effect.gen(function* () {
      const { client } = yield* peerPair()
      let answered = ""
      client.webSocket.on("pong", (data) => {
        answered = data.toString()
      })
      client.webSocket.ping("hello")
      yield* eventually(() => answered === "hello")
    })
  )
})
