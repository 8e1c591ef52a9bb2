import { members } from "../../wire/JsonSpan.ts"
import type { SeenThought, SeenToolCall, ToolRunner } from "../Dialect.ts"
import { isObject, type JsonObject, jsonText } from "../Json.ts"

/** What the output of a model is made of: messages, reasoning and calls, as items of a list. */

/** What is recorded of one item. */
export interface SeenItem {
  readonly call: SeenToolCall | null
  readonly thoughts: ReadonlyArray<SeenThought>
}

/** An item's own JSON text, for what is nested too deep to be written anew; `null` where it is not at hand. */
export type ItemText = () => Buffer | null

const noText: ItemText = () => null

/**
 * Reads an item of a response's output: https://platform.openai.com/docs/api-reference/responses/object
 *
 * @param injected the names of the tools that Sluice added, if any
 */
export const readItem = (item: unknown, injected?: ReadonlySet<string>, text?: ItemText): SeenItem =>
  isObject(item) ? { call: toolCallOf(item, injected, text), thoughts: thoughtsOf(item) } : { call: null, thoughts: [] }

/**
 * Whether an item is a call of one of `injected`, the tools that Sluice added; `null` where it is one of a tool whose
 * name has not come yet. A tool in a namespace is another one, whatever its name.
 */
export const isInjectedCall = (item: unknown, injected: ReadonlySet<string>): boolean | null => {
  if (!isObject(item) || item.type !== "function_call") return false
  if (typeof item.namespace === "string" && item.namespace !== "") return false
  if (typeof item.name !== "string" || item.name === "") return null
  return injected.has(item.name)
}

/**
 * The call that an item is, if it is one. Tools that the provider hosts, or has a protocol of its own for, are called by
 * the type of their items.
 */
export const toolCallOf = (
  item: JsonObject,
  injected?: ReadonlySet<string>,
  text: ItemText = noText
): SeenToolCall | null => {
  const { type } = item
  if (type === "function_call") {
    const runner = injected !== undefined && isInjectedCall(item, injected) === true ? "gateway" : "client"
    return { ...named(item), arguments: textOf(item.arguments, text, "arguments"), json: true, runner }
  }
  if (type === "custom_tool_call")
    return { ...named(item), arguments: textOf(item.input, text, "input"), json: false, runner: "client" }
  if (typeof type !== "string" || !type.endsWith("_call")) return null
  const given = jsonText(actionOf(item)) ?? actionText(text)
  return { callId: idOf(item), name: type, arguments: given, json: true, runner: runnerOf(item) }
}

/** Calls that the provider runs itself, wherever they say so. */
const hosted = new Set([
  "web_search_call",
  "file_search_call",
  "code_interpreter_call",
  "image_generation_call",
  "mcp_call"
])

/**
 * Who runs a tool that has a protocol of its own. What is answered is answered by its `call_id`; shells and searches for
 * tools can be the provider's or the client's, and say which.
 */
const runnerOf = ({ call_id, environment, execution, type }: JsonObject): ToolRunner => {
  if (hosted.has(type as string) || typeof call_id !== "string" || execution === "server") return "provider"
  return isObject(environment) && environment.type === "container_reference" ? "provider" : "client"
}

const named = (item: JsonObject) => ({ callId: idOf(item), name: typeof item.name === "string" ? item.name : "" })

const idOf = (item: JsonObject): string => {
  if (typeof item.call_id === "string") return item.call_id
  return typeof item.id === "string" ? item.id : ""
}

const textOf = (value: unknown, text: ItemText, name: string): string => {
  if (typeof value === "string") return value
  if (value === null || value === undefined) return ""
  return jsonText(value) ?? membersOf(text).find((member) => member.key === name)?.value ?? ""
}

/** The members of an item as they stand. */
const membersOf = (text: ItemText): ReadonlyArray<{ readonly key: string; readonly value: string }> => {
  const item = text()
  const found = item === null ? null : members(item)
  return (found ?? []).map(({ key, span }) => ({ key, value: item!.toString("utf8", span.start, span.end) }))
}

/** What an item says besides what was asked: how it is called, how far it is, and what came of it, which may be large. */
const notAsked = new Set([
  "type",
  "id",
  "call_id",
  "status",
  "result",
  "results",
  "output",
  "outputs",
  "partial_image_b64",
  "error"
])

/** What a hosted tool was asked to do. */
const actionOf = (item: JsonObject): JsonObject => {
  const action: { [key: string]: unknown } = {}
  for (const key of Object.keys(item)) if (!notAsked.has(key)) action[key] = item[key]
  if (typeof action.arguments === "string") action.arguments = jsonOr(action.arguments)
  return action
}

/** The same as it stands in the item. */
const actionText = (text: ItemText): string => {
  const asked = membersOf(text).filter((member) => !notAsked.has(member.key))
  return asked.length === 0 ? "" : `{${asked.map(({ key, value }) => `${JSON.stringify(key)}:${value}`).join(",")}}`
}

const jsonOr = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Summaries of reasoning part by part, reasoning that is shown as it was, and what a model says while it works. */
const thoughtsOf = (item: JsonObject): ReadonlyArray<SeenThought> => {
  if (item.type === "reasoning") {
    return [
      ...textsOf(item.summary).map((text): SeenThought => ({ text, source: "reasoning_summary" })),
      ...textsOf(item.content).map((text): SeenThought => ({ text, source: "thinking" }))
    ]
  }
  if (item.type !== "message" || item.phase !== "commentary") return []
  const text = textsOf(item.content).join("\n")
  return text === "" ? [] : [{ text, source: "commentary" }]
}

/** The texts of the parts of a list that have one. */
const textsOf = (parts: unknown): ReadonlyArray<string> => {
  if (!Array.isArray(parts)) return []
  const texts: Array<string> = []
  for (const part of parts)
    if (isObject(part) && typeof part.text === "string" && part.text !== "") texts.push(part.text)
  return texts
}
