import { type Effect, Schema, type Scope } from "effect"
import type { DialectName } from "../dialect/Dialect.ts"
import type { GatewayError } from "../dialect/GatewayError.ts"
import type {
  Credential,
  CredentialUse,
  FailedTurn,
  HeaderMap,
  OpenedTurn,
  PeerClose,
  TurnRequest
} from "../upstream/Upstream.ts"

/** One client call, as whoever took it in hands it to the engine. */
export interface InboundRequest {
  /** `null` for inference that is passed through. */
  readonly dialect: DialectName | null
  readonly method: string
  /** The provider that the path names; `null` on the unified routes, where the model decides. */
  readonly provider: string | null
  /** The path behind the provider's name, such as `/v1/chat/completions`. */
  readonly path: string
  /** The query with its question mark, or empty. */
  readonly query: string
  /** By lower-case name. */
  readonly headers: HeaderMap
  /** Decoded. */
  readonly body: Buffer
  /** The client's own credential for the provider. */
  readonly credential: Credential | null
  /** Who is calling, once it is known whose credential the call is made with. */
  readonly actor: (use: CredentialUse) => string
  /** Set where the call came over a WebSocket. */
  readonly socket?: SocketCall
}

/** What is special about a call that came over a WebSocket. */
export interface SocketCall {
  /** Its lane; `null` on the one without a name. */
  readonly lane: string | null
  /** Opens its turns over the upstream's WebSocket; `null` where they go over HTTP. */
  readonly open: ((turn: TurnRequest) => Effect.Effect<OpenedTurn, FailedTurn, Scope.Scope>) | null
  /** How the connection was closed, if it was. */
  readonly closing: () => PeerClose | null
}

const paths: { readonly [name in DialectName]: string } = {
  "openai-chat": "/v1/chat/completions",
  "openai-responses": "/v1/responses",
  "anthropic-messages": "/v1/messages"
}

/**
 * A call made in process.
 *
 * @example
 * ```ts
 * const answer = Interception.open(
 *   inboundRequest({ provider: "sim", body: { model: "sim", messages: [{ role: "user", content: "hello" }] } })
 * )
 * ```
 */
export const inboundRequest = (options: {
  /** What the body is written in; Chat Completions if left out. */
  readonly dialect?: DialectName
  /** Left out, the model picks the provider, as on the unified routes. */
  readonly provider?: string
  /** A value becomes JSON; text and bytes stay as they are. */
  readonly body: Buffer | string | object
  readonly headers?: HeaderMap
  /** A credential of the caller's own for the provider. */
  readonly credential?: Credential
  /** Whose call it is; owns what is recorded of it. */
  readonly actor?: string
}): InboundRequest => {
  const { body, dialect = "openai-chat" } = options
  return {
    dialect,
    method: "POST",
    provider: options.provider ?? null,
    path: paths[dialect],
    query: "",
    headers: { "content-type": "application/json", ...options.headers },
    body: Buffer.isBuffer(body) ? body : Buffer.from(typeof body === "string" ? body : JSON.stringify(body)),
    credential: options.credential ?? null,
    actor: () => options.actor ?? "embedded"
  }
}

/** The head of an answer. */
export interface Head {
  readonly status: number
  /** By lower-case name. */
  readonly headers: { readonly [name: string]: string | ReadonlyArray<string> }
}

/**
 * A call that ends without an answer of the upstream's: refused by Sluice, or the upstream gave none. `body` is the
 * error in the caller's own dialect.
 */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  interceptionId: Schema.String,
  status: Schema.Number,
  code: Schema.String,
  detail: Schema.String,
  headers: Schema.Record(Schema.String, Schema.String),
  body: Schema.String
}) {
  override get message() {
    return `${this.status} ${this.code}: ${this.detail}`
  }
}

/** The refusal with more headers. */
export const withHeaders = (refused: Refused, headers: Refused["headers"]): Refused =>
  new Refused({ ...refused, headers: { ...refused.headers, ...headers } })

/** A refusal as its dialect words it. */
export const refusal = (
  error: GatewayError,
  interceptionId: string,
  dialect: { readonly requestIdHeader: string; readonly errorBody: (error: GatewayError, requestId: string) => string }
): Refused =>
  new Refused({
    interceptionId,
    status: error.status,
    code: error.code,
    detail: error.message,
    headers: {
      "content-type": "application/json",
      [dialect.requestIdHeader]: interceptionId,
      ...(error.retryAfter === null ? {} : { "retry-after": String(error.retryAfter) })
    },
    body: dialect.errorBody(error, interceptionId)
  })
