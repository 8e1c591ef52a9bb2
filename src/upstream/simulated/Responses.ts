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
import { type Failure, invalid, type JsonObject, openAi, pretty, type SimulatedDialect } from "./Dialect.ts"
import type { Directives } from "./Directives.ts"
import { makeRandom } from "./Random.ts"

/** The text of a content, or of a tool's output: a string, or parts joined by newlines. */
const textOf = (content: unknown): string => {
  if (typeof content === "string") return content
  if (!Array.isArray(content)) return ""
  return content
    .flatMap((part) => (Predicate.isObject(part) && typeof part.text === "string" ? [part.text] : []))
    .join("\n")
}

/** A declared tool and the namespace that it stands in, if any. */
interface PlacedTool {
  readonly tool: DeclaredTool
  readonly namespace: string | undefined
}

const readTool = (tool: unknown, namespace?: string): ReadonlyArray<PlacedTool> => {
  if (!Predicate.isObject(tool) || typeof tool.name !== "string") return []
  if (tool.type === "namespace" && Array.isArray(tool.tools)) {
    const { name } = tool
    return tool.tools.flatMap((inner) => readTool(inner, name))
  }
  if (tool.type !== "function" && tool.type !== "custom") return []
  return [{ tool: { name: tool.name, kind: tool.type, schema: tool.parameters ?? {} }, namespace }]
}

const toolsOf = (body: JsonObject): ReadonlyArray<PlacedTool> =>
  Array.isArray(body.tools) ? body.tools.flatMap((tool) => readTool(tool)) : []

const readToolChoice = (choice: unknown): Conversation["toolChoice"] => {
  if (choice === "none" || choice === "required") return choice
  return Predicate.isObject(choice) && typeof choice.name === "string" ? { name: choice.name } : "auto"
}

const readFormat = (text: unknown): unknown => {
  const format = Predicate.isObject(text) ? text.format : undefined
  if (!Predicate.isObject(format)) return undefined
  if (format.type === "json_object") return true
  return format.type === "json_schema" ? (format.schema ?? true) : undefined
}

const isCall = (item: JsonObject): boolean => item.type === "function_call" || item.type === "custom_tool_call"
const isOutput = (item: JsonObject): boolean =>
  item.type === "function_call_output" || item.type === "custom_tool_call_output"

/** What happened behind the last message of the user: how often tools were called, and what they answered. */
const readRounds = (items: ReadonlyArray<JsonObject>) => {
  const names = new Map<unknown, string>()
  const results: Array<ToolResult> = []
  let rounds = 0
  let calling = false
  for (const item of items) {
    if (isCall(item)) {
      // Calls that nothing was answered between were made at once.
      if (!calling) rounds++
      calling = true
      if (typeof item.name === "string") names.set(item.call_id, item.name)
    } else if (isOutput(item)) {
      calling = false
      const callId = typeof item.call_id === "string" ? item.call_id : ""
      results.push({ callId, name: names.get(callId) ?? "", text: textOf(item.output) })
    }
  }
  // The call may stand in a response before this one, which nobody keeps here.
  return { rounds: results.length === 0 ? rounds : Math.max(1, rounds), results }
}

const wholeNumber = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : undefined

const read = (body: JsonObject): Conversation | Failure => {
  if (typeof body.model !== "string" || body.model === "") {
    return invalid("you must provide a model parameter", "model", "missing_required_parameter")
  }
  const { input } = body
  if (input === undefined && body.previous_response_id === undefined) {
    return invalid("Missing required parameter: 'input'.", "input", "missing_required_parameter")
  }
  if (input !== undefined && typeof input !== "string" && !Array.isArray(input)) {
    return invalid("Invalid type for 'input': expected a string or an array.", "input", "invalid_type")
  }
  const items: ReadonlyArray<JsonObject> =
    typeof input === "string" ? [{ role: "user", content: input }] : (input ?? []).filter(Predicate.isObject)
  const asked = items.findLastIndex((item) => item.role === "user")
  return {
    model: body.model,
    stream: body.stream === true,
    choices: 1,
    prompt: asked === -1 ? "" : textOf(items[asked]?.content),
    tools: toolsOf(body).map(({ tool }) => tool),
    toolChoice: readToolChoice(body.tool_choice),
    ...readRounds(items.slice(asked + 1)),
    maxTokens: wholeNumber(body.max_output_tokens),
    format: readFormat(body.text),
    input: [
      textOf(body.instructions),
      ...readableTools(body.tools),
      ...items.map((item) => textOf(item.content ?? item.output))
    ].join("\n"),
    identity: JSON.stringify([input, body.instructions])
  }
}

const usageObject = ({ cached, input, output, reasoning, written, writtenLong }: Tokens) => ({
  input_tokens: input,
  input_tokens_details: {
    cached_tokens: cached,
    // Only models that charge for it say so.
    ...(written + writtenLong > 0 ? { cache_write_tokens: written + writtenLong } : {})
  },
  output_tokens: output,
  output_tokens_details: { reasoning_tokens: reasoning },
  total_tokens: input + output
})

type Event = JsonObject & { readonly type: string }

/** One item of the output: as it begins, what is said of it, and as it is when it is whole. */
interface Item {
  readonly begun: JsonObject
  /** The events between, without what all of them carry. */
  readonly events: ReadonlyArray<Event>
  readonly whole: JsonObject
}

const reasoningItem = (id: string, text: string, encrypted: string | undefined): Item => {
  const more = encrypted === undefined ? {} : { encrypted_content: encrypted }
  const place = { summary_index: 0 }
  return {
    begun: { id: `rs_${id}`, type: "reasoning", ...more, summary: [] },
    events: [
      { type: "response.reasoning_summary_part.added", ...place, part: { type: "summary_text", text: "" } },
      ...tokens(text).map((delta) => ({ type: "response.reasoning_summary_text.delta", ...place, delta })),
      { type: "response.reasoning_summary_text.done", ...place, text },
      { type: "response.reasoning_summary_part.done", ...place, part: { type: "summary_text", text } }
    ],
    whole: { id: `rs_${id}`, type: "reasoning", ...more, summary: [{ type: "summary_text", text }] }
  }
}

/** @param phase `commentary` for what is said before a tool is called; nothing where a model knows no phases. */
const messageItem = (
  id: string,
  part: Part & { readonly type: "text" | "refusal" },
  status: string,
  phase: object
): Item => {
  const { text } = part
  const refused = part.type === "refusal"
  const place = { content_index: 0 }
  const said = (words: string) =>
    refused ? { type: "refusal", refusal: words } : { type: "output_text", annotations: [], logprobs: [], text: words }
  const name = refused ? "response.refusal" : "response.output_text"
  const more = refused ? {} : { logprobs: [] }
  const message = (now: string, content: ReadonlyArray<object>) => ({
    id: `msg_${id}`,
    type: "message",
    status: now,
    content,
    ...phase,
    role: "assistant"
  })
  return {
    begun: message("in_progress", []),
    events: [
      { type: "response.content_part.added", ...place, part: said("") },
      ...tokens(text).map((delta) => ({ type: `${name}.delta`, ...place, delta, ...more })),
      { type: `${name}.done`, ...place, ...(refused ? { refusal: text } : { text }), ...more },
      { type: "response.content_part.done", ...place, part: said(text) }
    ],
    whole: message(status, [said(text)])
  }
}

const callItem = (part: Part & { readonly type: "tool_call" }, id: string, namespace: string | undefined): Item => {
  const custom = part.kind === "custom"
  const key = custom ? "input" : "arguments"
  const name = custom ? "response.custom_tool_call_input" : "response.function_call_arguments"
  const call = (status: string, given: string) => ({
    id: `${custom ? "ctc" : "fc"}_${id}`,
    type: custom ? "custom_tool_call" : "function_call",
    status,
    [key]: given,
    call_id: `call_${part.id}`,
    name: part.name,
    ...(namespace === undefined ? {} : { namespace })
  })
  return {
    begun: call("in_progress", ""),
    events: [
      ...tokens(part.arguments).map((delta) => ({ type: `${name}.delta`, delta })),
      { type: `${name}.done`, [key]: part.arguments }
    ],
    whole: call("completed", part.arguments)
  }
}

const itemsOf = (answer: Answer, request: JsonObject): ReadonlyArray<Item> => {
  const { finish, parts } = answer.choices[0]!
  const placed = toolsOf(request)
  const encrypted = Array.isArray(request.include) && request.include.includes("reasoning.encrypted_content")
  return parts.map((part, index) => {
    const random = makeRandom(answer.id, index, "item")
    const id = random.id(50)
    switch (part.type) {
      case "reasoning":
        return reasoningItem(id, part.text, encrypted ? `gAAAAA${random.id(120)}` : undefined)
      case "tool_call":
        return callItem(part, id, placed.find(({ tool }) => tool.name === part.name)?.namespace)
      default: {
        const whole = index < parts.length - 1 || (finish !== "length" && finish !== "content_filter")
        const aside = parts.slice(index + 1).some((later) => later.type === "tool_call")
        return messageItem(id, part, whole ? "completed" : "incomplete", aside ? { phase: "commentary" } : {})
      }
    }
  })
}

const failed = { code: "server_error", message: "The model failed to generate a response." }

const reasons: { readonly [finish in Choice["finish"]]?: string } = {
  length: "max_output_tokens",
  content_filter: "content_filter"
}

/** How the answer ends: the members of the response that say so. */
const endOf = (answer: Answer, directives: Directives) => {
  if (directives.failed) return { status: "failed", error: failed, incomplete_details: null }
  const reason = reasons[answer.choices[0]!.finish]
  return reason === undefined
    ? { status: "completed", error: null, incomplete_details: null }
    : { status: "incomplete", error: null, incomplete_details: { reason } }
}

/** The response object: what was asked for, as the API repeats it, around what came of it. */
const responseObject = (
  answer: Answer,
  request: JsonObject,
  now:
    | ReturnType<typeof endOf>
    | { readonly status: "in_progress"; readonly error: null; readonly incomplete_details: null },
  output: ReadonlyArray<JsonObject>,
  usage: object | null
) => ({
  id: `resp_${answer.id}`,
  object: "response",
  created_at: answer.created,
  status: now.status,
  background: request.background ?? false,
  error: now.error,
  incomplete_details: now.incomplete_details,
  instructions: request.instructions ?? null,
  max_output_tokens: request.max_output_tokens ?? null,
  max_tool_calls: request.max_tool_calls ?? null,
  model: answer.model,
  output,
  parallel_tool_calls: request.parallel_tool_calls ?? true,
  previous_response_id: request.previous_response_id ?? null,
  prompt_cache_key: request.prompt_cache_key ?? null,
  reasoning: { effort: null, summary: null, ...(Predicate.isObject(request.reasoning) ? request.reasoning : {}) },
  safety_identifier: request.safety_identifier ?? null,
  service_tier: "default",
  store: request.store ?? true,
  temperature: request.temperature ?? 1,
  text: { format: { type: "text" }, verbosity: "medium", ...(Predicate.isObject(request.text) ? request.text : {}) },
  tool_choice: request.tool_choice ?? "auto",
  tools: request.tools ?? [],
  top_logprobs: request.top_logprobs ?? 0,
  top_p: request.top_p ?? 1,
  truncation: request.truncation ?? "disabled",
  usage,
  user: request.user ?? null,
  metadata: request.metadata ?? {}
})

/** The response as it is at its end. */
const ended = (answer: Answer, directives: Directives, request: JsonObject, items: ReadonlyArray<Item>) => {
  const usage = directives.usage === "none" || directives.failed ? null : usageObject(answer.tokens)
  const output = items.map(({ whole }) => whole)
  return responseObject(answer, request, endOf(answer, directives), output, usage)
}

const inProgress = { status: "in_progress", error: null, incomplete_details: null } as const

const event = (value: Event): string => `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

const stream = (answer: Answer, directives: Directives, request: JsonObject): ReadonlyArray<string> => {
  const padding = makeRandom(answer.id, "obfuscation")
  const items = itemsOf(answer, request)
  const begun = responseObject(answer, request, inProgress, [], null)
  const end = ended(answer, directives, request, items)
  const events: Array<Event> = [
    { type: "response.created", response: begun },
    { type: "response.in_progress", response: begun },
    ...items.flatMap(
      ({ begun, events, whole }, index): ReadonlyArray<Event> => [
        { type: "response.output_item.added", output_index: index, item: begun },
        ...events.map(({ type, ...rest }) => ({ type, item_id: whole.id, output_index: index, ...rest })),
        { type: "response.output_item.done", output_index: index, item: whole }
      ]
    ),
    { type: `response.${end.status}`, response: end }
  ]
  return events.map(({ type, ...rest }, sequence_number) => {
    const padded = directives.obfuscation && type.endsWith(".delta")
    return event({
      type,
      sequence_number,
      ...rest,
      ...(padded ? { obfuscation: padding.id(1 + padding.below(16)) } : {})
    })
  })
}

/**
 * Responses, in the shapes of OpenAI's API: every event of a stream, numbered; bodies indented by two.
 *
 * Nothing is kept: `previous_response_id` is taken for what it is called, and what it names is not known.
 *
 * @see https://platform.openai.com/docs/api-reference/responses
 */
export const responses: SimulatedDialect = {
  ...openAi,
  path: "/responses",
  read,
  stream,
  isDone: (text) => /^event: response\.(completed|incomplete|failed)\n/.test(text),
  whole: (answer, directives, request) => pretty(ended(answer, directives, request, itemsOf(answer, request))),
  beside: new Map([
    [
      "/responses/input_tokens",
      (conversation, directives) =>
        pretty({
          object: "response.input_tokens",
          input_tokens: directives.input ?? tokens(conversation.input).length
        })
    ]
  ]),
  failureEvent: ({ code, message, param, type }, sequence) =>
    event({ type: "error", sequence_number: sequence, code: code ?? type, message, param })
}
