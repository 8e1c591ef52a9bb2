/**
 * What one wire protocol means, apart from how its frames travel.
 *
 * A dialect is a small set of pure functions: it reads a request without changing it, says which spans of it to change,
 * reads what an upstream answers, and writes what the client sees. It does no I/O, keeps no clock and imports no
 * runtime; everything that waits is the engine's.
 */
import type { Frame } from "../wire/Frame.ts"
import type { GatewayError } from "./GatewayError.ts"
import type { TokenUsage } from "./Usage.ts"

/** The protocols Sluice speaks. */
export type DialectName = "openai-chat" | "openai-responses" | "anthropic-messages"

/** How frames travel. */
export type TransportName = "json" | "sse" | "ws"

/** Why a request cannot be read as one of its dialect; answered with 400. */
export interface BadRequest {
  readonly _tag: "BadRequest"
  readonly message: string
  /** The part of the request at fault, as the provider's own errors name it. */
  readonly param: string | null
}

/** What the engine needs to know of a request. The bytes stay as they came. */
export interface RequestView {
  readonly _tag: "RequestView"
  readonly raw: Buffer
  readonly model: string
  /** Whether the client asked for a stream. What comes is decided by the upstream's `content-type`. */
  readonly stream: boolean
  /** What the person wrote last, by the rule of DESIGN §6; `null` where this call carries no new prompt. */
  readonly prompt: string | null
  /** Whether the client asked for usage in a stream; `true` where the dialect always sends it. */
  readonly wantsUsage: boolean
  /** How many alternative answers were asked for. */
  readonly choices: number
  /** Whether the answer is made later and fetched by its id, so that this call ends before it does. */
  readonly background: boolean
  /** The tool call whose result the request ends with; by it the call is found that it goes on from. */
  readonly answered: AnsweredToolCall | null
  /** What the body says of its session: a field for the user that may hold one, and a key for prompt caches. */
  readonly session: { readonly userId: string | null; readonly cacheKey: string | null }
}

/** A tool call that a client comes back with the result of. */
export interface AnsweredToolCall {
  readonly callId: string
  /** The call as the request repeats it; `null` where it stands in no message of the request. */
  readonly call: { readonly name: string; readonly arguments: unknown } | null
}

/** What a request says of its session where its dialect has no place for that. */
export const noSession: RequestView["session"] = { userId: null, cacheKey: null }

/** A tool call the model made, as far as it was seen. */
export interface SeenToolCall {
  /** The provider's id of the call; empty where it gave none. */
  readonly callId: string
  readonly name: string
  /** The arguments as text, joined from however many pieces they came in. */
  readonly arguments: string
  /** Whether the arguments are JSON by the protocol, or free text (custom tools). */
  readonly json: boolean
}

/** Something the model thought or said aside. */
export interface SeenThought {
  readonly text: string
  readonly source: "thinking" | "reasoning_summary" | "commentary"
}

/** How a turn ended in the words of its dialect. */
export type TurnOutcome = "completed" | "incomplete" | "failed"

/** What a turn came to, as last seen. */
export interface TurnSummary {
  readonly responseId: string | null
  readonly model: string | null
  readonly finishReason: string | null
  /** Set once the answer is complete for whoever reads it, though its terminal frame may still come. */
  readonly outcome: TurnOutcome | null
  /** Whether the frame that ends the turn has come. */
  readonly ended: boolean
  /** The latest usage, or `null` where the upstream gave none. */
  readonly usage: TokenUsage | null
  readonly toolCalls: ReadonlyArray<SeenToolCall>
  readonly thoughts: ReadonlyArray<SeenThought>
  /** An error that the upstream itself sent inside its answer. */
  readonly error: string | null
}

/** Reads what an upstream answers in one turn. It sees each frame once, in order, and releases those that go on. */
export interface TurnReader {
  push(frame: Frame, out: Array<Frame>): void
  /** The upstream has ended: by itself, or cut off. Releases what was held back and may go on. */
  end(cut: boolean, out: Array<Frame>): void
  /** What makes the answer unreadable; the turn then fails. */
  readonly malformed: string | null
  /** `outcome` of the summary, cheap enough to ask after every chunk. */
  readonly outcome: TurnOutcome | null
  /** `ended` of the summary, as cheap. */
  readonly ended: boolean
  summary(): TurnSummary
}

/** Writes what the client sees: all turns of an interception as one answer. */
export interface AnswerWriter {
  push(frame: Frame, turn: number, out: Array<Frame>): void
  /** The last turn has ended well. */
  finish(out: Array<Frame>): void
  /** What fills the upstream's silence without meaning anything; `null` where there is no such frame. */
  keepAlive(transport: TransportName): Frame | null
  /** Ends the answer with an error event. Nothing is written where the transport has none (`json`). */
  fail(error: GatewayError, transport: TransportName, out: Array<Frame>): void
}

/** One wire protocol. */
export interface Dialect {
  /** `null` for inference in a protocol that is passed through. */
  readonly name: DialectName | null
  /** Names of SSE events that end an answer; empty where the end has no name of its own. */
  readonly terminalEvents: ReadonlySet<string>
  /** Reads a request: everything it judges is in `BadRequest`, the rest is the upstream's business. */
  readonly view: (body: Buffer) => RequestView | BadRequest
  /** Span edits of a request: every byte outside the span stays. */
  readonly edit: {
    readonly model: (body: Buffer, model: string) => Buffer
    /** Asks the upstream for usage where the client did not. Answers the same buffer where there is nothing to ask. */
    readonly askForUsage: (view: RequestView, body: Buffer) => Buffer
  }
  /** A reader for the upstream's side of one turn. */
  readonly turn: (options: { readonly asked: RequestView }) => TurnReader
  /**
   * A writer for the client's side of an interception. `model` is the string every frame carries, where Sluice changed
   * the request's; `null` leaves the upstream's. `usageAdded` says that Sluice asked for usage and the client did not.
   * `headers` are the client's, by lower-case name: what fills silence may depend on who reads it.
   */
  readonly answer: (options: {
    readonly asked: RequestView
    readonly model: string | null
    readonly usageAdded: boolean
    readonly headers?: { readonly [name: string]: string | ReadonlyArray<string> | undefined }
  }) => AnswerWriter
  /** The body of an error answer in this protocol. */
  readonly errorBody: (error: GatewayError, requestId: string) => string
  /** The names under which an answer carries its request id in its head. */
  readonly requestIdHeader: string
}
