import { Effect, Latch, Pull, Scope } from "effect"
import { isLastMessage, streamIdOf } from "../dialect/openai-responses/ClientEvents.ts"
import { ChunkQueue } from "./ChunkQueue.ts"
import { Cut, Unreachable, UpstreamError } from "./Exchange.ts"
import type { IdleTimers } from "./IdleTimers.ts"
import { Patience } from "./Patience.ts"
import type { PeerClose } from "./Peer.ts"
import type { FailedTurn, OpenedTurn, UpstreamPeer } from "./Upstream.ts"

/** What turns over a WebSocket take from the configuration, in milliseconds. */
export interface PeerLimits {
  readonly firstFrame: number
  readonly idle: number
}

/** A message of an upstream that belongs to no turn that was opened. */
export type Unclaimed = (streamId: string | null, data: Buffer) => Effect.Effect<void>

/**
 * Turns over one upstream's WebSocket: each on its lane, its messages told from those of others by the name of the lane.
 * One turn that is not taken from holds up the others, as the one connection does.
 */
export class PeerTurns {
  private readonly upstream: UpstreamPeer
  private readonly provider: string
  private readonly timers: IdleTimers["Service"]
  private readonly limits: PeerLimits
  private readonly unclaimed: Unclaimed
  private readonly turns = new Map<string | null, ChunkQueue<UpstreamError>>()
  /** Lanes on which a response goes on that nobody waits for any more. */
  private readonly abandoned = new Set<string | null>()
  /** Turns that have as much as they can hold. */
  private readonly full = new Set<ChunkQueue<UpstreamError>>()
  /** Open while there is none. */
  private readonly flowing = Latch.makeUnsafe(true)

  constructor(options: {
    readonly upstream: UpstreamPeer
    readonly provider: string
    readonly timers: IdleTimers["Service"]
    readonly limits: PeerLimits
    readonly unclaimed: Unclaimed
  }) {
    this.upstream = options.upstream
    this.provider = options.provider
    this.timers = options.timers
    this.limits = options.limits
    this.unclaimed = options.unclaimed
  }

  /** How the connection was closed, if it was. */
  get closing(): PeerClose | null {
    return this.upstream.peer.closing()
  }

  /** The headers of the handshake that a client may see. */
  get headers(): UpstreamPeer["headers"] {
    return this.upstream.headers
  }

  /** Opens a turn by sending its request. Closing the scope gives it up. */
  open(lane: string | null, body: Buffer): Effect.Effect<OpenedTurn, FailedTurn, Scope.Scope> {
    return Effect.suspend(() => this.attach(lane)).pipe(
      Effect.tap(() => this.send(body).pipe(Effect.mapError((error): FailedTurn => ({ error, attempts: 1 }))))
    )
  }

  /** Opens a turn that the upstream has begun by itself, whose first message is there. */
  adopt(lane: string | null, first: Buffer): Effect.Effect<OpenedTurn, never, Scope.Scope> {
    return Effect.map(this.attach(lane), (opened) => {
      this.take(lane, opened.body, first)
      return opened
    })
  }

  /** Sends a message as it is. */
  send(data: Buffer): Effect.Effect<void, UpstreamError> {
    return Effect.mapError(
      this.upstream.peer.send(data),
      (gone) =>
        new UpstreamError({ provider: this.provider, reason: new Unreachable({ detail: gone.message, sent: true }) })
    )
  }

  close(code: number, reason: string): Effect.Effect<void> {
    return this.upstream.peer.close(code, reason)
  }

  /** Reads messages until the connection is closed. Turns that are open then were cut. */
  get run(): Effect.Effect<PeerClose> {
    const { peer } = this.upstream
    const loop = Effect.gen({ self: this }, function* () {
      while (true) {
        for (const { data } of yield* peer.pull) {
          const lane = streamIdOf(data)
          const queue = this.turns.get(lane)
          if (queue !== undefined) this.take(lane, queue, data)
          else if (!this.abandoned.has(lane)) yield* this.unclaimed(lane, data)
          else if (isLastMessage(data)) this.abandoned.delete(lane)
        }
        yield* this.flowing.await
      }
    })
    return Pull.catchDone(loop, () => peer.closed).pipe(
      Effect.tap((close) =>
        Effect.sync(() => {
          const said = close.reason === "" ? String(close.code) : `${close.code} ${close.reason}`
          const reason = new Cut({ detail: `its WebSocket was closed (${said})` })
          for (const queue of this.turns.values()) queue.fail(new UpstreamError({ provider: this.provider, reason }))
          this.turns.clear()
        })
      )
    )
  }

  private take(lane: string | null, queue: ChunkQueue<UpstreamError>, data: Buffer): void {
    queue.offer(data)
    if (!isLastMessage(data)) return
    this.turns.delete(lane)
    queue.end()
  }

  private attach(lane: string | null): Effect.Effect<OpenedTurn, never, Scope.Scope> {
    return Effect.flatMap(Effect.scope, (scope) => {
      const queue = new ChunkQueue<UpstreamError>()
      const resume = () => {
        this.full.delete(queue)
        if (this.full.size === 0) this.flowing.openUnsafe()
      }
      queue.connect({
        pause: () => {
          this.full.add(queue)
          this.flowing.closeUnsafe()
        },
        resume
      })
      this.turns.set(lane, queue)
      const patience = new Patience(this.provider, this.timers, this.limits)
      patience.attach("ws", queue)
      const end = Effect.sync(() => {
        this.timers.unwatch(patience)
        resume()
        if (this.turns.get(lane) !== queue) return
        this.turns.delete(lane)
        if (this.closing === null) this.abandoned.add(lane)
      })
      const { secrets } = this.upstream
      return Effect.as(Scope.addFinalizer(scope, end), {
        status: 200,
        headers: {},
        transport: "ws",
        body: queue,
        attempts: 1,
        secrets
      } satisfies OpenedTurn)
    })
  }
}
