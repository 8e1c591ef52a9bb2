import { describe, expect, it } from "vitest"
import type { Frame } from "../../src/wire/Frame.ts"
import { sse, whole } from "../../src/wire/Frame.ts"
import { replaceValue } from "../../src/wire/ReplaceValue.ts"
import { SseDecoder } from "../../src/wire/SseDecoder.ts"

const frameOf = (text: string): Frame => {
  const frames: Array<Frame> = []
  new SseDecoder({ maxEventBytes: 1 << 16 }).push(Buffer.from(text), frames)
  return frames[0]!
}

const replaced = (frame: Frame): string => replaceValue(frame, ["message", "model"], '"fast"').bytes.toString()

describe("another value at a place of a frame", () => {
  it.each([
    ['event: a\ndata: {"message":{"id":1, "model" : "x👋"}}\n\n', '"x👋"'],
    ['data:{"model":"y","message":{"model":"x"}}\r\n\r\n', '"x"'],
    ['data: {\ndata:"message":\r\n: note\ndata:  {"model":\ndata\nid: 7\ndata:"x"}}\n\n', '"x"']
  ])("leaves every other byte: %j", (text, value) => {
    expect(replaced(frameOf(text))).toBe(text.replace(value, '"fast"'))
  })

  it("stands at each of several keys of one name", () => {
    expect(replaced(frameOf('data: {"message":{"model":"x","model":"yy"}}\n\n'))).toBe(
      'data: {"message":{"model":"fast","model":"fast"}}\n\n'
    )
    const lines = replaceValue(
      frameOf('data: {"message":\ndata: {"model":"x","model":"yy"}}\n\n'),
      ["message", "model"],
      "1"
    )
    expect(lines.json).toEqual({ message: { model: 1 } })
    expect(lines.data).not.toMatch(/x|yy/)
  })

  it("is none where there is no such place, and the frame the same", () => {
    for (const frame of [sse("a", '{"message":{}}'), sse("a", "[1]"), whole("body", Buffer.from('{"model":"x"}'))]) {
      expect(replaceValue(frame, ["message", "model"], "1")).toBe(frame)
    }
  })
})
