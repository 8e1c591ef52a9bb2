import { Cause, Effect, type Pull, Stream } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { TransportName } from "../dialect/Dialect.ts"
import type { Malformed, UpstreamError } from "../upstream/Upstream.ts"
import type { Frame } from "../wire/Frame.ts"
import type { Head } from "./InboundRequest.ts"

/** Frames as they are taken: those of one network chunk at a time. */
export type FramePull = Pull.Pull<NonEmptyReadonlyArray<Frame>, UpstreamError>

/** What a client gets. */
export class Answer {
  /** The interception's id. */
  readonly id: string
  readonly head: Head
  readonly transport: TransportName
  /** How many bytes the body has, where that is known beforehand. */
  readonly length: number | null
  /** `frames`, for whoever carries them and wants to take them without a stream around. */
  readonly pull: FramePull
  /** A frame to send while the upstream is silent, between whole frames; `null` where there is none. */
  readonly keepAlive: () => Frame | null
  /** For whoever cannot carry the frames on: ends the upstream's turn, and records that it failed for this reason. */
  readonly fail: (reason: Malformed) => Effect.Effect<void>

  constructor(options: {
    readonly id: string
    readonly head: Head
    readonly transport: TransportName
    readonly length?: number | null
    readonly pull: FramePull
    readonly keepAlive?: () => Frame | null
    readonly fail?: (reason: Malformed) => Effect.Effect<void>
  }) {
    this.id = options.id
    this.head = options.head
    this.transport = options.transport
    this.length = options.length ?? null
    this.pull = options.pull
    this.keepAlive = options.keepAlive ?? noFrame
    this.fail = options.fail ?? (() => Effect.void)
  }

  /**
   * The frames, the terminal one behind the commit of its records. An upstream that breaks ends them in the dialect's
   * error event; the stream itself fails only where no whole frame can be sent any more, and whoever carries it has to
   * break its connection then.
   */
  get frames(): Stream.Stream<Frame, UpstreamError> {
    return Stream.fromPull(Effect.succeed(this.pull))
  }
}

const noFrame = () => null

/** Frames that are there already, before those that are still to come. */
export const first = (frames: ReadonlyArray<Frame>, then: FramePull = Cause.done()): FramePull => {
  let taken = frames.length === 0
  return Effect.suspend(() => {
    if (taken) return then
    taken = true
    return Effect.succeed(frames as NonEmptyReadonlyArray<Frame>)
  })
}
