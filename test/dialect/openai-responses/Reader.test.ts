import { describe, expect, it } from "vitest"
import type { TurnReader } from "../../../src/dialect/Dialect.ts"
import { ResponsesReader } from "../../../src/dialect/openai-responses/Reader.ts"
import { Frame, sse, whole } from "../../../src/wire/Frame.ts"

const frameOf = (value: { readonly type: string; readonly [key: string]: unknown }, name = value.type): Frame =>
  sse(name, JSON.stringify(value))

const message = (value: object): Frame => whole("message", Buffer.from(JSON.stringify(value)))

const read = (...frames: ReadonlyArray<Frame>): TurnReader & { readonly out: ReadonlyArray<Frame> } => {
  const reader = new ResponsesReader()
  const out: Array<Frame> = []
  for (const frame of frames) reader.push(frame, out)
  return Object.assign(reader, { out })
}

const created = frameOf({ type: "response.created", response: { id: "resp_1", model: "m-1", output: [] } })
const call = { type: "function_call", call_id: "call_1", name: "f", arguments: "{}", namespace: "n" }
const done = (item: unknown, at = 0) => frameOf({ type: "response.output_item.done", output_index: at, item })
const end = (response: object, type = "response.completed") => frameOf({ type, response })

describe("frames that nobody needs", () => {
  const unneeded = [
    "response.output_text.delta",
    "response.output_text.done",
    "response.function_call_arguments.delta",
    "response.content_part.added",
    "response.output_item.added",
    "response.reasoning_summary_text.delta",
    "response.image_generation_call.partial_image",
    "response.from_the_future.delta"
  ]

  it.each(unneeded)("are not parsed: %s", (type) => {
    const named = frameOf({ type, delta: "x" })
    const nameless = frameOf({ type, delta: "x" }, "")
    const spaced = sse("", `{ "type" : "${type}", "delta":"x"}`)
    const overWebSocket = message({ type, delta: "x" })
    const { out } = read(created, named, nameless, spaced, overWebSocket)
    expect(out).toHaveLength(5)
    for (const frame of out.slice(1)) expect(frame.peek).toBeUndefined()
  })

  it("are those about the response, too, once its id is known", () => {
    const progress = frameOf({ type: "response.in_progress", response: { id: "resp_1" } })
    read(created, progress)
    expect(progress.peek).toBeUndefined()
    const alone = frameOf({ type: "response.in_progress", response: { id: "resp_1" } })
    expect(read(alone).summary().responseId).toBe("resp_1")
  })
})

describe("a stream of Responses", () => {
  it("is known by its first event before it ends", () => {
    expect(read(created).summary()).toMatchObject({ responseId: "resp_1", model: "m-1", outcome: null, ended: false })
  })

  it("leaves behind what was whole where it is cut, in the order of the output", () => {
    const summary = read(created, done({ ...call, call_id: "call_2" }, 1), done(call, 0)).summary()
    expect(summary.toolCalls).toEqual([
      { callId: "call_1", name: "f", arguments: "{}", json: true, runner: "client" },
      { callId: "call_2", name: "f", arguments: "{}", json: true, runner: "client" }
    ])
    expect(summary.outcome).toBeNull()
  })

  it("keeps every item of those that do not say where they stand", () => {
    const item = (call_id: string) => ({ ...call, call_id })
    const placeless = (id: string) => frameOf({ type: "response.output_item.done", item: item(id) })
    const summary = read(created, done(item("a"), 2), placeless("b"), placeless("c"), done(item("d"), 1)).summary()
    expect(summary.toolCalls.map((seen) => seen.callId)).toEqual(["d", "a", "b", "c"])
  })

  it("takes what the response at its end repeats, and never both", () => {
    const changed = { ...call, arguments: '{"x":1}' }
    expect(read(created, done(call), end({ output: [changed] })).summary().toolCalls).toEqual([
      { callId: "call_1", name: "f", arguments: '{"x":1}', json: true, runner: "client" }
    ])
    expect(read(created, done(call), end({ output: [] })).summary().toolCalls).toHaveLength(1)
    expect(
      read(created, done(call), done({ type: "message" }, 1), end({ output: [call] })).summary().toolCalls
    ).toHaveLength(1)
  })

  it("says whose thought a thought is", () => {
    const output = [
      {
        type: "reasoning",
        summary: [
          { type: "summary_text", text: "a" },
          { type: "summary_text", text: "" }
        ]
      },
      { type: "reasoning", content: [{ type: "reasoning_text", text: "b" }] },
      {
        type: "message",
        phase: "commentary",
        content: [
          { type: "output_text", text: "c" },
          { type: "output_text", text: "d" }
        ]
      },
      { type: "message", phase: "final_answer", content: [{ type: "output_text", text: "e" }] }
    ]
    expect(read(end({ output })).summary().thoughts).toEqual([
      { text: "a", source: "reasoning_summary" },
      { text: "b", source: "thinking" },
      { text: "c\nd", source: "commentary" }
    ])
  })

  it("records hosted tools without what came of them", () => {
    const output = [
      { type: "code_interpreter_call", id: "ci_1", code: "1+1", container_id: "c", outputs: [{ logs: "2" }] },
      { type: "file_search_call", id: "fs_1", queries: ["a"], results: [{ text: "long" }] },
      { type: "computer_call", id: "cu_1", call_id: "call_9", action: { type: "click", x: 1 }, status: "completed" },
      { type: "mcp_list_tools", id: "mcpl_1", tools: [] },
      { type: "function_call_output", call_id: "call_1", output: "x" }
    ]
    expect(read(end({ output })).summary().toolCalls).toEqual([
      {
        callId: "ci_1",
        name: "code_interpreter_call",
        arguments: '{"code":"1+1","container_id":"c"}',
        json: true,
        runner: "provider"
      },
      { callId: "fs_1", name: "file_search_call", arguments: '{"queries":["a"]}', json: true, runner: "provider" },
      {
        callId: "call_9",
        name: "computer_call",
        arguments: '{"action":{"type":"click","x":1}}',
        json: true,
        runner: "client"
      }
    ])
  })

  it("records what is nested too deep to be written anew as it stands", () => {
    const deep = `${"[".repeat(50_000)}1e400${"]".repeat(50_000)}`
    const hosted = `{"type":"web_search_call","id":"ws_1","action":{"q":${deep}},"status":"completed"}`
    const called = `{"type":"function_call","call_id":"c","name":"f","arguments":{"q":${deep}}}`
    const doneEvent = sse("", `{"type":"response.output_item.done","output_index":0,"item":${hosted}}`)
    const last = sse("", `{"type":"response.completed","response":{"output":[${hosted},${called}]}}`)
    const body = whole("body", Buffer.from(`{"id":"r","output":[${hosted},${called}]}`))
    const given = (frame: Frame) =>
      read(frame)
        .summary()
        .toolCalls.map((seen) => seen.arguments)
    expect(given(doneEvent)).toEqual([`{"action":{"q":${deep}}}`])
    expect(given(last)).toEqual([`{"action":{"q":${deep}}}`, `{"q":${deep}}`])
    expect(given(body)).toEqual([`{"action":{"q":${deep}}}`, `{"q":${deep}}`])
  })

  it.each([
    [{ type: "function_call", call_id: "c", name: "mine" }, "gateway"],
    [{ type: "function_call", call_id: "c", name: "mine", namespace: "n" }, "client"],
    [{ type: "function_call", call_id: "c", name: "other" }, "client"],
    [{ type: "custom_tool_call", call_id: "c", name: "mine" }, "client"],
    [{ type: "local_shell_call", call_id: "c" }, "client"],
    [{ type: "shell_call", call_id: "c", environment: { type: "local" } }, "client"],
    [{ type: "shell_call", call_id: "c", environment: { type: "container_reference" } }, "provider"],
    [{ type: "apply_patch_call", call_id: "c" }, "client"],
    [{ type: "computer_call", call_id: "c" }, "client"],
    [{ type: "tool_search_call", call_id: "c", execution: "client" }, "client"],
    [{ type: "tool_search_call", call_id: null, execution: "server" }, "provider"],
    [{ type: "web_search_call", id: "ws" }, "provider"],
    [{ type: "file_search_call", id: "fs" }, "provider"],
    [{ type: "code_interpreter_call", id: "ci" }, "provider"],
    [{ type: "image_generation_call", id: "ig" }, "provider"],
    [{ type: "mcp_call", id: "mcp", name: "mine" }, "provider"]
  ])("says who runs a call: %j", (item, runner) => {
    const reader = new ResponsesReader({ injected: new Set(["mine"]) })
    reader.push(end({ output: [item, { type: "mcp_approval_request", id: "mcpr" }] }), [])
    expect(reader.summary().toolCalls.map((seen) => seen.runner)).toEqual([runner])
  })

  it("keeps the words of an error, whichever form they come in", () => {
    const forms = [
      frameOf({ type: "error", code: "c", message: "no", param: null, sequence_number: 3 }),
      frameOf({ type: "error", error: { type: "t", code: "c", message: "no", param: null } }),
      end({ status: "failed", error: { code: "c", message: "no" } }, "response.failed"),
      message({ type: "error", status: 429, error: { type: "t", code: "c", message: "no" } })
    ]
    for (const form of forms) expect(read(created, form).summary()).toMatchObject({ outcome: "failed", error: "no" })
  })

  it("is at its end with an error over WebSocket alone: a stream of events may still say what was used", () => {
    const value = { type: "error", error: { message: "no" } }
    expect(read(message(value)).summary().ended).toBe(true)
    const failed = end({ status: "failed", error: { message: "again" }, usage: { input_tokens: 3 } }, "response.failed")
    expect(read(frameOf(value)).summary()).toMatchObject({ ended: false, usage: null })
    expect(read(frameOf(value), failed).summary()).toMatchObject({ ended: true, error: "no", usage: { input: 3 } })
  })

  it("reads the same over WebSocket", () => {
    const events = [
      { type: "response.created", response: { id: "resp_1", model: "m" } },
      { type: "response.output_text.delta", delta: "x" },
      { type: "response.completed", response: { id: "resp_1", model: "m", status: "completed", output: [call] } }
    ]
    expect(read(...events.map(message)).summary()).toEqual(read(...events.map((value) => frameOf(value))).summary())
  })

  it("ends by the name of a last event that is too large to read", () => {
    for (const outcome of ["completed", "incomplete", "failed"] as const) {
      const tail = new Frame(Buffer.from("\n"), 0, 1, "part", `response.${outcome}`, 1, 1, 0, true)
      expect(read(created, tail).summary()).toMatchObject({ outcome, ended: true, usage: null })
    }
  })

  it("reads a last event of 10 MB, and a call of 3 MB in it, in time that grows with it alone", () => {
    const size = (megabytes: number) => {
      const given = JSON.stringify({ text: '\\" 👋'.repeat((megabytes * 3e5) / 8) })
      const content = [{ type: "output_text", text: "word\n".repeat((megabytes * 7e5) / 6) }]
      const frame = end({
        output: [
          { ...call, arguments: given },
          { type: "message", content }
        ],
        usage: { input_tokens: 1 }
      })
      const started = performance.now()
      const summary = read(created, frame).summary()
      const took = performance.now() - started
      expect(summary.toolCalls[0]!.arguments).toBe(given)
      expect(summary.usage?.input).toBe(1)
      return took
    }
    size(1)
    const small = Math.max(2, Math.min(size(1), size(1), size(1)))
    expect(Math.min(size(10), size(10), size(10))).toBeLessThan(small * 60)
  })
})

describe("a body of Responses", () => {
  const body = (value: unknown) => read(whole("body", Buffer.from(JSON.stringify(value)))).summary()

  it.each([
    ["completed", "completed"],
    ["incomplete", "incomplete"],
    ["failed", "failed"],
    ["queued", "incomplete"],
    ["in_progress", "incomplete"],
    ["cancelled", "incomplete"]
  ])("of status %s is %s", (status, outcome) => {
    expect(body({ id: "resp_1", status, output: [call] })).toMatchObject({
      outcome,
      finishReason: status,
      ended: true,
      toolCalls: [{ callId: "call_1" }]
    })
  })

  it("without a status failed if it holds an error", () => {
    expect(body({ error: { message: "no" } })).toMatchObject({ outcome: "failed", error: "no" })
    expect(body({ id: "resp_1", error: null, output: [] })).toMatchObject({ outcome: "completed" })
  })

  it.each([{}, { object: "response" }, { id: null, usage: { input_tokens: 1 } }])(
    "that is none is malformed: %j",
    (value) => {
      expect(read(whole("body", Buffer.from(JSON.stringify(value))))).toMatchObject({
        malformed: "the body is not a response",
        outcome: null
      })
    }
  )

  it.each([{ id: "resp_1" }, { status: "completed" }, { output: [] }, { content: [] }])(
    "may be no more than %j",
    (value) => {
      expect(read(whole("body", Buffer.from(JSON.stringify(value))))).toMatchObject({
        malformed: null,
        outcome: "completed"
      })
    }
  )
})
