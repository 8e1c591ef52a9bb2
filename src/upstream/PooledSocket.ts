import { Deferred, Effect, Latch, Pull } from "effect"
import { createdId, isLast, isOutput, nameOfMessage } from "../dialect/openai-responses/ClientEvents.ts"
import { isAboutResponse } from "../dialect/openai-responses/Events.ts"
import { outputItems } from "../dialect/openai-responses/Tools.ts"
import { type Frame, whole } from "../wire/Frame.ts"
import { ChunkQueue } from "./ChunkQueue.ts"
import { longestRemembered, type Remembered, remembered, type SocketRequest } from "./Continuation.ts"
import { Cut, UpstreamError } from "./Exchange.ts"
import type { IdleTimers, Watched } from "./IdleTimers.ts"
import type { Peer, PeerClose } from "./Peer.ts"
import {
  errorEventOf,
  eventOf,
  isErrorEvent,
  isOfConnection,
  refusalOf,
  type SocketRefusal,
  withoutPrevious
} from "./SocketEvents.ts"

/** What becomes of a request that was sent. */
type Answered =
  | { readonly _tag: "Begun" }
  | { readonly _tag: "Refused"; readonly refusal: SocketRefusal }
  | { readonly _tag: "Lost"; readonly close: PeerClose }

/** How long one is kept that nobody uses, in milliseconds. */
const longestIdle = 300_000

/** How old one may become: providers close them after 60 minutes, whatever goes on. In milliseconds. */
const oldest = 3_300_000

/** How long what follows an error may take, in milliseconds. */
const endingTime = 1_000

/** Whoever keeps WebSockets. */
export interface SocketOwner {
  /** Its turn is over, and another one could follow. */
  readonly rested: (socket: PooledSocket) => void
  /** It will not be used again. */
  readonly ended: (socket: PooledSocket) => void
}

/** The code of the error that a provider answers with on a WebSocket of the greatest age it allows. */
export const tooOld = "websocket_connection_limit_reached"

export const told = ({ code, reason }: PeerClose): string => (reason === "" ? String(code) : `${code} ${reason}`)

/** One WebSocket: used by a turn, or idle. */
export class PooledSocket implements Watched {
  /** Stands for its handshake, credential included. */
  readonly key: string
  /** Says whether it was opened. */
  readonly opened = Deferred.makeUnsafe<boolean>()
  /** The response that the provider has in memory for it. */
  memory: Remembered | null = null
  private readonly timers: IdleTimers["Service"]
  private readonly owner: SocketOwner
  private readonly stopping = Deferred.makeUnsafe<void>()
  private readonly dialledAt: number
  private idleSince = 0
  private failedAt = 0
  private peer: Peer | null = null
  private turn: PooledTurn | null = null
  private over = false
  /** Open unless its turn has as much as it can hold. */
  private readonly flowing = Latch.makeUnsafe(true)

  constructor(key: string, timers: IdleTimers["Service"], owner: SocketOwner) {
    this.key = key
    this.timers = timers
    this.owner = owner
    this.dialledAt = timers.now()
  }

  readonly stopped: Effect.Effect<void> = Deferred.await(this.stopping)

  /** Closes it, whatever it is used for. */
  stop(): void {
    this.over = true
    this.owner.ended(this)
    Deferred.doneUnsafe(this.stopping, Effect.void)
  }

  usable(now: number): boolean {
    return !this.over && this.peer?.closing() === null && now < this.oldAt()
  }

  /** From when on it has no other turn. */
  private oldAt(): number {
    return this.dialledAt + oldest
  }

  /** Its turn is over; whether it can have another one. */
  rest(): boolean {
    this.turn = null
    this.idleSince = this.timers.now()
    if (this.usable(this.idleSince)) return true
    this.stop()
    return false
  }

  due(): number {
    if (this.turn !== null) return this.failedAt + endingTime
    return Math.min(this.idleSince + longestIdle, this.oldAt())
  }

  expire(): "done" {
    this.turn?.finish()
    this.stop()
    return "done"
  }

  /** Sends the request of a turn; whether it could. */
  send(turn: PooledTurn, message: Buffer): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const { peer } = this
      if (peer === null || this.over || peer.closing() !== null) return Effect.succeed(false)
      this.turn = turn
      turn.queue.connect({
        pause: () => {
          // What its last message has filled is nothing to the turn behind it.
          if (this.turn === turn) this.flowing.closeUnsafe()
        },
        resume: () => this.flowing.openUnsafe()
      })
      return peer.send(message).pipe(
        Effect.as(true),
        Effect.catch(() =>
          Effect.sync(() => {
            this.turn = null
            return false
          })
        )
      )
    })
  }

  /** Takes what comes until the connection is closed. */
  read(peer: Peer): Effect.Effect<void> {
    this.peer = peer
    Deferred.doneUnsafe(this.opened, Effect.succeed(true))
    const loop = Effect.gen({ self: this }, function* () {
      while (true) {
        for (const { binary, data } of yield* peer.pull) if (!binary) this.take(data)
        yield* this.flowing.await
      }
    })
    return Pull.catchDone(loop, () =>
      Effect.map(peer.closed, (close) => {
        this.turn?.lose(close)
      })
    )
  }

  private take(data: Buffer): void {
    const name = nameOfMessage(data)
    const { turn } = this
    if (turn === null) {
      // What nobody asked for is the beginning of something that nobody here would understand.
      if (!isOfConnection(name, data)) this.stop()
      return
    }
    turn.take(name, data, () => {
      this.turn = null
      this.flowing.openUnsafe()
      this.memory = turn.memory
      if (turn.keeps) this.owner.rested(this)
      else this.stop()
    })
    if (this.turn === null || !turn.failing || this.failedAt !== 0) return
    this.failedAt = this.timers.now()
    this.timers.watch(this)
  }

  /** It is closed, or was never opened. */
  end(): void {
    this.over = true
    this.owner.ended(this)
    this.turn?.lose({ code: 1006, reason: "" })
    this.turn = null
    Deferred.doneUnsafe(this.opened, Effect.succeed(false))
  }
}

/** One request on a WebSocket, and what it is answered with. */
export class PooledTurn {
  readonly answered = Deferred.makeUnsafe<Answered>()
  /** The answer as a stream of events. */
  readonly queue = new ChunkQueue<UpstreamError>()
  /** Whether the request went on from a response in memory. */
  readonly continues: boolean
  over = false
  /** Whether an error has come that is an event of the stream. */
  failing = false
  /** Whether its WebSocket is as it was before. */
  keeps = false
  memory: Remembered | null = null
  /** Whether a response has begun; an error may come in its place otherwise. */
  private began = false
  private readonly provider: string
  private readonly asked: SocketRequest
  private last: Buffer = nothing
  /** Its messages that say what was put out; `null` where nobody will go on from it. */
  private kept: Array<Frame> | null
  private keptBytes = 0

  constructor(provider: string, asked: SocketRequest, continues: boolean) {
    this.provider = provider
    this.asked = asked
    this.continues = continues
    this.kept = asked.items === null ? null : []
  }

  /**
   * Takes a message.
   *
   * @param onEnd called where it is the last, before whoever waits for it goes on, and asks for the next turn
   */
  take(name: string, data: Buffer, onEnd: () => void): void {
    if (isOfConnection(name, data)) {
      // It is a sign of life all the same.
      this.queue.received++
      return
    }
    const error = name === "error" ? (isErrorEvent(data) ? "event" : "end") : null
    if (!this.began && error === "end") {
      const refusal = refusalOf(data)
      this.over = true
      this.keeps = refusal.code !== tooOld
      onEnd()
      Deferred.doneUnsafe(this.answered, Effect.succeed({ _tag: "Refused", refusal }))
      return
    }
    this.began = true
    const event = error === "end" ? errorEventOf(data, this.last) : this.eventOf(name, data)
    this.failing ||= error === "event"
    this.note(data)
    this.last = data
    if (isLast(name) && error !== "event") {
      this.over = true
      // Behind an error nobody knows what the provider has in memory, nor whether more of the response is to come.
      this.keeps = !this.failing && (name === "response.completed" || name === "response.incomplete")
      if (name === "response.completed") this.remember(data)
      onEnd()
    }
    this.queue.offer(event)
    if (this.over) this.queue.end()
    Deferred.doneUnsafe(this.answered, begun)
  }

  private eventOf(name: string, data: Buffer): Buffer {
    return eventOf(name, this.continues && isAboutResponse(name) ? withoutPrevious(data) : data)
  }

  /** Nothing has followed an error that is no end: over HTTP that would be the end. */
  finish(): void {
    this.over = true
    this.queue.end()
  }

  private note(data: Buffer): void {
    if (this.kept === null) return
    const frame = whole("message", data)
    if (!isOutput(frame)) return
    this.keptBytes += data.length
    if (this.keptBytes > longestRemembered) this.kept = null
    else this.kept.push(frame)
  }

  private remember(data: Buffer): void {
    const id = this.kept === null ? null : createdId(data)
    if (id === null) return
    this.memory = remembered(this.asked, id, outputItems(whole("message", data), this.kept!))
    this.kept = null
  }

  /** The connection was closed before its end. */
  lose(close: PeerClose): void {
    if (this.over) return
    this.over = true
    const reason = new Cut({ detail: `its WebSocket was closed (${told(close)})` })
    this.queue.fail(new UpstreamError({ provider: this.provider, reason }))
    Deferred.doneUnsafe(this.answered, Effect.succeed({ _tag: "Lost", close }))
  }
}

const begun = Effect.succeed({ _tag: "Begun" } as const)

const nothing = Buffer.alloc(0)
