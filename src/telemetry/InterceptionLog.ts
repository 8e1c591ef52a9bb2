import { Context, Effect, Layer, LogLevel, References } from "effect"
import type { Ended } from "../interception/Observer.ts"
import type { Usage } from "../recorder/Records.ts"
import { text, timestamp } from "./Logfmt.ts"

/** Takes the text of one or several whole lines. */
export type WriteLines = (lines: string) => void

/**
 * Standard error, since standard output belongs to the commands: `serve` prints there where it listens, `records --json`
 * its records. The console swallows what goes wrong there: a closed pipe must not end the gateway.
 */
const toStandardError: WriteLines = (lines) => {
  console.error(lines.slice(0, -1))
}

/**
 * One line for each interception, at its end, in logfmt.
 *
 * **Details**
 *
 * Lines are collected for a moment and written together, to standard error. What ends well, or by its client,
 * is `INFO`; what was rejected or failed is `WARN`. `References.MinimumLogLevel` applies. Effect's own loggers would cost
 * several times what all the rest of an interception's end does.
 *
 * A line never holds what people or models wrote, nor a credential: an error appears by its code, since an upstream's
 * message may quote the request. Strings that a client or an upstream chose are shortened and, but for plain words,
 * quoted, with everything escaped that a terminal or a log reader could take for something else.
 */
export class InterceptionLog extends Context.Service<
  InterceptionLog,
  {
    /** Logs an interception that has ended. */
    readonly observe: (ended: Ended) => void
    /** Writes at once what has been collected. */
    readonly flush: Effect.Effect<void>
  }
>()("sluice/telemetry/InterceptionLog") {
  /** @param write where lines go; by default to standard error */
  static readonly layer = (write: WriteLines = toStandardError): Layer.Layer<InterceptionLog> =>
    Layer.effect(
      InterceptionLog,
      Effect.gen(function* () {
        const minimum = yield* References.MinimumLogLevel
        const log = new Lines(write, {
          info: LogLevel.isGreaterThanOrEqualTo("Info", minimum),
          warning: LogLevel.isGreaterThanOrEqualTo("Warn", minimum)
        })
        const flush = Effect.sync(() => log.flush())
        yield* Effect.addFinalizer(() => flush)
        return InterceptionLog.of({ observe: (ended) => log.add(ended), flush })
      })
    )

  /** Logs nothing. */
  static readonly layerNone: Layer.Layer<InterceptionLog> = Layer.succeed(InterceptionLog, {
    observe: () => {},
    flush: Effect.void
  })
}

/** How long a line waits for others, in milliseconds: a write costs more than the line. */
const delay = 20

class Lines {
  private readonly write: WriteLines
  private readonly enabled: { readonly info: boolean; readonly warning: boolean }
  private waiting = ""
  private timer: NodeJS.Timeout | undefined

  constructor(write: WriteLines, enabled: Lines["enabled"]) {
    this.write = write
    this.enabled = enabled
  }

  add(ended: Ended): void {
    const { status } = ended.close
    const warning = status === "failed" || status === "rejected"
    if (!(warning ? this.enabled.warning : this.enabled.info)) return
    if (this.waiting === "") this.flushSoon()
    this.waiting += lineOf(ended, warning ? "WARN" : "INFO")
  }

  private flushSoon(): void {
    if (this.timer === undefined) this.timer = setTimeout(() => this.flush(), delay)
    else this.timer.refresh()
  }

  flush(): void {
    if (this.waiting === "") return
    const lines = this.waiting
    this.waiting = ""
    this.write(lines)
  }
}

/** The line of an interception, with its line feed. */
export const lineOf = (ended: Ended, level: "INFO" | "WARN"): string => {
  const { interception, close, turns, usage } = ended
  const servedModel = close.servedModel ?? interception.servedModel
  const last = turns[turns.length - 1]
  let line = `timestamp=${timestamp(close.endedAt)} level=${level} message=interception id=${interception.id}`
  line += ` provider=${text(interception.provider)} model=${text(interception.requestedModel)}`
  if (servedModel !== null) line += ` served=${text(servedModel)}`
  line += ` dialect=${interception.dialect ?? "-"} transport=${close.transport ?? interception.transport ?? "-"}`
  line += ` status=${close.status}`
  if (close.error !== null) line += ` error=${close.error.code}`
  if (last !== undefined && last.httpStatus !== null) line += ` http_status=${last.httpStatus}`
  line += ` duration_ms=${Math.round(close.endedAt - interception.startedAt)}`
  if (last === undefined) return `${line}\n`
  const waited = turns[0]!.timeToFirstFrameMs
  if (waited !== null) line += ` first_frame_ms=${Math.round(waited)}`
  if (turns.length > 1) line += ` turns=${turns.length}`
  if (ended.toolCalls > 0) line += ` tool_calls=${ended.toolCalls}`
  if (close.transport === "ws") line += socketOf(turns)
  let attempts = 0
  for (const turn of turns) attempts += turn.attempts
  return `${line} attempts=${attempts}${usageOf(usage)}\n`
}

/** What went over a WebSocket, and how that was closed. */
const socketOf = (turns: Ended["turns"]): string => {
  let framesIn = 0
  let framesOut = 0
  for (const turn of turns) {
    framesIn += turn.framesIn
    framesOut += turn.framesOut
  }
  const { closeCode, closeReason, lane } = turns[turns.length - 1]!
  let words = ""
  if (lane !== null) words += ` lane=${text(lane)}`
  words += ` frames_in=${framesIn} frames_out=${framesOut}`
  if (closeCode !== null) words += ` close=${closeCode}`
  if (closeReason !== null && closeReason !== "") words += ` close_reason=${text(closeReason)}`
  return words
}

/** What is known of the tokens, summed over the turns, with the weakest of their provenances. */
const usageOf = (usage: ReadonlyArray<Usage>): string => {
  let words = ""
  for (const [name, field] of tokenFields) {
    let sum: number | null = null
    for (const row of usage) {
      const count = row[field]
      if (count !== null) sum = (sum ?? 0) + count
    }
    if (sum !== null) words += ` ${name}=${sum}`
  }
  let provenance = usage[0]?.provenance ?? "unknown"
  for (const row of usage) if (weakness[row.provenance] > weakness[provenance]) provenance = row.provenance
  return `${words} usage=${provenance}`
}

const tokenFields = [
  ["input", "input"],
  ["output", "output"],
  ["cache_read", "cacheRead"],
  ["cache_write", "cacheWrite"],
  ["reasoning", "reasoning"]
] as const

const weakness: { readonly [Provenance in Usage["provenance"]]: number } = {
  provider: 0,
  estimated: 1,
  partial: 2,
  unknown: 3
}
