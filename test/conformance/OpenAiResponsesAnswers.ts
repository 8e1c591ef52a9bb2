import type { Answer, CutStream, Expected } from "./DialectCase.ts"
import {
  callItem,
  completed,
  created,
  type Data,
  event,
  itemDone,
  messageItem,
  nameless,
  numbered,
  reasoningItem,
  response,
  textDelta
} from "./OpenAiResponsesParts.ts"

const stream = (...values: ReadonlyArray<Data>): string => numbered(values).map(event).join("")

const sse = (name: string, body: string, expected: Expected, request: object = {}): Answer => ({
  name,
  transport: "sse",
  body,
  expected,
  request: request as { [name: string]: unknown }
})

const json = (name: string, body: string, expected: Expected, request: object = {}): Answer => ({
  ...sse(name, body, expected, request),
  transport: "json"
})

const hi = messageItem("Hi")
const counts = { input_tokens: 10, output_tokens: 5, total_tokens: 15 }
const counted = { input: 10, output: 5 }

/** A response in both transports: as the end of a stream, and as a body. */
const both = (name: string, more: object, expected: Expected, request: object = {}): ReadonlyArray<Answer> => [
  sse(name, stream(created, textDelta("Hi"), completed(more)), expected, request),
  json(name, JSON.stringify(response(more)), expected, request)
]

const done = { status: "completed", finishReason: "completed" } as const
const unknown = { provenance: "unknown" } as const
const known = { provenance: "provider", usage: counted } as const

const endings: ReadonlyArray<Answer> = [
  ...["max_output_tokens", "content_filter"].flatMap((reason) =>
    both(
      `incomplete by ${reason}, with usage`,
      { status: "incomplete", incomplete_details: { reason }, output: [hi], usage: counts },
      { status: "incomplete", finishReason: reason, ...known }
    )
  ),
  ...both(
    "failed, with usage",
    { status: "failed", error: { code: "server_error", message: "no" }, usage: counts },
    { status: "failed", error: "upstream_status", finishReason: "failed", ...known }
  ),
  ...both(
    "failed, without usage and reason",
    { status: "failed" },
    { status: "failed", error: "upstream_status", finishReason: "failed", ...unknown }
  ),
  json("cancelled", JSON.stringify(response({ status: "cancelled" })), {
    status: "incomplete",
    finishReason: "cancelled",
    ...unknown
  }),
  ...["queued", "in_progress"].map((status) =>
    json(
      `made in the background, ${status}`,
      JSON.stringify(response({ status, background: true })),
      { status: "incomplete", finishReason: status, ...unknown },
      { background: true }
    )
  ),
  sse(
    "made in the background, and followed to its end",
    stream(
      { type: "response.queued", response: response({ status: "queued" }) },
      created,
      completed({ usage: counts })
    ),
    { ...done, ...known },
    { background: true, stream: true }
  ),
  ...[
    { type: "response.queued", response: response({ status: "queued" }) },
    { type: "response.in_progress", response: response({ status: "in_progress" }) },
    textDelta("Hi")
  ].map((last) =>
    sse(
      `made in the background, and followed up to ${last.type}`,
      stream(created, last),
      { status: "incomplete", finishReason: null, ...unknown },
      { background: true, stream: true }
    )
  ),
  json("an error with status 200", JSON.stringify({ error: { message: "no", type: "x", code: "y" } }), {
    status: "failed",
    error: "upstream_status",
    ...unknown
  }),
  sse(
    "an error as the API sends it, and the failed response behind it",
    stream(
      created,
      {
        type: "error",
        error: { type: "insufficient_quota", code: "insufficient_quota", message: "no", param: null }
      },
      completed({ status: "failed", error: { code: "insufficient_quota", message: "no" }, usage: counts })
    ),
    { status: "failed", error: "upstream_status", finishReason: "failed", ...known }
  ),
  sse("an error without a name, as in Chat Completions", nameless({ error: { message: "no", type: "x" } }), {
    status: "failed",
    error: "upstream_status",
    ...unknown
  }),
  sse("its last blank line missing", stream(created, completed({ usage: counts })).trimEnd(), { ...done, ...known }),
  sse("[DONE] behind the end", `${stream(created, completed())}data: [DONE]\n\n`, { ...done, ...unknown }),
  sse("[DONE] behind the end, without its blank line", `${stream(created, completed())}data: [DONE]`, {
    ...done,
    ...unknown
  }),
  sse("only its last event", stream(completed({ usage: counts })), { ...done, ...known }),
  sse(
    "events without names",
    numbered([created, textDelta("Hi"), completed({ usage: counts })])
      .map(nameless)
      .join(""),
    {
      ...done,
      ...known
    }
  ),
  sse(
    "events without names whose type is not first",
    [created, textDelta("Hi"), completed({ usage: counts })]
      .map(({ type, ...rest }) => nameless({ ...rest, type }))
      .join(""),
    { ...done, ...known }
  ),
  sse(
    "events that all have the name that they have by default",
    [created, textDelta("Hi"), completed({ usage: counts })]
      .map((value) => event(value).replace(/^event: .*/, "event: message"))
      .join(""),
    { ...done, ...known }
  ),
  sse(
    "an end that is one by its type, and text by its name",
    stream(created) + event(completed({ usage: counts })).replace(/^event: .*/, "event: response.output_text.delta"),
    { ...done, ...known }
  ),
  sse(
    "an end whose type is written with an escape",
    stream(created) + nameless(completed({ usage: counts })).replace("response.completed", "response\\u002ecompleted"),
    { ...done, ...known }
  ),
  sse(
    "an end that has no type but its name",
    `${stream(created)}event: response.completed\n${nameless({ response: response({ usage: counts }) })}`,
    { ...done, ...known }
  ),
  sse(
    "events with a space before their types",
    stream(created, textDelta("Hi"), completed({ usage: counts })).replaceAll(
      '{"type":"response.',
      '{"type": "response.'
    ),
    { ...done, ...known }
  ),
  sse(
    "events and items nobody has heard of",
    stream(
      created,
      { type: "codex.rate_limits" },
      { type: "response.metadata" },
      { type: "response.from_the_future.delta" },
      itemDone({ type: "from_the_future", x: 1 }),
      completed({ output: [{ type: "from_the_future", x: 1 }], usage: counts })
    ),
    { ...done, ...known }
  ),
  sse(
    "events that are not read and are no JSON",
    `${stream(created)}event: response.x.delta\ndata: {"\n\n${stream(completed())}`,
    {
      ...done,
      ...unknown
    }
  )
]

const usages: ReadonlyArray<Answer> = [
  ...both("usage", { usage: counts }, { ...done, ...known }),
  ...both("no usage", {}, { ...done, ...unknown }),
  ...both(
    "usage of a cache read and written to, and of reasoning",
    {
      usage: {
        ...counts,
        input_tokens_details: { cached_tokens: 4, cache_write_tokens: 3, audio_tokens: 2 },
        output_tokens_details: { reasoning_tokens: 2 }
      }
    },
    {
      ...done,
      provenance: "provider",
      usage: {
        input: 3,
        output: 5,
        cacheRead: 4,
        cacheWrite: 3,
        reasoning: 2,
        other: { "input_tokens_details.audio_tokens": 2 }
      }
    }
  ),
  ...both(
    "more cached than there was",
    { usage: { ...counts, input_tokens_details: { cached_tokens: 13 } } },
    {
      ...done,
      provenance: "provider",
      usage: { input: 0, output: 5, cacheRead: 13, other: { input_clamped: 3 } }
    }
  )
]

const weather = callItem("call_a", "weather", '{"city":"Zürich"}', { namespace: "mcp__x" })
const shell = {
  type: "custom_tool_call",
  id: "ctc_1",
  call_id: "call_b",
  name: "shell",
  input: "1",
  status: "completed"
}
const search = {
  type: "web_search_call",
  id: "ws_1",
  status: "completed",
  action: { type: "search", query: "Zürich", sources: [{ type: "url", url: "https://a.test" }] }
}
const image = { type: "image_generation_call", id: "ig_1", status: "completed", result: "AAAA", size: "1024x1024" }
const mcp = {
  type: "mcp_call",
  id: "mcp_1",
  server_label: "docs",
  name: "read",
  arguments: '{"page":1}',
  output: "long",
  error: null
}

const called = [
  { callId: "call_a", name: "weather", arguments: { city: "Zürich" } },
  { callId: "call_b", name: "shell", arguments: "1" },
  { callId: "ws_1", name: "web_search_call", arguments: { action: search.action } },
  { callId: "ig_1", name: "image_generation_call", arguments: { size: "1024x1024" } },
  { callId: "mcp_1", name: "mcp_call", arguments: { server_label: "docs", name: "read", arguments: { page: 1 } } }
]
const items = [weather, shell, search, image, mcp]

const calls: ReadonlyArray<Answer> = [
  ...both("calls of every kind", { output: items }, { ...done, ...unknown, toolCalls: called }),
  sse(
    "calls that come twice, as items and with the response",
    stream(created, ...items.map((item, at) => itemDone(item, at)), completed({ output: items })),
    { ...done, ...unknown, toolCalls: called }
  ),
  sse(
    "calls that the response does not repeat",
    stream(created, ...items.map((item, at) => itemDone(item, at)), completed()),
    { ...done, ...unknown, toolCalls: called }
  ),
  ...both(
    "arguments that are no JSON, and none",
    {
      output: [
        callItem("call_a", "weather", '{"city":"Zür'),
        { type: "function_call", call_id: "call_b", name: "time" }
      ]
    },
    {
      ...done,
      ...unknown,
      toolCalls: [
        { callId: "call_a", name: "weather", arguments: '{"city":"Zür' },
        { callId: "call_b", name: "time", arguments: "" }
      ]
    }
  )
]

const commentary = messageItem("Let me look.", { phase: "commentary" })

const thoughts: ReadonlyArray<Answer> = [
  ...both(
    "thoughts in the parts of a summary, and said aside",
    { output: [reasoningItem("First.", "Second."), commentary, messageItem("Hi", { phase: "final_answer" })] },
    { ...done, ...unknown, thoughts: ["First.", "Second.", "Let me look."] }
  ),
  sse(
    "thoughts that the response does not repeat",
    stream(created, itemDone(reasoningItem("First.")), itemDone(commentary, 1), completed()),
    { ...done, ...unknown, thoughts: ["First.", "Let me look."] }
  ),
  ...both(
    "reasoning that is encrypted, or shown as it was",
    {
      output: [
        { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gAAAA", content: null },
        { type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: "Hmm" }] }
      ]
    },
    { ...done, ...unknown, thoughts: ["Hmm"] }
  )
]

/** How upstreams end, count, call and think in Responses. */
export const openAiResponsesAnswers: ReadonlyArray<Answer> = [...endings, ...usages, ...calls, ...thoughts]

const begun = stream(created, textDelta("Hi"))
const last = event(completed())

/** Streams that end without having been finished. */
export const openAiResponsesCutStreams: ReadonlyArray<CutStream> = [
  { name: "nothing at all", body: "", delivered: "" },
  { name: "only a comment", body: ": processing\n\n", delivered: ": processing\n\n" },
  { name: "no last event", body: begun, delivered: begun },
  { name: "[DONE] alone", body: `${begun}data: [DONE]\n\n`, delivered: `${begun}data: [DONE]\n\n` },
  { name: "the middle of its last event", body: begun + last.slice(0, 60), delivered: begun },
  {
    name: "an event without its blank line",
    body: begun + begun.trimEnd(),
    delivered: begun + event(numbered([created])[0]!)
  },
  ...[textDelta("Ho"), { delta: "Ho", type: "response.output_text.delta" }].map((delta) => {
    const body = begun + event(delta).replace(/^event: .*/, "event: response.completed")
    return {
      name: `text by its type, first or last, and its end by its name: ${Object.keys(delta)[0]}`,
      body,
      delivered: body
    }
  }),
  {
    name: "the name of its last event and no words",
    body: `${begun}event: response.completed\ndata:\n\n`,
    delivered: `${begun}event: response.completed\ndata:\n\n`
  },
  { name: "the name of its last event alone", body: `${begun}event: response.completed\n`, delivered: begun },
  {
    name: "nothing of a response that is made in the background",
    request: { background: true },
    body: "",
    delivered: ""
  },
  {
    name: "the middle of an event of a response that is made in the background",
    request: { background: true },
    body: begun + last.slice(0, 60),
    delivered: begun
  },
  { name: "the middle of a comment", body: `${begun}: proces`, delivered: begun },
  { name: "the middle of a field name", body: `${begun}dat`, delivered: begun }
]
