import { request as httpRequest } from "node:http"
import { Deferred, Effect, Scope } from "effect"

/** How a connection ended: as HTTP says an answer ends, or broken. */
export type Ending = "clean" | "reset"

export interface RawAnswer {
  readonly status: number
  /** By lower-case name. */
  readonly headers: { readonly [name: string]: string | ReadonlyArray<string> | undefined }
  /** The bytes that came so far, one entry for each read of the socket. */
  readonly chunks: ReadonlyArray<Buffer>
  /** When each of them came, in milliseconds since the request was sent. */
  readonly times: ReadonlyArray<number>
  /** All bytes so far. */
  readonly body: () => Buffer
  readonly text: () => string
  /** Waits until the answer has so many bytes, or is over. */
  readonly bytes: (count: number) => Effect.Effect<void>
  /** Waits for the end. */
  readonly ended: Effect.Effect<Ending>
  /** Leaves: destroys the connection at once. */
  readonly abort: () => void
}

export interface RawRequest {
  readonly url: string | URL
  readonly method?: string
  readonly headers?: { readonly [name: string]: string }
  /** Sent as it stands. */
  readonly body?: string | Uint8Array
}

/** No answer: the connection was refused, or broke before a head. */
export class NoAnswer {
  readonly _tag = "NoAnswer"
  readonly code: string
  constructor(code: string) {
    this.code = code
  }
}

/**
 * Sends a request over a connection of its own and answers with the head; the body comes in behind it.
 *
 * Real time: use it in `it.live`, or in `it.effect` where nothing waits for the clock. Closing the scope, or
 * interrupting the wait for the head, destroys the connection.
 */
const send = (given: RawRequest): Effect.Effect<RawAnswer, NoAnswer, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) =>
    Effect.callback<RawAnswer, NoAnswer>((resume) => {
      const started = performance.now()
      const ended = Deferred.makeUnsafe<Ending>()
      const chunks: Array<Buffer> = []
      const times: Array<number> = []
      const waiting = new Set<{ readonly count: number; readonly reached: Deferred.Deferred<void> }>()
      let size = 0
      const wake = (over: boolean) => {
        for (const waiter of waiting) {
          if (!over && size < waiter.count) continue
          waiting.delete(waiter)
          Deferred.doneUnsafe(waiter.reached, Effect.void)
        }
      }
      let over = false
      const end = (ending: Ending) => {
        if (over) return
        over = true
        Deferred.doneUnsafe(ended, Effect.succeed(ending))
        wake(true)
      }
      const request = httpRequest(
        given.url,
        {
          method: given.method ?? (given.body === undefined ? "GET" : "POST"),
          headers: {
            ...(given.body === undefined ? {} : { "content-length": String(Buffer.byteLength(given.body)) }),
            ...given.headers
          },
          agent: false
        },
        (response) => {
          response.on("data", (chunk: Buffer) => {
            chunks.push(chunk)
            times.push(performance.now() - started)
            size += chunk.length
            wake(false)
          })
          response.on("end", () => end("clean"))
          response.on("error", () => end("reset"))
          response.on("close", () => end(response.complete ? "clean" : "reset"))
          const answer: RawAnswer = {
            status: response.statusCode ?? 0,
            headers: response.headers,
            chunks,
            times,
            body: () => Buffer.concat(chunks),
            text: () => Buffer.concat(chunks).toString("utf8"),
            bytes: (count) =>
              Effect.suspend(() => {
                if (over || size >= count) return Effect.void
                const waiter = { count, reached: Deferred.makeUnsafe<void>() }
                waiting.add(waiter)
                return Deferred.await(waiter.reached)
              }),
            ended: Deferred.await(ended),
            abort: () => request.destroy()
          }
          resume(
            Effect.as(
              Scope.addFinalizer(
                scope,
                Effect.sync(() => request.destroy())
              ),
              answer
            )
          )
        }
      )
      request.on("error", (error: NodeJS.ErrnoException) => resume(Effect.fail(new NoAnswer(error.code ?? "unknown"))))
      request.end(given.body)
      return Effect.sync(() => request.destroy())
    })
  )

/** Posts JSON, as an SDK would. */
const post = (url: string | URL, body: unknown, headers: { readonly [name: string]: string } = {}) =>
  send({ url, body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers } })

/** An HTTP client that hides nothing: raw bytes, their times, and how the connection ended. */
export const RawClient = { send, post }
