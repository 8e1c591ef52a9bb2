import { describe, expect, it } from "vitest"
import { storeOf } from "../../src/config/Store.ts"

describe("storeOf", () => {
  it("reads the two kinds of store there are", () => {
    expect(storeOf("memory:")).toEqual({ kind: "memory" })
    expect(storeOf("sqlite:./a b.db")).toEqual({ kind: "sqlite", path: "./a b.db" })
    expect(storeOf("sqlite:/var/lib/sluice.db")).toEqual({ kind: "sqlite", path: "/var/lib/sluice.db" })
  })
  it.each(["", "sluice.db", "sqlite:", "sqlite::memory:", "sqlite://x", "postgres://x", "memory", "memory:x"])(
    "takes %j for nothing",
    (url) => expect(storeOf(url)).toBeUndefined()
  )
})
