/** The protocols that the model speaks. */
export type DialectName = "openai-chat" | "openai-responses" | "anthropic-messages"

/** A tool that the model calls. */
export interface ModelCall {
  readonly name: string
  readonly arguments: object
}

/** What the model says in one turn: thoughts, text and then calls, whichever there are. */
export interface ModelAnswer {
  /** Makes the ids of this turn, so that no two are alike. */
  readonly turn: number
  readonly model: string
  readonly thought?: string
  readonly text?: string
  readonly calls?: ReadonlyArray<ModelCall>
}

type Json = { readonly [name: string]: unknown }

const created = 1_800_000_000

/** What every turn costs, whatever was said: clients compact their context where it seems large. */
export const usage = { input: 120, cached: 20, output: 30, reasoning: 10 }

/** A text in pieces of a few letters, as models send it. */
const pieces = (text: string): ReadonlyArray<string> => text.match(/.{1,7}/gsu) ?? []

const idOf = (prefix: string, { turn }: ModelAnswer): string => `${prefix}_${String(turn).padStart(24, "0")}`

const callsOf = ({ calls = [] }: ModelAnswer): ReadonlyArray<ModelCall> => calls

/** The id of a call of a turn, which its result names. */
const callIdOf = (dialect: DialectName, answer: ModelAnswer, place: number): string => {
  const id = idOf(dialect === "anthropic-messages" ? "toolu" : "call", answer)
  return place === 0 ? id : `${id}_${place}`
}

// Chat: https://platform.openai.com/docs/api-reference/chat-streaming

const chatUsage = {
  prompt_tokens: usage.input,
  completion_tokens: usage.output,
  total_tokens: usage.input + usage.output,
  prompt_tokens_details: { cached_tokens: usage.cached, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: usage.reasoning, audio_tokens: 0 }
}

const chatCall = (answer: ModelAnswer, call: ModelCall, place: number, args: string) => ({
  id: callIdOf("openai-chat", answer, place),
  type: "function",
  function: { name: call.name, arguments: args }
})

const finishReason = (answer: ModelAnswer): string => (callsOf(answer).length === 0 ? "stop" : "tool_calls")

const chatEvents = (answer: ModelAnswer, request: Json): ReadonlyArray<string> => {
  const { include_usage = false } = (request["stream_options"] ?? {}) as { readonly include_usage?: boolean }
  const chunk = (choices: ReadonlyArray<object>, more: object = include_usage ? { usage: null } : {}) =>
    `data: ${JSON.stringify({
      id: idOf("chatcmpl", answer),
      object: "chat.completion.chunk",
      created,
      model: answer.model,
      service_tier: "default",
      system_fingerprint: "fp_test",
      choices,
      ...more
    })}\n\n`
  const delta = (said: object, finish_reason: string | null = null) =>
    chunk([{ index: 0, delta: said, logprobs: null, finish_reason }])
  const { text = "" } = answer
  const calls = callsOf(answer)
  return [
    delta({ role: "assistant", content: calls.length === 0 ? "" : null, refusal: null }),
    ...pieces(text).map((content) => delta({ content })),
    ...calls.flatMap((call, index) => [
      delta({ tool_calls: [{ index, ...chatCall(answer, call, index, "") }] }),
      ...pieces(JSON.stringify(call.arguments)).map((piece) =>
        delta({ tool_calls: [{ index, function: { arguments: piece } }] })
      )
    ]),
    delta({}, finishReason(answer)),
    ...(include_usage ? [chunk([], { usage: chatUsage })] : []),
    "data: [DONE]\n\n"
  ]
}

const chatBody = (answer: ModelAnswer) => ({
  id: idOf("chatcmpl", answer),
  object: "chat.completion",
  created,
  model: answer.model,
  choices: [
    {
      index: 0,
      message: {
        role: "assistant",
        content: answer.text ?? null,
        refusal: null,
        annotations: [],
        ...(callsOf(answer).length === 0
          ? {}
          : {
              tool_calls: callsOf(answer).map((call, place) =>
                chatCall(answer, call, place, JSON.stringify(call.arguments))
              )
            })
      },
      logprobs: null,
      finish_reason: finishReason(answer)
    }
  ],
  usage: chatUsage,
  service_tier: "default",
  system_fingerprint: "fp_test"
})

// Responses: https://platform.openai.com/docs/api-reference/responses-streaming

const response = (answer: ModelAnswer, request: Json, status: string, more: object) => ({
  id: idOf("resp", answer),
  object: "response",
  created_at: created,
  status,
  background: false,
  error: null,
  incomplete_details: null,
  instructions: null,
  max_output_tokens: null,
  model: answer.model,
  parallel_tool_calls: true,
  previous_response_id: null,
  reasoning: { effort: "medium", summary: null },
  store: false,
  temperature: 1,
  text: { format: { type: "text" } },
  tool_choice: "auto",
  tools: request["tools"] ?? [],
  top_p: 1,
  truncation: "disabled",
  metadata: {},
  ...more
})

const outputText = (text: string) => ({ type: "output_text", annotations: [], logprobs: [], text })

/** The items of an answer as they stand when they are done. */
const outputItems = (answer: ModelAnswer): ReadonlyArray<Json> => [
  ...(answer.thought === undefined
    ? []
    : [
        {
          id: idOf("rs", answer),
          type: "reasoning",
          summary: [{ type: "summary_text", text: answer.thought }],
          encrypted_content: `gAAAAA${answer.turn}`
        }
      ]),
  ...(answer.text === undefined
    ? []
    : [
        {
          id: idOf("msg", answer),
          type: "message",
          status: "completed",
          content: [outputText(answer.text)],
          role: "assistant"
        }
      ]),
  ...callsOf(answer).map((call, place) => ({
    id: `${idOf("fc", answer)}${place === 0 ? "" : `_${place}`}`,
    type: "function_call",
    status: "completed",
    arguments: JSON.stringify(call.arguments),
    call_id: callIdOf("openai-responses", answer, place),
    name: call.name
  }))
]

const completed = (answer: ModelAnswer, request: Json) =>
  response(answer, request, "completed", {
    output: outputItems(answer),
    usage: {
      input_tokens: usage.input,
      input_tokens_details: { cached_tokens: usage.cached },
      output_tokens: usage.output,
      output_tokens_details: { reasoning_tokens: usage.reasoning },
      total_tokens: usage.input + usage.output
    }
  })

/** The events of one output item, the way from its empty form to the done one. */
const itemEvents = (answer: ModelAnswer, item: Json, output_index: number): ReadonlyArray<Json> => {
  const at = { item_id: item["id"], output_index }
  const around = (empty: object, inner: ReadonlyArray<Json>): ReadonlyArray<Json> => [
    { type: "response.output_item.added", output_index, item: { ...item, ...empty } },
    ...inner,
    { type: "response.output_item.done", output_index, item }
  ]
  switch (item["type"]) {
    case "reasoning": {
      const summary = { ...at, summary_index: 0 }
      const text = answer.thought ?? ""
      return around({ summary: [] }, [
        { type: "response.reasoning_summary_part.added", ...summary, part: { type: "summary_text", text: "" } },
        ...pieces(text).map((delta) => ({ type: "response.reasoning_summary_text.delta", ...summary, delta })),
        { type: "response.reasoning_summary_text.done", ...summary, text },
        { type: "response.reasoning_summary_part.done", ...summary, part: { type: "summary_text", text } }
      ])
    }
    case "message": {
      const content = { ...at, content_index: 0 }
      const text = answer.text ?? ""
      return around({ status: "in_progress", content: [] }, [
        { type: "response.content_part.added", ...content, part: outputText("") },
        ...pieces(text).map((delta) => ({ type: "response.output_text.delta", ...content, delta, logprobs: [] })),
        { type: "response.output_text.done", ...content, text, logprobs: [] },
        { type: "response.content_part.done", ...content, part: outputText(text) }
      ])
    }
    default: {
      const text = String(item["arguments"])
      return around({ status: "in_progress", arguments: "" }, [
        ...pieces(text).map((delta) => ({ type: "response.function_call_arguments.delta", ...at, delta })),
        { type: "response.function_call_arguments.done", ...at, arguments: text }
      ])
    }
  }
}

const named = (event: Json): string => `event: ${String(event["type"])}\ndata: ${JSON.stringify(event)}\n\n`

const responsesEvents = (answer: ModelAnswer, request: Json): ReadonlyArray<string> => {
  const begun = response(answer, request, "in_progress", { output: [], usage: null })
  return [
    { type: "response.created", response: begun },
    { type: "response.in_progress", response: begun },
    ...outputItems(answer).flatMap((item, index) => itemEvents(answer, item, index)),
    { type: "response.completed", response: completed(answer, request) }
  ].map(({ type, ...rest }, sequence_number) => named({ type, sequence_number, ...rest }))
}

// Messages: https://docs.anthropic.com/en/docs/build-with-claude/streaming

const messagesUsage = (output_tokens: number) => ({
  input_tokens: usage.input - usage.cached,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: usage.cached,
  cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
  output_tokens,
  service_tier: "standard"
})

const message = (answer: ModelAnswer, more: object) => ({
  model: answer.model,
  id: idOf("msg", answer),
  type: "message",
  role: "assistant",
  stop_sequence: null,
  ...more
})

const contentBlocks = (answer: ModelAnswer): ReadonlyArray<Json> => [
  ...(answer.thought === undefined
    ? []
    : [{ type: "thinking", thinking: answer.thought, signature: `EqoB${answer.turn}==` }]),
  ...(answer.text === undefined ? [] : [{ type: "text", text: answer.text }]),
  ...callsOf(answer).map((call, place) => ({
    type: "tool_use",
    id: callIdOf("anthropic-messages", answer, place),
    name: call.name,
    input: call.arguments
  }))
]

const blockEvents = (block: Json, index: number): ReadonlyArray<Json> => {
  const delta = (said: object) => ({ type: "content_block_delta", index, delta: said })
  const around = (content_block: object, inner: ReadonlyArray<Json>) => [
    { type: "content_block_start", index, content_block },
    ...inner,
    { type: "content_block_stop", index }
  ]
  switch (block["type"]) {
    case "thinking":
      return around({ type: "thinking", thinking: "", signature: "" }, [
        ...pieces(String(block["thinking"])).map((thinking) => delta({ type: "thinking_delta", thinking })),
        delta({ type: "signature_delta", signature: block["signature"] })
      ])
    case "text":
      return around(
        { type: "text", text: "" },
        pieces(String(block["text"])).map((text) => delta({ type: "text_delta", text }))
      )
    default:
      return around({ ...block, input: {} }, [
        delta({ type: "input_json_delta", partial_json: "" }),
        ...pieces(JSON.stringify(block["input"])).map((partial_json) =>
          delta({ type: "input_json_delta", partial_json })
        )
      ])
  }
}

const stopReason = (answer: ModelAnswer): string => (callsOf(answer).length === 0 ? "end_turn" : "tool_use")

const messagesEvents = (answer: ModelAnswer): ReadonlyArray<string> => [
  named({
    type: "message_start",
    message: message(answer, { content: [], stop_reason: null, usage: messagesUsage(1) })
  }),
  'event: ping\ndata: {"type": "ping"}\n\n',
  ...contentBlocks(answer).flatMap((block, index) => blockEvents(block, index).map(named)),
  named({
    type: "message_delta",
    delta: { stop_reason: stopReason(answer), stop_sequence: null },
    usage: { output_tokens: usage.output }
  }),
  named({ type: "message_stop" })
]

const messagesBody = (answer: ModelAnswer) =>
  message(answer, {
    content: contentBlocks(answer),
    stop_reason: stopReason(answer),
    usage: messagesUsage(usage.output)
  })

/** The events of a streamed answer, each whole with its blank line. */
export const eventsOf = (dialect: DialectName, answer: ModelAnswer, request: Json): ReadonlyArray<string> => {
  switch (dialect) {
    case "openai-chat":
      return chatEvents(answer, request)
    case "openai-responses":
      return responsesEvents(answer, request)
    case "anthropic-messages":
      return messagesEvents(answer)
  }
}

/** The body of an answer that is not streamed. */
export const bodyOf = (dialect: DialectName, answer: ModelAnswer, request: Json): string => {
  switch (dialect) {
    case "openai-chat":
      return JSON.stringify(chatBody(answer))
    case "openai-responses":
      return JSON.stringify(completed(answer, request))
    case "anthropic-messages":
      return JSON.stringify(messagesBody(answer))
  }
}

/** The body of an error before the stream, in the words of the API. */
export const errorOf = (dialect: DialectName, status: number): string => {
  if (dialect === "anthropic-messages") {
    const types: { readonly [status: number]: string } = {
      400: "invalid_request_error",
      401: "authentication_error",
      429: "rate_limit_error",
      529: "overloaded_error"
    }
    const type = types[status] ?? "api_error"
    return JSON.stringify({ type: "error", error: { type, message: `status ${status}` }, request_id: "req_upstream" })
  }
  const code = status === 429 ? "rate_limit_exceeded" : status === 401 ? "invalid_api_key" : null
  const type = status < 500 ? "invalid_request_error" : "server_error"
  return JSON.stringify({ error: { message: `status ${status}`, type, param: null, code } })
}

/** The event of an error within the stream. */
export const errorEventOf = (dialect: DialectName): string => {
  switch (dialect) {
    case "openai-chat":
      return `data: ${JSON.stringify({ error: { message: "broke", type: "server_error", param: null, code: null } })}\n\n`
    case "openai-responses":
      return named({ type: "error", sequence_number: 3, code: "server_error", message: "broke", param: null })
    case "anthropic-messages":
      return named({ type: "error", error: { type: "overloaded_error", message: "broke" } })
  }
}
