import { Effect, Schema, type Scope } from "effect"
import type { ChunkQueue } from "./ChunkQueue.ts"

/** Headers by lower-case name. A repeated header keeps its values apart. */
export type HeaderMap = { readonly [name: string]: string | ReadonlyArray<string> | undefined }

/** One HTTP request to a provider, its headers and credentials as they go out. */
export interface ExchangeRequest {
  readonly method: string
  /** Scheme, host and port. */
  readonly origin: string
  /** Path and query. */
  readonly target: string
  readonly headers: { readonly [name: string]: string }
  /** `null` where the request has no body. */
  readonly body: Buffer | null
  /** Says when nobody waits for the head any longer. An exchanger has to fail then with what it is told. */
  readonly giveUp?: GiveUp
}

/**
 * The end of somebody's patience, told to whoever is being waited for. That costs nothing where it is not needed, while
 * a race of fibers costs as much as all the rest of an exchange.
 */
export class GiveUp {
  private listener: ((error: UpstreamError) => void) | undefined
  private error: UpstreamError | undefined

  /** Sets who is told: at once, if it came to that before. */
  onGiveUp(listener: (error: UpstreamError) => void): void {
    this.listener = listener
    if (this.error !== undefined) listener(this.error)
  }

  tell(error: UpstreamError): void {
    this.error = error
    this.listener?.(error)
  }
}

/** An exchange that is an effect and knows nothing of giving up, made to. */
export const orGivenUp = <A, R>(
  exchange: Effect.Effect<A, UpstreamError, R>,
  giveUp: GiveUp | undefined
): Effect.Effect<A, UpstreamError, R> =>
  giveUp === undefined
    ? exchange
    : Effect.raceFirst(
        exchange,
        Effect.callback<never, UpstreamError>((resume) => giveUp.onGiveUp((error) => resume(Effect.fail(error))))
      )

/** A provider's answer: its head, and its body as it comes in. */
export interface Exchange {
  readonly status: number
  readonly headers: HeaderMap
  readonly body: ChunkQueue<UpstreamError>
}

/**
 * Carries one request to a provider and brings back the head of its answer: over HTTP, from the simulated provider, or
 * from a script in a test. No retries, no timeouts but the one for connecting: those are the same for all and stand
 * above. Closing the scope ends the exchange, whatever it was doing, and frees its connection.
 */
export type Exchanger = (request: ExchangeRequest) => Effect.Effect<Exchange, UpstreamError, Scope.Scope>

/** No connection, or one that broke before the first byte of an answer. */
export class Unreachable extends Schema.TaggedClass<Unreachable>()("Unreachable", {
  detail: Schema.String,
  /** The request was on its way when the connection broke: the provider may be at work on it. */
  sent: Schema.optionalKey(Schema.Boolean)
}) {
  readonly code = "upstream_unreachable"
  get message() {
    return `the upstream could not be reached: ${this.detail}`
  }
}

/** The answer broke off, or ended without its terminal frame. */
export class Cut extends Schema.TaggedClass<Cut>()("Cut", { detail: Schema.String }) {
  readonly code = "upstream_cut"
  get message() {
    return `the upstream's answer broke off: ${this.detail}`
  }
}

/** The answer is not what its dialect allows. */
export class Malformed extends Schema.TaggedClass<Malformed>()("Malformed", { detail: Schema.String }) {
  readonly code = "malformed"
  get message() {
    return `the upstream's answer is malformed: ${this.detail}`
  }
}

/** Nothing came for too long. */
export class TimedOut extends Schema.TaggedClass<TimedOut>()("TimedOut", {
  /** Which of `limits` ran out. */
  limit: Schema.Literals(["connect", "first_frame", "idle"])
}) {
  readonly code = "timeout"
  get message() {
    return `the upstream was silent for longer than limits.${this.limit}`
  }
}

/** A later turn of an interception was answered with an error. */
export class Declined extends Schema.TaggedClass<Declined>()("Declined", {
  status: Schema.Number,
  detail: Schema.String,
  /** Seconds. */
  retryAfter: Schema.NullOr(Schema.Number)
}) {
  readonly code = "upstream_status"
  get message() {
    return `the upstream answered ${this.status}${this.detail === "" ? "" : `: ${this.detail}`}`
  }
}

/** The model goes on calling injected tools in the last turn that an interception may have. */
export class OutOfTurns extends Schema.TaggedClass<OutOfTurns>()("OutOfTurns", { turns: Schema.Number }) {
  readonly code = "internal"
  get message() {
    return `the model still calls tools of the gateway in turn ${this.turns}, the last that tools.max_turns allows`
  }
}

/** Sluice itself is stopping, and what still ran at the end of `limits.drain` was ended. */
export class ShuttingDown extends Schema.TaggedClass<ShuttingDown>()("ShuttingDown", {}) {
  readonly code = "shutdown"
  get message() {
    return "the gateway is shutting down"
  }
}

/** What went wrong with an upstream; `reason.code` is the record's error code. */
export class UpstreamError extends Schema.TaggedError<UpstreamError>()("UpstreamError", {
  provider: Schema.String,
  reason: Schema.Union([Unreachable, Cut, Malformed, TimedOut, Declined, OutOfTurns, ShuttingDown])
}) {
  override get message() {
    return `${this.provider}: ${this.reason.message}`
  }
}
