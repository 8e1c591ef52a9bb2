import { closeSync, existsSync, fdatasync, fsyncSync, openSync } from "node:fs"
import { dirname, resolve } from "node:path"
import type { DatabaseSync } from "node:sqlite"
import { Clock, Effect, type Scope } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { InstanceLock, isBusy, isRowFault, type Sqlite } from "./InstanceLock.ts"
import { interceptionsOf } from "./HeldBatches.ts"
import { RecorderError, StoreBusy } from "./RecorderError.ts"
import type { EndedInstance, NumberedBatch, RecordStore, WriteBatches } from "./RecordStore.ts"
import { lineOf, putAside } from "./Spool.ts"
import { Checkpoints } from "./SqliteCheckpoints.ts"
import { openError } from "./SqliteFile.ts"
import { memories } from "./SqliteMemories.ts"
import { migrate } from "./SqliteMigrations.ts"
import { queriesOf, SqliteReaderClient } from "./SqliteReaderClient.ts"
import { type LeftOut, SqliteWriter } from "./SqliteWriter.ts"

/** How long opening waits for others who are just opening, migrating or checkpointing, in milliseconds. */
const openTimeout = 5_000

/** How long taking away expired memories may take at the start, in milliseconds. */
const startSweepMs = 50

export interface SqliteStoreOptions {
  readonly filename: string
  /** The path of the spool; each instance adds its own name to it. */
  readonly spool: string
  /** `full`: a commit survives the loss of power, not only the end of the process. */
  readonly sync: "process" | "full"
}

/** A store and the spool its instance writes to. */
export interface OpenStore {
  readonly store: RecordStore
  readonly spool: string
}

const attempt = <A>(operation: "open the store" | "read" | "write", run: () => A) =>
  Effect.try({
    try: run,
    catch: (cause) => {
      if (cause instanceof RecorderError) return cause
      if (isBusy(cause)) return new RecorderError({ operation, reason: new StoreBusy() })
      return RecorderError.failed(operation, cause, isRowFault(cause))
    }
  })

/**
 * Opens a SQLite database as a record store.
 *
 * **Details**
 *
 * Rows are written on this thread in small transactions, each appending to the write-ahead log without `fsync`: about
 * 30 µs for the rows of a call alone and less in a group, which is below what handing them to a worker costs. What does
 * take long, checkpoints with their `fsync` and queries, is done by a worker on a connection of its own.
 *
 * **Gotchas**
 *
 * The database must lie on a local file system: SQLite's locks and its log need shared memory.
 */
export const openSqliteStore = Effect.fnUntraced(function* (options: SqliteStoreOptions) {
  const sqlite = process.getBuiltinModule("node:sqlite")
  const filename = resolve(options.filename)
  const clock = yield* Clock.Clock
  const database = yield* Effect.acquireRelease(
    Effect.try({ try: () => openDatabase(sqlite, filename), catch: (cause) => openError(filename, cause) }),
    (opened) => Effect.sync(() => opened.close())
  )
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => new SqliteReaderClient(filename)),
    (opened) => opened.close
  )
  const flushLog = options.sync === "full" ? yield* logFlusher(filename) : Effect.void
  const instance = yield* Effect.acquireRelease(
    attempt("open the store", () => new Instance(sqlite, database, filename, options.spool, clock)),
    (registered) => Effect.ignore(attempt("open the store", () => registered.end()))
  )
  const writer = new SqliteWriter(database, () => clock.currentTimeMillisUnsafe())
  // Where somebody else is writing just now, it is done with a later write.
  yield* Effect.ignore(attempt("write", () => writer.sweep(startSweepMs)))
  const checkpoints = new Checkpoints(
    writer,
    client.ask("checkpoint", null),
    Effect.runForkWith(yield* Effect.context())
  )

  const write = (number: number, spool: string, late: boolean): WriteBatches => {
    const committed = (batches: ReadonlyArray<NumberedBatch>) =>
      attempt("write", () => {
        const count = writer.write(batches, number, late)
        checkpoints.written()
        return count
      })
    const transaction = (batches: ReadonlyArray<NumberedBatch>) =>
      Effect.tap(committed(batches), () => {
        const { leftOut } = writer
        if (leftOut.length === 0) return Effect.void
        writer.leftOut = []
        return keepLeftOut(leftOut, spool)
      })
    return (batches) => {
      const written = options.sync === "full" ? Effect.tap(transaction(batches), () => flushLog) : transaction(batches)
      return checkpoints.due ? Effect.andThen(checkpoints.whileNobodyWrites, written) : written
    }
  }

  const endedInstances = attempt("open the store", () => instance.others()).pipe(
    Effect.map((others) =>
      others.map(
        (other): EndedInstance => ({
          spool: other.spool,
          write: write(other.number, other.spool, true),
          finish: (endedAt) => attempt("write", () => instance.finish(other, endedAt))
        })
      )
    )
  )

  const queries = queriesOf(client)
  const someLaterTurn = database.prepare('SELECT 1 FROM turns WHERE "index" > 0 LIMIT 1')

  const store: RecordStore = {
    secret: yield* attempt("open the store", () => secretOf(database)),
    write: write(instance.number, instance.spool, false),
    writeLate: write(instance.number, instance.spool, true),
    endedInstances,
    ...queries,
    // Asked for at the start only, by small pages: they are read here before the worker would be running.
    memories: (query) => attempt("read", () => memories(database, query)),
    // Instances that share the database may add the first one at any time; this takes microseconds.
    responseTurns: (query) =>
      Effect.flatMap(
        attempt("read", () => someLaterTurn.get() === undefined),
        (none) => (none ? Effect.succeed(null) : queries.responseTurns(query))
      )
  }
  const open: OpenStore = { store, spool: instance.spool }
  return open
})

/** Keeps rows that were left out beside the spool, and says so. The batches they were in are written in any case. */
const keepLeftOut = (leftOut: ReadonlyArray<LeftOut>, spool: string): Effect.Effect<void> =>
  Effect.gen(function* () {
    const lines = leftOut.map(({ row }) => lineOf(row)).filter((line) => line !== null)
    const kept = yield* Effect.exit(lines.length === 0 ? Effect.void : putAside(spool, lines))
    yield* Effect.logError("rows were left out of the records: the store refuses them for what is in them").pipe(
      Effect.annotateLogs({
        rows: leftOut.length,
        interceptions: interceptionsOf(leftOut.map(({ row }) => row)).join(" "),
        reason: RecorderError.failed("write", leftOut[0]?.cause).message,
        kept: kept._tag === "Success" ? `${spool}.rejected` : "none"
      })
    )
  })

const secretOf = (database: DatabaseSync): Buffer => {
  const secret = database.prepare("SELECT secret FROM installation").get()?.["secret"]
  if (!(secret instanceof Uint8Array)) throw new Error("the database has lost its installation secret")
  return Buffer.from(secret)
}

/** Opens and migrates. What people wrote is in it, so only its owner may read it; the log and its index follow it. */
const openDatabase = (sqlite: Sqlite, filename: string): DatabaseSync => {
  // Made before SQLite opens it: closing a file that SQLite has open in this process would drop SQLite's locks on it.
  if (!existsSync(filename)) closeSync(openSync(filename, "a", 0o600))
  const database = new sqlite.DatabaseSync(filename, { timeout: openTimeout })
  try {
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0")
    migrate(database)
    // From here on waiting for a lock would hold up the event loop.
    database.exec("PRAGMA busy_timeout = 0")
    return database
  } catch (cause) {
    database.close()
    throw cause
  }
}

/**
 * `fdatasync` on the log, on a thread of Node's pool.
 *
 * Why it is enough to do that after COMMIT, though SQLite writes the log from its beginning again once all of it was
 * checkpointed: when COMMIT returns, the transaction's frames are in the log file, and a flush of that file that starts
 * later covers them, through whichever descriptor. Should the log have been begun anew in between, then a checkpoint had
 * moved those frames, and with `synchronous=NORMAL` it flushes the log before it moves anything and the database
 * behind it, before any writer may start over: they are durable already. SQLite keeps the file for as long as
 * a connection is open, and takes its locks on other files, so a descriptor of our own does no harm.
 */
const logFlusher = (filename: string): Effect.Effect<Effect.Effect<void, RecorderError>, RecorderError, Scope.Scope> =>
  Effect.acquireRelease(
    attempt("open the store", () => {
      const log = openSync(`${filename}-wal`, "r+")
      // The log's own name has to survive as well; Windows sees to that itself and has no handles of folders.
      if (process.platform === "win32") return log
      const directory = openSync(dirname(filename), "r")
      fsyncSync(directory)
      closeSync(directory)
      return log
    }),
    (log) => Effect.sync(() => closeSync(log))
  ).pipe(
    Effect.map((log) =>
      Effect.callback<void, RecorderError>((done) => {
        fdatasync(log, (cause) =>
          done(cause === null ? Effect.void : Effect.fail(RecorderError.failed("write", cause)))
        )
      })
    )
  )

interface OtherInstance {
  readonly number: number
  readonly name: string
  readonly spool: string
  readonly lock: InstanceLock
}

/** This instance among those that use the database, and those of them that have ended. */
class Instance {
  readonly number: number
  readonly spool: string
  private readonly sqlite: Sqlite
  private readonly database: DatabaseSync
  private readonly filename: string
  private readonly lock: InstanceLock
  /** Others that are being dealt with; let go of when this instance ends, unless they are finished before. */
  private readonly claimed = new Set<OtherInstance>()

  constructor(sqlite: Sqlite, database: DatabaseSync, filename: string, spool: string, clock: Clock.Clock) {
    this.sqlite = sqlite
    this.database = database
    this.filename = filename
    const name = uuidV7Unsafe()
    this.spool = `${resolve(spool)}.${name}`
    // First the lock, then the row: whoever sees the row finds the lock taken.
    const lock = InstanceLock.take(sqlite, this.lockPath(name))
    if (lock === null) throw new Error(`the lock of a new instance is taken: ${this.lockPath(name)}`)
    this.lock = lock
    try {
      const insert = database.prepare("INSERT INTO instances (name, spool, started_at) VALUES (?, ?, ?)")
      const row = whenFree(database, () => insert.run(name, this.spool, clock.currentTimeMillisUnsafe()))
      this.number = Number(row.lastInsertRowid)
    } catch (cause) {
      lock.release(true)
      throw cause
    }
  }

  private lockPath(name: string): string {
    return `${this.filename}-instance-${name}`
  }

  /** Claims every other instance that has ended. */
  others(): ReadonlyArray<OtherInstance> {
    const rows = this.database.prepare("SELECT number, name, spool FROM instances WHERE number <> ?").all(this.number)
    for (const row of rows) {
      const name = String(row["name"])
      const lock = InstanceLock.take(this.sqlite, this.lockPath(name))
      if (lock === null) continue
      const number = Number(row["number"])
      // Another instance may have dealt with it since, and removed the lock that we have now made again.
      const there = this.database.prepare("SELECT 1 FROM instances WHERE number = ?").get(number) !== undefined
      if (there) this.claimed.add({ number, name, spool: String(row["spool"]), lock })
      else lock.release(true)
    }
    return [...this.claimed]
  }

  /** Closes what an ended instance left open, and forgets it. */
  finish(other: OtherInstance, endedAt: number): number {
    const changes = whenFree(this.database, () => {
      this.database.exec("BEGIN IMMEDIATE")
      const closed = this.database
        .prepare(
          `UPDATE interceptions SET ended_at = ?, status = 'failed', error_code = 'process_ended',
             error_message = 'the process ended before the call did' WHERE instance = ? AND status IS NULL`
        )
        .run(endedAt, other.number)
      this.database.prepare("DELETE FROM instances WHERE number = ?").run(other.number)
      this.database.exec("COMMIT")
      return closed.changes
    })
    this.claimed.delete(other)
    other.lock.release(true)
    return Number(changes)
  }

  /** Leaves. An instance that leaves something behind stays known, for the next one to deal with it. */
  end(): void {
    for (const other of this.claimed) other.lock.release(false)
    let gone = false
    try {
      const left = existsSync(this.spool)
      const { changes } = this.database
        .prepare(
          `DELETE FROM instances WHERE number = ? AND ?
             AND NOT EXISTS (SELECT 1 FROM interceptions WHERE instance = number AND status IS NULL)`
        )
        .run(this.number, left ? 0 : 1)
      gone = changes === 1
    } finally {
      this.lock.release(gone)
    }
  }
}

/** Runs what starting needs, waiting for another writer; the event loop has nothing else to do yet. */
const whenFree = <A>(database: DatabaseSync, run: () => A): A => {
  database.exec(`PRAGMA busy_timeout = ${openTimeout}`)
  try {
    return run()
  } catch (cause) {
    if (database.isTransaction) database.exec("ROLLBACK")
    throw cause
  } finally {
    database.exec("PRAGMA busy_timeout = 0")
  }
}
