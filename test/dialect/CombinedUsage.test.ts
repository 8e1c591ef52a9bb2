import { describe, expect, it } from "vitest"
import { combinedUsage, type UsageMembers } from "../../src/dialect/CombinedUsage.ts"
import type { JsonObject } from "../../src/dialect/Json.ts"

const members: UsageMembers = {
  input: new Set(["input", "input_details"]),
  total: { key: "total", of: ["input", "output"] }
}

const first = {
  input: 10,
  output: 3,
  total: 13,
  input_details: { cached: 4, audio: 1 },
  output_details: { thought: 2 }
}
const second = { input: 20, output: 5, total: 25, input_details: { cached: 8 }, output_details: { thought: 1 } }

describe("the usage of several turns as one", () => {
  it("is nothing where no turn has any, and the object itself where one has", () => {
    expect(combinedUsage([], "sum", members)).toEqual({})
    expect(combinedUsage([first], "sum", members)).toBe(first)
    expect(combinedUsage([first], "context", members)).toBe(first)
  })

  it("adds every count, details too", () => {
    expect(combinedUsage([first, second, second], "sum", members)).toEqual({
      input: 50,
      output: 13,
      total: 63,
      input_details: { cached: 20, audio: 1 },
      output_details: { thought: 4 }
    })
  })

  it("as context has the input of the last turn, the output of all, and a total that is their sum", () => {
    expect(combinedUsage([first, second], "context", members)).toEqual({
      input: 20,
      output: 8,
      total: 28,
      input_details: { cached: 8 },
      output_details: { thought: 3 }
    })
  })

  it("as context leaves out an input count that the last turn has not, and a total that nobody knows", () => {
    expect(combinedUsage([first, { output: 1 }], "context", members)).toEqual({
      output: 4,
      output_details: { thought: 2 }
    })
  })

  it.each<[string, JsonObject, JsonObject, JsonObject]>([
    ["a text is the last one", { tier: "a" }, { tier: "b" }, { tier: "b" }],
    ["null says nothing of a count that is known", { output: 3 }, { output: null }, { output: 3 }],
    ["null stays where no turn has a count", { output: null }, { output: null }, { output: null }],
    ["a count that only an earlier turn has stays", { searches: 2 }, { output: 1 }, { output: 1, searches: 2 }],
    ["a list is the last one", { list: [1] }, { list: [2] }, { list: [2] }],
    ["what has changed its kind is the last one", { output: { a: 1 } }, { output: 2 }, { output: 2 }]
  ])("%s", (_name, earlier, later, expected) => {
    expect(combinedUsage([earlier, later], "sum", members)).toEqual(expected)
  })

  it("keeps the order of the last turn's members", () => {
    expect(Object.keys(combinedUsage([{ x: 1, total: 2, input: 1 }, second], "sum", members))).toEqual([
      "input",
      "output",
      "total",
      "input_details",
      "output_details",
      "x"
    ])
  })

  it.each(["sum", "context"] as const)("takes the names that every object knows for names: %s", (how) => {
    const named = JSON.parse('{"constructor":5,"toString":7,"__proto__":{"output":1,"total":3}}') as JsonObject
    const sum = '{"constructor":10,"toString":14,"__proto__":{"output":2,"total":6}}'
    expect(JSON.stringify(combinedUsage([named, named], how, members))).toBe(sum)
    const json = JSON.stringify(combinedUsage([named, { x: 1 }], how, members))
    expect(json).toBe(`{"x":1,"constructor":5,"toString":7,"__proto__":{"output":1,"total":3}}`)
    expect(combinedUsage([{ x: 1 }, named], how, members).total).toBeUndefined()
    expect(JSON.stringify(combinedUsage([{ x: 1 }, { constructor: 5 }], how, members))).toBe('{"constructor":5,"x":1}')
  })

  it("is not led into the depth", () => {
    const deep = JSON.parse(`${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`)
    expect(() => combinedUsage([deep, deep], "sum", members)).not.toThrow()
  })
})
