import { Effect } from "effect"
import type { RequestView, SeenToolCall, TransportName, TurnSummary } from "../dialect/Dialect.ts"
import type { MemoryEntry } from "../dialect/ToolMemory.ts"
import { jsonTextOf, responseTurnsOf } from "../recorder/Records.ts"
import type { Recorder } from "../recorder/Recorder.ts"
import type {
  ErrorCode,
  Interception,
  InterceptionClose,
  Memory,
  Prompt,
  RecordBatch,
  RecordError,
  Thought,
  ToolCall,
  Turn,
  TurnStatus,
  Usage
} from "../recorder/Records.ts"
import { noThread, type Sessions, type Thread } from "../sessions/Sessions.ts"
import type { SocketCall } from "./InboundRequest.ts"
import type { Ended } from "./Observer.ts"

/** A turn while it runs: what its record will say, as far as it is known. */
export interface TurnProgress {
  readonly id: string
  readonly index: number
  readonly startedAt: number
  transport: TransportName | null
  httpStatus: number | null
  attempts: number
  firstFrameAt: number | null
  framesOut: number
  /** Whether it is on record. */
  settled: boolean
}

/** The progress of a turn that begins. */
export const beginTurn = (id: string, index: number, startedAt: number): TurnProgress => ({
  id,
  index,
  startedAt,
  transport: null,
  httpStatus: null,
  attempts: 1,
  firstFrameAt: null,
  framesOut: 0,
  settled: false
})

/** An injected tool call that was run. */
export interface RunToolCall {
  readonly call: SeenToolCall
  /** Where it was run; `null` where no server was asked. */
  readonly serverUrl: string | null
  readonly error: RecordError | null
  readonly durationMs: number
}

/** What a turn's stages saw. */
export interface TurnSight {
  readonly framesIn: number
  /** Something was too large to be read, so that nothing is known of the usage. */
  readonly overflowed: boolean
  readonly summary: TurnSummary
}

/** How a turn ended, apart from what its stages saw. */
export interface Ending {
  readonly status: TurnStatus
  readonly error: RecordError | null
  /** Whether the upstream came to its own end, so that its last usage is the final one. */
  readonly complete: boolean
}

/**
 * Writes down, exactly once, what an interception used and how it ended (law 2): whichever way out comes first settles,
 * the others find it done.
 */
export class Settlement {
  readonly row: Interception
  private readonly recorder: Recorder["Service"]
  private readonly sessions: Sessions["Service"]
  private readonly observe: (ended: Ended) => void
  private readonly now: () => number
  private readonly asked: RequestView | null
  private readonly socket: SocketCall | undefined
  private done = false
  private readonly turns: Array<Turn> = []
  private readonly usage: Array<Usage> = []
  private toolCalls = 0
  private memories: ReadonlyArray<Memory> = []
  /** Whether the interception's row is known to be written. */
  begun = false
  /** What the interception goes on from. */
  thread: Thread = noThread

  constructor(options: {
    readonly row: Interception
    readonly recorder: Recorder["Service"]
    readonly sessions: Sessions["Service"]
    readonly observe: (ended: Ended) => void
    readonly now: () => number
    readonly asked: RequestView | null
    readonly socket: SocketCall | undefined
  }) {
    this.row = options.row
    this.recorder = options.recorder
    this.sessions = options.sessions
    this.observe = options.observe
    this.now = options.now
    this.asked = options.asked
    this.socket = options.socket
  }

  /** Whether some way out has been taken. */
  get settled(): boolean {
    return this.done
  }

  /** Nothing is to be recorded: the call was not made because it could not be. */
  forget(): void {
    this.done = true
  }

  /** Records an interception that Sluice refused before any turn: opened and closed at once. */
  reject(error: RecordError): Effect.Effect<void> {
    if (this.done) return Effect.void
    this.done = true
    const close: InterceptionClose = { id: this.row.id, endedAt: this.now(), status: "rejected", error }
    this.observe({ interception: this.row, close, turns: [], usage: [], toolCalls: 0 })
    return this.recorder.commit({ opens: [this.row], closes: [close] })
  }

  /**
   * Records a turn that another may follow. Its injected calls are recorded by `ran`, when they have been run. Neither is
   * waited for: records are written in their order, so that all of them are durable when the last is.
   */
  settleTurn(progress: TurnProgress, sight: TurnSight, ending: Ending): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.done || progress.settled ? Effect.void : this.handOver(this.turnOf(progress, sight, ending, true))
    )
  }

  private handOver(batch: RecordBatch): Effect.Effect<void> {
    return Effect.asVoid(Effect.forkDetach(this.recorder.commit(batch), { startImmediately: true }))
  }

  /** Records the injected calls of a turn that were run. */
  ran(turn: TurnProgress, calls: ReadonlyArray<RunToolCall>): Effect.Effect<void> {
    if (calls.length === 0) return Effect.void
    const { row } = this
    this.toolCalls += calls.length
    return this.handOver({
      toolCalls: calls.map(({ call, ...came }) => ({ ...toolCallOf(row.id, turn.id, call), ...came }))
    })
  }

  /**
   * Remembers for the actor what its client is not shown of the answer: at once in this process, and on record together
   * with its end. To be called before `settle`.
   */
  remember(entries: ReadonlyArray<MemoryEntry>): void {
    if (this.done || entries.length === 0) return
    this.memories = [...this.memories, ...this.sessions.remember(this.row.actor, entries)]
  }

  /**
   * Records the last turn, unless it is on record, and closes the interception; done once that is durable. What ended is
   * fixed by the first call, before anything is waited for.
   */
  settle(progress: TurnProgress, sight: TurnSight | null, ending: Ending): Effect.Effect<void> {
    if (this.done) return Effect.void
    const { row } = this
    const records = progress.settled ? {} : this.turnOf(progress, sight, ending, false)
    this.done = true
    const turn = this.turns.at(-1)
    const close: InterceptionClose = {
      id: row.id,
      endedAt: this.now(),
      status: ending.status,
      error: ending.error,
      servedModel: turn?.servedModel ?? null,
      transport: this.socket !== undefined ? "ws" : (turn?.transport ?? null)
    }
    this.observe({ interception: row, close, turns: this.turns, usage: this.usage, toolCalls: this.toolCalls })
    this.chain()
    const { memories } = this
    const kept = memories.length === 0 ? records : { ...records, memories }
    return this.threaded((parentId) =>
      // A client may leave while the row is being written; a row that is there already stays as it is.
      this.recorder.commit({ opens: this.begun ? [] : [row], ...kept, closes: [{ ...close, parentId }] })
    )
  }

  /** Notes which responses the one that the client knows stands for. */
  private chain(): void {
    const id = this.turns[0]?.upstreamResponseId ?? null
    if (id === null || this.row.dialect !== "openai-responses") return
    this.sessions.chained(this.row.actor, id, responseTurnsOf(this.turns))
  }

  /** The records of a turn. From here on it is settled. */
  private turnOf(progress: TurnProgress, sight: TurnSight | null, ending: Ending, goesOn: boolean) {
    progress.settled = true
    const { row } = this
    const endedAt = this.now()
    const summary = sight?.summary ?? null
    const closed = this.socket?.closing() ?? null
    const turn: Turn = {
      id: progress.id,
      interceptionId: row.id,
      index: progress.index,
      startedAt: progress.startedAt,
      endedAt,
      transport: progress.transport,
      upstreamResponseId: shortened(summary?.responseId),
      servedModel: shortened(summary?.model),
      httpStatus: progress.httpStatus,
      status: ending.status,
      finishReason: shortened(summary?.finishReason),
      error: ending.error,
      timeToFirstFrameMs: progress.firstFrameAt === null ? null : progress.firstFrameAt - progress.startedAt,
      durationMs: endedAt - progress.startedAt,
      attempts: progress.attempts,
      framesIn: sight?.framesIn ?? 0,
      framesOut: progress.framesOut,
      lane: this.socket?.lane ?? null,
      closeCode: closed?.code ?? null,
      closeReason: closed?.reason ?? null
    }
    const usage = usageOf(turn, sight, ending)
    this.turns.push(turn)
    this.usage.push(usage)
    const calls = summary?.toolCalls ?? []
    const toolCalls = calls
      .filter((call) => !goesOn || call.runner !== "gateway")
      .map((call) => toolCallOf(row.id, turn.id, call))
    const made = toolCalls.filter((call) => !call.injected)
    if (made.length > 0) this.sessions.made(row, made)
    return {
      turns: [turn],
      usage: [usage],
      prompts: this.promptOf(turn),
      toolCalls,
      thoughts:
        summary === null
          ? []
          : summary.thoughts.map(
              (thought): Thought => ({ interceptionId: turn.interceptionId, turnId: turn.id, ...thought })
            )
    }
  }

  /**
   * Commits with the parent. A call that is over before its parent was found, as can happen just after a restart, waits
   * for that; a client that leaves meanwhile must not keep the records from being written.
   */
  private threaded(commit: (parentId: string | null) => Effect.Effect<void>): Effect.Effect<void> {
    const { thread } = this
    const { looking } = thread
    if (looking === null) return commit(thread.parentId)
    return Effect.uninterruptible(
      Effect.andThen(
        looking,
        Effect.suspend(() => commit(thread.parentId))
      )
    )
  }

  private promptOf(turn: Turn): ReadonlyArray<Prompt> {
    const text = turn.index === 0 ? (this.asked?.prompt ?? null) : null
    return text === null ? [] : [{ interceptionId: turn.interceptionId, turnId: turn.id, text }]
  }
}

/** What a turn used, with how that is known: final, last seen before a cut, or not at all. */
const usageOf = (turn: Turn, sight: TurnSight | null, ending: Ending): Usage => {
  const seen = sight === null || sight.overflowed ? null : sight.summary.usage
  return {
    interceptionId: turn.interceptionId,
    turnId: turn.id,
    input: seen?.input ?? null,
    output: seen?.output ?? null,
    cacheRead: seen?.cacheRead ?? null,
    cacheWrite: seen?.cacheWrite ?? null,
    reasoning: seen?.reasoning ?? null,
    other: seen?.other ?? {},
    provenance: seen === null ? "unknown" : ending.complete ? "provider" : "partial",
    raw: seen?.raw ?? null,
    cost: null,
    currency: null,
    priceVersion: null
  }
}

const toolCallOf = (interceptionId: string, turnId: string, call: SeenToolCall): ToolCall => ({
  interceptionId,
  turnId,
  callId: call.callId,
  name: call.name,
  arguments: call.json ? jsonTextOf(call.arguments) : JSON.stringify(call.arguments),
  injected: call.runner === "gateway",
  serverUrl: null,
  error: call.runner === "gateway" ? notRun : null,
  durationMs: null
})

/** The most characters that are recorded of a name that somebody else has given: nobody needs a megabyte of it. */
const longestName = 1000

/** A name as it is recorded. */
export const shortened = (name: string | null | undefined): string | null =>
  name === null || name === undefined ? null : name.length > longestName ? name.slice(0, longestName) : name

/** What is said of an injected call, where nothing else is. */
const notRun: RecordError = { code: "internal", message: "it was not run: its turn did not come to a good end" }

/** A record's error. */
export const recordError = (code: ErrorCode, message: string): RecordError => ({ code, message })
