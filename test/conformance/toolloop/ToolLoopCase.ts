import type { Counts, ReadError } from "../DialectCase.ts"

/** A part of what a model says, apart from how its protocol writes it. */
export type Part =
  | { readonly type: "text"; readonly text: string }
  /** `sealed` is what the provider wants back as it stands: a signature, or encrypted content. */
  | { readonly type: "thought"; readonly text: string; readonly sealed: string }
  | CallPart

export interface CallPart {
  readonly type: "call"
  readonly id: string
  readonly name: string
  readonly arguments: string
}

/** How an answer ended, apart from the protocol's word for it. */
export type Stop = "stop" | "length" | "tools"

/** One turn of an upstream that was offered tools. */
export interface LoopTurn {
  readonly id: string
  readonly parts: ReadonlyArray<Part>
  readonly stop: Stop
  readonly usage: Counts | null
  /** How the arguments of a call are cut; in three unless given. */
  readonly pieces?: (written: string) => ReadonlyArray<string>
  /** Whether the name of a call comes behind its arguments, where the protocol leaves room for that. */
  readonly lateName?: boolean
  /** Whether the pieces of parallel calls come in turns, where the protocol leaves room for that. */
  readonly interleaved?: boolean
  /** Whether the role of the message stands beside the first text, where the protocol leaves room for that. */
  readonly roleBeside?: boolean
  /** The index of the first call, where calls have an index of their own; 0 unless given. */
  readonly firstIndex?: number
}

/** What a client makes of an answer. */
export interface Seen {
  readonly id: string | null
  readonly model: string | null
  readonly parts: ReadonlyArray<Part>
  /** `null` where it never came. */
  readonly stop: Stop | null
  readonly usage: Counts | null
  /** Whether the frame that ends an answer came. */
  readonly ended: boolean
  /** The error event behind it all. */
  readonly error: ReadError | null
  /** How many frames filled silence. */
  readonly keepAlives: number
}

/** What the upstream is told of a tool call. */
export interface SentResult {
  readonly callId: string
  readonly text: string
  readonly isError: boolean
}

/** What the request of a turn adds to that of the turn before. */
export interface Continuation {
  readonly parts: ReadonlyArray<Part>
  readonly results: ReadonlyArray<SentResult>
}

/** What the tool loop's suite has to know of a dialect. */
export interface ToolLoopCase {
  /** A turn as a stream: whole events in order. */
  readonly stream: (turn: LoopTurn) => ReadonlyArray<string>
  /** A turn as a body. */
  readonly body: (turn: LoopTurn) => string
  /** How many events at the end of a stream say that the turn is over, and nothing else. */
  readonly endEvents: number
  /**
   * Reads what a client got, every rule of the protocol checked. A stream may break off anywhere behind a whole event,
   * or end in an error.
   */
  readonly readStream: (text: string) => Seen
  readonly readBody: (text: string) => Seen
  /** The parts as far as the protocol can tell them apart, in its order. */
  readonly shape: (parts: ReadonlyArray<Part>) => ReadonlyArray<Part>
  /** Whether the arguments of a call are text in every transport, so that they may be no JSON in any. */
  readonly textArguments: boolean
  /** Compares a request with that of the turn before, of which nothing else may have changed, and reads what is new. */
  readonly goesOn: (before: object, after: object) => Continuation
  /** Members of a request that declare tools of the client's. */
  readonly clientTools: (names: ReadonlyArray<string>) => { readonly [name: string]: unknown }
  /** The names of the tools of a request, in order. */
  readonly offered: (request: object) => ReadonlyArray<string>
  /** Whether the client's tools come first in requests. */
  readonly clientFirst: boolean
  /** Whether a request forbids the use of tools. */
  readonly forbids: (request: object) => boolean
  /** Requests to which no tools may be added, by what their members say. */
  readonly closed: ReadonlyArray<{ readonly name: string; readonly members: { readonly [name: string]: unknown } }>
}
