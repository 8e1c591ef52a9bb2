import { Cause, Deferred, Duration, Effect, Exit, Latch, Pull, Scope } from "effect"
import type { GatewayError } from "../dialect/GatewayError.ts"
import { isObject } from "../dialect/Json.ts"
import {
  type ClientEvent,
  errorOnLane,
  inputItems,
  isOutput,
  isSteered,
  nameOfMessage,
  readClientEvent,
  requestOf,
  warmUp
} from "../dialect/openai-responses/ClientEvents.ts"
import { output } from "../dialect/openai-responses/Tools.ts"
import {
  type HeaderMap,
  type IdleTimers,
  localTurn,
  type OpenedTurn,
  type Peer,
  type PeerTurns,
  type Upstream,
  type UpstreamPeer,
  type Watched
} from "../upstream/Upstream.ts"
import type { Frame } from "../wire/Frame.ts"
import { clientError, internalError } from "./Answering.ts"
import { carriedCode } from "./CloseCode.ts"
import {
  notText,
  responseNotFound,
  serviceLimits,
  shuttingDown,
  tooLarge,
  tooManyLanes,
  tooManyWaiting,
  tooOld,
  unknownEvent
} from "./ConnectionErrors.ts"
import { ConnectionMemory } from "./ConnectionMemory.ts"
import { ConnectionUpstreams } from "./ConnectionUpstreams.ts"
import { postHeaders } from "./HandshakeHeaders.ts"
import type { InboundRequest, SocketCall } from "./InboundRequest.ts"
import type { Interception } from "./Interception.ts"
import { Lanes } from "./Lanes.ts"
import { NativeCall, overHttp, type ResponseCall } from "./ResponseCall.ts"
import { errorAnswerMessage, keepAliveMessage, messageOf, refusedMessage } from "./SocketMessages.ts"
import { uuidV7 } from "./Uuid.ts"

/** What every call of a connection shares. */
export type ConnectionRequest = Omit<InboundRequest, "body" | "dialect" | "method" | "socket">

/** What a connection takes from the configuration. */
export interface ConnectionSettings {
  readonly websocket: { readonly max_age: Duration.Duration; readonly max_queued: number }
  readonly limits: {
    readonly keep_alive: Duration.Duration
    readonly first_frame: Duration.Duration
    readonly idle: Duration.Duration
  }
}

/** What a connection is made with. */
export interface ConnectionOptions {
  readonly client: Peer
  readonly request: ConnectionRequest
  /** The WebSocket to the provider that the path names, where that has any: it was opened before the client's. */
  readonly dialled: UpstreamPeer | null
  readonly settings: ConnectionSettings
  readonly interception: Interception["Service"]
  readonly upstream: Upstream["Service"]
  readonly timers: IdleTimers["Service"]
}

/** How long the answers that run when one side has gone may take to say so to the other, in milliseconds. */
const grace = 2000

/** How long a lane is kept for the response that follows one which was steered, in milliseconds. */
const successorWait = 2000

/** How long a connection past its age is kept where nothing runs on it, in milliseconds. */
const afterAge = 60_000

type Create = Extract<ClientEvent, { readonly _tag: "Create" }>

/** A `response.create` with the bytes that it came as. */
interface Creation {
  readonly event: Create
  readonly data: Buffer
}

/** Why a connection ends, and how the other side is told. */
interface End {
  readonly by: "client" | "upstream" | "gateway"
  readonly code: number
  readonly reason: string
}

/**
 * One client's WebSocket: every `response.create` on it is an interception of its own, carried out over the provider's
 * WebSocket where it has one, and over HTTP where it has none.
 */
export class Connection {
  private readonly options: ConnectionOptions
  private readonly scope: Scope.Scope
  /** Holds the responses, and with them their turns. */
  private readonly responses: Scope.Closeable
  /** The headers of its requests. */
  private readonly headers: HeaderMap
  private readonly lanes: Lanes<Creation>
  private readonly memory = new ConnectionMemory()
  private readonly ending = Deferred.makeUnsafe<End>()
  /** Open while no response runs. */
  private readonly quiet = Latch.makeUnsafe(true)
  /** Opened when it has been silent for so long that the client is to be told that it still is. */
  private readonly silent = Latch.makeUnsafe(false)
  private readonly upstreams: ConnectionUpstreams
  /** Lanes on which an upstream has begun a response by itself before the last was over: they are not given away then. */
  private readonly following = new Map<string | null, Deferred.Deferred<void>>()
  /** Lanes whose last response was steered, until the one comes that follows it. */
  private readonly steered = new Map<string | null, Deferred.Deferred<void>>()
  /** The model of the last response of each lane, for those that follow it without being asked for. */
  private readonly models = new Map<string | null, string>()
  /** Why no response is begun any more. */
  private refusing: GatewayError | null = null
  /** Whether it is ending: nothing is begun any more. */
  private ended = false
  /** Since when the client has been told nothing, or has waited for something. */
  private silentSince: number

  constructor(options: ConnectionOptions, scope: Scope.Scope) {
    this.options = options
    this.scope = scope
    // Each may take a while to end: they do so at once.
    this.responses = Scope.forkUnsafe(scope, "parallel")
    this.lanes = new Lanes({ ...serviceLimits, queued: options.settings.websocket.max_queued })
    this.upstreams = new ConnectionUpstreams(options, scope, {
      unclaimed: (turns, streamId, data) => this.unclaimed(turns, streamId, data),
      lost: ({ code, reason }) => this.end({ by: "upstream", code: carriedCode(code, 1011), reason })
    })
    this.headers = postHeaders(options.request.headers)
    this.silentSince = options.timers.now()
  }

  /** Carries the connection until both sides of it are closed. Interrupted, it takes its client for gone. */
  readonly run: Effect.Effect<void> = Effect.suspend(() => {
    const { dialled, request, timers } = this.options
    const watched = [this.keepAlive(), this.age()]
    for (const one of watched) timers.watch(one)
    return Effect.gen({ self: this }, function* () {
      if (dialled !== null) yield* this.upstreams.dialled(request.provider!, dialled)
      yield* Effect.forkIn(this.speakUp, this.scope)
      yield* Effect.forkIn(this.read, this.scope, { startImmediately: true })
      return yield* Deferred.await(this.ending)
    }).pipe(
      Effect.onExit((exit) => {
        for (const one of watched) timers.unwatch(one)
        return this.finish(Exit.isSuccess(exit) ? exit.value : clientGone)
      }),
      Effect.asVoid
    )
  })

  private readonly finish = Effect.fnUntraced({ self: this }, function* (this: Connection, end: End) {
    this.ended = true
    this.lanes.drop()
    // Whoever is still there is told what becomes of its responses.
    if (end.by !== "client") yield* Effect.timeoutOption(Effect.interruptible(this.quiet.await), grace)
    yield* Scope.close(this.responses, Exit.void)
    const closing = [this.options.client.close(end.code, end.reason), this.upstreams.close(end.code, end.reason)]
    yield* Effect.all(closing, { concurrency: "unbounded", discard: true })
  })

  /** Takes no new responses, and ends when those that run or wait are over: the gateway is stopping. */
  drain(): void {
    this.refusing = shuttingDown
    if (this.lanes.running === 0) this.shutDown()
  }

  /** Ends the connection now, whatever runs on it. */
  shutDown(): void {
    this.end({ by: "gateway", code: 1001, reason: "the gateway is shutting down" })
  }

  private end(end: End): void {
    this.ended = true
    Deferred.doneUnsafe(this.ending, Exit.succeed(end))
  }

  // What the client says.

  private readonly read = Effect.suspend(() => {
    const { client } = this.options
    const loop = Effect.gen({ self: this }, function* () {
      while (true) {
        for (const message of yield* client.pull) {
          yield* message.binary ? this.complain(notText, null) : this.take(message.data)
        }
      }
    })
    return Pull.catchDone(loop, () => client.closed).pipe(
      Effect.matchCause({
        onSuccess: ({ code, reason }) => this.end({ by: "client", code: carriedCode(code, 1001), reason }),
        onFailure: () => this.end({ by: "gateway", code: 1011, reason: "the gateway failed" })
      })
    )
  })

  private take(data: Buffer): Effect.Effect<void> {
    // A connection that is ending begins nothing more.
    if (this.ended) return Effect.void
    const event = readClientEvent(data)
    switch (event._tag) {
      case "Bad":
        return this.complain(event.error, event.streamId)
      case "Other":
        return this.passOn(event.type, event.streamId, data)
      case "Create": {
        if (this.refusing !== null) return this.complain(this.refusing, event.streamId)
        const creation = { event, data }
        switch (this.lanes.offer(event.streamId, creation)) {
          case "start":
            return this.begin(creation)
          case "wait":
            return Effect.void
          case "too-many-lanes":
            return this.complain(tooManyLanes, event.streamId)
          case "too-many-waiting":
            return this.complain(tooManyWaiting, event.streamId)
        }
      }
    }
  }

  /** A message that is no request: of use to an upstream that knows it, and to nobody else. */
  private passOn(type: string, streamId: string | null, data: Buffer): Effect.Effect<void> {
    const turns = this.upstreams.open
    if (turns === undefined) return this.complain(unknownEvent(type), streamId)
    // An upstream that takes nothing must not hide that the client leaves.
    return Effect.raceFirst(Effect.ignore(turns.send(streamId, data)), Effect.asVoid(this.options.client.closed))
  }

  private complain(error: GatewayError, streamId: string | null): Effect.Effect<void> {
    return this.send(errorOnLane(error, streamId))
  }

  // What the client is told.

  private send(data: Buffer): Effect.Effect<void> {
    this.silentSince = this.options.timers.now()
    // Who has gone is noticed where its messages are read.
    return Effect.ignore(this.options.client.send(data))
  }

  private keepAlive(): Watched {
    const { settings, timers } = this.options
    const interval = Duration.toMillis(settings.limits.keep_alive)
    return {
      due: () => (this.lanes.running === 0 ? timers.now() : this.silentSince) + interval,
      expire: () => {
        this.silent.openUnsafe()
        this.silentSince = timers.now()
        return "again"
      }
    }
  }

  private readonly speakUp = Effect.forever(
    Effect.suspend(() =>
      Effect.andThen(
        this.silent.await,
        Effect.suspend(() => {
          this.silent.closeUnsafe()
          return this.lanes.running === 0 || this.ended ? Effect.void : this.send(keepAliveMessage)
        })
      )
    )
  )

  /** A connection lives so long; what runs on it then may finish. */
  private age(): Watched {
    const { settings, timers } = this.options
    let due = timers.now() + Duration.toMillis(settings.websocket.max_age)
    return {
      due: () => due,
      expire: () => {
        if (this.refusing === null) this.refusing = tooOld
        else if (this.lanes.running === 0) this.end({ by: "gateway", code: 1000, reason: tooOld.code })
        due = timers.now() + afterAge
        return "again"
      }
    }
  }

  // Responses.

  private begin(creation: Creation): Effect.Effect<void> {
    const { streamId } = creation.event
    return Effect.asVoid(Effect.forkIn(this.carried(this.respond(creation), streamId), this.responses))
  }

  /** A response, its lane taken, and behind it those that may start when it is over. */
  private carried(response: Effect.Effect<void>, streamId: string | null): Effect.Effect<void> {
    this.quiet.closeUnsafe()
    // Silence before it was nobody's.
    if (this.lanes.running === 1) this.silentSince = this.options.timers.now()
    return response.pipe(
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.void
          : Effect.andThen(
              Effect.logError("a response over a WebSocket failed", cause),
              this.complain(internalError, streamId)
            )
      ),
      Effect.ensuring(Effect.suspend(() => this.over(streamId)))
    )
  }

  private over(streamId: string | null): Effect.Effect<void> {
    const follower = this.following.get(streamId)
    if (follower !== undefined) {
      this.following.delete(streamId)
      return Effect.asVoid(Deferred.succeed(follower, undefined))
    }
    this.steered.delete(streamId)
    const next = this.lanes.over(streamId)
    if (this.lanes.running === 0) {
      this.quiet.openUnsafe()
      if (this.refusing === shuttingDown) this.shutDown()
    }
    return Effect.forEach(next, (creation) => this.begin(creation), { discard: true })
  }

  private respond(creation: Creation): Effect.Effect<void> {
    const { data, event } = creation
    if (event.model !== "") this.models.set(event.streamId, event.model)
    const provider = this.nativeProvider(event)
    return provider === null
      ? this.bridge(creation)
      : this.relay(data, event.streamId, new NativeCall(event.streamId, this.upstreams.turns(provider)))
  }

  /** Carries a response out over an upstream's WebSocket, and keeps its lane for one that follows by itself. */
  private relay(body: Buffer, streamId: string | null, call: NativeCall): Effect.Effect<void> {
    return Effect.flatMap(this.answer(body, streamId, call), (last) => {
      if (last === null || !isSteered(last) || this.following.has(streamId)) return Effect.void
      const successor = Deferred.makeUnsafe<void>()
      this.steered.set(streamId, successor)
      return Effect.asVoid(Effect.timeoutOption(Deferred.await(successor), successorWait))
    })
  }

  /** Carries a response out over HTTP. */
  private bridge({ data, event }: Creation): Effect.Effect<void> {
    const { streamId } = event
    const items = event.previous === null ? null : this.memory.find(event.previous)
    if (event.previous !== null && items === null && !event.store) {
      const refused = this.options.interception.reject(this.inbound(streamId, null), responseNotFound(event.previous))
      return Effect.flatMap(refused, (error) => this.send(refusedMessage(error, streamId)))
    }
    const input = [...(items ?? []), ...inputItems(data)]
    const body = requestOf(data, items === null ? null : input)
    const call: ResponseCall = event.generate ? overHttp : { open: () => Effect.succeed(this.warmUp(event.model)) }
    const shown: Array<Frame> = []
    return Effect.map(this.answer(body, streamId, call, shown), (last) => {
      const said = last?.kind === "body" ? { response: last.json } : last?.json
      const response = isObject(said) && isObject(said.response) ? said.response : null
      if (response !== null && typeof response.id === "string" && response.status !== "failed") {
        this.memory.remember(streamId, response.id, [...input, ...(output(shown) ?? [])])
      } else if (event.previous !== null) this.memory.evict(streamId, event.previous)
    })
  }

  private warmUp(model: string): OpenedTurn {
    const now = Date.now()
    return localTurn(warmUp(`resp_${uuidV7(now).replaceAll("-", "")}`, model, Math.floor(now / 1000)))
  }

  /**
   * Carries out one response. Answers the last frame that its client was shown, or `null` where it was told of an error
   * of the gateway's, or of a status, instead.
   *
   * @param shown takes the frames that the client was shown which say what came of it, where they are wanted
   */
  private answer(
    body: Buffer,
    streamId: string | null,
    call: ResponseCall,
    shown?: Array<Frame>
  ): Effect.Effect<Frame | null> {
    const { interception } = this.options
    return Effect.suspend(() => {
      let last: Frame | null = null
      return Effect.scoped(
        Effect.gen({ self: this }, function* () {
          const answer = yield* interception.open({ ...this.inbound(streamId, call), body })
          const failed = answer.head.status < 200 || answer.head.status > 299
          while (true) {
            for (const frame of yield* answer.pull) {
              // Half a message would be none.
              if (frame.kind === "part") return yield* this.complain(tooLarge, streamId)
              if (shown !== undefined && isOutput(frame)) shown.push(frame)
              if (!failed && frame.kind !== "comment") last = frame
              const message = failed ? errorAnswerMessage(answer.head, frame, streamId) : messageOf(frame, streamId)
              if (message !== null) yield* this.send(message)
            }
          }
        })
      ).pipe(
        Effect.as(null),
        Effect.catch((error) => {
          if (error._tag === "Done") return Effect.succeed(last)
          const message =
            error._tag === "Refused" ? refusedMessage(error, streamId) : errorOnLane(clientError(error), streamId)
          return Effect.as(this.send(message), null)
        })
      )
    })
  }

  private inbound(streamId: string | null, call: ResponseCall | null): Omit<InboundRequest, "body"> {
    const { client, request } = this.options
    const closing = () => client.closing() ?? call?.closing?.() ?? null
    const socket: SocketCall = { lane: streamId, open: call?.open ?? null, closing }
    return { ...request, headers: this.headers, dialect: "openai-responses", method: "POST", socket }
  }

  // Upstreams.

  /** The provider of a request whose turns go over its WebSocket; `null` for any other. */
  private nativeProvider(event: Create): string | null {
    const { request, upstream } = this.options
    if (request.provider !== null) return this.upstreams.has(request.provider) ? request.provider : null
    const route = upstream.forModel(event.model, "openai-responses")
    return "_tag" in route || !route.provider.websocket ? null : route.provider.name
  }

  /**
   * An upstream says what nobody asked for: a response that follows one which was steered is an interception like any
   * other; the rest is the client's business.
   */
  private unclaimed(turns: PeerTurns, streamId: string | null, data: Buffer): Effect.Effect<void> {
    const model = this.models.get(streamId)
    if (model === undefined || nameOfMessage(data) !== "response.created") return this.send(data)
    return Effect.gen({ self: this }, function* () {
      if (this.lanes.isBusy(streamId)) {
        const free = Deferred.makeUnsafe<void>()
        this.following.set(streamId, free)
        const awaited = this.steered.get(streamId)
        if (awaited !== undefined) Deferred.doneUnsafe(awaited, Effect.void)
        yield* Deferred.await(free)
      } else this.lanes.occupy(streamId)
      const scope = Scope.forkUnsafe(this.responses)
      const first = yield* turns.adopt(streamId, data).pipe(Scope.provide(scope))
      const lane = streamId === null ? {} : { stream_id: streamId }
      const body = Buffer.from(JSON.stringify({ type: "response.create", model, input: [], ...lane }))
      const call = new NativeCall(streamId, Effect.succeed(turns), first)
      const response = this.relay(body, streamId, call).pipe(Effect.ensuring(Scope.close(scope, Exit.void)))
      yield* Effect.forkIn(this.carried(response, streamId), this.responses)
    })
  }
}

const clientGone: End = { by: "client", code: 1001, reason: "" }
