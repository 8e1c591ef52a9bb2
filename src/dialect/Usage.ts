import { isObject, type JsonObject, jsonText, memberOf, setMember } from "./Json.ts"

/** What a turn used, in disjoint counts: no token is in two of `input`, `cacheRead`, `cacheWrite` and `output`. */
export interface TokenUsage {
  /** Input tokens that were neither read from a cache nor written to one. */
  readonly input: number | null
  readonly cacheRead: number | null
  readonly cacheWrite: number | null
  /** Output tokens, those spent on reasoning included. */
  readonly output: number | null
  /** The part of `output` that was reasoning. */
  readonly reasoning: number | null
  /** Other counts by name, those of value zero left out. */
  readonly other: { readonly [name: string]: number }
  /** The provider's own usage object as JSON text; `null` where it is none that could be written. */
  readonly raw: string | null
}

/**
 * Folds a later usage object over an earlier one: the latest value of each field that is not null wins. Counts are
 * never added: providers send running totals. Details lie one level below; what lies deeper is taken as it comes.
 */
export const latest = (earlier: JsonObject | null, later: JsonObject, depth = 0): JsonObject => {
  if (earlier === null) return later
  const merged: { [key: string]: unknown } = { ...earlier }
  for (const key of Object.keys(later)) {
    const value = later[key]
    if (value === null || value === undefined) continue
    const before = memberOf(merged, key)
    setMember(merged, key, depth === 0 && isObject(before) && isObject(value) ? latest(before, value, 1) : value)
  }
  return merged
}

/** A count as it can be summed and stored. A negative one is 0; one beyond all that is countable is none. */
const count = (value: unknown): number | null => {
  if (typeof value !== "number" || !(Math.abs(value) <= Number.MAX_SAFE_INTEGER)) return null
  return Math.max(0, Math.trunc(value))
}

/** Notes figures that are no counts, as `<name>_clamped`, by how far they are from one. */
const noteClamped = (usage: JsonObject, names: ReadonlyArray<string>, other: { [name: string]: number }): void => {
  for (const name of names) {
    const value = usage[name]
    if (typeof value === "number" && value < 0 && value >= -Number.MAX_SAFE_INTEGER) other[`${name}_clamped`] = -value
  }
}

/** What the counts of one of OpenAI's protocols are called. */
interface Names {
  readonly input: string
  readonly output: string
  readonly inputDetails: string
  readonly outputDetails: string
  /** Names of counts that are no others. */
  readonly known: ReadonlySet<string>
}

const chatNames: Names = {
  input: "prompt_tokens",
  output: "completion_tokens",
  inputDetails: "prompt_tokens_details",
  outputDetails: "completion_tokens_details",
  known: new Set([
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens"
  ])
}

const responsesNames: Names = {
  input: "input_tokens",
  output: "output_tokens",
  inputDetails: "input_tokens_details",
  outputDetails: "output_tokens_details",
  known: new Set(["input_tokens", "output_tokens", "total_tokens"])
}

const knownDetails = new Set(["cached_tokens", "cache_write_tokens", "reasoning_tokens"])

const detailsOf = (usage: JsonObject, name: string): JsonObject => {
  const details = usage[name]
  return isObject(details) ? details : {}
}

/** OpenAI's input tokens include those read from and written to a cache; here each stands apart. */
const fromOpenAi = (usage: JsonObject, names: Names): TokenUsage => {
  const input = detailsOf(usage, names.inputDetails)
  const output = detailsOf(usage, names.outputDetails)
  const cacheRead = count(input.cached_tokens) ?? count(usage.prompt_cache_hit_tokens)
  const cacheWrite = count(input.cache_write_tokens)
  const total = count(usage[names.input])
  const rest = total === null ? null : total - (cacheRead ?? 0) - (cacheWrite ?? 0)
  const other: { [name: string]: number } = {}
  if (rest !== null && rest < 0) other.input_clamped = -rest
  noteClamped(usage, [names.input, names.output], other)
  const note = (from: JsonObject, prefix: string, known: ReadonlySet<string>) => {
    for (const key of Object.keys(from)) {
      const value = known.has(key) ? null : count(from[key])
      if (value !== null && value > 0) setMember(other, prefix + key, value)
    }
  }
  note(usage, "", names.known)
  note(input, `${names.inputDetails}.`, knownDetails)
  note(output, `${names.outputDetails}.`, knownDetails)
  return {
    input: rest === null ? null : Math.max(0, rest),
    cacheRead,
    cacheWrite,
    output: count(usage[names.output]),
    reasoning: count(output.reasoning_tokens),
    other,
    raw: jsonText(usage)
  }
}

/**
 * The usage object of Chat Completions.
 *
 * Cached tokens beyond the input are clamped and noted as `input_clamped`. Field names:
 * https://platform.openai.com/docs/api-reference/chat/object; `prompt_cache_hit_tokens` is DeepSeek's.
 */
export const fromChat = (usage: JsonObject): TokenUsage => fromOpenAi(usage, chatNames)

/**
 * The usage object of Responses, clamped and noted like that of Chat Completions. Field names:
 * https://platform.openai.com/docs/api-reference/responses/object
 */
export const fromResponses = (usage: JsonObject): TokenUsage => fromOpenAi(usage, responsesNames)

/**
 * The usage object of Messages: its input tokens are those that were neither read from a cache nor written to one, and
 * its output tokens include those of thinking.
 *
 * Field names: https://docs.anthropic.com/en/api/messages; writes to caches that last five minutes and an hour are
 * priced apart, so they are given apart as well.
 */
export const fromMessages = (usage: JsonObject): TokenUsage => {
  const written = objectAt(usage, "cache_creation")
  const details = objectAt(usage, "output_tokens_details")
  const short = count(written.ephemeral_5m_input_tokens)
  const long = count(written.ephemeral_1h_input_tokens)
  const other: { [name: string]: number } = {}
  const note = (from: JsonObject, prefix: string) => {
    for (const key of Object.keys(from)) {
      const name = messagesNames.get(prefix + key) ?? prefix + key
      const value = name === "" ? null : count(from[key])
      if (value !== null && value > 0) setMember(other, name, value)
      else if (prefix === "" && isObject(from[key])) note(from[key], `${key}.`)
    }
  }
  note(usage, "")
  noteClamped(usage, ["input_tokens", "output_tokens"], other)
  return {
    input: count(usage.input_tokens),
    cacheRead: count(usage.cache_read_input_tokens),
    cacheWrite:
      count(usage.cache_creation_input_tokens) ?? (short === null && long === null ? null : (short ?? 0) + (long ?? 0)),
    output: count(usage.output_tokens),
    reasoning: count(details.thinking_tokens),
    other,
    raw: jsonText(usage)
  }
}

const objectAt = (object: JsonObject, key: string): JsonObject => {
  const value = object[key]
  return isObject(value) ? value : {}
}

/** What counts of Messages are called among the others; empty where they stand elsewhere. */
const messagesNames: ReadonlyMap<string, string> = new Map([
  ["input_tokens", ""],
  ["output_tokens", ""],
  ["cache_read_input_tokens", ""],
  ["cache_creation_input_tokens", ""],
  ["cache_creation.ephemeral_5m_input_tokens", "cache_write_5m"],
  ["cache_creation.ephemeral_1h_input_tokens", "cache_write_1h"],
  ["output_tokens_details.thinking_tokens", ""],
  ["server_tool_use.web_search_requests", "web_search_requests"]
])
