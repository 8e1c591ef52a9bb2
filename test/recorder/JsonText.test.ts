import { describe, expect, it } from "vitest"
import { jsonTextOf, presented } from "../../src/recorder/JsonText.ts"

const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`

describe("jsonTextOf", () => {
  it("keeps JSON letter by letter and makes a JSON string of other text", () => {
    expect(jsonTextOf('{ "a" : 1.0 }')).toBe('{ "a" : 1.0 }')
    expect(jsonTextOf(nested(10_000))).toBe(nested(10_000))
    expect(jsonTextOf('{"a":')).toBe('"{\\"a\\":"')
    expect(jsonTextOf("")).toBe('""')
  })
})

describe("JSON that is nested too deep to be parsed", () => {
  it("is a JSON string, presented as the text it is, and costs no time", () => {
    const deep = nested(5_000_000)
    const started = performance.now()
    const text = jsonTextOf(deep)
    // Parsing it takes seconds.
    expect(performance.now() - started).toBeLessThan(500)
    expect(text).toBe(`"${deep}"`)
    expect(presented(text)).toBe(deep)
  })
})

describe("presented", () => {
  it("is the value of JSON, and the text of what is none", () => {
    expect(presented('{"a":[1]}')).toStrictEqual({ a: [1] })
    expect(presented(jsonTextOf("ls -la"))).toBe("ls -la")
    expect(presented("{")).toBe("{")
  })

  it("is the text of what is nested deeper than a hundred levels, whatever its strings hold", () => {
    expect(presented(nested(100))).toBeTypeOf("object")
    expect(presented(nested(101))).toBe(nested(101))
    expect(presented(`{"a":`.repeat(100_000))).toBeTypeOf("string")
    const brackets = `["${"[".repeat(500)}\\"${"{".repeat(500)}"]`
    expect(presented(brackets)).toStrictEqual(JSON.parse(brackets))
    expect(presented(`[${"[],".repeat(500)}1]`)).toHaveLength(501)
  })
  it.each(["1e400", "[-1e999]", '{"a":{"b":[1,-1e400]}}'])(
    "is the text of %s, in which a number is infinite",
    (text) => {
      expect(presented(text)).toBe(text)
    }
  )
})
