import { Schema } from "effect"

/** Another connection holds the write lock. Passes by itself. */
export class StoreBusy extends Schema.TaggedClass<StoreBusy>()("StoreBusy", {}) {
  readonly isRetryable = true
  get message() {
    return "the store is locked by another writer"
  }
}

/** The commit took longer than `recorder.commit_timeout`. */
export class CommitTimedOut extends Schema.TaggedClass<CommitTimedOut>()("CommitTimedOut", {}) {
  readonly isRetryable = true
  get message() {
    return "the commit took longer than recorder.commit_timeout"
  }
}

/** The store could not do what was asked: disk full, file damaged, reader gone. */
export class StoreFailed extends Schema.TaggedClass<StoreFailed>()("StoreFailed", {
  detail: Schema.String,
  /** Whether the rows themselves are at fault, so that trying again is of no use. */
  permanent: Schema.Boolean
}) {
  get isRetryable(): boolean {
    return !this.permanent
  }
  get message() {
    return this.detail
  }
}

/** The database was made by a newer version of Sluice. */
export class NewerDatabase extends Schema.TaggedClass<NewerDatabase>()("NewerDatabase", {
  found: Schema.Number,
  known: Schema.Number
}) {
  readonly isRetryable = false
  get message() {
    return `the database has migration ${this.found} and this version of Sluice knows ${this.known}: run the newer version`
  }
}

/** Neither the store nor the spool takes records: what came before is still held in memory. */
export class RecordsHeld extends Schema.TaggedClass<RecordsHeld>()("RecordsHeld", {}) {
  readonly isRetryable = true
  get message() {
    return "neither the store nor the spool takes records"
  }
}

/** The recorder was shut down. */
export class RecorderClosed extends Schema.TaggedClass<RecorderClosed>()("RecorderClosed", {}) {
  readonly isRetryable = false
  get message() {
    return "the recorder is shut down"
  }
}

const Operation = Schema.Literals(["open the store", "write", "read", "spool", "checkpoint"])
type Operation = typeof Operation.Type

/** What went wrong with the recorder or its store. */
export class RecorderError extends Schema.TaggedError<RecorderError>()("RecorderError", {
  /** What was being done. */
  operation: Operation,
  reason: Schema.Union([StoreBusy, CommitTimedOut, StoreFailed, NewerDatabase, RecordsHeld, RecorderClosed])
}) {
  /** Wraps what a store, a file or a worker threw. `permanent` where trying again is of no use. */
  static failed(operation: Operation, cause: unknown, permanent = false): RecorderError {
    const detail = cause instanceof Error ? cause.message : String(cause)
    return new RecorderError({ operation, reason: new StoreFailed({ detail, permanent }) })
  }

  override get message() {
    return `recorder (${this.operation}): ${this.reason.message}`
  }
}
