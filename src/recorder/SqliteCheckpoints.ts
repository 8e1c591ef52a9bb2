import { Effect, type Fiber } from "effect"
import type { RecorderError } from "./RecorderError.ts"

/** How many pages the log grows from one checkpoint to the next: 8 MB of 4 KB pages. */
const checkpointPages = 2_000
/** From how many on writing stands still for one. */
const holdPages = 4 * checkpointPages

/**
 * When to move what the write-ahead log holds into the database, which another thread does.
 *
 * SQLite begins the log anew only when nothing is left in it. Under steady load no checkpoint finds it so, since writing
 * goes on meanwhile, and it would grow without end. So once it is large, writing waits for a second checkpoint right
 * behind the first: that has to move only the few pages which were written during the first, and takes milliseconds.
 */
export class Checkpoints {
  private readonly writer: { pages: number }
  private readonly checkpoint: Effect.Effect<boolean, RecorderError>
  private readonly runFork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  private running = false
  private next = checkpointPages
  private hold = holdPages
  /** Whether the next write must wait for `whileNobodyWrites`. */
  due = false

  /**
   * @param writer counts the pages that its transactions added to the log
   * @param checkpoint answers whether it moved all that the log holds
   */
  constructor(
    writer: { pages: number },
    checkpoint: Effect.Effect<boolean, RecorderError>,
    runFork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  ) {
    this.writer = writer
    this.checkpoint = checkpoint
    this.runFork = runFork
  }

  /** To be called behind a transaction: starts a checkpoint where it is time, and does not wait for it. */
  written(): void {
    if (this.running || this.writer.pages < this.next) return
    this.running = true
    const before = this.writer.pages
    this.runFork(
      Effect.map(Effect.exit(this.checkpoint), (exit) => {
        this.running = false
        const all = exit._tag === "Success" && exit.value && this.writer.pages === before
        this.moved(all)
        this.due = !all && this.writer.pages >= this.hold
      })
    )
  }

  /** A checkpoint with the writer standing still. Where even that leaves something, a slow reader is in its way. */
  readonly whileNobodyWrites: Effect.Effect<void> = Effect.suspend(() => {
    this.due = false
    return Effect.map(Effect.exit(this.checkpoint), (exit) => {
      const all = exit._tag === "Success" && exit.value
      this.moved(all)
      this.hold = this.writer.pages + holdPages
    })
  })

  private moved(all: boolean): void {
    if (all) this.writer.pages = 0
    this.next = this.writer.pages + checkpointPages
  }
}
