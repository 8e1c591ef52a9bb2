import { describe, expect, it } from "vitest"
import { addDecimals, CostSums } from "../../src/recorder/Decimal.ts"

describe("addDecimals", () => {
  it.each([
    ["0.1", "0.2", "0.3"],
    ["0.000000000000000001", "1000000000000", "1000000000000.000000000000000001"],
    ["1.50", "1.5", "3.00"],
    ["-1.5", "0.25", "-1.25"],
    ["-0.05", "0.01", "-0.04"],
    ["2", "3", "5"]
  ])("adds %s and %s exactly", (left, right, sum) => {
    expect(addDecimals(left, right)).toBe(sum)
  })
})

describe("CostSums", () => {
  it("has no sum where prices are in several currencies, nor where there are none", () => {
    const sums = new CostSums()
    sums.add("a", "1", "USD")
    sums.add("a", "1", "EUR")
    sums.add("a", "1", "EUR")
    sums.add("b", "1", "EUR")
    expect(sums.of("a")).toEqual({ cost: null, currency: null })
    expect(sums.of("b")).toEqual({ cost: "1", currency: "EUR" })
    expect(sums.of("c")).toEqual({ cost: null, currency: null })
  })
})
