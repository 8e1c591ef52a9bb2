import { Deferred, Duration, Effect, Exit, Scope } from "effect"
import { type PeerClose, PeerTurns, Unreachable, UpstreamError, type UpstreamPeer } from "../upstream/Upstream.ts"
import type { ConnectionOptions } from "./ConnectionOptions.ts"
import type { Native } from "./ResponseCall.ts"

/** What a connection is told of its upstreams' WebSockets. */
export interface UpstreamEvents {
  /** One says what belongs to no turn. */
  readonly unclaimed: (turns: PeerTurns, streamId: string | null, data: Buffer) => Effect.Effect<void>
  /** The one that was there before the client is closed. */
  readonly lost: (close: PeerClose) => void
}

/** The WebSockets of one connection to its providers: each opened once, and again where it was closed meanwhile. */
export class ConnectionUpstreams {
  private readonly options: ConnectionOptions
  private readonly scope: Scope.Scope
  private readonly events: UpstreamEvents
  private readonly natives = new Map<string, Native>()
  private readonly attached = new Set<PeerTurns>()

  constructor(options: ConnectionOptions, scope: Scope.Scope, events: UpstreamEvents) {
    this.options = options
    this.scope = scope
    this.events = events
  }

  /** Takes the WebSocket that was opened before the client's. */
  dialled(provider: string, upstream: UpstreamPeer): Effect.Effect<void> {
    const lost = (close: PeerClose) => Effect.sync(() => this.events.lost(close))
    return Effect.map(this.attach(provider, upstream, lost), (turns) => {
      this.natives.set(provider, Effect.succeed(turns))
    })
  }

  /** Whether a provider's WebSocket was opened, or is about to be. */
  has(provider: string): boolean {
    return this.natives.has(provider)
  }

  /**
   * The open WebSocket that a message of the client's is about: where the path does not name its provider, that of the
   * response it names, or of the provider that its lane was last answered by.
   */
  about(response: string | null, provider: string | null): PeerTurns | undefined {
    const open = [...this.attached].filter(({ closing }) => closing === null)
    if (this.options.request.provider !== null) return open[0]
    const knowing = response === null ? undefined : open.find((turns) => turns.knows(response))
    return knowing ?? open.find((turns) => turns.provider === provider)
  }

  /** Whether any is open. */
  get isOpen(): boolean {
    return [...this.attached].some(({ closing }) => closing === null)
  }

  /** Closes all of them. */
  close(code: number, reason: string): Effect.Effect<void> {
    return Effect.forEach(this.attached, (turns) => turns.close(code, reason), {
      concurrency: "unbounded",
      discard: true
    })
  }

  /** The turns over a provider's WebSocket, which is opened by whoever needs it first. */
  turns(provider: string): Native {
    return Effect.suspend(() => {
      const known = this.natives.get(provider)
      if (known === undefined) return this.dial(provider)
      return Effect.flatMap(known, (turns) => {
        if (turns.closing === null) return Effect.succeed(turns)
        // Somebody else may have noticed first.
        if (this.natives.get(provider) === known) this.natives.delete(provider)
        return this.turns(provider)
      })
    })
  }

  private dial(provider: string): Native {
    return Effect.suspend(() => {
      const { credential, headers, path, query } = this.options.request
      const dialling = Deferred.makeUnsafe<PeerTurns, UpstreamError>()
      const native = Deferred.await(dialling)
      this.natives.set(provider, native)
      const scope = Scope.forkUnsafe(this.scope)
      return this.options.upstream.connect({ provider, path, query, headers, credential }).pipe(
        Scope.provide(scope),
        Effect.mapError(asUnreachable),
        Effect.flatMap((upstream) => this.attach(provider, upstream, () => Scope.close(scope, Exit.void))),
        Effect.onExit((exit) => {
          if (Exit.isFailure(exit) && this.natives.get(provider) === native) this.natives.delete(provider)
          const freed = Exit.isFailure(exit) ? Scope.close(scope, Exit.void) : Effect.void
          return Effect.andThen(freed, Deferred.done(dialling, exit))
        })
      )
    })
  }

  /** @param lost what is done about its end */
  private attach(
    provider: string,
    upstream: UpstreamPeer,
    lost: (close: PeerClose) => Effect.Effect<void>
  ): Effect.Effect<PeerTurns> {
    const { settings, timers } = this.options
    const turns: PeerTurns = new PeerTurns({
      upstream,
      provider,
      timers,
      limits: {
        firstFrame: Duration.toMillis(settings.limits.first_frame),
        idle: Duration.toMillis(settings.limits.idle)
      },
      unclaimed: (streamId, data) => this.events.unclaimed(turns, streamId, data)
    })
    this.attached.add(turns)
    const gone = Effect.flatMap(turns.run, (close) => {
      this.attached.delete(turns)
      return lost(close)
    })
    return Effect.as(Effect.forkIn(gone, this.scope, { startImmediately: true }), turns)
  }
}

/**
 * A handshake that a provider refuses is, for a client that is connected already, no answer to its request: a status of
 * it, such as 426 or 401, would be taken for one.
 */
const asUnreachable = (error: UpstreamError): UpstreamError =>
  error.reason._tag === "Declined"
    ? new UpstreamError({
        provider: error.provider,
        reason: new Unreachable({ detail: `its WebSocket was refused: ${error.reason.message}` })
      })
    : error
