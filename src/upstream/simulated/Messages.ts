import { Predicate } from "effect"
import {
  type Answer,
  type Conversation,
  type DeclaredTool,
  type Part,
  type Tokens,
  readableTools,
  tokens,
  type ToolResult
} from "./Conversation.ts"
import { type Failure, invalid, type JsonObject, type SimulatedDialect } from "./Dialect.ts"
import type { Directives } from "./Directives.ts"
import { makeRandom } from "./Random.ts"

const blocksOf = (content: unknown): ReadonlyArray<JsonObject> =>
  Array.isArray(content) ? content.filter(Predicate.isObject) : []

/** The text of some content, its blocks joined by newlines; everything but text is passed over. */
const textOf = (content: unknown): string => {
  if (typeof content === "string") return content
  return blocksOf(content)
    .map((block) => (typeof block.text === "string" ? block.text : undefined))
    .filter((text) => text !== undefined)
    .join("\n")
}

const isResult = (block: JsonObject): boolean => block.type === "tool_result"

/** What Claude Code puts before the words of the user, in blocks of their own or within theirs. */
const reminders = /^(\s*<system-reminder>[\s\S]*?<\/system-reminder>)+\s*/

/** What the user wrote. */
const wordsOf = (content: unknown): string => {
  if (typeof content === "string") return content.replace(reminders, "")
  return blocksOf(content)
    .map((block) => (typeof block.text === "string" ? block.text.replace(reminders, "") : ""))
    .filter((text) => text !== "")
    .join("\n")
}

/** Tools of the client; those that Anthropic runs itself are not called. */
const readTool = (tool: unknown): ReadonlyArray<DeclaredTool> => {
  if (!Predicate.isObject(tool) || typeof tool.name !== "string") return []
  if (tool.type !== undefined && tool.type !== "custom") return []
  return [{ name: tool.name, kind: "function", schema: tool.input_schema ?? {} }]
}

const readToolChoice = (choice: unknown): Conversation["toolChoice"] => {
  if (!Predicate.isObject(choice)) return "auto"
  if (choice.type === "none") return "none"
  if (choice.type === "any") return "required"
  return choice.type === "tool" && typeof choice.name === "string" ? { name: choice.name } : "auto"
}

/** The JSON Schema of a structured answer: of `output_config`, or as the beta has it. */
const readFormat = (body: JsonObject): unknown => {
  const format = Predicate.isObject(body.output_config) ? body.output_config.format : body.output_format
  return Predicate.isObject(format) && format.type === "json_schema" ? (format.schema ?? true) : undefined
}

/** What happened behind the last prompt: how often tools were called, and what they answered. */
const readRounds = (messages: ReadonlyArray<JsonObject>) => {
  const names = new Map<unknown, string>()
  const results: Array<ToolResult> = []
  let rounds = 0
  for (const message of messages) {
    const blocks = blocksOf(message.content)
    const calls = blocks.filter((block) => block.type === "tool_use")
    if (calls.length > 0) rounds++
    for (const call of calls) if (typeof call.name === "string") names.set(call.id, call.name)
    for (const result of blocks.filter(isResult)) {
      const callId = typeof result.tool_use_id === "string" ? result.tool_use_id : ""
      results.push({ callId, name: names.get(callId) ?? "", text: textOf(result.content) })
    }
  }
  return { rounds, results }
}

const read = (body: JsonObject): Conversation | Failure => {
  if (typeof body.model !== "string" || body.model === "") return invalid("model: Field required", "model", null)
  if (body.messages === undefined) return invalid("messages: Field required", "messages", null)
  if (!Array.isArray(body.messages)) return invalid("messages: Input should be a valid list", "messages", null)
  const messages = body.messages.filter(Predicate.isObject)
  const prompts = messages.map(({ content, role }) =>
    role === "user" && !blocksOf(content).some(isResult) ? wordsOf(content) : ""
  )
  const asked = prompts.findLastIndex((text) => text !== "")
  const { max_tokens } = body
  return {
    model: body.model,
    stream: body.stream === true,
    choices: 1,
    prompt: prompts[asked] ?? "",
    tools: Array.isArray(body.tools) ? body.tools.flatMap(readTool) : [],
    toolChoice: readToolChoice(body.tool_choice),
    ...readRounds(messages.slice(asked + 1)),
    maxTokens:
      typeof max_tokens === "number" && Number.isInteger(max_tokens) && max_tokens >= 0 ? max_tokens : undefined,
    format: readFormat(body),
    input: [
      textOf(body.system),
      ...readableTools(body.tools),
      ...messages.flatMap(({ content }) => [
        textOf(content),
        ...blocksOf(content)
          .filter(isResult)
          .map((result) => textOf(result.content))
      ])
    ].join("\n"),
    identity: JSON.stringify(body.messages)
  }
}

/** Counts of the input: unlike in OpenAI's, tokens of caches are not among `input_tokens`. */
const inputUsage = ({ cached, input, written, writtenLong }: Tokens) => ({
  input_tokens: Math.max(0, input - cached - written - writtenLong),
  cache_creation_input_tokens: written + writtenLong,
  cache_read_input_tokens: cached
})

const usageObject = (counts: Tokens, output: number) => ({
  ...inputUsage(counts),
  cache_creation: {
    ephemeral_5m_input_tokens: counts.written,
    ephemeral_1h_input_tokens: counts.writtenLong
  },
  output_tokens: output,
  service_tier: "standard"
})

const details = ({ reasoning }: Tokens) =>
  reasoning === 0 ? {} : { output_tokens_details: { thinking_tokens: reasoning } }

const stopReason = ({ choices }: Answer): string => {
  const { finish, parts } = choices[0]!
  switch (finish) {
    case "stop":
      return parts.some((part) => part.type === "refusal") ? "refusal" : "end_turn"
    case "length":
      return "max_tokens"
    case "tool_calls":
      return "tool_use"
    case "content_filter":
      return "refusal"
  }
}

const messageObject = (answer: Answer, more: JsonObject) => ({
  model: answer.model,
  id: `msg_${answer.id.slice(0, 24)}`,
  type: "message",
  role: "assistant",
  ...more
})

/** What says that a thought is the model's own; nobody can read it. */
const signatureOf = (answer: Answer, index: number): string => `${makeRandom(answer.id, "signature", index).id(86)}==`

const argumentsOf = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return {}
  }
}

/** A content block: how it begins in a stream, the deltas it comes in, and how it stands in a body. */
interface Block {
  readonly begin: JsonObject
  readonly deltas: ReadonlyArray<JsonObject>
  readonly whole: JsonObject
}

const blockOf = (answer: Answer, part: Part, index: number): Block => {
  switch (part.type) {
    case "reasoning": {
      const signature = signatureOf(answer, index)
      return {
        begin: { type: "thinking", thinking: "", signature: "" },
        deltas: [
          ...tokens(part.text).map((thinking) => ({ type: "thinking_delta", thinking })),
          { type: "signature_delta", signature }
        ],
        whole: { type: "thinking", thinking: part.text, signature }
      }
    }
    case "text":
    case "refusal":
      return {
        begin: { type: "text", text: "" },
        deltas: tokens(part.text).map((text) => ({ type: "text_delta", text })),
        whole: { type: "text", text: part.text }
      }
    case "tool_call": {
      const call = { type: "tool_use", id: `toolu_${part.id}`, name: part.name }
      return {
        begin: { ...call, input: {} },
        deltas: ["", ...tokens(part.arguments)].map((partial_json) => ({ type: "input_json_delta", partial_json })),
        whole: { ...call, input: argumentsOf(part.arguments) }
      }
    }
  }
}

const blocks = (answer: Answer): ReadonlyArray<Block> =>
  answer.choices[0]!.parts.map((part, index) => blockOf(answer, part, index))

const event = (value: { readonly type: string } & JsonObject): string =>
  `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

const ping = 'event: ping\ndata: {"type": "ping"}\n\n'
const messageStop = event({ type: "message_stop" })

const stream = (answer: Answer, directives: Directives): ReadonlyArray<string> => {
  const silent = directives.usage === "none"
  const early = silent ? {} : { usage: usageObject(answer.tokens, Math.min(1, answer.tokens.output)) }
  const late = silent
    ? {}
    : { usage: { ...inputUsage(answer.tokens), output_tokens: answer.tokens.output, ...details(answer.tokens) } }
  const events = [
    event({
      type: "message_start",
      message: messageObject(answer, { content: [], stop_reason: null, stop_sequence: null, ...early })
    })
  ]
  for (const [index, { begin, deltas }] of blocks(answer).entries()) {
    events.push(event({ type: "content_block_start", index, content_block: begin }))
    if (index === 0) events.push(ping)
    for (const delta of deltas) events.push(event({ type: "content_block_delta", index, delta }))
    events.push(event({ type: "content_block_stop", index }))
  }
  const delta = { stop_reason: stopReason(answer), stop_sequence: null }
  events.push(event({ type: "message_delta", delta, ...late }), messageStop)
  if (!directives.obfuscation) return events
  // Anthropic hides the lengths of its events behind white space.
  const padding = makeRandom(answer.id, "obfuscation")
  return events.map((one) => one.replace(/\}\n\n$/, () => `${" ".repeat(padding.below(16))}}\n\n`))
}

const whole = (answer: Answer, directives: Directives): string =>
  JSON.stringify(
    messageObject(answer, {
      content: blocks(answer).map((block) => block.whole),
      stop_reason: stopReason(answer),
      stop_sequence: null,
      ...(directives.usage === "none"
        ? {}
        : { usage: { ...usageObject(answer.tokens, answer.tokens.output), ...details(answer.tokens) } })
    })
  )

/** The errors of Anthropic's API by status, and what they say where that does not depend on the request. */
const errors: ReadonlyMap<number, readonly [type: string, message?: string]> = new Map<
  number,
  readonly [string, string?]
>([
  [401, ["authentication_error", "invalid x-api-key"]],
  [402, ["billing_error"]],
  [403, ["permission_error"]],
  [404, ["not_found_error"]],
  [413, ["request_too_large", "Request exceeds the maximum size"]],
  [429, ["rate_limit_error", "This request would exceed your organization's rate limit. Please try again later."]],
  [500, ["api_error", "Internal server error"]],
  [503, ["overloaded_error", "Overloaded"]],
  [504, ["timeout_error", "Request timed out"]],
  [529, ["overloaded_error", "Overloaded"]]
])

const errorObject = ({ message, status }: Failure) => {
  const [type, usual] = errors.get(status) ?? [status >= 500 ? "api_error" : "invalid_request_error", undefined]
  return { type, message: usual ?? message }
}

/**
 * Messages, in the shapes of Anthropic's API, all on one line.
 *
 * @see https://docs.anthropic.com/en/api/messages
 */
export const messages: SimulatedDialect = {
  path: "/messages",
  read,
  stream,
  isDone: (text) => text.startsWith("event: message_stop\n"),
  whole,
  beside: new Map([
    [
      "/messages/count_tokens",
      (conversation, directives) =>
        JSON.stringify({ input_tokens: directives.input ?? tokens(conversation.input).length })
    ]
  ]),
  failure: (failure, requestId) =>
    JSON.stringify({ type: "error", error: errorObject(failure), request_id: requestId }),
  // What breaks an answer of Anthropic's in its middle is nearly always this.
  failureEvent: (failure) => event({ type: "error", error: errorObject({ ...failure, status: 529 }) }),
  headers: (requestId) => ({
    "request-id": requestId,
    "anthropic-organization-id": "00000000-0000-4000-8000-000000000000"
  })
}
