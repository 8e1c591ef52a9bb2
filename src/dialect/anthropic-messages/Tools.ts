import { type Edit, edit, elements, locate, set } from "../../wire/JsonSpan.ts"
import type { Dialect } from "../Dialect.ts"
import {
  type AnsweredCall,
  describePart,
  injector,
  isMet,
  type ToolContent,
  type ToolResult
} from "../InjectedTools.ts"
import { isObject, type JsonObject, parsedMember } from "../Json.ts"
import { blocksOf, isBlank } from "./Blocks.ts"

/**
 * The request with more tools. They come before the client's: its last tool usually ends a prefix to be cached
 * (`cache_control`), which then covers them too, and they change less often than a client's own.
 */
export const injectTools = injector("first", (about, schema) => `{${about},"input_schema":${schema}}`)

/** Forbids the model to call any tool: https://docs.anthropic.com/en/api/messages, `tool_choice`. */
export const forbidTools = (body: Buffer): Buffer => set(body, ["tool_choice"], '{"type":"none"}') ?? body

/**
 * The request that goes on from a turn. Appends the assistant's message, and one message of the user with all results:
 * Anthropic wants those of parallel calls together. Where the request ends with the beginning of the answer, the answer
 * goes on within that message. A demand for a tool call that has been met is taken back.
 */
export const continueWith: Dialect["edit"]["continueWith"] = (body, output, results) => {
  const messages = locate(body, ["messages"])
  const known = messages === null ? null : elements(body, messages)
  if (known === null) return null
  const answers = results.length === 0 ? [] : [`{"role":"user","content":[${resultTexts(results).join(",")}]}`]
  const last = known.at(-1)
  const begun = last === undefined ? null : body.subarray(last.start, last.end)
  const whole = begun === null || output.length === 0 ? null : completed(begun, Buffer.from(output[0]!))
  const edits: Array<Edit> = []
  if (whole !== null) edits.push({ op: "replace", path: ["messages", known.length - 1], raw: whole })
  const raw = [...(whole === null ? output : output.slice(1)), ...answers].join(",")
  if (raw !== "") edits.push({ op: "insert", path: ["messages"], raw })
  const said = parsedMember(body, "tool_choice")
  if (isObject(said) && isMet(said.type === "any" ? true : said.name, output.flatMap(callsOf), results)) {
    edits.push({ op: "replace", path: ["tool_choice", "type"], raw: '"auto"' })
    if ("name" in said) edits.push({ op: "remove", path: ["tool_choice", "name"] })
  }
  return edit(body, edits)
}

const callsOf = (text: string): ReadonlyArray<AnsweredCall> => {
  const message: unknown = JSON.parse(text)
  const blocks: ReadonlyArray<unknown> = isObject(message) && Array.isArray(message.content) ? message.content : []
  return blocks.flatMap((block) => (isObject(block) ? [{ callId: block.id, name: block.name }] : []))
}

/**
 * The message that a request ends with, with the answer that goes on from it put in: text goes on in the text it ends
 * with. `null` where it is none of the assistant's.
 */
const completed = (begun: Buffer, answer: Buffer): Buffer | null => {
  if (parsedMember(begun, "role") !== "assistant") return null
  const added = blocksOf(answer)
  if (added === null) return null
  const said = parsedMember(begun, "content")
  const before = typeof said !== "string" ? blocksOf(begun) : said === "" ? [] : [textBlock(said)]
  if (before === null) return null
  const last = before.at(-1)
  const joined = last === undefined || added[0] === undefined ? null : joinTexts(last, added[0])
  const blocks = joined === null ? [...before, ...added] : [...before.slice(0, -1), joined, ...added.slice(1)]
  return set(begun, ["content"], `[${blocks.join(",")}]`)
}

/** Two blocks as one, if both are text and the second brings nothing else that matters, as citations would. */
const joinTexts = (first: string, second: string): string | null => {
  const before: unknown = JSON.parse(first)
  const after: unknown = JSON.parse(second)
  if (!isObject(before) || !isObject(after) || before.type !== "text" || after.type !== "text") return null
  if (typeof before.text !== "string" || typeof after.text !== "string" || isCited(before) || isCited(after))
    return null
  return String(set(Buffer.from(first), ["text"], JSON.stringify(before.text + after.text)))
}

const isCited = ({ citations }: JsonObject): boolean => Array.isArray(citations) && citations.length > 0

const textBlock = (text: string): string => `{"type":"text","text":${JSON.stringify(text)}}`

/** Results as the request has them: one block each. */
export const resultTexts = (results: ReadonlyArray<ToolResult>): ReadonlyArray<string> => results.map(resultText)

/** Anthropic refuses errors whose content is empty, or anything but text. */
const resultText = ({ callId, content, isError }: ToolResult): string => {
  const parts = content.filter((part) => part.type !== "text" || !isBlank(part.text))
  const said = parts.map((part) => (isError ? { type: "text", text: textOf(part) } : partOf(part)))
  if (isError && said.length === 0) said.push({ type: "text", text: "The tool failed and did not say why." })
  const only = said.length === 1 ? said[0] : undefined
  const value = only?.type === "text" ? only.text : said.length === 0 ? undefined : said
  return JSON.stringify({
    type: "tool_result",
    tool_use_id: callId,
    content: value,
    is_error: isError ? true : undefined
  })
}

const textOf = (part: ToolContent): string => (part.type === "text" ? part.text : describePart(part))

/** The kinds of image that can be shown: https://docs.anthropic.com/en/docs/build-with-claude/vision */
const images = new Set(["image/jpeg", "image/png", "image/gif", "image/webp"])

const partOf = (part: ToolContent): JsonObject => {
  if (part.type === "image" && images.has(part.mimeType)) return encoded("image", part)
  if (part.type === "file" && part.mimeType === "application/pdf") return encoded("document", part)
  return { type: "text", text: textOf(part) }
}

const encoded = (type: string, { mimeType, data }: { readonly mimeType: string; readonly data: string }) => ({
  type,
  source: { type: "base64", media_type: mimeType, data }
})
