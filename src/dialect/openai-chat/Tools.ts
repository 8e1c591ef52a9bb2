import type { Frame } from "../../wire/Frame.ts"
import { edit, insert, locate, set } from "../../wire/JsonSpan.ts"
import {
  contentOf,
  definitionsBy,
  describePart,
  type ToolContent,
  type ToolDefinition,
  type ToolResult
} from "../InjectedTools.ts"
import { assistantMessage } from "./AssistantMessage.ts"

/**
 * The request with tools behind the client's own, so that what stands before them in a prompt cache stays.
 * Reference: https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools
 */
export const injectTools = (body: Buffer, tools: ReadonlyArray<ToolDefinition>): Buffer => {
  const raw = definitions(tools)
  const own = locate(body, ["tools"])
  const isList = own !== null && body[own.start] === openBracket
  return (isList ? insert(body, ["tools"], { raw }) : set(body, ["tools"], `[${raw}]`)) ?? body
}

const openBracket = 0x5b

const definitions = definitionsBy(({ name, description, inputSchema }) => {
  const described = description === null ? "" : `"description":${JSON.stringify(description)},`
  return `{"type":"function","function":{"name":${JSON.stringify(name)},${described}"parameters":${inputSchema}}}`
})

/** The request with `tool_choice` none: tools that are taken away would make the calls before them hard to read. */
export const forbidTools = (body: Buffer): Buffer => set(body, ["tool_choice"], '"none"') ?? body

/** The request with the assistant's message and one message for each result behind its others. */
export const continueWith = (
  body: Buffer,
  output: ReadonlyArray<string>,
  results: ReadonlyArray<ToolResult>
): Buffer | null => {
  const added = [...output, ...resultTexts(results)]
  return edit(body, added.length === 0 ? [] : [{ op: "insert", path: ["messages"], raw: added.join(",") }])
}

/** Results as the request has them: one message each. */
export const resultTexts = (results: ReadonlyArray<ToolResult>): ReadonlyArray<string> => results.map(resultText)

const resultText = (result: ToolResult): string => {
  const texts = contentOf(result).map(textOf)
  const said = texts.length > 1 ? texts.map((text) => ({ type: "text", text })) : (texts[0] ?? "")
  return JSON.stringify({ role: "tool", tool_call_id: result.callId, content: said })
}

/** A tool message takes nothing but text. */
const textOf = (part: ToolContent): string => (part.type === "text" ? part.text : describePart(part))

/** A turn's output as input of the next: one assistant message. */
export const output = (frames: ReadonlyArray<Frame>): ReadonlyArray<string> | null => {
  const message = assistantMessage(frames)
  return message === null ? null : [message]
}
