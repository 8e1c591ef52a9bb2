import { describe, expect, it } from "vitest"
import type { RequestView } from "../../../src/dialect/Dialect.ts"
import { askForUsage, continueFrom, editModel, view } from "../../../src/dialect/openai-responses/Request.ts"

const read = (body: unknown) => view(Buffer.from(typeof body === "string" ? body : JSON.stringify(body)))

const readInput = (input: unknown): RequestView => {
  const seen = read({ model: "m", input })
  if (seen._tag === "BadRequest") throw new Error(seen.message)
  return seen
}

const user = (content: unknown) => ({ type: "message", role: "user", content })
const call = (call_id: string, name = "f", given = '{"x":1}') => ({
  type: "function_call",
  call_id,
  name,
  arguments: given
})
const output = (call_id: string, type = "function_call_output") => ({ type, call_id, output: "done" })

describe("a Responses request without which it would be none", () => {
  it.each([
    ["", null],
    ["{", null],
    ["[]", null],
    ["null", null],
    ['{"input":"x"}', "model"],
    ['{"model":null,"input":"x"}', "model"],
    ['{"model":7,"input":"x"}', "model"],
    ['{"model":7,"prompt":{"id":"p"}}', "model"],
    ['{"model":"m"}', "input"],
    ['{"model":"m","input":null,"prompt":null}', "input"],
    ['{"model":"m","input":7}', "input"],
    ['{"model":"m","input":{}}', "input"]
  ])("is refused, and the part at fault named: %s", (body, param) => {
    expect(read(body)).toMatchObject({ _tag: "BadRequest", param })
  })
})

describe("what is not judged", () => {
  it.each([
    { model: "m", input: "" },
    { model: "m", input: [] },
    { model: "m", input: [1, null, { type: "from_the_future" }, { type: "item_reference", id: "rs_1" }] },
    { model: "m", previous_response_id: "resp_1" },
    { model: "m", conversation: "conv_1" },
    { model: "m", prompt: { id: "pmpt_1" } },
    { model: "m", input: "x", stream: "yes", tools: {}, background: "no", x: 1 }
  ])("%j", (body) => {
    expect(read(body)).toMatchObject({ _tag: "RequestView", model: "m", wantsUsage: true, choices: 1 })
  })

  it("leaves out the model where a stored prompt names it", () => {
    expect(read({ prompt: { id: "pmpt_1" } })).toMatchObject({ _tag: "RequestView", model: "" })
  })

  it("reads a stream and the background only where they are what they should be", () => {
    expect(read({ model: "m", input: "x", stream: true, background: true })).toMatchObject({
      stream: true,
      background: true
    })
    expect(read({ model: "m", input: "x", stream: 1, background: "true" })).toMatchObject({
      stream: false,
      background: false
    })
  })

  it("reads which response it goes on from", () => {
    expect(read({ model: "m", input: "x", previous_response_id: "r1" })).toMatchObject({ previous: "r1" })
    for (const previous_response_id of [undefined, null, 7, ["r1"]])
      expect(read({ model: "m", input: "x", previous_response_id })).toMatchObject({ previous: null })
  })

  it("reads the key of the prompt cache, and no user", () => {
    expect(read({ model: "m", input: "x", prompt_cache_key: "thread-1", user: "u" })).toMatchObject({
      session: { userId: null, cacheKey: "thread-1" }
    })
  })
})

describe("the prompt of a Responses request", () => {
  it("is the input where that is a text", () => {
    expect(readInput("hello").prompt).toBe("hello")
  })

  it("is the last item where that is a message of the user, also one that does not say it is a message", () => {
    expect(readInput([user("first"), user("last")]).prompt).toBe("last")
    expect(readInput([{ role: "user", content: "short form" }]).prompt).toBe("short form")
    expect(readInput([user("first"), { role: "developer", content: "x" }]).prompt).toBeNull()
    expect(readInput([user("first"), call("a"), output("a")]).prompt).toBeNull()
    expect(readInput([]).prompt).toBeNull()
  })

  it("is its input_text parts joined by newlines", () => {
    const parts = [
      { type: "input_text", text: "one" },
      { type: "input_image", image_url: "data:," },
      { type: "output_text", text: "not this" },
      { type: "input_text", text: "two" }
    ]
    expect(readInput([user(parts)]).prompt).toBe("one\ntwo")
    expect(readInput([user(parts.slice(1, 2))]).prompt).toBeNull()
  })
})

describe("the tool call that a Responses request answers", () => {
  it("is that of the last output, as the request repeats it", () => {
    const input = [user("x"), call("a"), call("b", "g", '{"y":2}'), output("a"), output("b")]
    expect(readInput(input).answered).toEqual({ callId: "b", call: { name: "g", arguments: '{"y":2}' } })
  })

  it("is also one of a custom tool, or of one with a protocol of its own", () => {
    const custom = { type: "custom_tool_call", call_id: "a", name: "shell", input: "ls" }
    expect(readInput([custom, output("a", "custom_tool_call_output")]).answered).toEqual({
      callId: "a",
      call: { name: "shell", arguments: "ls" }
    })
    const local = {
      type: "local_shell_call",
      id: "lsh_1",
      call_id: "a",
      status: "completed",
      action: { command: ["ls"] }
    }
    expect(readInput([local, output("a", "local_shell_call_output")]).answered).toEqual({
      callId: "a",
      call: { name: "local_shell_call", arguments: '{"action":{"command":["ls"]}}' }
    })
  })

  it("is not known by name where the call stands in a response before", () => {
    expect(readInput([output("a")]).answered).toEqual({ callId: "a", call: null })
    expect(readInput([output("a"), call("a")]).answered).toEqual({ callId: "a", call: null })
  })

  it("is none where nothing is answered", () => {
    expect(readInput([user("x"), call("a")]).answered).toBeNull()
    expect(readInput("x").answered).toBeNull()
  })
})

describe("edits of a Responses request", () => {
  it("change the model alone, and ask for nothing", () => {
    const body = Buffer.from('{ "input":"x" ,"model" : "fast", "n":1e2,"tools":[{"model":"fast"}]}')
    expect(editModel(body, "up").toString()).toBe('{ "input":"x" ,"model" : "up", "n":1e2,"tools":[{"model":"fast"}]}')
    expect(askForUsage(readInput("x"), body)).toBe(body)
  })

  it("goes on from another response, every other byte as it was", () => {
    const body = Buffer.from(
      '{ "input":"r1" ,"previous_response_id" : "r1", "n":1e2,"x":{"previous_response_id":"r1"}}'
    )
    expect(continueFrom(body, 'r"2').toString()).toBe(
      '{ "input":"r1" ,"previous_response_id" : "r\\"2", "n":1e2,"x":{"previous_response_id":"r1"}}'
    )
    const none = Buffer.from('{"input":"x"}')
    expect(continueFrom(none, "r2")).toBe(none)
  })
})
