import type { DatabaseSync, SQLInputValue } from "node:sqlite"
import { CostSums } from "./Decimal.ts"
import type {
  InterceptionQuery,
  RecordedToolCall,
  ResponseTurnsQuery,
  SessionQuery,
  SessionsQuery,
  ToolCallQuery
} from "./Recorder.ts"
import type { InterceptionDetail, InterceptionPage, ResponseTurns, SessionPage, UsageKey, UsageSum } from "./Records.ts"
import type { SessionSlice } from "./RecordStore.ts"
import { responseTurns } from "./SqliteMemories.ts"
import { recordOf, sumOf } from "./SqliteRows.ts"
import * as SqliteSessions from "./SqliteSessions.ts"

const keys: Record<UsageKey, { readonly key: string; readonly order: string }> = {
  model: { key: "coalesce(i.served_model, i.requested_model, 'unknown')", order: "interceptions DESC, key" },
  actor: { key: "i.actor", order: "interceptions DESC, key" },
  day: { key: "coalesce(strftime('%Y-%m-%d', i.started_at / 1000, 'unixepoch'), 'unknown')", order: "key DESC" }
}

/** The queries, on one connection. They run for as long as they run: in a worker, not on the event loop. */
export class SqliteReader {
  private readonly database: DatabaseSync

  constructor(database: DatabaseSync) {
    this.database = database
  }

  private readonly all = <A>(sql: string, ...values: Array<SQLInputValue>): Array<A> => {
    const statement = this.database.prepare(sql)
    statement.setReadBigInts(true)
    return statement.all(...values).map((row) => recordOf<A>(row))
  }

  /** As of one moment, though it takes several queries. */
  private atOnce<A>(run: () => A): A {
    this.database.exec("BEGIN")
    try {
      return run()
    } finally {
      this.database.exec("COMMIT")
    }
  }

  /** One page, newest first. */
  interceptions(query: InterceptionQuery): InterceptionPage {
    const where: Array<string> = []
    const values: Array<SQLInputValue> = []
    const filter = (condition: string, value: string | undefined, times = 1) => {
      if (value === undefined) return
      where.push(condition)
      for (let i = 0; i < times; i++) values.push(value)
    }
    filter("id < ?", query.before)
    filter("actor = ?", query.actor)
    filter("(requested_model = ? OR served_model = ?)", query.model, 2)
    filter("session_id = ?", query.session)
    filter("id IN (SELECT interception_id FROM turns WHERE upstream_response_id = ?)", query.response)
    const rows = this.all<InterceptionPage["interceptions"][number]>(
      `SELECT * FROM interceptions ${where.length === 0 ? "" : `WHERE ${where.join(" AND ")}`} ORDER BY id DESC LIMIT ?`,
      ...values,
      query.limit + 1
    )
    const interceptions = rows.slice(0, query.limit)
    return { interceptions, next: rows.length > query.limit ? (interceptions.at(-1)?.id ?? null) : null }
  }

  /** One interception with all that belongs to it, as of one moment; `null` where there is none. */
  interception(id: string): InterceptionDetail | null {
    return this.atOnce(() => {
      const [interception] = this.all<InterceptionDetail["interception"]>(
        "SELECT * FROM interceptions WHERE id = ?",
        id
      )
      if (interception === undefined) return null
      const of = <A>(table: string, order: string) =>
        this.all<A>(
          `SELECT r.* FROM ${table} r LEFT JOIN turns t ON t.interception_id = r.interception_id AND t.id = r.turn_id
           WHERE r.interception_id = ? ORDER BY t."index"${order}`,
          id
        )
      return {
        interception,
        turns: this.all(`SELECT * FROM turns WHERE interception_id = ? ORDER BY "index", id`, id),
        prompts: of("prompts", ", r.turn_id"),
        usage: of("usage", ", r.turn_id"),
        toolCalls: of("tool_calls", ", r.batch, r.place"),
        thoughts: of("thoughts", ", r.batch, r.place")
      }
    })
  }

  /** One page of sessions, those begun last first. */
  sessions(query: SessionsQuery): SessionPage {
    return this.atOnce(() => SqliteSessions.sessions(this.database, this.all, query))
  }

  /** One session and a page of its interceptions. */
  session(query: SessionQuery): SessionSlice {
    return this.atOnce(() => SqliteSessions.session(this.database, this.all, query))
  }

  /** Tool calls of one id that one actor's interceptions have made. */
  toolCalls(query: ToolCallQuery): ReadonlyArray<RecordedToolCall> {
    return SqliteSessions.toolCalls(this.database, query)
  }

  /** The turns of the interception whose first turn has a response id; `null` where they are not several. */
  responseTurns(query: ResponseTurnsQuery): ResponseTurns | null {
    return this.atOnce(() => responseTurns(this.database, query))
  }

  /** Sums of the known usage. */
  usage(by: UsageKey): Array<UsageSum> {
    const { key, order } = keys[by]
    const costs = new CostSums()
    const priced = this.database
      .prepare(
        `SELECT ${key} AS key, u.cost AS cost, u.currency AS currency
         FROM usage u JOIN interceptions i ON i.id = u.interception_id
         WHERE u.cost IS NOT NULL AND u.currency IS NOT NULL`
      )
      .iterate()
    for (const row of priced) costs.add(String(row["key"]), String(row["cost"]), String(row["currency"]))
    const sums = this.all<Omit<UsageSum, "cost" | "currency">>(
      `SELECT ${key} AS key, count(*) AS interceptions,
         sum((SELECT count(*) FROM turns t WHERE t.interception_id = i.id)) AS turns,
         ${sumOf("u.input")} AS input, ${sumOf("u.output")} AS output, ${sumOf("u.cache_read")} AS cache_read,
         ${sumOf("u.cache_write")} AS cache_write, ${sumOf("u.reasoning")} AS reasoning
       FROM interceptions i LEFT JOIN (
         SELECT interception_id, ${sumOf("input")} AS input, ${sumOf("output")} AS output,
           ${sumOf("cache_read")} AS cache_read, ${sumOf("cache_write")} AS cache_write,
           ${sumOf("reasoning")} AS reasoning
                  FROM usage GROUP BY interception_id
       ) u ON u.interception_id = i.id
       GROUP BY 1 ORDER BY ${order}`
    )
    return sums.map((sum) => ({ ...sum, ...costs.of(sum.key) }))
  }

  /** Moves the log's pages into the database, as far as nobody reads the old ones. Answers whether that was all. */
  checkpoint(): boolean {
    const row = this.database.prepare("PRAGMA wal_checkpoint(PASSIVE)").get()
    return row?.["busy"] === 0 && row["log"] === row["checkpointed"]
  }
}
