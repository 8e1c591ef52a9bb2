import type { Frame } from "../../wire/Frame.ts"
import type { DialectName, RequestView } from "../Dialect.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { readBody } from "../RequestBody.ts"
import { nameOf } from "../openai-responses/Events.ts"

/** The protocols whose frames inference that is passed through may be answered in. */
export type Protocol = Extract<DialectName, "openai-chat" | "openai-responses">

/**
 * The protocol that an answer's first frame with data is of: `responses/compact` streams the events of Responses, and
 * `completions` answers with choices, as chat does. `null` for everything that has no protocol of its own.
 */
export const protocolOf = (frame: Frame): Protocol | null => {
  if (frame.kind !== "body" && nameOf(frame).startsWith("response.")) return "openai-responses"
  return isObject(frame.json) && Array.isArray(frame.json.choices) ? "openai-chat" : null
}

/** Whether a frame can tell the protocol of its answer: comments and pieces of something large cannot. */
export const tells = ({ dataEnd, dataStart, kind }: Frame): boolean =>
  kind === "body" || ((kind === "event" || kind === "message") && dataEnd > dataStart)

/** The protocol of a stream of which nothing has come: only calls of Responses have both `input` and `stream`. */
export const expectedProtocol = ({ raw }: RequestView): Protocol => {
  const body = parsed(raw)
  return body !== null && body.stream === true && body.input !== undefined ? "openai-responses" : "openai-chat"
}

/** A request's body as JSON; `null` where it is none, as a form with a file in it. */
export const parsed = (raw: Buffer): JsonObject | null => {
  if (raw[0] !== 0x7b && !/^(\xef\xbb\xbf)?\s*\{/.test(raw.toString("latin1", 0, 64))) return null
  const body = readBody(raw, (value) => ({ value }))
  return "value" in body ? body.value : null
}
