import { describe, expect, it } from "vitest"
import { editModel, view } from "../../../src/dialect/anthropic-messages/Request.ts"

const read = (body: unknown) => view(Buffer.from(typeof body === "string" ? body : JSON.stringify(body)))

const seen = (messages: ReadonlyArray<unknown>, more: object = {}) => {
  const request = read({ model: "m", messages, ...more })
  if (request._tag === "BadRequest") throw new Error(request.message)
  return request
}

const user = (content: unknown) => ({ role: "user", content })
const assistant = (content: unknown) => ({ role: "assistant", content })
const text = (said: string) => ({ type: "text", text: said })
const call = (id: string, name: string, input: unknown) => ({ type: "tool_use", id, name, input })
const result = (id: string, content: unknown = "21 °C") => ({ type: "tool_result", tool_use_id: id, content })

describe("a Messages request that is none", () => {
  it.each([
    ["", null, /not valid JSON/],
    ["{", null, /not valid JSON/],
    ["[]", null, /valid dictionary/],
    ["null", null, /valid dictionary/],
    ['\ufeff\ufeff{"model":"m","messages":[]}', null, /not valid JSON/],
    ["{}", "model", /^model: Field required$/],
    ['{"model":null,"messages":[]}', "model", /^model: Input should be a valid string$/],
    ['{"model":"m"}', "messages", /^messages: Field required$/],
    ['{"model":"m","messages":null}', "messages", /^messages: Input should be a valid list$/],
    ['{"model":"m","messages":{}}', "messages", /^messages: Input should be a valid list$/]
  ])("is refused in Anthropic's words: %s", (body, param, message) => {
    expect(read(body)).toMatchObject({ _tag: "BadRequest", param, message: expect.stringMatching(message) as string })
  })
})

describe("what is not judged", () => {
  it.each([
    { model: "", messages: [] },
    { model: "m", messages: [1, null, { role: 3 }, user(7), user([null, 1])] },
    { model: "m", messages: [], stream: "yes", max_tokens: "many", metadata: 7, tools: {}, system: 1, thread: null },
    { model: "m", messages: [{ role: "system", content: "x", output_config: {} }], context_management: {}, x: 1 }
  ])("%j", (body) => {
    expect(read(body)._tag).toBe("RequestView")
  })

  it("reads a stream only where it is asked for", () => {
    expect(seen([]).stream).toBe(false)
    expect(seen([], { stream: "true" }).stream).toBe(false)
    expect(seen([], { stream: true })).toMatchObject({ stream: true, wantsUsage: true, choices: 1, background: false })
  })
})

describe("the prompt of a Messages request", () => {
  const promptOf = (...messages: ReadonlyArray<unknown>) => seen(messages).prompt

  it("is the text of the last message, if a person wrote it", () => {
    expect(promptOf(user("first"), assistant("x"), user("last"))).toBe("last")
    expect(promptOf(user("first"), assistant("x"))).toBeNull()
    expect(promptOf(user("first"), "hello")).toBeNull()
    expect(promptOf()).toBeNull()
  })

  it("is looked for before instructions that come last", () => {
    expect(promptOf(user("hello"), { role: "system", content: [text("x")] }, { role: "developer" })).toBe("hello")
    expect(promptOf({ role: "system", content: "x" })).toBeNull()
  })

  it("is none where the message holds the result of a tool, whatever else is in it", () => {
    expect(promptOf(user("first"), assistant([call("a", "f", {})]), user([result("a"), text("go on")]))).toBeNull()
  })

  it("is the text blocks in lines of their own, without pictures", () => {
    const picture = { type: "image", source: { type: "base64", data: "" } }
    expect(promptOf(user([text("a"), picture, text("b")]))).toBe("a\nb")
    expect(promptOf(user([picture]))).toBeNull()
    expect(promptOf(user(null))).toBeNull()
  })
})

describe("the call that a Messages request goes on from", () => {
  it("is that of the last result, as the conversation repeats it", () => {
    const messages = [
      user("weather and time?"),
      assistant([text("I look."), call("a", "weather", { city: "Bern" }), call("b", "time", { zone: "CET" })]),
      user([result("a"), result("b"), text("now?")]),
      { role: "system", content: "be brief" }
    ]
    expect(seen(messages).answered).toEqual({ callId: "b", call: { name: "time", arguments: { zone: "CET" } } })
  })

  it("is unknown where nothing says what was called, and none where nothing was", () => {
    expect(seen([user([result("a")])]).answered).toEqual({ callId: "a", call: null })
    expect(seen([assistant([{ type: "tool_use", id: "a" }]), user([result("a")])]).answered?.call).toBeNull()
    expect(seen([user("hello"), assistant([call("a", "f", {})])]).answered).toBeNull()
    expect(seen([user([{ type: "tool_result" }])]).answered).toBeNull()
  })
})

describe("the session of a Messages request", () => {
  it("is said in metadata.user_id, as it stands there", () => {
    const userId = '{"device_id":"d","session_id":"s"}'
    expect(seen([], { metadata: { user_id: userId } }).session).toEqual({ userId, cacheKey: null })
    expect(seen([], { metadata: { user_id: 7 } }).session).toEqual({ userId: null, cacheKey: null })
  })
})

describe("another model", () => {
  it("changes nothing else", () => {
    const body = '{ "messages":[ ], "mod\\u0065l" : "a", "max_tokens":1e2 }'
    expect(editModel(Buffer.from(body), 'b"').toString()).toBe(body.replace('"a"', '"b\\""'))
  })
})
