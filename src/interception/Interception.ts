import { Clock, Context, Duration, Effect, Layer, Pull, Scope } from "effect"
import { type BadRequest, type ClientUsage, type Dialect, noSession, type RequestView } from "../dialect/Dialect.ts"
import { dialectOf } from "../dialect/Dialects.ts"
import { type GatewayError, gatewayError } from "../dialect/GatewayError.ts"
import { Recorder } from "../recorder/Recorder.ts"
import type { ErrorCode, Interception as Row } from "../recorder/Records.ts"
import { Sessions } from "../sessions/Sessions.ts"
import { type InjectedTool, ToolCatalog } from "../tools/ToolCatalog.ts"
import {
  IdleTimers,
  type NoRoute,
  type OpenedTurn,
  Roster,
  type Route,
  ShuttingDown,
  Upstream,
  UpstreamError
} from "../upstream/Upstream.ts"
import { Answer, type FramePull, first } from "./Answer.ts"
import { clientError, internalError } from "./Answering.ts"
import { errorAnswer } from "./ErrorAnswer.ts"
import { type Head, type InboundRequest, type Refused, refusal, withHeaders } from "./InboundRequest.ts"
import { Observer, unfailing } from "./Observer.ts"
import { recordError, shortened, Settlement, type TurnProgress } from "./Settlement.ts"
import { memoryKey, Turns } from "./Turns.ts"
import { shownHeaders } from "./ShownHeaders.ts"
import { uuidV7 } from "./Uuid.ts"

/** What the engine takes from the configuration. */
export interface InterceptionSettings {
  readonly limits: { readonly body_bytes: number; readonly event_bytes: number; readonly drain: Duration.Duration }
  readonly recorder: { readonly on_failure: "refuse" | "continue" }
  readonly tools: {
    readonly max_turns: number
    readonly concurrency: number
    readonly max_result_bytes: number
    readonly strict: boolean
    readonly client_usage: "auto" | ClientUsage
  }
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
     * The body of a request that is about another one, such as one that counts its tokens, as that would be sent: with
     * the tools it would be given, and what was hidden of earlier answers.
     */
    readonly edited: (request: InboundRequest) => Effect.Effect<Buffer>
    /**
     * Records a call that was refused before its request could be read, and words the refusal.
     *
     * @param code what is recorded of it, where the request is not to blame
     */
    readonly reject: (
      request: Omit<InboundRequest, "body">,
      error: GatewayError,
      code?: ErrorCode
    ) => Effect.Effect<Refused>
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
  ): Layer.Layer<Interception, never, Recorder | Upstream | Sessions | IdleTimers | ToolCatalog> =>
    Layer.effect(Interception, make(settings))
}

const make = Effect.fnUntraced(function* (settings: InterceptionSettings) {
  const recorder = yield* Recorder
  const upstream = yield* Upstream
  const sessions = yield* Sessions
  const observe = unfailing(yield* Observer)
  const timers = yield* IdleTimers
  const catalog = yield* ToolCatalog
  const clock = yield* Clock.Clock
  const drain = settings.on_client_gone === "drain" ? Duration.toMillis(settings.limits.drain) : 0
  const running = new Roster<Turns>()
  let stopping = false

  const settlementOf = (request: Omit<InboundRequest, "body">, route: Route | null, asked: RequestView | null) => {
    const use = route === null ? null : upstream.credential(route.provider.name, request.credential)
    const userAgent = request.headers["user-agent"]
    const { client, codingAgent, sessionId } = sessions.caller(request.headers, asked?.session ?? noSession)
    const startedAt = clock.currentTimeMillisUnsafe()
    const started = timers.now()
    // One look at the clock on the wall, which may be set back: from there on an interception counts for itself.
    const now = () => startedAt + (timers.now() - started)
    const row: Row = {
      id: uuidV7(startedAt),
      actor: request.actor(use ?? { kind: "none", hint: null }),
      provider: route?.provider.name ?? request.provider,
      providerType: route?.provider.type ?? null,
      requestedModel: asked === null || asked.model === "" ? null : shortened(asked.model),
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
    return {
      settlement: new Settlement({ row, recorder, sessions, observe, now, asked, socket: request.socket }),
      now,
      codingAgent
    }
  }

  /** Refuses a call and records that, where nothing of it has reached an upstream. */
  const reject = Effect.fnUntraced(function* (
    dialect: Dialect,
    settlement: Settlement,
    error: GatewayError,
    code: ErrorCode = "bad_request"
  ) {
    yield* settlement.reject(recordError(code, error.message))
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
  const unanswered = (dialect: Dialect, settlement: Settlement, progress: TurnProgress, error: UpstreamError) =>
    Effect.andThen(
      settlement.settle(progress, null, {
        status: "failed",
        error: recordError(error.reason.code, error.message),
        complete: false
      }),
      Effect.fail(refusal(clientError(error), settlement.row.id, dialect))
    )

  // With a single turn nobody could make anything of a tool's result.
  const canTakeTools = (asked: RequestView): boolean => asked.tools.open && settings.tools.max_turns > 1

  /** The tools that a request is given: all of its servers', but for names that the client's own tools have. */
  const toolsFor = (asked: RequestView, route: Route): ReadonlyArray<InjectedTool> => {
    if (!canTakeTools(asked)) return noTools
    const tools = catalog.tools(route.mcp)
    if (tools.length === 0) return tools
    const { names } = asked.tools
    const taken = new Set(names)
    const free = tools.some((tool) => taken.has(tool.name)) ? tools.filter((tool) => !taken.has(tool.name)) : tools
    return free.length + names.length > mostTools ? free.slice(0, Math.max(0, mostTools - names.length)) : free
  }

  /**
   * A request as its upstream is to get it: the client's bytes, but for the spans that have to change. `model` is what
   * the client calls the model, where its upstream is asked for another.
   */
  const edit = (dialect: Dialect, request: InboundRequest, asked: RequestView, route: Route, actor: string) => {
    const tools = toolsFor(asked, route)
    const find = tools.length > 0 || asked.tools.names.length > 0 ? sessions.recall(actor) : null
    const whole =
      find === null || dialect.memory === undefined
        ? request.body
        : dialect.memory.recall(
            request.body,
            (key) => find(memoryKey(route.provider.name, key)),
            settings.limits.body_bytes
          )
    const renamed = route.model !== null && route.model !== asked.model
    const withModel = renamed ? dialect.edit.model(whole, route.model!) : whole
    const withUsage = route.provider.askUsage ? dialect.edit.askForUsage(asked, withModel) : withModel
    return {
      body: tools.length === 0 ? withUsage : dialect.edit.injectTools(withUsage, tools),
      tools,
      usageAdded: withUsage !== withModel,
      model: renamed ? asked.model : null
    }
  }

  /**
   * The request with the response that it goes on from: for an answer of several turns, of which clients know the first
   * one's id, that is the last. `previous` is what the client said, where that is another.
   */
  const goingOn = Effect.fnUntraced(function* (dialect: Dialect, previous: string, actor: string, body: Buffer) {
    const chain = yield* sessions.responseTurns(actor, previous)
    if (chain === null) return { body, previous: null }
    return { body: dialect.edit.continueFrom(body, chain.ids.at(-1)!), previous }
  })

  const open = Effect.fnUntraced(function* (request: InboundRequest) {
    const dialect = dialectOf(request.dialect)

    // read ▸ route
    const read = dialect.view(request.body)
    const unrouted = (route: NoRoute, asked: RequestView | null) =>
      reject(dialect, settlementOf(request, null, asked).settlement, gatewayError(404, route.code, route.message))
    const named = request.provider === null ? null : upstream.named(request.provider, request.dialect)
    if (named !== null && "_tag" in named) {
      return yield* yield* unrouted(named, read._tag === "RequestView" ? read : null)
    }
    // A stored prompt may name the model; but where the path names no provider, only the request's model can.
    const placeless = named === null && request.dialect !== null
    const asked = read._tag === "RequestView" && read.model === "" && placeless ? noModel : read
    if (asked._tag === "BadRequest") {
      return yield* yield* reject(dialect, settlementOf(request, named, null).settlement, badRequest(asked))
    }
    const route = named ?? upstream.forModel(asked.model, request.dialect)
    if ("_tag" in route) return yield* yield* unrouted(route, asked)

    const { codingAgent, now, settlement } = settlementOf(request, route, asked)
    const edited = edit(dialect, request, asked, route, settlement.row.actor)
    const { model, tools } = edited
    const mayGoOn = tools.length > 0 || (canTakeTools(asked) && catalog.servers().length > 0)
    const { body, previous } =
      asked.previous === null
        ? { body: edited.body, previous: null }
        : yield* goingOn(dialect, asked.previous, settlement.row.actor, edited.body)

    // From here on every way out settles.
    const scope = yield* Effect.scope
    const turns = new Turns({
      scope,
      settlement,
      open: request.socket?.open ?? upstream.open,
      overSocket: request.socket !== undefined,
      request: {
        provider: route.provider.name,
        method: request.method,
        path: request.path,
        query: request.query,
        headers: request.headers,
        credential: request.credential
      },
      dialect,
      asked,
      sent: request.body,
      provider: route.provider.name,
      timers,
      now,
      eventBytes: settings.limits.event_bytes,
      catalog,
      tools,
      mayGoOn,
      maxTurns: settings.tools.max_turns,
      concurrency: settings.tools.concurrency,
      maxResultBytes: settings.tools.max_result_bytes,
      strict: settings.tools.strict
    })
    const member = running.add(turns)
    yield* Scope.addFinalizer(
      scope,
      // What is read on for a client that left can still be ended, and is waited for.
      Effect.suspend(() => turns.leave(drain, stopping ? shutDown : null)).pipe(
        Effect.ensuring(Effect.sync(() => member.leave()))
      )
    )
    yield* begin(dialect, settlement)
    settlement.begun = true
    settlement.thread = yield* sessions.follow(settlement.row, asked.answered)

    // open turn
    const opened = yield* turns
      .open(body)
      .pipe(Effect.catch(({ error }) => unanswered(dialect, settlement, turns.progress, error)))

    if (opened.status < 200 || opened.status > 299) {
      return yield* relayError(settlement, turns.progress, opened, settings.limits.event_bytes, model).pipe(
        Effect.catch((error) => unanswered(dialect, settlement, turns.progress, error))
      )
    }

    // decode ▸ detect · observe · withhold ▸ renumber ▸ settle
    const { client_usage } = settings.tools
    const writer = dialect.answer({
      asked,
      model,
      usageAdded: edited.usageAdded,
      previous,
      injected: mayGoOn,
      usage: client_usage !== "auto" ? client_usage : codingAgent ? "context" : "sum",
      headers: request.headers
    })
    const answering = turns.answer(opened, writer)
    const head = headOf(settlement.row.id, opened, model)
    const fail: Answer["fail"] = (reason) => {
      const { message } = new UpstreamError({ provider: route.provider.name, reason })
      return turns.leave(0, { status: "failed", error: recordError(reason.code, message), complete: false })
    }
    if (opened.transport === "json") {
      return yield* wholeAnswer(settlement.row.id, head, answering.pull, fail).pipe(
        Effect.mapError((error) => {
          const refused = refusal(clientError(error), settlement.row.id, dialect)
          // Whoever asks again has the tools run again.
          return turns.progress.index === 0 ? refused : withHeaders(refused, { "x-should-retry": "false" })
        }),
        // It is on record, and in the log.
        Effect.catchDefect(() => Effect.fail(refusal(internalError, settlement.row.id, dialect)))
      )
    }
    return new Answer({
      id: settlement.row.id,
      head,
      transport: opened.transport,
      pull: answering.pull,
      keepAlive: () => turns.keepAlive(),
      fail
    })
  })

  return Interception.of({
    open,
    edited: Effect.fnUntraced(function* (request) {
      const dialect = dialectOf(request.dialect)
      const asked = dialect.view(request.body)
      if (asked._tag === "BadRequest") return request.body
      const route =
        request.provider === null
          ? upstream.forModel(asked.model, request.dialect)
          : upstream.named(request.provider, request.dialect)
      if ("_tag" in route) return request.body
      const actor = request.actor(upstream.credential(route.provider.name, request.credential))
      const unasked = { ...route, provider: { ...route.provider, askUsage: false } }
      const { body } = edit(dialect, request, asked, unasked, actor)
      return asked.previous === null ? body : (yield* goingOn(dialect, asked.previous, actor, body)).body
    }),
    reject: (request, error, code) => {
      const dialect = dialectOf(request.dialect)
      const named = request.provider === null ? null : upstream.named(request.provider, request.dialect)
      const route = named === null || "_tag" in named ? null : named
      return reject(dialect, settlementOf(request, route, null).settlement, error, code)
    },
    shutdown: Effect.sync(() => {
      stopping = true
      for (const turns of running) {
        turns.fail(new UpstreamError({ provider: turns.provider, reason: new ShuttingDown() }))
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

/** How many tools OpenAI takes in a request. */
const mostTools = 128

const noTools: ReadonlyArray<InjectedTool> = []

const unrecordable = gatewayError(503, "recorder_unavailable", "The call could not be recorded, so it was not made.", {
  retryAfter: 1
})

const noModel: BadRequest = { _tag: "BadRequest", message: "you must provide a model parameter", param: "model" }

const badRequest = (bad: BadRequest): GatewayError =>
  gatewayError(400, "invalid_request", bad.message, { param: bad.param })

/** The head a client is shown. */
const headOf = (id: string, opened: OpenedTurn, model: string | null): Head => ({
  status: opened.status,
  headers: { ...shownHeaders(opened, model), "x-sluice-interception-id": id }
})

/** A JSON answer's head waits for its body, so that one that breaks off can still be answered with an error. */
const wholeAnswer = Effect.fnUntraced(function* (id: string, head: Head, pull: FramePull, fail: Answer["fail"]) {
  const frames = yield* Pull.catchDone(pull, () => Effect.succeed([]))
  const body = frames[0]
  // A body that is too large to hold goes on in parts.
  return body?.kind === "body"
    ? new Answer({ id, head, transport: "json", length: body.length, pull: first([body]) })
    : new Answer({ id, head, transport: "json", pull: first(frames, pull), fail })
})

/** Relays an answer that is an error: its status, head and body as they came, but for credentials. */
const relayError = Effect.fnUntraced(function* (
  settlement: Settlement,
  progress: TurnProgress,
  opened: OpenedTurn,
  limit: number,
  model: string | null
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
  const { status, headers } = headOf(settlement.row.id, opened, model)
  return new Answer({
    id: settlement.row.id,
    head: { status, headers: { ...headers, ...error.headers } },
    transport: "json",
    length: error.body.length,
    pull: first([error.body])
  })
})
