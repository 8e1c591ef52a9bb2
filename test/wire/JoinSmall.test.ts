import { describe, expect, it } from "vitest"
import { joinSmall } from "../../src/wire/JoinSmall.ts"

describe("joinSmall", () => {
  it("joins small buffers", () => {
    const pieces = joinSmall([Buffer.from("ab"), Buffer.from("c"), Buffer.alloc(0), Buffer.from("d")])
    expect(pieces).toEqual([Buffer.from("abcd")])
  })

  it("leaves large ones, and one alone, as they are", () => {
    const large = [Buffer.alloc(40_000, 1), Buffer.alloc(40_000, 2)]
    expect(joinSmall(large)).toBe(large)
    const one = [Buffer.from("x")]
    expect(joinSmall(one)[0]).toBe(one[0])
    expect(joinSmall([])).toEqual([])
  })
})
