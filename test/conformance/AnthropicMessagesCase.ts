import { isObject } from "../../src/dialect/Json.ts"
import { anthropicMessagesAnswers, anthropicMessagesCutStreams } from "./AnthropicMessagesAnswers.ts"
import type { Counts, DialectCase, Events, ReadError, Reply } from "./DialectCase.ts"
import { anthropicMessagesToolLoop } from "./toolloop/AnthropicMessagesToolLoop.ts"

/** A value as one event, named by its type. */
export const event = (value: { readonly type: string; readonly [name: string]: unknown }): string =>
  `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

const reasons = { stop: "end_turn", length: "max_tokens", tools: "tool_use" } as const

const inputUsage = (counts: Counts) => ({ input_tokens: counts.input, cache_read_input_tokens: counts.cacheRead })

const usage = (counts: Counts) => ({
  ...inputUsage(counts),
  output_tokens: counts.output,
  output_tokens_details: { thinking_tokens: counts.reasoning }
})

/** A message, its members as Anthropic orders them. */
const message = (reply: Reply, more: { readonly [name: string]: unknown }) => ({
  model: reply.model ?? "test-model-2025",
  id: reply.id ?? "msg_1",
  type: "message",
  role: "assistant",
  ...more
})

/** A content block in the pieces that it comes in: how it begins, and its deltas. */
type BlockPieces = readonly [begin: object, deltas: ReadonlyArray<object>]

const blocks = (reply: Reply): ReadonlyArray<BlockPieces> => [
  ...(reply.thoughts ?? []).map(
    (thinking): BlockPieces => [
      { type: "thinking", thinking: "", signature: "" },
      [
        { type: "thinking_delta", thinking },
        { type: "signature_delta", signature: "EqQBCgIYAhIM+/==" }
      ]
    ]
  ),
  [{ type: "text", text: "" }, (reply.text ?? []).map((text) => ({ type: "text_delta", text }))],
  ...(reply.calls ?? []).map(
    ({ id, name, arguments: written }): BlockPieces => [
      { type: "tool_use", id, name, input: {} },
      ["", written.slice(0, 3), written.slice(3)].map((partial_json) => ({ type: "input_json_delta", partial_json }))
    ]
  )
]

const start = (reply: Reply): string => {
  const early = reply.usage ? { usage: { ...inputUsage(reply.usage), output_tokens: 1 } } : {}
  return event({
    type: "message_start",
    message: message(reply, { content: [], stop_reason: null, stop_sequence: null, ...early })
  })
}

const events = (reply: Reply): Events => ({
  body: [
    start(reply),
    ...blocks(reply).flatMap(([begin, deltas], index) => [
      event({ type: "content_block_start", index, content_block: begin }),
      ...deltas.map((delta) => event({ type: "content_block_delta", index, delta })),
      event({ type: "content_block_stop", index })
    ])
  ],
  finish: [
    event({
      type: "message_delta",
      delta: { stop_reason: reasons[reply.ending ?? "stop"], stop_sequence: null },
      ...(reply.usage ? { usage: usage(reply.usage) } : {})
    })
  ],
  after: [],
  end: event({ type: "message_stop" })
})

const body = (reply: Reply): string =>
  JSON.stringify(
    message(reply, {
      content: [
        ...(reply.thoughts ?? []).map((thinking) => ({ type: "thinking", thinking, signature: "EqQB" })),
        { type: "text", text: (reply.text ?? []).join("") },
        ...(reply.calls ?? []).map(({ id, name, arguments: written }) => ({
          type: "tool_use",
          id,
          name,
          input: JSON.parse(written) as unknown
        }))
      ],
      stop_reason: reasons[reply.ending ?? "stop"],
      stop_sequence: null,
      ...(reply.usage ? { usage: usage(reply.usage) } : {})
    })
  )

const readErrorBody = (text: string): ReadError | null => {
  if (!text.startsWith("{")) return null
  const value: unknown = JSON.parse(text)
  if (!isObject(value) || value.type !== "error" || !isObject(value.error)) return null
  const { message: said, type } = value.error
  return typeof said === "string" && typeof type === "string" ? { code: type, message: said } : null
}

/** The types of errors by our codes. */
const errorTypes: { readonly [code: string]: string } = {
  upstream_timeout: "timeout_error",
  shutting_down: "overloaded_error",
  recorder_unavailable: "overloaded_error"
}

/** Anthropic's Messages. */
export const anthropicMessagesCase: DialectCase = {
  name: "anthropic-messages",
  path: "/v1/messages",
  request: (stream, more = {}) =>
    JSON.stringify({
      model: "test-model",
      max_tokens: 64,
      messages: [{ role: "user", content: "hello" }],
      ...(stream ? { stream: true } : {}),
      ...more
    }),
  events,
  body,
  finishReason: (ending) => reasons[ending],
  leftAfterFinish: "cancelled",
  upstreamError: (said) => event({ type: "error", error: { type: "overloaded_error", message: said } }),
  readErrorEvent: (text) => {
    const data = /^event: error\ndata: (\{[^\n]*\})\n\n$/.exec(text)?.[1]
    return data === undefined ? null : readErrorBody(data)
  },
  readErrorBody,
  // An upstream that broke off inside a stream is worded so that Claude Code asks for a stream again.
  errorWord: (code, place) =>
    place === "event" && code.startsWith("upstream_") ? "overloaded_error" : (errorTypes[code] ?? "api_error"),
  earlyUsage: { input: 8, cacheRead: 4, output: 1 },
  keepAlive: () => 'event: ping\ndata: {"type": "ping"}\n\n',
  malformed: [
    { name: "text", event: "event: content_block_delta\ndata: upstream request timeout\n\n" },
    { name: "text without a name", event: "data: upstream request timeout\n\n" },
    { name: "a number", event: "event: message_delta\ndata: 17\n\n" },
    { name: "a delta that lacks its end", event: `${deltaOf("Hi").slice(0, -4)}\n\n` },
    { name: "a delta with a brace too many", event: `${deltaOf("Hi").slice(0, -2)}}\n\n` },
    { name: "a delta whose index is none", event: deltaOf("Hi").replace('"index":0', '"index":') }
  ],
  largeEvent: (bytes) => deltaOf("x".repeat(bytes)),
  answers: anthropicMessagesAnswers,
  cutStreams: anthropicMessagesCutStreams,
  members: [
    [
      '"messages"',
      '[{"role":"user","content":"caf\\u00e9 \\ud83d\\udc4b \\/ 👋"}, {"content" :"be brief","role":"system","output_config":{ }}]'
    ],
    ['"max_tokens"', "1e2"],
    ['"thinking"', '{"type":"adaptive","display":"omitted"}'],
    ['"context_management"', '{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]}'],
    ['"metadata"', '{"user_id":"{\\"session_id\\":\\"s\\"}"}'],
    ['"x_tiny"', "-0.10E-07"],
    ['"x_unknown"', '{ "model" : "not this one" , "a":[ ] }'],
    ['"x_unkn\\u006fwn"', "true"],
    ['"x_twice"', "1"],
    ['"x_twice"', "2"]
  ],
  requests: [
    {
      name: "nothing, for it comes unasked",
      sent: '{"model":"test-model","messages":[],"stream":true}',
      received: '{"model":"test-model","messages":[],"stream":true}'
    }
  ],
  toolLoop: anthropicMessagesToolLoop
}

function deltaOf(text: string): string {
  return event({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })
}
