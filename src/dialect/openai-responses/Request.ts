import { replace } from "../../wire/JsonSpan.ts"
import type { AnsweredToolCall, BadRequest, RequestView } from "../Dialect.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { bad, readBody } from "../RequestBody.ts"
import { toolCallOf } from "./Items.ts"

const isMissing = (value: unknown): boolean => value === undefined || value === null

/** What a response can be made of instead of an input. */
const insteadOfInput = ["previous_response_id", "conversation", "prompt"] as const

/**
 * Reads a Responses request. Judged are only the few things without which it is none; unknown fields and values are the
 * upstream's business. Reference: https://platform.openai.com/docs/api-reference/responses/create
 *
 * A stored prompt can name the model, so that a request with `prompt` needs none: its `model` is empty then.
 */
export const view = (raw: Buffer): RequestView | BadRequest => readBody(raw, (body) => viewOf(raw, body))

const viewOf = (raw: Buffer, body: JsonObject): RequestView | BadRequest => {
  const { input, model } = body
  if (isMissing(model) && isMissing(body.prompt)) return bad("you must provide a model parameter", "model")
  if (!isMissing(model) && typeof model !== "string")
    return bad("Invalid type for 'model': expected a string.", "model")
  if (isMissing(input)) {
    if (insteadOfInput.every((name) => isMissing(body[name]))) {
      return bad("Missing required parameter: 'input'.", "input")
    }
  } else if (typeof input !== "string" && !Array.isArray(input)) {
    return bad("Invalid type for 'input': expected a string or an array.", "input")
  }
  return {
    _tag: "RequestView",
    raw,
    model: typeof model === "string" ? model : "",
    stream: body.stream === true,
    prompt: typeof input === "string" ? input : Array.isArray(input) ? lastPrompt(input) : null,
    wantsUsage: true,
    choices: 1,
    background: body.background === true,
    previous: typeof body.previous_response_id === "string" ? body.previous_response_id : null,
    answered: Array.isArray(input) ? answeredCall(input) : null,
    tools: toolsOf(body),
    session: { userId: null, cacheKey: typeof body.prompt_cache_key === "string" ? body.prompt_cache_key : null }
  }
}

/** Tools in a namespace are called with it, so that their names are nobody else's. */
const toolsOf = ({ background, generate, tool_choice, tools }: JsonObject): RequestView["tools"] => {
  const names: Array<string> = []
  for (const tool of Array.isArray(tools) ? tools : []) {
    if (!isObject(tool) || (tool.type !== "function" && tool.type !== "custom")) continue
    if (typeof tool.name === "string") names.push(tool.name)
  }
  // A warm-up and a response that is made later end before any call could be run.
  const ends = background === true || generate === false
  return { names, open: !ends && tool_choice !== "none" && (isMissing(tools) || Array.isArray(tools)) }
}

/** The text of the last item, if a person wrote it. */
const lastPrompt = (input: ReadonlyArray<unknown>): string | null => {
  const item = input.at(-1)
  if (!isObject(item) || item.role !== "user") return null
  // A message may leave out that it is one.
  if (item.type !== undefined && item.type !== "message") return null
  if (typeof item.content === "string") return item.content
  if (!Array.isArray(item.content)) return null
  const texts: Array<string> = []
  for (const part of item.content) {
    if (isObject(part) && part.type === "input_text" && typeof part.text === "string") texts.push(part.text)
  }
  return texts.length === 0 ? null : texts.join("\n")
}

/** The call whose output comes last, with what the items before say of it. */
const answeredCall = (input: ReadonlyArray<unknown>): AnsweredToolCall | null => {
  const at = input.findLastIndex(isCallOutput)
  const output = input[at]
  if (!isCallOutput(output)) return null
  const callId = output.call_id
  for (let i = at - 1; i >= 0; i--) {
    const item = input[i]
    if (!isObject(item) || item.call_id !== callId) continue
    const call = toolCallOf(item)
    if (call !== null) return { callId, call: { name: call.name, arguments: call.arguments } }
  }
  return { callId, call: null }
}

/** Whether an item is what a client's tool answered: `function_call_output`, `custom_tool_call_output` and their like. */
const isCallOutput = (item: unknown): item is { readonly call_id: string } =>
  isObject(item) &&
  typeof item.type === "string" &&
  item.type.endsWith("_call_output") &&
  typeof item.call_id === "string"

/** The request with another model. */
export const editModel = (body: Buffer, model: string): Buffer =>
  replace(body, ["model"], JSON.stringify(model)) ?? body

/** The request going on from another response. */
export const continueFrom = (body: Buffer, id: string): Buffer =>
  replace(body, ["previous_response_id"], JSON.stringify(id)) ?? body

/** The same request: a response always says what it used. */
export const askForUsage = (_view: RequestView, body: Buffer): Buffer => body
