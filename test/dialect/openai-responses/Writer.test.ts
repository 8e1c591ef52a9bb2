import { describe, expect, it } from "vitest"
import { gatewayError } from "../../../src/dialect/GatewayError.ts"
import { ResponsesWriter } from "../../../src/dialect/openai-responses/Writer.ts"
import { Frame, sse, whole } from "../../../src/wire/Frame.ts"

const event = (type: string, more: object = {}): Frame => sse(type, JSON.stringify({ type, ...more }))
const numbered = (sequence_number: number): Frame =>
  event("response.output_text.delta", { sequence_number, delta: "x" })
const message = (value: object): Frame => whole("message", Buffer.from(JSON.stringify(value)))

const push = (writer: ResponsesWriter, ...frames: ReadonlyArray<Frame>): ReadonlyArray<Frame> => {
  const out: Array<Frame> = []
  for (const frame of frames) writer.push(frame, 0, out)
  return out
}

const plain = () => new ResponsesWriter({ model: null })
const texts = (frames: ReadonlyArray<Frame>) => frames.map((frame) => frame.bytes.toString("utf8"))
const failed = (writer: ResponsesWriter, transport: "sse" | "ws" | "json", retryAfter?: number) => {
  const out: Array<Frame> = []
  const more = retryAfter === undefined ? {} : { retryAfter }
  writer.fail(gatewayError(429, "rate_limited", "slow down", more), transport, out)
  return texts(out)
}
const kept = (writer: ResponsesWriter) => writer.keepAlive("sse")!.bytes.toString("utf8")

describe("the model a client asked for", () => {
  const response = { id: "resp_1", model: "real", output: [{ model: "real" }], tools: [{ model: "real" }] }

  it.each(["created", "queued", "in_progress", "completed", "incomplete", "failed"])(
    "stands in response.%s, and every other byte stays",
    (name) => {
      const sent = event(`response.${name}`, { sequence_number: 1, response, model: "real" })
      const [shown] = push(new ResponsesWriter({ model: 'the "fast" one' }), sent)
      const wanted = sent.bytes
        .toString("utf8")
        .replace('"id":"resp_1","model":"real"', '"id":"resp_1","model":"the \\"fast\\" one"')
      expect(shown!.bytes.toString("utf8")).toBe(wanted)
    }
  )

  it("has the response that the client went on from, where the upstream was told another", () => {
    const response = { id: "r3", previous_response_id: "r2", model: "real" }
    const shown = { id: "r3", previous_response_id: "r1", model: "real" }
    const writer = new ResponsesWriter({ model: null, previous: "r1" })
    const value = { type: "response.completed", response }
    const frames = [message(value), whole("body", Buffer.from(JSON.stringify(response)))]
    expect(texts(push(writer, ...frames))).toEqual([
      JSON.stringify({ type: "response.completed", response: shown }),
      JSON.stringify(shown)
    ])
  })

  it("stands in events without a name, over WebSocket, and in a body", () => {
    const value = { type: "response.completed", response: { model: "real" } }
    const writer = new ResponsesWriter({ model: "fast" })
    const frames = [sse("", JSON.stringify(value)), message(value), whole("body", Buffer.from('{"model" : "real"}'))]
    const changed = JSON.stringify({ type: "response.completed", response: { model: "fast" } })
    expect(texts(push(writer, ...frames))).toEqual([`data: ${changed}\n\n`, changed, '{"model" : "fast"}'])
  })

  it("stands in events of several lines, and every line stays", () => {
    const text = 'event: response.created\r\ndata:{"response":\r\n: note\r\ndata:  {"model":"real"}}\r\n\r\n'
    const [start, end] = [text.indexOf("{"), text.lastIndexOf("}") + 1]
    const frame = new Frame(Buffer.from(text), 0, text.length, "event", "response.created", start, end, 2)
    expect(texts(push(new ResponsesWriter({ model: "fast" }), frame))).toEqual([text.replace("real", "fast")])
  })

  it("stands at both places of a key that is there twice, in one line and in several", () => {
    const text = 'event: response.created\ndata: {"response":{"model":"real",\ndata: "model":"other"}}\n\n'
    const oneLine = text.replace('\ndata: "model', '"model')
    for (const sent of [oneLine, text]) {
      const [start, end] = [sent.indexOf("{"), sent.lastIndexOf("}") + 1]
      const lines = sent === text ? 2 : 1
      const frame = new Frame(Buffer.from(sent), 0, sent.length, "event", "response.created", start, end, lines)
      const [shown] = push(new ResponsesWriter({ model: "fast" }), frame)
      expect(shown!.bytes.toString("utf8")).toBe(sent.replace("real", "fast").replace("other", "fast"))
    }
  })

  it("leaves alone what holds no response", () => {
    const writer = new ResponsesWriter({ model: "fast" })
    const frames = [
      numbered(1),
      event("response.output_item.done", { item: { model: "real" }, response: { model: "real" } }),
      event("response.metadata", { model: "real" }),
      event("codex.rate_limits", { response: { model: "real" } }),
      whole("body", Buffer.from("[1]"))
    ]
    const out = push(writer, ...frames)
    for (const [i, frame] of frames.entries()) {
      expect(out[i]).toBe(frame)
      expect(frame.peek).toBeUndefined()
    }
  })

  it("is the upstream's own where nobody changed it", () => {
    const frame = event("response.created", { response: { model: "real" } })
    expect(push(plain(), frame)[0]).toBe(frame)
  })
})

describe("the end of an answer", () => {
  it.each(["completed", "incomplete", "failed"])("is response.%s, and nothing before it", (name) => {
    const out = push(plain(), event("response.created"), numbered(1), event("error"), event(`response.${name}`))
    expect(out.map((frame) => frame.terminal)).toEqual([false, false, false, true])
  })

  it("is over WebSocket an error, too", () => {
    const out = push(plain(), message({ type: "response.created" }), message({ type: "error", status: 400 }))
    expect(out.map((frame) => frame.terminal)).toEqual([false, true])
  })
})

describe("an error of the gateway's", () => {
  it("is the event behind the last one that was shown", () => {
    const writer = plain()
    const error = (n: number) =>
      `event: error\ndata: {"type":"error","sequence_number":${n},"code":"rate_limited","message":"slow down","param":null}\n\n`
    expect(failed(writer, "sse")).toEqual([error(0)])
    push(writer, numbered(0), numbered(1), event("keepalive", { sequence_number: 99 }), event("codex.rate_limits"))
    expect(failed(writer, "sse")).toEqual([error(2)])
    push(writer, sse("", '{"type":"response.x.delta" ,"sequence_number" : 41 }'))
    expect(failed(writer, "sse")).toEqual([error(42)])
  })

  it("ends the answer", () => {
    const out: Array<Frame> = []
    plain().fail(gatewayError(502, "c", "m"), "sse", out)
    expect(out.map((frame) => frame.terminal)).toEqual([true])
  })

  it("has over WebSocket a status, and says when to come back", () => {
    const error = { type: "rate_limit_error", code: "rate_limited", message: "slow down", param: null }
    const headers = { "retry-after": "3" }
    expect(failed(plain(), "ws", 3)).toEqual([JSON.stringify({ type: "error", status: 429, error, headers })])
    expect(failed(plain(), "ws")).toEqual([JSON.stringify({ type: "error", status: 429, error })])
  })

  it("has no place in a body", () => {
    expect(failed(plain(), "json")).toEqual([])
  })
})

describe("what fills silence", () => {
  const keepAlive = (n: number) => `event: keepalive\ndata: {"type":"keepalive","sequence_number":${n}}\n\n`

  it("repeats the number that was shown last, and takes none", () => {
    const writer = plain()
    expect(kept(writer)).toBe(keepAlive(0))
    push(writer, numbered(0))
    expect(kept(writer)).toBe(keepAlive(0))
    push(writer, numbered(1), numbered(2))
    expect([kept(writer), kept(writer)]).toEqual([keepAlive(2), keepAlive(2)])
    push(writer, event("response.completed", { sequence_number: 3 }))
    expect(kept(writer)).toBe(keepAlive(2))
  })

  it("is a comment for OpenAI's SDKs until the response has begun: their streams take no other event before", () => {
    const writer = new ResponsesWriter({ model: null, headers: { "x-stainless-lang": "js" } })
    push(writer, event("codex.rate_limits"))
    expect(kept(writer)).toBe(": keep-alive\n\n")
    push(writer, event("response.created", { sequence_number: 0 }))
    expect(kept(writer)).toBe(keepAlive(0))
  })

  it("is 0 where the upstream counts nothing", () => {
    const writer = plain()
    push(writer, event("response.created"), event("response.x.delta", { sequence_number: "7" }))
    expect(kept(writer)).toBe(keepAlive(0))
  })

  it("is one message over WebSocket, and nothing in a body", () => {
    expect(plain().keepAlive("ws")!.bytes.toString()).toBe('{"type":"keepalive"}')
    expect(plain().keepAlive("json")).toBeNull()
  })
})
