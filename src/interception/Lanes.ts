/**
 * The lanes of one WebSocket: requests of one lane run one after the other, those of different lanes at once, and the
 * connection as a whole runs only so many. Pure: it is told what comes and what is over, and says what starts.
 */

/** What the connection allows. The real service has 16 running responses and 32 named lanes. */
export interface LaneLimits {
  /** How many requests run at once, over all lanes. */
  readonly running: number
  /** How many lanes with a name a connection may have, ever. */
  readonly lanes: number
  /** How many requests may wait. */
  readonly queued: number
  /** How many bytes those that wait may have together; as many as they like unless given. */
  readonly bytes?: number
}

/** What becomes of a request. */
export type LaneVerdict =
  /** It starts now. */
  | "start"
  /** It starts later: `over` will say when. */
  | "wait"
  /** Its lane would be one too many. */
  | "too-many-lanes"
  /** Too many are waiting. */
  | "too-many-waiting"

/** The lanes of one connection. A lane is known by its name; `null` is the one without. */
export class Lanes<Request> {
  private readonly limits: LaneLimits
  private readonly names = new Set<string>()
  private readonly busy = new Set<string | null>()
  /** Requests that wait, in the order that they came. */
  private waiting: Array<{ readonly lane: string | null; readonly request: Request; readonly size: number }> = []
  private waitingBytes = 0

  constructor(limits: LaneLimits) {
    this.limits = limits
  }

  /** How many requests are running. */
  get running(): number {
    return this.busy.size
  }

  /** How many requests wait. */
  get queued(): number {
    return this.waiting.length
  }

  /** Whether a request of this lane is running. */
  isBusy(lane: string | null): boolean {
    return this.busy.has(lane)
  }

  /** A request has come, of so many bytes. */
  offer(lane: string | null, request: Request, size = 0): LaneVerdict {
    if (lane !== null && !this.names.has(lane) && this.names.size >= this.limits.lanes) return "too-many-lanes"
    const starts = this.isFree(lane) && !this.waiting.some((other) => other.lane === lane)
    const { bytes = Number.POSITIVE_INFINITY, queued } = this.limits
    if (!starts && (this.waiting.length >= queued || this.waitingBytes + size > bytes)) return "too-many-waiting"
    if (lane !== null) this.names.add(lane)
    if (!starts) {
      this.waiting.push({ lane, request, size })
      this.waitingBytes += size
      return "wait"
    }
    this.busy.add(lane)
    return "start"
  }

  /** A lane is taken by a response that nobody asked for, as the successor of one that was steered. */
  occupy(lane: string | null): void {
    this.busy.add(lane)
  }

  /** The running request of a lane is over. Answers those that start now: the oldest that may. */
  over(lane: string | null): ReadonlyArray<Request> {
    this.busy.delete(lane)
    const starting: Array<Request> = []
    const left: typeof this.waiting = []
    /** Lanes of which an older request still waits. */
    const blocked = new Set<string | null>()
    for (const one of this.waiting) {
      if (this.isFree(one.lane) && !blocked.has(one.lane)) {
        this.busy.add(one.lane)
        this.waitingBytes -= one.size
        starting.push(one.request)
      } else {
        blocked.add(one.lane)
        left.push(one)
      }
    }
    this.waiting = left
    return starting
  }

  /** Gives up what waits: the connection takes nothing more. Answers what it was. */
  drop(): ReadonlyArray<Request> {
    const dropped = this.waiting.map(({ request }) => request)
    this.waiting = []
    this.waitingBytes = 0
    return dropped
  }

  private isFree(lane: string | null): boolean {
    return !this.busy.has(lane) && this.busy.size < this.limits.running
  }
}
