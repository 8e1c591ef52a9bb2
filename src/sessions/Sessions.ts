import { Context, type Effect } from "effect"
import type { AnsweredToolCall, RequestView } from "../dialect/Dialect.ts"
import type { MemoryEntry } from "../dialect/ToolMemory.ts"
import type { HeaderMap } from "./Clients.ts"

/** Who makes a call, as far as it says so itself. */
export interface Caller {
  /** `claude-code`, `codex`, … or `unknown`. */
  readonly client: string
  readonly sessionId: string | null
  /** Whether it is a coding agent, which takes the input of an answer for the size of its context. */
  readonly codingAgent: boolean
}

/** An interception as threads know it. */
export interface Threaded {
  readonly id: string
  readonly actor: string
  readonly sessionId: string | null
}

/** A tool call that a model made and its client saw. */
export interface MadeToolCall {
  readonly callId: string | null
  readonly name: string
  /** A JSON value, or text. */
  readonly arguments: unknown
}

/** What an interception goes on from. */
export interface Thread {
  /** The interception that made the tool call which this one answers, as far as that is known by now. */
  readonly parentId: string | null
  /** Done when more will not become known; `null` where that is so already. Takes half a second at most. */
  readonly looking: Effect.Effect<void> | null
}

/** Something kept for an actor, as it is stored. */
export interface Memory extends MemoryEntry {
  readonly actor: string
  /** Epoch milliseconds. */
  readonly expiresAt: number
}

/** The responses of an interception of `openai-responses` that had several turns. */
export interface ResponseTurns {
  /** The upstream's response ids, one for each turn that has one, in their order: two at least. */
  readonly ids: ReadonlyArray<string>
  /** Whether turns before the last may have shown the client something of their output. */
  readonly shownBefore: boolean
}

/** The thread of an interception that answers no tool call. */
export const noThread: Thread = { parentId: null, looking: null }

/**
 * Who is calling, what a call goes on from, and what is remembered of earlier ones that their clients were not shown.
 *
 * **Details**
 *
 * An interception's parent is the one that made the tool call whose result its request ends with. It is looked for among
 * the tool calls of the same actor only, and only among older interceptions, so that parents never form a circle. Call
 * ids are not enough, since some servers count `call_0` in every conversation: where the request repeats the call, its
 * name and arguments have to agree. Of those that are left the newest of the same session is taken; of other sessions
 * only one that is the only one, as when a conversation is resumed under a new session id.
 */
export class Sessions extends Context.Service<
  Sessions,
  {
    /** Reads a call's headers, and what its body says of its session. */
    readonly caller: (headers: HeaderMap, said: RequestView["session"]) => Caller
    /** Notes the tool calls an interception has made. To be told before its client sees the end of the answer. */
    readonly made: (by: Threaded, calls: ReadonlyArray<MadeToolCall>) => void
    /** Begins to look for an interception's parent. Returns at once; what takes longer goes on beside the call. */
    readonly follow: (call: Threaded, answered: AnsweredToolCall | null) => Effect.Effect<Thread>
    /**
     * Keeps entries for an actor, in the place of older ones of the same keys, for as long as `tools.memory_ttl` says.
     * Answers them as they are to be recorded, with the end of the answer they belong to; none where `tools.memory` is
     * off. Then what is owed is kept all the same, in this process and for an hour. What is larger than all the room is
     * neither kept nor recorded.
     */
    readonly remember: (actor: string, entries: ReadonlyArray<MemoryEntry>) => ReadonlyArray<Memory>
    /** Finds the values that are kept for an actor by their keys; `null` where there are none. */
    readonly recall: (actor: string) => ((key: string) => string | null) | null
    /**
     * Notes which turns an interception of `openai-responses` had.
     *
     * @param id the response id of its first turn: all that its client knows
     * @param turns `null` where there was but one
     */
    readonly chained: (actor: string, id: string, turns: ResponseTurns | null) => void
    /**
     * The turns of the interception of this actor that a response id stands for, the newest where ids repeat; `null`
     * where there was but one, and where none is known. Takes half a second at most.
     *
     * @param id the response id of its first turn
     */
    readonly responseTurns: (actor: string, id: string) => Effect.Effect<ResponseTurns | null>
  }
>()("sluice/sessions/Sessions") {}
