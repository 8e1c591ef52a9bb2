import type { HeaderMap } from "../Exchange.ts"
import type { Answer, Conversation } from "./Conversation.ts"
import type { Directives } from "./Directives.ts"

/** A JSON object as it came in. */
export type JsonObject = { readonly [key: PropertyKey]: unknown }

/** Why a request, or an answer half given, fails, in the fields of OpenAI's error object. */
export interface Failure {
  readonly status: number
  readonly message: string
  readonly type: string
  readonly param: string | null
  readonly code: string | null
}

/** How a vendor words what is the same in all its calls. */
export interface Manner {
  /** The body of an error before the stream. */
  readonly failure: (failure: Failure, requestId: string) => string
  /** What stands in every head. */
  readonly headers: (requestId: string) => HeaderMap
}

/**
 * How the simulated provider speaks one protocol: what a request in it asks, and how an answer looks in it. What the
 * model says is the same in all of them (`Script.ts`); a protocol is one such value in a file of its own.
 */
export interface SimulatedDialect extends Manner {
  /** What the paths end in that speak it. */
  readonly path: string
  readonly read: (body: JsonObject) => Conversation | Failure
  /** The events of a streamed answer, each whole with its blank line; the last one ends the stream. */
  readonly stream: (answer: Answer, directives: Directives, request: JsonObject) => ReadonlyArray<string>
  /** Whether an event only says that the stream is over, and so is what `no-done` leaves out. */
  readonly isDone: (event: string) => boolean
  /** The body of an answer that is not streamed. */
  readonly whole: (answer: Answer, directives: Directives, request: JsonObject) => string
  /** Calls of the protocol that say nothing: what their paths end in, and their bodies. */
  readonly beside?: ReadonlyMap<string, (conversation: Conversation, directives: Directives) => string>
  /** The event of an error within the stream, behind so many others. */
  readonly failureEvent: (failure: Failure, behind: number) => string
}

/** JSON as OpenAI writes a body: indented by two, a newline behind it. */
export const pretty = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`

/** A request that is wrong, in OpenAI's words. */
export const invalid = (message: string, param: string | null, code: string | null, status = 400): Failure => ({
  status,
  message,
  type: "invalid_request_error",
  param,
  code
})

/** OpenAI's error object. */
export const errorObject = ({ code, message, param, type }: Failure) => ({ error: { message, type, param, code } })

/** OpenAI's manner. */
export const openAi: Manner = {
  failure: (failure) => pretty(errorObject(failure)),
  headers: (requestId) => ({
    "openai-version": "2020-10-01",
    "openai-processing-ms": "1",
    "x-request-id": requestId
  })
}
