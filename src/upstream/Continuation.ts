import { isDeepStrictEqual } from "node:util"
import { inputItems } from "../dialect/openai-responses/ClientEvents.ts"
import { isObject, type JsonObject } from "../dialect/Json.ts"
import { isDeeperThan } from "../wire/JsonDepth.ts"
import { edit, insert, members } from "../wire/JsonSpan.ts"

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
  readonly items: ReadonlyArray<string> | null
}

/** A response that a connection has in memory. */
export interface Remembered {
  readonly id: string
  readonly fields: ReadonlyMap<string, string>
  /** The input of its request, and behind that its output. */
  readonly items: ReadonlyArray<string>
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
  let input = 0
  for (const { key, span } of found) {
    // Parsers do not agree on a key that comes twice.
    if (fields.has(key) || (key === "input" && input !== 0)) return null
    if (key === "input") input = body[span.start]!
    else fields.set(key, body.toString("utf8", span.start, span.end))
  }
  for (const key of notShared) {
    const value = fields.get(key)
    if (value !== undefined && value !== "null" && !(key === "background" && value === "false")) return null
  }
  if (fields.get("stream") !== "true") return null
  fields.delete("previous_response_id")
  const kept = fields.get("store") === "false" && (input === bracket || input === quote)
  return { body, fields, items: kept && body.length <= longestRemembered ? inputItems(body) : null }
}

const byteOrderMark = 0xef
const quote = 0x22
const bracket = 0x5b

const created = { op: "insert", path: [], key: "type", at: "first", raw: '"response.create"' } as const

/** The request as a message. */
export const createMessage = ({ body }: SocketRequest): Buffer => insert(body, [], created) ?? body

/** The request as a message that goes on from a response in memory. */
export const continuingMessage = ({ body }: SocketRequest, id: string, added: ReadonlyArray<string>): Buffer | null =>
  edit(body, [
    created,
    { op: "set", path: ["input"], raw: `[${added.join(",")}]` },
    { op: "set", path: ["previous_response_id"], raw: JSON.stringify(id) }
  ])

/**
 * What is remembered of a response that has completed; `null` where its output, sent as input, would not say all that
 * the model knows: reasoning that is not encrypted stays with the provider, as may what its own tools have found.
 */
export const remembered = (request: SocketRequest, id: string, output: ReadonlyArray<string>): Remembered | null => {
  const { fields, items } = request
  if (items === null || !output.every(saysAll)) return null
  return { id, fields, items: [...items, ...output], output: items.length }
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
export const addedTo = (memory: Remembered, request: SocketRequest): ReadonlyArray<string> | null => {
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
const sameItem = (kept: string, sent: string, isOutput: boolean): boolean => {
  if (kept === sent) return true
  // Numbers that differ may be read as the same one.
  if (manyDigits.test(kept) || manyDigits.test(sent)) return false
  const [left, right] = [parsed(kept), parsed(sent)]
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
