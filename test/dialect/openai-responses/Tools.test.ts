import { describe, expect, it } from "vitest"
import type { ToolContent, ToolDefinition } from "../../../src/dialect/InjectedTools.ts"
import { openAiResponses } from "../../../src/dialect/openai-responses/OpenAiResponses.ts"
import { continueWith, forbidTools, injectTools, output } from "../../../src/dialect/openai-responses/Tools.ts"
import { sse, whole } from "../../../src/wire/Frame.ts"
import { call, framesOf, message, reasoning } from "./Turns.ts"

const body = (text: string) => Buffer.from(text)

const tool = (name: string, description: string | null = null): ToolDefinition => ({
  name,
  description,
  inputSchema: '{ "type":"object" , "$defs":{"n":1e2} }'
})
const written = (name: string, about = "") =>
  `{"type":"function","name":"${name}"${about},"parameters":{ "type":"object" , "$defs":{"n":1e2} },"strict":false}`

describe("the tools of a Responses request", () => {
  const view = (more: object) => {
    const seen = openAiResponses.view(body(JSON.stringify({ model: "m", input: "x", ...more })))
    if (seen._tag === "BadRequest") throw new Error(seen.message)
    return seen.tools
  }

  it("have the names of functions and custom tools, and no others", () => {
    const tools = [
      { type: "function", name: "a" },
      { type: "custom", name: "b" },
      { type: "namespace", name: "c", tools: [{ type: "function", name: "d" }] },
      { type: "web_search" },
      { type: "mcp", server_label: "e", name: "f" },
      { type: "function", name: 7 },
      null,
      "g"
    ]
    expect(view({ tools })).toEqual({ names: ["a", "b"], open: true })
  })

  it.each([
    [{}, true],
    [{ tools: null }, true],
    [{ tools: [] }, true],
    [{ tools: {} }, false],
    [{ tools: "x" }, false],
    [{ tool_choice: "none" }, false],
    [{ tool_choice: "required" }, true],
    [{ tool_choice: { type: "function", name: "none" } }, true],
    [{ background: true }, false],
    [{ background: false }, true],
    [{ generate: false }, false],
    [{ generate: true }, true]
  ])("may be added to or not: %j", (more, open) => {
    expect(view(more).open).toBe(open)
  })

  it.each([
    ['{"model":"m", "n":1e2 }', `{"model":"m", "n":1e2,"tools":[${written("a")},${written("b")}] }`],
    ['{"tools" : null ,"n":1}', `{"tools" : [${written("a")},${written("b")}] ,"n":1}`],
    ['{"tools": [ ],"n":1}', `{"tools": [${written("a")},${written("b")} ],"n":1}`],
    ['{"tools":[ {"x":1e2} ], "n":1}', `{"tools":[ {"x":1e2},${written("a")},${written("b")} ], "n":1}`],
    [
      '{"tools":[1],"tools":[ ]}',
      `{"tools":[1,${written("a")},${written("b")}],"tools":[${written("a")},${written("b")} ]}`
    ],
    ['{"tools":{"x":1}}', '{"tools":{"x":1}}']
  ])("come before those that are added, and every other byte stays: %s", (sent, shown) => {
    expect(injectTools(body(sent), [tool("a"), tool("b")]).toString()).toBe(shown)
  })

  it("are described where they have a description, their schema as it came", () => {
    expect(injectTools(body('{"tools":[]}'), [tool("a", 'say "é"')]).toString()).toBe(
      `{"tools":[${written("a", ',"description":"say \\"é\\""')}]}`
    )
  })

  it.each([
    ['{"tool_choice" : {"type":"x"} ,"n":1e2}', '{"tool_choice" : "none" ,"n":1e2}'],
    ['{"tools":[1], "n":1e2}', '{"tools":[1], "n":1e2,"tool_choice":"none"}']
  ])("may be forbidden to call, and are left as they are: %s", (sent, shown) => {
    expect(forbidTools(body(sent)).toString()).toBe(shown)
  })
})

describe("the request that goes on from a turn", () => {
  const result = { callId: "c1", content: [{ type: "text", text: "4" }], isError: false } as const
  const answer = '{"type":"function_call_output","call_id":"c1","output":"4"}'
  const items = ['{ "type":"function_call","n":1e2}']

  it.each([
    [
      "a text",
      '{"input": "h\\u00e9" ,"n":1}',
      `{"input": [{"role":"user","content":"h\\u00e9"},${items},${answer}] ,"n":1}`
    ],
    ["an array", '{"input":[ {"a":1e2} ] }', `{"input":[ {"a":1e2},${items},${answer} ] }`],
    ["an empty array", '{"input":[],"n":1}', `{"input":[${items},${answer}],"n":1}`],
    ["none", '{"prompt":{"id":"p"}}', `{"prompt":{"id":"p"},"input":[${items},${answer}]}`],
    ["null", '{"input":null}', `{"input":[${items},${answer}]}`],
    [
      "a response before",
      '{"previous_response_id":"r","input":[{"a":1}]}',
      `{"previous_response_id":"r","input":[{"a":1},${items},${answer}]}`
    ],
    [
      "a response before alone",
      '{"previous_response_id":"r"}',
      `{"previous_response_id":"r","input":[${items},${answer}]}`
    ],
    ["a conversation", '{"conversation":"c","input":[{"a":1}]}', `{"conversation":"c","input":[${answer}]}`],
    ["a conversation by object", '{"conversation":{"id":"c"}}', `{"conversation":{"id":"c"},"input":[${answer}]}`],
    ["no conversation", '{"conversation":null,"input":[]}', `{"conversation":null,"input":[${items},${answer}]}`]
  ])("where the input was %s", (_, sent, next) => {
    expect(continueWith(body(sent), items, [result])?.toString()).toBe(next)
  })

  it("is none where the input has no place for it", () => {
    expect(continueWith(body('{"input":7}'), items, [result])).toBeNull()
  })

  const encrypted = '{"type":"reasoning","id":"rs_1", "encrypted_content":"gAAA","n":1e2}'
  const unencrypted = '{ "encrypted_content" : null,"id":"rs_2","type" : "reasoning"}'
  const bare = '{"type":"reasoning","id":"rs_3","summary":[]}'

  it.each([
    ["", [encrypted, unencrypted, bare, ...items]],
    ['"store":true,', [encrypted, unencrypted, bare, ...items]],
    ['"store":null,', [encrypted, unencrypted, bare, ...items]],
    ['"store" : false ,', [encrypted, ...items]]
  ])("has the reasoning that the upstream can read: {%s …}", (store, kept) => {
    const next = continueWith(body(`{${store}"input":[]}`), [encrypted, unencrypted, bare, ...items], [result])
    expect(next?.toString()).toBe(`{${store}"input":[${[...kept, answer].join(",")}]}`)
  })

  const text = (value: string): ToolContent => ({ type: "text", text: value })
  const image: ToolContent = { type: "image", mimeType: "image/png", data: "AAAA" }
  const drawing: ToolContent = { type: "image", mimeType: "image/svg+xml", data: "AAAA" }
  const audio: ToolContent = { type: "audio", mimeType: "audio/wav", data: "AAAA" }
  const file: ToolContent = { type: "file", mimeType: "application/pdf", data: "AAAA", name: "a.pdf" }
  const shown = { type: "input_image", image_url: "data:image/png;base64,AAAA" }
  const attached = { type: "input_file", filename: "a.pdf", file_data: "data:application/pdf;base64,AAAA" }
  const said = (value: string) => ({ type: "input_text", text: value })

  it.each<readonly [ReadonlyArray<ToolContent>, boolean, unknown]>([
    [[], false, ""],
    [[text("")], false, ""],
    [[text("a")], false, "a"],
    [[text("a"), text("b")], false, [said("a"), said("b")]],
    [[image], false, [shown]],
    [[text("a"), image, file], false, [said("a"), shown, attached]],
    [[audio], false, "[audio, audio/wav, 3 bytes: cannot be shown here]"],
    [[drawing, text("a")], false, [said("[image, image/svg+xml, 3 bytes: cannot be shown here]"), said("a")]],
    [[text("no")], true, "Error: no"],
    [[text("Error: no")], true, "Error: no"],
    [[text("error -32602: no")], true, "error -32602: no"],
    [[text("Errors")], true, "Error: Errors"],
    [[text("no")], false, "no"],
    [[image, text("no"), text("more")], true, [shown, said("Error: no"), said("more")]],
    [[], true, "Error: the tool failed"],
    [[image], true, [said("Error: the tool failed"), shown]]
  ])("has what a tool answered: %j, failed: %s", (content, isError, wanted) => {
    const next = continueWith(body('{"input":[]}'), [], [{ callId: "c", content, isError }])
    expect(JSON.parse(String(next)).input).toEqual([{ type: "function_call_output", call_id: "c", output: wanted }])
  })

  it("has the results in the order of the calls", () => {
    const next = continueWith(body('{"input":[]}'), items, [result, { ...result, callId: "c2" }])
    expect(JSON.parse(String(next)).input.map((item: { call_id?: string }) => item.call_id)).toEqual([
      undefined,
      "c1",
      "c2"
    ])
  })
})

describe("a turn's output", () => {
  const items = [reasoning("a"), message("b"), call("c")]
  const texts = items.map((item) => JSON.stringify(item))

  it("is taken as it stands in the response, white space and all", () => {
    const raw = '{ "type" : "message","n":1e2, "text":"\\u00e9 é" }'
    expect(output([whole("body", body(`{"output":[ ${raw} , null,7 ]}`))])).toEqual([raw, "7"])
    expect(output([sse("response.completed", `{"response":{"output":[${raw}]}}`)])).toEqual([raw])
  })

  it("has items without a place behind the others", () => {
    const done = (item: object, at?: number) =>
      sse("response.output_item.done", JSON.stringify({ type: "response.output_item.done", output_index: at, item }))
    const frames = [done(message("a"), 1), done(message("b")), sse("response.completed", '{"response":{}}')]
    expect(output(frames)!.map((item) => (JSON.parse(item) as { id: string }).id)).toEqual(["msg_a", "msg_b"])
  })

  it("is taken from the finished items, by their place, where the response has fewer", () => {
    const [, , ...frames] = framesOf({ id: "r", items, emptyOutput: true })
    const end = frames.at(-1)!
    const finished = frames.filter((frame) => frame.event === "response.output_item.done")
    expect(output([...finished.reverse(), end])).toEqual(texts)
    const partly = sse("response.completed", `{"response":{"output":[null,${texts[0]}]}}`)
    expect(output([...finished, partly])).toEqual(texts)
    expect(output([...finished, framesOf({ id: "r", items }).at(-1)!])).toEqual(texts)
    expect(output([...finished, sse("response.completed", '{"response":{}}')])).toEqual(texts)
  })

  it("is taken in the order of the events where these say nothing of places", () => {
    const finished = texts.map((text) => sse("response.output_item.done", `{"item":${text}}`))
    expect(output([...finished, sse("response.completed", '{"response":{}}')])).toEqual(texts)
  })

  it("is none where there is no end that can be read", () => {
    expect(output([])).toBeNull()
    expect(output(framesOf({ id: "r", items }).slice(0, -1))).toBeNull()
    expect(output([sse("response.completed", "{")])).toBeNull()
    expect(output([whole("body", body("[]"))])).toBeNull()
  })
})

describe("a demand that a tool be called", () => {
  const results = [{ callId: "call_a", content: [], isError: false }]
  const made = [JSON.stringify(message("m")), JSON.stringify(call("a"))]
  const after = (choice: string) =>
    String(continueWith(body(`{"input":[1], "tool_choice" : ${choice} ,"x":1e2}`), made, results)).replace(
      /\[1,.*\], "tool_choice"/,
      '[…], "tool_choice"'
    )

  it.each([
    ['"required"', '"auto"'],
    [' {"type":"function","name":"bmcp_s_echo"}', ' "auto"'],
    ['{"type":"function","name":"mine"}', '{"type":"function","name":"mine"}'],
    ['{"type":"custom","name":"bmcp_s_echo"}', '{"type":"custom","name":"bmcp_s_echo"}'],
    ['"auto"', '"auto"'],
    ["null", "null"]
  ])("is taken back once injected calls have met it: %s", (choice, left) => {
    expect(after(choice)).toBe(`{"input":[…], "tool_choice" : ${left} ,"x":1e2}`)
  })

  it("is taken back in a conversation too", () => {
    const asked = body('{"conversation":"c","input":"u","tool_choice":"required"}')
    expect(JSON.parse(String(continueWith(asked, made, results)))).toMatchObject({ tool_choice: "auto" })
  })
})
