import { describe, expect, it } from "vitest"
import { digestOf } from "../../src/dialect/Arguments.ts"

describe("digestOf", () => {
  it.each<readonly [string, unknown, unknown]>([
    ["a value and its text", { path: "a.txt", lines: [1, 2] }, '{"path":"a.txt","lines":[1,2]}'],
    ["another order and other space", '{ "a": 1,\n "b": {"d": null, "c": true} }', '{"b":{"c":true,"d":null},"a":1}'],
    ["another way to write a number or a letter", '{"n":1.0,"s":"\\u0061"}', '{"n":1,"s":"a"}'],
    ["no text and an empty object", "", {}],
    ["the same text that is no JSON", "ls -la", "ls -la"],
    ["text that is no JSON and a JSON string of it", "ls -la", '"ls -la"'],
    ["text that is JSON and a JSON string of it", '{"a":1}', JSON.stringify('{"a":1}')],
    ["no text and a JSON string of none", "", '""']
  ])("is the same for %s", (_, left, right) => {
    expect(digestOf(left)).toBe(digestOf(right))
  })

  it.each<readonly [string, unknown, unknown]>([
    ["another value", { a: 1 }, { a: 2 }],
    ["another name", { a: 1 }, { b: 1 }],
    ["another order in a list", [1, 2], [2, 1]],
    ["another nesting", [1, [2]], [[1], 2]],
    ["a number and its text", { a: 1 }, { a: "1" }],
    ["more", { a: 1 }, { a: 1, b: 1 }],
    ["text that is no JSON", "ls -la", "ls  -la"],
    ["JSON that was cut off", '{"a":1', '{"a":1}'],
    ["a name that looks like two", { 'a":1,"b': 1 }, { a: 1, b: 1 }],
    ["null and nothing", null, ""]
  ])("tells apart %s", (_, left, right) => {
    expect(digestOf(left)).not.toBe(digestOf(right))
  })

  it("stands any depth and size, and holds nothing of what it was given", () => {
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`
    expect(digestOf(deep)).toHaveLength(44)
    expect(digestOf({ text: "secret".repeat(100_000) })).toHaveLength(44)
  })
  it("costs no time for text that is nested too deep to be parsed, and is the same for a JSON string of it", () => {
    const deep = `${"[".repeat(5_000_000)}${"]".repeat(5_000_000)}`
    const started = performance.now()
    const digest = digestOf(deep)
    // Parsing it takes seconds.
    expect(performance.now() - started).toBeLessThan(500)
    expect(digestOf(JSON.stringify(deep))).toBe(digest)
  })
})
