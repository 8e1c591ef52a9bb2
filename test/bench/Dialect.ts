/**
 * What differs from protocol to protocol: the route, what the clients ask, what the upstream answers, and how a stream
 * ends. Ids, models and times are fixed, so that every answer of a dialect has the same bytes.
 *
 * A stream is 100 pieces of text, four to a network write, with the events that its protocol sends before and behind.
 */

export type DialectName = "chat" | "responses" | "messages"

/** What the clients send. */
export interface Asking {
  readonly stream: string
  /** A stream that falls silent behind its first write; see {@link idleModel}. */
  readonly idle: string
  readonly json: string
}

/** What the upstream answers. */
export interface Answering {
  /** The stream's writes, all but the last. */
  readonly writes: ReadonlyArray<Buffer>
  /** Its last write, which depends on whether a chat client asked for usage. */
  readonly last: (usageAsked: boolean) => Buffer
  readonly json: Buffer
}

export interface Dialect {
  readonly name: DialectName
  /** As people know it. */
  readonly title: string
  /** As the gateway's config knows it. */
  readonly configName: "openai-chat" | "openai-responses" | "anthropic-messages"
  /** The route behind `/v1`. */
  readonly path: string
  /** How the last event of a whole stream begins. */
  readonly end: string
  readonly asking: Asking
  readonly answering: Answering
}

/** The model whose streams send their first write and are then silent until their client leaves. */
export const idleModel = "idle"

const model = "bench"
const pieces = 100
const piecesPerWrite = 4
const time = 1767225600
const instructions = "You are a careful assistant. ".repeat(16)
const question = "Say something of a hundred words."
/** The text of a JSON answer. */
const sentences = "A sentence of an answer. ".repeat(68)
const words = Array.from({ length: pieces }, (_, i) => ` word${i}`)

const write = (...events: ReadonlyArray<string>): Buffer => Buffer.from(events.join(""))
const nameless = (value: object): string => `data: ${JSON.stringify(value)}\n\n`
const event = (value: { readonly type: string; readonly [name: string]: unknown }): string =>
  `event: ${value.type}\n${nameless(value)}`
const json = (value: object): Buffer => Buffer.from(JSON.stringify(value))

/** Events as they go out: four to a write. */
const inWrites = (events: ReadonlyArray<string>): ReadonlyArray<Buffer> =>
  Array.from({ length: Math.ceil(events.length / piecesPerWrite) }, (_, i) =>
    write(...events.slice(i * piecesPerWrite, (i + 1) * piecesPerWrite))
  )

/** The three requests of a dialect, which differ in little. */
const asking = (request: object, streaming: object): Asking => ({
  stream: JSON.stringify({ model, ...request, stream: true, ...streaming }),
  idle: JSON.stringify({ model: idleModel, ...request, stream: true, ...streaming }),
  json: JSON.stringify({ model, ...request })
})

const chatAnswering = (): Answering => {
  const head = { id: "chatcmpl-bench0001", object: "chat.completion.chunk", created: time, model }
  const usage = { prompt_tokens: 42, completion_tokens: 98, total_tokens: 140 }
  const chunks = words.map((content, index) => {
    const last = index === pieces - 1
    const delta = last ? {} : index === 0 ? { role: "assistant", content: "" } : { content }
    return nameless({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason: last ? "stop" : null }] })
  })
  const done = "data: [DONE]\n\n"
  const usageAndDone = write(nameless({ ...head, choices: [], usage }), done)
  const onlyDone = write(done)
  const message = { role: "assistant", content: sentences }
  return {
    writes: inWrites(chunks),
    last: (usageAsked) => (usageAsked ? usageAndDone : onlyDone),
    json: json({
      ...head,
      object: "chat.completion",
      choices: [{ index: 0, message, logprobs: null, finish_reason: "stop" }],
      usage
    })
  }
}

/** The events as OpenAI sends them when it is told not to obfuscate. */
const responsesAnswering = (): Answering => {
  const response = (status: string, output: ReadonlyArray<object>, usage: object | null) => ({
    id: "resp_bench0001",
    object: "response",
    created_at: time,
    status,
    background: false,
    error: null,
    incomplete_details: null,
    instructions,
    max_output_tokens: null,
    model,
    output,
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    service_tier: "default",
    store: true,
    temperature: 1,
    text: { format: { type: "text" }, verbosity: "medium" },
    tool_choice: "auto",
    tools: [],
    top_p: 1,
    truncation: "disabled",
    usage,
    user: null,
    metadata: {}
  })
  const usage = {
    input_tokens: 42,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 98,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 140
  }
  const id = "msg_bench0001"
  const part = (text: string) => ({ type: "output_text", annotations: [], logprobs: [], text })
  const item = (status: string, ...content: ReadonlyArray<object>) => ({
    id,
    type: "message",
    status,
    content,
    role: "assistant"
  })
  let sequence = 0
  const numbered = (type: string, more: object) => event({ type, sequence_number: sequence++, ...more })
  const place = { item_id: id, output_index: 0, content_index: 0 }
  const before = [
    numbered("response.created", { response: response("in_progress", [], null) }),
    numbered("response.in_progress", { response: response("in_progress", [], null) }),
    numbered("response.output_item.added", { output_index: 0, item: item("in_progress") }),
    numbered("response.content_part.added", { ...place, part: part("") })
  ]
  const deltas = words.map((delta) => numbered("response.output_text.delta", { ...place, delta, logprobs: [] }))
  const text = words.join("")
  const whole = item("completed", part(text))
  const behind = write(
    numbered("response.output_text.done", { ...place, text, logprobs: [] }),
    numbered("response.content_part.done", { ...place, part: part(text) }),
    numbered("response.output_item.done", { output_index: 0, item: whole }),
    numbered("response.completed", { response: response("completed", [whole], usage) })
  )
  return {
    writes: [write(...before), ...inWrites(deltas)],
    last: () => behind,
    json: json(response("completed", [item("completed", part(sentences))], usage))
  }
}

const messagesAnswering = (): Answering => {
  const head = { model, id: "msg_bench0001", type: "message", role: "assistant" }
  const counts = {
    input_tokens: 42,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
    output_tokens: 1,
    service_tier: "standard"
  }
  const typed = (type: string, more: object = {}) => event({ type, ...more })
  const message = { ...head, content: [], stop_reason: null, stop_sequence: null, usage: counts }
  const before = write(
    typed("message_start", { message }),
    typed("content_block_start", { index: 0, content_block: { type: "text", text: "" } }),
    typed("ping")
  )
  const deltas = words.map((text) => typed("content_block_delta", { index: 0, delta: { type: "text_delta", text } }))
  const behind = write(
    typed("content_block_stop", { index: 0 }),
    typed("message_delta", { delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 98 } }),
    typed("message_stop")
  )
  return {
    writes: [before, ...inWrites(deltas)],
    last: () => behind,
    json: json({
      ...head,
      content: [{ type: "text", text: sentences }],
      stop_reason: "end_turn",
      stop_sequence: null,
      usage: { ...counts, output_tokens: 98 }
    })
  }
}

const user = { role: "user", content: question }

/** All of them, in the order in which they are measured. */
export const dialects: ReadonlyArray<Dialect> = [
  {
    name: "chat",
    title: "Chat Completions",
    configName: "openai-chat",
    path: "/chat/completions",
    end: "data: [DONE]\n",
    asking: asking(
      { messages: [{ role: "system", content: instructions }, user] },
      { stream_options: { include_usage: true } }
    ),
    answering: chatAnswering()
  },
  {
    name: "responses",
    title: "Responses",
    configName: "openai-responses",
    path: "/responses",
    end: "event: response.completed\n",
    asking: asking({ instructions, input: [user] }, { stream_options: { include_obfuscation: false } }),
    answering: responsesAnswering()
  },
  {
    name: "messages",
    title: "Messages",
    configName: "anthropic-messages",
    path: "/messages",
    end: "event: message_stop\n",
    asking: asking({ max_tokens: 1024, system: instructions, messages: [user] }, {}),
    answering: messagesAnswering()
  }
]
