import { isObject } from "../../src/dialect/Json.ts"
import type { DialectCase, Events, ReadError, Reply } from "./DialectCase.ts"
import { openAiResponsesAnswers, openAiResponsesCutStreams } from "./OpenAiResponsesAnswers.ts"
import {
  callItem,
  completed,
  event,
  messageItem,
  numbered,
  reasoningItem,
  response,
  textDelta,
  usageOf
} from "./OpenAiResponsesParts.ts"
import { openAiResponsesToolLoop } from "./toolloop/OpenAiResponsesToolLoop.ts"

const reasons = { stop: "completed", length: "max_output_tokens", tools: "completed" } as const

/** The members of a response that a reply decides. */
const members = (reply: Reply) => ({
  ...(reply.id === undefined ? {} : { id: reply.id }),
  ...(reply.model === undefined ? {} : { model: reply.model })
})

const outputOf = (reply: Reply): ReadonlyArray<{ readonly id: string; readonly type: string }> => [
  ...(reply.thoughts === undefined ? [] : [reasoningItem(...reply.thoughts)]),
  ...(reply.text === undefined ? [] : [messageItem(reply.text.join(""))]),
  ...(reply.calls ?? []).map((call) => callItem(call.id, call.name, call.arguments))
]

const finished = (reply: Reply) => ({
  ...members(reply),
  ...(reply.ending === "length"
    ? { status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }
    : { status: "completed" }),
  output: outputOf(reply),
  usage: reply.usage === undefined || reply.usage === null ? null : usageOf(reply.usage)
})

/** What is said of one item between its beginning and its end. */
const said = (reply: Reply, item: { readonly id: string; readonly type: string }, at: number) => {
  const place = { item_id: item.id, output_index: at }
  switch (item.type) {
    case "message":
      return [
        { type: "response.content_part.added", ...place, content_index: 0, part: { type: "output_text", text: "" } },
        ...(reply.text ?? []).map((text) => textDelta(text, at)),
        { type: "response.output_text.done", ...place, content_index: 0, text: (reply.text ?? []).join("") }
      ]
    case "reasoning":
      return (reply.thoughts ?? []).map((delta, index) => ({
        type: "response.reasoning_summary_text.delta",
        ...place,
        summary_index: index,
        delta
      }))
    default:
      return [{ type: "response.function_call_arguments.delta", ...place, delta: "{" }]
  }
}

const events = (reply: Reply): Events => {
  const values = [
    { type: "response.created", response: response({ ...members(reply), status: "in_progress" }) },
    { type: "response.in_progress", response: response({ ...members(reply), status: "in_progress" }) },
    ...outputOf(reply).flatMap((item, at) => [
      { type: "response.output_item.added", output_index: at, item: { id: item.id, type: item.type } },
      ...said(reply, item, at),
      { type: "response.output_item.done", output_index: at, item }
    ]),
    completed(finished(reply))
  ]
  const all = numbered(values).map(event)
  return { body: all.slice(0, -1), finish: [], after: [], end: all.at(-1)! }
}

const readErrorBody = (text: string): ReadError | null => {
  if (!text.startsWith("{")) return null
  const value: unknown = JSON.parse(text)
  if (!isObject(value) || !isObject(value.error) || typeof value.error.message !== "string") return null
  if (typeof value.error.type !== "string") return null
  return { code: typeof value.error.code === "string" ? value.error.code : null, message: value.error.message }
}

const readErrorEvent = (text: string): ReadError | null => {
  const data = /^event: error\ndata: (\{[^\n]*\})\n\n$/.exec(text)?.[1]
  const value: unknown = data === undefined ? null : JSON.parse(data)
  if (!isObject(value) || value.type !== "error" || typeof value.sequence_number !== "number") return null
  if (typeof value.message !== "string" || value.param !== null) return null
  return { code: typeof value.code === "string" ? value.code : null, message: value.message }
}

const plain = '"model":"test-model","input":"hello"'

/** OpenAI's Responses. */
export const openAiResponsesCase: DialectCase = {
  name: "openai-responses",
  path: "/v1/responses",
  request: (stream, more = {}) =>
    JSON.stringify({ model: "test-model", input: "hello", ...(stream ? { stream: true } : {}), ...more }),
  events,
  body: (reply) => JSON.stringify(response(finished(reply))),
  finishReason: (ending) => reasons[ending],
  leftAfterFinish: "cancelled",
  upstreamError: (message) => event({ type: "error", sequence_number: 2, code: "server_error", message, param: null }),
  readErrorEvent,
  readErrorBody,
  keepAlive: (shown) => event({ type: "keepalive", sequence_number: Math.max(0, shown - 1) }),
  malformed: [
    { name: "text", event: "data: upstream request timeout\n\n" },
    { name: "a number", event: "data: 17\n\n" },
    { name: "[DONE] by the name of its end", event: "event: response.completed\ndata: [DONE]\n\n" },
    {
      name: "truncated JSON",
      event: `${event({ type: "response.output_item.done", item: messageItem("Hi") }).slice(0, 90)}\n\n`
    }
  ],
  largeEvent: (bytes) => event({ ...textDelta("x".repeat(bytes)), sequence_number: 3 }),
  answers: openAiResponsesAnswers,
  cutStreams: openAiResponsesCutStreams,
  members: [
    [
      '"input"',
      '[{"type":"message","role":"user","content":"caf\\u00e9 \\ud83d\\udc4b \\/ 👋"}, {"content" :null,"type":"reasoning","summary":[],"encrypted_content":"gAAAA=="},{"type":"item_reference","id":"rs_1"},{"role":"user","content":"no id"},{"type":"from_the_future","x":1.0}]'
    ],
    ['"tools"', '[{"type":"namespace","name":"mcp__x","tools":[ ]},{"type":"web_search","external_web_access":false}]'],
    ['"temperature"', "1e2"],
    ['"x_large"', "9007199254740993"],
    ['"include"', '["reasoning.encrypted_content"]'],
    ['"x_unknown"', '{ "model" : "not this one" , "a":[ ] }'],
    ['"x_unkn\\u006fwn"', "true"],
    ['"x_twice"', "1"],
    ['"x_twice"', "2"]
  ],
  requests: [
    { name: "a body", sent: `{${plain}}`, received: `{${plain}}` },
    {
      name: "a stream",
      sent: `{${plain},"stream":true,"stream_options":{"include_obfuscation":false}}`,
      received: `{${plain},"stream":true,"stream_options":{"include_obfuscation":false}}`
    }
  ],
  toolLoop: openAiResponsesToolLoop
}
