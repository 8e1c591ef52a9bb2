import { Clock, Context, Deferred, type Duration, Effect, Exit, Layer, type Scope } from "effect"
import { type Exchanger, type HeaderMap, orGivenUp, Unreachable, UpstreamError } from "../upstream/Exchange.ts"
import { Exchangers } from "../upstream/Providers.ts"
import { playback, type Step } from "../upstream/simulated/Playback.ts"

export type { Step }

/**
 * What happens before the head of an answer.
 *
 * - `wait`: silence, by the Effect clock.
 * - `await`: silence until an effect is done, such as `latch.await` or `Deferred.await(deferred)`.
 * - `refuse`: no connection, or one that broke before a byte of the answer; a text says why.
 * - `hang`: no answer, ever.
 */
export type Opening =
  | { readonly wait: Duration.Input }
  | { readonly await: Effect.Effect<unknown> }
  | { readonly refuse: true | string }
  | { readonly hang: true }

/** One answer of a scripted upstream. Its body ends cleanly behind its last step unless a step says otherwise. */
export interface Turn {
  /** 200 unless given. */
  readonly status?: number
  /** By lower-case name; `content-type` is `application/json` unless given. */
  readonly headers?: HeaderMap
  /** What happens before the head; nothing unless given. */
  readonly opening?: ReadonlyArray<Opening>
  readonly body?: string | Uint8Array | ReadonlyArray<Step>
}

/** An event as it stands in `Turn.sse`: whole text that ends in a blank line, or a value to be put behind `data: `. */
const toEvent = (event: unknown): string => {
  if (typeof event !== "string") return `data: ${JSON.stringify(event)}\n\n`
  return /(?:\r\n|\r|\n){2}$/.test(event) ? event : `data: ${event}\n\n`
}

const isControl = (event: unknown): event is Exclude<Step, string> =>
  event instanceof Uint8Array ||
  (typeof event === "object" &&
    event !== null &&
    Object.keys(event).length === 1 &&
    ["wait", "await", "cut", "end", "hang"].some((key) => key in event))

const json = (value: unknown, options: { readonly status?: number; readonly headers?: HeaderMap } = {}): Turn => ({
  status: options.status ?? 200,
  headers: { "content-type": "application/json", ...options.headers },
  body: JSON.stringify(value)
})

/**
 * The turns that tests need most.
 *
 * @example
 * ```ts
 * import { Turn } from "sluice/testing"
 *
 * const turns = [
 *   Turn.error(429, { error: { message: "slow down" } }, { "retry-after": "1" }),
 *   Turn.sse([{ choices: [{ index: 0, delta: { content: "Hi" } }] }, { wait: "5 seconds" }, { cut: true }]),
 *   Turn.json({ id: "chatcmpl-1", choices: [] })
 * ]
 * ```
 */
export const Turn = {
  /**
   * A stream of server-sent events, each a network chunk of its own.
   *
   * @param events A value becomes the JSON of a `data:` line, as does a text the text of one; a text that ends in a
   * blank line goes out as it stands, and so do bytes. Steps such as `{ wait: "1 second" }` or `{ cut: true }` stand
   * between them.
   */
  sse: (events: ReadonlyArray<unknown>, options: { readonly headers?: HeaderMap } = {}): Turn => ({
    status: 200,
    headers: { "content-type": "text/event-stream; charset=utf-8", ...options.headers },
    body: events.map((event) => (isControl(event) ? event : toEvent(event)))
  }),

  /** A JSON body in one chunk. */
  json,

  /** An error before any stream; a text is sent as it stands. */
  error: (status: number, body: unknown, headers: HeaderMap = {}): Turn =>
    typeof body === "string" ? { status, headers, body } : json(body, { status, headers }),

  /** The connection is refused. */
  refused: { opening: [{ refuse: true }] } as Turn,

  /** The connection stands and nothing ever comes, not even a head. */
  hang: { opening: [{ hang: true }] } as Turn
}

/** How an exchange was over: its body had ended, it had failed by itself, or its scope was closed before either. */
export type Outcome = "finished" | "failed" | "aborted"

/** A request as a scripted upstream received it. */
export interface ReceivedRequest {
  readonly method: string
  readonly url: URL
  readonly headers: { readonly [name: string]: string }
  readonly body: Buffer | null
  /** The body as JSON; `undefined` where it is not JSON. */
  readonly json: unknown
  /** The turn that answered, from 0. */
  readonly index: number
  /** When it came, in milliseconds of the Effect clock. */
  readonly receivedAt: number
  /** How it was over; `undefined` while its scope is open. */
  readonly outcome: Outcome | undefined
  /** When its scope was closed, in milliseconds of the Effect clock. */
  readonly closedAt: number | undefined
  /** Waits until its scope is closed. */
  readonly closed: Effect.Effect<Outcome>
}

/** A scripted upstream: give `exchanger` to what is tested, and look at `requests`. */
export interface Scripted {
  readonly exchanger: Exchanger
  /** What was received so far, in order. Grows; the entries of open exchanges change. */
  readonly requests: ReadonlyArray<ReceivedRequest>
  /** Waits until so many requests were received. */
  readonly received: (count: number) => Effect.Effect<ReadonlyArray<ReceivedRequest>>
}

class Received implements ReceivedRequest {
  readonly method: string
  readonly url: URL
  readonly headers: { readonly [name: string]: string }
  readonly body: Buffer | null
  readonly index: number
  readonly receivedAt: number
  outcome: Outcome | undefined
  closedAt: number | undefined
  private readonly over = Deferred.makeUnsafe<Outcome>()
  readonly closed = Deferred.await(this.over)

  constructor(request: Parameters<Exchanger>[0], index: number, receivedAt: number) {
    this.method = request.method
    this.url = new URL(request.target, request.origin)
    this.headers = request.headers
    this.body = request.body
    this.index = index
    this.receivedAt = receivedAt
  }

  get json(): unknown {
    try {
      return JSON.parse(this.body?.toString("utf8") ?? "")
    } catch {
      return undefined
    }
  }

  close(outcome: Outcome, now: number): void {
    this.outcome = outcome
    this.closedAt = now
    Deferred.doneUnsafe(this.over, Effect.succeed(outcome))
  }
}

const provider = "scripted"

const open = Effect.fnUntraced(function* (opening: ReadonlyArray<Opening>) {
  for (const step of opening) {
    if ("wait" in step) yield* Effect.sleep(step.wait)
    else if ("await" in step) yield* step.await
    else if ("hang" in step) return yield* Effect.never
    else {
      const detail = step.refuse === true ? "connect ECONNREFUSED" : step.refuse
      return yield* new UpstreamError({ provider, reason: new Unreachable({ detail }) })
    }
  }
})

/**
 * Makes an upstream that answers its requests from a script, in the order they come in.
 *
 * A request behind the last turn is a defect, there and once more when the scope closes, so that the test fails even
 * where what is tested has taken the defect for an error of the upstream.
 *
 * @param turns The answers in order, or a function of the request and its number, from 0.
 *
 * @example
 * ```ts
 * import { assert, it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { Scripted, Turn } from "sluice/testing"
 *
 * it.effect("asks again after a 429", () =>
 *   Effect.gen(function* () {
 *     const upstream = yield* Scripted.make([Turn.error(429, "", { "retry-after": "1" }), Turn.json({ id: "a" })])
 *     yield* callWithRetries(upstream.exchanger)
 *     assert.strictEqual(upstream.requests.length, 2)
 *     assert.strictEqual(yield* upstream.requests[0]!.closed, "finished")
 *   }))
 * ```
 */
const make = Effect.fnUntraced(function* (
  turns: ReadonlyArray<Turn> | ((request: ReceivedRequest, index: number) => Turn)
): Effect.fn.Return<Scripted, never, Scope.Scope> {
  const requests: Array<Received> = []
  const waiting: Array<{ readonly count: number; readonly reached: Deferred.Deferred<void> }> = []
  const unexpected: Array<string> = []
  yield* Effect.addFinalizer((exit) =>
    unexpected.length > 0 && Exit.isSuccess(exit) ? Effect.die(new Error(unexpected.join("\n"))) : Effect.void
  )

  const exchanger: Exchanger = Effect.fnUntraced(
    function* (request) {
      const index = requests.length
      const received = new Received(request, index, yield* Clock.currentTimeMillis)
      requests.push(received)
      let settled: () => Outcome = () => "aborted"
      yield* Effect.addFinalizer(() =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          received.close(settled(), now)
        })
      )
      for (const { count, reached } of waiting) {
        if (requests.length >= count) Deferred.doneUnsafe(reached, Effect.void)
      }
      const turn = typeof turns === "function" ? turns(received, index) : turns[index]
      if (turn === undefined) {
        const message = `the script has ${turns.length} turns, but request ${index + 1} came in: ${request.method} ${request.origin}${request.target}`
        unexpected.push(message)
        return yield* Effect.die(new Error(message))
      }
      yield* Effect.tapError(open(turn.opening ?? []), () =>
        Effect.sync(() => {
          settled = () => "failed"
        })
      )
      const { body = "", headers = {}, status = 200 } = turn
      const steps = typeof body === "string" || body instanceof Uint8Array ? [body] : body
      const head = { status, headers: { "content-type": "application/json", ...headers } }
      const exchange = yield* playback(provider, head, steps)
      const ending = steps.some((step) => typeof step === "object" && "cut" in step) ? "failed" : "finished"
      // Added behind the playback's own finalizer, so that it sees the body before that closes it.
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          const outcome = exchange.body.closed ? ending : "aborted"
          settled = () => outcome
        })
      )
      return exchange
    },
    (exchange, request) => orGivenUp(exchange, request.giveUp)
  )

  return {
    exchanger,
    requests,
    received: (count) =>
      Effect.suspend(() => {
        if (requests.length >= count) return Effect.succeed(requests)
        const reached = Deferred.makeUnsafe<void>()
        waiting.push({ count, reached })
        return Effect.as(Deferred.await(reached), requests)
      })
  }
})

/** Scripted upstreams. */
export const Scripted = { make }

/**
 * A script in the place of every provider of a gateway.
 *
 * @example
 * ```ts
 * const gateway = Sluice.layer({ providers: { up: Provider.openai({ apiKey: "test" }) } }).pipe(
 *   Layer.provideMerge(ScriptedUpstream.layer([Turn.json({ choices: [] })])),
 *   Layer.provideMerge(Recordings.layer)
 * )
 * ```
 */
export class ScriptedUpstream extends Context.Service<ScriptedUpstream, Scripted>()("sluice/testing/ScriptedUpstream") {
  /** Follows a script; see `Scripted.make`. The gateway has to be built on top of it. */
  static layer(script: Parameters<typeof make>[0]): Layer.Layer<ScriptedUpstream> {
    return Layer.effectContext(
      Effect.map(make(script), (scripted) =>
        Context.make(ScriptedUpstream, scripted).pipe(
          Context.add(Exchangers, () => Effect.succeed(() => scripted.exchanger))
        )
      )
    )
  }
}
