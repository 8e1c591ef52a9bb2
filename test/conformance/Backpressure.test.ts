import { createServer } from "node:http"
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { listen } from "../support/LocalServer.ts"
import { dialects } from "./Dialects.ts"
import { eventually, sockets } from "./Sockets.ts"
import { settingOf } from "./WayOut.ts"

const mebibyte = 1024 * 1024

/** More than all the buffers between two programs on one machine hold. */
const total = 32 * mebibyte

/** An upstream that sends as fast as it may, and counts. */
const hose = Effect.fnUntraced(function* (event: Buffer, tail: string) {
  const poured = { sent: 0, closed: false }
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.on("error", () => {})
    response.on("close", () => {
      poured.closed = true
    })
    const pour = () => {
      while (poured.sent < total) {
        poured.sent += event.length
        if (!response.write(event)) {
          response.once("drain", pour)
          return
        }
      }
      response.end(tail)
    }
    pour()
  })
  const { url } = yield* listen(server)
  return Object.assign(poured, { url: `${url}/v1` })
})

/** A client that reads nothing until it is told to. */
const idler = (url: string, request: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { hostname, port, pathname } = new URL(url)
      const socket = connect({ host: hostname, port: Number(port) })
      const client = { socket, chunks: [] as Array<Buffer>, size: 0, ended: false }
      socket.on("data", (chunk: Buffer) => {
        client.chunks.push(chunk)
        client.size += chunk.length
      })
      socket.on("error", () => {})
      socket.on("close", () => {
        client.ended = true
      })
      socket.pause()
      socket.write(
        `POST ${pathname} HTTP/1.1\r\nhost: ${hostname}:${port}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
          `content-length: ${Buffer.byteLength(request)}\r\n\r\n${request}`
      )
      return client
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

/** Waits until a count stands still for a while, in which a busy machine may not get round to sending at all. */
const still = (count: () => number) =>
  Effect.gen(function* () {
    let before = -1
    for (let looks = 0; looks < 5; looks++) {
      if (before !== count()) looks = 0
      before = count()
      yield* Effect.sleep(150)
    }
  })

describe.each(dialects)("a client of $name that does not read", (dialect) => {
  const { events } = settingOf(dialect, "sse")
  const event = Buffer.from(dialect.largeEvent(16 * 1024))
  const tail = [...events.finish, ...events.after, events.end].join("")

  it.live("stalls its upstream, and gets everything once it goes on", () =>
    Effect.gen(function* () {
      const upstream = yield* hose(event, tail)
      const { ledger, url } = yield* sockets(dialect, [], {
        baseUrl: upstream.url,
        // The silence is ours: it must not be taken for the upstream's.
        config: { limits: { idle: "300 millis" } }
      })
      const client = yield* idler(url, dialect.request(true))
      yield* eventually("something was sent", () => upstream.sent > 0)
      const before = process.memoryUsage().arrayBuffers
      yield* still(() => upstream.sent)
      const taken = upstream.sent
      assert.isBelow(taken, (total * 2) / 3)
      yield* Effect.sleep(700)
      assert.strictEqual(upstream.sent, taken)
      assert.isBelow(process.memoryUsage().arrayBuffers - before, 16 * mebibyte)
      assert.strictEqual(ledger.settlements.length, 0, "it was ended")
      client.socket.resume()
      yield* eventually("the end", () => client.ended)
      const text = Buffer.concat(client.chunks).toString("latin1")
      assert.isAbove(client.size, total)
      const last = Buffer.from(events.end).toString("latin1")
      // A chunked body's own end stands behind it.
      assert.include(text.slice(-last.length - 100), last)
      const whole = text.split("x".repeat(16 * 1024)).length - 1
      assert.strictEqual(whole, Math.ceil(total / event.length))
      assert.strictEqual(ledger.settled().turn.status, "completed")
    })
  )

  it.live("is let go after limits.write, and its upstream with it", () =>
    Effect.gen(function* () {
      const upstream = yield* hose(event, tail)
      const { ledger, url } = yield* sockets(dialect, [], {
        baseUrl: upstream.url,
        config: { limits: { write: "300 millis" } }
      })
      yield* idler(url, dialect.request(true))
      yield* eventually("something was sent", () => upstream.sent > 0)
      const started = performance.now()
      yield* eventually("settled", () => ledger.settlements.length > 0)
      assert.isAtLeast(performance.now() - started, 250)
      assert.isBelow(performance.now() - started, 2000)
      ledger.expect({ status: "cancelled", error: "client_gone", provenance: "unknown" })
      yield* eventually("the upstream is closed", () => upstream.closed)
      assert.isBelow(upstream.sent, total)
    })
  )
})
