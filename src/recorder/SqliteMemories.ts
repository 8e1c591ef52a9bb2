import type { DatabaseSync, SQLOutputValue, StatementSync } from "node:sqlite"
import type { MemoryPage, MemoryQuery, ResponseTurnsQuery } from "./Recorder.ts"
import { type Memory, type ResponseTurns, responseTurnsOf } from "./Records.ts"
import { memoryPage, searchedToolCalls } from "./RecordStore.ts"

const memoryOf = (row: Record<string, SQLOutputValue>): Memory => ({
  actor: String(row["actor"]),
  key: String(row["key"]),
  value: String(row["value"]),
  expiresAt: Number(row["expires_at"])
})

/** One page of memories, the newest first. */
export const memories = (database: DatabaseSync, { before, now }: MemoryQuery): MemoryPage => {
  const rows = database
    .prepare(
      `SELECT * FROM memories WHERE expires_at > ? ${before === null ? "" : "AND (expires_at, place) < (?, ?)"}
       ORDER BY expires_at DESC, place DESC LIMIT ?`
    )
    .iterate(now, ...(before === null ? [] : [before.expiresAt, before.place]), memoryPage.count)
  const found: Array<Memory> = []
  let characters = 0
  for (const row of rows) {
    const memory = memoryOf(row)
    found.push(memory)
    characters += memory.key.length + memory.value.length
    if (found.length < memoryPage.count && characters < memoryPage.characters) continue
    return { memories: found, next: { expiresAt: memory.expiresAt, place: Number(row["place"]) } }
  }
  return { memories: found, next: null }
}

/** The turns of the newest interception of an actor whose first turn has a response id. */
export const responseTurns = (database: DatabaseSync, { actor, id }: ResponseTurnsQuery): ResponseTurns | null => {
  const found = database
    .prepare(
      `SELECT i.id AS id FROM (
         SELECT interception_id FROM turns WHERE upstream_response_id = ? AND "index" = 0
         ORDER BY interception_id DESC LIMIT ${searchedToolCalls}
       ) t JOIN interceptions i ON i.id = t.interception_id
       WHERE i.actor = ? AND i.dialect = 'openai-responses' ORDER BY i.id DESC LIMIT 1`
    )
    .get(id, actor)
  if (found === undefined) return null
  const turns = database
    .prepare(
      `SELECT "index", transport, upstream_response_id, frames_out FROM turns
       WHERE interception_id = ? ORDER BY "index", id`
    )
    .all(String(found["id"]))
  return responseTurnsOf(
    turns.map((row) => ({
      index: Number(row["index"]),
      transport: textOf(row["transport"]),
      upstreamResponseId: textOf(row["upstream_response_id"]),
      framesOut: Number(row["frames_out"])
    }))
  )
}

const textOf = (value: SQLOutputValue | undefined): string | null =>
  value === null || value === undefined ? null : String(value)

/** Every how many milliseconds expired memories are looked for. */
const sweepPause = 60_000

/** The statements that keep memories, on the connection that writes. */
export class SqliteMemories {
  private readonly newest: StatementSync
  private readonly late: StatementSync
  private readonly expired: StatementSync
  private readonly now: () => number
  private nextSweep = 0

  /** @param now epoch milliseconds */
  constructor(database: DatabaseSync, now: () => number) {
    const insert = "INSERT INTO memories (actor, key, value, expires_at) VALUES (?, ?, ?, ?)"
    this.now = now
    this.newest = database.prepare(insert.replace("INSERT", "INSERT OR REPLACE"))
    this.late = database.prepare(
      `${insert} ON CONFLICT DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
       WHERE excluded.expires_at > expires_at`
    )
    this.expired = database.prepare(
      `DELETE FROM memories WHERE place = (
         SELECT place FROM memories WHERE expires_at <= ? ORDER BY expires_at LIMIT 1
       )`
    )
  }

  /** @param late whether newer ones may have come before it */
  add(row: Memory, late: boolean): void {
    const statement = late ? this.late : this.newest
    statement.run(row.actor, row.key, row.value, row.expiresAt)
  }

  /** Takes away what has expired, for some milliseconds, where it is time for that; to be called in a transaction. */
  sweep(milliseconds: number): void {
    const now = this.now()
    if (now < this.nextSweep) return
    const started = performance.now()
    while (this.expired.run(now).changes > 0) if (performance.now() - started > milliseconds) return
    this.nextSweep = now + sweepPause
  }
}
