import { describe, expect, it } from "vitest"
import { ConnectionMemory } from "../../src/interception/ConnectionMemory.ts"

describe("the memory of a connection", () => {
  it("forgets the oldest response where it holds too much", () => {
    const memory = new ConnectionMemory(10)
    memory.remember("a", "r1", ["1234"])
    memory.remember("b", "r2", ["12", "34"])
    memory.remember("a", "r3", ["12"])
    memory.remember("c", "r4", ["1234"])
    expect(["r1", "r2", "r3", "r4"].map((id) => memory.find(id)?.length)).toEqual([undefined, 2, 1, 1])
    memory.remember("d", "r5", ["1"])
    expect(["r2", "r3", "r4", "r5"].map((id) => memory.find(id)?.length)).toEqual([undefined, 1, 1, 1])
  })

  it("keeps no response that is too large for it, and has room again behind what was evicted", () => {
    const memory = new ConnectionMemory(10)
    memory.remember("a", "r1", ["12345678901"])
    expect(memory.find("r1")).toBeNull()
    memory.remember("a", "r2", ["1234567890"])
    memory.evict("a", "r2")
    memory.remember("b", "r3", ["12345"])
    memory.remember("c", "r4", ["12345"])
    expect([memory.find("r3"), memory.find("r4")]).toEqual([["12345"], ["12345"]])
  })
})
