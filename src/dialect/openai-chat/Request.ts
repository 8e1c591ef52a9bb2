import { locate, replace, set } from "../../wire/JsonSpan.ts"
import type { AnsweredToolCall, BadRequest, RequestView } from "../Dialect.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { bad, readBody } from "../RequestBody.ts"

/**
 * Reads a Chat Completions request. Judged are only the few things without which it is none; unknown fields and values
 * are the upstream's business. Reference: https://platform.openai.com/docs/api-reference/chat/create
 */
export const view = (raw: Buffer): RequestView | BadRequest => readBody(raw, (body) => viewOf(raw, body))

const viewOf = (raw: Buffer, body: JsonObject): RequestView | BadRequest => {
  if (body.model === undefined) return bad("you must provide a model parameter", "model")
  if (typeof body.model !== "string") return bad("Invalid type for 'model': expected a string.", "model")
  if (body.messages === undefined) return bad("Missing required parameter: 'messages'.", "messages")
  if (!Array.isArray(body.messages)) return bad("Invalid type for 'messages': expected an array.", "messages")
  const options = body.stream_options
  return {
    _tag: "RequestView",
    raw,
    model: body.model,
    stream: body.stream === true,
    prompt: lastPrompt(body.messages),
    wantsUsage: isObject(options) && options.include_usage === true,
    choices: typeof body.n === "number" && body.n >= 1 ? Math.trunc(body.n) : 1,
    background: false,
    previous: null,
    answered: answeredCall(body.messages),
    tools: toolsOf(body),
    session: {
      userId: typeof body.user === "string" ? body.user : null,
      cacheKey: typeof body.prompt_cache_key === "string" ? body.prompt_cache_key : null
    }
  }
}

/** The client's tools. Tools that Sluice adds would be refused beside the old `functions`, and run for one choice only. */
const toolsOf = (body: JsonObject): RequestView["tools"] => {
  const { tools, tool_choice, n } = body
  const names: Array<string> = []
  for (const tool of Array.isArray(tools) ? tools : []) {
    if (!isObject(tool)) continue
    for (const definition of [tool.function, tool.custom])
      if (isObject(definition) && typeof definition.name === "string") names.push(definition.name)
  }
  const isList = isMissing(tools) || Array.isArray(tools)
  const isOld = !isMissing(body.functions) || !isMissing(body.function_call)
  return { names, open: isList && !isOld && tool_choice !== "none" && !(typeof n === "number" && n > 1) }
}

const isMissing = (value: unknown): boolean => value === undefined || value === null

/** The text of the last message that is no instruction, if a person wrote it. */
const lastPrompt = (messages: ReadonlyArray<unknown>): string | null => {
  for (let i = messages.length - 1; i >= 0; i--) {
    const message = messages[i]
    if (!isObject(message)) return null
    if (message.role === "system" || message.role === "developer") continue
    return message.role === "user" ? textOf(message.content) : null
  }
  return null
}

/** The call that the last message of role `tool` answers, with what the messages before say of it. */
const answeredCall = (messages: ReadonlyArray<unknown>): AnsweredToolCall | null => {
  for (let i = messages.length - 1; i >= 0; i--) {
    const message = messages[i]
    if (!isObject(message) || message.role !== "tool" || typeof message.tool_call_id !== "string") continue
    return { callId: message.tool_call_id, call: madeCall(messages, i, message.tool_call_id) }
  }
  return null
}

const madeCall = (messages: ReadonlyArray<unknown>, before: number, callId: string): AnsweredToolCall["call"] => {
  for (let i = before - 1; i >= 0; i--) {
    const message = messages[i]
    if (!isObject(message) || !Array.isArray(message.tool_calls)) continue
    const call: unknown = message.tool_calls.find((one) => isObject(one) && one.id === callId)
    if (!isObject(call)) continue
    const made = isObject(call.function) ? call.function : isObject(call.custom) ? call.custom : {}
    return typeof made.name === "string" ? { name: made.name, arguments: made.arguments ?? made.input } : null
  }
  return null
}

const textOf = (content: unknown): string | null => {
  if (typeof content === "string") return content
  if (!Array.isArray(content)) return null
  const texts: Array<string> = []
  for (const part of content) {
    if (isObject(part) && part.type === "text" && typeof part.text === "string") texts.push(part.text)
  }
  return texts.length === 0 ? null : texts.join("\n")
}

/** The request with another model. */
export const editModel = (body: Buffer, model: string): Buffer =>
  replace(body, ["model"], JSON.stringify(model)) ?? body

/**
 * The request with `stream_options.include_usage` set, also over an explicit `false` or null. Anything that is not a
 * stream, asks already, or has `stream_options` that are no object is left alone.
 */
export const askForUsage = (view: RequestView, body: Buffer): Buffer => {
  if (!view.stream || view.wantsUsage) return body
  const options = locate(body, ["stream_options"])
  const first = options === null ? undefined : body[options.start]
  if (first === undefined || first === nullByte) return set(body, ["stream_options"], '{"include_usage":true}') ?? body
  return set(body, ["stream_options", "include_usage"], "true") ?? body
}

/** The first byte of a JSON null. */
const nullByte = 0x6e
