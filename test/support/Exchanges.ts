import { Effect, Stream } from "effect"
import type { Exchange, Exchanger, ExchangeRequest, UpstreamError } from "../../src/upstream/Exchange.ts"
import type { TurnRequest } from "../../src/upstream/Upstream.ts"

/** A POST of JSON as an exchanger takes it. */
export const post = (path: string, body: unknown): ExchangeRequest => ({
  method: "POST",
  origin: "http://upstream.test",
  target: path,
  headers: { "content-type": "application/json" },
  body: Buffer.from(typeof body === "string" ? body : JSON.stringify(body))
})

/** A GET as an exchanger takes it. */
export const get = (path: string): ExchangeRequest => ({
  method: "GET",
  origin: "http://upstream.test",
  target: path,
  headers: {},
  body: null
})

/** A turn for the provider `up`: a POST, of Responses unless its path says otherwise. */
export const turnRequest = (body: Buffer, more: Partial<TurnRequest> = {}): TurnRequest => ({
  provider: "up",
  method: "POST",
  path: "/v1/responses",
  query: "",
  headers: {},
  credential: null,
  body,
  ...more
})

/** A whole answer: what came of its body, chunk by chunk, and what it broke off with. */
export interface ReadExchange {
  readonly status: number
  readonly headers: Exchange["headers"]
  readonly chunks: ReadonlyArray<Buffer>
  readonly text: string
  readonly error: UpstreamError | undefined
}

/** Reads a body to its end or failure into an array that can be watched meanwhile. */
export const drain = (exchange: Exchange, chunks: Array<Buffer>): Effect.Effect<UpstreamError | undefined> =>
  Stream.fromPull(Effect.succeed(exchange.body.pull)).pipe(
    Stream.runForEach((chunk) => Effect.sync(() => chunks.push(chunk))),
    Effect.match({ onFailure: (error) => error, onSuccess: () => undefined })
  )

/** Sends a request and reads the answer to its end. */
export const readAll = (exchanger: Exchanger, request: ExchangeRequest): Effect.Effect<ReadExchange, UpstreamError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const exchange = yield* exchanger(request)
      const chunks: Array<Buffer> = []
      const error = yield* drain(exchange, chunks)
      const text = Buffer.concat(chunks).toString("utf8")
      return { status: exchange.status, headers: exchange.headers, chunks, text, error }
    })
  )
