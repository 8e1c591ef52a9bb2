import type { Frame } from "../../wire/Frame.ts"
import { type Edit, edit, elements, insert, locate, locateAll, members, set } from "../../wire/JsonSpan.ts"
import { describePart, type ToolContent, type ToolDefinition, type ToolResult } from "../InjectedTools.ts"
import { isObject, type JsonObject } from "../Json.ts"

/**
 * The tools come before the client's: its last tool usually ends a prefix to be cached (`cache_control`), which then
 * covers them too, and they change less often than a client's own.
 */
export const injectTools = (body: Buffer, tools: ReadonlyArray<ToolDefinition>): Buffer => {
  const raw = tools.map(toolText).join(",")
  const listed = locate(body, ["tools"])
  const edited =
    listed !== null && body[listed.start] === openBracket
      ? insert(body, ["tools"], { at: "first", raw })
      : set(body, ["tools"], `[${raw}]`)
  return edited ?? body
}

const openBracket = 0x5b

const toolText = ({ name, description, inputSchema }: ToolDefinition): string => {
  const described = description === null ? "" : `,"description":${JSON.stringify(description)}`
  return `{"name":${JSON.stringify(name)}${described},"input_schema":${inputSchema}}`
}

export const forbidTools = (body: Buffer): Buffer => set(body, ["tool_choice"], '{"type":"none"}') ?? body

/**
 * Appends the assistant's message, and one message of the user with all results: Anthropic wants those of parallel
 * calls together. Where the request ends with the beginning of the answer, the answer goes on within that message.
 */
export const continueWith = (
  body: Buffer,
  output: ReadonlyArray<string>,
  results: ReadonlyArray<ToolResult>
): Buffer | null => {
  const messages = locate(body, ["messages"])
  const known = messages === null ? null : elements(body, messages)
  if (known === null) return null
  const answers = results.length === 0 ? [] : [`{"role":"user","content":[${results.map(resultText).join(",")}]}`]
  const last = known.at(-1)
  const begun = last === undefined ? null : body.subarray(last.start, last.end)
  const whole = begun === null || output.length === 0 ? null : completed(begun, Buffer.from(output[0]!))
  const edits: Array<Edit> = []
  if (whole !== null) edits.push({ op: "replace", path: ["messages", known.length - 1], raw: whole })
  const raw = [...(whole === null ? output : output.slice(1)), ...answers].join(",")
  if (raw !== "") edits.push({ op: "insert", path: ["messages"], raw })
  return edit(body, edits)
}

/**
 * The message that a request ends with, with the answer that goes on from it put in: text goes on in the text it ends
 * with. `null` where it is none of the assistant's.
 */
const completed = (begun: Buffer, answer: Buffer): Buffer | null => {
  const [role, content] = locateAll(begun, [["role"], ["content"]])
  if (!role || !content || stringAt(begun, role) !== "assistant") return null
  const added = blocksOf(answer)
  if (added === null) return null
  const said = stringAt(begun, content)
  const before = said === null ? blocksOf(begun) : said === "" ? [] : [textBlock(said)]
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
  if (typeof before.text !== "string" || typeof after.text !== "string" || isCited(before) || isCited(after)) return null
  return String(set(Buffer.from(first), ["text"], JSON.stringify(before.text + after.text)))
}

const isCited = ({ citations }: JsonObject): boolean => Array.isArray(citations) && citations.length > 0

const textBlock = (text: string): string => `{"type":"text","text":${JSON.stringify(text)}}`

const stringAt = (json: Buffer, span: { readonly start: number; readonly end: number }): string | null => {
  const value: unknown = JSON.parse(json.toString("utf8", span.start, span.end))
  return typeof value === "string" ? value : null
}

/** The content blocks of a message, as they stand. `null` where they are in no list. */
const blocksOf = (message: Buffer): Array<string> | null => {
  const content = locate(message, ["content"])
  const spans = content === null ? null : elements(message, content)
  return spans === null ? null : spans.map(({ start, end }) => message.toString("utf8", start, end))
}

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

/** Text that Anthropic refuses in a block. */
const isBlank = (text: string): boolean => text.trim() === ""

/** A content block of a stream, while its pieces come in. */
interface Block {
  readonly raw: Buffer
  /** Texts that go on in a member. */
  readonly texts: Map<string, Array<string>>
  /** Other members, as JSON text. */
  readonly values: Map<string, string>
  readonly input: Array<string>
  readonly citations: Array<string>
}

/** The turn as one message of the assistant: its blocks as they came, thoughts with their signatures among them. */
export const output = (frames: ReadonlyArray<Frame>): ReadonlyArray<string> | null => {
  const body = frames.find((frame) => frame.kind === "body")
  const blocks = body === undefined ? streamed(frames) : isObject(body.json) ? blocksOf(body.dataBytes) : null
  if (blocks === null) return null
  return [`{"role":"assistant","content":[${blocks.filter(isSaid).join(",")}]}`]
}

const isSaid = (raw: string): boolean => {
  const block: unknown = JSON.parse(raw)
  return !isObject(block) || block.type !== "text" || typeof block.text !== "string" || !isBlank(block.text)
}

const streamed = (frames: ReadonlyArray<Frame>): Array<string> | null => {
  const blocks: Array<Block> = []
  const open = new Map<unknown, Block>()
  for (const frame of frames) {
    if (frame.kind === "part") return null
    if (frame.kind === "comment" || frame.dataStart === frame.dataEnd) continue
    const event = frame.json
    if (!isObject(event)) return null
    if (event.type === "content_block_start" && isObject(event.content_block)) {
      const data = frame.dataBytes
      const { start, end } = locate(data, ["content_block"])!
      const raw = data.subarray(start, end)
      const block: Block = { raw, texts: new Map(), values: new Map(), input: [], citations: [] }
      blocks.push(block)
      open.set(event.index, block)
    } else if (event.type === "content_block_delta" && isObject(event.delta)) {
      const block = open.get(event.index)
      if (block !== undefined) addDelta(block, event.delta, frame)
    }
  }
  return blocks.map(blockText)
}

/** Of the kinds of delta that are known, other members are about the stream and not of the block. */
const addDelta = (block: Block, delta: JsonObject, frame: Frame): void => {
  switch (delta.type) {
    case "text_delta":
      addText(block, "text", delta.text)
      return
    case "thinking_delta":
      addText(block, "thinking", delta.thinking)
      return
    case "signature_delta":
      // It comes whole.
      if (typeof delta.signature === "string") block.values.set("signature", JSON.stringify(delta.signature))
      return
    case "input_json_delta":
      if (typeof delta.partial_json === "string") block.input.push(delta.partial_json)
      return
  }
  const data = frame.dataBytes
  const span = locate(data, ["delta"])
  for (const member of span === null ? [] : (members(data, span) ?? [])) {
    const raw = data.toString("utf8", member.span.start, member.span.end)
    const value = delta[member.key]
    if (member.key === "type") continue
    if (delta.type === "citations_delta") {
      if (member.key === "citation") block.citations.push(raw)
    } else if (typeof value === "string") addText(block, member.key, value)
    else block.values.set(member.key, raw)
  }
}

const addText = (block: Block, name: string, piece: unknown): void => {
  if (typeof piece !== "string") return
  const pieces = block.texts.get(name)
  if (pieces === undefined) block.texts.set(name, [piece])
  else pieces.push(piece)
}

const blockText = (block: Block): string => {
  const { raw, texts, values, input, citations } = block
  const begun: unknown = JSON.parse(raw.toString())
  const edits: Array<Edit> = []
  const put = (name: string, value: string) => edits.push({ op: "set", path: [name], raw: value })
  for (const [name, value] of values) if (!texts.has(name)) put(name, value)
  for (const [name, pieces] of texts) {
    const before = isObject(begun) && typeof begun[name] === "string" ? begun[name] : ""
    put(name, JSON.stringify(before + pieces.join("")))
  }
  const written = input.join("")
  if (input.length > 0 && (written !== "" || !isObject(begun) || !isObject(begun.input)))
    put("input", isObjectText(written) ? written : "{}")
  if (citations.length > 0) {
    const list = locate(raw, ["citations"])
    const before = (list === null ? null : elements(raw, list)) ?? []
    put("citations", `[${[...before.map(({ start, end }) => raw.toString("utf8", start, end)), ...citations].join(",")}]`)
  }
  return String(edit(raw, edits))
}

/** Whether a text is what Anthropic takes as the input of a tool. */
const isObjectText = (text: string): boolean => {
  try {
    return isObject(JSON.parse(text))
  } catch {
    return false
  }
}
