import { describe, expect, it } from "vitest"
import { inputSchemaText } from "../../src/tools/ToolSchema.ts"

describe("the schema of a tool", () => {
  it.each([
    '{"$schema":"http://json-schema.org/draft-07/schema#","required":["b","a"],"type":"object","properties":{"b":{},"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"type":"string"}},"x-own":null}',
    '{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"a":{"type":"array","prefixItems":[{"type":"number"}],"items":false}},"unevaluatedProperties":false}',
    '{"type":"object","properties":{"a":{"anyOf":[{"type":["string","null"],"format":"no-such-format"}]}},"additionalProperties":{}}'
  ])("is what the server sent: %s", (schema) => {
    expect(inputSchemaText(JSON.parse(schema))).toBe(schema)
  })

  it.each([
    [undefined, '{"type":"object","properties":{}}'],
    [null, '{"type":"object","properties":{}}'],
    [{}, '{"type":"object","properties":{}}'],
    [{ type: "object" }, '{"type":"object","properties":{}}'],
    [{ description: "d", properties: { a: true } }, '{"type":"object","description":"d","properties":{"a":true}}'],
    [{ required: ["a"], type: "object" }, '{"required":["a"],"type":"object","properties":{}}'],
    [{ type: ["null", "object"], oneOf: [{}] }, '{"type":"object","oneOf":[{}],"properties":{}}']
  ])("is made one of an object: %j", (schema, text) => {
    expect(inputSchemaText(schema)).toBe(text)
  })

  const deep: Array<unknown> = []
  let inner = deep
  for (let depth = 0; depth < 100_000; depth++) {
    const next: Array<unknown> = []
    inner.push(next)
    inner = next
  }
  it.each([
    ["a list", []],
    ["text", "object"],
    ["true", true],
    ["of a string", { type: "string" }],
    ["of no known type", { type: "objekt" }],
    ["with properties that are a list", { type: "object", properties: [] }],
    ["with a property that is text", { type: "object", properties: { a: "string" } }],
    ["with a wrong type inside", { type: "object", properties: { a: { items: { type: "strin" } } } }],
    ["with `required` of draft 3", { type: "object", properties: { a: { required: true } } }],
    ["nested too deeply", { type: "object", properties: {}, default: deep }]
  ])("cannot be used where it is %s", (_, schema) => {
    expect(inputSchemaText(schema)).toHaveProperty("problem", expect.stringMatching(/^its schema/))
  })
})
