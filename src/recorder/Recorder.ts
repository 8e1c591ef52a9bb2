import { resolve } from "node:path"
import { Clock, Context, Duration, Effect, Layer, type Option, Schedule, type Scope } from "effect"
import { CommitQueue, logRejected } from "./CommitQueue.ts"
import { withCounts } from "./Counts.ts"
import { MemoryStore } from "./MemoryStore.ts"
import type { RecorderError } from "./RecorderError.ts"
import type {
  Interception,
  InterceptionDetail,
  InterceptionPage,
  Memory,
  RecordBatch,
  ResponseTurns,
  SessionDetail,
  SessionPage,
  ToolCall,
  UsageKey,
  UsageSum
} from "./Records.ts"
import {
  type EndedInstance,
  type RecordStore,
  type SessionSlice,
  type WriteBatches,
  withoutContent
} from "./RecordStore.ts"
import { treeOf } from "./SessionTree.ts"
import { Spool } from "./Spool.ts"
import { inspect } from "./SqliteFile.ts"
import { queriesOf, SqliteReaderClient } from "./SqliteReaderClient.ts"
import { openSqliteStore } from "./SqliteStore.ts"

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

/** Which sessions are asked for. A filter left out passes everything. */
export interface SessionsQuery {
  /** How many at most. */
  readonly limit: number
  /** The cursor of the page before: only what began before it. */
  readonly before?: string | undefined
  readonly actor?: string | undefined
  readonly client?: string | undefined
}

/** Which session is asked for, and which page of its interceptions. */
export interface SessionQuery {
  readonly id: string
  /** Whose; left out where only one actor has a session of this id. */
  readonly actor?: string | undefined
  /** How many interceptions at most. */
  readonly limit: number
  /** The cursor of the page before: only what is newer than it. */
  readonly after?: string | undefined
}

/** A session that was asked for: no actor has it, one has, or several have and none was named. */
export type SessionAnswer =
  | { readonly _tag: "Missing" }
  | { readonly _tag: "Found"; readonly detail: SessionDetail }
  | { readonly _tag: "Ambiguous"; readonly actors: ReadonlyArray<string> }

/** Which tool calls are asked for: those of one id that one actor's interceptions have made. */
export interface ToolCallQuery {
  readonly actor: string
  readonly callId: string
  /** Only calls of this tool; `null` for all. */
  readonly name: string | null
  /** The session whose calls are wanted first; `null` for those without one. */
  readonly sessionId: string | null
  /** An interception: only calls of older ones. */
  readonly before: string
}

/** A recorded tool call, with the session it was made in. */
export interface RecordedToolCall {
  readonly interceptionId: string
  readonly sessionId: string | null
  readonly name: string
  /** `null` where content is not recorded. */
  readonly arguments: ToolCall["arguments"]
}

/** Which memories are asked for: those that have not expired, of all actors, the newest first. */
export interface MemoryQuery {
  /** Epoch milliseconds: what expires by then is left out. */
  readonly now: number
  /** The cursor of the page before: only what is older than it. */
  readonly before: MemoryCursor | null
}

/** Behind which memory a page ends. */
export interface MemoryCursor {
  readonly expiresAt: number
  readonly place: number
}

/** One page of memories. */
export interface MemoryPage {
  readonly memories: ReadonlyArray<Memory>
  /** What to give as `before` for the next page; null where this is the last. */
  readonly next: MemoryCursor | null
}

/** Which Responses are asked for: those of the interception of one actor whose first turn has this upstream id. */
export interface ResponseTurnsQuery {
  readonly actor: string
  readonly id: string
}

/** Counters of a recorder since it started. */
export interface RecorderStatistics {
  readonly committedBatches: number
  /** Batches that went to the spool because the store did not take them in time. */
  readonly spooledBatches: number
  /** Spooled batches that have reached the store since. */
  readonly replayedBatches: number
  /** Batches that neither the store nor the spool took, and that could not be held in memory any longer. */
  readonly lostBatches: number
  /** Calls refused because their interception could not be recorded. */
  readonly refusedOpens: number
  /** Batches waiting now, to be written or for something that takes them. */
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

const noStatistics: RecorderStatistics = {
  committedBatches: 0,
  spooledBatches: 0,
  replayedBatches: 0,
  lostBatches: 0,
  refusedOpens: 0,
  queued: 0,
  lastCommitMs: 0,
  lag: { bounds: [], counts: [0], sum: 0, count: 0 }
}

const memoryOptions = { spool: null, commitTimeout: "2 seconds", onFailure: "refuse", content: "all" } as const

/** What all durable recorders are told. */
export interface RecorderOptions {
  /** The path of the spool. Each instance adds its own name to it, so that several may be given the same. */
  readonly spool: string
  /** How long a commit may take until the spool takes over. */
  readonly commitTimeout: Duration.Input
  /** Whether a call whose interception cannot be recorded in time is refused, or is spooled and goes on. */
  readonly onFailure: "refuse" | "continue"
  /** `none`: no prompt, thought, argument or raw usage is kept, neither in the store nor in the spool. */
  readonly content: "all" | "none"
}

export interface SqliteOptions extends RecorderOptions {
  /** A file on a local file system, or `:memory:`, which is the same as `layerMemory`. */
  readonly filename: string
  /** `process`: what was committed survives the end of the process. `full`: also the loss of power. */
  readonly sync: "process" | "full"
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
     * `recorder.commit_timeout`, in the spool. Never fails. Interrupting it stops the waiting, not the writing. Where
     * the spool does not take it either, it is held in memory, 64 MiB at most, until one of the two does; meanwhile
     * `open` fails, unless `recorder.on_failure` is `continue`.
     */
    readonly commit: (batch: RecordBatch) => Effect.Effect<void>
    /** Interceptions, newest first. */
    readonly interceptions: (query: InterceptionQuery) => Effect.Effect<InterceptionPage, RecorderError>
    /** Everything recorded of one interception. */
    readonly interception: (id: string) => Effect.Effect<Option.Option<InterceptionDetail>, RecorderError>
    /** Sessions, those begun last first. */
    readonly sessions: (query: SessionsQuery) => Effect.Effect<SessionPage, RecorderError>
    /** One session, with a page of its interceptions as a tree. */
    readonly session: (query: SessionQuery) => Effect.Effect<SessionAnswer, RecorderError>
    /**
     * Tool calls, the newest first: some of the session that is asked for, and some of others. Calls whose ids count
     * anew in every conversation are too many to answer all.
     */
    readonly toolCalls: (query: ToolCallQuery) => Effect.Effect<ReadonlyArray<RecordedToolCall>, RecorderError>
    /** Memories, the newest first. */
    readonly memories: (query: MemoryQuery) => Effect.Effect<MemoryPage, RecorderError>
    /**
     * The turns of the newest interception of `openai-responses` that an actor has under a response id; `null` where
     * that had but one, and where there is none.
     */
    readonly responseTurns: (query: ResponseTurnsQuery) => Effect.Effect<ResponseTurns | null, RecorderError>
    /** Sums of the known usage: by model, the greatest first; by actor likewise; by day, the newest first. */
    readonly usage: (by: UsageKey) => Effect.Effect<ReadonlyArray<UsageSum>, RecorderError>
    /** Whether the store took what it was given last, and nothing is held in memory because nothing takes it. */
    readonly healthy: Effect.Effect<boolean>
    /** The counters, as they are now. */
    readonly statistics: Effect.Effect<RecorderStatistics>
    /** Waits until everything committed so far is durable. */
    readonly flush: Effect.Effect<void>
    /** Random bytes that only this installation knows, as long as its store lives: names are derived with it. */
    readonly secret: Buffer
  }
>()("sluice/recorder/Recorder") {
  /**
   * A recorder over a store that the caller brings, for instance a database this package knows nothing of.
   *
   * **Details**
   *
   * What instances that have ended left behind is dealt with first: their spools are replayed, then what they left open
   * is closed.
   */
  static readonly make = Effect.fnUntraced(function* (
    store: RecordStore,
    options: Omit<RecorderOptions, "spool"> & {
      /** The path of this instance's own spool; `null` where the store cannot fail. */
      readonly spool: string | null
    }
  ) {
    const clock = yield* Clock.Clock
    for (const ended of yield* store.endedInstances) yield* bury(ended)
    const spool = options.spool === null ? null : yield* acquireSpool(options.spool)
    // A net that does not hold is better known of before it is needed.
    if (spool !== null) yield* spool.probe
    const queue = new CommitQueue(store, clock, {
      spool,
      commitTimeout: Duration.toMillis(Duration.fromInputUnsafe(options.commitTimeout))
    })
    yield* queue.start
    const refuse = options.onFailure === "refuse"
    const content = options.content === "all"
    return Recorder.of({
      open: (row) => queue.put({ opens: [row] }, refuse),
      // Without `refuse` putting never fails; the compiler is told so by this.
      commit: (batch) => Effect.orDie(queue.put(withCounts(content ? batch : withoutContent(batch)), false)),
      interceptions: store.interceptions,
      interception: store.interception,
      sessions: store.sessions,
      session: (query) => Effect.map(store.session(query), answerOf),
      toolCalls: store.toolCalls,
      memories: store.memories,
      responseTurns: store.responseTurns,
      usage: store.usage,
      healthy: Effect.sync(() => queue.healthy),
      statistics: Effect.sync(() => queue.statistics),
      flush: queue.flush,
      secret: store.secret
    })
  })

  /** Keeps records in this process: for tests and short trials. */
  static readonly layerMemory: Layer.Layer<Recorder> = Layer.effect(
    Recorder,
    Effect.suspend(() => Recorder.make(new MemoryStore(), memoryOptions))
  ).pipe(Layer.orDie)

  /** Keeps records in a SQLite database. Fails where it cannot be opened, or was made by a newer version. */
  static layerSqlite(options: SqliteOptions): Layer.Layer<Recorder, RecorderError> {
    if (options.filename === ":memory:") {
      return Layer.effect(Recorder, Recorder.make(new MemoryStore(), { ...options, spool: null }))
    }
    return Layer.effect(
      Recorder,
      Effect.flatMap(openSqliteStore(options), ({ store, spool }) => Recorder.make(store, { ...options, spool }))
    )
  }

  /**
   * Reads a SQLite database that another process keeps its records in, and changes nothing: neither is a database made
   * that is not there, nor what ended instances left behind dealt with. What is given to it to record is not recorded.
   */
  static layerSqliteObserver(filename: string): Layer.Layer<Recorder, RecorderError> {
    return Layer.effect(
      Recorder,
      Effect.gen(function* () {
        yield* inspect(filename)
        const client = yield* Effect.acquireRelease(
          Effect.sync(() => new SqliteReaderClient(resolve(filename), true)),
          (opened) => opened.close
        )
        const queries = queriesOf(client)
        return Recorder.of({
          ...nothing,
          ...queries,
          session: (query) => Effect.map(queries.session(query), answerOf)
        })
      })
    )
  }

  /** Records nothing and finds nothing: what recording costs is seen against this. */
  static readonly layerNone: Layer.Layer<Recorder> = Layer.sync(Recorder, () => nothing)
}

/** A recorder that records nothing and finds nothing. */
const nothing: Recorder["Service"] = {
  open: () => Effect.void,
  commit: () => Effect.void,
  interceptions: () => Effect.succeed({ interceptions: [], next: null }),
  interception: () => Effect.succeedNone,
  sessions: () => Effect.succeed({ sessions: [], next: null }),
  session: () => Effect.succeed({ _tag: "Missing" }),
  toolCalls: () => Effect.succeed([]),
  memories: () => Effect.succeed({ memories: [], next: null }),
  responseTurns: () => Effect.succeed(null),
  usage: () => Effect.succeed([]),
  healthy: Effect.succeed(true),
  statistics: Effect.succeed(noStatistics),
  flush: Effect.void,
  secret: Buffer.alloc(32)
}

const answerOf = ({ actors, session, interceptions, next }: SessionSlice): SessionAnswer => {
  if (session !== null) return { _tag: "Found", detail: { session, interceptions: treeOf(interceptions), next } }
  return actors.length === 0 ? { _tag: "Missing" } : { _tag: "Ambiguous", actors }
}

const acquireSpool = (path: string): Effect.Effect<Spool, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Spool(path)),
    (spool) => spool.close
  )

/** Replays an ended instance's spool and closes what it left open; what cannot be done now is left for the next start. */
const bury = (ended: EndedInstance): Effect.Effect<void> =>
  Effect.gen(function* () {
    const spool = yield* acquireSpool(ended.spool)
    yield* spool.adopt
    const write: WriteBatches = (batches) =>
      Effect.retry(ended.write(batches), {
        while: (error) => error.reason._tag === "StoreBusy",
        schedule: Schedule.spaced("20 millis"),
        times: 250
      })
    let replayed = 0
    while (spool.backlog) {
      const { batches, rejected } = yield* spool.replay(write)
      replayed += batches
      if (rejected > 0) yield* logRejected(ended.spool, rejected)
    }
    const endedAt = yield* Clock.currentTimeMillis
    const closed = yield* ended.finish(endedAt)
    if (replayed + closed > 0) {
      yield* Effect.logInfo("dealt with what an earlier instance left behind").pipe(
        Effect.annotateLogs({ replayedBatches: replayed, closedInterceptions: closed })
      )
    }
  }).pipe(
    Effect.scoped,
    Effect.catch((error) =>
      Effect.logWarning("what an earlier instance left behind could not be dealt with yet").pipe(
        Effect.annotateLogs({ reason: error.message, spool: ended.spool })
      )
    )
  )
