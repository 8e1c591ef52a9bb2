import { describe, expect, it } from "vitest"
import {
  createdId,
  isLast,
  isSteered,
  nameOfMessage,
  onLane,
  requestOf,
  resultsFor,
  streamIdOf
} from "../../../src/dialect/openai-responses/ClientEvents.ts"
import { whole } from "../../../src/wire/Frame.ts"

const text = (data: Buffer) => data.toString()

describe("a request that goes on from a turn of its connection", () => {
  const call = '{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"}'
  const result = (id: string) => `{"type":"function_call_output","call_id":"${id}","output":"it"}`

  it("sends the results of that turn and nothing that the connection has", () => {
    const create = `{"type":"response.create", "n":1e2,"input":["said before",${result("old")},${call},${result("c1")}, ${result("c2")}],"previous_response_id":"r0"}`
    expect(text(resultsFor(Buffer.from(create), "r1"))).toBe(
      `{"type":"response.create", "n":1e2,"input":[${result("c1")},${result("c2")}],"previous_response_id":"r1"}`
    )
  })

  it("names the turn where it named nothing before", () => {
    expect(JSON.parse(text(resultsFor(Buffer.from(`{"input":[${call},${result("c1")}]}`), 'r"1')))).toEqual({
      input: [JSON.parse(result("c1"))],
      previous_response_id: 'r"1'
    })
  })

  it("is left as it is in a conversation, which has the turn by itself", () => {
    const create = Buffer.from(`{"conversation":"conv","input":[${result("c1")}]}`)
    expect(resultsFor(create, "r1")).toBe(create)
    const none = Buffer.from(`{"conversation":null,"input":[${call},${result("c1")}]}`)
    expect(text(resultsFor(none, "r1"))).toContain('"previous_response_id":"r1"')
  })
})

describe("a message of an upstream", () => {
  it("belongs to the lane that it names", () => {
    const lanes = [
      '{"stream_id":"a"}',
      '{"x":{"stream_id":"b"}}',
      '{"stream_id":null}',
      '{"stream_id":"\\u0061"}',
      "17"
    ]
    expect(lanes.map((message) => streamIdOf(Buffer.from(message)))).toEqual(["a", null, null, "a", null])
  })

  it("is the last of its response by its name", () => {
    const names = ["response.completed", "response.incomplete", "response.failed", "error", "response.created", ""]
    expect(names.map(isLast)).toEqual([true, true, true, true, false, false])
    expect(nameOfMessage(Buffer.from('{"x":1, "type" : "error"}'))).toBe("error")
  })

  it("begins a response of an id", () => {
    const created = ['{"response":{"id":"r1"}}', '{"response":{}}', '{"response":{"id":1}}', "[]"]
    expect(created.map((message) => createdId(Buffer.from(message)))).toEqual(["r1", null, null, null])
  })

  it("ends one that was steered by its reason", () => {
    const ended = (type: string, reason: string) =>
      whole("message", Buffer.from(JSON.stringify({ type, response: { incomplete_details: { reason } } })))
    expect(isSteered(ended("response.incomplete", "steered"))).toBe(true)
    expect(isSteered(ended("response.incomplete", "max_output_tokens"))).toBe(false)
    expect(isSteered(ended("response.completed", "steered"))).toBe(false)
    expect(isSteered(whole("message", Buffer.from('{"type":"response.incomplete"}')))).toBe(false)
  })

  it("is given the name of its lane where it has none", () => {
    expect(text(onLane(Buffer.from('{"type":"x"}'), "a"))).toBe('{"type":"x","stream_id":"a"}')
    expect(text(onLane(Buffer.from('{"stream_id":"b"}'), "a"))).toBe('{"stream_id":"b"}')
    expect(text(onLane(Buffer.from("{ }"), null))).toBe("{ }")
  })
})

describe("a request for the same response over HTTP", () => {
  it("is a stream, without what only a WebSocket has", () => {
    const create = '{"type":"response.create","stream_id":"a","generate":true,"model":"m", "stream":false,"n":1.0}'
    expect(text(requestOf(Buffer.from(create), null))).toBe('{"model":"m", "stream":true,"n":1.0}')
    const onward = '{"type":"response.create","input":"x","previous_response_id":"r1"}'
    expect(text(requestOf(Buffer.from(onward), ["1", "2"]))).toBe('{"input":[1,2],"stream":true}')
  })
})
