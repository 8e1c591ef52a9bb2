import { Cause, type Clock, Effect, Exit, Fiber, type Scope, Semaphore } from "effect"
import { HeldBatches, interceptionsOf } from "./HeldBatches.ts"
import { LagHistogram } from "./LagHistogram.ts"
import type { RecorderStatistics } from "./Recorder.ts"
import { CommitTimedOut, RecorderClosed, RecorderError, RecordsHeld } from "./RecorderError.ts"
import type { RecordBatch } from "./Records.ts"
import { type NumberedBatch, type RecordStore, rowsOf } from "./RecordStore.ts"
import type { Spool } from "./Spool.ts"

/** How many rows go into one transaction. With the store's own limit of time it bounds how long the loop is held up. */
const groupRows = 100
/** Pauses between attempts while another writer holds the store, in milliseconds. */
const firstPause = 1
const longestPause = 50
/** How long a store that failed, or that records are held for, is left alone where no call tries it, in milliseconds. */
const retryPause = 1_000
/** How often at most an outage is logged, in milliseconds. */
const logPause = 10_000
/** How many held batches are written at once. */
const heldCount = 25
/** How many interceptions one line of the log names. */
const namedInterceptions = 50

const timedOut = Effect.suspend(() =>
  Effect.fail(new RecorderError({ operation: "write", reason: new CommitTimedOut() }))
)

const recordsHeld = Effect.suspend(() =>
  Effect.fail(new RecorderError({ operation: "write", reason: new RecordsHeld() }))
)

interface Entry extends NumberedBatch {
  readonly rows: number
  /** By the process's clock, for the lag. */
  readonly queuedAt: number
  /** When the spool takes over: by the fiber's clock, which here is one that nobody sets. */
  readonly deadline: number
  /** Whether failing is better than the spool. */
  readonly refuse: boolean
  readonly settle: (exit: Effect.Effect<void, RecorderError>) => void
}

export interface CommitQueueOptions {
  /** In milliseconds. */
  readonly commitTimeout: number
  /** `null` where the store cannot fail. */
  readonly spool: Spool | null
}

/**
 * Puts batches into a store by groups.
 *
 * One fiber writes. While nothing waits, a batch starts it at the next turn of the event loop, so that all that one
 * round of reading brought goes into one transaction; under load a group is what came while the one before was written.
 * Nothing here sleeps before a commit: clocks are asked only once a store is busy.
 *
 * A batch that neither the store nor the spool takes is held in memory, up to a bound, and tried again every second.
 * While one is held, what would rather fail than go unrecorded is refused.
 */
export class CommitQueue {
  private readonly store: RecordStore
  private readonly spool: Spool | null
  private readonly commitTimeout: number
  private readonly clock: Clock.Clock
  private queue: Array<Entry> = []
  private wake: (() => void) | undefined
  private closed = false
  private number = 0
  private readonly held = new HeldBatches()
  private readonly housing = Semaphore.makeUnsafe(1)
  private nextHousing = 0
  private nextLog = { spool: 0, memory: 0 }
  private unlogged = { spool: 0, memory: 0 }
  private readonly lag = new LagHistogram()
  private committedBatches = 0
  private spooledBatches = 0
  private replayedBatches = 0
  private lostBatches = 0
  private refusedOpens = 0
  private lastCommitMs = 0
  /** Whether the store took what it was given last. */
  private takes = true

  constructor(store: RecordStore, clock: Clock.Clock, options: CommitQueueOptions) {
    this.store = store
    this.clock = clock
    this.spool = options.spool
    this.commitTimeout = options.commitTimeout
  }

  /** Starts the writer; it ends with the scope, behind all that was committed until then. */
  readonly start: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() =>
    Effect.forkScoped(this.writer, { startImmediately: true }).pipe(
      Effect.andThen(
        Effect.addFinalizer(() =>
          this.flush.pipe(
            Effect.andThen(
              Effect.suspend(() => {
                this.closed = true
                return this.house
              })
            ),
            Effect.andThen(
              Effect.suspend(() => this.lose(this.held.first(this.held.length), "the recorder is shut down"))
            )
          )
        )
      )
    )
  )

  /** Writes a batch; fails only with `refuse`. Interrupting it stops the waiting, not the writing. */
  put(batch: RecordBatch, refuse: boolean): Effect.Effect<void, RecorderError> {
    return Effect.callback<void, RecorderError>((resume) => this.push(batch, refuse, resume))
  }

  /** Waits until everything put so far is durable or spooled. */
  readonly flush: Effect.Effect<void> = Effect.callback<void>((resume) =>
    this.push({}, false, () => resume(Effect.void))
  )

  /** Whether the store took what it was given last, and nothing is held. */
  get healthy(): boolean {
    return this.takes && this.held.length === 0
  }

  get statistics(): RecorderStatistics {
    return {
      committedBatches: this.committedBatches,
      spooledBatches: this.spooledBatches,
      replayedBatches: this.replayedBatches,
      lostBatches: this.lostBatches,
      refusedOpens: this.refusedOpens,
      queued: this.queue.length + this.held.length,
      lastCommitMs: this.lastCommitMs,
      lag: this.lag.snapshot
    }
  }

  private push(batch: RecordBatch, refuse: boolean, settle: Entry["settle"]): void {
    const rows = rowsOf(batch)
    if (this.closed) {
      // Only a fiber that outlives the layers it uses comes here. It must not wait for ever.
      if (refuse) settle(Effect.fail(new RecorderError({ operation: "write", reason: new RecorderClosed() })))
      else {
        if (rows > 0) this.lostBatches++
        settle(rows > 0 ? Effect.logError("a record came after the recorder was shut down and is lost") : Effect.void)
      }
      return
    }
    if (refuse && this.held.length > 0) {
      this.refusedOpens++
      settle(recordsHeld)
      return
    }
    this.queue.push({
      number: ++this.number,
      batch,
      rows,
      queuedAt: performance.now(),
      deadline: this.now() + this.commitTimeout,
      refuse,
      settle
    })
    const wake = this.wake
    if (wake !== undefined) {
      this.wake = undefined
      setImmediate(wake)
    }
  }

  /** In milliseconds, by a clock that only goes forward. */
  private now(): number {
    return Number(this.clock.monotonicTimeNanosUnsafe()) / 1_000_000
  }

  private readonly work = Effect.callback<void>((resume) => {
    // The scheduler may have let others run since the queue was looked at.
    if (this.queue.length > 0) return resume(Effect.void)
    this.wake = () => resume(Effect.void)
    return Effect.sync(() => {
      this.wake = undefined
    })
  })

  private readonly nextTurn = Effect.callback<void>((resume) => {
    const immediate = setImmediate(() => resume(Effect.void))
    return Effect.sync(() => clearImmediate(immediate))
  })

  private readonly writer: Effect.Effect<never> = Effect.suspend(() => {
    const queue = this
    return Effect.gen(function* () {
      for (;;) {
        if (queue.queue.length > 0) {
          yield* queue.writeGroup(queue.takeGroup())
          if (queue.held.length > 0 && queue.now() >= queue.nextHousing) yield* queue.house
          if (queue.takes && queue.spool?.backlog) yield* queue.replayPiece
          if (queue.queue.length > 0) yield* queue.nextTurn
        } else if (queue.healthy) {
          yield* queue.spool?.backlog ? queue.replayPiece : queue.work
        } else {
          yield* Effect.timeoutOption(queue.work, retryPause)
          // Whoever asks for health before sending calls would never send one to a store that nothing tries again.
          if (queue.queue.length === 0) {
            if (queue.held.length > 0) yield* queue.house
            else if (queue.spool?.backlog) yield* queue.replayPiece
            else queue.push({}, false, () => undefined)
          }
        }
      }
    })
  })

  private takeGroup(): Array<Entry> {
    const queue = this.queue
    let rows = queue[0]!.rows
    let count = 1
    while (count < queue.length && rows + queue[count]!.rows <= groupRows) rows += queue[count++]!.rows
    if (count === queue.length) {
      this.queue = []
      return queue
    }
    return queue.splice(0, count)
  }

  /** Nothing is to begin while records are held; what was put before that is known comes here. */
  private refuseWhileHeld(group: Array<Entry>): Array<Entry> {
    if (this.held.length === 0) return group
    return group.filter((entry) => {
      if (!entry.refuse) return true
      this.refusedOpens++
      entry.settle(recordsHeld)
      return false
    })
  }

  /** Settles every entry of the group: committed, spooled, held or refused. */
  private writeGroup(group: Array<Entry>): Effect.Effect<void> {
    const queue = this
    return Effect.gen(function* () {
      let rest = queue.refuseWhileHeld(group)
      let pause = firstPause
      let single = false
      while (rest.length > 0) {
        const started = performance.now()
        const exit = yield* queue.writeInTime(single ? [rest[0]!] : rest)
        if (Exit.isSuccess(exit)) {
          queue.committed(rest, exit.value, started)
          rest = exit.value === rest.length ? [] : rest.slice(exit.value)
          pause = firstPause
          // What is left waits for a turn of the loop: the store stopped so as not to hold it up.
          if (rest.length > 0) yield* queue.nextTurn
          continue
        }
        const error = errorOf(exit.cause)
        if (error.reason._tag === "StoreFailed" && error.reason.permanent && rest.length > 1 && !single) {
          // One batch is at fault. The others must not go down with it.
          single = true
          continue
        }
        queue.takes = error.reason._tag === "StoreFailed" && error.reason.permanent
        if (error.reason._tag !== "StoreBusy") {
          const failed = single ? 1 : rest.length
          yield* queue.giveUp(rest.slice(0, failed), error)
          rest = rest.slice(failed)
          continue
        }
        const now = queue.now()
        const expired = rest.findIndex((entry) => entry.deadline > now)
        if (expired !== 0) {
          const count = expired < 0 ? rest.length : expired
          yield* queue.giveUp(rest.slice(0, count), error)
          rest = rest.slice(count)
          continue
        }
        yield* Effect.sleep(Math.min(pause, Math.ceil(rest[0]!.deadline - now)))
        pause = Math.min(pause * 2, longestPause)
      }
    })
  }

  /** A write that is not done when the first of its entries must be, is given up; should it land after all, no matter. */
  private writeInTime(entries: ReadonlyArray<Entry>): Effect.Effect<Exit.Exit<number, RecorderError>> {
    const queue = this
    return Effect.gen(function* () {
      const writing = yield* Effect.forkChild(queue.store.write(entries), { startImmediately: true })
      // The embedded store is done by now, and needs no timer.
      const exit = writing.pollUnsafe()
      if (exit !== undefined) return exit
      const left = Math.ceil(entries[0]!.deadline - queue.now())
      return yield* Effect.exit(
        Effect.timeoutOrElse(Fiber.join(writing), {
          duration: Math.max(left, 1),
          orElse: () => Effect.andThen(Effect.forkDetach(Fiber.interrupt(writing)), timedOut)
        })
      )
    })
  }

  private committed(entries: ReadonlyArray<Entry>, count: number, started: number): void {
    const now = performance.now()
    this.takes = true
    this.lastCommitMs = now - started
    for (let i = 0; i < count; i++) {
      const entry = entries[i]!
      if (entry.rows > 0) {
        this.committedBatches++
        this.lag.observe((now - entry.queuedAt) / 1000)
      }
      entry.settle(Effect.void)
    }
  }

  /** Refuses those who would rather fail, spools or holds the others, and settles all. */
  private giveUp(entries: ReadonlyArray<Entry>, error: RecorderError): Effect.Effect<void> {
    const queue = this
    return Effect.gen(function* () {
      const refused = entries.filter((entry) => entry.refuse)
      const kept = entries.filter((entry) => !entry.refuse && entry.rows > 0)
      const busy = error.reason._tag === "StoreBusy"
      const failure = busy ? timedOut : Effect.fail(error)
      queue.refusedOpens += refused.length
      for (const entry of refused) entry.settle(failure)
      if (kept.length > 0) {
        const spooled = yield* Effect.exit(queue.toSpool(kept, error))
        if (Exit.isSuccess(spooled)) {
          queue.nextHousing = 0
          yield* queue.logOutage("spool", kept.length, error)
        } else yield* queue.hold(kept, errorOf(spooled.cause))
      } else yield* queue.logOutage("spool", 0, error)
      for (const entry of entries) if (!entry.refuse) entry.settle(Effect.void)
    })
  }

  private toSpool(batches: ReadonlyArray<NumberedBatch>, error: RecorderError): Effect.Effect<void, RecorderError> {
    if (this.spool === null) return Effect.fail(error)
    return Effect.flatMap(this.spool.append(batches), (unwritable) => {
      this.spooledBatches += batches.length - unwritable.length
      return this.lose(unwritable, "they cannot be written as JSON")
    })
  }

  private hold(entries: ReadonlyArray<Entry>, error: RecorderError): Effect.Effect<void> {
    const { held } = this
    // Without what only waiting needs.
    const lost = entries.filter(({ number, batch }) => !held.add({ number, batch }))
    this.nextHousing = this.now() + retryPause
    return Effect.andThen(
      this.logOutage("memory", entries.length - lost.length, error),
      this.lose(lost, "as much as may be is held in memory already")
    )
  }

  /** Brings what is held to the store or the spool, as far as they take it. */
  private readonly house: Effect.Effect<void> = this.housing.withPermits(1)(
    Effect.suspend(() => {
      const queue = this
      const { held } = this
      return Effect.gen(function* () {
        let single = false
        while (held.length > 0) {
          const next = held.first(single ? 1 : heldCount)
          const exit = yield* Effect.exit(queue.writeLate(next))
          if (Exit.isSuccess(exit)) {
            queue.takes = true
            queue.committedBatches += exit.value
            held.drop(exit.value)
            continue
          }
          const error = errorOf(exit.cause)
          queue.takes = error.reason._tag === "StoreFailed" && error.reason.permanent
          if (queue.takes && !single) {
            single = true
            continue
          }
          const rest = queue.takes ? next : held.first(held.length)
          const spooled = yield* Effect.exit(queue.toSpool(rest, error))
          if (Exit.isFailure(spooled)) {
            queue.nextHousing = queue.now() + retryPause
            return yield* queue.logOutage("memory", 0, errorOf(spooled.cause))
          }
          held.drop(rest.length)
        }
      })
    })
  )

  /** Says of which interceptions batches are lost, and counts them. */
  private lose(batches: ReadonlyArray<NumberedBatch>, reason: string): Effect.Effect<void> {
    if (batches.length === 0) return Effect.void
    this.lostBatches += batches.length
    const ids = interceptionsOf(batches)
    const lines = Array.from({ length: Math.ceil(ids.length / namedInterceptions) }, (_, i) =>
      ids.slice(i * namedInterceptions, (i + 1) * namedInterceptions).join(" ")
    )
    return Effect.forEach(
      lines,
      (interceptions) =>
        Effect.logError("records are lost: neither the store nor the spool took them").pipe(
          Effect.annotateLogs({ batches: batches.length, reason, interceptions })
        ),
      { discard: true }
    )
  }

  private logOutage(to: "spool" | "memory", count: number, error: RecorderError): Effect.Effect<void> {
    this.unlogged[to] += count
    const now = this.now()
    if (now < this.nextLog[to]) return Effect.void
    this.nextLog[to] = now + logPause
    const batches = this.unlogged[to]
    this.unlogged[to] = 0
    const log =
      to === "spool"
        ? Effect.logWarning("the store does not take records: they go to the spool")
        : Effect.logError("neither the store nor the spool takes records: they are held in memory")
    return log.pipe(
      Effect.annotateLogs({ batches, reason: error.message, spool: this.spool?.path ?? "none", held: this.held.length })
    )
  }

  private writeLate(batches: ReadonlyArray<NumberedBatch>): Effect.Effect<number, RecorderError> {
    return Effect.timeoutOrElse(this.store.writeLate(batches), {
      duration: this.commitTimeout,
      orElse: () => timedOut
    })
  }

  private readonly replayPiece: Effect.Effect<void> = Effect.suspend(() => {
    const queue = this
    return Effect.gen(function* () {
      const exit = yield* Effect.exit(queue.spool!.replay((batches) => queue.writeLate(batches)))
      queue.takes = Exit.isSuccess(exit)
      if (Exit.isFailure(exit)) return yield* queue.logOutage("spool", 0, errorOf(exit.cause))
      const { batches, rejected, done } = exit.value
      queue.replayedBatches += batches
      if (rejected > 0) yield* logRejected(queue.spool!.path, rejected)
      if (done) yield* Effect.logInfo("the spool was replayed").pipe(Effect.annotateLogs({ spool: queue.spool!.path }))
    })
  })
}

/** Says that lines of a spool were put aside. */
export const logRejected = (path: string, lines: number): Effect.Effect<void> =>
  Effect.logError("lines of the spool could not be read, or were refused by the store; they were put aside").pipe(
    Effect.annotateLogs({ lines, kept: `${path}.rejected` })
  )

const errorOf = (cause: Cause.Cause<RecorderError>): RecorderError => {
  const squashed = Cause.squash(cause)
  return squashed instanceof RecorderError ? squashed : RecorderError.failed("write", squashed)
}
