/**
 * What a caller may tell the simulated provider, in the model's name or in the prompt. The table of them stands in
 * `upstream/Simulated.ts`; this is the parser of both spellings.
 *
 * - In the model's name, after `sim-`: `sim-slow`, `sim-cut-200`, `sim-429`; several joined by `+`:
 *   `sim-tool-get_weather+usage-finish`.
 * - In the last message of the user: `[[sim: tool=get_weather, delay=20ms]]`. A value runs to the next comma; one that
 *   begins with `{`, `[` or `"` runs to where that is closed. Where both name one thing, the prompt wins.
 */

/** Where a streamed answer reports usage; `asked` is as OpenAI does. */
export type UsagePlacement = "asked" | "last" | "finish" | "every-chunk" | "none"

/** How an answer ends, in the words of Chat Completions. */
export type Finish = "stop" | "length" | "tool_calls" | "content_filter"

/** What was asked for, durations in milliseconds. What is `undefined` takes its usual course. */
export interface Directives {
  readonly words: number | undefined
  readonly reasoning: "reasoning_content" | "reasoning" | undefined
  readonly refusal: boolean
  readonly failed: boolean
  readonly finish: Finish | undefined
  readonly tool: ReadonlyArray<string>
  readonly parallel: number
  readonly rounds: number
  readonly args: string | undefined
  readonly preamble: boolean
  readonly usage: UsagePlacement
  readonly input: number | undefined
  readonly output: number | undefined
  readonly cached: number | undefined
  readonly written: number | undefined
  readonly writtenLong: number | undefined
  readonly wait: number | undefined
  readonly first: number | undefined
  readonly delay: number | undefined
  readonly events: number
  readonly bytes: number | undefined
  readonly crlf: boolean
  readonly comments: boolean
  readonly obfuscation: boolean
  readonly as: "sse" | "json" | undefined
  readonly done: boolean
  readonly status: number | undefined
  readonly quota: boolean
  readonly retryAfter: number | undefined
  readonly refused: boolean
  readonly hang: boolean
  readonly stall: number | undefined
  readonly cut: number | "half" | undefined
  readonly eof: number | "half" | undefined
  readonly malformed: number | undefined
  readonly error: number | undefined
}

/** Nothing asked for. */
export const none: Directives = {
  words: undefined,
  reasoning: undefined,
  refusal: false,
  failed: false,
  finish: undefined,
  tool: [],
  parallel: 1,
  rounds: 1,
  args: undefined,
  preamble: false,
  usage: "asked",
  input: undefined,
  output: undefined,
  cached: undefined,
  written: undefined,
  writtenLong: undefined,
  wait: undefined,
  first: undefined,
  delay: undefined,
  events: 1,
  bytes: undefined,
  crlf: false,
  comments: false,
  obfuscation: false,
  as: undefined,
  done: true,
  status: undefined,
  quota: false,
  retryAfter: undefined,
  refused: false,
  hang: false,
  stall: undefined,
  cut: undefined,
  eof: undefined,
  malformed: undefined,
  error: undefined
}

/** Reads a value; `undefined` where it is not one the directive takes. `text` is empty where none was given. */
type Reader = (text: string, before: Directives) => Partial<Directives> | undefined

interface Directive {
  /** What it takes, for error messages; empty where nothing. */
  readonly takes: string
  readonly read: Reader
}

const wholeNumber = (text: string): number | undefined => (/^\d{1,9}$/.test(text) ? Number(text) : undefined)

/** `20ms`, `1.5s`, `2m` or plain milliseconds. */
const milliseconds = (text: string): number | undefined => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(text)
  return match === null ? undefined : Number(match[1]) * (match[2] === "m" ? 60_000 : match[2] === "s" ? 1_000 : 1)
}

type NumberKey =
  | "words"
  | "parallel"
  | "rounds"
  | "input"
  | "output"
  | "cached"
  | "written"
  | "writtenLong"
  | "events"
  | "bytes"
  | "stall"
  | "malformed"
  | "error"
  | "retryAfter"
  | "cut"
  | "eof"

/** A whole number of at least `least`; without a value, `otherwise` if there is one. */
const count = (key: NumberKey, least: number, otherwise?: number | "half"): Directive => ({
  takes: otherwise === undefined ? "N" : "N?",
  read: (text) => {
    const value = text === "" ? otherwise : wholeNumber(text)
    return value === undefined || (value !== "half" && value < least) ? undefined : { [key]: value }
  }
})

const duration = (key: "wait" | "first" | "delay"): Directive => ({
  takes: "TIME",
  read: (text) => {
    const value = milliseconds(text)
    return value === undefined ? undefined : { [key]: value }
  }
})

const flag = (set: Partial<Directives>): Directive => ({ takes: "", read: (text) => (text === "" ? set : undefined) })

const oneOf = (
  key: "reasoning" | "finish" | "usage" | "as",
  values: ReadonlyArray<string>,
  otherwise?: string
): Directive => ({
  takes: values.join("|"),
  read: (text) => {
    const value = text === "" ? otherwise : text
    return value !== undefined && values.includes(value) ? { [key]: value } : undefined
  }
})

const status: Directive = {
  takes: "400..599",
  read: (text) => (/^[45]\d\d$/.test(text) ? { status: Number(text) } : undefined)
}

const directives: ReadonlyMap<string, Directive> = new Map<string, Directive>([
  ["words", count("words", 0)],
  ["reasoning", oneOf("reasoning", ["reasoning_content", "reasoning"], "reasoning_content")],
  ["refusal", flag({ refusal: true })],
  ["failed", flag({ failed: true })],
  ["finish", oneOf("finish", ["stop", "length", "tool_calls", "content_filter"])],
  [
    "tool",
    {
      takes: "NAME",
      read: (text, before) => (/^[\w.:/-]+$/.test(text) ? { tool: [...before.tool, text] } : undefined)
    }
  ],
  ["parallel", count("parallel", 1)],
  ["rounds", count("rounds", 0)],
  ["args", { takes: "JSON", read: (text) => (text === "" ? undefined : { args: text }) }],
  ["preamble", flag({ preamble: true })],
  ["usage", oneOf("usage", ["last", "finish", "every-chunk", "none"])],
  ["input", count("input", 0)],
  ["output", count("output", 0)],
  ["cached", count("cached", 0)],
  ["cache-write", count("written", 0)],
  ["cache-write-1h", count("writtenLong", 0)],
  ["wait", duration("wait")],
  ["first", duration("first")],
  ["delay", duration("delay")],
  ["slow", flag({ first: 500, delay: 100 })],
  ["events", count("events", 1)],
  ["bytes", count("bytes", 1)],
  ["crlf", flag({ crlf: true })],
  ["comments", flag({ comments: true })],
  ["obfuscation", flag({ obfuscation: true })],
  ["as", oneOf("as", ["sse", "json"])],
  ["no-done", flag({ done: false })],
  ["status", status],
  ["quota", flag({ status: 429, quota: true })],
  ["retry-after", count("retryAfter", 0)],
  ["refused", flag({ refused: true })],
  ["hang", flag({ hang: true })],
  ["stall", count("stall", 0, 3)],
  ["cut", count("cut", 0, "half")],
  ["eof", count("eof", 0, "half")],
  ["malformed", count("malformed", 1, 2)],
  ["error", count("error", 0, 3)]
])

/** Every directive with what it takes, as `name=VALUE`, for the messages of errors. */
export const vocabulary: ReadonlyArray<string> = [
  ...Array.from(directives, ([name, { takes }]) => (takes === "" ? name : `${name}=${takes}`)),
  "or a status such as 429"
]

/** What could not be read, and what there is instead. */
export interface Unreadable {
  readonly where: "model" | "prompt"
  readonly message: string
}

/** Reads one directive onto those before it; a text says what is wrong with it. */
const apply = (before: Directives, name: string, value: string): Directives | string => {
  const directive = directives.get(name)
  if (directive === undefined) {
    const read = value === "" ? status.read(name, before) : undefined
    return read === undefined ? `unknown directive "${name}"` : { ...before, ...read }
  }
  const read = directive.read(value, before)
  if (read === undefined) {
    const expected = directive.takes === "" ? "no value" : directive.takes
    return `directive "${name}" takes ${expected}, not "${value}"`
  }
  return { ...before, ...read }
}

/** Splits a segment of a model's name: the longest name of a directive, then its value. */
const splitSegment = (segment: string): readonly [name: string, value: string] => {
  let name = segment
  while (!directives.has(name) && name.includes("-")) name = name.slice(0, name.lastIndexOf("-"))
  return directives.has(name) ? [name, segment.slice(name.length + 1)] : [segment, ""]
}

const block = /\[\[\s*sim:/g

/** Where the value that begins at `start` ends: at the bracket or quote that closes it, else at a comma or `]]`. */
const valueEnd = (text: string, start: number): number => {
  if (!/[[{"]/.test(text[start] ?? "")) {
    const end = text.slice(start).search(/,|\]\]/)
    return end === -1 ? text.length : start + end
  }
  const closers: Array<string> = []
  let quoted = false
  for (let at = start; at < text.length; at++) {
    const letter = text[at]
    if (quoted) {
      if (letter === "\\") at++
      else if (letter === '"') quoted = false
    } else if (letter === '"') quoted = true
    else if (letter === "{") closers.push("}")
    else if (letter === "[") closers.push("]")
    else if ((letter === "}" || letter === "]") && closers.pop() !== letter) break
    if (closers.length === 0 && !quoted) return at + 1
  }
  const end = text.indexOf("]]", start)
  return end === -1 ? text.length : end
}

/** The directives of a prompt in order, and the prompt without them. */
const scanPrompt = (prompt: string) => {
  const found: Array<readonly [name: string, value: string]> = []
  let rest = ""
  let at = 0
  for (const match of prompt.matchAll(block)) {
    if (match.index < at) continue
    rest += prompt.slice(at, match.index)
    at = match.index + match[0].length
    while (at < prompt.length && !prompt.startsWith("]]", at)) {
      const name = /^[\s,]*([^\s,=\]]*)\s*/.exec(prompt.slice(at))
      at += name?.[0].length ?? 0
      let value = ""
      if (prompt[at] === "=") {
        at++
        while (prompt[at] === " ") at++
        const end = valueEnd(prompt, at)
        value = prompt.slice(at, end).trim()
        at = end
      } else if (!prompt.startsWith("]]", at) && prompt[at] !== "," && at < prompt.length && name?.[1] === "") {
        // A character that begins nothing: step over it, or the scan would stand still.
        at++
      }
      if (name?.[1]) found.push([name[1], value])
    }
    at = Math.min(prompt.length, at + 2)
  }
  return { found, prompt: `${rest}${prompt.slice(at)}`.trim() }
}

/**
 * Reads the directives of a request.
 *
 * @param model The model's name. Only names that begin with `sim-` carry directives; any other is a plain model.
 * @param prompt The last message of the user, as text.
 * @returns The directives and the prompt without them, or what could not be read.
 */
export const readDirectives = (
  model: string,
  prompt: string
): { readonly directives: Directives; readonly prompt: string } | Unreadable => {
  let result = none
  if (model.startsWith("sim-")) {
    for (const segment of model.slice(4).split("+")) {
      const next = apply(result, ...splitSegment(segment))
      if (typeof next === "string") return { where: "model", message: next }
      result = next
    }
  }
  const scanned = scanPrompt(prompt)
  if (scanned.found.some(([name]) => name === "tool")) result = { ...result, tool: [] }
  for (const [name, value] of scanned.found) {
    const next = apply(result, name, value)
    if (typeof next === "string") return { where: "prompt", message: next }
    result = next
  }
  return { directives: result, prompt: scanned.prompt }
}
