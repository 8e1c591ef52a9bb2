import { Cause, Deferred, Effect, Latch } from "effect"
import { type Peer, type PeerClose, PeerGone, type PeerMessage } from "../../src/upstream/Peer.ts"

/** One end of a WebSocket without a network. What a test does with it is synchronous. */
export class LinkedPeer implements Peer {
  readonly received: Array<string> = []
  /** Messages that were not pulled yet. */
  readonly waiting: Array<PeerMessage> = []
  /** What was sent from here behind a close from here: there must be none. */
  readonly late: Array<string> = []
  other!: LinkedPeer
  private wake: (() => void) | undefined
  private ended: PeerClose | null = null
  private hasClosed = false
  private readonly over = Deferred.makeUnsafe<PeerClose>()
  private readonly taking = Latch.makeUnsafe(true)

  /** Says something to the other end. */
  say(message: string | object | Buffer): void {
    const binary = Buffer.isBuffer(message)
    const data = binary ? message : Buffer.from(typeof message === "string" ? message : JSON.stringify(message))
    this.other.take({ data, binary })
  }

  /** Closes the connection from this end. */
  leave(code: number, reason = ""): void {
    this.finish({ code, reason })
    this.other.finish({ code, reason })
  }

  /** Breaks the protocol: the other end closes the connection with the code of that. */
  violate(code: number): void {
    this.finish({ code, reason: "" })
    this.other.finish({ code, reason: "", violated: true })
  }

  /** Takes nothing more until `takeOn`: whoever sends waits. */
  stopTaking(): void {
    this.taking.closeUnsafe()
  }

  takeOn(): void {
    this.taking.openUnsafe()
  }

  private take(message: PeerMessage): void {
    if (this.ended !== null) return
    this.received.push(message.data.toString())
    this.waiting.push(message)
    this.wake?.()
  }

  private finish(close: PeerClose): void {
    if (this.ended !== null) return
    this.ended = close
    this.taking.openUnsafe()
    Deferred.doneUnsafe(this.over, Effect.succeed(close))
    this.wake?.()
  }

  /** As a real one, it hands over at most so much at once. */
  readonly pull: Peer["pull"] = Effect.suspend(() => {
    const ready: Peer["pull"] = Effect.suspend(() => {
      const [first, ...rest] = this.waiting.splice(0, 64)
      return first === undefined ? Cause.done() : Effect.succeed([first, ...rest] as const)
    })
    if (this.waiting.length > 0 || this.ended !== null) return ready
    return Effect.callback<readonly [PeerMessage, ...Array<PeerMessage>], Cause.Done>((resume) => {
      this.wake = () => {
        this.wake = undefined
        resume(ready)
      }
    })
  })

  send(data: Buffer): Effect.Effect<void, PeerGone> {
    return Effect.suspend(() => {
      if (this.hasClosed) this.late.push(data.toString())
      if (this.ended === null)
        return Effect.andThen(
          this.other.taking.await,
          Effect.suspend(() => this.write(data))
        )
      return this.write(data)
    })
  }

  private write(data: Buffer): Effect.Effect<void, PeerGone> {
    if (this.ended !== null) {
      return Effect.fail(new PeerGone(this.ended))
    }
    this.say(data.toString())
    return Effect.void
  }

  close(code: number, reason: string): Effect.Effect<void> {
    return Effect.sync(() => {
      this.hasClosed = true
      this.leave(code, reason)
    })
  }

  readonly closed = Deferred.await(this.over)

  closing(): PeerClose | null {
    return this.ended
  }

  /** What was received, as JSON. */
  get events(): ReadonlyArray<{ readonly [name: string]: unknown }> {
    return this.received.map((text) => JSON.parse(text))
  }
}

/** The two ends of a WebSocket without a network. */
export const linkedPeers = (): readonly [LinkedPeer, LinkedPeer] => {
  const peers = [new LinkedPeer(), new LinkedPeer()] as const
  peers[0].other = peers[1]
  peers[1].other = peers[0]
  return peers
}
