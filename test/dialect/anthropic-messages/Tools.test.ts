import { describe, expect, it } from "vitest"
import { view } from "../../../src/dialect/anthropic-messages/Request.ts"
import { continueWith, forbidTools, injectTools } from "../../../src/dialect/anthropic-messages/Tools.ts"
import type { ToolContent, ToolResult } from "../../../src/dialect/InjectedTools.ts"

const toolsOf = (body: object) => {
  const seen = view(Buffer.from(JSON.stringify({ model: "m", messages: [], ...body })))
  if (seen._tag === "BadRequest") throw new Error(seen.message)
  return seen.tools
}

describe("the tools of a request", () => {
  it("are known by their names, those that the provider runs too", () => {
    const tools = [{ name: "read" }, { type: "web_search_20250305", name: "web_search" }, { type: "mcp_toolset" }, null]
    expect(toolsOf({ tools })).toEqual({ names: ["read", "web_search"], open: true })
  })

  it.each([
    [{}, true],
    [{ tools: null }, true],
    [{ tools: [] }, true],
    [{ tools: {} }, false],
    [{ tool_choice: { type: "none" } }, false],
    [{ tool_choice: { type: "any" } }, true],
    [{ tool_choice: "none" }, true],
    [{ thread: { type: "create" } }, false],
    [{ thread: null }, true]
  ])("%j may be added to: %s", (body, open) => {
    expect(toolsOf(body)).toEqual({ names: [], open })
  })
})

describe("injected tools", () => {
  const one = { name: "bmcp_a_one", description: 'Say "hi"\n', inputSchema: '{ "type":"object", "max": 1.0e2 }' }
  const two = { name: "bmcp_a_two", description: null, inputSchema: '{"type":"object"}' }
  const raw =
    '{"name":"bmcp_a_one","description":"Say \\"hi\\"\\n","input_schema":{ "type":"object", "max": 1.0e2 }},' +
    '{"name":"bmcp_a_two","input_schema":{"type":"object"}}'
  const last = '{"name":"read" , "cache_control": {"type":"ephemeral"}}'

  it.each([
    [`{"tools" : [ {"name":"a"}, ${last} ], "n":1e1}`, `{"tools" : [ ${raw},{"name":"a"}, ${last} ], "n":1e1}`],
    ['{"tools":[ ],"n":1}', `{"tools":[${raw} ],"n":1}`],
    ['{"tools": null,"n":1}', `{"tools": [${raw}],"n":1}`],
    ['{ "messages":[] }', `{ "messages":[],"tools":[${raw}] }`],
    ["{}", `{"tools":[${raw}]}`],
    ['{"tools":{"x":1}}', '{"tools":{"x":1}}']
  ])("stand before the client's, and nothing else changes: %s", (body, expected) => {
    expect(injectTools(Buffer.from(body), [one, two]).toString()).toBe(expected)
  })

  it.each([
    ['{"a":1, "tool_choice" : {"type":"any","x":1} ,"b":2}', '{"a":1, "tool_choice" : {"type":"none"} ,"b":2}'],
    ['{"a":1}', '{"a":1,"tool_choice":{"type":"none"}}']
  ])("may be forbidden: %s", (body, expected) => {
    expect(forbidTools(Buffer.from(body)).toString()).toBe(expected)
  })
})

const output = '{"role":"assistant","content":[{"type":"text","text":"b"},{"type":"tool_use","id":"t","x":1.0}]}'
const done: ToolResult = { callId: "t", content: [{ type: "text", text: "ok" }], isError: false }
const answer = '{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"ok"}]}'

const goneOn = (
  messages: string,
  results: ReadonlyArray<ToolResult> = [done],
  said: ReadonlyArray<string> = [output]
) => continueWith(Buffer.from(`{"messages": ${messages}, "x":1.0}`), said, results)?.toString()

describe("the request that goes on from a turn", () => {
  const system = '{"role":"system","content":[{"type":"text","text":"brief"}],"output_config":{}}'
  const user = '{ "role":"user", "content":"hi" }'

  it.each([
    [`[${user} ]`, `[${user},${output},${answer} ]`],
    [`[${user}, ${system}]`, `[${user}, ${system},${output},${answer}]`],
    ["[]", `[${output},${answer}]`]
  ])("has the answer and the results behind what there was: %s", (messages, expected) => {
    expect(goneOn(messages)).toBe(`{"messages": ${expected}, "x":1.0}`)
  })

  const tool = '{"type":"tool_use","id":"t","x":1.0}'
  const b = '{"type":"text","text":"b"}'
  it.each([
    ["text", '"a "', `[{"type":"text","text":"a b"},${tool}]`],
    ["no text", '""', `[${b},${tool}]`],
    [
      "blocks that end with text",
      '[{"x":1.0,"type":"text","text":"a"}]',
      `[{"x":1.0,"type":"text","text":"ab"},${tool}]`
    ],
    ["blocks that end otherwise", '[{"type":"x","n":1.0}]', `[{"type":"x","n":1.0},${b},${tool}]`],
    [
      "text with citations",
      '[{"type":"text","text":"a","citations":[1]}]',
      `[{"type":"text","text":"a","citations":[1]},${b},${tool}]`
    ],
    ["no blocks", "[]", `[${b},${tool}]`]
  ])("goes on in the message that the client had begun: %s", (_name, before, content) => {
    const begun = `{"content": ${before}, "role":"assistant"}`
    const expected = `{"content": ${content}, "role":"assistant"}`
    expect(goneOn(`[${user}, ${begun}]`)).toBe(`{"messages": [${user}, ${expected},${answer}], "x":1.0}`)
  })

  it("begins with a tool where the text of the client was all", () => {
    const said = `{"role":"assistant","content":[${tool}]}`
    const content = `[{"type":"text","text":"a"},${tool}]`
    expect(goneOn('[{"role":"assistant","content":"a"}]', [done], [said])).toBe(
      `{"messages": [{"role":"assistant","content":${content}},${answer}], "x":1.0}`
    )
  })

  it("is none where there are no messages to go on from", () => {
    expect(continueWith(Buffer.from('{"messages":{}}'), [output], [done])).toBeNull()
    expect(continueWith(Buffer.from("{}"), [output], [done])).toBeNull()
  })
})

describe("results", () => {
  const text = (said: string): ToolContent => ({ type: "text", text: said })
  const image = (mimeType: string): ToolContent => ({ type: "image", mimeType, data: "AAAA" })
  const file = (mimeType: string): ToolContent => ({ type: "file", mimeType, data: "AAAA", name: "f" })
  const source = (media_type: string) => ({ type: "base64", media_type, data: "AAAA" })
  const failed = (...content: ReadonlyArray<ToolContent>) => ({ content, isError: true })
  const ok = (...content: ReadonlyArray<ToolContent>) => ({ content, isError: false })

  const table: ReadonlyArray<readonly [string, Omit<ToolResult, "callId">, object]> = [
    ["one text", ok(text("a")), { content: "a" }],
    ["nothing", ok(), {}],
    ["blank text", ok(text(""), text(" \n")), {}],
    ["texts", ok(text("a"), text(""), text("b")), { content: [text("a"), text("b")] }],
    ...["image/jpeg", "image/png", "image/gif", "image/webp"].map((type) => {
      return [type, ok(image(type)), { content: [{ type: "image", source: source(type) }] }] as const
    }),
    ["another image", ok(image("image/tiff")), { content: "[image, image/tiff, 3 bytes: cannot be shown here]" }],
    [
      "a PDF and text",
      ok(file("application/pdf"), text("a")),
      { content: [{ type: "document", source: source("application/pdf") }, text("a")] }
    ],
    ["another file", ok(file("a/b")), { content: "[file f, a/b, 3 bytes: cannot be shown here]" }],
    [
      "sound",
      ok({ type: "audio", mimeType: "audio/wav", data: "AAAA" }),
      { content: "[audio, audio/wav, 3 bytes: cannot be shown here]" }
    ],
    ["an error", failed(text("no")), { content: "no", is_error: true }],
    ["an error without words", failed(), { content: "The tool failed and did not say why.", is_error: true }],
    [
      "an error with a picture",
      failed(text("no"), image("image/png")),
      { content: [text("no"), text("[image, image/png, 3 bytes: cannot be shown here]")], is_error: true }
    ]
  ]

  it.each(table)("of %s are written as Anthropic takes them", (_name, result, expected) => {
    const body = JSON.parse(goneOn("[]", [{ callId: "t", ...result }])!) as { messages: ReadonlyArray<unknown> }
    expect(body.messages[1]).toEqual({
      role: "user",
      content: [{ type: "tool_result", tool_use_id: "t", ...expected }]
    })
  })

  it("of parallel calls stand in one message", () => {
    const body = JSON.parse(goneOn("[]", [done, { ...done, callId: "u" }])!) as { messages: ReadonlyArray<unknown> }
    expect(body.messages[1]).toMatchObject({ content: [{ tool_use_id: "t" }, { tool_use_id: "u" }] })
    expect(body.messages).toHaveLength(2)
  })
})

describe("a demand that a tool be called", () => {
  const made = '{"role":"assistant","content":[{"type":"tool_use","id":"x","name":"bmcp_a","input":{}}]}'

  it.each([
    ['{"type":"any"}', '{"type":"auto"}'],
    ['{ "type":"any", "disable_parallel_tool_use":true }', '{ "type":"auto", "disable_parallel_tool_use":true }'],
    [
      '{"type":"tool","name":"bmcp_a","disable_parallel_tool_use":true}',
      '{"type":"auto","disable_parallel_tool_use":true}'
    ],
    ['{"type":"tool","name":"mine"}', '{"type":"tool","name":"mine"}'],
    ['{"type":"auto"}', '{"type":"auto"}'],
    ["null", "null"]
  ])("is taken back once injected calls have met it: %s", (choice, left) => {
    const asked = Buffer.from(`{"tool_choice": ${choice} , "x":1.0,"messages":[]}`)
    const next = String(continueWith(asked, [made], [{ callId: "x", content: [], isError: false }]))
    expect(next.slice(0, next.indexOf('"messages"'))).toBe(`{"tool_choice": ${left} , "x":1.0,`)
    expect((JSON.parse(next) as { messages: ReadonlyArray<unknown> }).messages).toHaveLength(2)
  })
})
