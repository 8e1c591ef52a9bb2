import type { Finish } from "./Directives.ts"

/** A tool that a request declares. */
export interface DeclaredTool {
  readonly name: string
  /** `custom` tools take text, functions take JSON. */
  readonly kind: "function" | "custom"
  /** The JSON Schema of its arguments, as it came in. */
  readonly schema: unknown
}

/** What the user's last question has led to so far. */
export interface ToolResult {
  readonly callId: string
  /** The tool's name, empty where the conversation does not tell. */
  readonly name: string
  readonly text: string
}

/** What a request asks of the model, whatever its dialect. */
export interface Conversation {
  readonly model: string
  readonly stream: boolean
  /** How many answers are wanted. */
  readonly choices: number
  /** The last message of the user, as text. */
  readonly prompt: string
  readonly tools: ReadonlyArray<DeclaredTool>
  readonly toolChoice: "auto" | "none" | "required" | { readonly name: string }
  /** What tools answered since the last message of the user. */
  readonly results: ReadonlyArray<ToolResult>
  /** How often the model has called tools since the last message of the user. */
  readonly rounds: number
  /** The most output tokens, if bounded. */
  readonly maxTokens: number | undefined
  /** The JSON Schema the answer has to fit; `true` for any JSON. */
  readonly format: unknown
  /** Everything the model reads, as text: what input tokens are counted from. */
  readonly input: string
  /**
   * What ids, times and words are derived from: what was said. The model's name and options of the stream are not in
   * it, so that the same conversation through a gateway that edits them gets the same answer.
   */
  readonly identity: string
}

/** One thing the model says. */
export type Part =
  | { readonly type: "reasoning"; readonly text: string }
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "refusal"; readonly text: string }
  | {
      readonly type: "tool_call"
      /** 24 letters and digits; dialects put their prefix before it. */
      readonly id: string
      readonly name: string
      readonly kind: DeclaredTool["kind"]
      /** JSON, or text for a custom tool. */
      readonly arguments: string
    }

/** One answer: its parts in the order they are said. */
export interface Choice {
  readonly parts: ReadonlyArray<Part>
  readonly finish: Finish
}

/** Token counts as OpenAI counts them: those of caches are within `input`, `reasoning` is within `output`. */
export interface Tokens {
  readonly input: number
  readonly cached: number
  /** Written to a cache that lasts five minutes, and to one that lasts an hour. */
  readonly written: number
  readonly writtenLong: number
  readonly output: number
  readonly reasoning: number
}

/** What the model says to a conversation, whatever the dialect it is put in. */
export interface Answer {
  /** 29 letters and digits; dialects put their prefix before it. */
  readonly id: string
  /** Seconds since 1970. */
  readonly created: number
  readonly model: string
  readonly fingerprint: string
  readonly choices: ReadonlyArray<Choice>
  readonly tokens: Tokens
}

/** Cuts text as the simulated model's tokens: a word with the white space before it, at most 16 characters. */
export const tokens = (text: string): ReadonlyArray<string> => text.match(/\s*\S{1,16}|\s+/gu) ?? []

/** The tools of a request as a model reads them, line by line; nothing where there are none. */
export const readableTools = (tools: unknown): ReadonlyArray<string> =>
  Array.isArray(tools) ? tools.map((tool) => JSON.stringify(tool)) : []
