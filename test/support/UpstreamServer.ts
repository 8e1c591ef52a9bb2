import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { Deferred, Effect, type Scope } from "effect"
import { listen } from "./LocalServer.ts"

/**
 * One step of a raw answer.
 *
 * - text or bytes: written to the socket as one chunk.
 * - `wait`: silence for so many milliseconds of real time.
 * - `await`: silence until a promise is settled; see `gate`.
 * - `reset`: the connection is reset (RST).
 * - `fin`: the socket is closed (FIN) before HTTP says that the body ends.
 * - `hang`: nothing more, ever.
 *
 * Behind the last step the body ends as HTTP says.
 */
export type RawStep =
  | string
  | Uint8Array
  | { readonly wait: number }
  | { readonly await: Promise<unknown> }
  | { readonly reset: true }
  | { readonly fin: true }
  | { readonly hang: true }

export interface RawTurn {
  /** 200 unless given. */
  readonly status?: number
  /** `content-type: text/event-stream` unless given. */
  readonly headers?: { readonly [name: string]: string | ReadonlyArray<string> }
  /** What happens before the head. */
  readonly before?: ReadonlyArray<Exclude<RawStep, string | Uint8Array>>
  readonly steps?: ReadonlyArray<RawStep>
}

/** A request as it came in, and what has become of it. */
export interface ServedRequest {
  readonly method: string
  /** Path and query as they were sent. */
  readonly url: string
  readonly headers: IncomingMessage["headers"]
  /** Names and values as they were sent, in turn. */
  readonly rawHeaders: ReadonlyArray<string>
  readonly body: Buffer
  readonly text: string
  /** The connection it came over, numbered from 1. */
  readonly connection: number
  /** `performance.now()` when its last byte had come in. */
  readonly receivedAt: number
  /** `performance.now()` when the client left before the answer had ended; `undefined` if it did not. */
  readonly abortedAt: number | undefined
  /** Waits until the answer is over: whether it was sent whole, broken by the script, or left by the client. */
  readonly over: Effect.Effect<"sent" | "broken" | "aborted">
}

export interface UpstreamServer {
  /** `http://127.0.0.1:port`, without a slash behind it. */
  readonly url: string
  readonly port: number
  /** In the order they came in whole. */
  readonly requests: ReadonlyArray<ServedRequest>
  /** Waits until so many requests have come in. */
  readonly received: (count: number) => Effect.Effect<ReadonlyArray<ServedRequest>>
  /** How many sockets are open now. */
  readonly openSockets: () => number
  /** How many connections there were in all. */
  readonly connections: () => number
  /** Stops listening and breaks every connection: from now on they are refused. */
  readonly refuse: Effect.Effect<void>
}

/** Something that waits until a test opens it. */
export const gate = (): { readonly opened: Promise<void>; readonly open: () => void } => {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}

class Served implements ServedRequest {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage["headers"]
  readonly rawHeaders: ReadonlyArray<string>
  readonly body: Buffer
  readonly connection: number
  readonly receivedAt = performance.now()
  abortedAt: number | undefined
  private done = false
  private readonly ended = Deferred.makeUnsafe<"sent" | "broken" | "aborted">()
  readonly over = Deferred.await(this.ended)

  constructor(request: IncomingMessage, body: Buffer, connection: number) {
    this.method = request.method ?? ""
    this.url = request.url ?? ""
    this.headers = request.headers
    this.rawHeaders = request.rawHeaders
    this.body = body
    this.connection = connection
  }

  get text(): string {
    return this.body.toString("utf8")
  }

  end(how: "sent" | "broken" | "aborted"): void {
    if (this.done) return
    this.done = true
    if (how === "aborted") this.abortedAt = performance.now()
    Deferred.doneUnsafe(this.ended, Effect.succeed(how))
  }
}

/** Plays steps until one of them ends the answer; says how, `undefined` where the steps are at their end. */
const play = async (
  steps: ReadonlyArray<RawStep>,
  response: ServerResponse,
  timers: Set<NodeJS.Timeout>
): Promise<"broken" | "hangs" | undefined> => {
  for (const step of steps) {
    if (response.destroyed) return "hangs"
    if (typeof step === "string" || step instanceof Uint8Array) {
      // Each write goes out before the next, so that the client reads the chunks one by one.
      if (step.length > 0) await new Promise<void>((written) => response.write(step, () => written()))
    } else if ("wait" in step) {
      await new Promise<void>((done) => {
        const timer = setTimeout(() => {
          timers.delete(timer)
          done()
        }, step.wait)
        timers.add(timer)
      })
    } else if ("await" in step) await step.await
    else if ("hang" in step) return "hangs"
    else {
      if ("reset" in step) response.socket?.resetAndDestroy()
      else response.socket?.end()
      return "broken"
    }
  }
  return undefined
}

/**
 * Starts an HTTP server on a free port of 127.0.0.1 that answers from a script. Closing the scope breaks every
 * connection and stops it. Real time and real sockets.
 *
 * @param turns The answers in order, the last one for all that follow; or a function of the request and its number.
 */
const make = (
  turns: ReadonlyArray<RawTurn> | ((request: ServedRequest, index: number) => RawTurn)
): Effect.Effect<UpstreamServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const requests: Array<Served> = []
    const numbers = new WeakMap<Socket, number>()
    const timers = new Set<NodeJS.Timeout>()
    const waiting = new Set<{ readonly count: number; readonly reached: Deferred.Deferred<void> }>()
    let connections = 0

    const answer = async (served: Served, index: number, response: ServerResponse) => {
      const turn = typeof turns === "function" ? turns(served, index) : (turns[index] ?? turns[turns.length - 1])
      if (turn === undefined) {
        response.writeHead(500).end("the script is empty")
        return
      }
      let how = await play(turn.before ?? [], response, timers)
      if (how === undefined) {
        for (const [name, value] of Object.entries(turn.headers ?? { "content-type": "text/event-stream" })) {
          response.setHeader(name, value as string | Array<string>)
        }
        response.writeHead(turn.status ?? 200)
        response.flushHeaders()
        how = await play(turn.steps ?? [], response, timers)
      }
      if (how === "broken") served.end("broken")
      else if (how === undefined) response.end()
    }

    const server = createServer((request, response) => {
      const parts: Array<Buffer> = []
      request.on("data", (part: Buffer) => parts.push(part))
      request.on("end", () => {
        const served = new Served(request, Buffer.concat(parts), numbers.get(request.socket) ?? 0)
        const index = requests.push(served) - 1
        response.on("finish", () => served.end("sent"))
        response.on("close", () => served.end("aborted"))
        for (const { count, reached } of waiting) {
          if (requests.length >= count) Deferred.doneUnsafe(reached, Effect.void)
        }
        void answer(served, index, response)
      })
      request.on("error", () => {})
      response.on("error", () => {})
    })
    server.on("connection", (socket: Socket) => {
      numbers.set(socket, ++connections)
    })

    const { close, port, sockets, url } = yield* listen(server)
    const refuse = Effect.suspend(() => {
      for (const timer of timers) clearTimeout(timer)
      return close
    })
    // This runs before what `listen` leaves behind: no script goes on over broken connections.
    yield* Effect.addFinalizer(() => refuse)
    return {
      url,
      port,
      requests,
      received: (count) =>
        Effect.suspend(() => {
          if (requests.length >= count) return Effect.succeed(requests)
          const waiter = { count, reached: Deferred.makeUnsafe<void>() }
          waiting.add(waiter)
          return Effect.as(Deferred.await(waiter.reached), requests)
        }),
      openSockets: () => sockets.size,
      connections: () => connections,
      refuse
    }
  })

/** A port of 127.0.0.1 on which nothing listens. */
const closedPort: Effect.Effect<number> = Effect.scoped(Effect.map(make([]), ({ port }) => port))

/** Real HTTP servers that answer from a script. */
export const UpstreamServer = { make, closedPort }
