import type { DatabaseSync, StatementSync } from "node:sqlite"
import { isRowFault } from "./InstanceLock.ts"
import type { Interception, InterceptionClose, RecordBatch, ToolCall, Turn, Usage } from "./Records.ts"
import type { NumberedBatch } from "./RecordStore.ts"
import { SqliteMemories } from "./SqliteMemories.ts"

/** How long one transaction may take, in milliseconds, before the next batch has to wait for another one. */
const transactionMs = 1.5

/** How long taking away expired memories may take with a transaction, in milliseconds. */
const sweepMs = 1

/** A row that was refused for what is in it, as a batch of its own, and what SQLite or its driver threw. */
export interface LeftOut {
  readonly row: NumberedBatch
  readonly cause: unknown
}

/**
 * The statements that write records, on one connection.
 *
 * An insert that finds its row there already changes nothing, so that whatever is written twice is written once.
 */
export class SqliteWriter {
  private readonly begin: StatementSync
  private readonly commit: StatementSync
  private readonly rollback: StatementSync
  private readonly interception: StatementSync
  private readonly close: StatementSync
  private readonly status: StatementSync
  private readonly early: StatementSync
  private readonly takeEarly: StatementSync
  private readonly turn: StatementSync
  private readonly prompt: StatementSync
  private readonly usage: StatementSync
  private readonly toolCall: StatementSync
  private readonly thought: StatementSync
  private readonly memories: SqliteMemories
  /** Roughly how many pages went to the write-ahead log; whoever has it checkpointed sets it back. */
  pages = 0
  /** The rows that were left out of what was committed; whoever deals with them takes them away. */
  leftOut: Array<LeftOut> = []

  /** @param now epoch milliseconds, by which memories expire */
  constructor(database: DatabaseSync, now: () => number) {
    const insert = (table: string, columns: number) =>
      database.prepare(`INSERT INTO ${table} VALUES (${Array(columns).fill("?").join()}) ON CONFLICT DO NOTHING`)
    this.begin = database.prepare("BEGIN IMMEDIATE")
    this.commit = database.prepare("COMMIT")
    this.rollback = database.prepare("ROLLBACK")
    this.interception = insert("interceptions", 20)
    this.turn = insert("turns", 21)
    this.prompt = insert("prompts", 3)
    this.usage = insert("usage", 13)
    this.toolCall = insert("tool_calls", 12)
    this.thought = insert("thoughts", 6)
    this.memories = new SqliteMemories(database, now)
    // That a process ended is concluded by others. What it says of itself, should it be heard after all, counts more.
    this.close = database.prepare(
      `UPDATE interceptions SET ended_at = ?, status = ?, error_code = ?, error_message = ?,
         served_model = coalesce(?, served_model), session_id = coalesce(?, session_id),
         parent_id = coalesce(?, parent_id), transport = coalesce(?, transport)
       WHERE id = ? AND (status IS NULL OR error_code = 'process_ended')`
    )
    this.status = database.prepare("SELECT 1 FROM interceptions WHERE id = ?")
    this.early = insert("early_closes", 2)
    this.takeEarly = database.prepare("DELETE FROM early_closes WHERE id = ? RETURNING close")
  }

  /**
   * Writes batches from the front in one transaction and answers how many. Throws, with nothing written, where SQLite
   * does, unless that is for what is in a single row: that one is left out, but for an interception, without which the
   * others are of no use.
   *
   * @param instance the number of the instance whose interceptions these are
   * @param late whether closes may have come before what they close
   */
  write(batches: ReadonlyArray<NumberedBatch>, instance: number, late: boolean): number {
    const started = performance.now()
    const { pages } = this
    const leftOut = this.leftOut.length
    this.begin.run()
    try {
      let count = 0
      do this.batch(batches[count++]!, instance, late)
      while (count < batches.length && performance.now() - started < transactionMs)
      this.memories.sweep(sweepMs)
      this.commit.run()
      this.pages += 4
      return count
    } catch (cause) {
      this.pages = pages
      this.leftOut.length = leftOut
      try {
        this.rollback.run()
      } catch {
        // SQLite has rolled back by itself, as it does when the disk is full.
      }
      throw cause
    }
  }

  /** Takes away memories that have expired: as many as can be in some milliseconds, which nobody waits for. */
  sweep(milliseconds: number): void {
    this.begin.run()
    try {
      this.memories.sweep(milliseconds)
    } finally {
      this.commit.run()
    }
  }

  private batch({ number, batch }: NumberedBatch, instance: number, late: boolean): void {
    if (batch.opens !== undefined) for (const row of batch.opens) this.open(row, instance, late)
    for (const row of batch.turns ?? []) {
      try {
        this.addTurn(row)
      } catch (cause) {
        this.leaveOut({ number, batch: { turns: [row] } }, cause)
      }
    }
    for (const row of batch.usage ?? []) {
      try {
        this.addUsage(row)
      } catch (cause) {
        this.leaveOut({ number, batch: { usage: [row] } }, cause)
      }
    }
    this.content(number, batch)
    for (const row of batch.memories ?? []) {
      try {
        this.pages += 1 + (row.value.length >>> 12)
        this.memories.add(row, late)
      } catch (cause) {
        this.leaveOut({ number, batch: { memories: [row] } }, cause)
      }
    }
    for (const row of batch.closes ?? []) {
      try {
        this.end(row)
      } catch (cause) {
        this.leaveOut({ number, batch: { closes: [row] } }, cause)
      }
    }
  }

  /**
   * Goes on without a row that SQLite refuses for what is in it: the others of its batch say what was used and how it
   * ended. SQLite takes back such a statement, and nothing else of its transaction.
   */
  private leaveOut(row: NumberedBatch, cause: unknown): void {
    if (!isRowFault(cause)) throw cause
    this.leftOut.push({ row, cause })
  }

  private addTurn(row: Turn): void {
    this.turn.run(
      row.interceptionId,
      row.id,
      row.index,
      row.startedAt,
      row.endedAt,
      row.transport,
      row.upstreamResponseId,
      row.servedModel,
      row.httpStatus,
      row.status,
      row.finishReason,
      row.error === null ? null : row.error.code,
      row.error === null ? null : row.error.message,
      row.timeToFirstFrameMs,
      row.durationMs,
      row.attempts,
      row.framesIn,
      row.framesOut,
      row.lane,
      row.closeCode,
      row.closeReason
    )
  }

  private addUsage(row: Usage): void {
    this.usage.run(
      row.interceptionId,
      row.turnId,
      row.input,
      row.output,
      row.cacheRead,
      row.cacheWrite,
      row.reasoning,
      JSON.stringify(row.other),
      row.provenance,
      row.raw,
      row.cost,
      row.currency,
      row.priceVersion
    )
  }

  private open(row: Interception, instance: number, late: boolean): void {
    this.pages += 1
    this.interception.run(
      row.id,
      instance,
      row.actor,
      row.provider,
      row.providerType,
      row.requestedModel,
      row.servedModel,
      row.dialect,
      row.transport,
      row.client,
      row.sessionId,
      row.parentId,
      row.userAgent,
      row.credentialKind,
      row.credentialHint,
      row.startedAt,
      row.endedAt,
      row.status,
      row.error === null ? null : row.error.code,
      row.error === null ? null : row.error.message
    )
    if (!late) return
    const early = this.takeEarly.get(row.id)
    if (early !== undefined) this.end(JSON.parse(String(early["close"])) as InterceptionClose)
  }

  private content(number: number, batch: RecordBatch): void {
    for (const row of batch.prompts ?? []) {
      try {
        this.pages += row.text.length >>> 12
        this.prompt.run(row.interceptionId, row.turnId, row.text)
      } catch (cause) {
        this.leaveOut({ number, batch: { prompts: [row] } }, cause)
      }
    }
    batch.toolCalls?.forEach((row, place) => {
      try {
        this.addToolCall(row, number, place)
      } catch (cause) {
        this.leaveOut({ number, batch: { toolCalls: [row] } }, cause)
      }
    })
    batch.thoughts?.forEach((row, place) => {
      try {
        this.pages += 1 + (row.text.length >>> 12)
        this.thought.run(row.interceptionId, number, place, row.turnId, row.text, row.source)
      } catch (cause) {
        this.leaveOut({ number, batch: { thoughts: [row] } }, cause)
      }
    })
  }

  private addToolCall(row: ToolCall, number: number, place: number): void {
    const json = row.arguments ?? "null"
    this.pages += 1 + (json.length >>> 12)
    this.toolCall.run(
      row.interceptionId,
      number,
      place,
      row.turnId,
      row.callId,
      row.name,
      json,
      row.injected ? 1 : 0,
      row.serverUrl,
      row.error === null ? null : row.error.code,
      row.error === null ? null : row.error.message,
      row.durationMs
    )
  }

  private end(row: InterceptionClose): void {
    const { changes } = this.close.run(
      row.endedAt,
      row.status,
      row.error === null ? null : row.error.code,
      row.error === null ? null : row.error.message,
      row.servedModel ?? null,
      row.sessionId ?? null,
      row.parentId ?? null,
      row.transport ?? null,
      row.id
    )
    // Nothing was changed: it is closed already, or its opening waits in the spool and the close must wait for that.
    if (changes === 0 && this.status.get(row.id) === undefined) this.early.run(row.id, JSON.stringify(row))
  }
}
