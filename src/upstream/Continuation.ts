import { isDeepStrictEqual } from "node:util"
import { inputItems } from "../dialect/openai-responses/ClientEvents.ts"
import { isObject, type JsonObject } from "../dialect/Json.ts"
import { isDeeperThan } from "../wire/JsonDepth.ts"
import { elements, members, type Span } from "../wire/JsonSpan.ts"

/**
 * Which requests may go over a WebSocket in place of HTTP with the same outcome, and which of them may leave out what a
 * response before has in the memory of the connection: https://developers.openai.com/api/docs/guides/websocket-mode
 */

/** A request of Responses that may go over a WebSocket. */
export interface SocketRequest {
  readonly body: Buffer
  /** The members besides the input, each as its JSON text. */
  readonly fields: ReadonlyMap<string, string>
  /** The input, each item as its JSON text; `null` where no response may go on from this one. */
  readonly items: ReadonlyArray<Buffer> | null
  /** Where the values of `input` and `previous_response_id` stand, if they do. */
  readonly input: Span | null
  readonly previous: Span | null
}

/** A response that a connection has in memory. */
export interface Remembered {
  readonly id: string
  readonly fields: ReadonlyMap<string, string>
  /** The input of its request, and behind that its output. */
  readonly items: ReadonlyArray<Buffer>
  /** Where the output begins. */
  readonly output: number
}

/**
 * Members that mean something else on a WebSocket, or on one connection only. A response that the client names itself is
 * one of them: a connection knows responses that nobody stored, which over HTTP are not found.
 */
const notShared = ["type", "stream_id", "generate", "background", "previous_response_id", "conversation"]

/** The largest request that is remembered, in bytes, and the largest output. */
export const longestRemembered = 2 * 1024 * 1024

/**
 * Reads a request's body; `null` where its outcome over a WebSocket could be another one than over HTTP.
 *
 * What is remembered are requests with `store: false` only: a response that is stored may be changed or deleted before
 * somebody goes on from it, and going on from it by its id is then not what sending the input again would be.
 */
export const socketRequest = (body: Buffer): SocketRequest | null => {
  const found = body[0] === byteOrderMark ? null : members(body)
  if (found === null) return null
  const fields = new Map<string, string>()
  const spans = new Map<string, Span>()
  for (const { key, span } of found) {
    // Parsers do not agree on a key that comes twice.
    if (spans.has(key)) return null
    spans.set(key, span)
    if (key !== "input") fields.set(key, body.toString("utf8", span.start, span.end))
  }
  for (const key of notShared) {
    const value = fields.get(key)
    if (value !== undefined && value !== "null" && !(key === "background" && value === "false")) return null
  }
  if (fields.get("stream") !== "true") return null
  fields.delete("previous_response_id")
  const input = spans.get("input") ?? null
  const kept = input !== null && fields.get("store") === "false" && body.length <= longestRemembered
  const items = kept ? itemsIn(body, input) : null
  return { body, fields, items, input, previous: spans.get("previous_response_id") ?? null }
}

const byteOrderMark = 0xef
const quote = 0x22
const brace = 0x7b

/** The items of an input: a string is a message of its user's. */
const itemsIn = (body: Buffer, input: Span): ReadonlyArray<Buffer> | null => {
  if (body[input.start] === quote) return inputItems(body).map((item) => Buffer.from(item))
  return elements(body, input)?.map(({ end, start }) => body.subarray(start, end)) ?? null
}

/** A body as a message, with something in the place of some values, which are given in their order. */
const messageOf = (body: Buffer, added: string, values: ReadonlyArray<readonly [Span, Buffer]>): Buffer => {
  let at = body.indexOf(brace) + 1
  const parts = [body.subarray(0, at), Buffer.from(`"type":"response.create",${added}`)]
  for (const [{ end, start }, value] of values) {
    parts.push(body.subarray(at, start), value)
    at = end
  }
  return Buffer.concat([...parts, body.subarray(at)])
}

/** The request as a message. */
export const createMessage = ({ body }: SocketRequest): Buffer => messageOf(body, "", [])

/** The request as a message that goes on from a response in memory. */
export const continuingMessage = (request: SocketRequest, id: string, items: ReadonlyArray<Buffer>): Buffer => {
  const { body, input, previous } = request
  const written = JSON.stringify(id)
  const values: Array<readonly [Span, Buffer]> = []
  if (input !== null) values.push([input, Buffer.from(`[${items.join(",")}]`)])
  if (previous !== null) values.push([previous, Buffer.from(written)])
  values.sort(([left], [right]) => left.start - right.start)
  return messageOf(body, previous === null ? `"previous_response_id":${written},` : "", values)
}

/**
 * What is remembered of a response that has completed; `null` where its output, sent as input, would not say all that
 * the model knows: reasoning that is not encrypted stays with the provider, as may what its own tools have found.
 */
export const remembered = (request: SocketRequest, id: string, output: ReadonlyArray<string>): Remembered | null => {
  const { fields, items } = request
  if (items === null || !output.every(saysAll)) return null
  return { id, fields, items: [...items, ...output.map((item) => Buffer.from(item))], output: items.length }
}

const saysAll = (text: string): boolean => {
  const item = parsed(text)
  if (!isObject(item)) return false
  if (item.type === "reasoning") return typeof item.encrypted_content === "string" && item.encrypted_content !== ""
  return item.type === "message" || item.type === "function_call" || item.type === "custom_tool_call"
}

/**
 * The items that a request adds to a response in memory; `null` where it is no continuation of it. It is one where all
 * besides the input is the same text, and the input begins with the same values, item by item.
 *
 * Different callers may share a credential, and with it a connection. Whoever goes on from a response has sent all of its
 * input and all of its output, so that the model is told nothing that the request does not hold: what it is answered
 * reveals nothing of anybody else. Only how long it takes could tell that somebody had sent the same before, as the
 * provider's own prompt cache does for a credential.
 */
export const addedTo = (memory: Remembered, request: SocketRequest): ReadonlyArray<Buffer> | null => {
  const { fields, items } = request
  if (items === null || items.length <= memory.items.length || fields.size !== memory.fields.size) return null
  for (const [key, value] of fields) if (memory.fields.get(key) !== value) return null
  // What differs, does so at the end most often.
  for (let at = memory.items.length - 1; at >= 0; at--) {
    if (!sameItem(memory.items[at]!, items[at]!, at >= memory.output)) return null
  }
  return items.slice(memory.items.length)
}

/** Names of items say nothing to a model, nor how they ended; clients that store nothing leave them out. */
const nominal = ["id", "status"] as const

/** @param isOutput whether `kept` is as the provider wrote it, and `sent` what the client made of it */
const sameItem = (kept: Buffer, sent: Buffer, isOutput: boolean): boolean => {
  if (kept.equals(sent)) return true
  const [one, other] = [kept.toString(), sent.toString()]
  // Numbers that differ may be read as the same one.
  if (manyDigits.test(one) || manyDigits.test(other)) return false
  const [left, right] = [parsed(one), parsed(other)]
  if (!isObject(left) || !isObject(right)) return false
  return isDeepStrictEqual(isOutput ? named(left, right) : left, right)
}

/** The item, without the nominal members that another one has not. */
const named = (item: JsonObject, other: JsonObject): JsonObject => {
  const rest: { [key: string]: unknown } = { ...item }
  for (const key of nominal) if (!Object.hasOwn(other, key)) delete rest[key]
  return rest
}

const manyDigits = /\d[\d.]{15}/

/** Items of models have some ten levels; comparing recurses. */
const deepest = 200

const parsed = (text: string): unknown => {
  if (isDeeperThan(text, deepest)) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
