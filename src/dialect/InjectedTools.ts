/** The tools that Sluice adds to requests and runs itself, as far as dialects have to write them. */
import { extend } from "../wire/JsonSpan.ts"

/** A tool as a model is told of it. */
export interface ToolDefinition {
  /** At most 64 characters of `[a-zA-Z0-9_-]`. */
  readonly name: string
  readonly description: string | null
  /** A JSON Schema as JSON text, always one of an object. */
  readonly inputSchema: string
}

/** A part of what a tool answered. `data` is base64. */
export type ToolContent =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image"; readonly mimeType: string; readonly data: string }
  | { readonly type: "audio"; readonly mimeType: string; readonly data: string }
  | { readonly type: "file"; readonly mimeType: string; readonly data: string; readonly name: string }

/** What a tool call came to, as the model is told. */
export interface ToolResult {
  readonly callId: string
  readonly content: ReadonlyArray<ToolContent>
  /** Whether the tool failed: the content says how. */
  readonly isError: boolean
}

/** A part that a dialect cannot carry, described. */
export const describePart = (part: Exclude<ToolContent, { readonly type: "text" }>): string => {
  const name = part.type === "file" ? ` ${part.name}` : ""
  return `[${part.type}${name}, ${part.mimeType}, ${Math.floor((part.data.length * 3) / 4)} bytes: cannot be shown here]`
}

const errorPrefix = "Error: "
const saysSo = /^error\b/i

/**
 * What a tool answered, for a dialect whose results have no flag for failure: that of one that failed begins with
 * "Error: ", unless its first text says so already.
 */
export const contentOf = ({ content, isError }: ToolResult): ReadonlyArray<ToolContent> => {
  if (!isError) return content
  const at = content.findIndex((part) => part.type === "text")
  const first = content[at]
  if (first?.type !== "text") return [{ type: "text", text: `${errorPrefix}the tool failed` }, ...content]
  return saysSo.test(first.text) ? content : content.with(at, { type: "text", text: errorPrefix + first.text })
}

/** A tool call that was answered, as far as it tells which demand of a request it meets. */
export interface AnsweredCall {
  readonly callId: unknown
  readonly name: unknown
}

/**
 * Whether the demand of a request that a tool be called is met by calls that Sluice has answered: any call will do, or
 * one of the tool it names. In the turns behind it the model is free to answer: still bound, it would call tools until
 * there are no turns left. A demand for a tool of the client's is never met here: a turn that calls it is the last.
 *
 * @param demanded `true` where any tool will do, or the name of the one that is demanded
 * @param calls the calls of the turn
 */
export const isMet = (
  demanded: unknown,
  calls: ReadonlyArray<AnsweredCall>,
  results: ReadonlyArray<ToolResult>
): boolean => {
  if (demanded === true) return results.length > 0
  const answered = new Set<unknown>(results.map((result) => result.callId))
  return typeof demanded === "string" && calls.some((call) => call.name === demanded && answered.has(call.callId))
}

/**
 * Adds tools to the list of tools in a request, which stays as it is where that is no list. The tools are written once for
 * each array of them, since the same one is added to many requests.
 *
 * @param at where they stand among the client's
 * @param write one tool as its dialect defines it, as JSON text: `about` are the members that tell its name and what it
 * does, `schema` is that of its input
 */
export const injector = (
  at: "first" | "last",
  write: (about: string, schema: string) => string
): ((body: Buffer, tools: ReadonlyArray<ToolDefinition>) => Buffer) => {
  const written = new WeakMap<ReadonlyArray<ToolDefinition>, Buffer>()
  return (body, tools) => {
    let raw = written.get(tools)
    if (raw === undefined) {
      raw = Buffer.from(tools.map((tool) => write(aboutOf(tool), tool.inputSchema)).join(","))
      written.set(tools, raw)
    }
    return extend(body, "tools", raw, at) ?? body
  }
}

const aboutOf = ({ description, name }: ToolDefinition): string =>
  `"name":${JSON.stringify(name)}${description === null ? "" : `,"description":${JSON.stringify(description)}`}`
