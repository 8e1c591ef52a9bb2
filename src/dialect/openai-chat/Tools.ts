import type { Frame } from "../../wire/Frame.ts"
import { type Edit, edit, set } from "../../wire/JsonSpan.ts"
import type { Dialect } from "../Dialect.ts"
import {
  type AnsweredCall,
  contentOf,
  describePart,
  injector,
  isMet,
  type ToolContent,
  type ToolResult
} from "../InjectedTools.ts"
import { isObject, parsedMember } from "../Json.ts"
import { assistantMessage } from "./AssistantMessage.ts"

/**
 * The request with tools behind the client's own, so that what stands before them in a prompt cache stays.
 * Reference: https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools
 */
export const injectTools = injector(
  "last",
  (about, schema) => `{"type":"function","function":{${about},"parameters":${schema}}}`
)

/** The request with `tool_choice` none: tools that are taken away would make the calls before them hard to read. */
export const forbidTools = (body: Buffer): Buffer => set(body, ["tool_choice"], '"none"') ?? body

/**
 * The request with the assistant's message and one message for each result behind its others, and without a demand for a
 * tool call that these have met.
 */
export const continueWith: Dialect["edit"]["continueWith"] = (body, output, results) => {
  const added = [...output, ...resultTexts(results)]
  if (added.length === 0) return body
  const edits: Array<Edit> = [{ op: "insert", path: ["messages"], raw: added.join(",") }]
  if (isMet(demandOf(body), output.flatMap(callsOf), results))
    edits.push({ op: "replace", path: ["tool_choice"], raw: '"auto"' })
  return edit(body, edits)
}

/** Which tool a request demands to be called: https://platform.openai.com/docs/api-reference/chat/create */
const demandOf = (body: Buffer): unknown => {
  const choice = parsedMember(body, "tool_choice")
  // `any` is Mistral's word for it.
  if (choice === "required" || choice === "any") return true
  return isObject(choice) && isObject(choice.function) ? choice.function.name : null
}

const callsOf = (text: string): ReadonlyArray<AnsweredCall> => {
  const message: unknown = JSON.parse(text)
  const calls: ReadonlyArray<unknown> = isObject(message) && Array.isArray(message.tool_calls) ? message.tool_calls : []
  return calls.flatMap((call) =>
    isObject(call) && isObject(call.function) ? [{ callId: call.id, name: call.function.name }] : []
  )
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
