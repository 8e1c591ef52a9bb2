import { randomBytes } from "node:crypto"
import { Effect, Option } from "effect"
import { addCounts } from "./Counts.ts"
import { CostSums } from "./Decimal.ts"
import * as MemorySessions from "./MemorySessions.ts"
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
import {
  responseTurnsOf,
  type Interception,
  type InterceptionClose,
  type InterceptionDetail,
  type InterceptionPage,
  type Memory,
  type Prompt,
  type ResponseTurns,
  type SessionPage,
  type Thought,
  type ToolCall,
  type Turn,
  type Usage,
  type UsageKey,
  type UsageSum
} from "./Records.ts"
import { foundToolCalls, type NumberedBatch, type RecordStore, type SessionSlice } from "./RecordStore.ts"

/** One interception and what belongs to it. */
interface Held {
  interception: Interception
  readonly turns: Map<string, Turn>
  readonly prompts: Map<string, Prompt>
  readonly usage: Map<string, Usage>
  readonly toolCalls: Map<string, ToolCall>
  readonly thoughts: Map<string, Thought>
}

/** Keeps records in this process, all of them and without a bound: for tests and short trials. */
export class MemoryStore implements RecordStore {
  readonly secret = randomBytes(32)
  private readonly held = new Map<string, Held>()
  /** Where each tool call was made, by its id. */
  private readonly callIds = new Map<string, Set<Held>>()
  /** What came before the interception it belongs to. */
  /** The newest last. */
  private readonly remembered = new Map<string, Memory>()
  private readonly early = new Map<string, InterceptionClose>()

  readonly write = (batches: ReadonlyArray<NumberedBatch>): Effect.Effect<number> =>
    Effect.sync(() => {
      for (const batch of batches) this.add(batch)
      return batches.length
    })

  readonly writeLate = this.write

  readonly endedInstances = Effect.succeed([])

  private add({ number, batch }: NumberedBatch): void {
    for (const row of batch.opens ?? []) {
      const held = this.of(row.id)
      if (held.interception === unknown) held.interception = row
      const close = this.early.get(row.id)
      if (close !== undefined && this.early.delete(row.id)) this.close(close)
    }
    for (const row of batch.turns ?? []) once(this.of(row.interceptionId).turns, row.id, row)
    for (const row of batch.prompts ?? []) once(this.of(row.interceptionId).prompts, row.turnId, row)
    for (const row of batch.usage ?? []) once(this.of(row.interceptionId).usage, row.turnId, row)
    batch.toolCalls?.forEach((row, i) => {
      const held = this.of(row.interceptionId)
      once(held.toolCalls, `${number}.${i}`, row)
      if (row.callId === null || row.callId === "") return
      const makers = this.callIds.get(row.callId)
      if (makers === undefined) this.callIds.set(row.callId, new Set([held]))
      else makers.add(held)
    })
    batch.thoughts?.forEach((row, i) => {
      once(this.of(row.interceptionId).thoughts, `${number}.${i}`, row)
    })
    for (const row of batch.memories ?? []) {
      const key = JSON.stringify([row.actor, row.key])
      this.remembered.delete(key)
      this.remembered.set(key, row)
    }
    for (const row of batch.closes ?? []) this.close(row)
  }

  private of(id: string): Held {
    let held = this.held.get(id)
    if (held === undefined) {
      held = {
        interception: unknown,
        turns: new Map(),
        prompts: new Map(),
        usage: new Map(),
        toolCalls: new Map(),
        thoughts: new Map()
      }
      this.held.set(id, held)
    }
    return held
  }

  private close(row: InterceptionClose): void {
    const held = this.held.get(row.id)
    if (held === undefined || held.interception === unknown) {
      once(this.early, row.id, row)
      return
    }
    const open = held.interception
    if (open.status !== null) return
    held.interception = {
      ...open,
      endedAt: row.endedAt,
      status: row.status,
      error: row.error,
      servedModel: row.servedModel ?? open.servedModel,
      sessionId: row.sessionId ?? open.sessionId,
      parentId: row.parentId ?? open.parentId,
      transport: row.transport ?? open.transport
    }
  }

  private get newestFirst(): Array<Held> {
    return [...this.held.values()]
      .filter((held) => held.interception !== unknown)
      .sort((left, right) => (left.interception.id < right.interception.id ? 1 : -1))
  }

  readonly interceptions = (query: InterceptionQuery): Effect.Effect<InterceptionPage> =>
    Effect.sync(() => {
      const found = this.newestFirst.filter((held) => matches(query, held)).map((held) => held.interception)
      const interceptions = found.slice(0, query.limit)
      return { interceptions, next: found.length > query.limit ? (interceptions.at(-1)?.id ?? null) : null }
    })

  readonly interception = (id: string): Effect.Effect<Option.Option<InterceptionDetail>> =>
    Effect.sync(() => {
      const held = this.held.get(id)
      if (held === undefined || held.interception === unknown) return Option.none()
      const turns = [...held.turns.values()].sort((left, right) => left.index - right.index)
      const place = new Map(turns.map((turn) => [turn.id, turn.index]))
      const byTurn = <A extends { readonly turnId: string }>(rows: Map<string, A>): Array<A> =>
        [...rows.values()].sort((left, right) => (place.get(left.turnId) ?? 0) - (place.get(right.turnId) ?? 0))
      return Option.some({
        interception: held.interception,
        turns,
        prompts: byTurn(held.prompts),
        usage: byTurn(held.usage),
        toolCalls: byTurn(held.toolCalls),
        thoughts: byTurn(held.thoughts)
      })
    })

  private get used(): ReadonlyArray<MemorySessions.Used> {
    return this.newestFirst.reverse().map(({ interception, usage }) => ({ interception, usage: usage.values() }))
  }

  readonly sessions = (query: SessionsQuery): Effect.Effect<SessionPage> =>
    Effect.sync(() => MemorySessions.sessions(this.used, query))

  readonly session = (query: SessionQuery): Effect.Effect<SessionSlice> =>
    Effect.sync(() => MemorySessions.session(this.used, query))

  readonly toolCalls = (query: ToolCallQuery): Effect.Effect<ReadonlyArray<RecordedToolCall>> =>
    Effect.sync(() => {
      const found = [...(this.callIds.get(query.callId) ?? [])]
        .filter(({ interception: { id, actor } }) => actor === query.actor && id < query.before)
        .sort((left, right) => (left.interception.id < right.interception.id ? 1 : -1))
        .flatMap(({ interception, toolCalls }) =>
          [...toolCalls.values()]
            .filter(({ callId, name }) => callId === query.callId && (query.name === null || name === query.name))
            .map((call) => ({
              interceptionId: interception.id,
              sessionId: interception.sessionId,
              name: call.name,
              arguments: call.arguments
            }))
        )
      const wanted = found.filter(({ sessionId }) => sessionId === query.sessionId)
      const others = found.filter(({ sessionId }) => sessionId !== query.sessionId)
      return [...wanted.slice(0, foundToolCalls), ...others.slice(0, foundToolCalls)]
    })

  readonly memories = ({ now }: MemoryQuery): Effect.Effect<MemoryPage> =>
    Effect.sync(() => ({
      memories: [...this.remembered.values()].reverse().filter(({ expiresAt }) => expiresAt > now),
      next: null
    }))

  readonly responseTurns = ({ actor, id }: ResponseTurnsQuery): Effect.Effect<ResponseTurns | null> =>
    Effect.sync(() => {
      for (const { interception, turns } of this.newestFirst) {
        if (interception.actor !== actor || interception.dialect !== "openai-responses") continue
        const all = [...turns.values()].sort((left, right) => left.index - right.index)
        if (all[0]?.index === 0 && all[0].upstreamResponseId === id) return responseTurnsOf(all)
      }
      return null
    })

  readonly usage = (by: UsageKey): Effect.Effect<ReadonlyArray<UsageSum>> =>
    Effect.sync(() => {
      const sums = new Map<string, { -readonly [K in keyof UsageSum]: UsageSum[K] }>()
      const costs = new CostSums()
      for (const held of this.newestFirst) {
        const key = keyOf(by, held.interception)
        const sum = sums.get(key) ?? { key, ...nothing }
        sums.set(key, sum)
        sum.interceptions++
        sum.turns += held.turns.size
        for (const usage of held.usage.values()) {
          sum.input = addCounts(sum.input, usage.input)
          sum.output = addCounts(sum.output, usage.output)
          sum.cacheRead = addCounts(sum.cacheRead, usage.cacheRead)
          sum.cacheWrite = addCounts(sum.cacheWrite, usage.cacheWrite)
          sum.reasoning = addCounts(sum.reasoning, usage.reasoning)
          if (usage.cost !== null && usage.currency !== null) costs.add(key, usage.cost, usage.currency)
        }
      }
      const rows = [...sums.values()].map((sum) => ({ ...sum, ...costs.of(sum.key) }))
      return rows.sort(
        by === "day"
          ? (left, right) => (left.key < right.key ? 1 : -1)
          : (left, right) => right.interceptions - left.interceptions || (left.key < right.key ? -1 : 1)
      )
    })
}

/** Stands where rows came before their interception. */
const unknown = {} as Interception

const nothing = {
  interceptions: 0,
  turns: 0,
  input: 0,
  output: 0,
  cacheRead: 0,
  cacheWrite: 0,
  reasoning: 0,
  cost: null,
  currency: null
}

const once = <A>(rows: Map<string, A>, key: string, row: A): void => {
  if (!rows.has(key)) rows.set(key, row)
}

const matches = (query: InterceptionQuery, { interception, turns }: Held): boolean =>
  (query.before === undefined || interception.id < query.before) &&
  (query.actor === undefined || interception.actor === query.actor) &&
  (query.session === undefined || interception.sessionId === query.session) &&
  (query.model === undefined ||
    interception.requestedModel === query.model ||
    interception.servedModel === query.model) &&
  (query.response === undefined || [...turns.values()].some((turn) => turn.upstreamResponseId === query.response))

const keyOf = (by: UsageKey, interception: Interception): string => {
  if (by === "actor") return interception.actor
  if (by === "model") return interception.servedModel ?? interception.requestedModel ?? "unknown"
  return new Date(interception.startedAt).toISOString().slice(0, 10)
}
