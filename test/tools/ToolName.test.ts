import { describe, expect, it } from "vitest"
import { toolNames } from "../../src/tools/ToolName.ts"

/** Two ends of a tool's name whose digests begin with the same eight digits. */
const collision = ["47551", "54177"]

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

  it("is its own whatever servers call their tools", () => {
    const named = (server: string, ...names: ReadonlyArray<string>) => names.map((tool) => ({ server, tool }))
    const [first, second] = toolNames(named("ev", "a b", "a.b"))
    // What the name of another will be can be known, and that of its own then, and so on.
    const posing = [first!, second!].map((name) => name.slice("bmcp_ev_".length))
    const again = toolNames(named("ev", "a b", "a.b", ...posing)).slice(2)
    const hostile = [
      named("ev", "a b", "a.b", ...posing),
      named("ev", "a b", "a.b", "a_b", ...posing, ...again.map((name) => name.slice("bmcp_ev_".length))),
      [...named("ev", "a b", "a.b"), ...named("ev_a", ...posing.map((name) => name.slice("a_".length)))],
      // Their digests begin with the same eight digits.
      named("s", `${"x".repeat(60)}${collision[0]}`, `${"x".repeat(60)}${collision[1]}`),
      named("s", "", " ", "\0", "_", "é", "__proto__", "constructor", "💣", "toString")
    ]
    for (const tools of hostile) {
      const names = toolNames(tools)
      expect(new Set(names).size).toBe(tools.length)
      for (const name of names) expect(name).toMatch(/^[a-zA-Z0-9_-]{1,64}$/)
      expect(toolNames(tools.toReversed())).toEqual(names.toReversed())
    }
    // A tool that poses as another does not change the other's name.
    expect(toolNames(hostile[0]!).slice(0, 2)).toEqual([first, second])
  })
})
