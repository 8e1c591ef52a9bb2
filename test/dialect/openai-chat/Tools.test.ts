import { describe, expect, it } from "vitest"
import { continueWith, forbidTools, injectTools, output } from "../../../src/dialect/openai-chat/Tools.ts"
import type { ToolContent, ToolDefinition } from "../../../src/dialect/InjectedTools.ts"
import { call, chunk, delta, done, finish, framesOf, read, role, text, usageChunk } from "./Turns.ts"

const one: ToolDefinition = { name: "bmcp_a", description: 'says "é"', inputSchema: '{ "type":"object", "x":1.0 }' }
const two: ToolDefinition = { name: "bmcp_b", description: null, inputSchema: "{}" }
const oneText =
  '{"type":"function","function":{"name":"bmcp_a","description":"says \\"é\\"","parameters":{ "type":"object", "x":1.0 }}}'
const twoText = '{"type":"function","function":{"name":"bmcp_b","parameters":{}}}'

describe("tools are added to a request", () => {
  it.each([
    ['{"messages":[ ], "n":1.0}', `{"messages":[ ], "n":1.0,"tools":[${oneText},${twoText}]}`],
    ['{ "tools" : null ,"x":1}', `{ "tools" : [${oneText},${twoText}] ,"x":1}`],
    ['{"tools":[ ],"x":1}', `{"tools":[${oneText},${twoText} ],"x":1}`],
    ['{"tools":[{"a":1.50} ],"x":1}', `{"tools":[{"a":1.50},${oneText},${twoText} ],"x":1}`],
    ['{"tools":[1,2]}', `{"tools":[1,2,${oneText},${twoText}]}`],
    ['{"tools":[1],"tool\\u0073":[ ]}', `{"tools":[1,${oneText},${twoText}],"tool\\u0073":[${oneText},${twoText} ]}`],
    ['{"tools":[1],"tools":null}', `{"tools":[${oneText},${twoText}],"tools":[${oneText},${twoText}]}`],
    ['{"tools":{"x":1}}', '{"tools":{"x":1}}']
  ])("and nothing else changes: %s", (body, expected) => {
    expect(injectTools(Buffer.from(body), [one, two]).toString()).toBe(expected)
  })

  it("and written once for all requests that have the same", () => {
    let written = 0
    const tools = [
      {
        ...two,
        get inputSchema() {
          written++
          return "{}"
        }
      }
    ]
    for (const body of ["{}", '{"tools":[1]}']) injectTools(Buffer.from(body), tools)
    expect(written).toBe(1)
    expect(injectTools(Buffer.from("{}"), [...tools]).toString()).toBe(`{"tools":[${twoText}]}`)
    expect(written).toBe(2)
  })

  it.each([
    ['{"tools":[1]}', '{"tools":[1],"tool_choice":"none"}'],
    ['{"tool_choice": {"type":"function"}, "x":1}', '{"tool_choice": "none", "x":1}']
  ])("and forbidden: %s", (body, expected) => {
    expect(forbidTools(Buffer.from(body)).toString()).toBe(expected)
  })
})

describe("a request that goes on from results", () => {
  const messageOf = (content: ReadonlyArray<ToolContent>, isError = false): unknown => {
    const body = continueWith(Buffer.from('{"messages":[]}'), [], [{ callId: "c", content, isError }])
    return JSON.parse(body!.toString()).messages[0]
  }
  const said = (content: unknown) => ({ role: "tool", tool_call_id: "c", content })
  const part = (words: string): ToolContent => ({ type: "text", text: words })

  it("has the turn and its results behind the other messages", () => {
    const results = [
      { callId: "x", content: [part("a")], isError: false },
      { callId: "y", content: [part("b")], isError: false }
    ]
    const body = continueWith(Buffer.from('{"messages":[{"a":1.0} ], "n":1}'), ['{"role":"assistant"}'], results)
    expect(body?.toString()).toBe(
      '{"messages":[{"a":1.0},{"role":"assistant"},{"role":"tool","tool_call_id":"x","content":"a"},{"role":"tool","tool_call_id":"y","content":"b"} ], "n":1}'
    )
  })

  it("is none where there are no messages", () => {
    expect(continueWith(Buffer.from("{}"), ["{}"], [])).toBeNull()
    expect(continueWith(Buffer.from('{"messages":{}}'), ["{}"], [])).toBeNull()
  })

  it("has one text as it is, several as parts, and what cannot be shown described", () => {
    expect(messageOf([])).toEqual(said(""))
    expect(messageOf([part("a")])).toEqual(said("a"))
    const parts = [part("a"), part("b")]
    expect(messageOf(parts)).toEqual(said(parts))
    const image: ToolContent = { type: "image", mimeType: "image/png", data: "AAAA" }
    expect(messageOf([image])).toEqual(said("[image, image/png, 3 bytes: cannot be shown here]"))
    expect(messageOf([part("a"), image])).toMatchObject({ content: [{ text: "a" }, { type: "text" }] })
  })

  it("says what is an error, once", () => {
    expect(messageOf([part("it broke")], true)).toEqual(said("Error: it broke"))
    expect(messageOf([part("Error: it broke")], true)).toEqual(said("Error: it broke"))
    expect(messageOf([part("errors are many")], true)).toEqual(said("Error: errors are many"))
    expect(messageOf([], true)).toEqual(said("Error: the tool failed"))
    expect(messageOf([part("a"), part("b")], true)).toMatchObject({ content: [{ text: "Error: a" }, { text: "b" }] })
  })
})

const outputOf = (source: string): unknown => {
  const messages = output(framesOf(source))
  expect(messages?.length ?? 1).toBe(1)
  return messages === null ? null : JSON.parse(messages[0]!)
}

const made = (name: string, args: string, id: string) => ({ id, type: "function", function: { name, arguments: args } })
const piece = (value: object) => delta({ tool_calls: [value] })
const end = finish("tool_calls") + usageChunk(1, 2) + done

describe("a turn's output", () => {
  it("is one message of all that was said, without empty members", () => {
    const stream = `${role + delta({ reasoning_content: "hm" }) + delta({ reasoning_content: "m" }) + text("é") + text("😀")}: x\n\n`
    expect(outputOf(stream + call(0, "bmcp_a", '{"a":1}', 3, "x") + call(1, "bmcp_b", "", 1, "y") + end)).toEqual({
      role: "assistant",
      content: "é😀",
      reasoning_content: "hmm",
      tool_calls: [made("bmcp_a", '{"a":1}', "x"), made("bmcp_b", "{}", "y")]
    })
  })

  it("has no content where there are only calls", () => {
    const only = { role: "assistant", content: null, tool_calls: [made("bmcp_a", "{}", "x")] }
    expect(outputOf(role + text("") + call(0, "bmcp_a", "{}", 1, "x") + end)).toEqual(only)
    expect(outputOf(call(0, "bmcp_a", "{}", 1, "x") + end)).toEqual(only)
    expect(outputOf(role + finish("stop") + done)).toEqual({ role: "assistant", content: "" })
  })

  it.each<[string, string, unknown]>([
    ["texts that nobody knows grow", delta({ future: "a" }) + delta({ future: "b" }), { future: "ab" }],
    [
      "of other values the last counts",
      delta({ n: 1, o: { a: 1 } }) + delta({ n: 2, o: { b: 1 } }),
      { n: 2, o: { b: 1 } }
    ],
    ["null says nothing", delta({ n: 1 }) + delta({ n: null }), { n: 1 }],
    ["lists grow", delta({ list: [1] }) + delta({ list: [{ a: 1 }] }) + delta({ list: [] }), { list: [1, { a: 1 }] }],
    [
      "elements with the same index are one, their texts grow",
      delta({ reasoning_details: [{ type: "reasoning.text", index: 0, text: "a", signature: null, format: "f" }] }) +
        delta({ reasoning_details: [{ type: "reasoning.text", index: 0, text: "b", format: "f" }] }) +
        delta({ reasoning_details: [{ type: "reasoning.text", index: 0, signature: "sig", format: "f" }] }) +
        delta({ reasoning_details: [{ type: "reasoning.text", index: 0, signature: null }] }) +
        delta({ reasoning_details: [{ type: "reasoning.summary", index: 1, summary: "s" }] }) +
        delta({ reasoning_details: [{ type: "reasoning.summary", index: 1, summary: "t" }] }),
      {
        reasoning_details: [
          { type: "reasoning.text", index: 0, text: "ab", signature: "sig", format: "f" },
          { type: "reasoning.summary", index: 1, summary: "st" }
        ]
      }
    ],
    [
      "elements of another kind are others, whatever their index",
      delta({ details: [{ type: "text", index: 0, text: "a" }] }) +
        delta({ details: [{ type: "encrypted", index: 0, data: "b" }] }),
      {
        details: [
          { type: "text", index: 0, text: "a" },
          { type: "encrypted", index: 0, data: "b" }
        ]
      }
    ],
    [
      "a key of any name is but a key",
      'data: {"choices":[{"delta":{"__proto__":{"a":1}}}]}\n\n',
      JSON.parse('{"__proto__":{"a":1}}')
    ]
  ])("keeps what is not known: %s", (_name, stream, members) => {
    const message = outputOf(stream + done) as object
    expect(JSON.stringify(message)).toBe(
      JSON.stringify({ role: "assistant", content: "", ...{} }).replace("}", `,${JSON.stringify(members).slice(1)}`)
    )
  })

  it.each<[string, string, unknown]>([
    [
      "several at the index 0 with other ids",
      piece({ index: 0, ...made("a", "{}", "x") }) +
        piece({ index: 0, ...made("b", '{"b"', "y") }) +
        piece({ index: 0, function: { arguments: ":1}" } }),
      [made("a", "{}", "x"), made("b", '{"b":1}', "y")]
    ],
    [
      "no index",
      piece(made("a", "{", "x")) + piece({ function: { arguments: "}" } }) + piece(made("b", "{}", "y")),
      [made("a", "{}", "x"), made("b", "{}", "y")]
    ],
    [
      "id and name in each piece",
      piece({ index: 0, ...made("a", "{", "x") }) + piece({ index: 0, ...made("a", "}", "x") }),
      [made("a", "{}", "x")]
    ],
    [
      "a name that comes late",
      piece({ index: 0, id: "x", function: { arguments: "{" } }) +
        piece({ index: 0, function: { name: "a", arguments: "}" } }),
      [made("a", "{}", "x")]
    ],
    [
      "a custom tool",
      piece({ index: 0, id: "x", type: "custom", custom: { name: "c", input: "a" } }) +
        piece({ index: 0, custom: { input: "b" } }),
      [{ id: "x", type: "custom", custom: { name: "c", input: "ab" } }]
    ],
    [
      "a signature beside the function",
      piece({ index: 0, ...made("a", "{}", "x"), extra_content: { google: { thought_signature: "s" } } }),
      [{ ...made("a", "{}", "x"), extra_content: { google: { thought_signature: "s" } } }]
    ]
  ])("puts calls together: %s", (_name, stream, calls) => {
    expect(outputOf(stream + end)).toEqual({ role: "assistant", content: null, tool_calls: calls })
  })

  it("is of a body the message as it stands", () => {
    const message =
      '{ "role":"assistant", "content":null,"x":1.0, "tool_calls":[ {"id":"x","function":{"name":"f"}} ] }'
    expect(output(framesOf(`{"choices":[{"index":1,"message":{}}, {"message":${message}}]}`))).toEqual([message])
    expect(output(framesOf('{"choices":[{"message":{"content":"x"}}]}'))).toEqual([
      '{"content":"x","role":"assistant"}'
    ])
    expect(output(framesOf('{"choices":[]}'))).toBeNull()
  })

  it("is of one choice alone", () => {
    const other = chunk({
      choices: [
        { index: 1, delta: { content: "no" } },
        { index: 0, delta: { content: "yes" } }
      ]
    })
    expect(outputOf(other + done)).toEqual({ role: "assistant", content: "yes" })
  })

  it("cannot be read where a chunk is no JSON", () => {
    expect(output(framesOf(`data: {"a\n\n${done}`))).toBeNull()
    expect(outputOf(`data:\n\n${text("a")}`)).toMatchObject({ content: "a" })
  })

  it("gives calls without an id those that the turn's reader gives them", () => {
    const stream =
      piece({ index: 0, function: { name: "bmcp_a", arguments: "{}" } }) +
      piece({ index: 1, id: "", function: { name: "bmcp_b" } }) +
      end
    const body =
      '{"choices":[{"message":{"role":"assistant","tool_calls":[{"function":{"name":"bmcp_a"}},{"id":null,"function":{"name":"bmcp_b"}},{"id":"call_0","function":{"name":"bmcp_b"}}]}}]}'
    for (const source of [stream, body]) {
      const message = outputOf(source) as { tool_calls: ReadonlyArray<{ id: string }> }
      const ids = read(source).summary.toolCalls.map((seen) => seen.callId)
      expect(message.tool_calls.map((made) => made.id)).toEqual(ids)
      expect(new Set(ids).size).toBe(ids.length)
      expect(ids.every((id) => id.startsWith("call_"))).toBe(true)
    }
  })
})

describe("a demand that a tool be called", () => {
  const made =
    '{"role":"assistant","tool_calls":[{"id":"x","type":"function","function":{"name":"bmcp_a","arguments":"{}"}}]}'
  const named = (name: string) => `{"type":"function","function":{"name":"${name}"}}`

  it.each([
    ['"required"', '"auto"'],
    ['"any"', '"auto"'],
    [named("bmcp_a"), '"auto"'],
    [named("mine"), named("mine")],
    ['"auto"', '"auto"'],
    ["null", "null"],
    [
      '{"type":"allowed_tools","allowed_tools":{"mode":"required"}}',
      '{"type":"allowed_tools","allowed_tools":{"mode":"required"}}'
    ]
  ])("is taken back once injected calls have met it: %s", (choice, left) => {
    const asked = Buffer.from(`{"tool_choice": ${choice} , "x":1.0,"messages":[]}`)
    const results = [{ callId: "x", content: [], isError: false }]
    const next = String(continueWith(asked, [made], results))
    expect(next.slice(0, next.indexOf('"messages"'))).toBe(`{"tool_choice": ${left} , "x":1.0,`)
    expect((JSON.parse(next) as { messages: ReadonlyArray<unknown> }).messages).toHaveLength(2)
  })
})
