import { Cause, Effect, type Pull } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"

/** What a queue can ask of whoever fills it. */
export interface Producer {
  readonly pause: () => void
  readonly resume: () => void
}

/** Up to how many bytes wait for what else the same read of the network brings. */
const together = 8 * 1024

/** How many unread bytes stop the producer. */
const highWater = 256 * 1024

/**
 * The body of one upstream answer on its way from a callback to a fiber: one producer, one consumer, in order.
 *
 * The producer is paused above a high-water mark and goes on once the queue was emptied, so that a slow client slows
 * the upstream instead of filling memory. `waiting` and `paused` tell an idle timer whether silence is the upstream's.
 */
export class ChunkQueue<E> {
  private chunks: Array<Buffer> = []
  private size = 0
  private ended = false
  private failure: Cause.Cause<E> | undefined
  private consumer: ((pull: Pull.Pull<NonEmptyReadonlyArray<Buffer>, E>) => void) | undefined
  private producer: Producer | undefined
  /** Whether the consumer is about to be woken. */
  private waking = false
  /** Whether the producer stands still because of us. */
  paused = false
  /** How many chunks came in so far; an idle timer compares it with what it saw last. */
  received = 0

  /** Names the producer. A queue without one is filled by somebody who looks at `paused`. */
  connect(producer: Producer): void {
    this.producer = producer
    if (this.paused) producer.pause()
  }

  /** Whether the end, or a failure, has come in. */
  get closed(): boolean {
    return this.ended || this.failure !== undefined
  }

  offer(chunk: Buffer): void {
    if (this.closed || chunk.length === 0) return
    this.received++
    this.chunks.push(chunk)
    this.size += chunk.length
    if (!this.paused && this.size > highWater) {
      this.paused = true
      this.producer?.pause()
    }
    if (this.consumer === undefined) return
    // What came in one read of the network is taken at once: a consumer costs more than its chunks do, as long as they
    // are small. Large ones are better not kept.
    if (this.size > together) this.wake()
    else if (!this.waking) {
      this.waking = true
      queueMicrotask(this.wakeSoon)
    }
  }

  end(): void {
    if (this.closed) return
    this.ended = true
    this.wake()
  }

  fail(error: E): void {
    this.failCause(Cause.fail(error))
  }

  failCause(cause: Cause.Cause<E>): void {
    if (this.closed) return
    this.failure = cause
    this.wake()
  }

  private readonly wakeSoon = (): void => {
    this.waking = false
    if (this.chunks.length > 0) this.wake()
  }

  private wake(): void {
    const consumer = this.consumer
    if (consumer === undefined) return
    this.consumer = undefined
    consumer(this.ready)
  }

  /** Takes what there is, once there is something: a consumer that is interrupted before it could loses nothing. */
  private readonly ready: Pull.Pull<NonEmptyReadonlyArray<Buffer>, E> = Effect.suspend(
    (): Pull.Pull<NonEmptyReadonlyArray<Buffer>, E> => {
      if (this.chunks.length > 0) {
        const chunks = this.chunks as unknown as NonEmptyReadonlyArray<Buffer>
        this.chunks = []
        this.size = 0
        if (this.paused && !this.closed) {
          this.paused = false
          this.producer?.resume()
        }
        return Effect.succeed(chunks)
      }
      return this.failure === undefined ? Cause.done() : Effect.failCause(this.failure)
    }
  )

  /** The chunks that came since the last pull; waits for one where there is none. A failure comes behind them. */
  readonly pull: Pull.Pull<NonEmptyReadonlyArray<Buffer>, E> = Effect.suspend(() => {
    if (this.chunks.length > 0 || this.closed) return this.ready
    return Effect.callback<NonEmptyReadonlyArray<Buffer>, E | Cause.Done>((resume) => {
      // The runtime may let others run between the look above and this.
      if (this.chunks.length > 0 || this.closed) return resume(this.ready)
      this.consumer = resume
      return Effect.sync(() => {
        this.consumer = undefined
      })
    })
  })
}
