import { describe, expect, it } from "vitest"
import { openAiChat } from "../../../src/dialect/openai-chat/OpenAiChat.ts"
import type { RequestView, TurnSummary } from "../../../src/dialect/Dialect.ts"
import type { Frame } from "../../../src/wire/Frame.ts"
import { SseDecoder } from "../../../src/wire/SseDecoder.ts"

const asked = openAiChat.view(Buffer.from('{"model":"m","messages":[],"stream":true}')) as RequestView

const text = (content: string, more: object = {}): string =>
  JSON.stringify({ id: "chatcmpl-1", choices: [{ index: 0, delta: { content }, finish_reason: null }], ...more })

const end = JSON.stringify({ id: "chatcmpl-1", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })

const read = (...events: ReadonlyArray<string>): TurnSummary => {
  const frames: Array<Frame> = []
  new SseDecoder({ maxEventBytes: 1 << 20 }).push(Buffer.from(events.map((one) => `${one}\n\n`).join("")), frames)
  const reader = openAiChat.turn({ asked })
  for (const frame of frames) reader.push(frame, [])
  return reader.summary()
}

/** So many chunks that all others like them are known by their shape. */
const usual = ["a", "b", "c"]

describe("a stream of chunks of text", () => {
  it("has the id that comes behind empty ones", () => {
    const nameless = usual.map((one) => `data: ${text(one, { id: "" })}`)
    expect(read(...nameless, `data: ${text("d")}`, "data: [DONE]").responseId).toBe("chatcmpl-1")
  })

  it("has failed where an event of errors looks like one of them", () => {
    const chunks = usual.map((one) => `data: ${text(one)}`)
    expect(read(...chunks, `event: error\ndata: ${text("d")}`).outcome).toBe("failed")
    expect(read(...chunks, `event: other\ndata: ${text("d")}`, `data: ${end}`).outcome).toBe("completed")
  })

  it.each([
    ["usage", { usage: { prompt_tokens: 1, completion_tokens: 2 } }],
    [
      "a tool call",
      { choices: [{ index: 0, delta: { content: "d", tool_calls: [{ index: 0, id: "c", function: {} }] } }] }
    ],
    ["a finish", { choices: [{ index: 0, delta: { content: "d" }, finish_reason: "length" }] }],
    ["an error", { error: { message: "no" } }]
  ])("says what one of them says besides: %s", (_, more) => {
    const chunks = usual.map((one) => `data: ${text(one)}`)
    const known = read(...chunks, `data: ${text("d", more)}`)
    const alone = read(`data: ${text("d", more)}`)
    expect(known).toEqual(alone)
    expect(known).not.toEqual(read(...chunks, `data: ${text("d")}`))
  })
})
