import type { Frame } from "../../wire/Frame.ts"
import { type Edit, edit, elements, locate, members, set } from "../../wire/JsonSpan.ts"
import { answerIds } from "../CallIds.ts"
import { isObject, type JsonObject, parsed } from "../Json.ts"

/** The content blocks of a message, as they stand. `null` where they are in no list. */
export const blocksOf = (message: Buffer): Array<string> | null => {
  const content = locate(message, ["content"])
  const spans = content === null ? null : elements(message, content)
  return spans === null ? null : spans.map(({ start, end }) => message.toString("utf8", start, end))
}

/** Text that Anthropic refuses in a block. */
export const isBlank = (text: string): boolean => text.trim() === ""

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

/**
 * The turn as one message of the assistant: its blocks as they came, thoughts with their signatures among them. Calls have
 * the ids that their results have.
 */
export const output = (frames: ReadonlyArray<Frame>): ReadonlyArray<string> | null => {
  const body = frames.find((frame) => frame.kind === "body")
  const blocks = body === undefined ? streamed(frames) : isObject(body.json) ? blocksOf(body.dataBytes) : null
  if (blocks === null) return null
  return [`{"role":"assistant","content":[${withAnswerIds(blocks.filter(isSaid)).join(",")}]}`]
}

const withAnswerIds = (blocks: ReadonlyArray<string>): ReadonlyArray<string> => {
  const given = blocks.map((raw) => {
    const block: unknown = JSON.parse(raw)
    if (!isObject(block) || block.type !== "tool_use") return null
    return typeof block.id === "string" ? block.id : ""
  })
  const ids = answerIds(given.filter((id) => id !== null))
  let next = 0
  return blocks.map((raw, place) => {
    if (given[place] === null) return raw
    const id = ids[next++]!
    return id === given[place] ? raw : String(set(Buffer.from(raw), ["id"], JSON.stringify(id)))
  })
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
    // Anthropic takes nothing but an object as the input of a tool.
    put("input", isObject(parsed(written)) ? written : "{}")
  if (citations.length > 0) {
    const list = locate(raw, ["citations"])
    const before = (list === null ? null : elements(raw, list)) ?? []
    put(
      "citations",
      `[${[...before.map(({ start, end }) => raw.toString("utf8", start, end)), ...citations].join(",")}]`
    )
  }
  return String(edit(raw, edits))
}
