import { describe, expect, it } from "vitest"
import { toolNames } from "../../src/tools/ToolName.ts"

const nameOf = (server: string, tool: string) => toolNames([{ server, tool }])[0]

describe("the name of a tool", () => {
  it("says the server and the tool, in characters that every provider takes", () => {
    expect(nameOf("everything", "get-sum")).toBe("bmcp_everything_get-sum")
    expect(nameOf("my server", "a.b/c:ü")).toBe("bmcp_my_server_a_b_c__")
  })

  it("has at most 64 characters, and a long one stays its own", () => {
    const fits = "t".repeat(64 - "bmcp_s_".length)
    expect(nameOf("s", fits)).toBe(`bmcp_s_${fits}`)
    const long = [nameOf("s", `${fits}a`)!, nameOf("s", `${fits}b`)!, nameOf("s".repeat(80), "a")!]
    for (const name of long) expect(name).toMatch(/^[a-zA-Z0-9_-]{55}_[0-9a-f]{8}$/)
    expect(new Set(long).size).toBe(3)
    expect(nameOf("s", `${fits}a`)).toBe(long[0])
  })

  it("is told apart from one that would be the same, whatever their order", () => {
    const tools = [
      { server: "a", tool: "b_c" },
      { server: "a_b", tool: "c" },
      { server: "a", tool: "x.y" },
      { server: "a", tool: "x_y" },
      { server: "a", tool: "alone" }
    ]
    const names = toolNames(tools)
    expect(new Set(names).size).toBe(5)
    expect(names[0]).toMatch(/^bmcp_a_b_c_[0-9a-f]{8}$/)
    expect(names[4]).toBe("bmcp_a_alone")
    expect(toolNames(tools.toReversed())).toEqual(names.toReversed())
  })
})
