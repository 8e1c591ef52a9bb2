import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import { assert } from "@effect/vitest"
import { Deferred, Effect, type Scope } from "effect"
import { Gateway, type NotListening } from "../support/Gateway.ts"
import { listen } from "../support/LocalServer.ts"
import { WebSocketClient } from "../support/WebSocketClient.ts"
import { type UpstreamSocket, WebSocketUpstream } from "../support/WebSocketUpstream.ts"

/** What comes in between where the client does not read for long. */
const keepAlive = '{"type":"keepalive"}'

/** How much one event says, in characters. */
const pieceSize = 8_192

const piece = "x".repeat(pieceSize)

const event = (sequence_number: number, type: string, more: object): string =>
  JSON.stringify({ type, sequence_number, ...more })

const response = (status: string) => ({
  response: {
    id: "resp_1",
    object: "response",
    status,
    error: null,
    model: "m",
    output: [],
    usage: status === "completed" ? { input_tokens: 1, output_tokens: 7, total_tokens: 8 } : null
  }
})

/** The events of an answer with so many bytes of text, numbered in their order. */
function* eventsOf(bytes: number): Generator<string> {
  const pieces = Math.ceil(bytes / pieceSize)
  yield event(0, "response.created", response("in_progress"))
  for (let n = 1; n <= pieces; n++) {
    yield event(n, "response.output_text.delta", { item_id: "m", output_index: 0, content_index: 0, delta: piece })
  }
  yield event(pieces + 1, "response.completed", response("completed"))
}

/** How a gateway gets at the upstream: over a WebSocket, too, or by HTTP. */
export type Bridging = "native" | "bridged"

/** What was seen while a client did not read. */
export interface SlowClientReport {
  readonly bridging: Bridging
  /** The gateway's resident memory, in bytes: before, at its highest until the client went on, and to the end. */
  readonly memory: { readonly before: number; readonly stalled: number; readonly peak: number }
  /** How many bytes of events the upstream could write until it was stopped, and in all. */
  readonly written: { readonly stalled: number; readonly total: number }
  /** How many messages the client got, and whether each was the next by its number. */
  readonly received: { readonly messages: number; readonly bytes: number; readonly inOrder: boolean }
}

/** Of a process, in bytes: what it has in memory now, and at most since `clear`. Linux only. */
const memoryOf = (pid: number) => {
  const read = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024
  return { now: () => read("VmRSS"), peak: () => read("VmHWM") }
}

/** An answer on its way out of an upstream. */
interface Sending {
  readonly events: Generator<string>
  /** In bytes, without what frames them. */
  written: number
  readonly finished: Deferred.Deferred<void>
}

/** Writes until it would be too much; says whether that was all. */
const sendSome = (sending: Sending, send: (event: string) => boolean): boolean => {
  for (;;) {
    const { done, value } = sending.events.next()
    if (done === true) {
      Deferred.doneUnsafe(sending.finished, Effect.void)
      return true
    }
    sending.written += value.length
    if (!send(value)) return false
  }
}

const overWebSocket = (sending: Sending) =>
  WebSocketUpstream.make({
    onConnection: ({ socket, webSocket }: UpstreamSocket) => {
      const flow = () => {
        const all = sendSome(sending, (text) => {
          webSocket.send(text)
          return !socket.writableNeedDrain
        })
        if (!all) socket.once("drain", flow)
      }
      webSocket.once("message", flow)
    }
  }).pipe(Effect.map(({ url }) => url))

const byHttp = (sending: Sending) =>
  Effect.suspend(() => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      const flow = () => {
        if (sendSome(sending, (text) => response.write(`data: ${text}\n\n`))) response.end()
        else response.once("drain", flow)
      }
      flow()
    })
    return Effect.map(listen(server), ({ url }) => url)
  })

/**
 * Has a client stop reading in the middle of a large answer, and go on after a while.
 *
 * @param bytes how much the answer says
 * @param pause for how long it does not read, in milliseconds
 */
export const stallClient = Effect.fnUntraced(function* (
  bridging: Bridging,
  bytes: number,
  pause: number
): Effect.fn.Return<SlowClientReport, NotListening, Scope.Scope> {
  const sending: Sending = { events: eventsOf(bytes), written: 0, finished: Deferred.makeUnsafe() }
  const url = bridging === "native" ? yield* overWebSocket(sending) : yield* byHttp(sending)
  const gateway = yield* Gateway.start({
    config: { providers: { up: { type: "openai", base_url: `${url}/v1`, websocket: bridging === "native" } } }
  })
  const memory = memoryOf(gateway.pid)
  const client = yield* Effect.orDie(WebSocketClient.connect(`${gateway.url}/up/v1/responses`, { keep: false }))
  let messages = 0
  let keepAlives = 0
  let inOrder = true
  const begun = Deferred.makeUnsafe<void>()
  const completed = Deferred.makeUnsafe<void>()
  client.webSocket.on("message", (data: Buffer) => {
    const head = data.toString("latin1", 0, 80)
    if (head === keepAlive) {
      keepAlives++
      return
    }
    if (Number(/"sequence_number":(\d+)/.exec(head)?.[1]) !== messages) inOrder = false
    messages++
    if (head.includes("response.completed")) Deferred.doneUnsafe(completed, Effect.void)
    if (messages !== 10) return
    client.pause()
    Deferred.doneUnsafe(begun, Effect.void)
  })
  const before = memory.now()
  client.send({ type: "response.create", model: "m", input: "hi" })
  yield* Deferred.await(begun)
  yield* Effect.sleep(pause)
  const stalled = { memory: memory.peak(), written: sending.written }
  client.resume()
  yield* Deferred.await(completed)
  yield* Deferred.await(sending.finished)
  return {
    bridging,
    memory: { before, stalled: stalled.memory, peak: memory.peak() },
    written: { stalled: stalled.written, total: sending.written },
    received: { messages, bytes: client.bytes - keepAlives * keepAlive.length, inOrder }
  }
})

/**
 * By how many bytes the gateway's resident memory may exceed what it held when it had only started: while the client
 * does not read, whatever the size of the answer, and while it then takes the rest as fast as it comes, which is a
 * margin for V8 as in Sizes.test.ts.
 */
const memoryBounds = { stalled: 90_000_000, peak: 200_000_000 }

/**
 * How many bytes the upstream can write until it is stopped. The gateway keeps 1 MiB of unwritten and 1 MiB of unread
 * messages; most of this is in the operating system's buffers of four sockets.
 */
const writtenBound = 24_000_000

/** Nothing was lost, and nothing was kept that was not asked for. */
export const assertBounded = ({ memory, received, written }: SlowClientReport): void => {
  assert.isTrue(received.inOrder, "in order")
  assert.strictEqual(received.bytes, written.total)
  assert.isBelow(written.stalled, writtenBound)
  assert.isBelow(memory.stalled - memory.before, memoryBounds.stalled)
  assert.isBelow(memory.peak - memory.before, memoryBounds.peak)
}

const megabytes = (bytes: number): number => Math.round(bytes / 100_000) / 10

/** Prints what was measured. */
export const printReport = ({ bridging, memory, received, written }: SlowClientReport): Effect.Effect<void> =>
  Effect.sync(() =>
    process.stdout.write(
      `slow client, ${bridging}: ${megabytes(written.total)} MB in ${received.messages} messages, stopped after ${megabytes(written.stalled)} MB, memory ${megabytes(memory.before)} MB +${megabytes(memory.stalled - memory.before)} MB, then +${megabytes(memory.peak - memory.before)} MB\n`
    )
  )
