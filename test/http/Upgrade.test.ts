import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { NodeHttpServer, NodeHttpServerRequest } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, Pull, Scope } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { wantsWebSocket } from "../../src/http/Requests.ts"
import { acceptPeer, type AcceptOptions, handshakeFault, keepUpgrades } from "../../src/http/Upgrade.ts"
import type { Peer } from "../../src/upstream/Upstream.ts"
import { idleTimers } from "../support/PeerPair.ts"
import { WebSocketClient } from "../support/WebSocketClient.ts"
import { wire } from "./InProcessGateway.ts"

/** How a route's fiber ended. */
type Ended = "done" | "interrupted" | "failed"

/** A server of Effect's whose one route accepts WebSockets, and does with each what it is told. */
const serving = Effect.fnUntraced(function* (
  route: (peer: Peer) => Effect.Effect<void>,
  options: Partial<AcceptOptions> & { readonly before?: Effect.Effect<unknown> } = {}
) {
  const timers = yield* idleTimers
  const server = createServer({ shouldUpgradeCallback: wantsWebSocket })
  keepUpgrades(server)
  const ended: Array<Ended> = []
  const peers: Array<Peer> = []
  const first = Deferred.makeUnsafe<Peer>()
  const over = Deferred.makeUnsafe<Ended>()
  const handle = HttpRouter.add("GET", "/ws", (request) => {
    const incoming = NodeHttpServerRequest.toIncomingMessage(request) as IncomingMessage
    const response = NodeHttpServerRequest.toServerResponse(request) as ServerResponse
    return Effect.gen(function* () {
      if (options.before !== undefined) yield* options.before
      const peer = yield* acceptPeer(incoming, response, {
        headers: {},
        maxPayload: 65_536,
        write: 10_000,
        timers,
        ...options
      })
      peers.push(peer)
      Deferred.doneUnsafe(first, Effect.succeed(peer))
      yield* route(peer)
    }).pipe(
      Effect.scoped,
      Effect.catch((failed) =>
        Effect.sync(() => {
          response.writeHead(failed.status, { ...failed.headers, connection: "close" }).end(failed.message)
        })
      ),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          const how = Exit.isSuccess(exit) ? "done" : Exit.hasInterrupts(exit) ? "interrupted" : "failed"
          ended.push(how)
          Deferred.doneUnsafe(over, Effect.succeed(how))
        })
      ),
      Effect.as(HttpServerResponse.empty({ status: response.statusCode }))
    )
  })
  yield* Layer.build(
    HttpRouter.serve(handle, { disableLogger: true, disableListenLog: true }).pipe(
      Layer.provide(NodeHttpServer.layer(() => server, { host: "127.0.0.1", port: 0, disablePreemptiveShutdown: true }))
    )
  )
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}/ws`,
    timers,
    ended,
    peers,
    peer: Deferred.await(first),
    /** Waits until the first route has ended. */
    over: Deferred.await(over),
    connections: Effect.callback<number>((resume) => {
      server.getConnections((_error, count) => resume(Effect.succeed(count)))
    })
  }
}, Effect.orDie)

/** Sends everything back, until the client is gone. */
const echo = (peer: Peer): Effect.Effect<void> =>
  Effect.forever(
    Effect.flatMap(peer.pull, (messages) => Effect.forEach(messages, ({ data }) => peer.send(data), { discard: true }))
  ).pipe(
    Pull.catchDone(() => Effect.void),
    Effect.ignore
  )

const untilClosed = (peer: Peer): Effect.Effect<void> => Effect.asVoid(peer.closed)

const eventually = (holds: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.flatMap(holds, (held) => (held ? Effect.void : Effect.andThen(Effect.sleep("5 millis"), eventually(holds))))

/** A handshake as it stands on the wire. */
const handshake = (headers: ReadonlyArray<string>, behind: Uint8Array | string = "") =>
  Buffer.concat([
    Buffer.from(
      ["GET /ws HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket", ...headers, "", ""].join(
        "\r\n"
      )
    ),
    Buffer.from(behind as string)
  ])

const proper = ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]

describe("an accepted WebSocket", () => {
  it.live("has the headers it was given on its handshake, and those of the protocol", () =>
    Effect.gen(function* () {
      const server = yield* serving(echo, {
        headers: {
          "x-request-id": "req_1",
          "x-codex-turn-state": "sticky",
          "x-two": ["a", "b"],
          "sec-websocket-protocol": "forged",
          "content-length": "3",
          "x-odd": "caf\u00e9",
          "x-split": "a\r\nx-evil: b"
        }
      })
      const client = yield* WebSocketClient.connect(server.url, {
        deflate: true,
        protocols: []
      })
      assert.deepStrictEqual(client.headers, {
        upgrade: "websocket",
        connection: "Upgrade",
        "sec-websocket-accept": client.headers["sec-websocket-accept"],
        "x-request-id": "req_1",
        "x-codex-turn-state": "sticky",
        "x-two": "a, b"
      })
    })
  )

  it.live(
    "carries messages both ways, without a byte of HTTP among them, and lets its route end when it is closed",
    () =>
      Effect.gen(function* () {
        const server = yield* serving(echo)
        const client = yield* WebSocketClient.connect(server.url)
        for (const text of ["a", "é€😀", "x".repeat(60_000)]) client.send(text)
        assert.deepStrictEqual(yield* client.received(3), ["a", "é€😀", "x".repeat(60_000)])
        client.close(4000, "enough")
        assert.deepStrictEqual(yield* client.closed, { code: 4000, reason: "enough" })
        assert.strictEqual(yield* server.over, "done")
        const peer = yield* server.peer
        assert.deepStrictEqual(peer.closing(), { code: 4000, reason: "enough" })
        yield* eventually(Effect.map(server.connections, (count) => count === 0))
        assert.strictEqual(server.timers.size(), 0)
      })
  )

  it.live("gets what the client sent right behind its handshake", () =>
    Effect.gen(function* () {
      const server = yield* serving(echo, { before: Effect.sleep("20 millis") })
      const client = yield* wire(server.port)
      const hello = [0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]
      client.write(handshake(proper, Buffer.from(hello)))
      const text = yield* client.until("\x81\x02hi")
      assert.match(text, /^HTTP\/1\.1 101 Switching Protocols\r\n/)
      assert.include(text, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")
      assert.isTrue(text.endsWith("\r\n\r\n\x81\x02hi"))
    })
  )

  it.live("gets what the client sent before it was answered", () =>
    Effect.gen(function* () {
      const server = yield* serving(echo, { before: Effect.sleep("50 millis") })
      const client = yield* wire(server.port)
      client.write(handshake(proper))
      yield* Effect.sleep("20 millis")
      client.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
      assert.isTrue((yield* client.until("\x81\x02hi")).endsWith("\r\n\r\n\x81\x02hi"))
    })
  )

  it.live("gets 60 kB that came in pieces before it was answered, in their order, and what comes then", () =>
    Effect.gen(function* () {
      const server = yield* serving(echo, { before: Effect.sleep("100 millis") })
      const client = yield* wire(server.port)
      const payload = Buffer.from(Array.from({ length: 12_000 }, (_, index) => String(index).padStart(5)).join(""))
      const frame = Buffer.concat([
        Buffer.from([0x81, 0xfe, payload.length >> 8, payload.length & 255, 0, 0, 0, 0]),
        payload
      ])
      client.write(handshake(proper, frame.subarray(0, 1_000)))
      yield* Effect.sleep("20 millis")
      client.write(frame.subarray(1_000, 30_000))
      yield* Effect.sleep("20 millis")
      client.write(frame.subarray(30_000))
      assert.include(yield* client.until(payload.toString()), payload.toString())
      client.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
      assert.isTrue((yield* client.until("\x81\x02hi")).endsWith("\x81\x02hi"))
    })
  )

  it.live("is closed with the code its route says, and with 1000 where that says nothing", () =>
    Effect.gen(function* () {
      const saying = yield* serving((peer) => peer.close(1008, "not here"))
      const one = yield* WebSocketClient.connect(saying.url)
      assert.deepStrictEqual(yield* one.closed, { code: 1008, reason: "not here" })
      assert.strictEqual(yield* saying.over, "done")
      const silent = yield* serving(() => Effect.void)
      const two = yield* WebSocketClient.connect(silent.url)
      assert.deepStrictEqual(yield* two.closed, { code: 1000, reason: "" })
    })
  )

  it.live("is closed with 1009 by a message over 64 MiB, and takes one of as many", () =>
    Effect.gen(function* () {
      const limit = 64 * 1_048_576
      const taken = Deferred.makeUnsafe<number>()
      const server = yield* serving(
        (peer) =>
          Effect.andThen(
            Effect.map(
              Effect.orElseSucceed(peer.pull, () => []),
              (messages) => Deferred.doneUnsafe(taken, Effect.succeed(messages[0]?.data.length ?? 0))
            ),
            untilClosed(peer)
          ),
        { maxPayload: limit }
      )
      const client = yield* WebSocketClient.connect(server.url)
      client.send(Buffer.alloc(limit, "x"))
      assert.strictEqual(yield* Deferred.await(taken), limit)
      client.send(Buffer.alloc(limit + 1, "x"))
      assert.strictEqual((yield* client.closed).code, 1009)
      assert.deepStrictEqual((yield* server.peer).closing(), { code: 1009, reason: "", violated: true })
    })
  )

  it.live("that is left without a word is 1006, and interrupts its route", () =>
    Effect.gen(function* () {
      for (const how of ["fin", "reset"] as const) {
        const server = yield* serving(() => Effect.never)
        const client = yield* WebSocketClient.connect(server.url)
        client.drop(how)
        const peer = yield* server.peer
        assert.deepStrictEqual(yield* peer.closed, { code: 1006, reason: "" })
        if (how === "reset") assert.strictEqual(yield* server.over, "interrupted")
        yield* eventually(Effect.map(server.connections, (count) => count === 0))
        assert.strictEqual(server.timers.size(), 0)
      }
    })
  )

  it.live("ends with its server, and nothing of it stays", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const server = yield* Scope.provide(serving(echo), scope)
      const clients = yield* Effect.forEach(Array.from({ length: 20 }), () => WebSocketClient.connect(server.url))
      clients[0]!.send("x")
      yield* clients[0]!.received(1)
      const began = performance.now()
      yield* Scope.close(scope, Exit.void)
      assert.isBelow(performance.now() - began, 1_500)
      const codes = yield* Effect.forEach(clients, (client) => client.closed)
      assert.deepStrictEqual(new Set(codes.map(({ code }) => code)), new Set([1000]))
      assert.deepStrictEqual(
        server.ended,
        Array.from({ length: 20 }, () => "interrupted")
      )
      assert.strictEqual(server.timers.size(), 0)
    })
  )

  it.live("opened and dropped many times leaves no handles behind", () =>
    Effect.gen(function* () {
      const server = yield* serving(echo)
      const handles = () =>
        process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap" || name === "Timeout").length
      const before = handles()
      yield* Effect.forEach(
        Array.from({ length: 200 }, (_, index) => index),
        (index) =>
          Effect.scoped(
            Effect.gen(function* () {
              const client = yield* WebSocketClient.connect(server.url)
              client.send("x".repeat(1_000))
              if (index % 4 === 0) client.drop("reset")
              else if (index % 4 === 1) client.drop()
              else if (index % 4 === 2) client.close(1001)
              else yield* client.received(1)
            })
          ),
        { concurrency: 20 }
      )
      yield* eventually(Effect.map(server.connections, (count) => count === 0))
      yield* eventually(Effect.sync(() => server.timers.size() === 0 && server.ended.length === 200))
      yield* eventually(Effect.sync(() => handles() <= before))
    })
  )
})

describe("a handshake", () => {
  const bad: ReadonlyArray<readonly [string, ReadonlyArray<string>, RegExp]> = [
    ["without a key", ["Sec-WebSocket-Version: 13"], /^HTTP\/1\.1 400 /],
    ["with a key that is none", ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"], /^HTTP\/1\.1 400 /],
    ["without a version", [proper[1]!], /^HTTP\/1\.1 426 [\s\S]*\r\nsec-websocket-version: 13\r\n/i],
    [
      "of an old version",
      ["Sec-WebSocket-Version: 8", proper[1]!],
      /^HTTP\/1\.1 426 [\s\S]*\r\nsec-websocket-version: 13\r\n/i
    ],
    ["with protocols that are no names", [...proper, "Sec-WebSocket-Protocol: a,,b"], /^HTTP\/1\.1 400 /]
  ]

  it.live.each(bad)("%s is answered over HTTP", ([, headers, expected]) =>
    Effect.gen(function* () {
      const server = yield* serving(echo)
      const client = yield* wire(server.port)
      client.write(handshake(headers))
      const text = yield* client.closed
      assert.match(text, expected)
      assert.strictEqual(text.split("HTTP/1.1").length, 2)
      assert.strictEqual(yield* server.over, "done")
      yield* eventually(Effect.map(server.connections, (count) => count === 0))
    })
  )

  it("is found fault with before anything is done for it", () => {
    const asked = (headers: IncomingMessage["headers"], method = "GET") =>
      handshakeFault({ headers, method } as IncomingMessage)?.status ?? null
    const good = {
      upgrade: "WebSocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="
    }
    assert.deepStrictEqual(
      [
        asked(good),
        asked(good, "POST"),
        asked({ ...good, upgrade: "h2c" }),
        asked({ ...good, "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ" }),
        asked({ ...good, "content-length": "0" }),
        asked({ ...good, "content-length": "5" }),
        asked({ ...good, "transfer-encoding": "chunked" })
      ],
      [null, 426, 426, 400, null, 400, 400]
    )
  })

  /** A route that never answers a client, which sends something behind its handshake, and more when it has begun. */
  const unanswered = Effect.fnUntraced(function* (behind: Uint8Array | string, more: Uint8Array | string = "") {
    const begun = Deferred.makeUnsafe<void>()
    const server = yield* serving(echo, { before: Effect.andThen(Deferred.succeed(begun, undefined), Effect.never) })
    const client = yield* wire(server.port)
    client.write(handshake(proper, behind))
    yield* Deferred.await(begun)
    client.write(more)
    return { server, client }
  })

  const leavers: ReadonlyArray<readonly [string, string, string, "leave" | "reset"]> = [
    ["", "", "", "leave"],
    [", with bytes behind its handshake,", "x".repeat(100), "", "leave"],
    [", with bytes sent later,", "", "x".repeat(60_000), "leave"],
    [" with a reset, with bytes behind its handshake and later,", "x".repeat(100), "x".repeat(100), "reset"]
  ]
  it.live.each(leavers)("whose client leaves%s before the answer interrupts its route", ([, behind, more, how]) =>
    Effect.gen(function* () {
      const { client, server } = yield* unanswered(behind, more)
      yield* Effect.sleep("20 millis")
      client[how]()
      assert.strictEqual(yield* server.over, "interrupted")
      assert.deepStrictEqual(server.peers, [])
      yield* eventually(Effect.map(server.connections, (count) => count === 0))
    })
  )

  it.live("whose client sends more than 64 KiB before the answer is closed, and interrupts its route", () =>
    Effect.gen(function* () {
      const { client, server } = yield* unanswered("x".repeat(100), "x".repeat(65_536))
      assert.strictEqual(yield* client.closed, "")
      assert.strictEqual(yield* server.over, "interrupted")
      yield* eventually(Effect.map(server.connections, (count) => count === 0))
    })
  )
})
