/** The figures as tables, with the ratios to the floor and what DESIGN §9 wants to reach. */
import type { CpuResult, FirstByteResult, MemoryResult } from "./Measure.ts"
import { median, table } from "./Table.ts"

const times = (ratio: number) => `${ratio.toFixed(2)}×`
const perRound = (rounds: ReadonlyArray<unknown>) => rounds.map((_, i) => `round ${i + 1}`)

/** What a contender should reach; the floor and other gateways have no target. */
export type Target = (name: string) => number | null

const verdict = (value: number, target: number | null, shown: string) =>
  target === null ? "" : `${value <= target ? "✓" : "✗"} ${shown}`

/** Median over the rounds of a contender's ratio to the floor in the same round. */
export const ratioToFloor = (rounds: ReadonlyArray<number>, floor: ReadonlyArray<number>): number =>
  median(rounds.map((value, i) => value / floor[i]!))

/** What tools that no model calls cost: issue 4 of Sluice wants 10 % at most. */
export const reportTools = (results: ReadonlyArray<CpuResult>, name: string, without: string): string => {
  const rounds = (of: string) => results.find((result) => result.name === of)!.rounds
  const ratio = ratioToFloor(rounds(name), rounds(without))
  return `${name}: ${times(ratio)} of ${without}, median over rounds ${verdict(ratio, 1.1, "≤ 1.10×")}`
}

export const reportCpu = (title: string, results: ReadonlyArray<CpuResult>, target: Target): string => {
  const floor = results[0]!.rounds
  const rows = results.map(({ name, rounds, chunks, callsPerSecond }, index) => {
    const ratio = ratioToFloor(rounds, floor)
    const wanted = target(name)
    return [
      name,
      ...rounds.map((value, i) => `${value.toFixed(0)} ${index === 0 ? "     " : times(value / floor[i]!)}`),
      median(rounds).toFixed(0),
      times(ratio),
      verdict(ratio, wanted, `≤ ${wanted}×`),
      chunks.toFixed(1),
      callsPerSecond.toFixed(0)
    ]
  })
  const head = ["", ...perRound(floor), "median", "ratio", "reach", "chunks", "calls/s"]
  const profiles = results
    .filter(({ profile }) => profile.length > 0)
    .map(({ name, profile }) =>
      [
        `\n${name}: self time`,
        ...profile.map((line) => `  ${(line.share * 100).toFixed(1).padStart(5)} %  ${line.name}`)
      ].join("\n")
    )
  return [title, table([head, ...rows]), ...profiles].join("\n")
}

export const reportFirstByte = (title: string, results: ReadonlyArray<FirstByteResult>, target: Target): string => {
  const floor = results[0]!
  const rows = results.map((result, index) => {
    const added = result.p50 - floor.p50
    const wanted = target(result.name)
    const plus = (value: number, base: number) =>
      index === 0 ? "" : `${value < base ? "" : "+"}${(value - base).toFixed(3)}`
    return [
      result.name,
      ...result.rounds.map((value, i) =>
        index === 0 ? value.toFixed(3) : `${value.toFixed(3)} ${plus(value, floor.rounds[i]!)}`
      ),
      result.p50.toFixed(3),
      plus(result.p50, floor.p50),
      verdict(added, wanted, `≤ ${wanted} ms`),
      result.p99.toFixed(3),
      plus(result.headP50, floor.headP50)
    ]
  })
  const head = ["", ...perRound(floor.rounds), "p50", "added", "reach", "p99", "head added"]
  return [title, table([head, ...rows])].join("\n")
}

/** Resident memory per idle stream, in bytes. */
export const perStream = (result: MemoryResult): number => (result.open.rss - result.before.rss) / result.count

export const reportMemory = (subject: string, results: ReadonlyArray<MemoryResult>, target: Target): string => {
  const floor = perStream(results[0]!)
  const kilobytes = (bytes: number) => (bytes / 1000).toFixed(1)
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0)
  const rows = results.map((result) => {
    const { name, count, before, open, grown, after, leftUpstream } = result
    const small = perStream(result)
    const large = (grown.rss - before.rss) / (count * 4)
    const wanted = target(name)
    return [
      name,
      kilobytes(small),
      times(small / floor),
      verdict(small / floor, wanted, `≤ ${wanted}×`),
      kilobytes(large),
      times(large / small),
      kilobytes((open.heap - before.heap) / count),
      String(grown.timers - before.timers),
      `${megabytes(before.rss)} → ${megabytes(grown.rss)} → ${megabytes(after.rss)}`,
      `${megabytes(before.heap)} → ${megabytes(after.heap)}`,
      `${before.sockets} → ${after.sockets}`,
      String(leftUpstream)
    ]
  })
  const { count } = results[0]!
  const head = [
    "",
    "KB/stream",
    "ratio",
    "reach",
    `at ${count * 4}`,
    "growth",
    "heap KB",
    "timers",
    "RSS MB, then closed",
    "heap MB",
    "sockets",
    "left"
  ]
  return [`${subject}, ${count} streams, then ${count * 4}`, table([head, ...rows])].join("\n")
}
