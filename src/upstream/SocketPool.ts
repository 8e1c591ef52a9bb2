import { createHash } from "node:crypto"
import { Deferred, type Duration, Effect, Scope } from "effect"
import { addedTo, continuingMessage, createMessage, type SocketRequest, socketRequest } from "./Continuation.ts"
import type { Dialer, DialRequest } from "./Dial.ts"
import {
  type Exchange,
  type Exchanger,
  type ExchangeRequest,
  orGivenUp,
  Unreachable,
  UpstreamError
} from "./Exchange.ts"
import type { IdleTimers } from "./IdleTimers.ts"
import { PooledSocket, PooledTurn, type SocketOwner, told, tooOld } from "./PooledSocket.ts"

/** What a pool of WebSockets to one provider needs. */
export interface SocketPoolOptions {
  readonly provider: string
  /** Carries what does not go over a WebSocket. */
  readonly http: Exchanger
  readonly dialer: Dialer
  readonly timers: IdleTimers["Service"]
  /** How long connecting may take, and the handshake; `limits.connect`. */
  readonly connect: Duration.Duration
}

/** How many WebSockets are kept for later, of a provider, and of those the ones with the same headers. */
const mostIdle = 32
const mostIdleAlike = 8

/** How long a provider is not dialled again that could not be, in milliseconds. */
const holdOff = 60_000

/**
 * Carries streams of Responses over WebSockets that are kept between requests, and everything else over HTTP. Closing
 * the scope closes all of them.
 *
 * A WebSocket serves one request at a time, without a name of a lane, which every provider understands; it is shared by
 * requests with the same credential and the same other headers. Where a request goes on from the response before on the
 * same WebSocket, only what it adds is sent. Whoever called sees what HTTP would have answered: the events, and an error
 * that comes in place of a response as an answer with a status. The head comes with the first message for that, which is
 * when providers send it over HTTP, too. Of headers it has the content type: those of the handshake are of another time.
 *
 * Where the provider cannot be dialled the request goes over HTTP, and for a minute all that follow do. Closing the
 * scope of an exchange before its end closes its WebSocket: there is no other way to cancel a response.
 */
export const socketPool = (options: SocketPoolOptions): Effect.Effect<Exchanger, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => Scope.makeUnsafe("parallel")),
      Scope.close
    ),
    (scope): Exchanger => {
      const pool = new SocketPool(options, scope)
      return (request) => pool.exchange(request)
    }
  )

/** One that was idle. */
interface Taken {
  readonly socket: PooledSocket
  readonly message: Buffer | null
}

class SocketPool implements SocketOwner {
  private readonly options: SocketPoolOptions
  private readonly scope: Scope.Scope
  /** Those that nobody uses, the one that was used last at the end. */
  private readonly idle: Array<PooledSocket> = []
  private heldOffUntil = 0

  constructor(options: SocketPoolOptions, scope: Scope.Scope) {
    this.options = options
    this.scope = scope
  }

  exchange(request: ExchangeRequest): ReturnType<Exchanger> {
    return Effect.suspend(() => {
      const asked = this.options.timers.now() < this.heldOffUntil ? null : askedOver(request)
      return asked === null ? this.options.http(request) : this.overSocket(request, asked)
    })
  }

  private readonly overSocket = Effect.fnUntraced(
    { self: this },
    function* (
      this: SocketPool,
      request: ExchangeRequest,
      asked: SocketRequest
    ): Effect.fn.Return<Exchange, UpstreamError, Scope.Scope> {
      const { giveUp } = request
      const dialled = handshakeOf(request)
      // A hash, so that printing a connection shows no credential.
      const key = createHash("sha256").update(JSON.stringify(dialled)).digest("base64")
      let used: { readonly socket: PooledSocket; readonly turn: PooledTurn } | null = null
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (used !== null && !used.turn.over) used.socket.stop()
        })
      )
      let continues = true
      for (let attempts = 1; ; attempts++) {
        const kept = this.take(key, continues ? asked : null)
        const socket = kept?.socket ?? new PooledSocket(key, this.options.timers, this)
        const message = kept === null ? null : kept.message
        const turn = new PooledTurn(this.options.provider, asked, message !== null)
        used = { socket, turn }
        if (kept === null) {
          yield* Effect.forkIn(this.life(socket, dialled), this.scope, { startImmediately: true })
          const open = yield* orGivenUp(Deferred.await(socket.opened), giveUp)
          if (!open) return yield* this.options.http(request)
        }
        const sent = yield* orGivenUp(socket.send(turn, message ?? createMessage(asked)), giveUp)
        if (!sent) {
          // It was closed in this moment, and has not been asked.
          if (kept === null) return yield* this.options.http(request)
          continue
        }
        const answered = yield* orGivenUp(Deferred.await(turn.answered), giveUp)
        if (answered._tag === "Begun") return { status: 200, headers: eventStream, body: turn.queue }
        if (answered._tag === "Lost") {
          // RFC 6455, section 7.4.1: the message is larger than the provider takes, so that it was not read.
          if (answered.close.code === 1009) return yield* this.options.http(request)
          const detail = `its WebSocket was closed (${told(answered.close)})`
          const reason = new Unreachable({ detail, sent: true })
          return yield* new UpstreamError({ provider: this.options.provider, reason })
        }
        const { refusal } = answered
        if (refusal.code === tooOld && attempts < mostAttempts) continue
        // Whatever the provider does not like of going on, it may like of the same in full. Nothing has been generated yet.
        if (turn.continues && (refusal.status === 400 || refusal.status === 404)) {
          continues = false
          continue
        }
        turn.queue.offer(refusal.body)
        turn.queue.end()
        return { status: refusal.status, headers: refusal.headers, body: turn.queue }
      }
    }
  )

  /**
   * The best of those that are idle: the one to go on with, one that nobody can go on with, or the one idle longest.
   *
   * @param asked the request, where it may go on from another; `message` is what it is then sent as
   */
  private take(key: string, asked: SocketRequest | null): Taken | null {
    const now = this.options.timers.now()
    const alike = this.idle.filter((socket) => socket.key === key && socket.usable(now))
    let found: Taken | null = null
    for (const socket of asked === null ? [] : alike) {
      const added = socket.memory === null ? null : addedTo(socket.memory, asked!)
      if (added !== null) found = { socket, message: continuingMessage(asked!, socket.memory!.id, added) }
    }
    if (found === null) {
      const forgetful = alike.findLast(({ memory }) => memory === null)
      const socket = forgetful ?? (alike.length < mostIdleAlike ? undefined : alike[0])
      if (socket === undefined) return null
      found = { socket, message: null }
    }
    this.ended(found.socket)
    return found
  }

  rested(socket: PooledSocket): void {
    if (!socket.rest()) return
    this.idle.push(socket)
    this.options.timers.watch(socket)
    if (this.idle.length > mostIdle) this.idle[0]!.stop()
  }

  ended(socket: PooledSocket): void {
    this.options.timers.unwatch(socket)
    const place = this.idle.indexOf(socket)
    if (place !== -1) this.idle.splice(place, 1)
  }

  /** A connection from its dial to its end. */
  private life(socket: PooledSocket, dialled: DialRequest): Effect.Effect<void> {
    const { connect, dialer } = this.options
    const dial = dialer(dialled).pipe(Effect.timeoutOption(connect), Effect.result)
    const open = Effect.flatMap(dial, (result) => {
      if (result._tag === "Success" && result.success._tag === "Some") {
        const answer = result.success.value
        if (answer._tag === "Connected") return socket.read(answer.peer)
        return isOfOne(answer.status) ? Effect.void : this.holdOff(`it was answered ${answer.status}`)
      }
      return this.holdOff(result._tag === "Failure" ? result.failure.reason.message : "the handshake took too long")
    })
    return Effect.raceFirst(Effect.scoped(open), socket.stopped).pipe(Effect.ensuring(Effect.sync(() => socket.end())))
  }

  private holdOff(why: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { provider, timers } = this.options
      this.heldOffUntil = timers.now() + holdOff
      return Effect.logWarning(`${provider}: no WebSocket for its pool, so HTTP for a minute: ${why}`)
    })
  }
}

/** How often a request is sent where one WebSocket after the other is too old. */
const mostAttempts = 3

const eventStream = { "content-type": "text/event-stream" }

/** Whether the answer to a handshake says something about its credential or its headers, and nothing about WebSockets. */
const isOfOne = (status: number): boolean => status < 500 && status !== 404 && status !== 405 && status !== 426

/** What may go over a WebSocket of a request; `null` where it has to go over HTTP. */
const askedOver = ({ body, headers, method, target }: ExchangeRequest): SocketRequest | null => {
  // The promise of this header is kept for a request, and there is none for a message.
  if (method !== "POST" || body === null || headers["idempotency-key"] !== undefined) return null
  return /\/responses(?:\?|$)/.test(target) ? socketRequest(body) : null
}

/** Headers that are about one request, and would be stale with the next. */
const ofOneRequest = new Set([
  "accept",
  "content-type",
  "x-client-request-id",
  "x-stainless-read-timeout",
  "x-stainless-retry-count",
  "x-stainless-timeout"
])

/** The handshake for a request: equal for all that may share a connection. */
const handshakeOf = ({ headers, origin, target }: ExchangeRequest): DialRequest => ({
  origin,
  target,
  headers: Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !ofOneRequest.has(name))
      .sort(([left], [right]) => (left < right ? -1 : 1))
  )
})
