import type { IncomingMessage, ServerResponse } from "node:http"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { Cause, Duration, Effect, Exit, Scope } from "effect"
import { HttpRouter, HttpServerError, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Actors } from "../access/Actors.ts"
import { Settings } from "../config/Settings.ts"
import type { BadRequest, DialectName } from "../dialect/Dialect.ts"
import { dialectOf } from "../dialect/Dialects.ts"
import { type GatewayError, gatewayError } from "../dialect/GatewayError.ts"
import { readBody } from "../dialect/RequestBody.ts"
import type { InboundRequest } from "../interception/InboundRequest.ts"
import { Interception } from "../interception/Interception.ts"
import { uuidV7 } from "../interception/Uuid.ts"
import { type ResponseTurns, Sessions } from "../sessions/Sessions.ts"
import { ToolCatalog } from "../tools/ToolCatalog.ts"
import { type Credential, credentialOf } from "../upstream/Credential.ts"
import { IdleTimers, type TurnRequest, Upstream } from "../upstream/Upstream.ts"
import { type Admit, adminRule, admission } from "./Admission.ts"
import { readBody as receive } from "./ClientRequest.ts"
import { breakOff, send, whenOver } from "./ClientResponse.ts"
import { Lifecycle, type OpenCall } from "./Lifecycle.ts"
import { anthropicModels, isAnthropicCaller, modelAt, modelsFor, openAiModels } from "./Models.ts"
import { dialectOfPath, interceptedPaths, type Target, targetOf } from "./Paths.ts"
import { openRelay } from "./Relay.ts"
import { serveSocket, turnToHttp } from "./Sockets.ts"
import { openStoredResponse, storedResponseOf } from "./StoredResponses.ts"
import {
  addressOf,
  internalError,
  methodNotAllowed,
  noWebSocket,
  sendError,
  sendRefusal,
  shuttingDown,
  wantsWebSocket
} from "./Requests.ts"

const statuses = new Map<number, HttpServerResponse.HttpServerResponse>()

/**
 * What Effect's server is handed once the answer was written on Node's own response: it leaves that alone then, and a
 * host's tracer sees the status.
 */
const answered = ({ statusCode }: ServerResponse): HttpServerResponse.HttpServerResponse => {
  let known = statuses.get(statusCode)
  if (known === undefined) {
    known = HttpServerResponse.empty({ status: statusCode })
    statuses.set(statusCode, known)
  }
  return known
}

/** A call on its way through the routes. */
interface Call {
  readonly incoming: IncomingMessage
  readonly response: ServerResponse
  readonly open: OpenCall
  /** The provider that the path names; `null` on the unified routes. */
  readonly provider: string | null
  /** The path behind the provider's name. */
  readonly path: string
  readonly query: string
  /** How it is ended before its time, where that is not by breaking it off. */
  end: (() => void) | null
}

/** Who is asked with which body, or why nobody is. */
type Picked =
  | {
      readonly provider: string
      readonly body: Buffer | null
      /** What the client calls the model, where the provider is asked for another. */
      readonly model: string | null
    }
  | { readonly error: GatewayError; readonly provider?: never }

/**
 * The routes that models are called on, in both address forms (DESIGN §5): one below each provider's name, and the
 * unified ones below `/v1`. They read and write Node's own request and response, and so need Node's HTTP server.
 */
export const layer = HttpRouter.use(
  Effect.fnUntraced(function* (router) {
    const handle = yield* makeHandler
    for (const name of Object.keys((yield* Settings).providers)) {
      yield* router.add("*", `/${name}/*`, (request) => handle(request, name))
    }
    yield* router.add("*", "/v1/*", (request) => handle(request, null))
  })
)

/**
 * Words the 404 of the router, which is what it answers where no route is near, and where a path cannot be decoded: for
 * a router that has no other routes than the gateway's.
 */
export const notFound = HttpRouter.use((router) =>
  Effect.flatMap(Effect.all([Upstream, Settings]), ([upstream, { server }]) =>
    router.addGlobalMiddleware(wordNotFound(upstream, admission(server)))
  )
)

const isRouteNotFound = (error: unknown): boolean =>
  HttpServerError.isHttpServerError(error) && error.reason._tag === "RouteNotFound"

const wordNotFound =
  (upstream: Upstream["Service"], admit: Admit) =>
  <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
    Effect.catchIf(app, isRouteNotFound, () =>
      Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
        const incoming = NodeHttpServerRequest.toIncomingMessage(request) as IncomingMessage
        const response = NodeHttpServerRequest.toServerResponse(request) as ServerResponse
        closeUnlessUpgraded(incoming, response)
        if (refusedAtTheDoor(admit, incoming, response)) return answered(response)
        const { path } = addressOf(incoming.url!)
        const name = /^\/([^/]+)\//.exec(path)?.[1] ?? ""
        const named = name === "" ? null : upstream.named(name, null)
        const unknown = named !== null && "_tag" in named && targetOf(path.slice(name.length + 1))._tag !== "Unknown"
        sendError(
          response,
          unknown ? gatewayError(404, named.code, named.message) : unknownRoute(incoming.method!, path),
          uuidV7(Date.now())
        )
        return answered(response)
      })
    )

const makeHandler = Effect.gen(function* () {
  const config = yield* Settings
  const interception = yield* Interception
  const upstream = yield* Upstream
  const sessions = yield* Sessions
  const catalog = yield* ToolCatalog
  const timers = yield* IdleTimers
  const lifecycle = yield* Lifecycle
  const { actor } = yield* Actors
  const admit = admission(config.server)
  const limits = {
    keepAlive: Duration.toMillis(config.limits.keep_alive),
    write: Duration.toMillis(config.limits.write)
  }

  const token = config.server.admin_token
  const admitAdmin = token === undefined ? null : adminRule({ token, listener: "network" })

  /** The client's credential for a provider. The admin token is none: it must not get into other hands. */
  const credentialFrom = ({ headers }: IncomingMessage): Credential | null => {
    const credential = credentialOf(headers)
    if (credential === null || admitAdmin === null) return credential
    return admitAdmin(`Bearer ${credential.key}`)._tag === "Allowed" ? null : credential
  }

  const inbound = (call: Call, dialect: InboundRequest["dialect"]) => {
    const credential = credentialFrom(call.incoming)
    return {
      dialect,
      method: call.incoming.method!,
      provider: call.provider,
      path: call.path,
      query: call.query,
      headers: call.incoming.headers,
      credential,
      actor: (use: Parameters<typeof actor>[1]) => actor(credential, use)
    }
  }

  /** Whose the responses are that a passed-through call may know of. */
  const actorOf = ({ credential, provider }: TurnRequest): string =>
    actor(credential, upstream.credential(provider, credential))

  /** Reads a call's body. Whoever sends it slowly does not keep the service from stopping. */
  const bodyOf = ({ incoming, open, response }: Call) =>
    Effect.suspend(() => {
      open.arriving()
      return Effect.ensuring(receive(incoming, response, config.limits.body_bytes), Effect.sync(open.arrived))
    })

  /** A call that becomes an interception. */
  const intercept = Effect.fnUntraced(
    function* (call: Call, dialect: InboundRequest["dialect"]) {
      const request = inbound(call, dialect)
      const body = yield* bodyOf(call).pipe(
        Effect.catch(({ error }) => Effect.flatMap(interception.reject(request, error), Effect.fail))
      )
      const answer = yield* interception.open({ ...request, body })
      yield* send(call.response, answer, timers, limits)
    },
    (effect, call) => Effect.catch(effect, (refused) => Effect.sync(() => sendRefusal(call.response, refused)))
  )

  /** A WebSocket, each of whose requests is an interception. */
  const socket = (call: Call) => {
    // Its handshake may wait for the provider's: until it is answered, and as long as it stands, a drain ends it.
    call.open.arriving()
    return serveSocket({
      incoming: call.incoming,
      response: call.response,
      request: inbound(call, "openai-responses"),
      config,
      interception,
      upstream,
      timers,
      onOpen: (connection) => {
        call.end = () => (lifecycle.phase() === "draining" ? connection.drain() : connection.shutDown())
        // Since it was accepted, nobody could end it.
        if (lifecycle.phase() !== "serving") call.end()
      }
    }).pipe(
      Effect.catch(({ code, error, headers }) =>
        Effect.map(interception.reject(inbound(call, "openai-responses"), error, code), (refused) =>
          sendRefusal(call.response, refused, headers)
        )
      )
    )
  }

  /** A call of an intercepted route that is refused for its method, or because it would be a WebSocket. */
  const rejectMethod = (call: Call, dialect: InboundRequest["dialect"]) => {
    const [error, headers] = wantsWebSocket(call.incoming)
      ? [noWebSocket, turnToHttp]
      : [methodNotAllowed(call.incoming, ["POST"]), { allow: "POST" }]
    return Effect.map(interception.reject(inbound(call, dialect), error), (refused) =>
      sendRefusal(call.response, refused, headers)
    )
  }

  /**
   * A call that is passed through and leaves no record: nothing is inferred.
   *
   * @param byModel the dialect of a call whose model picks the provider where the path names none
   */
  const relay = Effect.fnUntraced(
    function* (call: Call, byModel: DialectName | null) {
      const method = call.incoming.method!
      const sent = isRead(call.incoming) ? null : yield* bodyOf(call)
      const picked: Picked =
        call.provider === null
          ? pickProvider(call, sent, byModel)
          : { provider: call.provider, body: sent, model: null }
      if (picked.provider === undefined) return yield* Effect.fail(picked)
      const { model, provider } = picked
      // What is counted is what would be sent.
      const edited =
        sent === null || byModel === null ? sent : yield* interception.edited({ ...inbound(call, byModel), body: sent })
      const body = edited === sent ? picked.body : edited
      const request: TurnRequest = {
        provider,
        method,
        path: call.path,
        query: call.query,
        headers: call.incoming.headers,
        credential: credentialFrom(call.incoming),
        body: body === null || body.length === 0 ? null : body
      }
      const response = storedResponseOf(method, call.path)
      const turns = response === null ? null : yield* sessions.responseTurns(actorOf(request), response.id)
      const injected = new Set(response === null ? [] : catalog.tools(null).map((tool) => tool.name))
      const limit = config.limits.event_bytes
      const answer =
        response === null || (turns === null && injected.size === 0)
          ? yield* openRelay(upstream, limit, request, null, model)
          : yield* openStoredResponse(upstream, limit, request, response, turns ?? oneTurn(response.id), injected)
      yield* send(call.response, answer, timers, limits)
    },
    (effect, call) => Effect.catch(effect, ({ error }) => refused(call, error))
  )

  /** The provider of a call that only its model can tell, and the body as that knows the model. */
  const pickProvider = (call: Call, sent: Buffer | null, dialect: DialectName | null): Picked => {
    if (sent === null || dialect === null) return { error: namesNoProvider(call, upstream) }
    const asked = readBody(sent, ({ model }) => (typeof model === "string" ? model : ""))
    if (typeof asked !== "string") return { error: badRequest(asked) }
    if (asked === "") return { error: namesNoProvider(call, upstream) }
    const found = upstream.forModel(asked, dialect)
    if ("_tag" in found) return { error: gatewayError(404, found.code, found.message) }
    const { model, provider } = found
    return model === null || model === asked
      ? { provider: provider.name, body: sent, model: null }
      : { provider: provider.name, body: dialectOf(null).edit.model(sent, model), model: asked }
  }

  const passThrough = (call: Call, { byModel, inference }: Target & { readonly _tag: "PassedThrough" }) => {
    const lacking = lackingDialect(call, upstream)
    if (lacking !== null) return refused(call, lacking)
    if (inference) return intercept(call, null)
    return call.provider === null && byModel === null
      ? refused(call, namesNoProvider(call, upstream))
      : relay(call, byModel)
  }

  const route = (call: Call) => {
    const target = targetOf(call.path)
    if (!addressOf(call.incoming.url!).path.startsWith(call.provider === null ? "/v1/" : `/${call.provider}/`)) {
      // Routers decode paths and may take letters of either case for the same; what goes on is what was written.
      return refused(call, unknownRoute(call.incoming.method!, addressOf(call.incoming.url!).path))
    }
    if (call.provider === null && isRead(call.incoming)) {
      const { headers } = call.incoming
      if (call.path === "/v1/models") return Effect.sync(() => listModels(call, modelsFor(upstream, headers)))
      const listed = modelAt(modelsFor(upstream, headers), call.path, headers)
      if (listed?.error !== undefined) return refused(call, listed.error)
      if (listed !== null) return Effect.sync(() => sendModels(call, listed.body))
    }
    switch (target._tag) {
      case "Intercepted":
        if (wantsWebSocket(call.incoming) && target.dialect === "openai-responses" && config.websocket.enabled) {
          return socket(call)
        }
        if (call.incoming.method !== "POST") return rejectMethod(call, target.dialect)
        return intercept(call, target.dialect)
      case "PassedThrough":
        if (!target.methods.includes(call.incoming.method!)) {
          return refused(call, methodNotAllowed(call.incoming, target.methods), target.methods.join(", "))
        }
        return passThrough(call, target)
      case "Unknown":
        return refused(call, unknownRoute(call.incoming.method!, addressOf(call.incoming.url!).path))
    }
  }

  return (request: HttpServerRequest.HttpServerRequest, provider: string | null) =>
    Effect.withFiber((fiber) => {
      const incoming = NodeHttpServerRequest.toIncomingMessage(request) as IncomingMessage
      const response = NodeHttpServerRequest.toServerResponse(request) as ServerResponse
      closeUnlessUpgraded(incoming, response)
      if (refusedAtTheDoor(admit, incoming, response)) return Effect.succeed(answered(response))
      const { path, query } = addressOf(incoming.url!)
      if (lifecycle.phase() !== "serving") {
        response.setHeader("connection", "close")
        sendError(response, shuttingDown, uuidV7(Date.now()))
        return Effect.succeed(answered(response))
      }
      const open = lifecycle.enter(() => {
        if (call.end !== null) return call.end()
        // An answer that has begun is ended by its interception, in words of its dialect.
        if (response.headersSent) return
        response.setHeader("connection", "close")
        fiber.interruptUnsafe()
      })
      const call: Call = {
        incoming,
        response,
        open,
        provider,
        path: provider === null ? path : path.slice(provider.length + 1),
        query,
        end: null
      }
      // Its upstream may be read on for a client that has left; that ends with the scope.
      let sides = 1
      const sideOver = () => {
        if (--sides === 0) open.leave()
      }
      const bothSides = Effect.uninterruptible(
        Effect.flatMap(Effect.scope, (scope) => {
          sides = 2
          // `Effect.addFinalizer` would copy all services of the program to hand them to it.
          return Scope.addFinalizer(scope, Effect.sync(sideOver))
        })
      )
      return Effect.andThen(bothSides, route(call)).pipe(
        Effect.tapCause((cause) => (Cause.hasDies(cause) ? Effect.logError("a call failed", cause) : Effect.void)),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            finish(response, Exit.hasDies(exit) ? internalError : shuttingDown)
            // An upgraded connection is over with its route; its response was over before.
            if (response.statusCode === 101) sideOver()
            else whenOver(response, timers, limits.write, sideOver)
          })
        ),
        Effect.map(() => answered(response))
      )
    })
})

/** Node leaves a connection that was to be upgraded to whoever answers on it, and there is no other call on it. */
const closeUnlessUpgraded = (incoming: IncomingMessage, response: ServerResponse): void => {
  if (!wantsWebSocket(incoming)) return
  response.setHeader("connection", "close")
  response.once("finish", () => {
    if (response.statusCode !== 101) incoming.socket.destroySoon()
  })
}

/** Answers what the listener's rules do not let in; puts on what a browser wants to see otherwise. */
const refusedAtTheDoor = (admit: Admit, incoming: IncomingMessage, response: ServerResponse): boolean => {
  const verdict = admit(incoming)
  switch (verdict._tag) {
    case "Admitted":
      for (const name in verdict.cors) response.setHeader(name, verdict.cors[name]!)
      return false
    case "Preflight":
      response.writeHead(204, verdict.headers)
      response.end()
      return true
    case "Forbidden":
      sendError(response, gatewayError(403, "forbidden", verdict.message), uuidV7(Date.now()))
      return true
  }
}

/** Whatever happened, the response is over: Effect's server would write an answer of its own into an open one. */
const finish = (response: ServerResponse, error: GatewayError): void => {
  if (response.writableEnded || response.destroyed) return
  if (response.headersSent) breakOff(response)
  else sendError(response, error, uuidV7(Date.now()))
}

const oneTurn = (id: string): ResponseTurns => ({ ids: [id], shownBefore: false })

const isRead = (request: IncomingMessage): boolean => request.method === "GET" || request.method === "HEAD"

const refused = (call: Call, error: GatewayError, allow?: string) =>
  Effect.sync(() => refuse(call, error, allow === undefined ? {} : { allow }))

const refuse = (call: Call, error: GatewayError, headers: { readonly [name: string]: string } = {}): void =>
  sendError(call.response, error, uuidV7(Date.now()), headers)

const unknownRoute = (method: string, path: string): GatewayError =>
  gatewayError(
    404,
    "unknown_route",
    `There is no route ${method} ${path}. Sluice serves ${interceptedPaths.join(", ")} and /v1/models, and passes through models, embeddings, files, responses, conversations and count_tokens below /<provider>/v1.`
  )

/** Why a provider is not asked on a path of a dialect that it does not speak; `null` where the path is of none. */
const lackingDialect = (call: Call, upstream: Upstream["Service"]): GatewayError | null => {
  const dialect = call.provider === null ? null : dialectOfPath(addressOf(call.incoming.url!).path)
  if (call.provider === null || dialect === null) return null
  const found = upstream.named(call.provider, dialect)
  return "_tag" in found ? gatewayError(404, found.code, found.message) : null
}

/** Tells how to call a path that no model speaks for: below a provider of the vendor whose API it is of, if there is one. */
const namesNoProvider = (call: Call, upstream: Upstream["Service"]): GatewayError => {
  const ofCaller = isAnthropicCaller(call.incoming.headers) ? "anthropic-messages" : null
  const dialect = dialectOfPath(call.path) ?? ofCaller
  const vendor = dialect === "anthropic-messages" ? "anthropic" : "openai"
  const speakers = upstream.providers.filter(({ dialects }) => dialect === null || dialects.includes(dialect))
  const named = speakers.find(({ type }) => type === vendor) ?? speakers[0]
  const advice =
    named === undefined
      ? `No provider speaks ${dialect ?? "it"}.`
      : `Call it below one, as in /${named.name}${call.path}.`
  return gatewayError(404, "unknown_route", `${call.path} names no model that would pick its provider. ${advice}`)
}

const badRequest = ({ message, param }: BadRequest): GatewayError =>
  gatewayError(400, "invalid_request", message, { param })

const listModels = (call: Call, models: Upstream["Service"]["models"]): void =>
  sendModels(
    call,
    isAnthropicCaller(call.incoming.headers) ? anthropicModels(models, call.query) : openAiModels(models)
  )

const sendModels = (call: Call, body: string): void => {
  call.response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
  call.response.end(call.incoming.method === "HEAD" ? undefined : body)
}
