/**
 * What clients of Responses say over a WebSocket, and what they are told there: the events of the streams, each a text
 * message, with the name of their lane where it has one. Reference: https://developers.openai.com/api/docs/guides/websocket-mode
 */
import { type Frame, sse, whole } from "../../wire/Frame.ts"
import { readString } from "../../wire/JsonScan.ts"
import { elements, insert, locate, locateAll, remove, set } from "../../wire/JsonSpan.ts"
import { type GatewayError, gatewayError } from "../GatewayError.ts"
import { isObject, parsedMember } from "../Json.ts"
import { nameOf, terminals } from "./Events.ts"
import { errorMessage } from "./Writer.ts"

/** A message of a client. `streamId` is `null` on the lane without a name. */
export type ClientEvent =
  | {
      readonly _tag: "Create"
      readonly streamId: string | null
      readonly model: string
      /** `false`: a warm-up, which prepares what comes next and says nothing. */
      readonly generate: boolean
      /** The response it goes on from. */
      readonly previous: string | null
      /** Whether the provider may keep the response. */
      readonly store: boolean
    }
  | {
      readonly _tag: "Other"
      readonly streamId: string | null
      readonly type: string
      /** The response it is about, where it names one. */
      readonly response: string | null
    }
  | { readonly _tag: "Bad"; readonly streamId: string | null; readonly error: GatewayError }

const streamIdForm = /^[A-Za-z0-9_.-]{1,256}$/

const bad = (message: string, param: string | null = null, streamId: string | null = null): ClientEvent => ({
  _tag: "Bad",
  streamId,
  error: gatewayError(400, "invalid_request", message, { param })
})

/** Reads a text message of a client. Judged is only what the connection itself has to know. */
export const readClientEvent = (data: Buffer): ClientEvent => {
  const event = whole("message", data).json
  if (event === undefined) return bad("The message is not valid JSON.")
  if (!isObject(event)) return bad("The message must be a JSON object.")
  const { stream_id: streamId = null, type } = event
  if (streamId !== null && (typeof streamId !== "string" || !streamIdForm.test(streamId))) {
    const message = "stream_id must have 1 to 256 characters, each a letter, a digit, or one of _ . -"
    return {
      _tag: "Bad",
      streamId: null,
      error: gatewayError(400, "invalid_stream_id", message, { param: "stream_id" })
    }
  }
  if (typeof type !== "string") return bad("Missing required parameter: 'type'.", "type", streamId)
  if (type !== "response.create") {
    const response = event.response_id ?? event.previous_response_id
    return { _tag: "Other", streamId, type, response: typeof response === "string" ? response : null }
  }
  return {
    _tag: "Create",
    streamId,
    model: typeof event.model === "string" ? event.model : "",
    generate: event.generate !== false,
    previous: typeof event.previous_response_id === "string" ? event.previous_response_id : null,
    store: event.store !== false
  }
}

/** The lane an upstream's event belongs to: the one without a name where it says nothing. */
export const streamIdOf = (data: Buffer): string | null => {
  const span = locate(data, ["stream_id"])
  if (span === null || data[span.start] !== 0x22) return null
  return readString(data, span.start, span.end)
}

/** What a message of an upstream is called. */
export const nameOfMessage = (data: Buffer): string => nameOf(whole("message", data))

/** Whether a message of this name is the last of its response. */
export const isLast = (name: string): boolean => terminals.has(name) || name === "error"

/** The id of the response that a message of an upstream holds; `null` where it holds none. */
export const createdId = (data: Buffer): string | null => textOf(data, "id")

/** The model of the response that a message of an upstream holds; `null` where it says none. */
export const responseModelOf = (data: Buffer): string | null => textOf(data, "model")

const textOf = (data: Buffer, key: string): string | null => {
  const [span] = locateAll(data, [["response", key]])
  return !span || data[span.start] !== 0x22 ? null : readString(data, span.start, span.end)
}

/** The message with the name of its lane; the same on the one without. */
export const onLane = (data: Buffer, streamId: string | null): Buffer =>
  streamId === null || locate(data, ["stream_id"]) !== null
    ? data
    : (insert(data, [], { key: "stream_id", raw: JSON.stringify(streamId) }) ?? data)

/** An error as a message of its own. */
export const errorOnLane = (error: GatewayError, streamId: string | null): Buffer =>
  onLane(errorMessage(error).bytes, streamId)

const httpOnly = ["type", "stream_id", "generate"] as const

/**
 * A `response.create` as the body of an HTTP request for the same response.
 *
 * @param input what stands in the place of its input and `previous_response_id`; `null` leaves both
 */
export const requestOf = (create: Buffer, input: ReadonlyArray<string> | null): Buffer => {
  let body = create
  for (const key of httpOnly) body = remove(body, [key]) ?? body
  body = set(body, ["stream"], "true") ?? body
  if (input === null) return body
  body = set(body, ["input"], `[${input.join(",")}]`) ?? body
  return remove(body, ["previous_response_id"]) ?? body
}

/** The input of a request as items, each as JSON text: a string is a message of its user's. */
export const inputItems = (body: Buffer): ReadonlyArray<string> => {
  const span = locate(body, ["input"])
  if (span === null) return []
  if (body[span.start] === 0x22) return [`{"role":"user","content":${body.toString("utf8", span.start, span.end)}}`]
  return (elements(body, span) ?? []).map(({ end, start }) => body.toString("utf8", start, end))
}

/**
 * A request that goes on from a turn of its own connection, whose response the upstream has in memory: of the turn's
 * output and the results of its calls, which stand last in the input, only the results are sent. What went before that
 * response need not be in memory any more: https://developers.openai.com/api/docs/guides/websocket-mode
 *
 * @param create as `continueWith` has made it
 * @param id the turn's response
 */
export const resultsFor = (create: Buffer, id: string): Buffer => {
  const conversation = locate(create, ["conversation"])
  // A conversation has the output by itself.
  if (conversation !== null && create[conversation.start] !== nullStart) return create
  const items = inputItems(create)
  const results = items.slice(items.findLastIndex((item) => !isCallOutput(item)) + 1)
  const body = set(create, ["input"], `[${results.join(",")}]`) ?? create
  return set(body, ["previous_response_id"], JSON.stringify(id)) ?? body
}

const nullStart = 0x6e

const isCallOutput = (text: string): boolean => parsedMember(Buffer.from(text), "type") === "function_call_output"

/** Whether an event, or a whole response, says what a response that goes on from this one has to know. */
export const isOutput = (frame: Frame): boolean =>
  frame.kind === "body" || frame.terminal || nameOf(frame) === "response.output_item.done"

/** Whether an event ends a response that was steered: one follows that its client has not asked for. */
export const isSteered = (frame: Frame): boolean => {
  if (nameOf(frame) !== "response.incomplete" || !isObject(frame.json)) return false
  const { response } = frame.json
  const details = isObject(response) ? response.incomplete_details : null
  return isObject(details) && details.reason === "steered"
}

/** The events of a warm-up that nobody but the gateway carries out: a response without any output. */
export const warmUp = (id: string, model: string, createdAt: number): ReadonlyArray<Frame> => {
  const response = {
    id,
    object: "response",
    created_at: createdAt,
    model,
    error: null,
    incomplete_details: null,
    output: []
  }
  const usage = {
    input_tokens: 0,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 0,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 0
  }
  const event = (type: string, sequence_number: number, rest: object) =>
    sse(type, JSON.stringify({ type, sequence_number, response: { ...response, ...rest } }))
  return [
    event("response.created", 0, { status: "in_progress", usage: null }),
    event("response.completed", 1, { status: "completed", usage })
  ]
}
