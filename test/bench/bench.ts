/**
 * The benchmark of DESIGN §9: what a gateway costs beside a bare `node:http` pipe, both measured in the same run.
 *
 * Every contender is a process of its own, started as a user would start it and pinned to one core; the upstream and
 * the clients share the others. Loopback only. `--help` tells the options.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { Child, findCores, fileOf, killAll, stepAside } from "./Child.ts"
import { type Contender, floor, type Ground, gateway, toolServer } from "./Contender.ts"
import { dialects } from "./Dialect.ts"
import {
  type Field,
  measureCpu,
  measureFirstByte,
  measureMemory,
  type MemoryResult,
  type Running,
  recorded
} from "./Measure.ts"
import { type Options, type Recording, readOptions, usage } from "./Options.ts"
import { measurePool, reportPool } from "./Pool.ts"
import { reportCpu, reportFirstByte, reportMemory, reportTools, type Target } from "./Report.ts"

const progress = (text: string) => process.stderr.write(process.stderr.isTTY ? `\r\x1b[2K${text}` : `${text}\n`)
const print = (text: string) => {
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[2K")
  process.stdout.write(`${text}\n\n`)
}

/** How many idle streams this system's file descriptors allow; the gateway needs two for each. */
const affordableIdle = (wanted: number): number => {
  try {
    const limit = execFileSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" }).trim()
    const fits = limit === "unlimited" ? wanted : Math.floor((Number(limit) - 200) / 8)
    if (fits < wanted) progress(`memory: ${fits} idle streams instead of ${wanted}, as ulimit -n is ${limit}`)
    return Math.max(1, Math.min(wanted, fits))
  } catch {
    return wanted
  }
}

const bench = async (options: Options, directory: string): Promise<object> => {
  const cores = findCores()
  stepAside(cores)
  if (options.pool) {
    const [gateway] = options.gateways
    const results = await measurePool({ cores, directory, gateway: gateway!, rounds: options.rounds, progress })
    print(reportPool(results))
    return { date: new Date().toISOString(), pool: results }
  }
  const helper = (file: string, ready: RegExp, ...args: ReadonlyArray<string>) =>
    Child.start({ name: file, command: process.execPath, args: [fileOf(file), ...args], core: cores?.others, ready })
  const upstream = await helper("Upstream.ts", /listening on \S+:(\d+)/, String(options.pace))
  const load = await helper("Load.ts", /ready/)
  const measured = dialects.filter(({ name }) => options.dialects.includes(name))
  const ground: Ground = { cores, directory, upstreamPort: upstream.port, dialects: measured }

  const tools = options.tools ? await toolServer(cores) : null
  const contenders = [
    floor(ground),
    ...options.gateways.flatMap((one) => options.recordings.map((recording) => gateway(ground, one, recording))),
    ...(tools === null ? [] : options.recordings.map((one) => gateway(ground, options.gateways[0]!, one, tools)))
  ]
  const target =
    (goals: Readonly<Record<Recording, number | null>>): Target =>
    (name) => {
      const contender = contenders.find((one) => one.name === name)
      const ours = name.startsWith("sluice,") && contender?.without === null
      return ours && contender?.recording != null ? goals[contender.recording] : null
    }

  const system = `Node ${process.version}, ${process.platform}, ${cpus()[0]?.model ?? "?"}`
  const pinned = cores === null ? "not pinned" : `gateway on core ${cores.gateway}, the rest on ${cores.others}`
  print(`${system}; ${pinned}`)
  const raw: Record<string, unknown> = { date: new Date().toISOString(), system, pinned, options: describe(options) }

  for (const dialect of measured) {
    raw[dialect.name] = await measure({ options, dialect, load, upstream, progress }, contenders, target)
  }
  return raw
}

/** Everything that was asked for, for one dialect; prints the tables and answers the raw numbers. */
const measure = async (
  field: Field,
  contenders: ReadonlyArray<Contender>,
  target: (goals: Readonly<Record<Recording, number | null>>) => Target
): Promise<object> => {
  const { options, dialect } = field
  const raw: Record<string, unknown> = {}
  if (["cpu", "json", "ttfb"].some((figure) => options.figures.has(figure as never))) {
    const running: Array<Running> = []
    for (const contender of contenders) running.push({ contender, child: await contender.start() })
    if (options.figures.has("cpu")) {
      const results = await measureCpu(field, running, true)
      raw["cpu"] = results
      const title =
        `${dialect.title}: CPU per stream, µs (100 pieces of text, four to a write, 16 clients), ` +
        "and over the pipe's in the same round"
      print(reportCpu(title, results, target({ none: 1.15, sqlite: 1.4 })))
      for (const { name, without } of contenders) if (without !== null) print(reportTools(results, name, without))
    }
    if (options.figures.has("json")) {
      const results = await measureCpu(field, running, false)
      raw["json"] = results
      const title = `${dialect.title}: CPU per JSON call, µs (16 clients), and over the pipe's in the same round`
      print(reportCpu(title, results, target({ none: null, sqlite: 2 })))
    }
    if (options.figures.has("ttfb")) {
      const results = await measureFirstByte(field, running)
      raw["firstByte"] = results
      const title = `${dialect.title}: time to the first byte of the body, one client, ms`
      print(reportFirstByte(title, results, target({ none: 0.35, sqlite: 0.7 })))
    }
    for (const { contender, child } of running) {
      if (contender.recording === "sqlite") {
        const found = await recorded(child)
        const shown = typeof found === "number" ? `${found} of ${child.calls} calls recorded` : `records: ${found}`
        print(`${found === child.calls ? "✓" : "✗"} ${contender.name}: ${shown}`)
      }
      await child.end()
    }
  }

  if (options.figures.has("memory")) {
    const results: Array<MemoryResult> = []
    const idle = affordableIdle(options.idle)
    for (const contender of contenders) results.push(await measureMemory(field, contender, idle))
    raw["memory"] = results
    print(reportMemory(`${dialect.title}: memory per idle open stream`, results, target({ none: 1.7, sqlite: 1.7 })))
  }
  return raw
}

const describe = (options: Options) => ({ ...options, figures: [...options.figures] })

const main = async (): Promise<void> => {
  const options = readOptions(process.argv.slice(2))
  if (options === null) {
    process.stdout.write(usage)
    return
  }
  const directory = mkdtempSync(join(tmpdir(), "sluice-bench-"))
  const leave = (code: number): never => {
    killAll()
    rmSync(directory, { recursive: true, force: true })
    process.exit(code)
  }
  process.once("SIGINT", () => leave(130))
  process.once("SIGTERM", () => leave(143))
  setTimeout(() => {
    process.stderr.write(`\ngiving up after ${options.limit / 1000} s\n`)
    leave(1)
  }, options.limit).unref()
  try {
    const raw = await bench(options, directory)
    if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(raw, null, 2)}\n`)
    leave(0)
  } catch (error) {
    process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`)
    leave(1)
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`)
  process.exitCode = 2
})
