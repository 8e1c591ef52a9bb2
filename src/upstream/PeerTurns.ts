import { Deferred, Effect, Latch, Pull, Scope } from "effect"
import { createdId, isLast, nameOfMessage, onLane, streamIdOf } from "../dialect/openai-responses/ClientEvents.ts"
import { ChunkQueue } from "./ChunkQueue.ts"
import { mask, maskBytes } from "./Credential.ts"
import { Cut, Malformed, Unreachable, UpstreamError } from "./Exchange.ts"
import type { IdleTimers } from "./IdleTimers.ts"
import { Patience } from "./Patience.ts"
import type { PeerClose } from "./Peer.ts"
import type { FailedTurn, OpenedTurn, UpstreamPeer } from "./Upstream.ts"

/** What turns over a WebSocket take from the configuration, in milliseconds. */
export interface PeerLimits {
  readonly firstFrame: number
  readonly idle: number
}

/** A message of an upstream that belongs to no turn that was opened, without credentials. Nothing is read before it returns. */
export type Unclaimed = (streamId: string | null, data: Buffer) => Effect.Effect<void>

/** A turn that the upstream has not come to the end of. */
interface Running {
  /** Takes its messages; `null` where nobody waits for it any more. */
  queue: ChunkQueue<UpstreamError> | null
  /** Whether the upstream has begun to answer. */
  begun: boolean
  /** Whether nobody takes its messages yet, though somebody will. */
  held: boolean
  /** What is held of it, in bytes. */
  size: number
  /** Whether its last message has come. */
  ended: boolean
  /** Its response. */
  id: string | null
}

/** A turn that the upstream has begun by itself. */
export interface AdoptedTurn {
  readonly opened: OpenedTurn
  /** To be called when its messages are taken: until then they are held, and hold up nobody. */
  readonly start: () => void
}

/** How many bytes may be held of turns that were not started. */
const heldBound = 4_194_304

/** What a held message costs besides its bytes. */
const messageCost = 256

/** A part of a credential at the end of a reason that was cut to its length is one where it has as many characters. */
const shortestPart = 8

const newTurn = (held: boolean): Running => ({ queue: null, begun: false, held, size: 0, ended: false, id: null })

/**
 * Turns over one upstream's WebSocket: each on its lane, its messages told from those of others by the name of the lane.
 * One turn that is not taken from holds up the others, as the one connection does.
 */
export class PeerTurns {
  private readonly upstream: UpstreamPeer
  readonly provider: string
  private readonly timers: IdleTimers["Service"]
  private readonly limits: PeerLimits
  private readonly unclaimed: Unclaimed
  /** By lane, in the order that the upstream answers: more than one only where those before were given up. */
  private readonly lanes = new Map<string | null, Array<Running>>()
  /** Lanes on which a turn has come to its end that is not taken yet. What follows on them waits for that. */
  private readonly ending = new Map<string | null, { readonly of: Running; readonly over: Deferred.Deferred<void> }>()
  /** The response that each lane had last. */
  private readonly latest = new Map<string | null, string>()
  /** The response of each lane that came to its end last. */
  private readonly over = new Map<string | null, string>()
  /** Whether any lane has a name: until then no message is looked into for one. */
  private named = false
  /** Whether the upstream has named a lane: one that never does is taken to mean the only lane on which a turn runs. */
  private names = false
  /** How many bytes are held of turns that were not started. */
  private held = 0
  /** Turns that have as much as they can hold. */
  private readonly stuffed = new Set<ChunkQueue<UpstreamError>>()
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
    const close = this.upstream.peer.closing()
    return close === null ? null : this.clean(close)
  }

  /** Whether as much is held of turns that were not started as may be: no other can be adopted. */
  get full(): boolean {
    return this.held > heldBound
  }

  /** Whether a response is the last that the upstream has begun on some lane. */
  knows(id: string): boolean {
    for (const latest of this.latest.values()) if (latest === id) return true
    return false
  }

  /** The id of the last response that the upstream has begun on a lane. */
  latestOn(lane: string | null): string | null {
    return this.latest.get(lane) ?? null
  }

  /** Opens a turn by sending its request. Closing the scope gives it up. */
  open(lane: string | null, body: Buffer): Effect.Effect<OpenedTurn, FailedTurn, Scope.Scope> {
    return Effect.suspend(() => {
      const running = newTurn(false)
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

  /**
   * Opens a turn that the upstream has begun by itself, whose first message is there. Its messages are held, up to a
   * bound, until it is started.
   */
  adopt(lane: string | null, first: Buffer): Effect.Effect<AdoptedTurn, never, Scope.Scope> {
    return Effect.suspend(() => {
      const running = newTurn(true)
      return Effect.map(this.attach(lane, running), (opened) => {
        this.take(lane, running, nameOfMessage(first), first)
        return { opened, start: () => this.start(lane, running) }
      })
    })
  }

  private start(lane: string | null, running: Running): void {
    const { queue } = running
    if (!running.held) return
    this.letGo(running)
    this.begins(lane, running)
    if (queue === null) return
    if (queue.paused) this.pause(queue)
    if (running.ended) this.ends(lane, running)
  }

  /** Another response of the lane goes on from its last: while one is held, that is not the one held. */
  private begins(lane: string | null, { id }: Running): void {
    if (id !== null) this.latest.set(lane, id)
  }

  private letGo(running: Running): void {
    this.held -= running.size
    running.size = 0
    running.held = false
  }

  private pause(queue: ChunkQueue<UpstreamError>): void {
    this.stuffed.add(queue)
    this.flowing.closeUnsafe()
  }

  /** Sends a message as it is. */
  send(lane: string | null, data: Buffer): Effect.Effect<void, UpstreamError> {
    if (lane !== null) this.named = true
    return Effect.mapError(
      this.upstream.peer.send(data),
      (gone) =>
        new UpstreamError({
          provider: this.provider,
          reason: new Unreachable({ detail: this.masked(gone.message), sent: true })
        })
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
          const name = nameOfMessage(data)
          const said = this.named ? streamIdOf(data) : null
          if (said !== null) this.names = true
          const lane = said ?? this.unsaid(name)
          const message = said === lane ? data : onLane(data, lane)
          // Said twice, an end is not that of the next.
          if (isLast(name) && this.isOver(lane, message)) continue
          const running = this.answered(lane, name)
          if (running !== undefined) {
            this.take(lane, running, name, message)
            continue
          }
          const ending = this.ending.get(lane)
          if (ending !== undefined) yield* Deferred.await(ending.over)
          if (!this.isBehindEnd(name, message)) {
            yield* this.unclaimed(lane, maskBytes(message, this.upstream.secrets))
          }
        }
        yield* this.flowing.await
      }
    })
    return Pull.catchDone(loop, () => peer.closed).pipe(
      Effect.map((close) => this.clean(close)),
      Effect.tap((close) => Effect.sync(() => this.cut(close)))
    )
  }

  /** The lane that a message without one is about. */
  private unsaid(name: string): string | null {
    if (!this.named || this.names || this.lanes.size !== 1) return null
    return name === "error" || name.startsWith("response.") ? this.lanes.keys().next().value! : null
  }

  /** Whether a message is about a response that is over: its client knows how it ended. */
  private isBehindEnd(name: string, data: Buffer): boolean {
    if (!name.startsWith("response.")) return false
    const id = createdId(data)
    return id !== null && this.knows(id)
  }

  private isOver(lane: string | null, data: Buffer): boolean {
    const over = this.over.get(lane)
    return over !== undefined && createdId(data) === over
  }

  private masked(text: string): string {
    return mask(text, this.upstream.secrets)
  }

  /** What an upstream says of its end may hold a credential (law 8), of which the end may be cut off. */
  private clean(close: PeerClose): PeerClose {
    const reason = this.masked(close.reason)
    for (const secret of this.upstream.secrets) {
      for (let length = Math.min(secret.length, reason.length); length >= shortestPart; length--) {
        if (reason.endsWith(secret.slice(0, length))) return { ...close, reason: `${reason.slice(0, -length)}***` }
      }
    }
    return reason === close.reason ? close : { ...close, reason }
  }

  private cut(close: PeerClose): void {
    const said = close.reason === "" ? String(close.code) : `${close.code} ${close.reason}`
    const error = this.error(new Cut({ detail: `its WebSocket was closed (${said})` }))
    for (const { queue } of [...this.lanes.values()].flat()) queue?.fail(error)
    this.lanes.clear()
  }

  /** The turn that a message of a lane is about: the first that the upstream has not come to the end of. */
  private answered(lane: string | null, name: string): Running | undefined {
    const waiting = this.lanes.get(lane)
    const first = waiting?.[0]
    if (first === undefined || !first.begun || name !== "response.created") return first
    // What was given up, or never asked for, may have ended without a word.
    const isOver = first.queue === null || (first.held && waiting!.length > 1)
    if (!isOver) return first
    this.forget(lane, first)
    first.queue?.fail(this.error(new Cut({ detail: "it ended without its last frame" })))
    return this.lanes.get(lane)?.[0]
  }

  private error(reason: UpstreamError["reason"]): UpstreamError {
    return new UpstreamError({ provider: this.provider, reason })
  }

  private take(lane: string | null, running: Running, name: string, data: Buffer): void {
    const { queue } = running
    const last = isLast(name)
    if (!running.begun && (name === "response.created" || last)) {
      running.begun = true
      running.id = createdId(data)
      if (!running.held) this.begins(lane, running)
      // Some upstreams give all their responses one id.
      if (!last && this.over.get(lane) === running.id) this.over.delete(lane)
    }
    // Whoever waits for a message may go on with it at once, to the end of its turn.
    if (last) {
      this.forget(lane, running)
      running.ended = true
      if (running.id !== null) this.over.set(lane, running.id)
      if (queue !== null && !running.held) this.ends(lane, running)
    }
    queue?.offer(data)
    if (running.held) this.hold(running, data)
    if (last) queue?.end()
  }

  /** What follows a turn that is taken from waits until its end was. */
  private ends(lane: string | null, running: Running): void {
    this.ending.set(lane, { of: running, over: Deferred.makeUnsafe() })
  }

  private hold(running: Running, data: Buffer): void {
    const size = data.length + messageCost
    running.size += size
    this.held += size
    if (!this.full) return
    running.queue?.fail(this.error(new Malformed({ detail: "it said too much that nobody had asked for" })))
    running.queue = null
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
        this.stuffed.delete(queue)
        if (this.stuffed.size === 0) this.flowing.openUnsafe()
      }
      queue.connect({
        pause: () => {
          if (!running.held) this.pause(queue)
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
        this.letGo(running)
        const ending = this.ending.get(lane)
        if (ending?.of !== running) return
        this.ending.delete(lane)
        Deferred.doneUnsafe(ending.over, Effect.void)
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
