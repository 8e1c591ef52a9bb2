import { Deferred, Effect, Latch, Pull, Scope } from "effect"
import { createdId, isLast, nameOfMessage, streamIdOf } from "../dialect/openai-responses/ClientEvents.ts"
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

/** A turn that the upstream has not come to the end of. */
interface Running {
  /** Takes its messages; `null` where nobody waits for it any more. */
  queue: ChunkQueue<UpstreamError> | null
  /** Whether the upstream has begun to answer. */
  begun: boolean
}

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
  /** By lane, in the order that the upstream answers: more than one only where those before were given up. */
  private readonly lanes = new Map<string | null, Array<Running>>()
  /** Lanes on which a turn has come to its end that is not taken yet. What follows on them waits for that. */
  private readonly ending = new Map<string | null, Deferred.Deferred<void>>()
  /** The response that each lane had last. */
  private readonly latest = new Map<string | null, string>()
  /** Whether any lane has a name: until then no message is looked into for one. */
  private named = false
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

  /** The id of the last response that the upstream has begun on a lane. */
  latestOn(lane: string | null): string | null {
    return this.latest.get(lane) ?? null
  }

  /** Opens a turn by sending its request. Closing the scope gives it up. */
  open(lane: string | null, body: Buffer): Effect.Effect<OpenedTurn, FailedTurn, Scope.Scope> {
    return Effect.suspend(() => {
      const running: Running = { queue: null, begun: false }
      return Effect.flatMap(this.attach(lane, running), (opened) =>
        this.send(lane, body).pipe(
          Effect.mapError((error): FailedTurn => ({ error, attempts: 1 })),
          // What was not sent is not answered.
          Effect.onError(() => Effect.sync(() => this.forget(lane, running))),
          Effect.as(opened)
        )
      )
    })
  }

  /** Opens a turn that the upstream has begun by itself, whose first message is there. */
  adopt(lane: string | null, first: Buffer): Effect.Effect<OpenedTurn, never, Scope.Scope> {
    return Effect.suspend(() => {
      const running: Running = { queue: null, begun: false }
      return Effect.map(this.attach(lane, running), (opened) => {
        this.take(lane, running, nameOfMessage(first), first)
        return opened
      })
    })
  }

  /** Sends a message as it is. */
  send(lane: string | null, data: Buffer): Effect.Effect<void, UpstreamError> {
    if (lane !== null) this.named = true
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
        for (const { binary, data } of yield* peer.pull) {
          // No client has a use for it, nor could it be told of it.
          if (binary) continue
          const lane = this.named ? streamIdOf(data) : null
          const name = nameOfMessage(data)
          const running = this.answered(lane, name)
          if (running !== undefined) {
            this.take(lane, running, name, data)
            continue
          }
          const ending = this.ending.get(lane)
          if (ending !== undefined) yield* Deferred.await(ending)
          yield* this.unclaimed(lane, data)
        }
        yield* this.flowing.await
      }
    })
    return Pull.catchDone(loop, () => peer.closed).pipe(Effect.tap((close) => Effect.sync(() => this.cut(close))))
  }

  private cut(close: PeerClose): void {
    const said = close.reason === "" ? String(close.code) : `${close.code} ${close.reason}`
    const reason = new Cut({ detail: `its WebSocket was closed (${said})` })
    const error = new UpstreamError({ provider: this.provider, reason })
    for (const { queue } of [...this.lanes.values()].flat()) queue?.fail(error)
    this.lanes.clear()
  }

  /** The turn that a message of a lane is about: the first that the upstream has not come to the end of. */
  private answered(lane: string | null, name: string): Running | undefined {
    const waiting = this.lanes.get(lane)
    const first = waiting?.[0]
    // What was given up may have ended without a word.
    if (first !== undefined && first.queue === null && first.begun && name === "response.created") {
      this.forget(lane, first)
      return waiting![0]
    }
    return first
  }

  private take(lane: string | null, running: Running, name: string, data: Buffer): void {
    const { queue } = running
    if (name === "response.created") {
      running.begun = true
      const id = createdId(data)
      if (id !== null) this.latest.set(lane, id)
    }
    const last = isLast(name)
    // Whoever waits for a message may go on with it at once, to the end of its turn.
    if (last) {
      this.forget(lane, running)
      if (queue !== null) this.ending.set(lane, Deferred.makeUnsafe())
    }
    queue?.offer(data)
    if (last) queue?.end()
  }

  private forget(lane: string | null, running: Running): void {
    const left = this.lanes.get(lane)?.filter((other) => other !== running) ?? []
    if (left.length === 0) this.lanes.delete(lane)
    else this.lanes.set(lane, left)
  }

  /** Takes what is said on a lane for a turn from now on, until its end or that of the scope. */
  private attach(lane: string | null, running: Running): Effect.Effect<OpenedTurn, never, Scope.Scope> {
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
      running.queue = queue
      this.lanes.set(lane, [...(this.lanes.get(lane) ?? []), running])
      const patience = new Patience(this.provider, this.timers, this.limits)
      patience.attach("ws", queue)
      const end = Effect.sync(() => {
        this.timers.unwatch(patience)
        resume()
        // Its messages go on coming, and are nobody's.
        running.queue = null
        const ending = this.ending.get(lane)
        if (ending === undefined) return
        this.ending.delete(lane)
        Deferred.doneUnsafe(ending, Effect.void)
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
