import { assert, describe, it } from "vitest"
import { type Frame, sse, whole } from "../../src/wire/Frame.ts"
import { SseDecoder } from "../../src/wire/SseDecoder.ts"

const only = (stream: string): Frame => {
  const frames: Array<Frame> = []
  new SseDecoder({ maxEventBytes: 1024 }).push(Buffer.from(stream), frames)
  assert.strictEqual(frames.length, 1)
  return frames[0]!
}

describe("Frame.withData", () => {
  const table: ReadonlyArray<[string, string, string, string]> = [
    ["one line", "id: 1\ndata:x\r\n\r\n", "y", "id: 1\ndata:y\r\n\r\n"],
    ["several lines", "data: a\ndata: b\nid: 2\n\n", "{\n}", "data: {\ndata: }\nid: 2\n\n"],
    ["new lines in what was one line", "data: a\n\n", "{\n}", "data: {\ndata: }\n\n"],
    ["a data line without a colon", "data\n\n", "x", "data: x\n\n"],
    ["several lines where there was no colon", "data\nid: 1\n\n", "x\ny", "data: x\ndata: y\nid: 1\n\n"]
  ]
  for (const [name, stream, data, expected] of table) {
    it(`changes nothing but the data: ${name}`, () => {
      const changed = only(stream).withData(Buffer.from(data))
      assert.strictEqual(changed.bytes.toString(), expected)
      assert.strictEqual(changed.data, data)
      assert.strictEqual(only(expected).data, data)
    })
  }
})

describe("a body", () => {
  it("is read behind its byte order mark, which an event or a message may not have", () => {
    const bytes = Buffer.from('\ufeff{"a":1}')
    assert.deepStrictEqual(whole("body", bytes).json, { a: 1 })
    assert.deepStrictEqual(whole("body", bytes).bytes, bytes)
    assert.isUndefined(whole("message", bytes).json)
    assert.isUndefined(sse("", '\ufeff{"a":1}').json)
  })

  it("keeps the new lines of its data as they are", () => {
    const body = whole("body", Buffer.from("{}"))
    assert.strictEqual(body.withData(Buffer.from("{\n\xff}\n", "latin1")).bytes.toString("latin1"), "{\n\xff}\n")
  })
})
