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
  responseModelOf,
  warmUp
} from "../dialect/openai-responses/ClientEvents.ts"
import { output } from "../dialect/openai-responses/Tools.ts"
import {
  type HeaderMap,
  localTurn,
  Malformed,
  type OpenedTurn,
  type PeerTurns,
  type Watched
} from "../upstream/Upstream.ts"
import type { Frame } from "../wire/Frame.ts"
import { clientError, internalError } from "./Answering.ts"
import { carriedCode } from "./CloseCode.ts"
import {
  nobodyFor,
  notText,
  requestTooLarge,
  responseNotFound,
  serviceLimits,
  shuttingDown,
  tooLarge,
  tooManyLanes,
  tooManyWaiting,
  tooOld,
  unknownEvent
} from "./ConnectionErrors.ts"
import type { ConnectionOptions } from "./ConnectionOptions.ts"
import { ConnectionMemory } from "./ConnectionMemory.ts"
import { ConnectionUpstreams } from "./ConnectionUpstreams.ts"
import { postHeaders } from "./HandshakeHeaders.ts"
import type { InboundRequest, SocketCall } from "./InboundRequest.ts"
import { Lanes } from "./Lanes.ts"
import { NativeCall, overHttp, type ResponseCall } from "./ResponseCall.ts"
import { errorAnswerMessage, keepAliveMessage, messageOf, refusedMessage } from "./SocketMessages.ts"
import { uuidV7 } from "./Uuid.ts"

export type { ConnectionRequest } from "./ConnectionOptions.ts"

/** How long the answers that run when one side has gone may take to say so to the other, in milliseconds. */
const grace = 2000

/** How long a lane is kept for the response that follows one which was steered, in milliseconds. */
const successorWait = 2000

/** How long a connection past its age is kept where nothing runs on it, in milliseconds. */
const afterAge = 60_000

type Create = Extract<ClientEvent, { readonly _tag: "Create" }>

type Other = Extract<ClientEvent, { readonly _tag: "Other" }>

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
  private readonly memory: ConnectionMemory
  private readonly ending = Deferred.makeUnsafe<End>()
  /** Open while no response runs. */
  private readonly quiet = Latch.makeUnsafe(true)
  /** Opened when it has been silent for so long that the client is to be told that it still is. */
  private readonly silent = Latch.makeUnsafe(false)
  private readonly upstreams: ConnectionUpstreams
  /** Responses that an upstream has begun by itself before the last of the lane was over: it is not given away then. */
  private readonly following = new Map<string | null, Array<Effect.Effect<void>>>()
  /** Lanes whose last response was steered, until the one comes that follows it. */
  private readonly steered = new Map<string | null, Deferred.Deferred<void>>()
  /** What carried the last response of each lane: the provider whose WebSocket it was, or `null`. */
  private readonly carriers = new Map<string | null, string | null>()
  /** The model of the last response of each lane and provider, for those that follow it without being asked for. */
  private readonly models = new Map<string, string>()
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
    const { limits, websocket } = options.settings
    this.lanes = new Lanes({ ...serviceLimits, queued: websocket.max_queued, bytes: limits.body_bytes })
    this.memory = new ConnectionMemory(2 * limits.body_bytes)
    this.upstreams = new ConnectionUpstreams(options, scope, {
      unclaimed: (turns, streamId, data) => this.unclaimed(turns, streamId, data),
      // What the upstream did wrong is nothing that the client did, nor the other way round.
      lost: ({ code, reason, violated }) =>
        this.end({ by: "upstream", code: violated === true ? 1011 : carriedCode(code, 1011), reason })
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
        onSuccess: ({ code, reason, violated }) =>
          this.end({ by: "client", code: violated === true ? 1001 : carriedCode(code, 1001), reason }),
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
        return this.passOn(event, data)
      case "Create": {
        if (this.refusing !== null) return this.complain(this.refusing, event.streamId)
        const { body_bytes } = this.options.settings.limits
        if (data.length > body_bytes) return this.complain(requestTooLarge(body_bytes), event.streamId)
        const creation = { event, data }
        switch (this.lanes.offer(event.streamId, creation, data.length)) {
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
  private passOn({ response, streamId, type }: Other, data: Buffer): Effect.Effect<void> {
    const turns = this.upstreams.about(response, this.carriers.get(streamId) ?? null)
    if (turns === undefined) {
      return this.complain(this.upstreams.isOpen ? nobodyFor(type) : unknownEvent(type), streamId)
    }
    // An upstream that takes nothing must not hide that the client leaves.
    return Effect.raceFirst(Effect.ignore(turns.send(streamId, data)), Effect.asVoid(this.options.client.closed))
  }

  private complain(error: GatewayError, streamId: string | null): Effect.Effect<void> {
    return this.send(errorOnLane(error, streamId))
  }

  // What the client is told.

  /** Answers whether it could be sent. */
  private tell(data: Buffer): Effect.Effect<boolean> {
    this.silentSince = this.options.timers.now()
    return Effect.isSuccess(this.options.client.send(data))
  }

  private send(data: Buffer): Effect.Effect<void> {
    // Who has gone is noticed where its messages are read.
    return Effect.asVoid(this.tell(data))
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
    const followers = this.following.get(streamId)
    const follower = followers?.shift()
    if (followers?.length === 0) this.following.delete(streamId)
    if (follower !== undefined) return Effect.asVoid(Effect.forkIn(this.carried(follower, streamId), this.responses))
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
    const provider = this.nativeProvider(event)
    this.carriers.set(event.streamId, provider)
    if (provider !== null && event.model !== "") this.models.set(onLaneOf(provider, event.streamId), event.model)
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
    const { body_bytes } = this.options.settings.limits
    if (body.length > body_bytes) {
      const refused = this.options.interception.reject(this.inbound(streamId, null), requestTooLarge(body_bytes))
      return Effect.flatMap(refused, (error) => this.send(refusedMessage(error, streamId)))
    }
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
              if (frame.kind === "part") {
                yield* answer.fail(new Malformed({ detail: "an event of it is larger than limits.event_bytes" }))
                return yield* this.complain(tooLarge, streamId)
              }
              if (shown !== undefined && isOutput(frame)) shown.push(frame)
              if (!failed && frame.kind !== "comment") last = frame
              const message = failed ? errorAnswerMessage(answer.head, frame, streamId) : messageOf(frame, streamId)
              // One that has gone before it took the end has not seen it.
              if (message !== null && !(yield* this.tell(message))) return
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
   * An upstream says what nobody asked for: a response, such as follows one that was steered, is an interception like any
   * other; the rest is the client's business. Its lane may be busy for long, even elsewhere: nothing is waited for here.
   */
  private unclaimed(turns: PeerTurns, streamId: string | null, data: Buffer): Effect.Effect<void> {
    if (nameOfMessage(data) !== "response.created") return this.send(data)
    // An upstream that goes on like that is not listened to.
    if (turns.full) return Effect.void
    return Effect.gen({ self: this }, function* () {
      const scope = Scope.forkUnsafe(this.responses)
      const { opened, start } = yield* turns.adopt(streamId, data).pipe(Scope.provide(scope))
      const lane = streamId === null ? {} : { stream_id: streamId }
      const model = this.modelOf(turns.provider, streamId, data)
      const body = Buffer.from(JSON.stringify({ type: "response.create", model, input: [], ...lane }))
      const response = Effect.suspend(() => {
        start()
        return this.relay(body, streamId, new NativeCall(streamId, Effect.succeed(turns), opened))
      }).pipe(Effect.ensuring(Scope.close(scope, Exit.void)))
      if (!this.lanes.isBusy(streamId)) {
        this.lanes.occupy(streamId)
        return yield* Effect.forkIn(this.carried(response, streamId), this.responses)
      }
      this.following.set(streamId, [...(this.following.get(streamId) ?? []), response])
      const awaited = this.steered.get(streamId)
      if (awaited !== undefined) Deferred.doneUnsafe(awaited, Effect.void)
    })
  }

  /** The model of a response that nobody asked for, by the name that its client knows, where it knows any. */
  private modelOf(provider: string, streamId: string | null, created: Buffer): string {
    const known = this.models.get(onLaneOf(provider, streamId))
    if (known !== undefined) return known
    const said = responseModelOf(created) ?? "unknown"
    return this.options.request.provider === null ? `${provider}/${said}` : said
  }
}

/** A provider's part of a lane. */
const onLaneOf = (provider: string, streamId: string | null): string => `${provider} ${streamId ?? ""}`

const clientGone: End = { by: "client", code: 1001, reason: "" }
