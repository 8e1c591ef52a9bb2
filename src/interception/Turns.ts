import { Cause, Deferred, Effect, Exit, Scope } from "effect"
import type { AnswerWriter, Dialect, RequestView, SeenToolCall, TransportName } from "../dialect/Dialect.ts"
import type { ToolResult } from "../dialect/InjectedTools.ts"
import type { HiddenTurn } from "../dialect/ToolMemory.ts"
import type { RecordError } from "../recorder/Records.ts"
import type { InjectedTool, ToolCatalog } from "../tools/ToolCatalog.ts"
import {
  Declined,
  type FailedTurn,
  type IdleTimers,
  Malformed,
  type OpenedTurn,
  OutOfTurns,
  type TurnRequest,
  type Upstream,
  UpstreamError
} from "../upstream/Upstream.ts"
import type { Frame } from "../wire/Frame.ts"
import { type FramePull, first } from "./Answer.ts"
import { Answering, clientError, internalError } from "./Answering.ts"
import { errorAnswer } from "./ErrorAnswer.ts"
import { InjectedNames, isInjectedName } from "./InjectedNames.ts"
import {
  beginTurn,
  type Ending,
  recordError,
  type RunToolCall,
  type Settlement,
  type TurnProgress
} from "./Settlement.ts"
import { decode } from "./stages/Decode.ts"
import { uuidV7 } from "./Uuid.ts"

/** The turns of one interception, one behind the other, and the injected tools that run between them. */
export class Turns {
  progress: TurnProgress
  private readonly options: TurnsOptions
  /** Whether there may be more than one. */
  private readonly mayGoOn: boolean
  private readonly byName: ReadonlyMap<string, InjectedTool>
  private readonly injected: ReadonlySet<string>
  /** Holds the connections of all turns: closed behind whatever still wants to read them. */
  private readonly upstreams: Scope.Closeable
  private turnScope: Scope.Closeable
  private request: Buffer = Buffer.alloc(0)
  private opened: OpenedTurn | null = null
  /** The turn that is being answered; `null` before the first and between two. */
  private answering: Answering | null = null
  /** Why everything is being ended, if it is. */
  private stopped: UpstreamError | null = null
  /** Ends what runs between two turns. */
  private interrupt: ((error: UpstreamError) => void) | null = null
  private transport: TransportName = "json"
  /** The form in which the client is told of what goes wrong. */
  private shown: TransportName = "json"
  private writer: AnswerWriter | null = null
  /** The turns that were over so far, with what the client was not shown of them. */
  private readonly hidden: Array<HiddenTurn> = []

  constructor(options: TurnsOptions) {
    const { scope, settlement } = options
    this.options = options
    this.upstreams = Scope.forkUnsafe(scope)
    this.turnScope = this.upstreams
    this.mayGoOn = options.mayGoOn
    this.byName = this.mayGoOn ? indexOf(options.tools) : noTools
    this.injected = this.mayGoOn ? namesFor(options.tools, options.asked.tools.names) : noCalls
    this.progress = beginTurn(uuidV7(settlement.row.startedAt), 0, settlement.row.startedAt)
  }

  /** Asks the upstream for the next turn, and waits for the head of its answer. */
  open(body: Buffer): Effect.Effect<OpenedTurn, FailedTurn> {
    const { progress } = this
    this.request = body
    // Most interceptions have one turn, which needs no scope of its own.
    if (this.mayGoOn) this.turnScope = Scope.forkUnsafe(this.upstreams)
    return this.options.open({ ...this.options.request, body }).pipe(
      Scope.provide(this.turnScope),
      Effect.matchEffect({
        onSuccess: (opened) => {
          progress.httpStatus = opened.status
          progress.attempts = opened.attempts
          progress.transport = opened.transport
          this.opened = opened
          return Effect.succeed(opened)
        },
        onFailure: (failed) => {
          progress.attempts = failed.attempts
          return Effect.fail(failed)
        }
      })
    )
  }

  /** Begins to answer with a turn whose head is there. */
  answer(opened: OpenedTurn, writer: AnswerWriter): Answering {
    const { asked, dialect, eventBytes, now, provider, settlement, timers } = this.options
    this.writer = writer
    this.transport = opened.transport
    this.shown = this.options.overSocket ? "ws" : opened.transport
    this.answering = new Answering({
      progress: this.progress,
      settlement,
      opened,
      scope: this.turnScope,
      provider,
      decode: () => decode(opened.transport, readable(dialect, opened) ? eventBytes : 0, dialect.terminalEvents),
      reader: dialect.turn(this.mayGoOn ? { asked, injected: this.injected } : { asked }),
      writer,
      timers,
      now,
      shown: this.shown,
      namedEnd: dialect.terminalEvents.size > 0,
      beforeEnd: this.mayGoOn ? this.remember : null,
      keep: this.mayGoOn ? eventBytes : 0,
      goOn: this.goOn
    })
    return this.answering
  }

  /** What fills the silence, of an upstream or of tools. */
  keepAlive(): Frame | null {
    if (this.answering !== null) return this.answering.keepAlive()
    return this.writer?.keepAlive(this.shown) ?? null
  }

  /** The name of the provider that is asked. */
  get provider(): string {
    return this.options.provider
  }

  /** Ends whatever is under way with an error that the client is told. */
  fail(error: UpstreamError): void {
    this.stopped = error
    this.opened?.body.fail(error)
    this.interrupt?.(error)
  }

  /**
   * Whoever read has gone before the end.
   *
   * @param drain how long the turn under way is read on for exact usage; 0 closes it at once
   * @param ending how a turn ends that is not being answered
   */
  leave(drain: number, ending: Ending | null): Effect.Effect<void> {
    const { answering } = this
    if (answering !== null && ending === null) return answering.leave(drain)
    // The upstream first: a commit may take longer than it should be kept waiting.
    return Effect.andThen(
      Scope.close(this.upstreams, Exit.void),
      Effect.suspend(() =>
        this.options.settlement.settle(this.progress, answering?.sight ?? null, ending ?? clientGone)
      )
    )
  }

  /** What follows a turn that has ended on injected calls: their results, and what the model makes of them. */
  private readonly goOn = (turn: Answering): FramePull => {
    let rest: FramePull | undefined
    return Effect.suspend(() => {
      if (rest !== undefined) return rest
      const stopped = Deferred.makeUnsafe<never, UpstreamError>()
      this.interrupt = (error) => Deferred.doneUnsafe(stopped, Exit.fail(error))
      return Effect.raceFirst(this.run(turn), Deferred.await(stopped)).pipe(
        Effect.catchCause((cause) => this.broken(cause)),
        Effect.flatMap((next) => {
          this.interrupt = null
          rest = next
          return next
        })
      )
    })
  }

  private readonly run = Effect.fnUntraced({ self: this }, function* (this: Turns, turn: Answering) {
    const { dialect, maxTurns, settlement, strict } = this.options
    const { end, ending, sight } = turn.endOnCalls()
    const { progress, request } = this
    this.answering = null
    const calls = sight.summary.toolCalls
    const mixed = calls.some((call) => call.runner === "client")
    if (mixed) progress.framesOut += end.length
    yield* settlement.settleTurn(progress, sight, ending)
    // The upstream has said all; its connection is not kept while tools run.
    yield* Effect.forkIn(turn.letGo, this.upstreams, { startImmediately: true })
    const last = progress.index + 1 >= maxTurns
    const injected = calls.filter((call) => call.runner === "gateway")
    if (last && !mixed) {
      yield* settlement.ran(
        progress,
        injected.map((call) => ({ call, serverUrl: null, error: outOfTurns, durationMs: 0 }))
      )
      return yield* this.error(new OutOfTurns({ turns: maxTurns }))
    }
    if (injected.length === 0 && !mixed) {
      return yield* this.error(new Malformed({ detail: "it announced a tool call and never made it" }))
    }
    const results = yield* this.runTools(progress, injected)
    const { kept } = turn
    const output = kept === null ? null : dialect.output(kept)
    const { responseId } = sight.summary
    if (output !== null) {
      this.hidden.push({ output, injected: new Set(injected.map((call) => call.callId)), results, responseId })
    }
    if (mixed) {
      this.answering = turn
      return turn.finishWith(end)
    }
    this.writer!.next(end)
    const body = output === null ? null : dialect.edit.continueWith(request, output, results)
    if (body === null) {
      return yield* this.error(
        new Malformed({ detail: "it is too large, or not formed, to go on from with its tool calls" })
      )
    }
    const index = progress.index + 1
    const startedAt = this.options.now()
    this.progress = beginTurn(uuidV7(startedAt), index, startedAt)
    return yield* this.next(index + 1 === maxTurns && !strict ? dialect.edit.forbidTools(body) : body)
  })

  /** Keeps what the client is not shown, before it sees the end of the answer that it would come back with. */
  private readonly remember = (turn: Answering): void => {
    const { dialect, sent, settlement } = this.options
    if (this.hidden.length === 0 || dialect.memory === undefined) return
    // A turn that ended on calls of both sides is among them.
    if (!turn.progress.settled) {
      const { kept } = turn
      const output = kept === null ? null : dialect.output(kept)
      if (output === null) return
      this.hidden.push({ output, injected: noCalls, results: [], responseId: turn.sight.summary.responseId })
    }
    const entries = dialect.memory.remember(sent, this.hidden)
    settlement.remember(entries.map((entry) => ({ ...entry, key: memoryKey(this.options.provider, entry.key) })))
  }

  /** The next turn, once the first has been shown: it can be answered in no other form. */
  private next(body: Buffer): Effect.Effect<FramePull, UpstreamError> {
    const { eventBytes, provider } = this.options
    return this.open(body).pipe(
      Effect.mapError(({ error }) => error),
      Effect.flatMap((opened) => {
        const { headers, status, transport } = opened
        if (status >= 200 && status <= 299) {
          if (transport === this.transport) return Effect.succeed(this.answer(opened, this.writer!).pull)
          return this.error(
            new Malformed({ detail: `it came as ${transport} behind a turn that came as ${this.transport}` })
          )
        }
        return Effect.flatMap(errorAnswer(opened, eventBytes, provider), (answer) => {
          const after = Number(answer.headers["retry-after"] ?? headers["retry-after"])
          const retryAfter = Number.isFinite(after) ? after : null
          return this.error(new Declined({ status, detail: answer.message ?? "", retryAfter }))
        })
      })
    )
  }

  private error(reason: UpstreamError["reason"]): Effect.Effect<never, UpstreamError> {
    return Effect.fail(new UpstreamError({ provider: this.options.provider, reason }))
  }

  /** Something went wrong between two turns, or with the beginning of one: recorded, and told in the client's dialect. */
  private broken(cause: Cause.Cause<UpstreamError>): Effect.Effect<FramePull> {
    if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
    const failure = Cause.findErrorOption(cause)
    const known = failure._tag === "Some" ? failure.value : null
    const out: Array<Frame> = []
    this.writer!.fail(known === null ? internalError : clientError(known), this.shown, out)
    const ending: Ending = {
      status: "failed",
      error:
        known === null
          ? recordError("internal", "a defect of the gateway; its log says more")
          : recordError(known.reason.code, known.message),
      complete: false
    }
    this.answering = null
    if (!this.progress.settled) this.progress.framesOut += out.length
    const log = known === null ? Effect.logError("an interception failed", cause) : Effect.void
    return log.pipe(
      Effect.andThen(Scope.close(this.upstreams, Exit.void)),
      Effect.andThen(Effect.suspend(() => this.options.settlement.settle(this.progress, null, ending))),
      Effect.as(out.length === 0 ? Effect.failCause(cause) : first(out))
    )
  }

  /** Runs the injected calls of a turn at once, and records them however that ends. */
  private runTools(turn: TurnProgress, calls: ReadonlyArray<SeenToolCall>): Effect.Effect<ReadonlyArray<ToolResult>> {
    const { catalog, concurrency, now, settlement } = this.options
    return Effect.suspend(() => {
      const begun = now()
      const ran = new Map<SeenToolCall, RunToolCall>()
      const note = (call: SeenToolCall, startedAt: number, error: RecordError | null) => {
        const serverUrl = this.byName.get(call.name)?.serverUrl ?? null
        ran.set(call, { call, serverUrl, error, durationMs: now() - startedAt })
      }
      /** How much of what the results of a turn may say together is left. */
      let room = this.options.maxResultBytes * fullResults
      const one = (call: SeenToolCall, place: number): Effect.Effect<ToolResult> => {
        const startedAt = now()
        if (place >= mostCalls) {
          note(call, startedAt, recordError("bad_request", tooManyCalls))
          return Effect.succeed(told(call, tooManyCalls))
        }
        const tool = this.byName.get(call.name)
        if (tool === undefined) {
          note(call, startedAt, recordError("upstream_unreachable", notThere))
          return Effect.succeed(told(call, notThere))
        }
        const answered = catalog.call(tool, call.arguments)
        return Effect.map(answered, ({ content, error, kind }) => {
          note(call, startedAt, error === null ? null : recordError(kind ?? "upstream_status", error))
          room -= sizeOf(content)
          if (room < 0) return told(call, tooMuch)
          return { callId: call.callId, content, isError: error !== null }
        })
      }
      return Effect.onExit(Effect.forEach(calls, one, { concurrency }), (exit) => {
        for (const call of calls) if (!ran.has(call)) note(call, begun, this.unfinished(exit))
        return settlement.ran(
          turn,
          calls.map((call) => ran.get(call)!)
        )
      })
    })
  }

  /** Why a call has not come to its end. */
  private unfinished(exit: Exit.Exit<unknown>): RecordError {
    if (Exit.hasDies(exit)) return recordError("internal", "a defect of the gateway; its log says more")
    const { stopped } = this
    if (stopped !== null) return recordError(stopped.reason.code, stopped.reason.message)
    return recordError("client_gone", "nobody waited for it any longer")
  }
}

/** How many injected calls of one turn are run; a model that makes more is told so. */
const mostCalls = 128

/** How many results of the largest size those of one turn may be together: all of them go up again with every turn. */
const fullResults = 16

const notThere = "There is no such tool, or its server is not connected just now."

const tooManyCalls = `Not run: more than ${mostCalls} calls of tools in one turn. Make fewer at once.`

const tooMuch = "Left out: the results of this turn's calls are too large together. Call the tool again by itself."

const told = ({ callId }: SeenToolCall, text: string): ToolResult => ({
  callId,
  content: [{ type: "text", text }],
  isError: true
})

const sizeOf = (content: ToolResult["content"]): number =>
  content.reduce((size, part) => size + (part.type === "text" ? part.text.length : part.data.length), 0)

const noCalls: ReadonlySet<string> = new Set()

/** The key under which something is kept: signatures and encrypted items are of use to the provider that made them only. */
export const memoryKey = (provider: string, key: string): string => `${provider} ${key}`

type ToolsByName = ReadonlyMap<string, InjectedTool>

const noTools: ToolsByName = new Map()

/** The catalogue answers the same tools until something changes. */
const indexes = new WeakMap<ReadonlyArray<InjectedTool>, ToolsByName>()

const indexOf = (tools: ReadonlyArray<InjectedTool>): ToolsByName => {
  let index = indexes.get(tools)
  if (index === undefined) {
    index = new Map(tools.map((tool) => [tool.name, tool]))
    indexes.set(tools, index)
  }
  return index
}

/** Names for clients that declare no tool named like one of Sluice's, as hardly any does. */
const usualNames = new WeakMap<ReadonlyArray<InjectedTool>, InjectedNames>()

const namesFor = (tools: ReadonlyArray<InjectedTool>, declared: ReadonlyArray<string>): ReadonlySet<string> => {
  const names = () => tools.map((tool) => tool.name)
  if (declared.some((name) => isInjectedName(name))) return new InjectedNames(names(), declared)
  let usual = usualNames.get(tools)
  if (usual === undefined) {
    usual = new InjectedNames(names(), [])
    usualNames.set(tools, usual)
  }
  return usual
}

/** What the turns of one interception share. */
export interface TurnsOptions {
  readonly scope: Scope.Scope
  readonly settlement: Settlement
  /** Opens a turn, over whatever it goes. */
  readonly open: Upstream["Service"]["open"]
  /** Whether the client is at the other end of a WebSocket. */
  readonly overSocket: boolean
  /** The request but for its body. */
  readonly request: Omit<TurnRequest, "body">
  readonly dialect: Dialect
  readonly asked: RequestView
  /** The request's body as its client sent it. */
  readonly sent: Buffer
  readonly provider: string
  readonly timers: IdleTimers["Service"]
  readonly now: () => number
  /** `limits.event_bytes`. */
  readonly eventBytes: number
  readonly catalog: ToolCatalog["Service"]
  /** The tools that were added to the request. */
  readonly tools: ReadonlyArray<InjectedTool>
  /** Whether the model may call tools of Sluice, those among them whose servers are not there. */
  readonly mayGoOn: boolean
  readonly maxTurns: number
  readonly concurrency: number
  /** `tools.max_result_bytes`. */
  readonly maxResultBytes: number
  readonly strict: boolean
}

/** How an interception ends whose client has left. */
export const clientGone: Ending = {
  status: "cancelled",
  error: recordError("client_gone", "the client left"),
  complete: false
}

/** What is said of the injected calls of the last turn there may be. */
const outOfTurns = recordError("internal", "it was not run: its turn was the last that tools.max_turns allows")

/** Whether a body is worth holding to be read: what is passed through may be sound or pictures. */
const readable = (dialect: Dialect, opened: OpenedTurn): boolean =>
  dialect.name !== null || opened.transport !== "json" || /json/i.test(String(opened.headers["content-type"] ?? ""))
