import { describe, expect, it } from "vitest"
import { output } from "../../../src/dialect/anthropic-messages/Blocks.ts"
import { Frame, whole } from "../../../src/wire/Frame.ts"
import { begin, type Block, bodyOf, call, close, delta, event, framesOf, say, streamOf, think } from "./Turns.ts"

const message = (blocks: string) => [`{"role":"assistant","content":[${blocks}]}`]
const start = event({ type: "message_start", message: {} })

describe("a turn as what the next goes on from", () => {
  const turns: ReadonlyArray<readonly [string, ReadonlyArray<Block>, ReadonlyArray<Block>?]> = [
    ["a call", [call("t1", "one", { a: [1, "ü 👋", null] })]],
    ["a call without input", [call("t1", "one")]],
    ["text before a call", [say('say "hi" \\ 👋'), call("t1", "one", { x: 1 })]],
    ["a thought with its signature", [think("hm\n", "EqQB+/=="), call("t1", "one")]],
    ["a hidden thought", [think("", "EqQB+/=="), { type: "redacted_thinking", data: "x==" }, call("t1", "one")]],
    ["two calls", [call("t1", "one", { x: 1 }), say("and"), call("t2", "two", { y: 2 })]],
    [
      "what the provider ran",
      [
        { type: "server_tool_use", id: "s", name: "web_search", input: { query: "q" } },
        { type: "web_search_tool_result", tool_use_id: "s", content: [{ encrypted_content: "e", page_age: null }] },
        { type: "future", n: 1, deep: { a: [] } },
        call("t1", "one")
      ]
    ],
    ["empty text", [say(""), call("t1", "one"), say(" \n\n")], [call("t1", "one")]]
  ]

  it.each(turns.map(([name, blocks, kept = blocks]) => ({ name, blocks, kept })))(
    "keeps $name, streamed or not",
    ({ blocks, kept }) => {
      const [body] = output([whole("body", Buffer.from(bodyOf({ blocks })))])!
      expect(JSON.parse(body!)).toEqual({ role: "assistant", content: kept })
      const [folded] = output(framesOf(streamOf({ blocks })))!
      expect(JSON.parse(folded!)).toEqual({ role: "assistant", content: kept })
    }
  )

  it("keeps numbers and white space as they are", () => {
    const block = '{ "type":"tool_use","id":"t", "input":{"n":1.0e2 , "n2":12345678901234567890} }'
    expect(output([whole("body", Buffer.from(`{"content":[ ${block} ]}`))])).toEqual(message(block))
    const begun = 'data: {"type":"content_block_start","index":0,"content_block":{"type":"x","n":1.0, "input":{}}}\n\n'
    const pieces = ['{"n": 1.0', "e2 , ", '"m":12345678901234567890}'].map((partial_json) =>
      delta(0, { type: "input_json_delta", partial_json })
    )
    expect(output(framesOf(start + begun + pieces.join("") + close(0)))).toEqual(
      message('{"type":"x","n":1.0, "input":{"n": 1.0e2 , "m":12345678901234567890}}')
    )
  })

  const written = (...pieces: ReadonlyArray<string>) =>
    pieces.map((partial_json) => delta(0, { type: "input_json_delta", partial_json })).join("")
  const cited = (citation: unknown) => delta(0, { type: "citations_delta", citation })

  it.each([
    ["no pieces of input", { type: "t", input: { a: 1 } }, "", { type: "t", input: { a: 1 } }],
    ["an empty piece", { type: "t", input: {} }, written(""), { type: "t", input: {} }],
    ["no input but an empty piece", { type: "t" }, written(""), { type: "t", input: {} }],
    ["input that is no JSON", { type: "t", input: {} }, written('{"a":'), { type: "t", input: {} }],
    ["input that is no object", { type: "t", input: {} }, written("[1]"), { type: "t", input: {} }],
    [
      "citations",
      { type: "text", text: "a", citations: null },
      cited(1) + cited({ b: 2 }),
      { citations: [1, { b: 2 }] }
    ],
    ["more citations", { type: "text", text: "a", citations: [0] }, cited(1), { citations: [0, 1] }],
    ["text that began", { type: "text", text: "a" }, delta(0, { type: "text_delta", text: "b" }), { text: "ab" }],
    [
      "what a known delta says of the stream",
      { type: "thinking", thinking: "", signature: "" },
      delta(0, { type: "thinking_delta", thinking: "a", estimated_tokens: 3 }),
      { type: "thinking", thinking: "a", signature: "" }
    ],
    [
      "deltas of the future",
      { type: "compaction", content: null },
      delta(0, { type: "compaction_delta", content: "a", n: 1 }) + delta(0, { type: "y", content: "b", n: 2 }),
      { type: "compaction", content: "ab", n: 2 }
    ],
    ["a delta of no block", { type: "t", a: 1 }, delta(7, { type: "text_delta", text: "x" }), { type: "t", a: 1 }]
  ])("puts a block together: %s", (_name, begun, deltas, expected) => {
    const [folded] = output(framesOf(start + begin(0, begun) + deltas + close(0)))!
    expect(JSON.parse(folded!)).toEqual({ role: "assistant", content: [{ ...begun, ...expected }] })
  })

  it("puts blocks together that are open at once", () => {
    const text = (index: number, said: string) => delta(index, { type: "text_delta", text: said })
    const both = begin(0, say("")) + begin(1, say("")) + text(1, "c") + text(0, "a") + text(1, "d") + text(0, "b")
    expect(output(framesOf(start + both))).toEqual(message('{"type":"text","text":"ab"},{"type":"text","text":"cd"}'))
  })

  it.each([
    ["no JSON", [whole("body", Buffer.from("<html>"))]],
    ["no message", [whole("body", Buffer.from('{"content":"x"}'))]],
    ["an event that is no JSON", framesOf("data: {\n\n")],
    ["a part of an event", [new Frame(Buffer.from("x"), 0, 1, "part", "", 0, 1, 1)]]
  ])("is none where it cannot be read: %s", (_name, frames) => {
    expect(output(frames)).toBeNull()
  })

  it("passes over what is no event", () => {
    const quiet = ': a comment\n\nevent: ping\ndata: {"type": "ping"}\n\ndata:\n\n'
    expect(output(framesOf(start + quiet + begin(0, say("a")) + close(0)))).toEqual(
      message('{"type":"text","text":"a"}')
    )
  })
})
