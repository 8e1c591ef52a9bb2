import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { eventually } from "../support/Eventually.ts"
import type { RawTurn } from "../support/UpstreamServer.ts"
import { chat, startGateway } from "./InProcessGateway.ts"

/** More than the buffers between two programs on one machine hold. */
const pad = "x".repeat(12_000_000)

const choice = { index: 0, finish_reason: "stop" }
const whole: RawTurn = {
  headers: { "content-type": "application/json" },
  steps: [JSON.stringify({ choices: [{ ...choice, message: {} }], pad })]
}
const streamed: RawTurn = {
  steps: [`data: ${JSON.stringify({ choices: [{ ...choice, delta: {} }], pad })}\n\n`, "data: [DONE]\n\n"]
}
const failure: RawTurn = { ...whole, status: 400 }

const kinds = [
  { name: "a body", turn: whole, path: "chat/completions", status: "completed" },
  // It stands before the end, which the client has not been sent.
  { name: "a stream", turn: streamed, path: "chat/completions", status: "cancelled" },
  { name: "an upstream's error", turn: failure, path: "chat/completions", status: "failed" },
  { name: "what is passed through", turn: whole, path: "files", status: null }
] as const

/** In milliseconds. */
const limit = 700

/** A client that reads nothing until it is told to. */
const client = Effect.fnUntraced(function* (turn: RawTurn, path: string) {
  const gateway = yield* startGateway({
    turns: [turn],
    config: () => ({ limits: { write: `${limit} millis`, event_bytes: 20_000_000 } })
  })
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => connect(gateway.port, "127.0.0.1")),
    (opened) => Effect.sync(() => opened.destroy())
  )
  const seen = { bytes: 0, closed: false }
  socket.on("data", (chunk) => {
    seen.bytes += chunk.length
  })
  socket.on("error", () => {})
  socket.on("close", () => {
    seen.closed = true
  })
  socket.pause()
  const body = JSON.stringify(chat)
  socket.write(`POST /up/v1/${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  return { gateway, socket, seen }
})

describe("a client within limits.write", () => {
  it.live.each(kinds.map((kind) => [kind.name, kind] as const))(
    "that takes nothing of %s is let go, and the record stays as it was settled",
    ([, { turn, path, status }]) =>
      Effect.gen(function* () {
        const { gateway, socket, seen } = yield* client(turn, path)
        if (status !== null) assert.strictEqual((yield* gateway.recordings.closed(1))[0]!.interception.status, status)
        yield* Effect.sleep(2 * limit)
        socket.resume()
        yield* eventually(() => seen.closed)
        assert.isBelow(seen.bytes, pad.length)
        if (status !== null) assert.strictEqual((yield* gateway.recordings.closed(1))[0]!.interception.status, status)
      })
  )

  it.live.each(kinds.map((kind) => [kind.name, kind] as const))(
    "that is slow to take %s gets all of it",
    ([, { turn, path }]) =>
      Effect.gen(function* () {
        const { socket, seen } = yield* client(turn, path)
        const started = performance.now()
        const pause = () => {
          socket.pause()
          setTimeout(() => socket.resume(), 6)
        }
        socket.on("data", pause)
        socket.resume()
        yield* eventually(() => seen.bytes > pad.length)
        assert.isAbove(performance.now() - started, limit)
        yield* Effect.sleep(1.5 * limit)
        assert.isFalse(seen.closed, "its connection was not kept")
      })
  )
})
