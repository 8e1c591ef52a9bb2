import { Cause, Deferred, Effect } from "effect"
import type { Peer, PeerClose, PeerMessage } from "../../src/upstream/Peer.ts"
import { PeerGone } from "../../src/upstream/Peer.ts"

/** One end of a pair. What a test does with it is synchronous. */
export class Side implements Peer {
  readonly received: Array<string> = []
  /** Messages that were not pulled yet. */
  private waiting: Array<PeerMessage> = []
  private wake: (() => void) | undefined
  private ended: PeerClose | null = null
  private readonly over = Deferred.makeUnsafe<PeerClose>()
  other!: Side

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

  private take(message: PeerMessage): void {
    if (this.ended !== null) return
    this.received.push(message.data.toString())
    this.waiting.push(message)
    this.wake?.()
  }

  private finish(close: PeerClose): void {
    if (this.ended !== null) return
    this.ended = close
    Deferred.doneUnsafe(this.over, Effect.succeed(close))
    this.wake?.()
  }

  readonly pull: Peer["pull"] = Effect.suspend(() => {
    const ready: Peer["pull"] = Effect.suspend(() => {
      const [first, ...rest] = this.waiting
      this.waiting = []
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
      if (this.ended !== null) return Effect.fail(new PeerGone(this.ended))
      this.say(data.toString())
      return Effect.void
    })
  }

  close(code: number, reason: string): Effect.Effect<void> {
    return Effect.sync(() => this.leave(code, reason))
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
export const peerPair = (): readonly [Side, Side] => {
  const sides = [new Side(), new Side()] as const
  sides[0].other = sides[1]
  sides[1].other = sides[0]
  return sides
}
