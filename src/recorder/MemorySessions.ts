import { addCounts } from "./Counts.ts"
import { CostSums } from "./Decimal.ts"
import type { SessionQuery, SessionsQuery } from "./Recorder.ts"
import type { Interception, Session, SessionPage, Usage } from "./Records.ts"
import type { SessionSlice } from "./RecordStore.ts"

/** An interception and what its turns used. */
export interface Used {
  readonly interception: Interception
  readonly usage: Iterable<Usage>
}

/** The calls of each session, the oldest first. A session is one actor's. */
const bySession = (oldestFirst: ReadonlyArray<Used>): ReadonlyArray<ReadonlyArray<Used>> => {
  const sessions = new Map<string, Array<Used>>()
  for (const used of oldestFirst) {
    const { actor, sessionId } = used.interception
    if (sessionId === null) continue
    const key = `${actor.length} ${actor}${sessionId}`
    const session = sessions.get(key)
    if (session === undefined) sessions.set(key, [used])
    else session.push(used)
  }
  return [...sessions.values()]
}

/** One page of sessions. */
export const sessions = (oldestFirst: ReadonlyArray<Used>, query: SessionsQuery): SessionPage => {
  const found = bySession(oldestFirst)
    .filter((session) => {
      const { id, actor, client } = session[0]!.interception
      return (
        (query.before === undefined || id < query.before) &&
        (query.actor === undefined || actor === query.actor) &&
        (query.client === undefined || client === query.client)
      )
    })
    .reverse()
  const page = found.slice(0, query.limit)
  return {
    sessions: page.map(summary),
    next: found.length > query.limit ? (page.at(-1)?.[0]?.interception.id ?? null) : null
  }
}

/** One session, where exactly one actor has it, and a page of its interceptions. */
export const session = (oldestFirst: ReadonlyArray<Used>, query: SessionQuery): SessionSlice => {
  const found = bySession(
    oldestFirst.filter(
      ({ interception: { actor, sessionId } }) =>
        sessionId === query.id && (query.actor === undefined || actor === query.actor)
    )
  )
  const actors = found.map((one) => one[0]!.interception.actor).sort()
  if (found.length !== 1) return { actors, session: null, interceptions: [], next: null }
  const rows = found[0]!
    .map(({ interception }) => interception)
    .filter(({ id }) => query.after === undefined || id > query.after)
  const interceptions = rows.slice(0, query.limit)
  return {
    actors,
    session: summary(found[0]!),
    interceptions,
    next: rows.length > query.limit ? (interceptions.at(-1)?.id ?? null) : null
  }
}

const summary = (calls: ReadonlyArray<Used>): Session => {
  const first = calls[0]!.interception
  const costs = new CostSums()
  const used = { turns: 0, input: 0, output: 0, cacheRead: 0, cacheWrite: 0, reasoning: 0 }
  let endedAt: number | null = 0
  for (const { interception, usage } of calls) {
    endedAt = endedAt === null || interception.endedAt === null ? null : Math.max(endedAt, interception.endedAt)
    for (const row of usage) {
      used.turns++
      used.input = addCounts(used.input, row.input)
      used.output = addCounts(used.output, row.output)
      used.cacheRead = addCounts(used.cacheRead, row.cacheRead)
      used.cacheWrite = addCounts(used.cacheWrite, row.cacheWrite)
      used.reasoning = addCounts(used.reasoning, row.reasoning)
      if (row.cost !== null && row.currency !== null) costs.add("", row.cost, row.currency)
    }
  }
  return {
    id: first.sessionId!,
    client: first.client,
    actor: first.actor,
    startedAt: first.startedAt,
    endedAt,
    interceptions: calls.length,
    usage: { ...used, ...costs.of("") }
  }
}
