import { describe, expect, it } from "vitest"
import { view } from "../../../src/dialect/openai-chat/Request.ts"

const read = (body: unknown) => view(Buffer.from(typeof body === "string" ? body : JSON.stringify(body)))

const promptOf = (messages: ReadonlyArray<unknown>) => {
  const seen = read({ model: "m", messages })
  return seen._tag === "RequestView" ? seen.prompt : undefined
}

const user = (content: unknown) => ({ role: "user", content })

describe("a chat request that is none", () => {
  it.each([
    ["", null],
    ["{", null],
    ["[]", null],
    ["null", null],
    ['"text"', null],
    ['\ufeff\ufeff{"model":"m","messages":[]}', null],
    ["{}", "model"],
    ['{"model":null,"messages":[]}', "model"],
    ['{"model":7,"messages":[]}', "model"],
    ['{"model":"m"}', "messages"],
    ['{"model":"m","messages":null}', "messages"],
    ['{"model":"m","messages":{}}', "messages"]
  ])("is refused, and the part at fault named: %s", (body, param) => {
    expect(read(body)).toMatchObject({ _tag: "BadRequest", param })
  })
})

describe("what is not judged", () => {
  it.each([
    { model: "", messages: [] },
    { model: "m", messages: [1, null, { role: 3 }] },
    { model: "m", messages: [], stream: "yes", n: "two", stream_options: 7, tools: {}, x: 1 }
  ])("%j", (body) => {
    expect(read(body)._tag).toBe("RequestView")
  })

  it("reads a stream, usage and choices only where they are what they should be", () => {
    const odd = read({ model: "m", messages: [], stream: "true", n: -1, stream_options: { include_usage: "true" } })
    expect(odd).toMatchObject({ stream: false, choices: 1, wantsUsage: false })
    const plain = read({ model: "m", messages: [], stream: true, n: 3, stream_options: { include_usage: true } })
    expect(plain).toMatchObject({ stream: true, choices: 3, wantsUsage: true })
  })
})

describe("the prompt of a chat request", () => {
  it("is the text of the last message, if a person wrote it", () => {
    expect(promptOf([user("first"), { role: "assistant", content: "x" }, user("last")])).toBe("last")
    expect(promptOf([user("first"), { role: "assistant", content: "x" }])).toBeNull()
    expect(promptOf([user("first"), { role: "tool", tool_call_id: "a", content: "x" }])).toBeNull()
    expect(promptOf([])).toBeNull()
  })

  it("is looked for before instructions that come last", () => {
    expect(promptOf([user("hello"), { role: "system", content: "x" }, { role: "developer", content: "y" }])).toBe(
      "hello"
    )
    expect(promptOf([{ role: "system", content: "x" }])).toBeNull()
  })

  it("is the text parts in lines of their own, without pictures", () => {
    const picture = { type: "image_url", image_url: { url: "data:," } }
    expect(promptOf([user([{ type: "text", text: "a" }, picture, { type: "text", text: "b" }])])).toBe("a\nb")
    expect(promptOf([user([picture])])).toBeNull()
    expect(promptOf([user(null)])).toBeNull()
    expect(promptOf(["hello"])).toBeNull()
  })
})

describe("the tools of a chat request", () => {
  const toolsOf = (more: object) => {
    const seen = read({ model: "m", messages: [], ...more })
    return seen._tag === "RequestView" ? seen.tools : undefined
  }
  const named = { type: "function", function: { name: "f" } }

  it("are the names of its functions and custom tools", () => {
    const tools = [
      named,
      { type: "custom", custom: { name: "c" } },
      null,
      1,
      { type: "web_search" },
      { function: { name: 1 } }
    ]
    expect(toolsOf({ tools })).toEqual({ names: ["f", "c"], open: true })
  })

  it.each([
    [{}, true],
    [{ tools: null }, true],
    [{ tools: [] }, true],
    [{ tools: {} }, false],
    [{ tools: "x" }, false],
    [{ tool_choice: "none" }, false],
    [{ tools: [named], tool_choice: "auto" }, true],
    [{ tools: [named], tool_choice: { type: "function", function: { name: "f" } } }, true],
    [{ n: 1 }, true],
    [{ n: null }, true],
    [{ n: 2 }, false],
    [{ functions: [{ name: "f" }] }, false],
    [{ functions: null, function_call: null }, true],
    [{ function_call: "auto" }, false]
  ])("may be more or not: %j", (more, open) => {
    expect(toolsOf(more)?.open).toBe(open)
  })
})
