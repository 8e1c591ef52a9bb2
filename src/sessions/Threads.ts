import { hash } from "node:crypto"
import { Effect, Fiber, type Scope } from "effect"
import type { AnsweredToolCall } from "../dialect/Dialect.ts"
import { digestOf } from "../dialect/Arguments.ts"
import { actorKey } from "./ActorKey.ts"
import { type MadeToolCall, noThread, type Sessions, type Thread, type Threaded } from "./Sessions.ts"

/** Asks for the tool calls of one id that one actor's interceptions have made. */
export interface ToolCallQuestion {
  readonly actor: string
  readonly callId: string
  /** Only calls of this tool; `null` where the tool is not known. */
  readonly name: string | null
  /** The session whose calls are wanted most. */
  readonly sessionId: string | null
  /** Only calls of interceptions that are older than this one. */
  readonly before: string
}

/** A tool call as it was recorded. */
export interface FoundToolCall {
  readonly interceptionId: string
  readonly sessionId: string | null
  readonly name: string
  /** `null` where content is not recorded. */
  readonly arguments: unknown
}

/** Finds recorded tool calls, the newest first; not all of them where there are many. */
export type FindToolCalls = (question: ToolCallQuestion) => Effect.Effect<ReadonlyArray<FoundToolCall>, Error>

/** How many call ids are remembered at least, the newest; at most they are twice as many. */
const rememberedIds = 5_000
/** How many calls of one id are: what counts anew in every conversation comes up in many. */
const rememberedCalls = 32
/** How long an id may be to be remembered as it stands: all real ones are shorter, and an upstream may send any. */
const longId = 256
/** How long the store may take, in milliseconds from the beginning of a call. */
const patience = 500

/** A call that is remembered, or was found. */
interface Candidate {
  readonly interceptionId: string
  readonly sessionId: string | null
  readonly name: string
  /** `null` where the arguments are not known. */
  readonly digest: string | null
}

/** What a request says of the call that it answers. */
interface Asked {
  readonly call: Threaded
  readonly callId: string
  readonly name: string | null
  readonly digest: string | null
}

const agrees = (asked: Asked, made: Candidate): boolean =>
  made.interceptionId < asked.call.id &&
  (asked.name === null || made.name === asked.name) &&
  (asked.digest === null || made.digest === null || made.digest === asked.digest)

/** The newest call of the same session. No session is one, too, but only where the call is more than its id. */
const ofSession = (asked: Asked, made: ReadonlyArray<Candidate>): string | null => {
  const { sessionId } = asked.call
  if (sessionId === null && asked.name === null) return null
  let newest: string | null = null
  for (const one of made) {
    if (one.sessionId !== sessionId || !agrees(asked, one)) continue
    if (newest === null || one.interceptionId > newest) newest = one.interceptionId
  }
  return newest
}

/** The only one that has made such a call. */
const only = (asked: Asked, made: ReadonlyArray<Candidate>): string | null => {
  let found: string | null = null
  for (const one of made) {
    if (!agrees(asked, one) || one.interceptionId === found) continue
    if (found !== null) return null
    found = one.interceptionId
  }
  return found
}

const keyOf = (actor: string, callId: string): string =>
  actorKey(actor, callId.length > longId ? hash("sha256", callId, "base64") : callId)

/** The calls that were made last, by actor and id: in front of the store, so that hardly any request asks it. */
class RecentCalls {
  // Two generations: taking the oldest out of one map, call by call, gets slow in V8.
  private young = new Map<string, Array<Candidate>>()
  private old = new Map<string, Array<Candidate>>()

  add(by: Threaded, call: MadeToolCall): void {
    const { callId } = call
    if (callId === null || callId === "") return
    const key = keyOf(by.actor, callId)
    const candidate: Candidate = {
      interceptionId: by.id,
      sessionId: by.sessionId,
      name: call.name,
      digest: digestOf(call.arguments)
    }
    const known = this.of(key)
    if (known === undefined) this.keep(key, [candidate])
    else {
      known.push(candidate)
      if (known.length > rememberedCalls) known.shift()
      if (!this.young.has(key)) this.keep(key, known)
    }
  }

  find(asked: Asked): string | null {
    const known = this.of(keyOf(asked.call.actor, asked.callId))
    return known === undefined ? null : ofSession(asked, known)
  }

  private of(key: string): Array<Candidate> | undefined {
    return this.young.get(key) ?? this.old.get(key)
  }

  private keep(key: string, calls: Array<Candidate>): void {
    if (this.young.size >= rememberedIds) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(key, calls)
  }
}

/** A thread whose parent has still to be found. */
class Looking implements Thread {
  private readonly asked: Asked
  private readonly recent: RecentCalls
  private found: string | null = null
  /** Looks into the store. */
  search: Fiber.Fiber<void> | undefined

  constructor(asked: Asked, recent: RecentCalls) {
    this.asked = asked
    this.recent = recent
  }

  /** A client may come back before the end of the answer that it comes back with, which is noted by now. */
  get parentId(): string | null {
    this.found ??= this.recent.find(this.asked)
    return this.found
  }

  get looking(): Effect.Effect<void> | null {
    return this.search === undefined || this.search.pollUnsafe() !== undefined
      ? null
      : Effect.asVoid(Fiber.await(this.search))
  }

  look(find: FindToolCalls): Effect.Effect<void> {
    const { call, callId, name } = this.asked
    return find({ actor: call.actor, callId, name, sessionId: call.sessionId, before: call.id }).pipe(
      Effect.tap((made) => {
        const candidates = made.map((one) => ({
          ...one,
          digest: one.arguments === null ? null : digestOf(one.arguments)
        }))
        this.found = ofSession(this.asked, candidates) ?? only(this.asked, candidates)
        return Effect.void
      }),
      Effect.timeoutOption(patience),
      Effect.catchCause((cause) => Effect.logDebug("an interception's parent could not be looked up", cause)),
      Effect.asVoid
    )
  }
}

/**
 * Follows threads by the tool calls of this process, and by `find` where those do not answer, as after a restart.
 *
 * @param scope ends what is still being looked up
 */
export const threads = (find: FindToolCalls, scope: Scope.Scope): Pick<Sessions["Service"], "made" | "follow"> => {
  const recent = new RecentCalls()
  return {
    made: (by, calls) => {
      for (const call of calls) recent.add(by, call)
    },
    follow: (call, answered) => {
      if (answered === null || answered.callId === "") return Effect.succeed(noThread)
      return Effect.suspend(() => {
        const asked = askedOf(call, answered)
        const parentId = recent.find(asked)
        if (parentId !== null) return Effect.succeed<Thread>({ parentId, looking: null })
        const thread = new Looking(asked, recent)
        return Effect.map(Effect.forkIn(thread.look(find), scope, { startImmediately: true }), (search): Thread => {
          thread.search = search
          return thread
        })
      })
    }
  }
}

const askedOf = (call: Threaded, { callId, call: repeated }: AnsweredToolCall): Asked => ({
  call,
  callId,
  name: repeated === null ? null : repeated.name,
  digest: repeated === null ? null : digestOf(repeated.arguments)
})
