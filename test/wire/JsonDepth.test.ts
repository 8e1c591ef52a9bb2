import { describe, expect, it } from "vitest"
import { isDeeperThan } from "../../src/wire/JsonDepth.ts"

const arrays = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`
const objects = (depth: number) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`

describe("the depth of a JSON text", () => {
  it.each([arrays, objects])("is counted in levels", (nested) => {
    for (const levels of [1, 2, 100, 10_000]) {
      expect(isDeeperThan(nested(levels), levels)).toBe(false)
      expect(isDeeperThan(nested(levels + 1), levels)).toBe(true)
      expect(isDeeperThan(`{"a":"x","b":[${nested(levels)}]}`, levels + 1)).toBe(true)
    }
  })

  it("is not that of what stands side by side", () => {
    expect(isDeeperThan(`[${"[],{},".repeat(500)}1]`, 2)).toBe(false)
    expect(isDeeperThan(`[${"[],{},".repeat(500)}[[]]]`, 2)).toBe(true)
  })

  it("is not that of brackets in strings, however these end", () => {
    const inside = JSON.stringify(`\\"[{\\\\"[{${"[".repeat(500)}\\`)
    expect(isDeeperThan(`[${inside},${inside}]`, 1)).toBe(false)
    expect(isDeeperThan(`[${inside},[${inside}]]`, 1)).toBe(true)
  })

  it("ends where a text is no JSON", () => {
    expect(isDeeperThan("[".repeat(1000), 10)).toBe(true)
    expect(isDeeperThan("]".repeat(1000), 10)).toBe(false)
    expect(isDeeperThan(`["${"[".repeat(1000)}`, 10)).toBe(false)
  })
})
