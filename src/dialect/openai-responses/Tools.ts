import type { Frame } from "../../wire/Frame.ts"
import { edit, elements, extend, type JsonPath, locate, replace, set } from "../../wire/JsonSpan.ts"
import { answerIds } from "../CallIds.ts"
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
import { isObject, type JsonObject, parsedMember } from "../Json.ts"
import { nameOf, terminals } from "./Events.ts"
import { toolCallOf } from "./Items.ts"

/** The request with more functions behind the client's tools, so that what comes before them stays in prompt caches. */
export const injectTools = injector(
  "last",
  (about, schema) => `{"type":"function",${about},"parameters":${schema},"strict":false}`
)

/** The request with tool use switched off. */
export const forbidTools = (body: Buffer): Buffer => set(body, ["tool_choice"], '"none"') ?? body

/**
 * The request that goes on behind a response, whose items stand in the new input with the results behind them. Where the
 * response belongs to a conversation, the upstream has added all but the results to it. A demand for a tool call that has
 * been met is taken back:
 * https://platform.openai.com/docs/guides/conversation-state
 */
export const continueWith: Dialect["edit"]["continueWith"] = (body, output, results) => {
  const answers = resultTexts(results)
  const freed = isMet(demandOf(body), output.map(callOf), results) ? replace(body, ["tool_choice"], '"auto"') : body
  return freed === null ? null : goingOn(freed, output, answers)
}

/** Which tool a request demands to be called. The answer shows the client the demand that it made. */
const demandOf = (body: Buffer): unknown => {
  const choice = parsedMember(body, "tool_choice")
  if (choice === "required") return true
  return isObject(choice) && choice.type === "function" ? choice.name : null
}

const callOf = (text: string): AnsweredCall => {
  const item: unknown = JSON.parse(text)
  return isObject(item) ? { callId: item.call_id, name: item.name } : { callId: null, name: null }
}

const goingOn = (body: Buffer, output: ReadonlyArray<string>, answers: ReadonlyArray<string>): Buffer | null => {
  if (!isNullish(body, "conversation")) return set(body, ["input"], `[${answers.join(",")}]`)
  const more = [...(isStored(body) ? output : output.filter(isSelfContained)), ...answers]
  const input = locate(body, ["input"])
  if (input === null || body[input.start] !== 0x22) {
    return more.length === 0 ? body : extend(body, "input", Buffer.from(more.join(",")))
  }
  const said = body.toString("utf8", input.start, input.end)
  return set(body, ["input"], `[${[`{"role":"user","content":${said}}`, ...more].join(",")}]`)
}

const textAt = (body: Buffer, key: string): string | null => {
  const span = locate(body, [key])
  return span === null ? null : body.toString("latin1", span.start, span.end)
}

const isNullish = (body: Buffer, key: string): boolean => (textAt(body, key) ?? "null") === "null"

/** Whether the upstream keeps the response, as it does unless it is told not to. */
const isStored = (body: Buffer): boolean => textAt(body, "store") !== "false"

/** Whether an upstream that has kept nothing can read an item: reasoning only where it is there, if encrypted. */
const isSelfContained = (text: string): boolean => {
  const item = Buffer.from(text)
  return textAt(item, "type") !== '"reasoning"' || !isNullish(item, "encrypted_content")
}

/** Results as the request has them: one item each. */
export const resultTexts = (results: ReadonlyArray<ToolResult>): ReadonlyArray<string> => results.map(resultText)

/** https://platform.openai.com/docs/api-reference/responses/create#responses-create-input-input-item-list */
const resultText = (result: ToolResult): string => {
  const parts = contentOf(result).map(partOf)
  const [first] = parts
  const output = parts.length === 0 ? "" : parts.length === 1 && first?.type === "input_text" ? first.text : parts
  return JSON.stringify({ type: "function_call_output", call_id: result.callId, output })
}

/** The images that models read: https://platform.openai.com/docs/guides/images-vision#image-input-requirements */
const shownImages = new Set(["image/png", "image/jpeg", "image/webp", "image/gif"])

const partOf = (part: ToolContent) => {
  if (part.type === "text") return { type: "input_text", text: part.text } as const
  const url = `data:${part.mimeType};base64,${part.data}`
  if (part.type === "file") return { type: "input_file", filename: part.name, file_data: url } as const
  if (part.type === "image" && shownImages.has(part.mimeType)) return { type: "input_image", image_url: url } as const
  return { type: "input_text", text: describePart(part) } as const
}

/** A turn's output as the items it is made of; `null` where it has no end that can be read. */
export const output = (frames: ReadonlyArray<Frame>): ReadonlyArray<string> | null => {
  const end = frames.findLast((frame) => frame.kind === "body" || terminals.has(nameOf(frame)))
  if (end === undefined || !isObject(end.json)) return null
  return withAnswerIds(outputItems(end, frames).filter((item) => item !== "null"))
}

/** Items with the ids by which the calls among them are answered. */
const withAnswerIds = (items: ReadonlyArray<string>): ReadonlyArray<string> => {
  const calls = items.map((text) => {
    const item: unknown = JSON.parse(text)
    const call = isObject(item) ? toolCallOf(item) : null
    return call === null || call.runner === "provider"
      ? null
      : { given: call.callId, own: (item as JsonObject).call_id }
  })
  const ids = answerIds(calls.flatMap((call) => (call === null ? [] : [call.given])))
  let next = 0
  return items.map((text, place) => {
    const call = calls[place]!
    if (call === null) return text
    const id = ids[next++]!
    return id === call.own ? text : String(set(Buffer.from(text), ["call_id"], JSON.stringify(id)))
  })
}

/**
 * The items of a response as they stand in its last frame or, where that has fewer (servers that store nothing may leave
 * them out), in the events that finish them, by their place. A call that no event finishes is put together from its
 * announcement and its arguments.
 */
export const outputItems = (end: Frame, frames: ReadonlyArray<Frame>): ReadonlyArray<string> => {
  const repeated = itemsAt(end.dataBytes, end.kind === "body" ? ["output"] : ["response", "output"])
  const finished = finishedItems(frames)
  return finished.length > repeated.filter((item) => item !== "null").length ? finished : repeated
}

const itemsAt = (data: Buffer, path: JsonPath): ReadonlyArray<string> => {
  const span = locate(data, path)
  const spans = span === null ? null : elements(data, span)
  return spans === null ? [] : spans.map(({ end, start }) => data.toString("utf8", start, end))
}

const finishedItems = (frames: ReadonlyArray<Frame>): ReadonlyArray<string> => {
  const byIndex = new Map<number, string>()
  /** The calls that are announced and not finished. */
  const announced = new Map<number, Buffer>()
  const given = new Map<number, unknown>()
  let behind = 0
  for (const frame of frames) {
    if (frame.kind !== "event" && frame.kind !== "message") continue
    const name = nameOf(frame)
    if (!aboutItems.has(name) || !isObject(frame.json)) continue
    const index = outputIndex(frame.json)
    if (name === argumentsDone) {
      if (index !== null) given.set(index, frame.json.arguments)
      continue
    }
    const data = frame.dataBytes
    const span = locate(data, ["item"])
    if (span === null) continue
    const item = data.subarray(span.start, span.end)
    if (name === itemAdded) {
      if (index !== null && isNamedCall(frame.json.item)) announced.set(index, item)
      continue
    }
    const at = index ?? behind
    behind = Math.max(behind, at + 1)
    byIndex.set(at, item.toString())
  }
  for (const [at, item] of announced) {
    const said = given.get(at)
    if (byIndex.has(at) || typeof said !== "string") continue
    const made = edit(item, [
      { op: "set", path: ["arguments"], raw: JSON.stringify(said) },
      { op: "set", path: ["status"], raw: '"completed"' }
    ])
    if (made !== null) byIndex.set(at, made.toString())
  }
  return [...byIndex].sort((a, b) => a[0] - b[0]).map(([, item]) => item)
}

const itemAdded = "response.output_item.added"
const argumentsDone = "response.function_call_arguments.done"
const aboutItems = new Set([itemAdded, argumentsDone, "response.output_item.done"])

/** Whether an item is the call of a function, and says of which. */
export const isNamedCall = (item: unknown): boolean =>
  isObject(item) && item.type === "function_call" && typeof item.name === "string" && item.name !== ""

/** Which item of the output an event is about. */
export const outputIndex = ({ output_index }: JsonObject): number | null =>
  typeof output_index === "number" ? output_index : null
