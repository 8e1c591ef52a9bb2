import type { Socket } from "node:net"
import { Cause, Deferred, Effect, type Pull } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { WebSocket } from "ws"
import type { IdleTimers, Watched } from "./IdleTimers.ts"
import { type Peer, type PeerClose, PeerGone, type PeerMessage } from "./Peer.ts"
import { Uptake } from "./Uptake.ts"

/** What a peer needs to know besides its connection. */
export interface WebSocketPeerOptions {
  readonly timers: IdleTimers["Service"]
  /** How long the other end may take nothing of what was sent, in milliseconds: `limits.write`. */
  readonly write: number
  /** After how much silence the other end is asked for a sign of life, in milliseconds; 30 seconds unless given. */
  readonly ping?: number
}

/** How long the other end may do nothing towards the end of a connection that is being closed, in milliseconds. */
const grace = 2_000

/**
 * Options of every `ws` connection that becomes a peer. Nothing is compressed, by either end: that costs a window of
 * memory for each connection, more time than it saves next to a model, and a message may unfold to more than it was.
 *
 * @param maxPayload the largest message taken, in bytes; one that is larger closes the connection with 1009
 */
export const connectionOptions = (maxPayload: number) => ({ maxPayload, perMessageDeflate: false, closeTimeout: grace })

/** How many unread bytes stop the reading. */
const unreadBound = 1_048_576

/** What a message costs besides its bytes: there may be a million that have none. */
const messageCost = 64

/** How many unwritten bytes let senders wait. */
const unwrittenBound = 1_048_576

/** How many times an interval is divided for looking whether something happened. */
const looks = 8

const asText = { binary: false }

/** A sender that waits for its turn. */
interface Waiting {
  readonly data: Buffer
  readonly resume: (sent: Effect.Effect<void, PeerGone>) => void
}

/**
 * `Peer` over `ws`. Whoever makes one does so in the tick in which the connection opens, for messages may come in the
 * next, and runs `release` where its scope closes.
 */
export class WebSocketPeer implements Peer, Watched {
  private readonly webSocket: WebSocket
  private readonly socket: Socket
  private readonly timers: IdleTimers["Service"]
  private readonly write: number
  private readonly ping: number
  private readonly uptake: Uptake

  private messages: Array<PeerMessage> = []
  private unread = 0
  private paused = false
  private consumer: ((pull: Peer["pull"]) => void) | undefined
  private readonly waiting: Array<Waiting> = []

  /** How it ends, once that is known; `over` where it has. */
  private end: PeerClose | null = null
  private over = false
  /** Whether the close frame is held back until what was sent before is written. */
  private closesLater = false
  private readonly gone = Deferred.makeUnsafe<PeerClose>()

  /** How many bytes had come when it was last looked, and since when nothing did. */
  private bytesRead = 0
  private silentSince: number
  private pinged = false

  /**
   * @param webSocket open, and made with `connectionOptions`
   * @param socket what it goes over
   */
  constructor(webSocket: WebSocket, socket: Socket, options: WebSocketPeerOptions) {
    this.webSocket = webSocket
    this.socket = socket
    this.timers = options.timers
    this.write = options.write
    this.ping = options.ping ?? 30_000
    const now = options.timers.now()
    this.silentSince = now
    this.uptake = new Uptake(now)
    webSocket.on("message", this.onMessage)
    webSocket.on("error", this.onError)
    webSocket.on("close", this.onClose)
    socket.on("drain", this.onDrain)
    options.timers.watch(this)
  }

  /** Takes what there is, once there is something: a consumer that is interrupted before it could loses nothing. */
  private readonly ready: Peer["pull"] = Effect.suspend((): Peer["pull"] => {
    if (this.messages.length === 0) return Cause.done()
    const messages = this.messages as unknown as NonEmptyReadonlyArray<PeerMessage>
    this.messages = []
    this.unread = 0
    this.readOn()
    return Effect.succeed(messages)
  })

  readonly pull: Pull.Pull<NonEmptyReadonlyArray<PeerMessage>> = Effect.suspend(() => {
    if (this.messages.length > 0 || this.over) return this.ready
    return Effect.callback<NonEmptyReadonlyArray<PeerMessage>, Cause.Done>((resume) => {
      // The runtime may let others run between the look above and this.
      if (this.messages.length > 0 || this.over) return resume(this.ready)
      this.consumer = resume
      return Effect.sync(() => {
        this.consumer = undefined
      })
    })
  })

  readonly send = (data: Buffer): Effect.Effect<void, PeerGone> =>
    Effect.suspend(() => {
      if (!this.open) return this.refused
      if (this.congested) return this.sendLater(data)
      this.webSocket.send(data, asText)
      return Effect.void
    })

  readonly close = (code: number, reason: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      this.startClosing(code, reason)
      return Effect.asVoid(this.closed)
    })

  readonly closed: Effect.Effect<PeerClose> = Deferred.await(this.gone)

  closing(): PeerClose | null {
    return this.end
  }

  /**
   * Closes the connection with 1000 where it is open still, and waits until it is gone: two seconds at most, whatever is
   * still to be written.
   */
  readonly release: Effect.Effect<void> = Effect.suspend(() => {
    this.startClosing(1000, "")
    if (this.closesLater) this.sayClose()
    // A side that has left without a word does not answer one.
    if (this.socket.readableEnded) this.webSocket.terminate()
    return Effect.asVoid(this.closed)
  })

  private get open(): boolean {
    return this.end === null && this.webSocket.readyState === this.webSocket.OPEN
  }

  private get congested(): boolean {
    return this.waiting.length > 0 || this.webSocket.bufferedAmount > unwrittenBound
  }

  /** Where the other end is closing, it shows how only once it has. */
  private readonly refused: Effect.Effect<never, PeerGone> = Effect.suspend(() =>
    this.end === null ? Effect.flatMap(this.closed, gone) : gone(this.end)
  )

  private sendLater(data: Buffer): Effect.Effect<void, PeerGone> {
    return Effect.callback<void, PeerGone>((resume) => {
      if (!this.open) return resume(this.refused)
      const waiting: Waiting = { data, resume }
      this.waiting.push(waiting)
      this.sendWaiting()
      return Effect.sync(() => {
        const place = this.waiting.indexOf(waiting)
        if (place !== -1) this.waiting.splice(place, 1)
      })
    })
  }

  /** Sends what waits, in order, up to the bound. Its senders go on later, and must not all begin at once. */
  private sendWaiting(): void {
    while (this.open && this.webSocket.bufferedAmount <= unwrittenBound) {
      const next = this.waiting.shift()
      if (next === undefined) return
      this.webSocket.send(next.data, asText)
      next.resume(Effect.void)
    }
  }

  private startClosing(code: number, reason: string): void {
    // Where the other end was first, it is answered already.
    if (!this.open) return
    const said = { code: sendable(code), reason: fitting(reason) }
    this.endAs(said)
    // The other end may be busy sending; nobody reads it any more.
    this.readOn()
    if (!this.socket.writableNeedDrain) {
      this.sayClose()
      return
    }
    this.closesLater = true
    // What is due now may be due before what it is watched for.
    this.timers.unwatch(this)
    this.timers.watch(this)
  }

  private sayClose(): void {
    this.closesLater = false
    const { code, reason } = this.end!
    if (code === noCode) this.webSocket.close()
    else this.webSocket.close(code, reason)
  }

  /** Notes how it ends; what was noted first stays. Nothing is sent any more. */
  private endAs(end: PeerClose): void {
    this.end ??= end
    const failed = gone(this.end)
    for (const { resume } of this.waiting.splice(0)) resume(failed)
  }

  private terminate(reason: string): void {
    this.endAs({ code: broken, reason })
    this.webSocket.terminate()
  }

  private readOn(): void {
    if (!this.paused) return
    this.paused = false
    this.webSocket.resume()
  }

  private wake(): void {
    const { consumer } = this
    if (consumer === undefined) return
    this.consumer = undefined
    consumer(this.ready)
  }

  private readonly onMessage = (data: unknown, binary: boolean): void => {
    if (this.end !== null) return
    const message = { data: data as Buffer, binary }
    this.messages.push(message)
    this.unread += message.data.length + messageCost
    if (!this.paused && this.unread > unreadBound) {
      this.paused = true
      this.webSocket.pause()
    }
    this.wake()
  }

  /** What came breaks the protocol, and `ws` closes the connection with the code of that. */
  private readonly onError = (error: NodeJS.ErrnoException): void => {
    this.endAs({ code: closeCodes[error.code ?? ""] ?? 1002, reason: "", violated: true })
  }

  private readonly onDrain = (): void => {
    this.sendWaiting()
    if (this.closesLater) this.sayClose()
  }

  private readonly onClose = (code: number, reason: Buffer): void => {
    this.over = true
    this.timers.unwatch(this)
    this.socket.off("drain", this.onDrain)
    this.webSocket.off("message", this.onMessage)
    this.webSocket.off("close", this.onClose)
    this.endAs({ code, reason: reason.toString("utf8") })
    this.wake()
    Deferred.doneUnsafe(this.gone, Effect.succeed(this.end!))
  }

  /**
   * Whether bytes came since the last look. While we have paused it, or there is something for it to take, silence says
   * nothing: a pong would stand behind what we do not read, or answer what it has not got.
   */
  private look(now: number): void {
    const { bytesRead } = this.socket
    if (bytesRead === this.bytesRead && !this.paused && this.webSocket.bufferedAmount === 0) return
    this.bytesRead = bytesRead
    this.silentSince = now
    this.pinged = false
  }

  /** When it has taken nothing for too long. */
  private takesBy(now: number): number {
    return (
      this.uptake.look(now, this.socket, this.socket.writableLength) +
      (this.closesLater ? Math.min(grace, this.write) : this.write)
    )
  }

  due(): number {
    const now = this.timers.now()
    this.look(now)
    const answersBy = this.silentSince + (this.pinged ? 2 : 1) * this.ping
    return Math.min(this.takesBy(now), answersBy, now + Math.min(this.ping, this.write) / looks)
  }

  expire(): "again" | "done" {
    if (this.over) return "done"
    const now = this.timers.now()
    if (now >= this.takesBy(now)) {
      this.terminate("nothing was taken for too long")
      return "done"
    }
    this.look(now)
    if (now < this.silentSince + (this.pinged ? 2 : 1) * this.ping) return "again"
    if (this.pinged) {
      this.terminate("no sign of life")
      return "done"
    }
    this.pinged = true
    if (this.open) this.webSocket.ping()
    return "again"
  }
}

const gone = ({ code, reason }: PeerClose) => Effect.fail(new PeerGone({ code, reason }))

/** Codes that stand for what was not said, and are never sent (RFC 6455, section 7.4.1). */
const noCode = 1005
const broken = 1006

/** The codes that `ws` closes with, by its errors' codes; for all others, 1002. */
const closeCodes: { readonly [code: string]: number | undefined } = {
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008,
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 1009,
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009
}

/** A code that may be sent, or 1005 for none: one that may not be says that something went wrong here. */
const sendable = (code: number): number => {
  const registered = code >= 1000 && code <= 1014 && code !== 1004 && code !== broken
  return registered || (code >= 3000 && code <= 4999) ? code : 1011
}

/** The largest reason, in bytes: the rest of a control frame behind the code (RFC 6455, section 5.5). */
const longestReason = 123

/** As much of a reason as fits, up to a whole character. */
const fitting = (reason: string): string => {
  const bytes = Buffer.from(reason)
  if (bytes.length <= longestReason) return reason
  let end = longestReason
  while ((bytes[end]! & 0xc0) === 0x80) end--
  return bytes.toString("utf8", 0, end)
}
