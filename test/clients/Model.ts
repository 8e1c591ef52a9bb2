import { zstdDecompressSync } from "node:zlib"
import type { RawStep, RawTurn, ServedRequest } from "../support/UpstreamServer.ts"
import { bodyOf, type DialectName, errorOf, eventsOf, type ModelAnswer } from "./ModelAnswer.ts"

type Json = { readonly [name: string]: unknown }

const isJson = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

const list = (value: unknown): ReadonlyArray<Json> => (Array.isArray(value) ? value.filter(isJson) : [])

/** A request to the model as this suite needs to know it. */
export interface Asked {
  readonly dialect: DialectName
  readonly body: Json
  readonly stream: boolean
  readonly model: string
  /** All that the user wrote last, parts joined by newlines. */
  readonly prompt: string
  /** The results of the tools that the conversation ends with, or `null` where it ends with something else. */
  readonly results: string | null
  /** The names of the function tools that were declared. */
  readonly tools: ReadonlyArray<string>
}

const paths: ReadonlyArray<readonly [path: RegExp, dialect: DialectName]> = [
  [/\/chat\/completions$/, "openai-chat"],
  [/\/responses$/, "openai-responses"],
  [/\/messages$/, "anthropic-messages"]
]

/** The protocol that a request speaks by its path; `undefined` where it asks for no answer of the model. */
export const dialectOf = ({ method, url }: ServedRequest): DialectName | undefined => {
  const path = url.replace(/\?.*$/s, "")
  return method === "POST" ? paths.find(([known]) => known.test(path))?.[1] : undefined
}

const textOf = (content: unknown): string =>
  typeof content === "string"
    ? content
    : list(content)
        .map((part) => (typeof part["text"] === "string" ? part["text"] : ""))
        .filter((text) => text !== "")
        .join("\n")

/** Whether an item of the conversation is a tool's result: an item, a message, or a part of the user's message. */
const resultOf = (item: Json): string | undefined => {
  if (item["role"] === "tool") return textOf(item["content"])
  if (/_call_output$/.test(String(item["type"]))) return textOf(item["output"])
  const parts = list(item["content"]).filter(({ type }) => type === "tool_result")
  return parts.length === 0 ? undefined : parts.map(({ content }) => textOf(content)).join("\n")
}

/** Reads a request of one of the three protocols. */
export const read = (dialect: DialectName, request: ServedRequest): Asked => {
  const encoded = request.headers["content-encoding"] === "zstd"
  const body = JSON.parse(encoded ? zstdDecompressSync(request.body).toString() : request.text) as Json
  const { input, messages, tools } = body
  const conversation: ReadonlyArray<Json> =
    typeof input === "string" ? [{ role: "user", content: input }] : list(input ?? messages)
  // Claude Code puts messages of the system behind the user's.
  const said = conversation.filter(({ role }) => role !== "system" && role !== "developer")
  const last = said.at(-1) ?? {}
  const asked = said.findLast((item) => item["role"] === "user" && resultOf(item) === undefined)
  return {
    dialect,
    body,
    stream: body["stream"] === true,
    model: String(body["model"]),
    prompt: textOf(asked?.["content"]),
    results: resultOf(last) ?? null,
    tools: list(tools)
      .map((tool) => tool["name"] ?? (isJson(tool["function"]) ? tool["function"]["name"] : undefined))
      .filter((name) => typeof name === "string")
  }
}

/** Sends an answer as it was asked for: streamed, event by event, or whole. */
export const say = (asked: Asked, answer: Omit<ModelAnswer, "model">): RawTurn => {
  const whole = { ...answer, model: asked.model }
  return asked.stream
    ? { headers: streamHeaders, steps: eventsOf(asked.dialect, whole, asked.body) }
    : { headers: { "content-type": "application/json" }, steps: [bodyOf(asked.dialect, whole, asked.body)] }
}

/** The events of an answer, for a script that does something between them. */
export const streamed = (asked: Asked, answer: Omit<ModelAnswer, "model">): ReadonlyArray<string> =>
  eventsOf(asked.dialect, { ...answer, model: asked.model }, asked.body)

const streamHeaders = { "content-type": "text/event-stream; charset=utf-8", "request-id": "req_upstream" }

/** A stream with these steps. */
export const stream = (steps: ReadonlyArray<RawStep>): RawTurn => ({ headers: streamHeaders, steps })

/** An error before the stream. */
export const refuse = (
  dialect: DialectName,
  status: number,
  headers: { readonly [name: string]: string } = {}
): RawTurn => ({
  status,
  headers: { "content-type": "application/json", ...headers },
  steps: [errorOf(dialect, status)]
})

/** What an agent's tools are called with to read a file, by the tool's name. */
const reading: { readonly [tool: string]: (file: string) => object } = {
  Bash: (file) => ({ command: `cat ${file}`, description: "Read the file" }),
  bash: (file) => ({ command: `cat ${file}`, description: "Read the file" }),
  exec_command: (file) => ({ cmd: `cat ${file}` }),
  shell_command: (file) => ({ command: `cat ${file}` }),
  // qwen-code now and then takes a command that ends at once for one that printed nothing.
  run_shell_command: (file) => ({
    command: `cat ${file}; sleep 1`,
    description: "Read the file",
    is_background: false
  }),
  // The tool of the SDKs' cases. Others have one of this name with other parameters, so it comes last.
  read_file: (file) => ({ path: file })
}

/**
 * A model that is asked to `read FILE` calls a tool that does, and otherwise quotes a line of what it was told: of
 * the results of its tools, or of the prompt.
 */
export const assistant = (asked: Asked, turn: number): Omit<ModelAnswer, "model"> => {
  const file = /\bread (\S+\.txt)/.exec(asked.prompt)?.[1]
  const name = Object.keys(reading).find((tool) => asked.tools.includes(tool))
  if (file !== undefined && name !== undefined && asked.results === null) {
    const args = reading[name]?.(file) ?? {}
    return { turn, thought: "A tool can read this.", text: "I look.", calls: [{ name, arguments: args }] }
  }
  const lines = (asked.results ?? asked.prompt).trim().split("\n")
  // Agents put what they know of a command around its output.
  const output = asked.results === null ? undefined : lines.findLast((line) => / says /.test(line))
  return { turn, thought: "This is easy.", text: `Heard: ${output ?? lines.at(-1)}` }
}

/** What an upstream has besides models: counts of tokens, no WebSockets, and nothing else. */
export const elsewhere = ({ url, headers }: ServedRequest): RawTurn => {
  const json = { "content-type": "application/json" }
  if (url.includes("/count_tokens")) return { headers: json, steps: [JSON.stringify({ input_tokens: 1234 })] }
  const status = headers.upgrade === undefined ? 404 : 426
  return {
    status,
    headers: json,
    steps: [JSON.stringify({ error: { message: `nothing at ${url}`, type: "invalid_request_error" } })]
  }
}
