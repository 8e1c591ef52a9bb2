/** The measurements. Each takes the contenders, the floor first, and answers raw numbers. */
import type { Child } from "./Child.ts"
import type { Contender } from "./Contender.ts"
import type { Dialect } from "./Dialect.ts"
import type { RunInput, RunOutput, SampleInput, SampleOutput } from "./Load.ts"
import type { Options } from "./Options.ts"
import type { Holding, SelfTime } from "./Probe.ts"
import { median } from "./Table.ts"

/** A contender, and the process that stands for it. */
export interface Running {
  readonly contender: Contender
  readonly child: Child
}

export interface Field {
  readonly options: Options
  readonly dialect: Dialect
  readonly load: Child
  readonly upstream: Child
  readonly progress: (text: string) => void
}

/** One contender's CPU time per call, in microseconds, for each round. */
export interface CpuResult {
  readonly name: string
  readonly rounds: ReadonlyArray<number>
  /** HTTP chunks per answer: whoever puts several writes of the upstream into one of its own does less. */
  readonly chunks: number
  readonly callsPerSecond: number
  readonly profile: ReadonlyArray<SelfTime>
}

/** One contender's time to the first byte of the body: the median of each round, in milliseconds. */
export interface FirstByteResult {
  readonly name: string
  readonly rounds: ReadonlyArray<number>
  readonly p50: number
  readonly p99: number
  /** The same to the first byte of the head. */
  readonly headP50: number
}

/** What one contender holds with no stream, `count` idle ones, four times as many, and after they closed. */
export interface MemoryResult {
  readonly name: string
  readonly count: number
  readonly before: Holding
  readonly open: Holding
  readonly grown: Holding
  readonly after: Holding
  /** Upstream streams that were still open after all clients had gone. */
  readonly leftUpstream: number
}

const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

const clients = 16
const callsPerBlock = 250

/** Every contender is first once in a while, so that none always follows the same other one. */
const rotated = <A>(values: ReadonlyArray<A>, by: number): ReadonlyArray<A> =>
  values.map((_, i) => values[(i + by) % values.length]!)

const whole = (value: number) => value.toFixed(0)

/** Says whose call failed, and what the process had to say. */
const explain = (child: Child) => (error: Error) => {
  throw new Error(`${child.name}: ${error.message}\n${child.output}`)
}

/** CPU time per call: all contenders once per round, each with the same number of calls. */
export const measureCpu = async (
  { options, dialect, load, progress }: Field,
  field: ReadonlyArray<Running>,
  stream: boolean
): Promise<Array<CpuResult>> => {
  const what = `${dialect.name}: CPU per ${stream ? "stream" : "JSON call"}`
  const run = ({ contender, child }: Running, count: number): Promise<RunOutput> => {
    child.calls += count
    return load
      .ask<RunOutput>("run", {
        port: child.port,
        path: contender.base + dialect.path,
        body: stream ? dialect.asking.stream : dialect.asking.json,
        end: stream ? dialect.end : null,
        clients,
        count
      } satisfies RunInput)
      .catch(explain(child))
  }
  const results = field.map(({ contender }) => ({
    name: contender.name,
    rounds: [] as Array<number>,
    chunks: 0,
    callsPerSecond: 0,
    profile: [] as ReadonlyArray<SelfTime>
  }))
  for (const running of field) {
    progress(`${what}: warming up ${running.contender.name}`)
    await run(running, options.warmUp)
  }
  let bytes = -1
  // Small blocks in turn: what the machine's other work costs falls on all contenders alike.
  const blocks = Math.ceil(options.streams / callsPerBlock)
  const perBlock = Math.ceil(options.streams / blocks)
  const wall = results.map(() => 0)
  for (let round = 0; round < options.rounds; round++) {
    const spent = results.map(() => 0)
    for (let block = 0; block < blocks; block++) {
      for (const running of rotated(field, round + block)) {
        const index = field.indexOf(running)
        // Connections that fell idle meanwhile are opened again before the clock runs.
        await run(running, clients * 2)
        const before = await running.child.cpu()
        const output = await run(running, perBlock)
        // What is still done after the last answer belongs to the calls as well.
        await sleep(20)
        spent[index]! += (await running.child.cpu()) - before
        wall[index]! += output.milliseconds
        results[index]!.chunks = output.chunks
        if (bytes !== -1 && bytes !== output.bytes) {
          throw new Error(`${running.contender.name} delivered ${output.bytes} bytes where another delivered ${bytes}`)
        }
        bytes = output.bytes
      }
    }
    for (const [index, result] of results.entries()) result.rounds.push(spent[index]! / (blocks * perBlock))
    progress(
      `${what}: round ${round + 1} of ${options.rounds}: ${results.map(({ rounds }) => whole(rounds.at(-1)!)).join(", ")} µs`
    )
  }
  for (const [index, running] of field.entries()) {
    results[index]!.callsPerSecond = (options.rounds * blocks * perBlock * 1000) / wall[index]!
    if (options.profile > 0) {
      await running.child.ask("profile")
      await run(running, options.streams)
      results[index]!.profile = await running.child.ask("profiled", options.profile)
    }
  }
  return results
}

/** Time to first byte, one client, the contenders alternating in small blocks. */
export const measureFirstByte = async (
  { options, dialect, load, progress }: Field,
  field: ReadonlyArray<Running>
): Promise<Array<FirstByteResult>> => {
  const perBlock = 10
  const blocks = Math.max(options.rounds, Math.ceil(options.samples / perBlock))
  const samples = field.map(() => ({ head: [] as Array<number>, body: [] as Array<number> }))
  const rounds = field.map((): Array<number> => [])
  const sample = (running: Running, count: number) => {
    // The load generator makes one more call, which it does not count.
    running.child.calls += count + 1
    return load
      .ask<SampleOutput>("sample", {
        port: running.child.port,
        path: running.contender.base + dialect.path,
        body: dialect.asking.stream,
        end: dialect.end,
        count,
        pause: 2
      } satisfies SampleInput)
      .catch(explain(running.child))
  }
  const what = `${dialect.name}: time to first byte`
  progress(`${what}: warming up`)
  for (const running of field) await sample(running, 100)
  let roundStart = 0
  for (let block = 0; block < blocks; block++) {
    for (const running of rotated(field, block)) {
      const { head, body } = await sample(running, perBlock)
      const kept = samples[field.indexOf(running)]!
      kept.head.push(...head)
      kept.body.push(...body)
    }
    if (Math.floor(((block + 1) * options.rounds) / blocks) > Math.floor((block * options.rounds) / blocks)) {
      samples.forEach(({ body }, i) => {
        rounds[i]!.push(median(body.slice(roundStart * perBlock)))
      })
      roundStart = block + 1
      progress(`${what}: ${roundStart * perBlock} samples of each`)
    }
  }
  return field.map(({ contender }, i) => {
    const { head, body } = samples[i]!
    const sorted = [...body].sort((a, b) => a - b)
    return {
      name: contender.name,
      rounds: rounds[i]!,
      p50: median(body),
      p99: sorted[Math.floor(sorted.length * 0.99)]!,
      headP50: median(head)
    }
  })
}

/**
 * How many interceptions a gateway's management API counts, or why it could not say: a recorder that records nothing
 * would look fast.
 */
export const recorded = async (child: Child): Promise<number | string> => {
  try {
    const response = await fetch(`http://127.0.0.1:${child.port}/api/usage?by=model`)
    if (!response.ok) return `/api/usage answered ${response.status}`
    const { usage } = (await response.json()) as { usage: ReadonlyArray<{ interceptions: number }> }
    return usage.reduce((sum, { interceptions }) => sum + interceptions, 0)
  } catch (error) {
    return String(error)
  }
}

/**
 * Memory of a process of its own, which has served some thousand calls before anything is counted: what a process grows
 * to once, such as its young generation, is not what a stream costs.
 */
export const measureMemory = async (
  { dialect, load, upstream, progress }: Field,
  contender: Contender,
  count: number
): Promise<MemoryResult> => {
  const child = await contender.start()
  const { asking, end } = dialect
  const call = { port: child.port, path: contender.base + dialect.path, body: asking.stream, end }
  const hold = (streams: number) =>
    load.ask("hold", { ...call, body: asking.idle, count: streams }).catch(explain(child))
  const holding = async (): Promise<Holding> => {
    // The kernel's buffers, the garbage and the timers of the opening settle first.
    await sleep(700)
    return child.ask<Holding>("holding")
  }
  try {
    const what = `${dialect.name}: memory: ${contender.name}`
    progress(what)
    await load.ask("run", { ...call, clients, count: clients * 200 } satisfies RunInput).catch(explain(child))
    await hold(clients)
    await load.ask("release")
    const before = await holding()
    progress(`${what}, ${count} idle streams`)
    await hold(count)
    const open = await holding()
    progress(`${what}, ${count * 4} idle streams`)
    await hold(count * 3)
    const grown = await holding()
    await load.ask("release")
    await sleep(1000)
    const after = await holding()
    return {
      name: contender.name,
      count,
      before,
      open,
      grown,
      after,
      leftUpstream: await upstream.ask<number>("silent")
    }
  } finally {
    await load.ask("release")
    await child.end()
  }
}
