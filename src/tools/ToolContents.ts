import { describePart, type ToolContent } from "../dialect/InjectedTools.ts"
import type { Mask } from "./Secrets.ts"
import type { ToolAnswer, ToolErrorKind } from "./ToolCatalog.ts"

type Json = { readonly [key: string]: unknown }

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

const text = (value: string): ToolContent => ({ type: "text", text: value })

const octets = "application/octet-stream"

/** What an embedded resource is: its text under its address, or its bytes as what they are. */
const resourceContent = (resource: Json): ToolContent | undefined => {
  const uri = typeof resource["uri"] === "string" ? resource["uri"] : "resource"
  if (typeof resource["text"] === "string") return text(`${uri}\n${resource["text"]}`)
  if (typeof resource["blob"] !== "string") return undefined
  const mimeType = typeof resource["mimeType"] === "string" ? resource["mimeType"] : octets
  const data = resource["blob"]
  if (/^image\//i.test(mimeType)) return { type: "image", mimeType, data }
  if (/^audio\//i.test(mimeType)) return { type: "audio", mimeType, data }
  return { type: "file", mimeType, data, name: fileName(uri) }
}

/** The last part of an address's path. */
const fileName = (uri: string): string => /([^/?#]+)\/?(?:[?#].*)?$/.exec(uri)?.[1] ?? "resource"

const resourceLink = (link: Json): string | undefined => {
  if (typeof link["uri"] !== "string") return undefined
  const names = [link["title"], link["name"]].filter((name) => typeof name === "string" && name !== "")
  const notes = [link["mimeType"], link["description"]].filter((note) => typeof note === "string" && note !== "")
  const title = names.length === 0 ? "" : `${names[0]}: `
  return `${title}${link["uri"]}${notes.length === 0 ? "" : ` (${notes.join(", ")})`}`
}

/** A content block of MCP; one that is not known is given as its JSON, so that nothing is lost. */
const contentOf = (block: unknown): ToolContent => {
  if (isObject(block)) {
    const { data, mimeType } = block
    switch (block["type"]) {
      case "text":
        if (typeof block["text"] === "string") return text(block["text"])
        break
      case "image":
      case "audio":
        if (typeof data === "string" && typeof mimeType === "string") return { type: block["type"], mimeType, data }
        break
      case "resource": {
        const content = isObject(block["resource"]) ? resourceContent(block["resource"]) : undefined
        if (content !== undefined) return content
        break
      }
      case "resource_link": {
        const link = resourceLink(block)
        if (link !== undefined) return text(link)
        break
      }
    }
  }
  return text(JSON.stringify(block))
}

/** JSON values by what they say, whatever the order of their keys and the white space between. */
const sameJson = (left: unknown, right: unknown): boolean => {
  if (Object.is(left, right)) return true
  if (Array.isArray(left) || Array.isArray(right)) {
    return (
      Array.isArray(left) &&
      Array.isArray(right) &&
      left.length === right.length &&
      left.every((element, index) => sameJson(element, right[index]))
    )
  }
  if (!isObject(left) || !isObject(right)) return false
  const keys = Object.keys(left)
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && sameJson(left[key], right[key]))
  )
}

const parsed = (content: ToolContent): unknown => {
  if (content.type !== "text" || !/^\s*[[{"\d\-tfn]/.test(content.text)) return undefined
  try {
    return JSON.parse(content.text)
  } catch {
    return undefined
  }
}

/** Puts structured content in as text unless a part says the same: most servers send it in both forms. */
const withStructured = (content: ReadonlyArray<ToolContent>, structured: unknown): ReadonlyArray<ToolContent> =>
  structured === undefined || structured === null || content.some((part) => sameJson(parsed(part), structured))
    ? content
    : [...content, text(JSON.stringify(structured))]

/** How many bytes a part counts: those of its text in UTF-8, or those that its base64 stands for. */
const sizeOf = (part: ToolContent): number =>
  part.type === "text" ? Buffer.byteLength(part.text) : Math.floor((part.data.length * 3) / 4)

/** The beginning of a text, at most so many bytes of UTF-8 and whole characters only. */
const beginning = (value: string, bytes: number): string => {
  const encoded = Buffer.from(value)
  let end = bytes
  // Bytes that go on with a character look like 10xxxxxx.
  while (end > 0 && (encoded[end]! & 0xc0) === 0x80) end--
  return encoded.toString("utf8", 0, end)
}

/**
 * Keeps an answer within bounds: a text is cut with a note of how much is left out, a binary part that does not fit is
 * described.
 */
const within = (content: ReadonlyArray<ToolContent>, maxBytes: number): ReadonlyArray<ToolContent> => {
  let left = maxBytes
  return content.map((part) => {
    const size = sizeOf(part)
    if (size <= left) {
      left -= size
      return part
    }
    if (part.type !== "text") return text(describePart(part).replace("cannot be shown here", "too large to be shown"))
    const kept = beginning(part.text, left)
    const omitted = size - Buffer.byteLength(kept)
    left = 0
    return text(`${kept}\n[${omitted} of ${size} bytes are left out: the result is larger than ${maxBytes} bytes]`)
  })
}

/** An answer that says what went wrong, to the model and the records. */
export const failure = (message: string, kind: ToolErrorKind = "upstream_status"): ToolAnswer => ({
  content: [text(message)],
  error: message,
  kind
})

/** The longest account of an error that is kept for the records, in characters. */
const longestError = 500

const errorOf = (content: ReadonlyArray<ToolContent>): string => {
  const said = content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n")
  return said === "" ? "the tool failed" : said.length > longestError ? `${said.slice(0, longestError - 1)}…` : said
}

const masked = (part: ToolContent, mask: (text: string) => string): ToolContent => {
  switch (part.type) {
    case "text":
      return text(mask(part.text))
    case "file":
      return { ...part, mimeType: mask(part.mimeType), name: mask(part.name) }
    default:
      return { ...part, mimeType: mask(part.mimeType) }
  }
}

/**
 * What the result of `tools/call` says, as dialects write it: all content blocks in their order and the structured
 * content, within `maxBytes` altogether.
 *
 * @param mask hides the server's credentials; what is cut is cut after that, or the beginning of one could be left
 */
export const toolAnswer = (
  result: unknown,
  maxBytes: number,
  mask: Pick<Mask, "inAnswers" | "inErrors">
): ToolAnswer => {
  if (!isObject(result)) return failure("The tool answered with something that is no result.")
  const blocks = Array.isArray(result["content"]) ? result["content"] : []
  const content = withStructured(blocks.map(contentOf), result["structuredContent"])
  // Of 2024-11-05 and before.
  const legacy = content.length === 0 && result["toolResult"] !== undefined
  const whole = legacy ? [text(JSON.stringify(result["toolResult"]))] : content
  return {
    content: within(
      whole.map((part) => masked(part, mask.inAnswers)),
      maxBytes
    ),
    error: result["isError"] === true ? errorOf(whole.map((part) => masked(part, mask.inErrors))) : null
  }
}
