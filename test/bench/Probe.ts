/**
 * Loaded into every measured process with `--import`: answers what cannot be seen from outside. It costs nothing while
 * nobody asks, and every contender carries it.
 */
import { Session } from "node:inspector/promises"
import { fileURLToPath } from "node:url"
import { answer } from "./Ask.ts"

/** What a process holds after its garbage was collected. Bytes, and counts. */
export interface Holding {
  readonly rss: number
  /** JavaScript objects and what hangs on them outside the heap. */
  readonly heap: number
  readonly sockets: number
  readonly timers: number
}

/** Time a function spent in itself, as a share of the time not idle. */
export interface SelfTime {
  readonly name: string
  readonly share: number
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

answer("holding", async (): Promise<Holding> => {
  // Finalizers of the first collection free what the second one finds; the last also gives free pages back.
  for (let i = 0; i < 3; i++) {
    await globalThis.gc?.({ type: "major", execution: "async", flavor: "last-resort" })
    await turn()
  }
  const usage = process.memoryUsage()
  const resources = process.getActiveResourcesInfo()
  const count = (name: string) => resources.filter((resource) => resource === name).length
  return {
    rss: usage.rss,
    heap: usage.heapUsed + usage.external,
    sockets: count("TCPSocketWrap"),
    timers: count("Timeout")
  }
})

answer("cpu", () => {
  const usage = process.cpuUsage()
  return usage.user + usage.system
})

let session: Session | undefined

answer("profile", async () => {
  session = new Session()
  session.connect()
  await session.post("Profiler.enable")
  await session.post("Profiler.setSamplingInterval", { interval: 200 })
  await session.post("Profiler.start")
})

answer("profiled", async (top: number): Promise<Array<SelfTime>> => {
  const { profile } = await session!.post("Profiler.stop")
  session!.disconnect()
  const names = new Map<number, string>()
  for (const { id, callFrame } of profile.nodes) {
    const file = callFrame.url.startsWith("file:") ? fileURLToPath(callFrame.url) : callFrame.url
    const place = file.split("/").slice(-3).join("/")
    const name = callFrame.functionName || "(anonymous)"
    names.set(id, place === "" ? name : `${name} ${place}:${callFrame.lineNumber + 1}`)
  }
  const times = new Map<string, number>()
  let total = 0
  profile.samples?.forEach((id, index) => {
    const name = names.get(id) ?? "?"
    // Waiting, and the profiler itself, are not the gateway's work.
    if (name === "(idle)" || name.includes("node:inspector")) return
    const time = profile.timeDeltas?.[index] ?? 0
    total += time
    times.set(name, (times.get(name) ?? 0) + time)
  })
  return [...times]
    .sort((a, b) => b[1] - a[1])
    .slice(0, top)
    .map(([name, time]) => ({ name, share: time / total }))
})
