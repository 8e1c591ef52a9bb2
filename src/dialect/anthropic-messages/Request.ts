import { replace } from "../../wire/JsonSpan.ts"
import type { AnsweredToolCall, BadRequest, RequestView } from "../Dialect.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { bad, readBody } from "../RequestBody.ts"

/**
 * Reads a Messages request. Judged are only the few things without which it is none, in the words of Anthropic's own
 * errors; unknown fields and values are the upstream's business, for Claude Code answers any 400 by leaving features out.
 * Reference: https://docs.anthropic.com/en/api/messages
 */
export const view = (raw: Buffer): RequestView | BadRequest =>
  readBody(raw, (body) => viewOf(raw, body), "Input should be a valid dictionary.")

const viewOf = (raw: Buffer, body: JsonObject): RequestView | BadRequest => {
  if (body.model === undefined) return bad("model: Field required", "model")
  if (typeof body.model !== "string") return bad("model: Input should be a valid string", "model")
  if (body.messages === undefined) return bad("messages: Field required", "messages")
  if (!Array.isArray(body.messages)) return bad("messages: Input should be a valid list", "messages")
  const { metadata } = body
  return {
    _tag: "RequestView",
    raw,
    model: body.model,
    stream: body.stream === true,
    prompt: lastPrompt(body.messages),
    wantsUsage: true,
    choices: 1,
    background: false,
    previous: null,
    answered: answeredCall(body.messages),
    tools: toolsOf(body),
    session: {
      userId: isObject(metadata) && typeof metadata.user_id === "string" ? metadata.user_id : null,
      cacheKey: null
    }
  }
}

/**
 * The names of all tools, those that the provider runs too. In a message thread (beta) the upstream holds the
 * conversation, and what goes on from a message is written otherwise than here.
 */
const toolsOf = ({ tools, tool_choice: choice, thread }: JsonObject): RequestView["tools"] => {
  const names: Array<string> = []
  for (const tool of Array.isArray(tools) ? tools : [])
    if (isObject(tool) && typeof tool.name === "string") names.push(tool.name)
  const addable = tools === undefined || tools === null || Array.isArray(tools)
  const forbidden = isObject(choice) && choice.type === "none"
  return { names, open: addable && !forbidden && (thread === undefined || thread === null) }
}

/** The text of the last message that is no instruction, if a person wrote it. */
const lastPrompt = (messages: ReadonlyArray<unknown>): string | null => {
  for (let i = messages.length - 1; i >= 0; i--) {
    const message = messages[i]
    if (!isObject(message)) return null
    if (message.role === "system" || message.role === "developer") continue
    if (message.role !== "user") return null
    if (typeof message.content === "string") return message.content
    const blocks = blocksOf(message)
    return blocks.some((block) => block.type === "tool_result") ? null : textOf(blocks)
  }
  return null
}

const textOf = (blocks: ReadonlyArray<JsonObject>): string | null => {
  const texts: Array<string> = []
  for (const block of blocks) if (block.type === "text" && typeof block.text === "string") texts.push(block.text)
  return texts.length === 0 ? null : texts.join("\n")
}

const blocksOf = (message: unknown): ReadonlyArray<JsonObject> =>
  isObject(message) && Array.isArray(message.content) ? message.content.filter(isObject) : []

/** The call that the last `tool_result` answers, with what the messages before say of it. */
const answeredCall = (messages: ReadonlyArray<unknown>): AnsweredToolCall | null => {
  for (let i = messages.length - 1; i >= 0; i--) {
    const result = blocksOf(messages[i]).findLast(
      (block) => block.type === "tool_result" && typeof block.tool_use_id === "string"
    )
    if (result === undefined) continue
    const callId = result.tool_use_id as string
    return { callId, call: madeCall(messages, i, callId) }
  }
  return null
}

const madeCall = (messages: ReadonlyArray<unknown>, before: number, callId: string): AnsweredToolCall["call"] => {
  for (let i = before - 1; i >= 0; i--) {
    const call = blocksOf(messages[i]).find((block) => block.type === "tool_use" && block.id === callId)
    if (call === undefined) continue
    return typeof call.name === "string" ? { name: call.name, arguments: call.input } : null
  }
  return null
}

/** The request with another model. */
export const editModel = (body: Buffer, model: string): Buffer =>
  replace(body, ["model"], JSON.stringify(model)) ?? body
