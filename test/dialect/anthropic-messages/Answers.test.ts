import { describe, expect, it } from "vitest"
import { anthropicMessages } from "../../../src/dialect/anthropic-messages/AnthropicMessages.ts"
import { MessagesReader } from "../../../src/dialect/anthropic-messages/Reader.ts"
import { MessagesWriter } from "../../../src/dialect/anthropic-messages/Writer.ts"
import { gatewayError } from "../../../src/dialect/GatewayError.ts"
import { type Frame, whole } from "../../../src/wire/Frame.ts"
import { SseDecoder } from "../../../src/wire/SseDecoder.ts"

const framesOf = (text: string): Array<Frame> => {
  const frames: Array<Frame> = []
  const decoder = new SseDecoder({ maxEventBytes: 1 << 20 })
  decoder.push(Buffer.from(text), frames)
  decoder.end(frames)
  return frames
}

const through = (text: string, model: string | null = null) => {
  const frames = framesOf(text)
  const reader = new MessagesReader()
  const writer = new MessagesWriter({ model })
  const read: Array<Frame> = []
  const written: Array<Frame> = []
  for (const frame of frames) reader.push(frame, read)
  for (const frame of read) writer.push(frame, 0, written)
  return { frames, reader, written, text: Buffer.concat(written.map((frame) => frame.bytes)).toString() }
}

const event = (value: { readonly type: string; readonly [name: string]: unknown }) =>
  `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`
const delta = (index: number, said: object) => event({ type: "content_block_delta", index, delta: said })

const start = event({ type: "message_start", message: { id: "msg_1", model: "claude", usage: { input_tokens: 3 } } })
const stop = event({ type: "message_stop" })

describe("what nobody looks into", () => {
  it.each([
    ["text", delta(0, { type: "text_delta", text: 'say "hi" \\ 👋' })],
    ["text of a later block", delta(17, { type: "text_delta", text: "" })],
    ["a signature", delta(3, { type: "signature_delta", signature: "EqQBCgIYAhIM+/==" })],
    ["the end of a block", event({ type: "content_block_stop", index: 12 })],
    ["a ping", 'event: ping\ndata: {"type": "ping"}\n\n'],
    ["text before white space", delta(0, { type: "text_delta", text: "x" }).replace("}\n\n", "     }\n\n")]
  ])("is not parsed: %s", (_name, frame) => {
    const { frames, text } = through(start + frame + frame, "alias")
    expect(frames.slice(1).map((one) => one.peek)).toEqual([undefined, undefined])
    expect(text.endsWith(frame + frame)).toBe(true)
  })

  it("is parsed once where it is written in another way, and then no more", () => {
    const spaced = (text: string) =>
      `event: content_block_delta\ndata: {"index": 0, "type": "content_block_delta", "delta": {"text": "${text}", "type": "text_delta"}}\n\n`
    const { frames } = through(start + spaced("a") + spaced("b") + spaced('\\"c'))
    expect(frames.map((one) => one.peek === undefined)).toEqual([false, false, true, true])
  })

  it.each([
    ["a thought that reads like text", { type: "thinking_delta", thinking: '{"type":"text_delta","text":"' }],
    ["input that reads like text", { type: "input_json_delta", partial_json: '"type":"text_delta","text":""' }],
    ["text with something beside it", { type: "text_delta", text: "a", more: 1 }]
  ])("is not taken for it: %s", (_name, said) => {
    const { frames } = through(start + delta(0, { type: "text_delta", text: "a" }) + delta(0, said))
    expect(frames[2]!.peek).toMatchObject({ delta: said })
  })
})

describe("the model's name", () => {
  it("is changed where the message begins, and nowhere else", () => {
    const other = event({ type: "future", model: "claude", message: { model: "claude" } })
    const text = start + delta(0, { type: "text_delta", text: '"model":"claude"' }) + other + stop
    const shown = through(text, 'the "fast" one')
    expect(shown.text).toBe(text.replace('"model":"claude"', '"model":"the \\"fast\\" one"'))
    expect(shown.reader.summary().model).toBe("claude")
  })

  it("leaves alone a message that has none", () => {
    const text = event({ type: "message_start", message: { id: "msg_1" } }) + stop
    expect(through(text, "fast").text).toBe(text)
  })
})

describe("the end", () => {
  it("is message_stop, and waits for its records", () => {
    const finish = event({ type: "message_delta", delta: { stop_reason: "max_tokens" }, usage: { output_tokens: 2 } })
    const open = through(start + finish)
    expect(open.reader.outcome).toBeNull()
    expect(open.reader.summary()).toMatchObject({ finishReason: "max_tokens", ended: false })
    const { reader, written } = through(start + finish + stop)
    expect(reader.outcome).toBe("incomplete")
    expect(written.map((frame) => frame.terminal)).toEqual([false, false, true])
  })

  it("is an error as well, whose usage is not final", () => {
    const failed = event({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })
    const { reader, written } = through(start + failed)
    expect(written.at(-1)!.terminal).toBe(true)
    expect(reader.summary()).toMatchObject({ outcome: "failed", error: "Overloaded", ended: false })
  })
})

describe("a body", () => {
  const read = (text: string) => {
    const reader = new MessagesReader()
    reader.push(whole("body", Buffer.from(text)), [])
    return reader
  }

  it.each([
    ["{}", "the body is not a message"],
    ['{"role":"assistant","usage":{"input_tokens":1}}', "the body is not a message"],
    ["[]", "the body is not a JSON object"],
    ["<html>", "the body is not a JSON object"]
  ])("that is no message is malformed: %s", (text, malformed) => {
    expect(read(text)).toMatchObject({ malformed, outcome: null })
  })

  it.each(['{"id":"msg_1"}', '{"type":"message"}', '{"content":[]}'])("may be no more than %s", (text) => {
    expect(read(text)).toMatchObject({ malformed: null, outcome: "completed" })
  })
})

describe("input that is nested too deep to be written anew", () => {
  it("is recorded as it stands", () => {
    const deep = `{"q":${"[".repeat(50_000)}1e400${"]".repeat(50_000)}}`
    const block = `{"type":"tool_use","id":"t","name":"f","input":${deep}}`
    const begun = `data: {"type":"content_block_start","index":0,"content_block":${block}}\n\n`
    expect(through(start + begun + stop).reader.summary().toolCalls[0]!.arguments).toBe(deep)
    const reader = new MessagesReader()
    reader.push(whole("body", Buffer.from(`{"type":"message","content":[{"type":"text","text":""},${block}]}`)), [])
    expect(reader.summary().toolCalls[0]!.arguments).toBe(deep)
  })
})

describe("errors", () => {
  it.each([
    [400, "invalid_request_error"],
    [401, "authentication_error"],
    [402, "billing_error"],
    [403, "permission_error"],
    [404, "not_found_error"],
    [405, "invalid_request_error"],
    [413, "request_too_large"],
    [415, "invalid_request_error"],
    [429, "rate_limit_error"],
    [500, "api_error"],
    [502, "api_error"],
    [503, "overloaded_error"],
    [504, "timeout_error"],
    [529, "overloaded_error"]
  ])("of status %i are of the type %s in a body, and in a stream unless its upstream broke off", (status, type) => {
    const error = gatewayError(status, "some_code", "What happened.")
    expect(JSON.parse(anthropicMessages.errorBody(error, "id-1"))).toEqual({
      type: "error",
      error: { type, message: "What happened." },
      request_id: "id-1"
    })
    // Behind any other error Claude Code would ask again without a stream.
    const inStream = status === 502 || status === 504 ? "overloaded_error" : type
    const out: Array<Frame> = []
    new MessagesWriter({ model: null }).fail(error, "sse", out)
    expect(out.map((frame) => frame.bytes.toString())).toEqual([
      `event: error\ndata: {"type":"error","error":{"type":"${inStream}","message":"What happened."}}\n\n`
    ])
    expect(out[0]!.terminal).toBe(true)
  })

  it("have no place in a body that has begun", () => {
    const out: Array<Frame> = []
    new MessagesWriter({ model: null }).fail(gatewayError(502, "c", "m"), "json", out)
    expect(out).toEqual([])
  })
})
