import type { DatabaseSync, SQLInputValue } from "node:sqlite"
import { CostSums } from "./Decimal.ts"
import type { RecordedToolCall, SessionQuery, SessionsQuery, ToolCallQuery } from "./Recorder.ts"
import type { Interception, Session, SessionPage } from "./Records.ts"
import { foundToolCalls, type SessionSlice, searchedToolCalls } from "./RecordStore.ts"
import { recordOf, sumOf } from "./SqliteRows.ts"

/** Runs a query and answers its rows as records. */
export type All = <A>(sql: string, ...values: Array<SQLInputValue>) => Array<A>

/** The first interception of a session. */
type First = Pick<Interception, "id" | "actor" | "client" | "startedAt"> & { readonly sessionId: string }

interface Totals {
  readonly interceptions: number
  readonly running: number
  readonly endedAt: number | null
  readonly turns: number
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheWrite: number
  readonly reasoning: number
}

/**
 * One page of sessions. They are found by their first interceptions, newest first, each known by one look into the index
 * of its session: nothing is sorted, and the search ends with the page.
 */
export const sessions = (database: DatabaseSync, all: All, query: SessionsQuery): SessionPage => {
  const where = ["i.session_id IS NOT NULL"]
  const values: Array<SQLInputValue> = []
  const filter = (condition: string, value: string | undefined) => {
    if (value === undefined) return
    where.push(condition)
    values.push(value)
  }
  filter("i.id < ?", query.before)
  filter("i.actor = ?", query.actor)
  filter("i.client = ?", query.client)
  const firsts = all<First>(
    `SELECT id, actor, client, session_id, started_at FROM interceptions i
     WHERE ${where.join(" AND ")} AND NOT EXISTS (
       SELECT 1 FROM interceptions o INDEXED BY interceptions_session
       WHERE o.session_id = i.session_id AND o.id < i.id AND o.actor = i.actor
     ) ORDER BY i.id DESC LIMIT ?`,
    ...values,
    query.limit + 1
  )
  const page = firsts.slice(0, query.limit)
  return {
    sessions: page.map((first) => summary(database, all, first)),
    next: firsts.length > query.limit ? (page.at(-1)?.id ?? null) : null
  }
}

const summary = (database: DatabaseSync, all: All, first: First): Session => {
  const [totals] = all<Totals>(
    `SELECT count(*) AS interceptions, sum(i.ended_at IS NULL) AS running, max(i.ended_at) AS ended_at,
       coalesce(sum(u.turns), 0) AS turns, ${sumOf("u.input")} AS input, ${sumOf("u.output")} AS output,
       ${sumOf("u.cache_read")} AS cache_read, ${sumOf("u.cache_write")} AS cache_write,
       ${sumOf("u.reasoning")} AS reasoning
     FROM interceptions i LEFT JOIN (
       SELECT interception_id, count(*) AS turns, ${sumOf("input")} AS input, ${sumOf("output")} AS output,
         ${sumOf("cache_read")} AS cache_read, ${sumOf("cache_write")} AS cache_write,
         ${sumOf("reasoning")} AS reasoning
       FROM usage WHERE interception_id IN (SELECT id FROM interceptions WHERE session_id = ?1 AND actor = ?2)
       GROUP BY interception_id
     ) u ON u.interception_id = i.id
     WHERE i.session_id = ?1 AND i.actor = ?2`,
    first.sessionId,
    first.actor
  )
  const { interceptions, running, endedAt, ...used } = totals!
  const costs = new CostSums()
  const priced = database
    .prepare(
      `SELECT u.cost AS cost, u.currency AS currency FROM interceptions i JOIN usage u ON u.interception_id = i.id
       WHERE i.session_id = ? AND i.actor = ? AND u.cost IS NOT NULL AND u.currency IS NOT NULL`
    )
    .iterate(first.sessionId, first.actor)
  for (const row of priced) costs.add("", String(row["cost"]), String(row["currency"]))
  return {
    id: first.sessionId,
    client: first.client,
    actor: first.actor,
    startedAt: first.startedAt,
    endedAt: running > 0 ? null : endedAt,
    interceptions,
    usage: { ...used, ...costs.of("") }
  }
}

/** One session, where exactly one actor has it, and a page of its interceptions. */
export const session = (database: DatabaseSync, all: All, query: SessionQuery): SessionSlice => {
  const actors = all<{ readonly actor: string }>(
    `SELECT DISTINCT actor FROM interceptions WHERE session_id = ?1 AND (?2 IS NULL OR actor = ?2) ORDER BY actor`,
    query.id,
    query.actor ?? null
  ).map(({ actor }) => actor)
  if (actors.length !== 1) return { actors, session: null, interceptions: [], next: null }
  const [first] = all<First>(
    `SELECT id, actor, client, session_id, started_at FROM interceptions
     WHERE session_id = ? AND actor = ? ORDER BY id LIMIT 1`,
    query.id,
    actors[0]!
  )
  const rows = all<Interception>(
    "SELECT * FROM interceptions WHERE session_id = ? AND actor = ? AND id > ? ORDER BY id LIMIT ?",
    query.id,
    actors[0]!,
    query.after ?? "",
    query.limit + 1
  )
  const interceptions = rows.slice(0, query.limit)
  return {
    actors,
    session: summary(database, all, first!),
    interceptions,
    next: rows.length > query.limit ? (interceptions.at(-1)?.id ?? null) : null
  }
}

/** Recorded tool calls of one id. */
export const toolCalls = (database: DatabaseSync, query: ToolCallQuery): ReadonlyArray<RecordedToolCall> => {
  const rows = database
    .prepare(
      `SELECT t.interception_id, i.session_id, t.name, t.arguments FROM tool_calls t
       JOIN interceptions i ON i.id = t.interception_id
       WHERE t.call_id = ?1 AND t.call_id <> '' AND t.interception_id < ?2 AND i.actor = ?3
         AND (?4 IS NULL OR t.name = ?4)
       ORDER BY t.interception_id DESC LIMIT ?5`
    )
    .iterate(query.callId, query.before, query.actor, query.name, searchedToolCalls)
  const found: Array<RecordedToolCall> = []
  let wanted = 0
  for (const row of rows) {
    const sessionId = row["session_id"] === null ? null : String(row["session_id"])
    const isWanted = sessionId === query.sessionId
    if (isWanted) wanted++
    else if (found.length - wanted >= foundToolCalls) continue
    found.push(recordOf<RecordedToolCall>(row))
    if (wanted === foundToolCalls) break
  }
  return found
}
