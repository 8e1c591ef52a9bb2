/**
 * The records Sluice keeps of every call.
 *
 * Each schema's type is what the program carries: times are epoch milliseconds; a provider's usage and a tool call's
 * arguments are JSON text, as they were written. Its encoding is the JSON of the management API: times are ISO 8601 in
 * UTC, those texts are JSON. Nothing is encoded on the way to a store; only the API does that.
 */
import { DateTime, Option, Schema, SchemaTransformation } from "effect"
import { presented } from "./JsonText.ts"

export { jsonTextOf } from "./JsonText.ts"

/** A moment: epoch milliseconds here, ISO 8601 in UTC with milliseconds in JSON. */
export const Time = Schema.String.check(
  Schema.makeFilter((text: string) => Option.isSome(DateTime.make(text)), { expected: "a time as ISO 8601" })
).pipe(
  Schema.decodeTo(
    Schema.Finite,
    SchemaTransformation.transform({
      decode: (text) => DateTime.toEpochMillis(DateTime.makeUnsafe(text)),
      encode: (millis) => DateTime.formatIso(DateTime.makeUnsafe(millis))
    })
  )
)

/**
 * JSON kept as the text it came as, and presented as the JSON it is. What is not JSON, or is nested so deep that readers
 * would not take it, is presented as a string.
 */
export const JsonText = Schema.Json.pipe(
  Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transform({ decode: (json: Schema.Json) => JSON.stringify(json), encode: presented })
  )
)

/** How an interception or a turn ended. */
export const Status = Schema.Literals(["completed", "incomplete", "failed", "cancelled", "rejected"])
export type Status = typeof Status.Type

/** How a turn ended: a turn is never `rejected`, since none is opened then. */
export const TurnStatus = Schema.Literals(["completed", "incomplete", "failed", "cancelled"])
export type TurnStatus = typeof TurnStatus.Type

/** How a usage figure is known: final from the provider, last seen before the end, estimated by us, or not at all. */
export const Provenance = Schema.Literals(["provider", "partial", "estimated", "unknown"])
export type Provenance = typeof Provenance.Type

export const ErrorCode = Schema.Literals([
  "bad_request",
  "upstream_status",
  "upstream_unreachable",
  "upstream_cut",
  "malformed",
  "timeout",
  "shutdown",
  "client_gone",
  "process_ended",
  "internal"
])
export type ErrorCode = typeof ErrorCode.Type

/** Why something ended badly. */
export const RecordError = Schema.Struct({ code: ErrorCode, message: Schema.String })
export type RecordError = typeof RecordError.Type

export const DialectName = Schema.Literals(["openai-chat", "openai-responses", "anthropic-messages"])
export const TransportName = Schema.Literals(["json", "sse", "ws"])
export const CredentialKind = Schema.Literals(["central", "byok", "none"])
export const ThoughtSource = Schema.Literals(["thinking", "reasoning_summary", "commentary"])

const text = Schema.NullOr(Schema.String)
const count = Schema.NullOr(Schema.Natural)
const time = Schema.NullOr(Time)
const milliseconds = Schema.NullOr(Schema.Finite)

/** One client call. Written when it starts, and closed once. */
export const Interception = Schema.Struct({
  /** A UUIDv7: newest first is greatest first. */
  id: Schema.String,
  actor: Schema.String,
  /** The provider's name in the configuration; null where the call was rejected before one was found. */
  provider: text,
  providerType: text,
  requestedModel: text,
  servedModel: text,
  /** Null for inference that is passed through. */
  dialect: Schema.NullOr(DialectName),
  transport: Schema.NullOr(TransportName),
  client: Schema.String,
  sessionId: text,
  parentId: text,
  userAgent: text,
  credentialKind: CredentialKind,
  credentialHint: text,
  startedAt: Time,
  /** Null, like `status`, while the call runs. */
  endedAt: time,
  status: Schema.NullOr(Status),
  error: Schema.NullOr(RecordError)
})
export type Interception = typeof Interception.Type

/** What closing an interception sets. Of the fields that may be left out, one that is left out or null stays as it was. */
export const InterceptionClose = Schema.Struct({
  id: Schema.String,
  endedAt: Time,
  status: Status,
  error: Schema.NullOr(RecordError),
  servedModel: Schema.optionalKey(text),
  sessionId: Schema.optionalKey(text),
  parentId: Schema.optionalKey(text),
  transport: Schema.optionalKey(Schema.NullOr(TransportName))
})
export type InterceptionClose = typeof InterceptionClose.Type

/** One upstream request and its response. */
export const Turn = Schema.Struct({
  id: Schema.String,
  interceptionId: Schema.String,
  index: Schema.Natural,
  startedAt: Time,
  endedAt: time,
  transport: Schema.NullOr(TransportName),
  upstreamResponseId: text,
  servedModel: text,
  httpStatus: count,
  status: Schema.NullOr(TurnStatus),
  finishReason: text,
  error: Schema.NullOr(RecordError),
  timeToFirstFrameMs: milliseconds,
  durationMs: milliseconds,
  attempts: Schema.Natural,
  framesIn: Schema.Natural,
  framesOut: Schema.Natural,
  lane: text,
  closeCode: count,
  closeReason: text
})
export type Turn = typeof Turn.Type

/** The responses of an interception of `openai-responses` that had several turns. */
export interface ResponseTurns {
  /** The upstream's response ids, one for each turn that has one, in their order: two at least. */
  readonly ids: ReadonlyArray<string>
  /** Whether turns before the last may have shown the client something of their output. */
  readonly shownBefore: boolean
}

/** `response.created`, `response.queued` and `response.in_progress`. */
const beginnings = 3

/**
 * What is known of an interception's responses by its turns, in their order; `null` where they are not several.
 *
 * Which text a turn showed is not recorded; but a stream of which only the beginning was shown, or nothing, showed none.
 * Of a JSON answer nobody can tell.
 */
export const responseTurnsOf = (
  turns: ReadonlyArray<Pick<Turn, "index" | "upstreamResponseId" | "framesOut"> & { readonly transport: string | null }>
): ResponseTurns | null => {
  const ids = [...new Set(turns.map((turn) => turn.upstreamResponseId).filter((id) => id !== null))]
  if (ids.length < 2) return null
  const shownBefore = turns
    .slice(0, -1)
    .some(({ framesOut, index, transport }) => transport === "json" || framesOut > (index === 0 ? beginnings : 0))
  return { ids, shownBefore }
}

/** What the user wrote last. At most one for each turn. */
export const Prompt = Schema.Struct({ interceptionId: Schema.String, turnId: Schema.String, text: Schema.String })
export type Prompt = typeof Prompt.Type

/** What a turn used, and what that costs: one for each turn, its counts disjoint but for `reasoning`. */
export const Usage = Schema.Struct({
  interceptionId: Schema.String,
  turnId: Schema.String,
  /** Input tokens that were neither read from a cache nor written to one. */
  input: count,
  /** Output tokens, reasoning included. */
  output: count,
  cacheRead: count,
  cacheWrite: count,
  reasoning: count,
  /** Counts that have no field of their own, by name. */
  other: Schema.Record(Schema.String, Schema.Finite),
  provenance: Provenance,
  /** The provider's own usage object. */
  raw: Schema.NullOr(JsonText),
  /** An exact decimal; null where the turn has no price. */
  cost: text,
  currency: text,
  priceVersion: text
})
export type Usage = typeof Usage.Type

/** One call of a tool by the model. */
export const ToolCall = Schema.Struct({
  interceptionId: Schema.String,
  turnId: Schema.String,
  callId: text,
  /** As the model called it. */
  name: Schema.String,
  /**
   * What the model wrote, where that is JSON; a JSON string of it for custom tools, and where it is none. Null where
   * content is not recorded.
   */
  arguments: Schema.NullOr(JsonText),
  injected: Schema.Boolean,
  serverUrl: text,
  error: Schema.NullOr(RecordError),
  durationMs: milliseconds
})
export type ToolCall = typeof ToolCall.Type

/** One thinking block or summary part. */
export const Thought = Schema.Struct({
  interceptionId: Schema.String,
  turnId: Schema.String,
  text: Schema.String,
  source: ThoughtSource
})
export type Thought = typeof Thought.Type

/**
 * Something kept for an actor until a client comes back with it. A newer one of the same key takes its place. The
 * management API does not show it.
 */
export const Memory = Schema.Struct({
  actor: Schema.String,
  key: Schema.String,
  /** JSON text. */
  value: Schema.String,
  expiresAt: Schema.Finite
})
export type Memory = typeof Memory.Type

/** Everything recorded of one interception. */
export const InterceptionDetail = Schema.Struct({
  interception: Interception,
  turns: Schema.Array(Turn),
  prompts: Schema.Array(Prompt),
  usage: Schema.Array(Usage),
  toolCalls: Schema.Array(ToolCall),
  thoughts: Schema.Array(Thought)
})
export type InterceptionDetail = typeof InterceptionDetail.Type

/** One page of interceptions, newest first. */
export const InterceptionPage = Schema.Struct({
  interceptions: Schema.Array(Interception),
  /** What to give as `before` for the next page; null where this is the last. */
  next: Schema.NullOr(Schema.String)
})
export type InterceptionPage = typeof InterceptionPage.Type

/** What usage is summed by. A day is one of UTC. */
export const UsageKey = Schema.Literals(["model", "actor", "day"])
export type UsageKey = typeof UsageKey.Type

/** Sums of what is known for one model, actor or day. */
export const UsageSum = Schema.Struct({
  key: Schema.String,
  interceptions: Schema.Natural,
  turns: Schema.Natural,
  input: Schema.Natural,
  output: Schema.Natural,
  cacheRead: Schema.Natural,
  cacheWrite: Schema.Natural,
  reasoning: Schema.Natural,
  /** The exact sum of the known costs; null where nothing is priced, or prices are in several currencies. */
  cost: text,
  currency: text
})
export type UsageSum = typeof UsageSum.Type

/** What a session has used, as far as that is known. */
export const SessionUsage = Schema.Struct({
  turns: Schema.Natural,
  input: Schema.Natural,
  output: Schema.Natural,
  cacheRead: Schema.Natural,
  cacheWrite: Schema.Natural,
  reasoning: Schema.Natural,
  /** The exact sum of the known costs; null where nothing is priced, or prices are in several currencies. */
  cost: text,
  currency: text
})
export type SessionUsage = typeof SessionUsage.Type

/** All interceptions of one actor that name the same session. */
export const Session = Schema.Struct({
  /** As the client named it. Another actor's session may have the same. */
  id: Schema.String,
  /** The client of its first interception. */
  client: Schema.String,
  actor: Schema.String,
  startedAt: Time,
  /** When the last interception ended; null while one runs. */
  endedAt: time,
  /** How many interceptions it has. */
  interceptions: Schema.Natural,
  usage: SessionUsage
})
export type Session = typeof Session.Type

/** One page of sessions, those begun last first. */
export const SessionPage = Schema.Struct({
  sessions: Schema.Array(Session),
  /** What to give as `before` for the next page; null where this is the last. */
  next: Schema.NullOr(Schema.String)
})
export type SessionPage = typeof SessionPage.Type

/** An interception and what goes on from it, the oldest first. */
export interface SessionNode {
  readonly interception: Interception
  readonly children: ReadonlyArray<SessionNode>
}

/** `SessionNode` as the management API gives it. */
export interface EncodedSessionNode {
  readonly interception: typeof Interception.Encoded
  readonly children: ReadonlyArray<EncodedSessionNode>
}

export const SessionNode = Schema.Struct({
  interception: Interception,
  children: Schema.Array(Schema.suspend((): Schema.Codec<SessionNode, EncodedSessionNode> => SessionNode))
})

/** A session and a page of its interceptions as a tree. */
export const SessionDetail = Schema.Struct({
  session: Session,
  /**
   * Those that go on from none of this page, the oldest first: where an interception's parent stands on a page before,
   * its `parentId` says so.
   */
  interceptions: Schema.Array(SessionNode),
  /** What to give as `after` for the next page; null where this is the last. */
  next: Schema.NullOr(Schema.String)
})
export type SessionDetail = typeof SessionDetail.Type

/** Rows to be written together: all of them land, or none. */
export interface RecordBatch {
  readonly opens?: ReadonlyArray<Interception>
  readonly turns?: ReadonlyArray<Turn>
  readonly prompts?: ReadonlyArray<Prompt>
  readonly usage?: ReadonlyArray<Usage>
  readonly toolCalls?: ReadonlyArray<ToolCall>
  readonly thoughts?: ReadonlyArray<Thought>
  readonly memories?: ReadonlyArray<Memory>
  readonly closes?: ReadonlyArray<InterceptionClose>
}
