import type { TransportName } from "../dialect/Dialect.ts"
import type { ChunkQueue } from "./ChunkQueue.ts"
import { GiveUp, TimedOut, UpstreamError } from "./Exchange.ts"
import type { IdleTimers, Watched } from "./IdleTimers.ts"

const timedOut = (provider: string, limit: "first_frame" | "idle") =>
  new UpstreamError({ provider, reason: new TimedOut({ limit }) })

/** How many times an idle limit is divided for looking whether something came. */
const looks = 8

/**
 * How long a provider may be silent: up to its first frame, the waits between attempts included, and between bytes.
 *
 * Nothing is noted per chunk: at an eighth of the limit it looks whether any came since. Time in which we had paused the
 * provider does not count.
 */
export class Patience implements Watched {
  readonly giveUp = new GiveUp()
  private readonly provider: string
  private readonly timers: IdleTimers["Service"]
  private readonly idle: number
  private body: ChunkQueue<UpstreamError> | null = null
  /** When the first frame has to be there; 0 once it is. */
  private firstFrameBy: number
  private received = 0
  private lastSeen = 0

  constructor(
    provider: string,
    timers: IdleTimers["Service"],
    limits: { readonly firstFrame: number; readonly idle: number }
  ) {
    this.provider = provider
    this.timers = timers
    this.idle = limits.idle
    this.firstFrameBy = timers.now() + limits.firstFrame
  }

  /** Whether it is at its end before so many milliseconds are over. */
  endsBefore(wait: number): boolean {
    return this.timers.now() + wait >= this.firstFrameBy
  }

  /** The head is there. For JSON the first frame is the whole body, and its limit ran to the head. */
  attach(transport: TransportName, body: ChunkQueue<UpstreamError>): void {
    this.body = body
    this.lastSeen = this.timers.now()
    if (transport === "json") this.firstFrameBy = 0
    // What is due now may be due before what it is watched for.
    this.timers.unwatch(this)
    this.timers.watch(this)
  }

  due(): number {
    if (this.body === null) return this.firstFrameBy
    const now = this.timers.now()
    const { received, paused } = this.body
    if (received !== this.received || paused) {
      this.received = received
      this.lastSeen = now
      this.firstFrameBy = 0
    }
    return Math.min(this.limit(), now + this.idle / looks)
  }

  private limit(): number {
    return this.firstFrameBy === 0 ? this.lastSeen + this.idle : this.firstFrameBy
  }

  expire(): "again" | "done" {
    const { body } = this
    if (body === null) {
      this.giveUp.tell(timedOut(this.provider, "first_frame"))
      return "done"
    }
    if (body.closed) return "done"
    this.due()
    if (this.limit() > this.timers.now()) return "again"
    body.fail(timedOut(this.provider, this.firstFrameBy === 0 ? "idle" : "first_frame"))
    return "done"
  }
}
