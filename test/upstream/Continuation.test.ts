import { assert, describe, it } from "vitest"
import {
  addedTo,
  continuingMessage,
  createMessage,
  remembered,
  socketRequest
} from "../../src/upstream/Continuation.ts"

const read = (body: object | string) => {
  const text = typeof body === "string" ? body : JSON.stringify({ stream: true, store: false, model: "m", ...body })
  const request = socketRequest(Buffer.from(text))
  assert(request !== null)
  return request
}

const hello = { role: "user", content: "hello" }
const said = {
  type: "message",
  id: "msg_1",
  status: "completed",
  role: "assistant",
  content: [{ type: "output_text", text: "Hi", annotations: [] }]
}
const thought = { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "x" }
const call = { type: "function_call", id: "fc_1", call_id: "c", name: "f", arguments: "{}", status: "completed" }
const next = { role: "user", content: "and?" }

/** What a response that said `output` knows of a request, or of one that says hello. */
const memoryOf = (output: ReadonlyArray<object>, first: object = { input: [hello] }) =>
  remembered(
    read(first),
    "resp_1",
    output.map((item) => JSON.stringify(item))
  )

const added = (request: object | string, output: ReadonlyArray<object> = [said], first?: object) =>
  addedTo(memoryOf(output, first)!, read(request))?.map((item) => JSON.parse(item.toString())) ?? null

const { id: _id, status: _status, ...unnamed } = said

/** Rows of a table, by name. */
const rows = <First, Second, Third>(
  table: ReadonlyArray<readonly [name: string, first: First, second?: Second, third?: Third]>
) => table.map(([name, first, second, third]) => ({ name, first, second, third }))

describe("a request goes on from a response", () => {
  it.each(
    rows<object | string, ReadonlyArray<object>, object>([
      ["item by item", { input: [hello, said, next] }],
      ["with calls and reasoning", { input: [hello, thought, said, call, next] }, [thought, said, call]],
      ["with its members in another order", { input: [{ content: "hello", role: "user" }, said, next] }],
      [
        "with white space and escapes",
        '{"stream":true,"store":false,"model":"m","input":[{"role" :"us\\u0065r",\n"content":"hello"},' +
          `${JSON.stringify(said)}, ${JSON.stringify(next)}]}`
      ],
      ["without the names and endings of its output", { input: [hello, unnamed, next] }],
      ["behind a text", { input: [hello, said, next] }, [said], { input: "hello" }],
      ["with the response before it named as none", { previous_response_id: null, input: [hello, said, next] }]
    ])
  )("$name", ({ first: request, second: output, third: first }) => {
    assert.deepStrictEqual(added(request, output, first), [next])
  })

  it.each(
    rows<object | string, object, never>([
      ["nothing is added", { input: [hello, said] }],
      ["something is left out", { input: [hello, next, next] }],
      ["an item comes elsewhere", { input: [said, hello, next] }],
      ["a value is another", { input: [hello, { ...said, role: "user" }, next] }],
      ["a name is another", { input: [hello, { ...said, id: "msg_2" }, next] }],
      ["an item has more", { input: [hello, { ...said, phase: "final" }, next] }],
      ["an item of the input has less", { input: [{ content: "hello" }, said, next] }],
      ["the input is a text", { input: "hello" }],
      ["the model is another", { model: "n", input: [hello, said, next] }],
      ["there is a member more", { tools: [], input: [hello, said, next] }],
      ["there is a member less", { input: [hello, said, next] }, { tools: [], input: [hello] }],
      ["it is to be stored", { store: true, input: [hello, said, next] }],
      [
        "a number is read as another's",
        `{"stream":true,"store":false,"model":"m","input":[{"n":9007199254740993},${JSON.stringify(said)},{}]}`,
        { input: [{ n: 9007199254740992 }] }
      ]
    ])
  )("but not where $name", ({ first: request, second: first }) => {
    assert.isNull(added(request, [said], first))
  })

  it.each(
    rows<ReadonlyArray<object>, object, never>([
      ["its reasoning stays with the provider", [{ type: "reasoning", id: "rs_1", summary: [] }, said]],
      ["a tool of the provider was called", [{ type: "web_search_call", id: "ws_1" }, said]],
      ["an item is none that is known", [{ type: "compaction" }]],
      ["it is stored", [said], { store: true, input: [hello] }],
      ["nothing says that it is not stored", [said], { store: undefined, input: [hello] }],
      ["it has no input", [said], {}]
    ])
  )("but not where of the one before $name", ({ first: output, second: first }) => {
    assert.isNull(memoryOf(output, first))
  })

  it("but not where the one before is too large to be kept", () => {
    assert.isNull(memoryOf([said], { input: "x".repeat(2 ** 21) }))
  })
})

describe("a request as a message", () => {
  const body = '\n{ "input" : [ 1.0, {"a" : 2} ],"stream":true, "previous_response_id": null, "x": 1e2 }'

  it("has a type, and every other byte as it was", () => {
    assert.strictEqual(createMessage(read(body)).toString(), body.replace("{", '{"type":"response.create",'))
  })

  it("that goes on has the response before and the new items in place of the input", () => {
    assert.strictEqual(
      continuingMessage(read(body), "resp_1", [Buffer.from('{"a" : 2}'), Buffer.from("3")]).toString(),
      body
        .replace("{", '{"type":"response.create",')
        .replace('[ 1.0, {"a" : 2} ]', '[{"a" : 2},3]')
        .replace("null", '"resp_1"')
    )
  })
})
