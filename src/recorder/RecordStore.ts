import type { Effect, Option } from "effect"
import type {
  InterceptionQuery,
  MemoryPage,
  MemoryQuery,
  RecordedToolCall,
  ResponseTurnsQuery,
  SessionQuery,
  SessionsQuery,
  ToolCallQuery
} from "./Recorder.ts"
import type { RecorderError } from "./RecorderError.ts"
import type {
  Interception,
  InterceptionDetail,
  InterceptionPage,
  RecordBatch,
  ResponseTurns,
  Session,
  SessionPage,
  UsageKey,
  UsageSum
} from "./Records.ts"

/** A batch and its number, which no other batch of the same instance has: together they make writing idempotent. */
export interface NumberedBatch {
  readonly number: number
  readonly batch: RecordBatch
}

/**
 * Writes batches from the front of the list, in one transaction, and says how many: at least one, and as many as it can
 * without holding up the event loop. Done when they are durable. A batch that is there already changes nothing.
 */
export type WriteBatches = (batches: ReadonlyArray<NumberedBatch>) => Effect.Effect<number, RecorderError>

/** An instance of Sluice that wrote to this store and is no more. Claimed: no other instance deals with it meanwhile. */
export interface EndedInstance {
  /** Where its spool stands; there may be none. */
  readonly spool: string
  /** Writes what it spooled, in its name. */
  readonly write: WriteBatches
  /** Closes what it left open as `failed`, `process_ended`, and forgets it. Answers how many those were. */
  readonly finish: (endedAt: number) => Effect.Effect<number, RecorderError>
}

/** A session as a store knows it. */
export interface SessionSlice {
  /** Who has a session of the id that was asked for. */
  readonly actors: ReadonlyArray<string>
  /** `null` where not exactly one has. */
  readonly session: Session | null
  /** A page of its interceptions, the oldest first. */
  readonly interceptions: ReadonlyArray<Interception>
  readonly next: string | null
}

/** How many tool calls of one id are answered of the session that is asked for, and how many of others. */
export const foundToolCalls = 16
/** How many are looked at for that. */
export const searchedToolCalls = 10_000

/**
 * Where records are kept. This is all that a new store has to bring: queue, grouping, timeouts and spool stand above it
 * and are the same for all.
 */
export interface RecordStore {
  /** Random bytes made when the store was, which stay its own. */
  readonly secret: Buffer
  readonly write: WriteBatches
  /** Like `write`, for batches that come late: later rows of the same interceptions may have landed before them. */
  readonly writeLate: WriteBatches
  /** The other instances that have ended, each claimed until it is finished or this store is closed. */
  readonly endedInstances: Effect.Effect<ReadonlyArray<EndedInstance>, RecorderError>
  readonly interceptions: (query: InterceptionQuery) => Effect.Effect<InterceptionPage, RecorderError>
  readonly interception: (id: string) => Effect.Effect<Option.Option<InterceptionDetail>, RecorderError>
  readonly sessions: (query: SessionsQuery) => Effect.Effect<SessionPage, RecorderError>
  readonly session: (query: SessionQuery) => Effect.Effect<SessionSlice, RecorderError>
  readonly toolCalls: (query: ToolCallQuery) => Effect.Effect<ReadonlyArray<RecordedToolCall>, RecorderError>
  readonly memories: (query: MemoryQuery) => Effect.Effect<MemoryPage, RecorderError>
  readonly responseTurns: (query: ResponseTurnsQuery) => Effect.Effect<ResponseTurns | null, RecorderError>
  readonly usage: (by: UsageKey) => Effect.Effect<ReadonlyArray<UsageSum>, RecorderError>
}

/** How many memories a page has at most, and how many characters of them, but for one that is larger by itself. */
export const memoryPage = { count: 1_000, characters: 512 * 1024 }

/** How many rows a batch has. */
export const rowsOf = (batch: RecordBatch): number =>
  (batch.opens?.length ?? 0) +
  (batch.turns?.length ?? 0) +
  (batch.prompts?.length ?? 0) +
  (batch.usage?.length ?? 0) +
  (batch.toolCalls?.length ?? 0) +
  (batch.thoughts?.length ?? 0) +
  (batch.memories?.length ?? 0) +
  (batch.closes?.length ?? 0)

/** The batch without what people and models wrote: `recorder.content: none`. */
export const withoutContent = (batch: RecordBatch): RecordBatch => {
  const { prompts: _prompts, thoughts: _thoughts, memories: _memories, ...rest } = batch
  return {
    ...rest,
    ...(batch.usage && { usage: batch.usage.map((usage) => ({ ...usage, raw: null })) }),
    ...(batch.toolCalls && { toolCalls: batch.toolCalls.map((call) => ({ ...call, arguments: null })) })
  }
}
