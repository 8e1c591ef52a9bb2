import { Worker } from "node:worker_threads"
import { Effect, Option } from "effect"
import type {
  InterceptionQuery,
  RecordedToolCall,
  ResponseTurnsQuery,
  SessionQuery,
  SessionsQuery,
  ToolCallQuery
} from "./Recorder.ts"
import { RecorderError } from "./RecorderError.ts"
import type { InterceptionDetail, InterceptionPage, ResponseTurns, SessionPage, UsageKey, UsageSum } from "./Records.ts"
import type { RecordStore, SessionSlice } from "./RecordStore.ts"

interface Calls {
  readonly interceptions: readonly [InterceptionQuery, InterceptionPage]
  readonly interception: readonly [string, InterceptionDetail | null]
  readonly sessions: readonly [SessionsQuery, SessionPage]
  readonly session: readonly [SessionQuery, SessionSlice]
  readonly toolCalls: readonly [ToolCallQuery, ReadonlyArray<RecordedToolCall>]
  readonly responseTurns: readonly [ResponseTurnsQuery, ResponseTurns | null]
  readonly usage: readonly [UsageKey, Array<UsageSum>]
  readonly checkpoint: readonly [null, boolean]
}

/** What the worker is asked. */
export type ReaderRequest = {
  [Call in keyof Calls]: { readonly id: number; readonly call: Call; readonly argument: Calls[Call][0] }
}[keyof Calls]

/** What the worker answers. */
export interface ReaderAnswer {
  readonly id: number
  readonly value?: unknown
  /** Set where SQLite threw. */
  readonly error?: string
}

// Beside this file: TypeScript in the sources, JavaScript in what is published.
const entry = new URL(`./SqliteReaderWorker${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`, import.meta.url)

/** How long an answer may take: more than any query over millions of rows. */
const answerTimeout = "2 minutes"
/** How long the worker may take to finish what it is doing. */
const closeTimeout = "30 seconds"

/**
 * Asks the worker that reads. It is started when it is first needed and again after it died; what was asked of the dead
 * one fails. It keeps the process alive only while somebody waits for an answer.
 */
export class SqliteReaderClient {
  private readonly filename: string
  private readonly readOnly: boolean
  private worker: Worker | undefined
  private id = 0
  private readonly waiting = new Map<number, (answer: ReaderAnswer) => void>()

  /** @param readOnly whether the worker may do nothing to the database, checkpoints included */
  constructor(filename: string, readOnly = false) {
    this.filename = filename
    this.readOnly = readOnly
  }

  /** Has the worker do one thing. */
  ask<Call extends keyof Calls>(call: Call, argument: Calls[Call][0]): Effect.Effect<Calls[Call][1], RecorderError> {
    const operation = call === "checkpoint" ? "checkpoint" : "read"
    const answered = Effect.callback<Calls[Call][1], RecorderError>((resume) => {
      const worker = this.running()
      const id = ++this.id
      this.waiting.set(id, (answer) => {
        resume(
          answer.error === undefined
            ? Effect.succeed(answer.value as Calls[Call][1])
            : Effect.fail(RecorderError.failed(operation, answer.error))
        )
      })
      worker.ref()
      worker.postMessage({ id, call, argument })
      return Effect.sync(() => this.forget(id))
    })
    return Effect.timeoutOrElse(answered, {
      duration: answerTimeout,
      orElse: () =>
        Effect.fail(
          RecorderError.failed(operation, `the worker that reads records has not answered in ${answerTimeout}`)
        )
    })
  }

  /** Lets the worker finish what it is doing and end; one that does not is ended. */
  readonly close: Effect.Effect<void> = Effect.timeoutOrElse(
    Effect.callback<void>((resume) => {
      const worker = this.worker
      if (worker === undefined) return resume(Effect.void)
      worker.ref()
      worker.once("exit", () => resume(Effect.void))
      worker.postMessage("close")
    }),
    { duration: closeTimeout, orElse: () => Effect.promise(async () => this.worker?.terminate()) }
  ).pipe(Effect.asVoid)

  private running(): Worker {
    if (this.worker !== undefined) return this.worker
    const worker = new Worker(entry, {
      workerData: { filename: this.filename, readOnly: this.readOnly },
      execArgv: ["--disable-warning=ExperimentalWarning"],
      name: "sluice-records"
    })
    worker.unref()
    worker.on("message", (answer: ReaderAnswer) => {
      const settle = this.waiting.get(answer.id)
      this.forget(answer.id)
      settle?.(answer)
    })
    let error = "the worker that reads records has ended"
    worker.on("error", (cause) => {
      error = `the worker that reads records has failed: ${cause instanceof Error ? cause.message : String(cause)}`
    })
    // Whose answer it was cannot be told: all who wait are better failed than left waiting.
    worker.on("messageerror", (cause) => {
      error = `the answer of the worker that reads records cannot be read: ${cause.message}`
      void worker.terminate()
    })
    worker.on("exit", () => {
      if (this.worker === worker) this.worker = undefined
      // One worker at a time has questions: whatever waits was asked of this one.
      for (const [id, settle] of [...this.waiting]) {
        this.waiting.delete(id)
        settle({ id, error })
      }
    })
    this.worker = worker
    return worker
  }

  private forget(id: number): void {
    this.waiting.delete(id)
    if (this.waiting.size === 0) this.worker?.unref()
  }
}

/** The queries of a store, asked of a worker. */
export const queriesOf = (
  client: SqliteReaderClient
): Pick<
  RecordStore,
  "interceptions" | "interception" | "sessions" | "session" | "toolCalls" | "responseTurns" | "usage"
> => ({
  interceptions: (query) => client.ask("interceptions", query),
  interception: (id) => Effect.map(client.ask("interception", id), Option.fromNullOr),
  sessions: (query) => client.ask("sessions", query),
  session: (query) => client.ask("session", query),
  toolCalls: (query) => client.ask("toolCalls", query),
  responseTurns: (query) => client.ask("responseTurns", query),
  usage: (by) => client.ask("usage", by)
})
