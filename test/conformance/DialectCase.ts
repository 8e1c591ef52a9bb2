import type { DialectName } from "../../src/dialect/Dialect.ts"
import type { ErrorCode, TurnStatus } from "../../src/recorder/Records.ts"
import type { ToolLoopCase } from "./toolloop/ToolLoopCase.ts"

/** What an upstream says in one turn, apart from how its protocol writes it. */
export interface Reply {
  readonly id?: string
  readonly model?: string
  readonly text?: ReadonlyArray<string>
  readonly thoughts?: ReadonlyArray<string>
  readonly calls?: ReadonlyArray<{ readonly id: string; readonly name: string; readonly arguments: string }>
  /** `stop` unless given. */
  readonly ending?: "stop" | "length" | "tools"
  /** `null`: the upstream says nothing of it. */
  readonly usage?: Counts | null
}

/** Disjoint counts, as they are recorded. */
export interface Counts {
  readonly input: number
  readonly cacheRead: number
  readonly output: number
  readonly reasoning: number
}

/** A reply as a stream: whole events, in order. */
export interface Events {
  /** What is said. */
  readonly body: ReadonlyArray<string>
  /** What tells the client that all was said, where that is not the terminal frame; else empty. */
  readonly finish: ReadonlyArray<string>
  /** What comes between the finish and the terminal frame. */
  readonly after: ReadonlyArray<string>
  /** The terminal frame. */
  readonly end: string
}

/** What is recorded of a turn. What is left out is not looked at. */
export interface Expected {
  readonly status: TurnStatus
  /** None unless given. */
  readonly error?: ErrorCode
  readonly provenance: "provider" | "partial" | "unknown"
  readonly finishReason?: string | null
  /** All null where it is left out. */
  readonly usage?: {
    readonly input: number | null
    readonly output: number | null
    readonly cacheRead?: number | null
    readonly cacheWrite?: number | null
    readonly reasoning?: number | null
    readonly other?: { readonly [name: string]: number }
  }
  readonly toolCalls?: ReadonlyArray<{
    readonly callId: string | null
    readonly name: string
    readonly arguments: unknown
  }>
  readonly thoughts?: ReadonlyArray<string>
  readonly attempts?: number
  readonly httpStatus?: number | null
}

/** One way in which upstreams of a dialect answer, and what is recorded of it. */
export interface Answer {
  readonly name: string
  readonly transport: "sse" | "json"
  /** Members of the request besides those every request has. */
  readonly request?: { readonly [name: string]: unknown }
  /** The whole body, as the upstream sends it; the client gets the same. */
  readonly body: string
  readonly expected: Expected
}

/** A stream that ends as HTTP says it should, and is broken off all the same. */
export interface CutStream {
  readonly name: string
  readonly request?: { readonly [name: string]: unknown }
  readonly body: string
  /** What of it may reach the client: whole events only. The error event follows. */
  readonly delivered: string
  /** What was known of the usage by then; nothing unless given. */
  readonly usage?: NonNullable<Expected["usage"]>
}

/** A request and what the upstream gets of it. */
export interface SentRequest {
  readonly name: string
  readonly sent: string
  readonly received: string
}

/** An error as a client reads it. */
export interface ReadError {
  readonly code: string | null
  readonly message: string
}

/**
 * A dialect as a row of the conformance suite: everything the suite has to know of a protocol to try the engine on it.
 */
export interface DialectCase {
  readonly name: DialectName
  /** Behind the provider's name. */
  readonly path: string
  /** A request whose model is `test-model` unless `more` says otherwise. It asks for usage, so that nothing is withheld. */
  readonly request: (stream: boolean, more?: { readonly [name: string]: unknown }) => string
  readonly events: (reply: Reply) => Events
  readonly body: (reply: Reply) => string
  /** The protocol's word for an ending. */
  readonly finishReason: (ending: NonNullable<Reply["ending"]>) => string
  /** What a client leaves behind when it goes after `finish` and before the terminal frame. */
  readonly leftAfterFinish: TurnStatus
  /** An error that the upstream itself sends inside its stream. */
  readonly upstreamError: (message: string) => string
  /** Reads one whole error event; `null` where the text is anything else. */
  readonly readErrorEvent: (text: string) => ReadError | null
  readonly readErrorBody: (text: string) => ReadError | null
  /** What stands in its errors in place of a code of the gateway's, where they have no room for that. */
  readonly errorWord?: (code: string, place: "event" | "body") => string
  /** What is known of the usage of `reply` once its `body` was seen; nothing unless given. */
  readonly earlyUsage?: NonNullable<Expected["usage"]>
  /** How silence is filled in a stream of which so many events were shown. */
  readonly keepAlive: (shown: number) => string
  /** Events that a client of the protocol could not read. */
  readonly malformed: ReadonlyArray<{ readonly name: string; readonly event: string }>
  /** An event of at least so many bytes that says something in the middle of an answer. */
  readonly largeEvent: (bytes: number) => string
  readonly answers: ReadonlyArray<Answer>
  readonly cutStreams: ReadonlyArray<CutStream>
  /** Requests that are not streams: their members, in the order that they are written, as key and value. */
  readonly members: ReadonlyArray<readonly [key: string, value: string]>
  /** Requests to `test-model` as they are sent, and as they reach an upstream that is asked for usage. */
  readonly requests: ReadonlyArray<SentRequest>
  /** How the dialect goes on from injected tools. */
  readonly toolLoop: ToolLoopCase
}
