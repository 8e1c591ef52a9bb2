import { Context, type Effect, type Scope } from "effect"
import type { DialectName, TransportName } from "../dialect/Dialect.ts"
import type { ChunkQueue } from "./ChunkQueue.ts"
import type { Credential } from "./Credential.ts"
import type { HeaderMap, UpstreamError } from "./Exchange.ts"
import type { Peer } from "./Peer.ts"

export type { ChunkQueue } from "./ChunkQueue.ts"
export { type Credential, mask as maskText, maskBytes } from "./Credential.ts"
export {
  Cut,
  Declined,
  type HeaderMap,
  Malformed,
  OutOfTurns,
  ShuttingDown,
  Unreachable,
  UpstreamError
} from "./Exchange.ts"
export { localTurn } from "./LocalTurn.ts"
export { PeerTurns } from "./PeerTurns.ts"
export { type Peer, type PeerClose, PeerGone, type PeerMessage } from "./Peer.ts"
export { IdleTimers, type Watched } from "./IdleTimers.ts"
export { type Member, Roster } from "./Roster.ts"

/** What everybody may know of a provider. Its key stays with the layer. */
export interface ProviderInfo {
  readonly name: string
  /** `openai`, `anthropic`, `openai-compatible` or `simulated`. */
  readonly type: string
  readonly dialects: ReadonlyArray<DialectName>
  /** Whether Sluice asks for usage on streams when the client did not. */
  readonly askUsage: boolean
  /** Whether it serves Responses over WebSocket. */
  readonly websocket: boolean
}

/** Which provider serves a call, and under which name of the model. */
export interface Route {
  readonly provider: ProviderInfo
  /** The model as the upstream is asked for it; `null` where the request names none. */
  readonly model: string | null
  /** The MCP servers whose tools its calls are given; `null` for all. */
  readonly mcp: ReadonlyArray<string> | null
}

/** Why no provider serves a call; answered with 404. */
export interface NoRoute {
  readonly _tag: "NoRoute"
  readonly code: "model_not_found" | "provider_not_found" | "dialect_not_supported"
  /** Says what there is instead. */
  readonly message: string
  /** The provider, where one was found that does not do what was asked. */
  readonly provider: ProviderInfo | null
}

/** Whose credential a call is made with. */
export interface CredentialUse {
  readonly kind: "central" | "byok" | "none"
  /** As much of it as may be shown. */
  readonly hint: string | null
}

/** One request to a provider. */
export interface TurnRequest {
  readonly provider: string
  readonly method: string
  /** The client's path behind the provider's name. */
  readonly path: string
  /** The client's query with its question mark, or empty. */
  readonly query: string
  /** The client's headers; the allow-list is applied here. */
  readonly headers: HeaderMap
  /** The client's own credential for the provider. */
  readonly credential: Credential | null
  readonly body: Buffer | null
}

/** A provider's answer. */
export interface OpenedTurn {
  readonly status: number
  /** The headers a client may see, free of credentials. */
  readonly headers: { readonly [name: string]: string | ReadonlyArray<string> }
  /** By the answer's `content-type`. */
  readonly transport: TransportName
  /** Fails with `TimedOut` where the provider is silent for too long. */
  readonly body: ChunkQueue<UpstreamError>
  /** How often the provider was asked. */
  readonly attempts: number
  /** Everything that must not be shown to anybody: an error body may echo it. */
  readonly secrets: ReadonlyArray<string>
}

/** The providers: who serves a model, and how a turn with one is opened. */
export class Upstream extends Context.Service<
  Upstream,
  {
    /** The provider of this name, for the routes that name one. */
    readonly named: (provider: string, dialect: DialectName | null) => Route | NoRoute
    /** The provider of a model, for the unified routes: an alias, `provider/model`, or a known name. */
    readonly forModel: (model: string, dialect: DialectName | null) => Route | NoRoute
    /** Whose credential a call to a provider is made with. */
    readonly credential: (provider: string, client: Credential | null) => CredentialUse
    /**
     * Sends a request and waits for the head of its answer, trying again before its first byte as `retries` says.
     * Closing the scope closes the exchange.
     */
    readonly open: (turn: TurnRequest) => Effect.Effect<OpenedTurn, FailedTurn, Scope.Scope>
    /**
     * Opens a WebSocket to a provider. A handshake that it answers with a status fails with `Declined`. Closing the
     * scope closes the connection.
     */
    readonly connect: (
      request: Omit<TurnRequest, "method" | "body">
    ) => Effect.Effect<UpstreamPeer, UpstreamError, Scope.Scope>
    /** All providers, in the order of the configuration. */
    readonly providers: ReadonlyArray<ProviderInfo>
    /** The names the unified routes know for sure: aliases, and `provider/model` for what the providers list. */
    readonly models: ReadonlyArray<{ readonly id: string; readonly provider: string }>
  }
>()("sluice/upstream/Upstream") {}

/** A provider at the other end of a WebSocket. */
export interface UpstreamPeer {
  readonly peer: Peer
  /** The headers of its handshake that a client may see, free of credentials. */
  readonly headers: OpenedTurn["headers"]
  /** Everything that must not be shown to anybody. */
  readonly secrets: ReadonlyArray<string>
}

/** No answer, after all attempts. */
export interface FailedTurn {
  readonly error: UpstreamError
  readonly attempts: number
}
