import { Cause, Deferred, Duration, Effect, Exit, Latch, Pull, Scope } from "effect"
import { type GatewayError, gatewayError } from "../dialect/GatewayError.ts"
import { isObject } from "../dialect/Json.ts"
import {
  type ClientEvent,
  errorOnLane,
  inputItems,
  readClientEvent,
  requestOf,
  warmUp
} from "../dialect/openai-responses/ClientEvents.ts"
import { nameOf } from "../dialect/openai-responses/Events.ts"
import { output } from "../dialect/openai-responses/Tools.ts"
import {
  type IdleTimers,
  localTurn,
  type OpenedTurn,
  type Peer,
  PeerTurns,
  type TurnRequest,
  type Upstream,
  type UpstreamError,
  type UpstreamPeer,
  type Watched
} from "../upstream/Upstream.ts"
import { type Frame, whole } from "../wire/Frame.ts"
import { clientError } from "./Answering.ts"
import { ConnectionMemory } from "./ConnectionMemory.ts"
import type { InboundRequest, SocketCall } from "./InboundRequest.ts"
import type { Interception } from "./Interception.ts"
import { Lanes } from "./Lanes.ts"
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

/** The real service's limits of a connection. */
const serviceLimits = { running: 16, lanes: 32 }

/** How long the answers that run when one side has gone may take to say so to the other, in milliseconds. */
const grace = 2000

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

/** An upstream's side of the connection: the turns over its WebSocket. */
type Native = Effect.Effect<PeerTurns, UpstreamError>

/**
 * One client's WebSocket: every `response.create` on it is an interception of its own, carried out over the provider's
 * WebSocket where it has one, and over HTTP where it has none.
 */
export class Connection {
  private readonly options: ConnectionOptions
  private readonly scope: Scope.Scope
  /** Holds the responses, and with them their turns. */
  private readonly responses: Scope.Closeable
  private readonly lanes: Lanes<Creation>
  private readonly memory = new ConnectionMemory()
  private readonly ending = Deferred.makeUnsafe<End>()
  /** Open while no response runs. */
  private readonly quiet = Latch.makeUnsafe(true)
  /** Opened when it has been silent for so long that the client is to be told that it still is. */
  private readonly silent = Latch.makeUnsafe(false)
  private readonly natives = new Map<string, Native>()
  private readonly attached = new Set<PeerTurns>()
  /** The model of the last response of each lane, for those that follow it without being asked for. */
  private readonly models = new Map<string | null, string>()
  /** Why no response is begun any more. */
  private refusing: GatewayError | null = null
  private lastSent: number

  constructor(options: ConnectionOptions, scope: Scope.Scope) {
    this.options = options
    this.scope = scope
    this.responses = Scope.forkUnsafe(scope)
    this.lanes = new Lanes({ ...serviceLimits, queued: options.settings.websocket.max_queued })
    this.lastSent = options.timers.now()
  }

  /** Carries the connection until both sides of it are closed. */
  readonly run: Effect.Effect<void> = Effect.suspend(() => {
    const { client, dialled, request, timers } = this.options
    const watched = [this.keepAlive(), this.age()]
    for (const one of watched) timers.watch(one)
    const unwatch = Effect.sync(() => {
      for (const one of watched) timers.unwatch(one)
    })
    return Effect.gen({ self: this }, function* () {
      if (dialled !== null) {
        const turns = yield* this.attach(request.provider!, dialled, true)
        this.natives.set(request.provider!, Effect.succeed(turns))
      }
      yield* Effect.forkIn(this.speakUp, this.scope)
      yield* Effect.forkIn(this.read, this.scope, { startImmediately: true })
      const end = yield* Deferred.await(this.ending)
      this.lanes.drop()
      // Whoever is still there is told what becomes of its responses.
      if (end.by !== "client") yield* Effect.timeoutOption(this.quiet.await, grace)
      yield* Scope.close(this.responses, Exit.void)
      const upstreams = Effect.forEach(this.attached, (turns) => turns.close(end.code, end.reason), { discard: true })
      yield* Effect.all([client.close(end.code, end.reason), upstreams], { concurrency: "unbounded", discard: true })
    }).pipe(Effect.ensuring(unwatch))
  })

  /** Takes no new responses, and ends when those that run are over: the gateway is stopping. */
  drain(): void {
    this.refusing = shuttingDown
    if (this.lanes.running === 0) this.shutDown()
  }

  /** Ends the connection now, whatever runs on it. */
  shutDown(): void {
    this.end({ by: "gateway", code: 1001, reason: "the gateway is shutting down" })
  }

  private end(end: End): void {
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
        onSuccess: ({ code, reason }) => this.end({ by: "client", code: carried(code, 1001), reason }),
        onFailure: () => this.end({ by: "gateway", code: 1011, reason: "the gateway failed" })
      })
    )
  })

  private take(data: Buffer): Effect.Effect<void> {
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
    const turns = [...this.attached].find(({ closing }) => closing === null)
    if (turns !== undefined) return Effect.ignore(turns.send(data))
    const message = `Unknown event type '${type.slice(0, 100)}': only response.create is known here.`
    return this.complain(gatewayError(400, "invalid_request", message, { param: "type" }), streamId)
  }

  private complain(error: GatewayError, streamId: string | null): Effect.Effect<void> {
    return this.send(errorOnLane(error, streamId))
  }

  // What the client is told.

  private send(data: Buffer): Effect.Effect<void> {
    this.lastSent = this.options.timers.now()
    // Who has gone is noticed where its messages are read.
    return Effect.ignore(this.options.client.send(data))
  }

  private keepAlive(): Watched {
    const { settings, timers } = this.options
    const interval = Duration.toMillis(settings.limits.keep_alive)
    return {
      due: () => (this.lanes.running === 0 ? timers.now() : this.lastSent) + interval,
      expire: () => {
        this.silent.openUnsafe()
        this.lastSent = timers.now()
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
          return this.send(keepAliveMessage)
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
    this.quiet.closeUnsafe()
    const { streamId } = creation.event
    return Effect.asVoid(Effect.forkIn(this.ended(this.respond(creation), streamId), this.responses))
  }

  /** A response, and behind it those that may start when it is over. */
  private ended(response: Effect.Effect<void>, streamId: string | null): Effect.Effect<void> {
    return response.pipe(
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError("a response over a WebSocket failed", cause)
      ),
      Effect.ensuring(
        Effect.suspend(() => {
          const next = this.lanes.over(streamId)
          if (this.lanes.running === 0) {
            this.quiet.openUnsafe()
            if (this.refusing === shuttingDown) this.shutDown()
          }
          return Effect.forEach(next, (creation) => this.begin(creation), { discard: true })
        })
      )
    )
  }

  private respond({ data, event }: Creation): Effect.Effect<void> {
    const { streamId } = event
    this.models.set(streamId, event.model)
    const provider = this.nativeProvider(event)
    if (provider !== null) {
      const turns = this.native(provider)
      const open = (turn: TurnRequest) =>
        turns.pipe(
          Effect.mapError((error) => ({ error, attempts: 1 })),
          Effect.flatMap((one) => one.open(streamId, turn.body!))
        )
      return Effect.asVoid(this.answer(data, streamId, open))
    }
    const items = event.previous === null ? null : this.memory.find(event.previous)
    if (event.previous !== null && items === null && !event.store) {
      const refused = this.options.interception.reject(this.inbound(streamId, null), notFound(event.previous))
      return Effect.flatMap(refused, (error) => this.send(refusedMessage(error, streamId)))
    }
    const input = [...(items ?? []), ...inputItems(data)]
    const body = requestOf(data, items === null ? null : input)
    const local = event.generate ? null : this.warmUp(event.model)
    const open = local === null ? null : () => Effect.sync(() => localTurn(local))
    const shown: Array<Frame> = []
    return Effect.map(this.answer(body, streamId, open, shown), (succeeded) => {
      const last = succeeded ? shown.at(-1)?.json : null
      const response = isObject(last) && isObject(last.response) ? last.response : null
      if (response !== null && typeof response.id === "string" && response.status !== "failed") {
        this.memory.remember(streamId, response.id, [...input, ...(outputItems(shown) ?? [])])
      } else if (event.previous !== null) this.memory.evict(streamId, event.previous)
    })
  }

  private warmUp(model: string): ReadonlyArray<Frame> {
    const now = Date.now()
    return warmUp(`resp_${uuidV7(now).replaceAll("-", "")}`, model, Math.floor(now / 1000))
  }

  /**
   * Carries out one response. Answers whether it was shown to its end and is none that failed.
   *
   * @param open how its turns are opened, where they do not go over HTTP
   * @param shown takes the frames that the client was shown, where they are wanted
   */
  private answer(
    body: Buffer,
    streamId: string | null,
    open: SocketCall["open"],
    shown?: Array<Frame>
  ): Effect.Effect<boolean> {
    const { interception } = this.options
    return Effect.scoped(
      Effect.gen({ self: this }, function* () {
        const answer = yield* interception.open({ ...this.inbound(streamId, open), body })
        const failed = answer.head.status < 200 || answer.head.status > 299
        while (true) {
          for (const frame of yield* answer.pull) {
            // Half a message would be none.
            if (frame.kind === "part") return yield* Effect.as(this.complain(tooLarge, streamId), false)
            shown?.push(frame)
            const message = failed ? errorAnswerMessage(answer.head, frame, streamId) : messageOf(frame, streamId)
            if (message !== null) yield* this.send(message)
          }
        }
      })
    ).pipe(
      Effect.catch((error) => {
        if (error._tag === "Refused") return Effect.as(this.send(refusedMessage(error, streamId)), false)
        return error._tag === "Done"
          ? Effect.succeed(true)
          : Effect.as(this.complain(clientError(error), streamId), false)
      })
    )
  }

  private inbound(streamId: string | null, open: SocketCall["open"]): Omit<InboundRequest, "body"> {
    const { client, request } = this.options
    const closing = () =>
      client.closing() ?? [...this.attached].find((turns) => turns.closing !== null)?.closing ?? null
    return { ...request, dialect: "openai-responses", method: "POST", socket: { lane: streamId, open, closing } }
  }

  // Upstreams.

  /** The provider of a request whose turns go over its WebSocket; `null` for any other. */
  private nativeProvider(event: Create): string | null {
    const { request, upstream } = this.options
    if (request.provider !== null) return this.natives.has(request.provider) ? request.provider : null
    const route = upstream.forModel(event.model, "openai-responses")
    return "_tag" in route || !route.provider.websocket ? null : route.provider.name
  }

  /** The turns over a provider's WebSocket, which is opened by whoever needs it first. */
  private native(provider: string): Native {
    return Effect.suspend(() => {
      const known = this.natives.get(provider)
      if (known !== undefined) return known
      const { credential, headers, path, query } = this.options.request
      const dialling = Deferred.makeUnsafe<PeerTurns, UpstreamError>()
      this.natives.set(provider, Deferred.await(dialling))
      return this.options.upstream.connect({ provider, path, query, headers, credential }).pipe(
        Scope.provide(this.scope),
        Effect.flatMap((upstream) => this.attach(provider, upstream, false)),
        Effect.onExit((exit) => {
          if (Exit.isFailure(exit)) this.natives.delete(provider)
          return Deferred.done(dialling, exit)
        })
      )
    })
  }

  /** @param sole whether the connection ends with this upstream's */
  private attach(provider: string, upstream: UpstreamPeer, sole: boolean): Effect.Effect<PeerTurns> {
    const { settings, timers } = this.options
    const turns: PeerTurns = new PeerTurns({
      upstream,
      provider,
      timers,
      limits: {
        firstFrame: Duration.toMillis(settings.limits.first_frame),
        idle: Duration.toMillis(settings.limits.idle)
      },
      unclaimed: (streamId, data) => this.unclaimed(turns, provider, streamId, data)
    })
    this.attached.add(turns)
    const gone = Effect.map(turns.run, ({ code, reason }) => {
      this.attached.delete(turns)
      this.natives.delete(provider)
      if (sole) this.end({ by: "upstream", code: carried(code, 1011), reason })
    })
    return Effect.as(Effect.forkIn(gone, this.scope, { startImmediately: true }), turns)
  }

  /**
   * An upstream says what nobody asked for: a response that follows one which was steered is an interception like any
   * other; the rest is the client's business.
   */
  private unclaimed(turns: PeerTurns, provider: string, streamId: string | null, data: Buffer): Effect.Effect<void> {
    if (nameOf(whole("message", data)) !== "response.created" || this.lanes.isBusy(streamId)) return this.send(data)
    return Effect.gen({ self: this }, function* () {
      this.lanes.occupy(streamId)
      this.quiet.closeUnsafe()
      const scope = yield* Scope.fork(this.responses)
      const first = yield* turns.adopt(streamId, data).pipe(Scope.provide(scope))
      let opened: OpenedTurn | null = first
      const open: SocketCall["open"] = (turn) => {
        const taken = opened
        opened = null
        return taken === null ? turns.open(streamId, turn.body!) : Effect.succeed(taken)
      }
      const prefix = this.options.request.provider === null ? `${provider}/` : ""
      const model = this.models.get(streamId) ?? ""
      const body = Buffer.from(JSON.stringify({ model: model.includes("/") ? model : `${prefix}${model}`, input: [] }))
      const response = Effect.asVoid(this.answer(body, streamId, open)).pipe(
        Effect.ensuring(Scope.close(scope, Exit.void))
      )
      yield* Effect.forkIn(this.ended(response, streamId), this.responses)
    })
  }
}

/** What a client was shown of an answer, as input of the next. */
const outputItems = (shown: ReadonlyArray<Frame>): ReadonlyArray<string> | null => output(shown)

/**
 * A close code as the other side is told: what may not be sent (RFC 6455, section 7.4.1) in the words that come nearest.
 *
 * @param broken what a connection means that just ended
 */
const carried = (code: number, broken: number): number => {
  if (code === 1005 || code === 1004) return 1000
  if (code === 1006 || code === 1015 || code < 1000 || code > 4999) return broken
  return code
}

const notText = gatewayError(400, "invalid_request", "Messages must be text, and not binary.")

const tooManyLanes = gatewayError(
  400,
  "websocket_stream_limit_reached",
  `A connection may have at most ${serviceLimits.lanes} named streams.`,
  { param: "stream_id" }
)

const tooManyWaiting = gatewayError(429, "rate_limit_exceeded", "Too many requests of this connection are waiting.", {
  retryAfter: 1
})

const tooLarge = gatewayError(
  502,
  "upstream_malformed",
  "An event of the upstream's is larger than limits.event_bytes."
)

const shuttingDown = gatewayError(503, "shutting_down", "the gateway is shutting down", { retryAfter: 1 })

const tooOld = gatewayError(
  400,
  "websocket_connection_limit_reached",
  "This connection has reached its age limit. Open a new one to go on."
)

const notFound = (id: string): GatewayError =>
  gatewayError(400, "previous_response_not_found", `Previous response with id '${id.slice(0, 200)}' not found.`, {
    param: "previous_response_id"
  })
