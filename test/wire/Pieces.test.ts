import { describe, expect, it } from "vitest"
import { inOnePiece } from "../../src/wire/Pieces.ts"

describe("inOnePiece", () => {
  it("joins small buffers", () => {
    const pieces = inOnePiece([Buffer.from("ab"), Buffer.from("c"), Buffer.alloc(0), Buffer.from("d")])
    expect(pieces).toEqual([Buffer.from("abcd")])
  })

  it("leaves large ones, and one alone, as they are", () => {
    const large = [Buffer.alloc(40_000, 1), Buffer.alloc(40_000, 2)]
    expect(inOnePiece(large)).toBe(large)
    const one = [Buffer.from("x")]
    expect(inOnePiece(one)[0]).toBe(one[0])
    expect(inOnePiece([])).toEqual([])
  })
})
