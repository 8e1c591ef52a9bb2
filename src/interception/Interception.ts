import { Clock, Context, Duration, Effect, Exit, Layer, Pull, Scope } from "effect"
import { type BadRequest, type Dialect, noSession, type RequestView } from "../dialect/Dialect.ts"
import { dialectOf } from "../dialect/Dialects.ts"
import { type GatewayError, gatewayError } from "../dialect/GatewayError.ts"
import { Recorder } from "../recorder/Recorder.ts"
import type { Interception as Row } from "../recorder/Records.ts"
import { Sessions } from "../sessions/Sessions.ts"
import {
  type ChunkQueue,
  type FailedTurn,
  IdleTimers,
  type OpenedTurn,
  type Route,
  ShuttingDown,
  Upstream,
  UpstreamError
} from "../upstream/Upstream.ts"
import { Answer, first } from "./Answer.ts"
import { Answering, clientError } from "./Answering.ts"
import { errorAnswer } from "./ErrorAnswer.ts"
import { type Head, type InboundRequest, type Refused, refusal } from "./InboundRequest.ts"
import { Observer, unfailing } from "./Observer.ts"
import { recordError, Settlement, type TurnProgress } from "./Settlement.ts"
import { decode } from "./stages/Decode.ts"
import { uuidV7 } from "./Uuid.ts"

/** What the engine takes from the configuration. */
export interface InterceptionSettings {
  readonly limits: { readonly event_bytes: number; readonly drain: Duration.Duration }
  readonly recorder: { readonly on_failure: "refuse" | "continue" }
  readonly on_client_gone: "cancel" | "drain"
}

/** Carries out client calls: one program for all dialects and transports. */
export class Interception extends Context.Service<
  Interception,
  {
    /**
     * Carries out one call, up to the head of its answer. Closing the scope before the last frame was taken means that
     * the client has left.
     *
     * Fails with `Refused`, worded in the caller's dialect, where there is no answer of the upstream's to show.
     */
    readonly open: (request: InboundRequest) => Effect.Effect<Answer, Refused, Scope.Scope>
    /**
     * Records a call that was refused before its request could be read, and words the refusal.
     */
    readonly reject: (request: Omit<InboundRequest, "body">, error: GatewayError) => Effect.Effect<Refused>
    /** Ends every running turn with an error event. What is still opening is ended by interrupting it. */
    readonly shutdown: Effect.Effect<void>
    /** How many interceptions are running. */
    readonly running: () => number
  }
>()("sluice/interception/Interception") {
  /**
   * Carries out one call in process, without HTTP.
   *
   * @example
   * ```ts
   * const text = Effect.scoped(Effect.gen(function* () {
   *   const answer = yield* Interception.open(request)
   *   const frames = yield* Stream.runCollect(answer.frames)
   *   return frames.map((frame) => frame.data).join("")
   * }))
   * ```
   */
  static readonly open = (request: InboundRequest) => Interception.use((interception) => interception.open(request))

  static readonly layer = (
    settings: InterceptionSettings
  ): Layer.Layer<Interception, never, Recorder | Upstream | Sessions | IdleTimers> =>
    Layer.effect(Interception, make(settings))
}

const make = Effect.fnUntraced(function* (settings: InterceptionSettings) {
  const recorder = yield* Recorder
  const upstream = yield* Upstream
  const sessions = yield* Sessions
  const observe = unfailing(yield* Observer)
  const timers = yield* IdleTimers
  const clock = yield* Clock.Clock
  const drain = settings.on_client_gone === "drain" ? Duration.toMillis(settings.limits.drain) : 0
  const running = new Map<Settlement, ChunkQueue<UpstreamError> | null>()
  let stopping = false

  const settlementOf = (request: Omit<InboundRequest, "body">, route: Route | null, asked: RequestView | null) => {
    const use = route === null ? null : upstream.credential(route.provider.name, request.credential)
    const userAgent = request.headers["user-agent"]
    const { client, sessionId } = sessions.caller(request.headers, asked?.session ?? noSession)
    const startedAt = clock.currentTimeMillisUnsafe()
    const started = timers.now()
    // One look at the clock on the wall, which may be set back: from there on an interception counts for itself.
    const now = () => startedAt + (timers.now() - started)
    const row: Row = {
      id: uuidV7(startedAt),
      actor: request.actor(use ?? { kind: "none", hint: null }),
      provider: route?.provider.name ?? request.provider,
      providerType: route?.provider.type ?? null,
      requestedModel: asked === null || asked.model === "" ? null : asked.model,
      servedModel: null,
      dialect: request.dialect,
      transport: null,
      client,
      sessionId,
      parentId: null,
      userAgent: typeof userAgent === "string" ? userAgent : null,
      credentialKind: use?.kind ?? "none",
      credentialHint: use?.hint ?? null,
      startedAt,
      endedAt: null,
      status: null,
      error: null
    }
    return { settlement: new Settlement({ row, recorder, sessions, observe, now, asked }), now }
  }

  /** Refuses a call and records that, where nothing of it has reached an upstream. */
  const reject = Effect.fnUntraced(function* (dialect: Dialect, settlement: Settlement, error: GatewayError) {
    yield* settlement.reject(recordError("bad_request", error.message))
    return refusal(error, settlement.row.id, dialect)
  })

  /** The interception's row, written before the upstream is called: no unrecorded inference. */
  const begin = (dialect: Dialect, settlement: Settlement) =>
    recorder.open(settlement.row).pipe(
      Effect.catch((error) => {
        settlement.forget()
        return Effect.andThen(
          Effect.logError("a call was refused because it could not be recorded", error),
          Effect.fail(refusal(unrecordable, settlement.row.id, dialect))
        )
      })
    )

  /** No answer came: the turn and the interception end with what went wrong. */
  const unanswered = (
    dialect: Dialect,
    settlement: Settlement,
    progress: TurnProgress,
    { error, attempts }: FailedTurn
  ) => {
    progress.attempts = attempts
    return Effect.andThen(
      settlement.settle(progress, null, {
        status: "failed",
        error: recordError(error.reason.code, error.message),
        complete: false
      }),
      Effect.fail(refusal(clientError(error), settlement.row.id, dialect))
    )
  }

  const open = Effect.fnUntraced(function* (request: InboundRequest) {
    const dialect = dialectOf(request.dialect)

    // read ▸ route
    const read = dialect.view(request.body)
    // A stored prompt may name the model; but where the path names no provider, only the request's model can.
    const placeless = request.provider === null && request.dialect !== null
    const asked = read._tag === "RequestView" && read.model === "" && placeless ? noModel : read
    if (asked._tag === "BadRequest") {
      const named = request.provider === null ? null : upstream.named(request.provider, request.dialect)
      const route = named === null || "_tag" in named ? null : named
      return yield* yield* reject(dialect, settlementOf(request, route, null).settlement, badRequest(asked))
    }
    const route =
      request.provider === null
        ? upstream.forModel(asked.model, request.dialect)
        : upstream.named(request.provider, request.dialect)
    if ("_tag" in route) {
      const { settlement } = settlementOf(request, null, asked)
      return yield* yield* reject(dialect, settlement, gatewayError(404, route.code, route.message))
    }

    // The client's bytes, but for the spans that have to change.
    const renamed = route.model !== null && route.model !== asked.model
    const withModel = renamed ? dialect.edit.model(request.body, route.model!) : request.body
    const body = route.provider.askUsage ? dialect.edit.askForUsage(asked, withModel) : withModel
    const usageAdded = body !== withModel

    // From here on every way out settles.
    const { settlement, now } = settlementOf(request, route, asked)
    const progress: TurnProgress = {
      id: uuidV7(settlement.row.startedAt),
      index: 0,
      startedAt: settlement.row.startedAt,
      transport: null,
      httpStatus: null,
      attempts: 1,
      firstFrameAt: null,
      framesOut: 0
    }
    let answering: Answering | undefined
    const scope = yield* Effect.scope
    const turnScope = Scope.forkUnsafe(scope)
    running.set(settlement, null)
    yield* Scope.addFinalizer(
      scope,
      Effect.suspend(() => {
        if (answering !== undefined && !stopping) return answering.leave(drain)
        const ending = stopping ? shutDown : clientGone
        // The upstream first: a commit may take longer than it should be kept waiting.
        return Effect.andThen(
          Scope.close(turnScope, Exit.void),
          Effect.suspend(() => settlement.settle(progress, answering?.sight ?? null, ending))
        )
        // Not before that: what is read on for a client that left can still be ended, and is waited for.
      }).pipe(Effect.ensuring(Effect.sync(() => running.delete(settlement))))
    )
    yield* begin(dialect, settlement)
    settlement.begun = true
    settlement.thread = yield* sessions.follow(settlement.row, asked.answered)

    // open turn
    const opened = yield* upstream
      .open({
        provider: route.provider.name,
        method: request.method,
        path: request.path,
        query: request.query,
        headers: request.headers,
        credential: request.credential,
        body
      })
      .pipe(
        Scope.provide(turnScope),
        Effect.catch((failed) => unanswered(dialect, settlement, progress, failed))
      )
    progress.httpStatus = opened.status
    progress.attempts = opened.attempts
    progress.transport = opened.transport
    running.set(settlement, opened.body)

    if (opened.status < 200 || opened.status > 299) {
      return yield* relayError(settlement, progress, opened, settings.limits.event_bytes).pipe(
        Effect.catch((error) => unanswered(dialect, settlement, progress, { error, attempts: opened.attempts }))
      )
    }

    // decode ▸ detect · observe · withhold ▸ renumber ▸ settle
    answering = new Answering({
      progress,
      settlement,
      opened,
      scope: turnScope,
      provider: route.provider.name,
      decode: decode(
        opened.transport,
        readable(dialect, opened) ? settings.limits.event_bytes : 0,
        dialect.terminalEvents
      ),
      reader: dialect.turn({ asked }),
      writer: dialect.answer({ asked, model: renamed ? asked.model : null, usageAdded, headers: request.headers }),
      timers,
      now,
      namedEnd: dialect.terminalEvents.size > 0
    })
    const head = headOf(settlement, opened, renamed ? asked.model : null)
    if (opened.transport === "json") {
      return yield* wholeAnswer(settlement.row.id, head, answering).pipe(
        Effect.catch((error) => Effect.fail(refusal(clientError(error), settlement.row.id, dialect)))
      )
    }
    return streamedAnswer(settlement.row.id, head, answering)
  })

  return Interception.of({
    open,
    reject: (request, error) => {
      const dialect = dialectOf(request.dialect)
      const named = request.provider === null ? null : upstream.named(request.provider, request.dialect)
      const route = named === null || "_tag" in named ? null : named
      return reject(dialect, settlementOf(request, route, null).settlement, error)
    },
    shutdown: Effect.sync(() => {
      stopping = true
      for (const [settlement, body] of running) {
        body?.fail(new UpstreamError({ provider: settlement.row.provider ?? "", reason: new ShuttingDown() }))
      }
    }),
    running: () => running.size
  })
})

const shutDown = {
  status: "failed",
  error: recordError("shutdown", "the gateway is shutting down"),
  complete: false
} as const

const clientGone = {
  status: "cancelled",
  error: recordError("client_gone", "the client left"),
  complete: false
} as const

const unrecordable = gatewayError(503, "recorder_unavailable", "The call could not be recorded, so it was not made.", {
  retryAfter: 1
})

const noModel: BadRequest = { _tag: "BadRequest", message: "you must provide a model parameter", param: "model" }

const badRequest = (bad: BadRequest): GatewayError =>
  gatewayError(400, "invalid_request", bad.message, { param: bad.param })

/**
 * The head a client is shown.
 *
 * @param model what the client called the model, where its upstream was asked for another
 */
const headOf = (settlement: Settlement, opened: OpenedTurn, model: string | null): Head => {
  const headers: { [name: string]: string | ReadonlyArray<string> } = {
    ...opened.headers,
    "x-sluice-interception-id": settlement.row.id
  }
  // Codex warns of a rerouted model where this is not what it asked for.
  if (model !== null && headers["openai-model"] !== undefined) headers["openai-model"] = model
  return { status: opened.status, headers }
}

/** Whether a body is worth holding to be read: what is passed through may be sound or pictures. */
const readable = (dialect: Dialect, opened: OpenedTurn): boolean =>
  dialect.name !== null || opened.transport !== "json" || /json/i.test(String(opened.headers["content-type"] ?? ""))

const streamedAnswer = (id: string, head: Head, answering: Answering): Answer =>
  new Answer({
    id,
    head,
    transport: answering.transport,
    pull: answering.pull,
    keepAlive: () => answering.keepAlive()
  })

/** A JSON answer's head waits for its body, so that one that breaks off can still be answered with an error. */
const wholeAnswer = Effect.fnUntraced(function* (id: string, head: Head, answering: Answering) {
  const frames = yield* Pull.catchDone(answering.pull, () => Effect.succeed([]))
  const body = frames[0]
  // A body that is too large to hold goes on in parts.
  return body?.kind === "body"
    ? new Answer({ id, head, transport: "json", length: body.length, pull: first([body]) })
    : new Answer({ id, head, transport: "json", pull: first(frames, answering.pull) })
})

/** Relays an answer that is an error: its status, head and body as they came, but for credentials. */
const relayError = Effect.fnUntraced(function* (
  settlement: Settlement,
  progress: TurnProgress,
  opened: OpenedTurn,
  limit: number
) {
  const error = yield* errorAnswer(opened, limit, settlement.row.provider ?? "")
  progress.firstFrameAt = null
  progress.framesOut = 1
  const said = error.message === null ? "" : `: ${error.message}`
  yield* settlement.settle(progress, null, {
    status: "failed",
    error: recordError("upstream_status", `the upstream answered ${opened.status}${said}`),
    complete: false
  })
  const { status, headers } = headOf(settlement, opened, null)
  return new Answer({
    id: settlement.row.id,
    head: { status, headers: { ...headers, ...error.headers } },
    transport: "json",
    length: error.body.length,
    pull: first([error.body])
  })
})
