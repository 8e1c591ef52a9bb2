import { isObject } from "../../src/dialect/Json.ts"
import type { Counts, DialectCase, Events, ReadError, Reply, SentRequest } from "./DialectCase.ts"
import { openAiChatAnswers, openAiChatCutStreams } from "./OpenAiChatAnswers.ts"
import { openAiChatToolLoop } from "./toolloop/OpenAiChatToolLoop.ts"

/** A value as one event. */
export const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

export const done = "data: [DONE]\n\n"

const reasons = { stop: "stop", length: "length", tools: "tool_calls" } as const

export const chatUsage = (counts: Counts) => ({
  prompt_tokens: counts.input + counts.cacheRead,
  completion_tokens: counts.output,
  total_tokens: counts.input + counts.cacheRead + counts.output,
  prompt_tokens_details: { cached_tokens: counts.cacheRead },
  completion_tokens_details: { reasoning_tokens: counts.reasoning }
})

/** A chunk of the stream that all tests share, its members as OpenAI orders them. */
export const chunk = (more: { readonly [name: string]: unknown }, reply: Reply = {}) => ({
  id: reply.id ?? "chatcmpl-1",
  object: "chat.completion.chunk",
  created: 1_700_000_000,
  model: reply.model ?? "test-model-2025",
  ...more
})

/** A chunk of one choice. */
export const delta = (said: object, finish: string | null = null, index = 0, more: object = {}) =>
  chunk({ choices: [{ index, delta: said, logprobs: null, finish_reason: finish }], ...more })

const choice = (reply: Reply, said: object, finish: string | null = null) =>
  event(chunk({ choices: [{ index: 0, delta: said, logprobs: null, finish_reason: finish }], usage: null }, reply))

const events = (reply: Reply): Events => ({
  body: [
    choice(reply, { role: "assistant", content: "" }),
    ...(reply.thoughts ?? []).map((text) => choice(reply, { reasoning_content: text })),
    ...(reply.text ?? []).map((text) => choice(reply, { content: text })),
    ...(reply.calls ?? []).map((call, index) =>
      choice(reply, {
        tool_calls: [{ index, id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } }]
      })
    )
  ],
  finish: [choice(reply, {}, reasons[reply.ending ?? "stop"])],
  after:
    reply.usage === undefined || reply.usage === null
      ? []
      : [event(chunk({ choices: [], usage: chatUsage(reply.usage) }, reply))],
  end: done
})

const body = (reply: Reply): string =>
  JSON.stringify({
    id: reply.id ?? "chatcmpl-1",
    object: "chat.completion",
    model: reply.model ?? "test-model-2025",
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: (reply.text ?? []).join(""),
          ...(reply.thoughts === undefined ? {} : { reasoning_content: reply.thoughts.join("") }),
          ...(reply.calls === undefined
            ? {}
            : {
                tool_calls: reply.calls.map((call) => ({
                  id: call.id,
                  type: "function",
                  function: { name: call.name, arguments: call.arguments }
                }))
              })
        },
        finish_reason: reasons[reply.ending ?? "stop"]
      }
    ],
    ...(reply.usage === undefined || reply.usage === null ? {} : { usage: chatUsage(reply.usage) })
  })

const readErrorBody = (text: string): ReadError | null => {
  if (!text.startsWith("{")) return null
  const value: unknown = JSON.parse(text)
  if (!isObject(value) || !isObject(value.error) || typeof value.error.message !== "string") return null
  if (typeof value.error.type !== "string") return null
  return { code: typeof value.error.code === "string" ? value.error.code : null, message: value.error.message }
}

const plain = '"model":"test-model","messages":[]'

const added = ',"stream_options":{"include_usage":true}'

/** Every form of `stream_options`, and what becomes of it. */
const options: ReadonlyArray<readonly [sent: string, received: string]> = [
  ["null", '{"include_usage":true}'],
  ["{}", '{"include_usage":true}'],
  ['{"include_usage":false}', '{"include_usage":true}'],
  ['{ "include_usage" : null }', '{ "include_usage" : true }'],
  ['{"include_obfuscation":false}', '{"include_obfuscation":false,"include_usage":true}'],
  ['{"include_usage":false, "include_obfuscation":1e2}', '{"include_usage":true, "include_obfuscation":1e2}'],
  ['{"include_usage":true}', '{"include_usage":true}'],
  ['"usage"', '"usage"'],
  ["[]", "[]"]
]

const openAiChatRequests: ReadonlyArray<SentRequest> = [
  { name: "no stream", sent: `{${plain}}`, received: `{${plain}}` },
  {
    name: "stream: false",
    sent: `{${plain},"stream":false,"stream_options":null}`,
    received: `{${plain},"stream":false,"stream_options":null}`
  },
  { name: "no stream_options", sent: `{"stream":true,${plain}}`, received: `{"stream":true,${plain}${added}}` },
  ...options.map(([sent, received]) => ({
    name: `stream_options ${sent}`,
    sent: `{ "stream_options" :\t${sent} ,${plain},"stream":true}`,
    received: `{ "stream_options" :\t${received} ,${plain},"stream":true}`
  })),
  {
    name: "a key with an escape in it",
    sent: `{${plain},"stream":true,"stream\\u005foptions":{"include\\u005fusage":false}}`,
    received: `{${plain},"stream":true,"stream\\u005foptions":{"include\\u005fusage":true}}`
  },
  {
    name: "include_usage twice",
    sent: `{${plain},"stream":true,"stream_options":{"include_usage":false,"include_usage":false}}`,
    received: `{${plain},"stream":true,"stream_options":{"include_usage":true,"include_usage":true}}`
  }
]

/** OpenAI's Chat Completions. */
export const openAiChatCase: DialectCase = {
  name: "openai-chat",
  path: "/v1/chat/completions",
  request: (stream, more = {}) =>
    JSON.stringify({
      model: "test-model",
      messages: [{ role: "user", content: "hello" }],
      ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}),
      ...more
    }),
  events,
  body,
  finishReason: (ending) => reasons[ending],
  leftAfterFinish: "completed",
  upstreamError: (message) => event({ error: { message, type: "server_error", code: "overloaded" } }),
  readErrorEvent: (text) => {
    const data = /^data: (\{[^\n]*\})\n\n$/.exec(text)?.[1]
    return data === undefined ? null : readErrorBody(data)
  },
  readErrorBody,
  keepAlive: () => ": keep-alive\n\n",
  malformed: [
    { name: "text", event: "data: upstream request timeout\n\n" },
    { name: "a number", event: "data: 17\n\n" },
    { name: "truncated JSON", event: `${event(chunk({ choices: [] })).slice(0, 40)}\n\n` }
  ],
  largeEvent: (bytes) => event(delta({ content: "x".repeat(bytes) })),
  answers: openAiChatAnswers,
  cutStreams: openAiChatCutStreams,
  members: [
    [
      '"messages"',
      '[{"role":"user","content":"caf\\u00e9 \\ud83d\\udc4b \\/ 👋"}, {"content" :null,"role":"assistant"}]'
    ],
    ['"temperature"', "1e2"],
    ['"seed"', "9007199254740993"],
    ['"x_tiny"', "-0.10E-07"],
    ['"x_unknown"', '{ "model" : "not this one" , "a":[ ] }'],
    ['"x_unkn\\u006fwn"', "true"],
    ['"x_twice"', "1"],
    ['"x_twice"', "2"]
  ],
  requests: openAiChatRequests,
  toolLoop: openAiChatToolLoop
}
