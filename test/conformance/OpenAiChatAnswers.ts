import type { Answer, CutStream, Expected } from "./DialectCase.ts"

const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

const done = "data: [DONE]\n\n"

const chunk = (more: object) => ({
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  model: "test-model-2025",
  ...more
})

const delta = (said: object, finish: string | null = null, index = 0, more: object = {}) =>
  event(chunk({ choices: [{ index, delta: said, finish_reason: finish }], ...more }))

const stream = (...events: ReadonlyArray<string>): string => events.join("")

const message = (said: object, finish = "stop", more: object = {}): string =>
  JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion",
    model: "test-model-2025",
    choices: [{ index: 0, message: { role: "assistant", ...said }, finish_reason: finish }],
    ...more
  })

const counts = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
const counted = { input: 10, output: 5 }

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

const usageCase = (name: string, usage: object | null | undefined, expected: Omit<Expected, "status">) => [
  sse(
    `usage in a chunk of its own: ${name}`,
    stream(
      delta({ content: "Hi" }),
      delta({}, "stop"),
      ...(usage === undefined ? [] : [event(chunk({ choices: [], usage }))]),
      done
    ),
    { status: "completed", finishReason: "stop", ...expected }
  ),
  json(`usage: ${name}`, message({ content: "Hi" }, "stop", usage === undefined ? {} : { usage }), {
    status: "completed",
    finishReason: "stop",
    ...expected
  })
]

const call = (index: number | undefined, id: string | undefined, name: string | undefined, text: string | undefined) =>
  delta({
    tool_calls: [
      {
        ...(index === undefined ? {} : { index }),
        ...(id === undefined ? {} : { id, type: "function" }),
        function: { ...(name === undefined ? {} : { name }), ...(text === undefined ? {} : { arguments: text }) }
      }
    ]
  })

const called = (toolCalls: Expected["toolCalls"], finish = "tool_calls"): Expected => ({
  status: "completed",
  provenance: "unknown",
  finishReason: finish,
  toolCalls: toolCalls!
})

const weather = { callId: "call_a", name: "weather", arguments: { city: "Zürich" } }
const time = { callId: "call_b", name: "time", arguments: { zone: "CET" } }
const both = called([weather, time])

const toolStream = (name: string, ...events: ReadonlyArray<string>) =>
  sse(name, stream(...events, delta({}, "tool_calls"), done), both)

const endings: ReadonlyArray<Answer> = [
  ...(["length", "content_filter"] as const).flatMap((reason) => [
    sse(`finish ${reason}`, stream(delta({ content: "Hi" }), delta({}, reason, 0, { usage: counts }), done), {
      status: "incomplete",
      finishReason: reason,
      provenance: "provider",
      usage: counted
    }),
    json(`finish ${reason}`, message({ content: "Hi" }, reason, { usage: counts }), {
      status: "incomplete",
      finishReason: reason,
      provenance: "provider",
      usage: counted
    })
  ]),
  sse("no [DONE]", stream(delta({ content: "Hi" }), delta({}, "stop")), {
    status: "completed",
    finishReason: "stop",
    provenance: "unknown"
  }),
  sse("no [DONE], its last blank line missing", stream(delta({ content: "Hi" }), delta({}, "stop").trimEnd()), {
    status: "completed",
    finishReason: "stop",
    provenance: "unknown"
  }),
  sse("[DONE] without its blank line", stream(delta({ content: "Hi" }), delta({}, "stop"), "data: [DONE]"), {
    status: "completed",
    finishReason: "stop",
    provenance: "unknown"
  }),
  sse("[DONE] without a finish reason", stream(delta({ content: "Hi" }), done), {
    status: "completed",
    finishReason: null,
    provenance: "unknown"
  }),
  sse(
    "a finish reason that is an empty text until the end",
    stream(delta({ content: "Hi" }, ""), delta({}, "length"), done),
    {
      status: "incomplete",
      finishReason: "length",
      provenance: "unknown"
    }
  ),
  sse(
    "two choices, one of them cut short by length",
    stream(
      delta({ content: "A" }),
      delta({ content: "B" }, null, 1),
      delta({}, "stop"),
      delta({ content: "C" }, null, 1),
      delta({}, "length", 1),
      event(chunk({ choices: [], usage: counts })),
      done
    ),
    { status: "incomplete", finishReason: "length", provenance: "provider", usage: counted },
    { n: 2 }
  ),
  sse(
    "one choice of two that were asked for, cut short by length",
    stream(delta({ content: "A" }), delta({}, "length"), done),
    { status: "incomplete", finishReason: "length", provenance: "unknown" },
    { n: 2 }
  ),
  json(
    "one choice of two that were asked for, cut short by length",
    message({ content: "A" }, "length"),
    {
      status: "incomplete",
      finishReason: "length",
      provenance: "unknown"
    },
    { n: 2 }
  ),
  json("an error with status 200", JSON.stringify({ error: { message: "no", type: "x", code: "y" } }), {
    status: "failed",
    error: "upstream_status",
    provenance: "unknown"
  }),
  sse("frames behind [DONE]", stream(delta({}, "stop"), done, ": bye\n\n"), {
    status: "completed",
    finishReason: "stop",
    provenance: "unknown"
  })
]

const usages: ReadonlyArray<Answer> = [
  ...usageCase(
    "whole",
    { ...counts, prompt_tokens_details: { cached_tokens: 4 } },
    {
      provenance: "provider",
      usage: { input: 6, output: 5, cacheRead: 4 }
    }
  ),
  ...usageCase(
    "more cached than there was",
    { ...counts, prompt_tokens_details: { cached_tokens: 13 } },
    {
      provenance: "provider",
      usage: { input: 0, output: 5, cacheRead: 13, other: { input_clamped: 3 } }
    }
  ),
  ...usageCase(
    "no output",
    { prompt_tokens: 10, completion_tokens: 0, total_tokens: 10 },
    {
      provenance: "provider",
      usage: { input: 10, output: 0 }
    }
  ),
  ...usageCase(
    "of reasoning and of a cache written to",
    {
      ...counts,
      prompt_tokens_details: { cached_tokens: 1, cache_write_tokens: 2 },
      completion_tokens_details: { reasoning_tokens: 3, accepted_prediction_tokens: 2, audio_tokens: 0 }
    },
    {
      provenance: "provider",
      usage: {
        input: 7,
        output: 5,
        cacheRead: 1,
        cacheWrite: 2,
        reasoning: 3,
        other: { "completion_tokens_details.accepted_prediction_tokens": 2 }
      }
    }
  ),
  ...usageCase("null", null, { provenance: "unknown" }),
  ...usageCase("missing", undefined, { provenance: "unknown" }),
  sse("usage on the finish chunk", stream(delta({ content: "Hi" }), delta({}, "stop", 0, { usage: counts }), done), {
    status: "completed",
    finishReason: "stop",
    provenance: "provider",
    usage: counted
  }),
  sse(
    "running totals on every chunk, which are never added",
    stream(
      delta({ content: "a" }, null, 0, { usage: { ...counts, completion_tokens: 1 } }),
      delta({ content: "b" }, null, 0, { usage: { ...counts, completion_tokens: 2 } }),
      delta({}, "stop", 0, { usage: { ...counts, completion_tokens: 3 } }),
      done
    ),
    { status: "completed", finishReason: "stop", provenance: "provider", usage: { input: 10, output: 3 } }
  ),
  sse(
    "a later usage with nulls in it",
    stream(
      delta({ content: "a" }, "stop", 0, { usage: { ...counts, prompt_tokens_details: { cached_tokens: 2 } } }),
      event(chunk({ choices: [], usage: { prompt_tokens: null, completion_tokens: 9, prompt_tokens_details: null } })),
      done
    ),
    { status: "completed", provenance: "provider", usage: { input: 8, output: 9, cacheRead: 2 } }
  )
]

const calls: ReadonlyArray<Answer> = [
  toolStream(
    "parallel calls by index",
    call(0, "call_a", "weather", ""),
    call(0, undefined, undefined, '{"city":'),
    call(1, "call_b", "time", '{"zone":'),
    call(0, undefined, undefined, '"Zürich"}'),
    call(1, undefined, undefined, '"CET"}')
  ),
  toolStream(
    "parallel calls without an index",
    call(undefined, "call_a", "weather", '{"city":'),
    call(undefined, undefined, undefined, '"Zürich"}'),
    call(undefined, "call_b", "time", '{"zone":'),
    call(undefined, "call_b", undefined, '"CET"}')
  ),
  toolStream(
    "parallel calls that all have the index 0",
    call(0, "call_a", "weather", '{"city":"Zürich"}'),
    call(0, "call_b", "time", '{"zone":'),
    call(0, undefined, undefined, '"CET"}')
  ),
  toolStream(
    "interleaved calls that all have the index 0",
    call(0, "call_a", "weather", '{"city":'),
    call(0, "call_b", "time", '{"zone":'),
    call(0, "call_a", undefined, '"Zürich"}'),
    call(0, "call_b", undefined, '"CET"}')
  ),
  toolStream(
    "a name and an id that come late",
    call(0, "call_a", undefined, '{"city":'),
    call(0, undefined, "weather", '"Zürich"}'),
    call(1, undefined, "time", '{"zone":'),
    call(1, "call_b", undefined, '"CET"}')
  ),
  toolStream(
    "an id that is repeated, and empty where it is not new",
    call(0, "call_a", "weather", '{"city":'),
    call(0, "", "", '"Zürich"}'),
    call(1, "call_b", "time", '{"zone":'),
    call(1, "call_b", "time", '"CET"}')
  ),
  toolStream(
    "both calls in one chunk, arguments as an object",
    delta({
      tool_calls: [
        { index: 0, id: "call_a", function: { name: "weather", arguments: { city: "Zürich" } } },
        { index: 1, id: "call_b", function: { name: "time", arguments: '{"zone":"CET"}' } }
      ]
    })
  ),
  json(
    "both calls in a body",
    message(
      {
        content: null,
        tool_calls: [
          { id: "call_a", type: "function", function: { name: "weather", arguments: '{"city":"Zürich"}' } },
          { id: "call_b", type: "function", function: { name: "time", arguments: '{"zone":"CET"}' } }
        ]
      },
      "tool_calls"
    ),
    both
  ),
  sse(
    "calls of two choices",
    stream(
      delta({ tool_calls: [{ index: 0, id: "call_a", function: { name: "weather", arguments: '{"city":' } }] }),
      delta({ tool_calls: [{ index: 0, id: "call_b", function: { name: "time", arguments: '{"zone":' } }] }, null, 1),
      delta({ tool_calls: [{ index: 0, function: { arguments: '"Zürich"}' } }] }, "tool_calls"),
      delta({ tool_calls: [{ index: 0, function: { arguments: '"CET"}' } }] }, "tool_calls", 1),
      done
    ),
    both,
    { n: 2 }
  ),
  sse(
    "arguments that are no JSON, and none",
    stream(
      call(0, "call_a", "weather", '{"city":"Zür'),
      call(1, "call_b", "time", undefined),
      delta({}, "tool_calls"),
      done
    ),
    called([
      { callId: "call_a", name: "weather", arguments: '{"city":"Zür' },
      { callId: "call_b", name: "time", arguments: "" }
    ])
  ),
  sse(
    "a custom tool, whose input is text even where it reads as JSON",
    stream(
      delta({ tool_calls: [{ index: 0, id: "call_c", type: "custom", custom: { name: "shell", input: "1" } }] }),
      delta({ tool_calls: [{ index: 0, custom: { input: "2" } }] }),
      delta({}, "tool_calls"),
      done
    ),
    called([{ callId: "call_c", name: "shell", arguments: "12" }])
  ),
  json(
    "a custom tool in a body",
    message({ tool_calls: [{ id: "call_c", type: "custom", custom: { name: "shell", input: "12" } }] }, "tool_calls"),
    called([{ callId: "call_c", name: "shell", arguments: "12" }])
  ),
  sse(
    "the old function_call",
    stream(
      delta({ function_call: { name: "weather", arguments: '{"city":' } }),
      delta({ function_call: { arguments: '"Zürich"}' } }),
      delta({}, "function_call"),
      done
    ),
    called([{ ...weather, callId: "" }], "function_call")
  ),
  json(
    "the old function_call in a body",
    message({ function_call: { name: "weather", arguments: '{"city":"Zürich"}' } }, "function_call"),
    called([{ ...weather, callId: "" }], "function_call")
  )
]

const thought = (thoughts: ReadonlyArray<string>): Expected => ({
  status: "completed",
  provenance: "unknown",
  finishReason: "stop",
  thoughts
})

const thoughts: ReadonlyArray<Answer> = [
  ...["reasoning_content", "reasoning"].flatMap((name) => [
    sse(
      `thoughts in ${name}`,
      stream(
        delta({ [name]: "Hmm, " }),
        delta({ [name]: "Zürich…" }),
        delta({ content: "Hi" }),
        delta({}, "stop"),
        done
      ),
      thought(["Hmm, Zürich…"])
    ),
    json(`thoughts in ${name}`, message({ content: "Hi", [name]: "Hmm" }), thought(["Hmm"]))
  ]),
  sse(
    "the same thoughts under both names",
    stream(delta({ reasoning: "Hmm", reasoning_content: "Hmm" }), delta({}, "stop"), done),
    thought(["Hmm"])
  ),
  sse(
    "thoughts under one of both names, the other empty or null",
    stream(
      delta({ reasoning: "a", reasoning_content: "" }),
      delta({ reasoning: "", reasoning_content: "b" }),
      delta({ reasoning: null, reasoning_content: "c" }),
      delta({}, "stop"),
      done
    ),
    thought(["abc"])
  ),
  sse(
    "thoughts of two choices, one row for the turn",
    stream(
      delta({ reasoning: "a" }),
      delta({ reasoning: "x" }, null, 1),
      delta({ reasoning: "b" }, "stop"),
      delta({ reasoning: "y" }, "stop", 1),
      done
    ),
    thought(["ab\nxy"]),
    { n: 2 }
  )
]

/** How upstreams end, count, call and think in Chat Completions. */
export const openAiChatAnswers: ReadonlyArray<Answer> = [...endings, ...usages, ...calls, ...thoughts]

const hi = delta({ content: "Hi" })

/** Streams that end without having been finished. */
export const openAiChatCutStreams: ReadonlyArray<CutStream> = [
  { name: "nothing at all", body: "", delivered: "" },
  { name: "only a comment", body: ": processing\n\n", delivered: ": processing\n\n" },
  { name: "no finish reason", body: hi, delivered: hi },
  {
    name: "finish reasons that are empty texts",
    body: delta({ content: "Hi" }, ""),
    delivered: delta({ content: "Hi" }, "")
  },
  {
    name: "one of two choices finished",
    request: { n: 2 },
    body: stream(hi, delta({ content: "Ho" }, null, 1), delta({}, "stop")),
    delivered: stream(hi, delta({ content: "Ho" }, null, 1), delta({}, "stop"))
  },
  { name: "the middle of an event", body: stream(hi, hi.slice(0, 40)), delivered: hi },
  { name: "an event without its blank line", body: stream(hi, hi.trimEnd()), delivered: hi },
  { name: "an event without its second line end", body: stream(hi, hi.slice(0, -1)), delivered: hi },
  { name: "the middle of a comment", body: stream(hi, ": proces"), delivered: hi },
  { name: "a comment without its blank line", body: stream(hi, ": processing\n"), delivered: hi },
  { name: "the middle of a field name", body: stream(hi, "dat"), delivered: hi }
]
