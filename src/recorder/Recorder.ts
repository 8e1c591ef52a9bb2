import { Context, type Effect, type Option } from "effect"
import type { RecorderError } from "./RecorderError.ts"
import type { Interception, InterceptionDetail, InterceptionPage, RecordBatch, UsageKey, UsageSum } from "./Records.ts"

export { RecorderError } from "./RecorderError.ts"

/** Which interceptions are asked for. A filter left out passes everything. */
export interface InterceptionQuery {
  /** How many at most. */
  readonly limit: number
  /** The cursor of the page before: only what is older than it. */
  readonly before?: string | undefined
  readonly actor?: string | undefined
  /** The model as the client asked for it, or as it was served. */
  readonly model?: string | undefined
  readonly session?: string | undefined
  /** An upstream response id. */
  readonly response?: string | undefined
}

/** Counters of a recorder since it started. */
export interface RecorderStatistics {
  readonly committedBatches: number
  /** Batches that went to the spool because the store did not take them in time. */
  readonly spooledBatches: number
  /** Spooled batches that have reached the store since. */
  readonly replayedBatches: number
  /** Batches that neither the store nor the spool took. */
  readonly lostBatches: number
  /** Calls refused because their interception could not be recorded. */
  readonly refusedOpens: number
  /** Batches waiting now. */
  readonly queued: number
  /** How long the last group took to commit, in milliseconds. */
  readonly lastCommitMs: number
  /** How long batches waited until they were durable. */
  readonly lag: Histogram
}

/** Observations counted by bucket, not cumulated. */
export interface Histogram {
  /** Upper bounds in seconds, inclusive; `counts` has one more for what is above the last. */
  readonly bounds: ReadonlyArray<number>
  readonly counts: ReadonlyArray<number>
  /** In seconds. */
  readonly sum: number
  readonly count: number
}

/**
 * Writes down what happened, and reads it again.
 *
 * **Details**
 *
 * What a call waits for is a group commit: rows that come while one is under way go into the next. Rows land by batch,
 * atomically, and idempotently: one that is already there stays as it is.
 */
export class Recorder extends Context.Service<
  Recorder,
  {
    /**
     * Writes an interception before its upstream is called; done when it is committed. Fails where the store does not
     * take it within `recorder.commit_timeout`, unless `recorder.on_failure` is `continue`: then it is spooled.
     */
    readonly open: (row: Interception) => Effect.Effect<void, RecorderError>
    /**
     * Writes a batch; done when it is durable in the store or, where that fails or takes longer than
     * `recorder.commit_timeout`, in the spool. Never fails. Interrupting it stops the waiting, not the writing.
     */
    readonly commit: (batch: RecordBatch) => Effect.Effect<void>
    /** Interceptions, newest first. */
    readonly interceptions: (query: InterceptionQuery) => Effect.Effect<InterceptionPage, RecorderError>
    /** Everything recorded of one interception. */
    readonly interception: (id: string) => Effect.Effect<Option.Option<InterceptionDetail>, RecorderError>
    /** Sums of the known usage: by model, the greatest first; by actor likewise; by day, the newest first. */
    readonly usage: (by: UsageKey) => Effect.Effect<ReadonlyArray<UsageSum>, RecorderError>
    /** Whether the store took what it was given last. */
    readonly healthy: Effect.Effect<boolean>
    /** The counters, as they are now. */
    readonly statistics: Effect.Effect<RecorderStatistics>
    /** Waits until everything committed so far is durable. */
    readonly flush: Effect.Effect<void>
  }
>()("sluice/recorder/Recorder") {}
