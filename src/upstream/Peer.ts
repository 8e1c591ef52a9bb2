import { type Effect, type Pull, Schema } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"

/** A message of a WebSocket. */
export interface PeerMessage {
  readonly data: Buffer
  /** Whether it is binary, which no protocol here has a use for. */
  readonly binary: boolean
}

/** How a WebSocket was closed: 1005 where no code was said, 1006 where the connection just ended (RFC 6455, section 7.4). */
export interface PeerClose {
  readonly code: number
  readonly reason: string
  /** Set where the other end has broken the protocol: the code is what it was closed with from here for that. */
  readonly violated?: true
}

/** Nothing can be sent any more: the connection is closed, or took nothing for too long. */
export class PeerGone extends Schema.TaggedError<PeerGone>()("PeerGone", {
  code: Schema.Number,
  reason: Schema.String
}) {
  override get message() {
    return `the WebSocket is closed (${this.code}${this.reason === "" ? "" : ` ${this.reason}`})`
  }
}

/**
 * The other end of a WebSocket, whichever side opened it: a client's, or an upstream's. The connection ends with the
 * scope that it was made in.
 */
export interface Peer {
  /**
   * The messages that came since the last pull; waits for one where there is none, and is done once the connection is
   * closed and everything before that was taken. While many are waiting to be taken nothing more is read.
   */
  readonly pull: Pull.Pull<NonEmptyReadonlyArray<PeerMessage>>
  /**
   * Sends a text message. Waits while more than a bound of what was sent before has still to be written, and closes the
   * connection where none of it is taken within the write deadline.
   */
  readonly send: (data: Buffer) => Effect.Effect<void, PeerGone>
  /** Closes the connection with a code and a reason (cut to 123 bytes), once; cuts it where the other end does not answer. */
  readonly close: (code: number, reason: string) => Effect.Effect<void>
  /** How the connection was closed, by whichever side; waits for that. */
  readonly closed: Effect.Effect<PeerClose>
  /** The same, if it was. */
  readonly closing: () => PeerClose | null
}
