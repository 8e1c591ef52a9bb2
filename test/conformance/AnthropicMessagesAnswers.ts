import type { Answer, CutStream, Expected } from "./DialectCase.ts"

const event = (value: { readonly type: string; readonly [name: string]: unknown }): string =>
  `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

const stream = (...events: ReadonlyArray<string>): string => events.join("")

const counts = { input_tokens: 10, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 1 }
const early = { input: 10, cacheRead: 0, cacheWrite: 0, output: 1 }
const counted = { ...early, output: 5 }

const message = (more: object) => ({
  model: "test-model-2025",
  id: "msg_1",
  type: "message",
  role: "assistant",
  content: [],
  stop_reason: null,
  stop_sequence: null,
  ...more
})

const startWith = (usage: object | undefined) =>
  event({ type: "message_start", message: message(usage === undefined ? {} : { usage }) })
const start = startWith(counts)
const ping = 'event: ping\ndata: {"type": "ping"}\n\n'
const begin = (index: number, content_block: object) => event({ type: "content_block_start", index, content_block })
const delta = (index: number, said: object) => event({ type: "content_block_delta", index, delta: said })
const stop = (index: number) => event({ type: "content_block_stop", index })
const finishWith = (stop_reason: string | null, usage: object | null | undefined) =>
  event({
    type: "message_delta",
    delta: { stop_reason, stop_sequence: null },
    ...(usage === undefined ? {} : { usage })
  })
const finish = (stop_reason: string) => finishWith(stop_reason, { output_tokens: 5 })
const end = event({ type: "message_stop" })

const text = (index: number, ...pieces: ReadonlyArray<string>) =>
  stream(
    begin(index, { type: "text", text: "" }),
    ...pieces.map((piece) => delta(index, { type: "text_delta", text: piece })),
    stop(index)
  )

const json = (index: number, ...pieces: ReadonlyArray<string>) =>
  stream(...pieces.map((partial_json) => delta(index, { type: "input_json_delta", partial_json })))

const sse = (name: string, body: string, expected: Expected): Answer => ({ name, transport: "sse", body, expected })

const whole = (name: string, more: object, expected: Expected): Answer => ({
  name,
  transport: "json",
  body: JSON.stringify(message({ usage: { ...counts, output_tokens: 5 }, ...more })),
  expected
})

const done = (finishReason: string | null, more: Partial<Expected> = {}): Expected => ({
  status: "completed",
  finishReason,
  provenance: "provider",
  usage: counted,
  ...more
})

const endings: ReadonlyArray<Answer> = [
  ...["end_turn", "stop_sequence", "tool_use", "pause_turn", "refusal", "something_new"].flatMap((reason) => [
    sse(`stop reason ${reason}`, stream(start, text(0, "Hi"), finish(reason), end), done(reason)),
    whole(`stop reason ${reason}`, { content: [{ type: "text", text: "Hi" }], stop_reason: reason }, done(reason))
  ]),
  ...["max_tokens", "model_context_window_exceeded"].flatMap((reason) => [
    sse(
      `stop reason ${reason}`,
      stream(start, text(0, "Hi"), finish(reason), end),
      done(reason, { status: "incomplete" })
    ),
    whole(`stop reason ${reason}`, { stop_reason: reason }, done(reason, { status: "incomplete" }))
  ]),
  sse("no stop reason", stream(start, text(0, "Hi"), end), done(null, { usage: early })),
  sse(
    "message_stop without its blank line",
    stream(start, text(0, "Hi"), finish("end_turn"), end.trimEnd()),
    done("end_turn")
  ),
  sse(
    "pings everywhere",
    stream(ping, start, ping, text(0, "Hi"), ping, finish("end_turn"), ping, end),
    done("end_turn")
  ),
  sse(
    "events without names",
    stream(start, ping, text(0, "Hi", "Ho"), finish("max_tokens"), end).replaceAll(/event: .*\n/g, ""),
    done("max_tokens", { status: "incomplete" })
  ),
  sse(
    "events of unknown names and types",
    stream(
      start,
      event({ type: "future_event", data: [1] }),
      text(0, "Hi"),
      delta(0, { type: "citations_delta", citation: { type: "page_location", cited_text: '"text":"x"' } }),
      finish("end_turn"),
      end
    ),
    done("end_turn")
  ),
  sse(
    "the spaces that Anthropic puts before closing braces",
    stream(start, text(0, "Hi", "Ho", "{}"), finish("end_turn"), end).replaceAll(/\}\n\n/g, () => "        }\n\n"),
    done("end_turn")
  ),
  sse(
    "an error in the middle",
    stream(start, text(0, "Hi"), event({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })),
    { status: "failed", error: "upstream_status", provenance: "partial", usage: early }
  ),
  sse("an error that is no JSON", stream(start, "event: error\ndata: upstream is gone\n\n"), {
    status: "failed",
    error: "upstream_status",
    provenance: "partial",
    usage: early
  }),
  sse("an error before anything", event({ type: "error", error: { type: "api_error", message: "no" } }), {
    status: "failed",
    error: "upstream_status",
    provenance: "unknown"
  }),
  whole(
    "an error with status 200",
    { type: "error", error: { type: "api_error", message: "no" }, usage: undefined },
    {
      status: "failed",
      error: "upstream_status",
      provenance: "unknown"
    }
  ),
  sse("an error of no words", stream(start, text(0, "Hi"), "event: error\ndata:\n\n"), {
    status: "failed",
    error: "upstream_status",
    provenance: "partial",
    usage: early
  }),
  sse(
    "an error by its name that is text by its type",
    stream(start, text(0, "Hi"), delta(0, { type: "text_delta", text: "Ho" }).replace("content_block_delta", "error")),
    { status: "failed", error: "upstream_status", provenance: "partial", usage: early }
  ),
  sse("an error without data, which no reader is told of", stream(start, "event: error\n\n", finish("end_turn"), end), {
    ...done("end_turn")
  }),
  sse("[DONE] before the end", stream(start, finish("end_turn"), "data: [DONE]\n\n", end), done("end_turn")),
  sse("events behind the end", stream(start, finish("end_turn"), end, ping, ": bye\n\n"), done("end_turn"))
]

const usages: ReadonlyArray<Answer> = [
  sse(
    "the latest value of each count, never added, nulls passed over",
    stream(
      startWith({ ...counts, cache_read_input_tokens: 4 }),
      finishWith(null, { output_tokens: 3, cache_read_input_tokens: null }),
      finishWith("end_turn", { input_tokens: 11, output_tokens: 7 }),
      end
    ),
    done("end_turn", { usage: { input: 11, cacheRead: 4, cacheWrite: 0, output: 7 } })
  ),
  sse("usage in message_start alone", stream(start, finishWith("end_turn", undefined), end), {
    ...done("end_turn"),
    usage: early
  }),
  sse(
    "usage in message_delta alone",
    stream(startWith(undefined), finishWith("end_turn", { input_tokens: 2, output_tokens: 3 }), end),
    done("end_turn", { usage: { input: 2, output: 3 } })
  ),
  sse("no usage", stream(startWith(undefined), finishWith("end_turn", null), end), {
    status: "completed",
    provenance: "unknown"
  }),
  whole(
    "caches, thinking, server tools, and what is not known",
    {
      stop_reason: "end_turn",
      usage: {
        input_tokens: 7,
        cache_read_input_tokens: 1000,
        cache_creation_input_tokens: 60,
        cache_creation: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 40 },
        output_tokens: 50,
        output_tokens_details: { thinking_tokens: 30, pondering_tokens: 3 },
        server_tool_use: { web_search_requests: 2, web_fetch_requests: 1 },
        service_tier: "standard",
        iterations: [{ input_tokens: 1 }],
        future_tokens: 9
      }
    },
    done("end_turn", {
      usage: {
        input: 7,
        cacheRead: 1000,
        cacheWrite: 60,
        output: 50,
        reasoning: 30,
        other: {
          cache_write_5m: 20,
          cache_write_1h: 40,
          web_search_requests: 2,
          "server_tool_use.web_fetch_requests": 1,
          "output_tokens_details.pondering_tokens": 3,
          future_tokens: 9
        }
      }
    })
  )
]

const weather = { callId: "toolu_a", name: "weather", arguments: { city: "Zürich" } }
const time = { callId: "toolu_b", name: "time", arguments: { zone: "CET" } }
const tool = (id: string, name: string, input: unknown = {}, type = "tool_use") => ({ type, id, name, input })
const both = done("tool_use", { toolCalls: [weather, time] })

const calls: ReadonlyArray<Answer> = [
  sse(
    "calls one after the other, in pieces",
    stream(
      start,
      text(0, "I look."),
      begin(1, tool("toolu_a", "weather")),
      json(1, "", '{"ci', 'ty":"Z', 'ürich"}'),
      stop(1),
      begin(2, tool("toolu_b", "time")),
      json(2, '{"zone":"CET"}'),
      stop(2),
      finish("tool_use"),
      end
    ),
    both
  ),
  sse(
    "calls whose pieces are interleaved",
    stream(
      start,
      begin(0, tool("toolu_a", "weather")),
      begin(1, tool("toolu_b", "time")),
      json(1, '{"zone":'),
      json(0, '{"city":'),
      json(1, '"CET"}'),
      json(0, '"Zürich"}'),
      stop(0),
      stop(1),
      finish("tool_use"),
      end
    ),
    both
  ),
  sse(
    "calls that stand whole where they begin",
    stream(
      start,
      begin(0, tool("toolu_a", "weather", { city: "Zürich" })),
      stop(0),
      begin(1, tool("toolu_b", "time", { zone: "CET" })),
      stop(1),
      finish("tool_use"),
      end
    ),
    both
  ),
  sse(
    "two calls of one index",
    stream(
      start,
      begin(0, tool("toolu_a", "weather")),
      json(0, '{"city":"Zürich"}'),
      stop(0),
      begin(0, tool("toolu_b", "time")),
      json(0, '{"zone":"CET"}'),
      stop(0),
      finish("tool_use"),
      end
    ),
    both
  ),
  sse(
    "no input, and input that is no JSON",
    stream(
      start,
      begin(0, tool("toolu_a", "now")),
      json(0, ""),
      stop(0),
      begin(1, tool("toolu_b", "then")),
      json(1, '{"at":"Zür'),
      stop(1),
      finish("max_tokens"),
      end
    ),
    done("max_tokens", {
      status: "incomplete",
      toolCalls: [
        { callId: "toolu_a", name: "now", arguments: {} },
        { callId: "toolu_b", name: "then", arguments: '{"at":"Zür' }
      ]
    })
  ),
  sse(
    "tools of the server, and their results, which are no calls",
    stream(
      start,
      begin(0, tool("srvtoolu_a", "web_search", {}, "server_tool_use")),
      json(0, '{"query":"x"}'),
      stop(0),
      begin(1, { type: "web_search_tool_result", tool_use_id: "srvtoolu_a", content: [{ type: "web_search_result" }] }),
      stop(1),
      begin(2, tool("mcptoolu_b", "echo", { a: 1 }, "mcp_tool_use")),
      stop(2),
      finish("end_turn"),
      end
    ),
    done("end_turn", {
      toolCalls: [
        { callId: "srvtoolu_a", name: "web_search", arguments: { query: "x" } },
        { callId: "mcptoolu_b", name: "echo", arguments: { a: 1 } }
      ]
    })
  ),
  whole(
    "calls in a body",
    {
      content: [
        { type: "text", text: "I look." },
        tool("toolu_a", "weather", { city: "Zürich" }),
        tool("toolu_b", "time", { zone: "CET" })
      ],
      stop_reason: "tool_use"
    },
    both
  )
]

const thoughts: ReadonlyArray<Answer> = [
  sse(
    "thoughts, one for each block; redacted and omitted ones are none",
    stream(
      start,
      begin(0, { type: "thinking", thinking: "", signature: "" }),
      delta(0, { type: "thinking_delta", thinking: "Hmm, " }),
      delta(0, { type: "thinking_delta", thinking: "Zürich…" }),
      delta(0, { type: "signature_delta", signature: "EqQBCgIYAhIM1gbc\\/+==" }),
      stop(0),
      begin(1, { type: "redacted_thinking", data: "EmwKAhgBEgy3va3pzix/LafPsn4a" }),
      stop(1),
      begin(2, { type: "thinking", thinking: "", signature: "" }),
      delta(2, { type: "signature_delta", signature: "EqQB" }),
      stop(2),
      begin(3, { type: "thinking", thinking: "So", signature: "" }),
      delta(3, { type: "thinking_delta", thinking: " be it." }),
      stop(3),
      text(4, "Hi", '"thinking_delta"'),
      finish("end_turn"),
      end
    ),
    done("end_turn", { thoughts: ["Hmm, Zürich…", "So be it."] })
  ),
  whole(
    "thoughts in a body",
    {
      content: [
        { type: "thinking", thinking: "Hmm", signature: "EqQB" },
        { type: "redacted_thinking", data: "x" },
        { type: "thinking", thinking: "So", signature: "EqQB" },
        { type: "text", text: "Hi" }
      ],
      stop_reason: "end_turn"
    },
    done("end_turn", { thoughts: ["Hmm", "So"] })
  )
]

/** How upstreams end, count, call and think in Messages. */
export const anthropicMessagesAnswers: ReadonlyArray<Answer> = [...endings, ...usages, ...calls, ...thoughts]

const said = stream(start, text(0, "Hi"))

/** Streams that end without having been finished. */
export const anthropicMessagesCutStreams: ReadonlyArray<CutStream> = [
  { name: "nothing at all", body: "", delivered: "" },
  { name: "only a ping", body: ping, delivered: ping },
  {
    name: "an error without data",
    body: stream(said, "event: error\n\n"),
    delivered: stream(said, "event: error\n\n"),
    usage: early
  },
  {
    name: "[DONE] alone",
    body: stream(said, "data: [DONE]\n\n"),
    delivered: stream(said, "data: [DONE]\n\n"),
    usage: early
  },
  { name: "no message_delta", body: said, delivered: said, usage: early },
  {
    name: "no message_stop",
    body: stream(said, finish("end_turn")),
    delivered: stream(said, finish("end_turn")),
    usage: counted
  },
  {
    name: "no message_stop behind a message_delta without its blank line",
    body: stream(said, finish("end_turn").trimEnd()),
    delivered: said,
    usage: counted
  },
  { name: "the middle of message_stop", body: stream(said, end.slice(0, 30)), delivered: said, usage: early },
  { name: "the middle of a comment", body: stream(said, ": proces"), delivered: said, usage: early },
  { name: "a ping without its blank line", body: stream(said, ping.trimEnd()), delivered: said, usage: early },
  { name: "the middle of a field name", body: stream(said, "eve"), delivered: said, usage: early }
]
