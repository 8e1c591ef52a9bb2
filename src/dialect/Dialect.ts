/**
 * What one wire protocol means, apart from how its frames travel.
 *
 * A dialect is a small set of pure functions: it reads a request without changing it, says which spans of it to change,
 * reads what an upstream answers, and writes what the client sees. It does no I/O, keeps no clock and imports no
 * runtime; everything that waits is the engine's.
 */
import type { Frame } from "../wire/Frame.ts"
import type { GatewayError } from "./GatewayError.ts"
import type { ToolDefinition, ToolResult } from "./InjectedTools.ts"
import type { ToolMemory } from "./ToolMemory.ts"
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
  /** The stored answer that the request goes on from, by its id; `null` where it goes on from none. */
  readonly previous: string | null
  /** The tool call whose result the request ends with; by it the call is found that it goes on from. */
  readonly answered: AnsweredToolCall | null
  /** The tools that the request brings. */
  readonly tools: {
    /** Names by which the model may call the client's tools: no tool of Sluice's may have one of them. */
    readonly names: ReadonlyArray<string>
    /** Whether tools may be added: not where none may be called, or where the answer could not go on from their results. */
    readonly open: boolean
  }
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

/** What a request says of its tools where its dialect has no place for any. */
export const noTools: RequestView["tools"] = { names: [], open: false }

/**
 * Who runs a tool call, and so whom the model waits for: Sluice (an injected tool), the client, or the provider, which
 * has run its hosted tools before the turn is over.
 */
export type ToolRunner = "gateway" | "client" | "provider"

/** A tool call the model made, as far as it was seen. */
export interface SeenToolCall {
  /** The provider's id of the call; empty where it gave none. */
  readonly callId: string
  readonly name: string
  /** The arguments as text, joined from however many pieces they came in. */
  readonly arguments: string
  /** Whether the arguments are JSON by the protocol, or free text (custom tools). */
  readonly json: boolean
  readonly runner: ToolRunner
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

/**
 * Reads what an upstream answers in one turn. It sees each frame once, in order, and releases those that go on.
 *
 * What it releases is the turn as if the injected calls in it had not been made: their frames are withheld, and what
 * stands behind them is renumbered within the turn. Where nothing is withheld every byte is the upstream's own, but for
 * the injected tools that response objects echo.
 */
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
  /**
   * The turn has come to its end with injected calls in it that can be run: the frames of that end are held until
   * `release`. A turn that fails, or is incomplete, holds nothing: its injected calls are not run.
   */
  readonly holding: boolean
  /** Releases the frames of the end that were held. */
  release(out: Array<Frame>): void
  summary(): TurnSummary
}

/** Writes what the client sees: all turns of an interception as one answer. */
export interface AnswerWriter {
  push(frame: Frame, turn: number, out: Array<Frame>): void
  /**
   * A turn has ended on injected calls only, and another follows. `end` is what its reader had held. Of that nothing is
   * shown by itself: its usage and its output go into the end of the whole answer.
   */
  next(end: ReadonlyArray<Frame>): void
  /** The last turn has ended well. */
  finish(out: Array<Frame>): void
  /** What fills the upstream's silence without meaning anything; `null` where there is no such frame. */
  keepAlive(transport: TransportName): Frame | null
  /** Ends the answer with an error event. Nothing is written where the transport has none (`json`). */
  fail(error: GatewayError, transport: TransportName, out: Array<Frame>): void
}

/**
 * What a client is told that several turns used: `sum`, all of it; `context`, the input of the last turn and the output
 * of all, for coding agents take the input of an answer for the size of their context.
 */
export type ClientUsage = "sum" | "context"

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
    /** The request going on from another stored answer than the one it names. */
    readonly continueFrom: (body: Buffer, id: string) => Buffer
    /** Asks the upstream for usage where the client did not. Answers the same buffer where there is nothing to ask. */
    readonly askForUsage: (view: RequestView, body: Buffer) => Buffer
    /** Adds tools, at least one, where prompt caches are hurt least. */
    readonly injectTools: (body: Buffer, tools: ReadonlyArray<ToolDefinition>) => Buffer
    /** Forbids the model to call any tool, the tools themselves left as they are. */
    readonly forbidTools: (body: Buffer) => Buffer
    /**
     * The request that goes on from a turn that ended on injected calls: `body` is that turn's request, `output` what
     * `output` made of its answer. `null` where the request has no place for them.
     */
    readonly continueWith: (
      body: Buffer,
      output: ReadonlyArray<string>,
      results: ReadonlyArray<ToolResult>
    ) => Buffer | null
  }
  /**
   * A turn's output as input of the next, from the turn's frames as they came: each a JSON text (one message, or the
   * items of a response), with everything that the model has to see again. `null` where they cannot be read.
   */
  readonly output: (frames: ReadonlyArray<Frame>) => ReadonlyArray<string> | null
  /** Remembers what clients are not shown; left out where a protocol has no place for it. */
  readonly memory?: ToolMemory
  /** A reader for the upstream's side of one turn. `injected` are the names of the tools that Sluice added, if any. */
  readonly turn: (options: { readonly asked: RequestView; readonly injected?: ReadonlySet<string> }) => TurnReader
  /**
   * A writer for the client's side of an interception. `model` is the string every frame carries, where Sluice changed
   * the request's; `null` leaves the upstream's, and so it is with `previous` and the response that the request goes on
   * from. `usageAdded` says that Sluice asked for usage and the client did not.
   * `headers` are the client's, by lower-case name: what fills silence may depend on who reads it. `injected` says that
   * tools were added, so that there may be several turns; `usage`, what a client is told they used: `sum` if left out.
   */
  readonly answer: (options: {
    readonly asked: RequestView
    readonly model: string | null
    readonly usageAdded: boolean
    readonly previous?: string | null
    readonly injected?: boolean
    readonly usage?: ClientUsage
    readonly headers?: { readonly [name: string]: string | ReadonlyArray<string> | undefined }
  }) => AnswerWriter
  /** The body of an error answer in this protocol. */
  readonly errorBody: (error: GatewayError, requestId: string) => string
  /** The names under which an answer carries its request id in its head. */
  readonly requestIdHeader: string
}
