import { Clock, Effect, Exit, Random, Scope } from "effect"
import { isObject } from "../dialect/Json.ts"
import { whole } from "../wire/Frame.ts"
import { mask } from "./Credential.ts"
import { Declined, type HeaderMap, Malformed, TimedOut, UpstreamError } from "./Exchange.ts"
import type { Peer } from "./Peer.ts"
import { askedWait, isTransient, waitAfterAnswer, waitAfterFailure } from "./Retry.ts"

/** The handshake of one WebSocket to a provider, its headers and credentials as they go out. */
export interface DialRequest {
  /** Scheme (`http` or `https`), host and port. */
  readonly origin: string
  /** Path and query. */
  readonly target: string
  readonly headers: { readonly [name: string]: string }
}

/** The provider is at the other end. */
export interface Connected {
  readonly _tag: "Connected"
  readonly peer: Peer
  /** The headers of the handshake's answer. */
  readonly headers: HeaderMap
}

/** The provider answered with a status instead. */
export interface Answered {
  readonly _tag: "Answered"
  readonly status: number
  readonly headers: HeaderMap
  /** The beginning of the answer's body. */
  readonly body: Buffer
}

/**
 * Opens one WebSocket to a provider: over the network, or to a script in a test. No retries, no timeouts but the one
 * for connecting, as with an `Exchanger`. Closing the scope closes the connection, or stops the dialling.
 */
export type Dialer = (request: DialRequest) => Effect.Effect<Connected | Answered, UpstreamError, Scope.Scope>

/** How long and how often it is dialled; times are in milliseconds. */
export interface DialLimits {
  /** For all attempts together, and the waits between them. */
  readonly firstFrame: number
  /** How often it is dialled again. */
  readonly times: number
  readonly maxWait: number
}

/** How long is waited for another attempt after an answer, in milliseconds; only one is made. */
const answeredWait = 1_000

/**
 * Dials a provider until it is connected or nothing better is to be expected. Nothing has been asked of a model yet, so
 * whatever may pass is tried again: soon, or not at all, for whoever waits can do without a WebSocket, and what takes its
 * place has its own attempts. A rate limit is not.
 *
 * @param secrets what must not be shown of an error that it is answered with
 */
export const dial = Effect.fnUntraced(function* (
  provider: string,
  dialer: Dialer,
  request: DialRequest,
  limits: DialLimits,
  secrets: ReadonlyArray<string>
): Effect.fn.Return<Connected, UpstreamError, Scope.Scope> {
  const scope = yield* Effect.scope
  const fail = (reason: UpstreamError["reason"]) => Effect.fail(new UpstreamError({ provider, reason }))
  const end = (yield* Clock.currentTimeMillis) + limits.firstFrame
  let answers = 0
  const waitAfter = (answer: Answered, attempts: number, random: number, now: number) => {
    if (answer.status === 429 || ++answers > 1) return null
    return waitAfterAnswer(answer, attempts, Math.min(limits.maxWait, answeredWait), random, now)
  }
  for (let attempts = 1; ; attempts++) {
    const own = Scope.forkUnsafe(scope)
    const left = end - (yield* Clock.currentTimeMillis)
    const result = yield* dialer(request).pipe(
      Scope.provide(own),
      Effect.timeoutOrElse({ duration: left, orElse: () => fail(new TimedOut({ limit: "first_frame" })) }),
      Effect.result
    )
    if (result._tag === "Success" && result.success._tag === "Connected") return result.success
    // What an attempt holds is freed at once.
    yield* Scope.close(own, Exit.void)
    const now = yield* Clock.currentTimeMillis
    const random = yield* Random.next
    const [error, wait] =
      result._tag === "Failure"
        ? [result.failure, mayPass(result.failure) ? waitAfterFailure(attempts, limits.maxWait, random) : null]
        : [
            new UpstreamError({ provider, reason: declined(result.success as Answered, secrets, now) }),
            waitAfter(result.success as Answered, attempts, random, now)
          ]
    if (attempts > limits.times || wait === null || now + wait >= end) return yield* error
    yield* Effect.sleep(wait)
  }
})

const mayPass = ({ reason }: UpstreamError): boolean =>
  reason._tag === "Unreachable" || (reason._tag === "TimedOut" && reason.limit === "connect")

/** The longest part of an upstream's error message that is kept. */
const longestMessage = 500

/** What a status instead of a handshake means: one that is no error is none that a client could be told. */
const declined = (
  { body, headers, status }: Answered,
  secrets: ReadonlyArray<string>,
  now: number
): UpstreamError["reason"] => {
  if (status < 400) return new Malformed({ detail: `it answered ${status} to the handshake of a WebSocket` })
  const wait = isTransient(status) ? askedWait(headers, now) : null
  return new Declined({
    status,
    detail: mask(messageIn(body), secrets).slice(0, longestMessage),
    retryAfter: wait === null ? null : Math.ceil(wait / 1000)
  })
}

/** What the body of an error says, in the form that all dialects share. */
const messageIn = (body: Buffer): string => {
  const { json } = whole("body", body)
  const error = isObject(json) && isObject(json["error"]) ? json["error"] : json
  const message = isObject(error) ? error["message"] : undefined
  return typeof message === "string" ? message : ""
}
