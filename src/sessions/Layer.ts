import { Cause, Clock, Duration, Effect, Fiber, Layer } from "effect"
import { clientOf, isCodingAgent } from "./Clients.ts"
import { Memories } from "./Memories.ts"
import { ResponseChains } from "./ResponseChains.ts"
import { sessionIdOf } from "./SessionId.ts"
import { type Memory, type ResponseTurns, Sessions } from "./Sessions.ts"
import { type FindToolCalls, threads } from "./Threads.ts"

/** Where a page of memories ends. */
interface Cursor {
  readonly expiresAt: number
  readonly place: number
}

/** What earlier processes have recorded. */
export interface SessionStore {
  readonly toolCalls: FindToolCalls
  /** What has not expired by `now`, the newest first, by pages. */
  readonly memories: (query: {
    readonly now: number
    readonly before: Cursor | null
  }) => Effect.Effect<{ readonly memories: ReadonlyArray<Memory>; readonly next: Cursor | null }, Error>
  /** The turns of an actor's newest interception whose first turn has a response id; `null` where they are not several. */
  readonly responseTurns: (query: {
    readonly actor: string
    readonly id: string
  }) => Effect.Effect<ResponseTurns | null, Error>
}

/** What is taken from `tools` in the configuration. */
export interface SessionSettings {
  /** Whether what clients were not shown is remembered beyond what the upstream waits for; see `MemoryEntry.owed`. */
  readonly memory: boolean
  /** For how long. */
  readonly memory_ttl: Duration.Duration
}

/** How much is remembered in the process, in bytes. */
const rememberedBytes = 64 * 1024 * 1024
/** For how long results are kept that a client's next request needs, where nothing else is remembered: an hour. */
const owedTtl = 3_600_000
/** How long a start waits for what earlier processes remembered; the rest comes beside the first calls. */
const startPatience = "250 millis"
/** How long looking up a response may take. */
const lookupPatience = "500 millis"

/**
 * Knows what this process has seen, and asks `store` where that does not answer, as after a restart.
 *
 * @param bytes how much is remembered in the process: less than 64 MiB in tests
 */
export const layer = (store: SessionStore, settings: SessionSettings, bytes = rememberedBytes): Layer.Layer<Sessions> =>
  Layer.effect(
    Sessions,
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const now = () => clock.currentTimeMillisUnsafe()
      const memories = new Memories(bytes)
      const chains = new ResponseChains()
      const ttl = Duration.toMillis(settings.memory_ttl)
      if (settings.memory) {
        const loading = yield* Effect.forkScoped(load(store, memories, now), { startImmediately: true })
        if (loading.pollUnsafe() === undefined) yield* Effect.timeoutOption(Fiber.await(loading), startPatience)
      }
      return Sessions.of({
        caller: (headers, said) => {
          const client = clientOf(headers)
          return { client, sessionId: sessionIdOf(headers, said), codingAgent: isCodingAgent(client) }
        },
        ...threads(store.toolCalls, yield* Effect.scope),
        remember: (actor, entries) => {
          const moment = now()
          const kept: Array<Memory> = []
          for (const { key, owed, value } of entries) {
            if (!settings.memory && owed !== true) continue
            const memory: Memory = { actor, key, value, expiresAt: moment + (settings.memory ? ttl : owedTtl) }
            if (memories.add(memory, moment) && settings.memory) kept.push(memory)
          }
          return kept
        },
        recall: (actor) => (memories.has(actor) ? (key) => memories.find(actor, key, now()) : null),
        chained: (actor, id, turns) => chains.note(actor, id, turns),
        responseTurns: (actor, id) =>
          Effect.suspend(() => {
            const known = chains.find(actor, id)
            return known === undefined ? lookUp(store, actor, id) : Effect.succeed(known)
          })
      })
    })
  )

/** Brings in what earlier processes remembered, the newest first, as far as there is room. */
const load = (store: SessionStore, memories: Memories, now: () => number): Effect.Effect<void> =>
  Effect.gen(function* () {
    let before: Cursor | null = null
    for (;;) {
      const page: Effect.Success<ReturnType<SessionStore["memories"]>> = yield* store.memories({ now: now(), before })
      if (!memories.addOlder(page.memories, now()) || page.next === null) return
      before = page.next
      // What is under way in the process goes on between two pages.
      yield* Effect.yieldNow
    }
  }).pipe(
    Effect.catchCause((cause) =>
      // The gateway is stopping.
      Cause.hasInterrupts(cause) ? Effect.void : Effect.logWarning(unread, cause)
    )
  )

const unread = "what earlier processes remembered could not be read from the records"

const lookUp = (store: SessionStore, actor: string, id: string): Effect.Effect<ResponseTurns | null> =>
  store.responseTurns({ actor, id }).pipe(
    Effect.timeoutOption(lookupPatience),
    Effect.map((found) => (found._tag === "Some" ? found.value : null)),
    Effect.catchCause((cause) =>
      Effect.as(Effect.logWarning("the turns behind a response id could not be looked up", cause), null)
    )
  )
