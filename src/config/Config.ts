import { Effect, Schema, SchemaGetter } from "effect"
import { storeOf } from "./Store.ts"
import {
  address,
  anyText,
  endpoint,
  headerName,
  host,
  oneOf,
  origin,
  pattern,
  secret,
  secretText,
  span,
  text,
  trueOrFalse,
  whole
} from "./Values.ts"

const byDefault = <S extends Schema.Constraint>(self: S, value: S["Encoded"]) =>
  Schema.withDecodingDefaultKey<S>(Effect.succeed(value))(self)

const names = <S extends Schema.Constraint>(self: S) => byDefault(Schema.Array(self), [])

/** The protocols a provider can be spoken to in. */
export const DialectName = oneOf(["openai-chat", "openai-responses", "anthropic-messages"])
export type DialectName = typeof DialectName.Type

/** What a provider is: whose API it has and how Sluice authenticates to it. */
export const ProviderType = oneOf(["openai", "anthropic", "openai-compatible", "simulated"])
export type ProviderType = typeof ProviderType.Type

const ServerConfig = Schema.Struct({
  /** The address to listen on. Off loopback it takes `allow_open` or `access.mode: keys`. */
  host: byDefault(host, "127.0.0.1"),
  /** The port to listen on; 0 lets the operating system choose. */
  port: byDefault(whole(0, 65_535), 4141),
  /** Further names by which clients may address Sluice (`Host`), against DNS rebinding. */
  hosts: names(text("expected a host name", (value) => /^[^\s/]+$/.test(value))),
  /** Web origins that may call Sluice from a browser. */
  origins: names(origin),
  /** Whether `access.mode: open` may listen off loopback. */
  allow_open: byDefault(trueOrFalse, false),
  /** The bearer of `/api` and `/console`; by default `SLUICE_ADMIN_TOKEN` of the environment, if set. */
  admin_token: Schema.optionalKey(secret)
})

const RecorderConfig = Schema.Struct({
  /** `sqlite:<path>` or `memory:`. */
  url: byDefault(
    text(
      'expected "sqlite:<path>", such as "sqlite:./sluice.db", or "memory:"; "postgres://" is not built yet',
      (value) => storeOf(value) !== undefined
    ),
    "sqlite:./sluice.db"
  ),
  /** What happens to a call whose interception cannot be written first. */
  on_failure: byDefault(oneOf(["refuse", "continue"]), "refuse"),
  /** The file records wait in while the store cannot take them. */
  spool: byDefault(text("expected a file name"), "./sluice.spool"),
  /** How long a response waits at its end for its records; then they go to the spool. */
  commit_timeout: byDefault(span("10 millis"), "2 seconds"),
  /** `process`: what a client saw survives `kill -9`; `full`: power loss, too. */
  sync: byDefault(oneOf(["process", "full"]), "process"),
  /** Whether prompts, thoughts, arguments and raw text are recorded. */
  content: byDefault(oneOf(["all", "none"]), "all")
})

const serverNames = Schema.Array(text("expected the name of an MCP server"))

const ProviderConfig = Schema.Struct({
  type: ProviderType,
  /** The address that a client's path is appended to. The simulated provider has none. */
  base_url: Schema.optionalKey(address),
  /** With a key the provider is central: all calls are made with it. Without one clients bring their own. */
  api_key: Schema.optionalKey(secret),
  /** The protocols it speaks; by default those of its type. */
  dialects: Schema.NonEmptyArray(DialectName),
  /** Whether Sluice asks for usage on streams when the client did not (`stream_options.include_usage`). */
  ask_usage: byDefault(trueOrFalse, true),
  /** Client headers that go on to this provider besides those that always do. */
  forward_headers: names(headerName),
  /** `client-first` takes a client's own credential when it sends one, else the central key. */
  credentials: byDefault(oneOf(["central", "client-first"]), "central"),
  /** Whether it serves Responses over WebSocket; by default only type `openai` does. */
  websocket: trueOrFalse,
  /** Whether HTTP clients may be served over pooled WebSockets. */
  websocket_pool: byDefault(trueOrFalse, false),
  /** Names of the models it serves, for the unified routes; `*` stands for any characters. */
  models: names(text("expected the name of a model")),
  /** The MCP servers whose tools calls to it are given; left out, those of all servers. An alias's own win. */
  mcp: Schema.optionalKey(serverNames)
})

const ModelAlias = Schema.Struct({
  /** What the alias stands for. */
  to: text('expected "provider/model", such as "openai/gpt-4.1-mini"', (value) => /^[^/]+\/.+$/.test(value)),
  /** The MCP servers whose tools its calls are given; left out, those of its provider. */
  mcp: Schema.optionalKey(serverNames)
})

const OAuthConfig = Schema.Struct({
  client_id: text("expected the id that the authorization server knows this client by"),
  client_secret: secret,
  /** The scopes to ask for, with spaces between them; by default those that the server asks for. */
  scope: Schema.optionalKey(text("expected scopes with spaces between them")),
  /** The authorization server's issuer: no other one is then given the credentials, whatever the MCP server says. */
  issuer: Schema.optionalKey(endpoint)
})

const McpServer = Schema.Struct({
  /** Where a server with the streamable HTTP transport is. */
  url: Schema.optionalKey(endpoint),
  /** Headers of every request to `url`. */
  headers: byDefault(Schema.Record(Schema.String, secretText), {}),
  /** The program of a server that talks over its standard input and output, instead of `url`. */
  command: Schema.optionalKey(text("expected a program to run")),
  args: names(anyText),
  /** Variables for the program; of Sluice's own it has only what programs need to run (`PATH`, `HOME`, …). */
  env: byDefault(Schema.Record(Schema.String, secretText), {}),
  /** Credentials for the OAuth 2.1 client credentials grant (RFC 6749 §4.4), which the client of `url` uses. */
  oauth: Schema.optionalKey(OAuthConfig),
  /** Patterns of the tools to offer, by the whole name that the server gives them. */
  allow: byDefault(Schema.Array(pattern), [".*"]),
  /** Patterns of the tool names to keep back; they win over `allow`. */
  deny: names(pattern)
})

const ToolsConfig = Schema.Struct({
  /** How many turns an interception may have. */
  max_turns: byDefault(whole(1), 16),
  call_timeout: byDefault(span("1 millis"), "60 seconds"),
  /** How many tool calls of one turn run at once. */
  concurrency: byDefault(whole(1), 8),
  max_result_bytes: byDefault(whole(1), 1_048_576),
  /** Whether what cannot be done exactly is refused instead of declared. */
  strict: byDefault(trueOrFalse, false),
  /** Whether injected calls of mixed turns are remembered for the turn that follows. */
  memory: byDefault(trueOrFalse, true),
  memory_ttl: byDefault(span("1 seconds"), "24 hours"),
  /** Which usage a client is shown when there were several turns. */
  client_usage: byDefault(oneOf(["auto", "sum", "context"]), "auto")
})

const AccessConfig = Schema.Struct({
  /** Who may call: in `open` mode everybody who reaches the listener. */
  mode: byDefault(oneOf(["open"], 'expected open; "keys" (virtual keys) is not built yet'), "open")
})

const LimitsConfig = Schema.Struct({
  /** The largest request body, decoded. */
  body_bytes: byDefault(whole(1), 33_554_432),
  /** The largest event that is read; larger ones pass unread. */
  event_bytes: byDefault(whole(1024), 33_554_432),
  /** How long connecting to a provider may take. */
  connect: byDefault(span("1 millis"), "5 seconds"),
  /** How long a provider may take to its first frame, or, for JSON, to its head. */
  first_frame: byDefault(span("1 millis"), "600 seconds"),
  /** How long a provider may be silent between bytes. */
  idle: byDefault(span("1 millis"), "300 seconds"),
  /** How long a client may take to accept what is written to it. */
  write: byDefault(span("1 millis"), "120 seconds"),
  /** After how much silence of a provider a client is sent a keep-alive. */
  keep_alive: byDefault(span("10 millis"), "10 seconds"),
  /** How long streams may go on after Sluice was told to stop. */
  drain: byDefault(span(0), "30 seconds")
})

const RetriesConfig = Schema.Struct({
  /** How often a turn is tried again before its first byte. */
  times: byDefault(whole(0, 100), 2),
  /** The longest wait before one; an upstream that asks for more is not tried again. */
  max_wait: byDefault(span(0), "5 seconds")
})

const WebSocketConfig = Schema.Struct({
  enabled: byDefault(trueOrFalse, true),
  max_frame_bytes: byDefault(whole(1024), 67_108_864),
  max_age: byDefault(span("1 seconds"), "55 minutes"),
  /** How many requests of one connection may wait. */
  max_queued: byDefault(whole(1), 64)
})

const Sections = Schema.Struct({
  server: ServerConfig,
  recorder: RecorderConfig,
  providers: Schema.Record(Schema.String, ProviderConfig),
  models: Schema.Record(Schema.String, ModelAlias),
  mcp: Schema.Struct({ servers: byDefault(Schema.Record(Schema.String, McpServer), {}) }),
  tools: ToolsConfig,
  access: AccessConfig,
  limits: LimitsConfig,
  retries: RetriesConfig,
  websocket: WebSocketConfig,
  /** `cancel` closes the upstream when its client leaves; `drain` reads it to its end for exact usage. */
  on_client_gone: byDefault(oneOf(["cancel", "drain"]), "cancel")
})

/** A config as written in YAML or handed to `make`: everything may be left out. */
export interface SluiceConfigInput {
  readonly server?: typeof ServerConfig.Encoded
  readonly recorder?: typeof RecorderConfig.Encoded
  /** Replaces the default providers (`openai`, `anthropic` and `sim`) as a whole. */
  readonly providers?: { readonly [name: string]: ProviderInput }
  readonly models?: { readonly [alias: string]: string | typeof ModelAlias.Encoded }
  readonly mcp?: { readonly servers?: { readonly [name: string]: typeof McpServer.Encoded } }
  readonly tools?: typeof ToolsConfig.Encoded
  readonly access?: typeof AccessConfig.Encoded
  readonly limits?: typeof LimitsConfig.Encoded
  readonly retries?: typeof RetriesConfig.Encoded
  readonly websocket?: typeof WebSocketConfig.Encoded
  readonly on_client_gone?: "cancel" | "drain"
}

/** A provider as written: what is left out follows from its type. */
export type ProviderInput = Omit<typeof ProviderConfig.Encoded, "dialects" | "websocket"> & {
  readonly dialects?: ReadonlyArray<DialectName>
  readonly websocket?: boolean
}

/** What a provider's type decides where its config is silent. */
const typeDefaults: { readonly [type: string]: { readonly [key: string]: unknown } | undefined } = {
  openai: { base_url: "https://api.openai.com/v1", dialects: ["openai-chat", "openai-responses"], websocket: true },
  anthropic: { base_url: "https://api.anthropic.com", dialects: ["anthropic-messages"], websocket: false },
  "openai-compatible": { dialects: ["openai-chat"], websocket: false },
  simulated: { dialects: ["openai-chat", "openai-responses", "anthropic-messages"], websocket: false }
}

/** The providers of a config that names none: clients bring their own keys, and a simulated model is built in. */
export const defaultProviders: { readonly [name: string]: ProviderInput } = {
  openai: { type: "openai" },
  anthropic: { type: "anthropic" },
  sim: { type: "simulated" }
}

type Raw = { readonly [key: string]: unknown }

/** Whether something is a map, as opposed to a list, a single value or an object of a class. */
export const isMap = (value: unknown): value is Raw =>
  typeof value === "object" &&
  value !== null &&
  (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null)

const mapValues = (value: unknown, change: (element: unknown) => unknown): unknown =>
  isMap(value) ? Object.fromEntries(Object.entries(value).map(([key, element]) => [key, change(element)])) : value

/**
 * Puts in what is left out and follows from something else. Sections are filled in here and not by the Schema so that
 * a section with an unknown key still has its other values looked at.
 */
const complete = (input: Raw): Raw => {
  const empty = Object.fromEntries(
    Object.keys(Sections.fields)
      .filter((section) => section !== "on_client_gone")
      .map((section) => [section, {}])
  )
  const given = { ...empty, ...input }
  return {
    ...given,
    providers: mapValues(input["providers"] ?? defaultProviders, (provider) =>
      // Without a known type nothing is filled in, and the missing type is the only thing to report.
      isMap(provider)
        ? { dialects: ["openai-chat"], websocket: false, ...typeDefaults[String(provider["type"])], ...provider }
        : provider
    ),
    models: mapValues(given["models"], (alias) => (typeof alias === "string" ? { to: alias } : alias))
  }
}

/**
 * The whole configuration of Sluice, as one Schema: the keys, what they take, and their defaults. Its decoded type
 * keeps the names of the file; durations are `Duration`s, secrets `Redacted`, an alias always a map.
 *
 * What one value says about another (a missing `base_url`, an alias to a provider that is not there) is checked by
 * `make` and `load`, which are the way to get a config.
 */
export const SluiceConfig = Schema.declare(isMap).pipe(
  Schema.decodeTo(Sections, {
    decode: SchemaGetter.transform((input: Raw) => complete(input) as unknown as typeof Sections.Encoded),
    encode: SchemaGetter.forbidden(() => "a config is read, never written")
  })
)
export interface SluiceConfig extends Schema.Schema.Type<typeof Sections> {}

/** One provider of a config. */
export type ProviderConfig = SluiceConfig["providers"][string]

/** One MCP server of a config. */
export type McpServerConfig = SluiceConfig["mcp"]["servers"][string]

/** The keys that may stand at a path of a config, for the error about one that may not. */
export const sectionKeys: { readonly [section: string]: ReadonlyArray<string> } = {
  "": Object.keys(Sections.fields),
  server: Object.keys(ServerConfig.fields),
  recorder: Object.keys(RecorderConfig.fields),
  "providers.*": Object.keys(ProviderConfig.fields),
  "models.*": Object.keys(ModelAlias.fields),
  mcp: ["servers"],
  "mcp.servers.*": Object.keys(McpServer.fields),
  "mcp.servers.*.oauth": Object.keys(OAuthConfig.fields),
  tools: Object.keys(ToolsConfig.fields),
  access: Object.keys(AccessConfig.fields),
  limits: Object.keys(LimitsConfig.fields),
  retries: Object.keys(RetriesConfig.fields),
  websocket: Object.keys(WebSocketConfig.fields)
}
