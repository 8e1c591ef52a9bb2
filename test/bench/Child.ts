/** Child processes: started, pinned to cores, asked, measured from outside, and ended whatever happens. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Asker } from "./Ask.ts"

/** Which cores the gateway gets, and which everybody else. Null where processes are not pinned. */
export interface Cores {
  readonly gateway: string
  readonly others: string
}

/** One core for the gateway and the rest for the load, if this system has `taskset` and two cores. */
export const findCores = (): Cores | null => {
  if (process.platform !== "linux" || spawnSync("taskset", ["--version"]).status !== 0) return null
  const list = /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? ""
  const cores = list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number)
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
  })
  if (cores.length < 2) return null
  return { gateway: String(cores[0]), others: cores.slice(1).join(",") }
}

/** Moves this process, and the children it will start, away from the gateway's core. */
export const stepAside = (cores: Cores | null): void => {
  if (cores !== null) execFileSync("taskset", ["-a", "-c", "-p", cores.others, String(process.pid)])
}

const children = new Set<Child>()

const signalGroup = (child: ChildProcess, signal: NodeJS.Signals): void => {
  try {
    // The whole group: a command may have started processes of its own.
    process.kill(-child.pid!, signal)
  } catch {
    // It has ended.
  }
}

/** Kills what is left, at once. For the way out. */
export const killAll = (): void => {
  for (const child of children) child.kill()
}

/** What to start, and where. */
export interface Start {
  readonly name: string
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly core: string | undefined
  /** The line that says the process is ready; its first group is the port, if there is one. */
  readonly ready: RegExp
  readonly env?: Readonly<Record<string, string>>
}

/** Durations, in milliseconds. */
const startTimeout = 20_000
const endTimeout = 5_000

export class Child {
  readonly name: string
  port = 0
  /** How many calls it has served. */
  calls = 0
  private readonly process: ChildProcess
  private readonly asker: Asker
  /** The last of what it printed: it explains a failure. */
  output = ""
  private readonly closed: Promise<void>

  private constructor(start: Start) {
    this.name = start.name
    const [command, args] =
      start.core === undefined
        ? [start.command, start.args]
        : ["taskset", ["-c", start.core, start.command, ...start.args]]
    this.process = spawn(command, args, {
      detached: true,
      env: environment(start.env),
      stdio: ["ignore", "pipe", "pipe", "ipc"]
    })
    this.asker = new Asker((question) => {
      if (this.process.connected) this.process.send(question)
    })
    this.process.on("message", (reply) => this.asker.receive(reply as never))
    this.closed = new Promise((resolve) => {
      const end = (reason: string) => {
        children.delete(this)
        this.asker.end(`${this.name} ${reason}\n${this.output}`)
        resolve()
      }
      this.process.once("error", (error) => end(`could not start: ${error.message}`))
      this.process.once("close", (code, signal) => end(`ended (${signal ?? code})`))
    })
    children.add(this)
  }

  /** Starts a process and waits until it says that it is ready. */
  static async start(start: Start): Promise<Child> {
    const child = new Child(start)
    let timer: NodeJS.Timeout | undefined
    const ready = new Promise<RegExpExecArray>((resolve) => {
      const read = (bytes: Buffer) => {
        child.output = (child.output + bytes.toString()).slice(-4096)
        const match = start.ready.exec(child.output)
        if (match !== null) resolve(match)
      }
      child.process.stdout!.on("data", read)
      child.process.stderr!.on("data", read)
    })
    const late = new Promise<never>((_, reject) => {
      const fail = (reason: string) => reject(new Error(`${start.name} ${reason}\n${child.output}`))
      timer = setTimeout(() => fail(`was not ready within ${startTimeout} ms`), startTimeout)
      child.closed.then(() => fail("ended before it was ready"))
    })
    try {
      child.port = Number((await Promise.race([ready, late]))[1] ?? 0)
      return child
    } catch (error) {
      child.kill()
      throw error
    } finally {
      clearTimeout(timer)
      late.catch(() => {})
    }
  }

  ask<Out>(name: string, input: unknown = null, timeout = 60_000): Promise<Out> {
    return this.asker.ask(name, input, timeout)
  }

  /** CPU time of the process so far, all its threads, in microseconds. */
  async cpu(): Promise<number> {
    return cpuOfThreads(this.process.pid!) ?? cpuOfProcess(this.process.pid!) ?? (await this.ask<number>("cpu"))
  }

  /** Asks the process to end, as a service manager does, and makes it. */
  async end(): Promise<void> {
    signalGroup(this.process, "SIGTERM")
    const timer = setTimeout(() => this.kill(), endTimeout)
    await this.closed
    clearTimeout(timer)
  }

  kill(): void {
    if (this.process.pid !== undefined) signalGroup(this.process, "SIGKILL")
  }
}

/** Linux: the scheduler's own account, in nanoseconds. */
const cpuOfThreads = (pid: number): number | undefined => {
  try {
    let sum = 0
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")[0])
    }
    return sum > 0 ? sum / 1000 : undefined
  } catch {
    return undefined
  }
}

/** Linux without that account: user and system time in ticks of 10 ms (proc_pid_stat(5)). */
const cpuOfProcess = (pid: number): number | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return (Number(fields[11]) + Number(fields[12])) * 10_000
  } catch {
    return undefined
  }
}

const probe = new URL("./Probe.ts", import.meta.url).href

/** This process's environment without what would lead a gateway astray, and with the probe. */
const environment = (extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv => {
  const env: NodeJS.ProcessEnv = { ...process.env, ...extra }
  for (const name of Object.keys(env)) {
    if (/^(sluice_|https?_proxy$|all_proxy$|no_proxy$)/i.test(name)) delete env[name]
  }
  env["NODE_OPTIONS"] = `--expose-gc --disable-warning=ExperimentalWarning --import=${probe}`
  return env
}

/** The path of a file of the benchmark. */
export const fileOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
