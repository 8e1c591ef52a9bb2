import { Clock, Context, Duration, Effect, Exit, Layer, Random, Redacted, Scope } from "effect"
import type { ProviderConfig, SluiceConfig } from "../config/Config.ts"
import type { TransportName } from "../dialect/Dialect.ts"
import { Address } from "./Address.ts"
import { type Credential, hint, maskHeader } from "./Credential.ts"
import { decoded } from "./Decoding.ts"
import { dial, type Dialer, type DialRequest } from "./Dial.ts"
import type { Exchange, Exchanger, ExchangeRequest, GiveUp, HeaderMap, UpstreamError } from "./Exchange.ts"
import { requestFilter, responseHeaders } from "./Headers.ts"
import { httpExchange } from "./HttpExchange.ts"
import { IdleTimers } from "./IdleTimers.ts"
import { Patience } from "./Patience.ts"
import { isTransient, waitAfterAnswer, waitAfterFailure } from "./Retry.ts"
import { type RoutedProvider, Routing } from "./Routing.ts"
import { simulated } from "./Simulated.ts"
import { socketDialer } from "./SocketDialer.ts"
import { socketPool } from "./SocketPool.ts"
import { type CredentialUse, type FailedTurn, type OpenedTurn, type TurnRequest, Upstream } from "./Upstream.ts"

/** Makes the exchanger of each provider; acquired once for all of them. */
export type MakeExchangers = (
  config: SluiceConfig
) => Effect.Effect<(provider: string, type: ProviderConfig["type"]) => Exchanger, never, Scope.Scope>

const overHttp: MakeExchangers = (config) =>
  Effect.map(
    httpExchange({ connect: config.limits.connect }),
    (http) => (provider, type) => (type === "simulated" ? simulated({ provider }) : http(provider))
  )

/** How providers are reached. By default over HTTP, the simulated one in process; a test puts a script here. */
export const Exchangers: Context.Reference<MakeExchangers> = Context.Reference<MakeExchangers>(
  "sluice/upstream/Providers/Exchangers",
  { defaultValue: () => overHttp }
)

/** Makes the dialer of each provider; acquired once for all of them. */
export type MakeDialers = (
  config: SluiceConfig,
  timers: IdleTimers["Service"]
) => Effect.Effect<(provider: string, type: ProviderConfig["type"]) => Dialer, never, Scope.Scope>

const overSockets: MakeDialers = ({ limits, websocket }, timers) =>
  Effect.sync(() => {
    const dialer = socketDialer({
      connect: limits.connect,
      maxPayload: websocket.max_frame_bytes,
      write: Duration.toMillis(limits.write),
      timers
    })
    return (provider, type) => (type === "simulated" ? withoutWebSocket : dialer(provider))
  })

/** How providers are dialled. By default over the network; a test puts a script here. */
export const Dialers: Context.Reference<MakeDialers> = Context.Reference<MakeDialers>(
  "sluice/upstream/Providers/Dialers",
  { defaultValue: () => overSockets }
)

/** The simulated provider says it as others do that have none. */
const withoutWebSocket: Dialer = () =>
  Effect.succeed({
    _tag: "Answered",
    status: 426,
    headers: {},
    body: Buffer.from('{"error":{"message":"the simulated provider has no WebSockets"}}')
  })

/** One provider, ready to be called. */
interface Provider extends RoutedProvider {
  readonly address: Address
  readonly key: Redacted.Redacted<string> | null
  /** What its answers may echo and nobody may see, whoever calls. A function, so that printing a provider shows none. */
  readonly secrets: () => ReadonlyArray<string>
  readonly clientFirst: boolean
  readonly filter: ReturnType<typeof requestFilter>
  readonly exchange: Exchanger
  readonly dialer: Dialer
}

/** How long a handshake may take in all, in milliseconds: Codex waits 15 seconds for one. */
const handshake = 10_000

/** Where the simulated provider would be, if it were anywhere. */
const nowhere = "http://simulated.invalid/v1"

/** The providers of a config. */
export const layer = (config: SluiceConfig): Layer.Layer<Upstream, never, IdleTimers> =>
  Layer.effect(
    Upstream,
    Effect.gen(function* () {
      const timers = yield* IdleTimers
      const exchangers = yield* (yield* Exchangers)(config)
      const dialers = yield* (yield* Dialers)(config, timers)
      const providers = new Map<string, Provider>()
      for (const [name, entry] of Object.entries(config.providers)) {
        const baseUrl = new URL(entry.base_url ?? nowhere)
        const key = entry.api_key ?? null
        const secrets = [...(key === null ? [] : [Redacted.value(key)]), ...secretsOf(baseUrl)]
        const http = exchangers(name, entry.type)
        const dialer = dialers(name, entry.type)
        const pooled = entry.websocket && entry.websocket_pool
        providers.set(name, {
          name,
          type: entry.type,
          dialects: entry.dialects,
          askUsage: entry.ask_usage,
          websocket: entry.websocket && entry.type !== "simulated",
          models: entry.models,
          mcp: entry.mcp ?? null,
          address: new Address(baseUrl),
          key,
          secrets: () => secrets,
          clientFirst: entry.credentials === "client-first",
          filter: requestFilter(entry.forward_headers),
          exchange: pooled
            ? yield* socketPool({ provider: name, http, dialer, timers, connect: config.limits.connect })
            : http,
          dialer
        })
      }
      const aliases = new Map(
        Object.entries(config.models).map(([alias, { mcp, to }]) => [alias, { to, mcp: mcp ?? null }])
      )
      const routing = new Routing([...providers.values()], aliases)
      const firstFrame = Duration.toMillis(config.limits.first_frame)
      const idle = Duration.toMillis(config.limits.idle)
      const maxWait = Duration.toMillis(config.retries.max_wait)

      const open = Effect.fnUntraced(function* (turn: TurnRequest) {
        const provider = providers.get(turn.provider)
        if (provider === undefined) return yield* Effect.die(new Error(`no provider ${turn.provider}`))
        const patience = new Patience(provider.name, timers, { firstFrame, idle })
        const request = exchangeRequest(provider, turn, patience.giveUp)
        const scope = yield* Effect.scope
        timers.watch(patience)
        yield* Scope.addFinalizer(
          scope,
          Effect.sync(() => timers.unwatch(patience))
        )
        for (let attempts = 1; ; attempts++) {
          // What an attempt holds is freed at once if it is not the last.
          const own = Scope.forkUnsafe(scope)
          const result = yield* Effect.result(provider.exchange(request).pipe(Scope.provide(own)))
          const last = attempts > config.retries.times
          if (result._tag === "Success") {
            const exchange = result.success
            const wait =
              last || !isTransient(exchange.status)
                ? null
                : waitAfterAnswer(exchange, attempts, maxWait, yield* Random.next, yield* Clock.currentTimeMillis)
            // An answer, though it is an error, says more than running out of time while waiting for another.
            if (wait === null || patience.endsBefore(wait)) {
              const coding = exchange.headers["content-encoding"]
              const body =
                coding === undefined
                  ? exchange.body
                  : yield* decoded(exchange.body, String(coding), provider.name).pipe(
                      Scope.provide(own),
                      Effect.mapError((error): FailedTurn => ({ error, attempts }))
                    )
              const opened = answer(provider, turn, { ...exchange, body }, attempts)
              patience.attach(opened.transport, body)
              return opened
            }
            yield* Scope.close(own, Exit.void)
            yield* Effect.sleep(wait)
          } else {
            yield* Scope.close(own, Exit.void)
            const error = result.failure
            const again = !last && isConnectFailure(error)
            const wait = waitAfterFailure(attempts, maxWait, yield* Random.next)
            // Out of time for a first frame is out of time for another attempt.
            if (!again || patience.endsBefore(wait)) return yield* Effect.fail<FailedTurn>({ error, attempts })
            yield* Effect.sleep(wait)
          }
        }
      })

      const dialLimits = { firstFrame: Math.min(firstFrame, handshake), times: config.retries.times, maxWait }

      const connect = Effect.fnUntraced(function* (request: Handshake) {
        const provider = providers.get(request.provider)
        if (provider === undefined) return yield* Effect.die(new Error(`no provider ${request.provider}`))
        const secrets = secretsOfCall(provider, request)
        const outgoing = dialRequest(provider, request)
        const { headers, peer } = yield* dial(provider.name, provider.dialer, outgoing, dialLimits, secrets)
        return { peer, headers: shownHeaders(headers, secrets), secrets }
      })

      return Upstream.of({
        named: (name, dialect) => routing.named(name, dialect),
        forModel: (model, dialect) => routing.forModel(model, dialect),
        credential: (name, client) => {
          const provider = providers.get(name)
          return provider === undefined ? { kind: "none", hint: null } : use(provider, client)
        },
        open,
        connect,
        providers: [...providers.values()],
        models: [
          ...[...aliases].map(([id, { to }]) => ({ id, provider: to.slice(0, to.indexOf("/")) })),
          // So that a client which chooses from a list finds something that works without any account.
          ...[...providers.values()]
            .filter((provider) => provider.type === "simulated" && provider.models.length === 0)
            .map((provider) => ({ id: `${provider.name}/sim`, provider: provider.name })),
          ...[...providers.values()].flatMap((provider) =>
            provider.models
              .filter((model) => !model.includes("*"))
              .map((model) => ({ id: `${provider.name}/${model}`, provider: provider.name }))
          )
        ]
      })
    })
  )

/** Keys in the query of a base URL, as some providers take them. The version of an API is none. */
const secretsOf = (baseUrl: URL): ReadonlyArray<string> =>
  [...baseUrl.searchParams].filter(([name]) => !/version$/i.test(name)).map(([, value]) => value)

/** Whether a provider was not even asked: what it has got it may have begun, and asking twice is paid twice. */
const isConnectFailure = ({ reason }: UpstreamError): boolean =>
  (reason._tag === "Unreachable" && reason.sent !== true) || (reason._tag === "TimedOut" && reason.limit === "connect")

/** The credential a call to a provider is made with. */
const credentialFor = (provider: Provider, client: Credential | null): Credential | null => {
  if (provider.key === null || (provider.clientFirst && client !== null)) return client
  return { key: Redacted.value(provider.key), form: provider.type === "anthropic" ? "x-api-key" : "bearer" }
}

const use = (provider: Provider, client: Credential | null): CredentialUse => {
  const credential = credentialFor(provider, client)
  if (credential === null) return { kind: "none", hint: null }
  const central = provider.key !== null && credential.key === Redacted.value(provider.key)
  return { kind: central ? "central" : "byok", hint: hint(credential.key) }
}

/** What of a request does not depend on how it is carried. */
type Handshake = Omit<TurnRequest, "method" | "body">

/** Where a request goes, with which headers and whose credential. */
const dialRequest = (provider: Provider, request: Handshake): DialRequest => {
  const headers = provider.filter(request.headers)
  const credential = credentialFor(provider, request.credential)
  if (credential !== null) {
    // Only Anthropic knows `x-api-key`; a bearer stays one everywhere, for it may be an OAuth token.
    if (provider.type === "anthropic" && credential.form === "x-api-key") headers["x-api-key"] = credential.key
    else headers["authorization"] = `Bearer ${credential.key}`
  }
  headers["accept-encoding"] = "identity"
  return {
    origin: provider.address.origin,
    target: provider.address.target(request.path, request.query),
    headers
  }
}

const exchangeRequest = (provider: Provider, turn: TurnRequest, giveUp: GiveUp): ExchangeRequest => ({
  ...dialRequest(provider, turn),
  method: turn.method,
  body: turn.body,
  giveUp
})

/** What nobody may see of the answer to a call. */
const secretsOfCall = (provider: Provider, { credential }: Handshake): ReadonlyArray<string> =>
  credential === null ? provider.secrets() : [...provider.secrets(), credential.key]

/** The headers of an answer that a client may see. */
const shownHeaders = (received: HeaderMap, secrets: ReadonlyArray<string>): OpenedTurn["headers"] => {
  const headers = responseHeaders(received)
  for (const name in headers) {
    const value = headers[name]!
    headers[name] =
      typeof value === "string" ? maskHeader(value, secrets) : value.map((one) => maskHeader(one, secrets))
  }
  return headers
}

const answer = (provider: Provider, turn: TurnRequest, exchange: Exchange, attempts: number): OpenedTurn => {
  const secrets = secretsOfCall(provider, turn)
  return {
    status: exchange.status,
    headers: shownHeaders(exchange.headers, secrets),
    transport: transportOf(exchange.headers["content-type"]),
    body: exchange.body,
    attempts,
    secrets
  }
}

const transportOf = (contentType: string | ReadonlyArray<string> | undefined): TransportName => {
  const text = typeof contentType === "string" ? contentType : (contentType?.[0] ?? "")
  return /^\s*text\/event-stream\s*(;|$)/i.test(text) ? "sse" : "json"
}
