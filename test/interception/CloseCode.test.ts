import { describe, expect, it } from "vitest"
import { carriedCode } from "../../src/interception/CloseCode.ts"

describe("a close code", () => {
  it("that may be sent is carried as it is", () => {
    for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999]) {
      expect(carriedCode(code, 1011)).toBe(code)
    }
  })

  it("that was not said means a normal end", () => {
    expect(carriedCode(1005, 1011)).toBe(1000)
  })

  it("that may not be sent is that of a connection which broke", () => {
    for (const code of [0, 999, 1004, 1006, 1015, 1016, 2999, 5000]) {
      expect([code, carriedCode(code, 1001), carriedCode(code, 1011)]).toEqual([code, 1001, 1011])
    }
  })
})
