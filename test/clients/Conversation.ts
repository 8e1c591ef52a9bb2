import type { Asked } from "./Model.ts"

type Json = { readonly [name: string]: unknown }

const isJson = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

const list = (value: unknown): ReadonlyArray<Json> => (Array.isArray(value) ? value.filter(isJson) : [])

/** What a call or a result says, in one line. */
const written = (value: unknown): string => {
  if (typeof value === "string") return value
  if (!Array.isArray(value)) return JSON.stringify(value ?? null)
  return list(value)
    .map((part) => (typeof part["text"] === "string" ? part["text"] : `[${String(part["type"])}]`))
    .join(" | ")
}

const texts = (role: unknown, content: unknown): ReadonlyArray<string> =>
  content === null || content === undefined || content === "" ? [] : [`${String(role)}: ${written(content)}`]

const call = (name: unknown, args: unknown): string => `call ${String(name)} ${written(args)}`

const result = (said: unknown): string => `result ${written(said)}`

const ofBlock = (role: unknown, block: Json): ReadonlyArray<string> => {
  switch (block["type"]) {
    case "tool_use":
      return [call(block["name"], block["input"])]
    case "tool_result":
      return [result(block["content"])]
    case "thinking":
      return []
    default:
      return texts(role, [block])
  }
}

const ofItem = (item: Json): ReadonlyArray<string> => {
  const { content, role, type } = item
  if (type === "function_call") return [call(item["name"], item["arguments"])]
  if (type === "function_call_output") return [result(item["output"])]
  if (type === "item_reference") return /^rs_/.test(String(item["id"])) ? [] : ["reference"]
  if (type === "reasoning" || role === "system" || role === "developer") return []
  if (role === "tool") return [result(content)]
  const blocks = list(content)
  const said = blocks.some((block) => /^(tool_|thinking)/.test(String(block["type"])))
    ? blocks.flatMap((block) => ofBlock(role, block))
    : texts(role, content)
  const calls = list(item["tool_calls"]).map(({ function: called }) =>
    isJson(called) ? call(called["name"], called["arguments"]) : "call of another kind"
  )
  return [...said, ...calls]
}

/**
 * The conversation that a request brings, each text, call and result a line: `user: hi`, `call read {"path":"a"}`,
 * `result ahoy`, or `reference` to an item that the upstream has. Without thoughts, and without what the system says.
 */
export const conversationOf = ({ body }: Asked): ReadonlyArray<string> => {
  const { input, messages } = body
  return typeof input === "string" ? [`user: ${input}`] : list(input ?? messages).flatMap(ofItem)
}
