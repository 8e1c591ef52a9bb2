import { connect, type Socket } from "node:net"
import { Deferred, Effect, Layer, References, type Scope } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { serve } from "../../src/http/Server.ts"
import { Recorder } from "../../src/recorder/Recorder.ts"
import * as Sluice from "../../src/Sluice.ts"
import { Recordings } from "../../src/testing/Recordings.ts"
import { type RawTurn, UpstreamServer } from "../support/UpstreamServer.ts"

/** A gateway on a free port of 127.0.0.1, with an upstream behind it and a view of what it recorded. */
export interface Gateway {
  /** `http://127.0.0.1:port`, without a slash behind it. */
  readonly url: string
  readonly port: number
  readonly upstream: UpstreamServer
  readonly recordings: Recordings["Service"]
  /** What stands behind `recordings`. */
  readonly recorder: Recorder["Service"]
}

/** The shortest chat request, as one object. */
export const chat = { model: "m", messages: [{ role: "user", content: "hello" }] }

/** A `chat.completion` as an upstream answers it. */
export const completion = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  model: "m-1",
  choices: [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }],
  usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
})

/** The answer most tests need: `completion` as JSON. */
export const answers: RawTurn = { headers: { "content-type": "application/json" }, steps: [completion] }

/**
 * Starts a gateway in process, on real sockets. It has the provider `up`, which brings a central key to the upstream,
 * unless the config names others.
 */
export const startGateway = (
  options: {
    /** What the upstream answers; see `UpstreamServer.make`. */
    readonly turns?: Parameters<typeof UpstreamServer.make>[0]
    /** Given the upstream's address. */
    readonly config?: (upstreamUrl: string) => SluiceConfigInput
    /** What else it runs with, such as a tracer; nothing is logged unless given. */
    readonly services?: Layer.Layer<never>
  } = {}
): Effect.Effect<Gateway, never, Scope.Scope> =>
  Effect.gen(function* () {
    const upstream = yield* UpstreamServer.make(options.turns ?? [answers])
    const { server, ...config } = options.config?.(upstream.url) ?? {}
    const services = yield* Layer.build(
      Sluice.layer({
        providers: { up: { type: "openai", base_url: `${upstream.url}/v1`, api_key: "central-key" } },
        retries: { times: 0 },
        ...config,
        server: { port: 0, ...server }
      }).pipe(
        Layer.provideMerge(Recordings.layer),
        Layer.provideMerge(options.services ?? Layer.succeed(References.MinimumLogLevel, "None"))
      )
    )
    const listening = Deferred.makeUnsafe<number>()
    yield* Effect.forkScoped(
      serve(Sluice.serviceRoutes, (port) => Deferred.succeed(listening, port)).pipe(Effect.provideContext(services))
    )
    const port = yield* Deferred.await(listening)
    const recordings = yield* Effect.provideContext(Recordings, services)
    const recorder = yield* Effect.provideContext(Recorder, services)
    return { url: `http://127.0.0.1:${port}`, port, upstream, recordings, recorder }
  }).pipe(Effect.orDie)

/** A body as chunks of so many bytes (RFC 9112, section 7.1). */
export const chunked = (body: string | Uint8Array, size = 1000): Buffer => {
  const bytes = Buffer.from(body as string)
  const parts: Array<Buffer> = []
  for (let at = 0; at < bytes.length; at += size) {
    const part = bytes.subarray(at, at + size)
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n"))
  }
  return Buffer.concat([...parts, Buffer.from("0\r\n\r\n")])
}

/** A bare connection: what is written goes out as it stands, and what comes is kept. */
export interface Wire {
  readonly write: (text: string | Uint8Array) => void
  /** Everything that came so far, one character for each byte. */
  readonly text: () => string
  /** Waits until something stands in what came, or the connection is over. */
  readonly until: (expected: string | RegExp) => Effect.Effect<string>
  /** Waits until the connection is over. */
  readonly closed: Effect.Effect<string>
  /** Leaves at once. */
  readonly leave: () => void
  /** Breaks the connection off. */
  readonly reset: () => void
}

/** Opens a bare connection to a port of 127.0.0.1. */
export const wire = (port: number): Effect.Effect<Wire, never, Scope.Scope> =>
  Effect.gen(function* () {
    let text = ""
    let over = false
    const looks = new Set<() => void>()
    const socket = yield* Effect.acquireRelease(
      Effect.callback<Socket>((resume) => {
        const opened = connect(port, "127.0.0.1", () => resume(Effect.succeed(opened)))
      }),
      (opened) => Effect.sync(() => opened.destroy())
    )
    const look = () => {
      for (const one of looks) one()
    }
    socket.setEncoding("latin1")
    socket.on("data", (chunk) => {
      text += String(chunk)
      look()
    })
    socket.on("error", () => {})
    socket.on("close", () => {
      over = true
      look()
    })
    const wait = (done: () => boolean) =>
      Effect.callback<string>((resume) => {
        const one = () => {
          if (done()) resume(Effect.succeed(text))
        }
        looks.add(one)
        one()
        return Effect.sync(() => looks.delete(one))
      })
    return {
      write: (sent) => {
        socket.write(sent)
      },
      text: () => text,
      until: (expected) =>
        wait(() => over || (typeof expected === "string" ? text.includes(expected) : expected.test(text))),
      closed: wait(() => over),
      leave: () => {
        socket.destroy()
      },
      reset: () => {
        socket.resetAndDestroy()
      }
    }
  })
