import { describe, expect, it } from "vitest"
import { Lanes } from "../../src/interception/Lanes.ts"

const limits = { running: 3, lanes: 4, queued: 5 }

describe("the lanes of a connection", () => {
  it("run requests of one lane one after the other, in their order", () => {
    const lanes = new Lanes<string>(limits)
    expect(lanes.offer("a", "a1")).toBe("start")
    expect(lanes.offer("a", "a2")).toBe("wait")
    expect(lanes.offer("a", "a3")).toBe("wait")
    expect(lanes.over("a")).toEqual(["a2"])
    expect(lanes.over("a")).toEqual(["a3"])
    expect(lanes.over("a")).toEqual([])
    expect(lanes.offer("a", "a4")).toBe("start")
  })

  it("run different lanes at once, the one without a name among them, up to the limit", () => {
    const lanes = new Lanes<string>(limits)
    expect(lanes.offer(null, "1")).toBe("start")
    expect(lanes.offer("a", "2")).toBe("start")
    expect(lanes.offer("b", "3")).toBe("start")
    expect(lanes.offer("c", "4")).toBe("wait")
    expect(lanes.running).toBe(3)
    expect(lanes.over("b")).toEqual(["4"])
  })

  it("start the oldest that may when one is over, never two of a lane, and never a younger one of a lane first", () => {
    const lanes = new Lanes<string>(limits)
    for (const lane of ["a", "b", "c"]) lanes.offer(lane, `${lane}1`)
    expect(lanes.offer("a", "a2")).toBe("wait")
    expect(lanes.offer("d", "d1")).toBe("wait")
    expect(lanes.offer("d", "d2")).toBe("wait")
    expect(lanes.over("b")).toEqual(["d1"])
    expect(lanes.over("c")).toEqual([])
    expect(lanes.over("a")).toEqual(["a2"])
    expect(lanes.over("d")).toEqual(["d2"])
    expect(lanes.queued).toBe(0)
  })

  it("refuse a lane too many, however long ago the others were used, and a request too many", () => {
    const lanes = new Lanes<string>(limits)
    for (const lane of ["a", "b", "c", "d"]) {
      expect(lanes.offer(lane, lane)).toBe(lane === "d" ? "wait" : "start")
    }
    for (const lane of ["a", "b", "c"]) lanes.over(lane)
    lanes.over("d")
    expect(lanes.offer("e", "e")).toBe("too-many-lanes")
    expect(lanes.offer(null, "n")).toBe("start")
    for (let i = 0; i < limits.queued; i++) expect(lanes.offer(null, `n${i}`)).toBe("wait")
    expect(lanes.offer(null, "too many")).toBe("too-many-waiting")
    expect(lanes.offer("a", "a")).toBe("start")
    expect(lanes.drop()).toHaveLength(limits.queued)
    expect(lanes.over(null)).toEqual([])
  })

  it("do not count a lane whose first request was not taken", () => {
    const lanes = new Lanes<string>({ running: 1, lanes: 1, queued: 1 })
    lanes.offer(null, "1")
    lanes.offer(null, "2")
    expect(lanes.offer("a", "3")).toBe("too-many-waiting")
    lanes.over(null)
    lanes.over(null)
    expect(lanes.offer("b", "4")).toBe("start")
  })

  it("agree with a simple model over random requests", () => {
    let seed = 7
    const random = (below: number) => {
      seed = (seed * 48271) % 2147483647
      return seed % below
    }
    for (let round = 0; round < 200; round++) {
      const lanes = new Lanes<{ lane: string | null; n: number }>(limits)
      const running = new Map<string | null, number>()
      const waiting: Array<{ lane: string | null; n: number }> = []
      for (let n = 0; n < 60; n++) {
        if (random(3) > 0 || running.size === 0) {
          const lane = random(5) === 0 ? null : "abcd"[random(4)]!
          const verdict = lanes.offer(lane, { lane, n })
          const behind = waiting.some((one) => one.lane === lane)
          if (verdict === "start") {
            expect(running.has(lane) || behind || running.size >= limits.running).toBe(false)
            running.set(lane, n)
          } else if (verdict === "wait") {
            expect(running.has(lane) || behind || running.size >= limits.running).toBe(true)
            waiting.push({ lane, n })
          } else expect(waiting.length).toBe(limits.queued)
        } else {
          const lane = [...running.keys()][random(running.size)]!
          const last = running.get(lane)!
          running.delete(lane)
          for (const started of lanes.over(lane)) {
            expect(running.has(started.lane)).toBe(false)
            if (started.lane === lane) expect(started.n).toBeGreaterThan(last)
            expect(waiting.find((one) => one.lane === started.lane)).toEqual(started)
            waiting.splice(waiting.indexOf(waiting.find((one) => one.n === started.n)!), 1)
            running.set(started.lane, started.n)
          }
          expect(running.size).toBe(lanes.running)
          expect(waiting.length).toBe(lanes.queued)
          // Nothing waits that could run.
          if (running.size < limits.running) for (const one of waiting) expect(running.has(one.lane)).toBe(true)
        }
      }
    }
  })
})
