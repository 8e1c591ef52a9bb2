import { describe, expect, it } from "vitest"
import { type Member, Roster } from "../../src/upstream/Upstream.ts"

describe("a roster", () => {
  it("has who came and has not left, whatever the order in which they do", () => {
    const roster = new Roster<number>()
    const there = new Map<number, Member<number>>()
    let seed = 42
    const below = (limit: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff
      return (seed >>> 8) % limit
    }
    for (let i = 0; i < 5000; i++) {
      if (below(100) < (i < 2500 ? 55 : 45)) there.set(i, roster.add(i))
      else {
        const value = [...there.keys()][below(there.size)]
        if (value === undefined) continue
        there.get(value)!.leave()
        there.delete(value)
      }
      expect(roster.size).toBe(there.size)
      if (i % 50 === 0) expect([...roster].sort((a, b) => a - b)).toEqual([...there.keys()])
    }
  })

  it("lets nobody leave twice", () => {
    const roster = new Roster<string>()
    const one = roster.add("one")
    roster.add("two")
    one.leave()
    one.leave()
    expect([...roster]).toEqual(["two"])
  })

  it("goes through those who were there, though some leave and others come meanwhile", () => {
    const roster = new Roster<string>()
    const members = ["a", "b", "c"].map((value) => roster.add(value))
    const seen: Array<string> = []
    for (const value of roster) {
      seen.push(value)
      for (const member of members) member.leave()
      roster.add("d")
    }
    expect(seen).toEqual(["a", "b", "c"])
    expect([...roster]).toEqual(["d", "d", "d"])
  })

  it("is empty once all were taken off, who can leave no more", () => {
    const roster = new Roster<string>()
    const members = ["a", "b"].map((value) => roster.add(value))
    expect(roster.takeAll()).toEqual(members)
    expect(roster.size).toBe(0)
    const after = roster.add("c")
    for (const member of members) member.leave()
    expect([...roster]).toEqual(["c"])
    after.leave()
    expect(roster.size).toBe(0)
  })
})
