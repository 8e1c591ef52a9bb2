import { assert, describe, it } from "vitest"
import type { Frame } from "../../src/wire/Frame.ts"
import { whole } from "../../src/wire/Frame.ts"
import { MemberReplacer } from "../../src/wire/MemberReplacer.ts"
import { SseDecoder } from "../../src/wire/SseDecoder.ts"

const apply = (stream: string): string => {
  const frames: Array<Frame> = []
  const decoder = new SseDecoder({ maxEventBytes: 1 << 20 })
  decoder.push(Buffer.from(stream), frames)
  decoder.end(frames)
  const replacer = new MemberReplacer("model", '"fast"')
  return frames.map((frame) => replacer.apply(frame).bytes.toString()).join("")
}

describe("MemberReplacer", () => {
  const same = '{"id":"1","model":"gpt-x","n":'
  const table: ReadonlyArray<[name: string, data: ReadonlyArray<string>, expected: ReadonlyArray<string>]> = [
    [
      "in every chunk of a stream",
      [`${same}1}`, `${same}"é"}`, `${same}3 }`],
      ['{"id":"1","model":"fast","n":1}', '{"id":"1","model":"fast","n":"é"}', '{"id":"1","model":"fast","n":3 }']
    ],
    [
      "where a later chunk begins otherwise",
      [`${same}1}`, '{"model" : "gpt-x"}'],
      ['{"id":"1","model":"fast","n":1}', '{"model" : "fast"}']
    ],
    [
      "where a later chunk has the key twice",
      [`${same}1}`, `${same}1,"model":"b"}`],
      ['{"id":"1","model":"fast","n":1}', '{"id":"1","model":"fast","n":1,"model":"fast"}']
    ],
    [
      "and not within text or an inner object",
      [`${same}1}`, `${same}{"model":"a"},"t":"\\"model\\":1"}`],
      ['{"id":"1","model":"fast","n":1}', '{"id":"1","model":"fast","n":{"model":"a"},"t":"\\"model\\":1"}']
    ],
    [
      "where the value is a number that goes on",
      ['{"model":1}', '{"model":12}'],
      ['{"model":"fast"}', '{"model":"fast"}']
    ],
    [
      "where a value begins with the last one",
      ['{"model":"a"}', '{"model":"a\\"b"}', '{"model":"ab"}'],
      ['{"model":"fast"}', '{"model":"fast"}', '{"model":"fast"}']
    ],
    [
      "only where there is something to replace",
      ["[DONE]", '{"a":1}', "[]", '{"model":', ""],
      ["[DONE]", '{"a":1}', "[]", '{"model":', ""]
    ]
  ]
  for (const [name, data, expected] of table) {
    it(`replaces the value ${name}`, () => {
      const stream = (items: ReadonlyArray<string>): string => items.map((item) => `id: 7\ndata: ${item}\n\n`).join("")
      assert.strictEqual(apply(stream(data)), stream(expected))
    })
  }

  it("replaces it in an event of several lines, in a body, and leaves comments alone", () => {
    assert.strictEqual(
      apply(': "model"\n\ndata: {\ndata: "model":"a"}\n\n'),
      ': "model"\n\ndata: {\ndata: "model":"fast"}\n\n'
    )
    const body = whole("body", Buffer.from('{\n  "model": "a"\n}'))
    const changed = new MemberReplacer("model", '"fast"').apply(body)
    assert.strictEqual(changed.bytes.toString(), '{\n  "model": "fast"\n}')
    assert.isTrue(changed.terminal)
  })
})
