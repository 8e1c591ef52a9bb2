import { Cause, Effect, Exit, Pull, Scope } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { AnswerWriter, TransportName, TurnReader } from "../dialect/Dialect.ts"
import { type GatewayError, gatewayError } from "../dialect/GatewayError.ts"
import { Frame } from "../wire/Frame.ts"
import {
  Cut,
  type IdleTimers,
  Malformed,
  maskBytes,
  maskText,
  type OpenedTurn,
  UpstreamError
} from "../upstream/Upstream.ts"
import { type FramePull, first } from "./Answer.ts"
import { type Ending, recordError, type Settlement, type TurnProgress, type TurnSight } from "./Settlement.ts"
import type { Decode } from "./stages/Decode.ts"
import { Keep } from "./stages/Keep.ts"
import { Read } from "./stages/Read.ts"
import { compose, type Stage, through } from "./stages/Stage.ts"
import { write } from "./stages/Write.ts"

/** How many milliseconds an upstream may still send behind the end of its answer, or usage behind the finish its client saw. */
const afterEnd = 1000

/** What stands in the place of an error where a turn has ended on injected calls, and others go on from it. */
const onCalls = Symbol("onCalls")

/** One turn on its way to the client: the pipeline of DESIGN §2, and how it ends. */
export class Answering {
  readonly progress: TurnProgress
  private readonly settlement: Settlement
  private readonly opened: OpenedTurn
  private readonly scope: Scope.Closeable
  private readonly provider: string
  private readonly decode: Decode
  /** What came, where another turn may go on from this one. */
  private readonly keep: Keep | null
  private readonly reader: TurnReader
  private readonly read: Read
  private readonly writer: AnswerWriter
  private readonly timers: IdleTimers["Service"]
  private readonly now: () => number
  private readonly namedEnd: boolean
  private readonly stages: Stage<Buffer, Frame>
  private readonly shownAs: TransportName
  private readonly beforeEnd: ((answering: Answering) => void) | null
  /** What follows where the turn ends on injected calls. */
  private readonly goOn: (answering: Answering) => FramePull
  /** What the client sees: the upstream's bytes through the stages, its end behind the records. */
  readonly pull: FramePull
  /** The upstream's connection has been given its last second. */
  private endsSoon = false
  /** The outcome stood in something that was sent. */
  private outcomeSent = false
  /** The end of a frame whose beginning went on unread waits for its commit. */
  private endHeld = false
  /** The end has been sent. */
  private over = false
  /** And whoever reads has come back for more: it was taken. */
  private outcomeTaken = false

  constructor(options: {
    readonly progress: TurnProgress
    readonly settlement: Settlement
    readonly opened: OpenedTurn
    /** Holds the upstream's connection. */
    readonly scope: Scope.Closeable
    readonly provider: string
    readonly decode: () => Decode
    readonly reader: TurnReader
    readonly writer: AnswerWriter
    readonly timers: IdleTimers["Service"]
    /** The epoch milliseconds that the interception's records are stamped with. */
    readonly now: () => number
    /** Whether the event that ends a stream has a name of its own, by which it is known unread. */
    readonly namedEnd: boolean
    /** The form in which the client is told of what goes wrong; the upstream's transport where it is the client's, too. */
    readonly shown: TransportName
    /** How many bytes of the turn's answer are kept for a turn that goes on from it; 0 where none can. */
    readonly keep: number
    /** Told of a turn that ends the answer well, before that is recorded. */
    readonly beforeEnd: ((answering: Answering) => void) | null
    readonly goOn: (answering: Answering) => FramePull
  }) {
    this.progress = options.progress
    this.settlement = options.settlement
    this.opened = options.opened
    this.scope = options.scope
    this.provider = options.provider
    this.decode = options.decode()
    this.keep = options.keep === 0 ? null : new Keep(this.decode, options.decode, options.keep)
    this.reader = options.reader
    this.writer = options.writer
    this.timers = options.timers
    this.now = options.now
    this.namedEnd = options.namedEnd && options.opened.transport === "sse"
    this.goOn = options.goOn
    this.beforeEnd = options.beforeEnd
    this.shownAs = options.shown
    this.read = new Read(options.reader)
    this.stages = compose(compose(this.keep ?? this.decode, this.read), write(this.writer, options.progress.index))
    this.pull = this.settling(through(this.stages, (ended) => this.verdict(ended))(options.opened.body.pull))
  }

  get transport(): TransportName {
    return this.opened.transport
  }

  keepAlive(): Frame | null {
    return this.decode.midFrame || this.endHeld || this.over ? null : this.writer.keepAlive(this.shownAs)
  }

  /** Whether what came so far can go on, and at the end whether it was all. */
  private verdict(ended: boolean): UpstreamError | typeof onCalls | null {
    const { progress, reader } = this
    if (progress.firstFrameAt === null && this.read.frames > 0) progress.firstFrameAt = this.now()
    if (reader.malformed !== null) return this.error(new Malformed({ detail: this.unreadable(reader.malformed) }))
    if (!ended) {
      if (reader.ended) return reader.holding ? onCalls : null
      // Behind an error, or an end that no client is shown, there is little to come.
      if (reader.outcome === "failed" || (reader.holding && reader.outcome !== null)) this.endSoon()
      return null
    }
    if (this.decode.midFrame) return this.error(new Cut({ detail: "it ended inside a frame" }))
    if (reader.outcome !== null) return reader.holding ? onCalls : null
    // What was not read may have been the end: nobody can say that it was not, unless ends are known by their name.
    if (this.decode.overflowed && !this.namedEnd) return null
    return this.error(new Cut({ detail: "it ended without its last frame" }))
  }

  /** What a web page in the place of an answer most often means. */
  private unreadable(detail: string): string {
    const type = String(this.opened.headers["content-type"] ?? "")
    if (this.transport !== "json" || type === "" || /json/i.test(type)) return detail
    return `${detail}, but ${type.slice(0, 80)}; is the provider's base_url right?`
  }

  private error(reason: UpstreamError["reason"]): UpstreamError {
    return new UpstreamError({ provider: this.provider, reason })
  }

  /** The last operator: commits the records, then lets the frame through that ends the answer (law 3). */
  private settling(pull: Pull.Pull<NonEmptyReadonlyArray<Frame>, UpstreamError | typeof onCalls>): FramePull {
    let after: FramePull | undefined

    const behindEnd: FramePull = Effect.matchCauseEffect(pull, {
      onSuccess: (frames) => Effect.succeed(this.clear(frames)),
      // The answer is complete and recorded; how its connection ends is no news.
      onFailure: () => Cause.done()
    })

    const emit = (frames: ReadonlyArray<Frame>): FramePull => {
      this.progress.framesOut += frames.length
      if (this.reader.outcome !== null && !this.reader.holding) this.outcomeSent = true
      return Effect.succeed(this.shown(frames))
    }

    const onSuccess = (frames: NonEmptyReadonlyArray<Frame>): FramePull => {
      const last = frames.findIndex((frame) => frame.terminal)
      if (last === -1) return emit(frames)
      // What has gone through of a frame too large to hold is not whole before its end, which waits here.
      this.endHeld = frames[last]!.kind === "part"
      const end: FramePull = Effect.suspend(() => {
        after = behindEnd
        this.endSoon()
        this.progress.framesOut++
        return Effect.map(this.settle(this.ending()), () => {
          this.over = true
          return this.shown(frames.slice(last))
        })
      })
      if (last === 0) return end
      after = end
      return emit(frames.slice(0, last))
    }

    const onFailure = (cause: Cause.Cause<UpstreamError | typeof onCalls | Cause.Done>): FramePull => {
      const failure = Cause.findErrorOption(cause)
      if (failure._tag === "Some" && failure.value === onCalls) {
        after = this.goOn(this)
        return after
      }
      if (Pull.isDoneCause(cause)) return Effect.andThen(this.settle(this.ending()), Cause.done())
      if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
      // The client has been told what went wrong, and the records say it.
      if (this.reader.outcome === "failed") return Effect.andThen(this.settle(this.ending()), Cause.done())
      return this.broken(cause as Cause.Cause<UpstreamError>, (next) => {
        after = next
      })
    }

    return Effect.suspend(() => {
      this.outcomeTaken = this.outcomeSent
      return after ?? Effect.matchCauseEffect(pull, { onSuccess, onFailure })
    })
  }

  /** Frames as a client may see them: an error that the upstream reports in its stream may echo a credential (law 8). */
  private shown(frames: ReadonlyArray<Frame>): NonEmptyReadonlyArray<Frame> {
    return this.reader.outcome === "failed" ? this.clear(frames) : (frames as NonEmptyReadonlyArray<Frame>)
  }

  private clear(frames: ReadonlyArray<Frame>): NonEmptyReadonlyArray<Frame> {
    return frames.map((frame) => masked(frame, this.opened.secrets)) as unknown as NonEmptyReadonlyArray<Frame>
  }

  /** An upstream that keeps its connection open behind the end of its answer does not keep the client's open. */
  private endSoon(): void {
    const { body } = this.opened
    if (body.closed || this.endsSoon) return
    this.endsSoon = true
    const due = this.timers.now() + afterEnd
    this.timers.watch({
      due: () => due,
      expire: () => {
        body.end()
        return "done"
      }
    })
  }

  /**
   * The turn has ended on injected calls: it is closed. Answers what it came to, and the frames of its end, which belong
   * into the end of the whole answer.
   */
  endOnCalls(): { readonly sight: TurnSight; readonly ending: Ending; readonly end: ReadonlyArray<Frame> } {
    const end: Array<Frame> = []
    const { sight } = this
    const ending = this.ending()
    this.reader.release(end)
    return { sight, ending, end }
  }

  /** Lets a turn go that was read to its end: its connection can be used again where the body ends soon, too. */
  get letGo(): Effect.Effect<void> {
    if (this.opened.body.closed) return this.close
    return Effect.forever(this.opened.body.pull).pipe(
      Effect.exit,
      Effect.timeoutOption(afterEnd),
      Effect.andThen(this.close)
    )
  }

  /** The frames as they came; `null` where they were too many to be kept. */
  get kept(): ReadonlyArray<Frame> | null {
    return this.keep?.frames(this.read.frames) ?? null
  }

  /** The end of the answer with a turn whose client calls stay, once its injected ones have been run. */
  finishWith(end: ReadonlyArray<Frame>): FramePull {
    const out: Array<Frame> = []
    for (const frame of end) this.writer.push(frame, this.progress.index, out)
    this.writer.finish(out)
    return this.settling(first(out))
  }

  /** The turn broke: it is recorded so, its connection closed, and its client told in its own dialect (law 9). */
  private broken(cause: Cause.Cause<UpstreamError>, andThen: (next: FramePull) => void): FramePull {
    const failure = Cause.findErrorOption(cause)
    const error = failure._tag === "Some" ? this.told(failure.value) : internalError
    const out: Array<Frame> = []
    // Behind the beginning of a frame an error event would be a part of that frame.
    if (!this.decode.midFrame) {
      const late: Array<Frame> = []
      this.reader.end(true, late)
      for (const frame of late) this.writer.push(frame, this.progress.index, out)
      this.writer.fail(error, this.shownAs, out)
    }
    this.progress.framesOut += out.length
    const ending: Ending = {
      status: "failed",
      error:
        failure._tag === "Some"
          ? recordError(failure.value.reason.code, this.clean(failure.value.message))
          : recordError("internal", "a defect of the gateway; its log says more"),
      complete: false
    }
    const log = failure._tag === "Some" ? Effect.void : Effect.logError("an interception failed", cause)
    const settled = Effect.andThen(Effect.andThen(log, this.close), this.settle(ending))
    if (out.length === 0) return Effect.andThen(settled, Effect.failCause(cause))
    andThen(Cause.done())
    return Effect.as(settled, out as unknown as NonEmptyReadonlyArray<Frame>)
  }

  /** How the turn ended, if the upstream came to its end. */
  private ending(): Ending {
    const { outcome } = this.reader
    if (outcome === null && !this.decode.overflowed) {
      return { status: "failed", error: recordError("upstream_cut", "the upstream did not finish"), complete: false }
    }
    if (outcome !== "failed") return { status: outcome ?? "completed", error: null, complete: true }
    const { ended, error } = this.reader.summary()
    const message = this.clean(error ?? "the upstream reported an error")
    // A protocol's own last frame may say that the answer failed, and what it used all the same.
    return { status: "failed", error: recordError("upstream_status", message), complete: ended }
  }

  /** What a client is told of an error: it may hold what the upstream has said of its end. */
  private told(error: UpstreamError): GatewayError {
    const told = clientError(error)
    return { ...told, message: this.clean(told.message) }
  }

  private clean(message: string): string {
    return maskText(message, this.opened.secrets)
  }

  private settle(ending: Ending): Effect.Effect<void> {
    if (this.settlement.settled) return Effect.void
    // What an upstream sent must not keep its turn from being settled, whatever it was.
    const settled = Effect.catchDefect(
      Effect.suspend(() => this.settlement.settle(this.progress, this.sight, ending)),
      (defect) =>
        Effect.andThen(
          Effect.logError("what a turn came to could not be read", defect),
          this.settlement.settle(this.progress, null, { ...ending, complete: false })
        )
    )
    const { beforeEnd } = this
    if (beforeEnd === null || (ending.status !== "completed" && ending.status !== "incomplete")) return settled
    return Effect.andThen(
      Effect.catchDefect(
        Effect.sync(() => beforeEnd(this)),
        (defect) => Effect.logError("what was hidden of an answer could not be remembered", defect)
      ),
      settled
    )
  }

  /** What the stages saw so far. */
  get sight(): TurnSight {
    const summary = this.reader.summary()
    const { finishReason } = summary
    return {
      framesIn: this.read.frames,
      overflowed: this.decode.overflowed,
      summary: finishReason === null ? summary : { ...summary, finishReason: this.clean(finishReason) }
    }
  }

  private get close(): Effect.Effect<void> {
    return Scope.close(this.scope, Exit.void)
  }

  /**
   * Whoever read has gone before the end. One that saw the answer finish has finished, and its usage is waited for a
   * little; any other has cancelled.
   *
   * @param drain how long the upstream is read on for exact usage all the same; 0 closes it at once
   */
  leave(drain: number): Effect.Effect<void> {
    if (this.settlement.settled) return this.close
    if (this.outcomeTaken) {
      // A turn that ended on calls of both sides has been read to its end.
      const read = this.progress.settled ? Effect.void : this.readOn(afterEnd)
      return read.pipe(Effect.andThen(this.close), Effect.andThen(Effect.suspend(() => this.settle(this.ending()))))
    }
    const cancelled = (complete: boolean) =>
      this.settle({ status: "cancelled", error: recordError("client_gone", "the client left"), complete })
    if (drain === 0 || this.progress.settled)
      return Effect.andThen(
        this.close,
        Effect.suspend(() => cancelled(false))
      )
    return this.readOn(drain).pipe(
      Effect.tap(() => this.close),
      Effect.flatMap((ended) => cancelled(ended && this.reader.outcome !== null))
    )
  }

  /** Reads the upstream on without showing it to anybody. Answers whether it came to its end in time. */
  private readOn(time: number): Effect.Effect<boolean> {
    const unseen: Array<Frame> = []
    const { body } = this.opened
    const loop = Effect.gen({ self: this }, function* () {
      while (true) {
        this.stages.push(yield* body.pull, unseen)
        unseen.length = 0
        if (this.reader.ended || this.reader.malformed !== null) return this.reader.malformed === null
      }
    })
    return loop.pipe(
      Effect.catchCause((cause) =>
        Effect.sync(() => {
          const ended = Pull.isDoneCause(cause)
          if (ended) this.stages.end(unseen)
          return ended
        })
      ),
      // Finalizers are not interruptible, and a wait that cannot be interrupted cannot time out.
      Effect.interruptible,
      Effect.timeoutOrElse({ duration: time, orElse: () => Effect.succeed(false) })
    )
  }
}

/** The frame without credentials: the same one where there are none in it. */
const masked = (frame: Frame, secrets: ReadonlyArray<string>): Frame => {
  const { bytes, kind, event, lines, terminal } = frame
  const clean = maskBytes(bytes, secrets)
  // Nobody reads it any more: where its data stands in it makes no difference.
  return clean === bytes ? frame : new Frame(clean, 0, clean.length, kind, event, 0, clean.length, lines, terminal)
}

/** What a client is told of an upstream that failed. */
export const clientError = (error: UpstreamError): GatewayError => {
  switch (error.reason._tag) {
    case "TimedOut":
      return gatewayError(504, "upstream_timeout", error.message)
    case "ShuttingDown":
      return gatewayError(503, "shutting_down", error.reason.message, { retryAfter: 1 })
    case "Unreachable":
      return gatewayError(502, "upstream_unreachable", error.message)
    case "Cut":
      return gatewayError(502, "upstream_cut", error.message)
    case "Malformed":
      return gatewayError(502, "upstream_malformed", error.message)
    case "Declined": {
      const { retryAfter, status } = error.reason
      return gatewayError(status, "upstream_error", error.message, retryAfter === null ? {} : { retryAfter })
    }
    case "OutOfTurns":
      return gatewayError(500, "max_turns_reached", error.reason.message)
  }
}

export const internalError = gatewayError(500, "internal_error", "The gateway failed; its log says more.")
