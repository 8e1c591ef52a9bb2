import { Predicate } from "effect"
import {
  type Answer,
  type Choice,
  type Conversation,
  type DeclaredTool,
  type Part,
  type Tokens,
  readableTools,
  tokens,
  type ToolResult
} from "./Conversation.ts"
import {
  errorObject,
  type Failure,
  invalid,
  type JsonObject,
  openAi,
  pretty,
  type SimulatedDialect
} from "./Dialect.ts"
import type { Directives } from "./Directives.ts"
import { makeRandom } from "./Random.ts"

/** The text of a message's content, its parts joined by newlines; everything but text is passed over. */
const textOf = (content: unknown): string => {
  if (typeof content === "string") return content
  if (!Array.isArray(content)) return ""
  return content
    .map((part) => (Predicate.isObject(part) && typeof part.text === "string" ? part.text : undefined))
    .filter((text) => text !== undefined)
    .join("\n")
}

const readTool = (tool: unknown): ReadonlyArray<DeclaredTool> => {
  if (!Predicate.isObject(tool)) return []
  const kind = tool.type === "custom" ? "custom" : "function"
  const declared = tool[kind]
  if (!Predicate.isObject(declared) || typeof declared.name !== "string") return []
  return [{ name: declared.name, kind, schema: declared.parameters ?? {} }]
}

const readToolChoice = (choice: unknown): Conversation["toolChoice"] => {
  if (choice === "none" || choice === "required") return choice
  if (!Predicate.isObject(choice)) return "auto"
  const named = choice.function ?? choice.custom
  return Predicate.isObject(named) && typeof named.name === "string" ? { name: named.name } : "auto"
}

const readFormat = (format: unknown): unknown => {
  if (!Predicate.isObject(format)) return undefined
  if (format.type === "json_object") return true
  return format.type === "json_schema" && Predicate.isObject(format.json_schema)
    ? (format.json_schema.schema ?? true)
    : undefined
}

/** What happened behind the last message of the user: how often tools were called, and what they answered. */
const readRounds = (messages: ReadonlyArray<JsonObject>) => {
  const names = new Map<unknown, string>()
  const results: Array<ToolResult> = []
  let rounds = 0
  for (const message of messages) {
    if (message.role === "assistant" && Array.isArray(message.tool_calls) && message.tool_calls.length > 0) {
      rounds++
      for (const call of message.tool_calls.filter(Predicate.isObject)) {
        const called = call.function ?? call.custom
        if (Predicate.isObject(called) && typeof called.name === "string") names.set(call.id, called.name)
      }
    }
    if (message.role === "tool") {
      const callId = typeof message.tool_call_id === "string" ? message.tool_call_id : ""
      results.push({ callId, name: names.get(callId) ?? "", text: textOf(message.content) })
    }
  }
  return { rounds, results }
}

const wholeNumber = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : undefined

const read = (body: JsonObject): Conversation | Failure => {
  if (typeof body.model !== "string" || body.model === "") {
    return invalid("you must provide a model parameter", null, null)
  }
  if (body.messages === undefined) {
    return invalid("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
  }
  if (!Array.isArray(body.messages)) {
    return invalid("Invalid type for 'messages': expected an array of objects.", "messages", "invalid_type")
  }
  const messages = body.messages.filter(Predicate.isObject)
  const asked = messages.findLastIndex((message) => message.role === "user")
  return {
    model: body.model,
    stream: body.stream === true,
    choices: Math.min(128, Math.max(1, wholeNumber(body.n) ?? 1)),
    prompt: asked === -1 ? "" : textOf(messages[asked]?.content),
    tools: Array.isArray(body.tools) ? body.tools.flatMap(readTool) : [],
    toolChoice: readToolChoice(body.tool_choice),
    ...readRounds(messages.slice(asked + 1)),
    maxTokens: wholeNumber(body.max_completion_tokens) ?? wholeNumber(body.max_tokens),
    format: readFormat(body.response_format),
    input: [...readableTools(body.tools), ...messages.map((message) => textOf(message.content))].join("\n"),
    identity: JSON.stringify([body.messages, body.seed])
  }
}

const usageObject = ({ cached, input, output, reasoning, written, writtenLong }: Tokens) => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: input + output,
  prompt_tokens_details: {
    cached_tokens: cached,
    ...(written + writtenLong > 0 ? { cache_write_tokens: written + writtenLong } : {}),
    audio_tokens: 0
  },
  completion_tokens_details: {
    reasoning_tokens: reasoning,
    audio_tokens: 0,
    accepted_prediction_tokens: 0,
    rejected_prediction_tokens: 0
  }
})

type ToolCallPart = Part & { readonly type: "tool_call" }

const toolCallObject = (part: ToolCallPart, given: string) =>
  part.kind === "custom"
    ? { id: `call_${part.id}`, type: "custom", custom: { name: part.name, input: given } }
    : { id: `call_${part.id}`, type: "function", function: { name: part.name, arguments: given } }

const argumentsDelta = (part: ToolCallPart, index: number, given: string) =>
  part.kind === "custom" ? { index, custom: { input: given } } : { index, function: { arguments: given } }

/** A choice's delta and how many tokens it carries. */
type Delta = readonly [delta: JsonObject, tokens: number]

/** The deltas of one choice in their order; the first one names the role. */
const deltas = (choice: Choice, directives: Directives): Array<Delta> => {
  const field = directives.reasoning ?? "reasoning_content"
  const calls = choice.parts.filter((part) => part.type === "tool_call")
  const spoken = choice.parts.some((part) => part.type === "text")
  const thought = choice.parts.some((part) => part.type === "reasoning")
  const out: Array<Delta> = []
  const only = calls.length === 1 && !spoken && !thought ? calls[0] : undefined
  if (only !== undefined) {
    // The API names a lone call in the chunk that names the role, and several in chunks of their own.
    const opened = { index: 0, ...toolCallObject(only, "") }
    out.push([{ role: "assistant", content: null, tool_calls: [opened], refusal: null }, 0])
  } else if (thought) {
    out.push([{ role: "assistant", content: field === "reasoning" ? "" : null, [field]: "" }, 0])
  } else {
    const content = spoken || calls.length === 0 ? "" : null
    out.push([{ role: "assistant", content, refusal: null }, 0])
  }
  for (const part of choice.parts) {
    switch (part.type) {
      case "reasoning":
        for (const text of tokens(part.text)) out.push([{ [field]: text }, 1])
        break
      case "text":
        for (const text of tokens(part.text)) out.push([{ content: text }, 1])
        break
      case "refusal":
        for (const text of tokens(part.text)) out.push([{ refusal: text }, 1])
        break
      case "tool_call": {
        const index = calls.indexOf(part)
        if (part !== only) out.push([{ tool_calls: [{ index, ...toolCallObject(part, "") }] }, 1])
        for (const text of tokens(part.arguments)) {
          out.push([{ tool_calls: [argumentsDelta(part, index, text)] }, 1])
        }
      }
    }
  }
  return out
}

const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

const done = "data: [DONE]\n\n"

const stream = (answer: Answer, directives: Directives, request: JsonObject): ReadonlyArray<string> => {
  const asked = Predicate.isObject(request.stream_options) && request.stream_options.include_usage === true
  const placement = directives.usage === "asked" ? (asked ? "last" : "none") : directives.usage
  const padding = makeRandom(answer.id, "obfuscation")
  const usage = (counts: Tokens | null) => {
    if (counts !== null) return { usage: usageObject(counts) }
    return asked || placement === "last" ? { usage: null } : {}
  }
  const chunk = (choices: ReadonlyArray<JsonObject>, counts: Tokens | null) =>
    event({
      id: `chatcmpl-${answer.id}`,
      object: "chat.completion.chunk",
      created: answer.created,
      model: answer.model,
      service_tier: "default",
      system_fingerprint: answer.fingerprint,
      choices,
      ...usage(counts),
      ...(directives.obfuscation ? { obfuscation: padding.id(1 + padding.below(12)) } : {})
    })
  const waiting = answer.choices.map((choice) => deltas(choice, directives))
  const events: Array<string> = []
  let said = 0
  const running = (): Tokens | null => {
    if (placement !== "every-chunk") return null
    const output = Math.min(said, answer.tokens.output)
    return { ...answer.tokens, output, reasoning: Math.min(output, answer.tokens.reasoning) }
  }
  // The choices of a request advance together, as they are generated.
  for (let turn = 0; waiting.some((rest) => turn < rest.length); turn++) {
    for (const [index, rest] of waiting.entries()) {
      const next = rest[turn]
      if (next === undefined) continue
      said += next[1]
      events.push(chunk([{ index, delta: next[0], logprobs: null, finish_reason: null }], running()))
    }
  }
  for (const [index, choice] of answer.choices.entries()) {
    const last = index === answer.choices.length - 1
    const counts = placement === "every-chunk" || (placement === "finish" && last) ? answer.tokens : null
    events.push(chunk([{ index, delta: {}, logprobs: null, finish_reason: choice.finish }], counts))
  }
  if (placement === "last") events.push(chunk([], answer.tokens))
  events.push(done)
  return events
}

const joined = (choice: Choice, type: "reasoning" | "text" | "refusal"): string | null => {
  const texts = choice.parts.flatMap((part) => (part.type === type ? [part.text] : []))
  return texts.length === 0 ? null : texts.join("")
}

const whole = (answer: Answer, directives: Directives): string =>
  pretty({
    id: `chatcmpl-${answer.id}`,
    object: "chat.completion",
    created: answer.created,
    model: answer.model,
    choices: answer.choices.map((choice, index) => {
      const calls = choice.parts.filter((part) => part.type === "tool_call")
      const thought = joined(choice, "reasoning")
      return {
        index,
        message: {
          role: "assistant",
          content: joined(choice, "text"),
          ...(thought === null ? {} : { [directives.reasoning ?? "reasoning_content"]: thought }),
          ...(calls.length === 0 ? {} : { tool_calls: calls.map((call) => toolCallObject(call, call.arguments)) }),
          refusal: joined(choice, "refusal"),
          annotations: []
        },
        logprobs: null,
        finish_reason: choice.finish
      }
    }),
    ...(directives.usage === "none" ? {} : { usage: usageObject(answer.tokens) }),
    service_tier: "default",
    system_fingerprint: answer.fingerprint
  })

/**
 * Chat Completions, byte for byte in the shapes of OpenAI's API: streamed chunks on one line, bodies indented by two.
 *
 * @see https://platform.openai.com/docs/api-reference/chat
 */
export const chatCompletions: SimulatedDialect = {
  ...openAi,
  path: "/chat/completions",
  read,
  stream,
  isDone: (text) => text === done,
  whole,
  failureEvent: (failure) => event(errorObject(failure))
}
