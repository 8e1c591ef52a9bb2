import { Effect } from "effect"
import type { RequestView, SeenToolCall, TransportName, TurnSummary } from "../dialect/Dialect.ts"
import { jsonTextOf } from "../recorder/Records.ts"
import type { Recorder } from "../recorder/Recorder.ts"
import type {
  ErrorCode,
  Interception,
  InterceptionClose,
  Prompt,
  RecordError,
  Thought,
  ToolCall,
  Turn,
  TurnStatus,
  Usage
} from "../recorder/Records.ts"
import { noThread, type Sessions, type Thread } from "../sessions/Sessions.ts"
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
  private done = false
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
  }) {
    this.row = options.row
    this.recorder = options.recorder
    this.sessions = options.sessions
    this.observe = options.observe
    this.now = options.now
    this.asked = options.asked
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
    this.observe({ interception: this.row, close, turns: [], usage: [] })
    return this.recorder.commit({ opens: [this.row], closes: [close] })
  }

  /**
   * Records the last turn and closes the interception; done once that is durable. What ended is fixed by the first
   * call, before anything is waited for.
   */
  settle(progress: TurnProgress, sight: TurnSight | null, ending: Ending): Effect.Effect<void> {
    if (this.done) return Effect.void
    const { row } = this
    const endedAt = this.now()
    const summary = sight?.summary ?? null
    const turn: Turn = {
      id: progress.id,
      interceptionId: row.id,
      index: progress.index,
      startedAt: progress.startedAt,
      endedAt,
      transport: progress.transport,
      upstreamResponseId: summary?.responseId ?? null,
      servedModel: summary?.model ?? null,
      httpStatus: progress.httpStatus,
      status: ending.status,
      finishReason: summary?.finishReason ?? null,
      error: ending.error,
      timeToFirstFrameMs: progress.firstFrameAt === null ? null : progress.firstFrameAt - progress.startedAt,
      durationMs: endedAt - progress.startedAt,
      attempts: progress.attempts,
      framesIn: sight?.framesIn ?? 0,
      framesOut: progress.framesOut,
      lane: null,
      closeCode: null,
      closeReason: null
    }
    const usage = usageOf(turn, sight, ending)
    const close: InterceptionClose = {
      id: row.id,
      endedAt,
      status: ending.status,
      error: ending.error,
      servedModel: turn.servedModel,
      transport: progress.transport
    }
    const toolCalls = summary === null ? [] : summary.toolCalls.map((call) => toolCallOf(turn, call))
    this.done = true
    this.observe({ interception: row, close, turns: [turn], usage: [usage] })
    if (toolCalls.length > 0) this.sessions.made(row, toolCalls)
    return this.threaded((parentId) =>
      this.recorder.commit({
        // A client may leave while the row is being written; a row that is there already stays as it is.
        opens: this.begun ? [] : [row],
        turns: [turn],
        usage: [usage],
        prompts: this.promptOf(turn),
        toolCalls,
        thoughts:
          summary === null
            ? []
            : summary.thoughts.map(
                (thought): Thought => ({ interceptionId: turn.interceptionId, turnId: turn.id, ...thought })
              ),
        closes: [{ ...close, parentId }]
      })
    )
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

const toolCallOf = (turn: Turn, call: SeenToolCall): ToolCall => ({
  interceptionId: turn.interceptionId,
  turnId: turn.id,
  callId: call.callId,
  name: call.name,
  arguments: call.json ? jsonTextOf(call.arguments) : JSON.stringify(call.arguments),
  injected: false,
  serverUrl: null,
  error: null,
  durationMs: null
})

/** A record's error. */
export const recordError = (code: ErrorCode, message: string): RecordError => ({ code, message })
