import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { readdirSync, readlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Data, Deferred, Effect, type Scope } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"

/** How a process ended: with a code, or by a signal. */
export interface ProcessExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A process that was started, and what it has printed. */
interface Started {
  readonly pid: number
  readonly stdout: () => string
  readonly stderr: () => string
  readonly kill: (signal: NodeJS.Signals) => void
  /** Waits for the end of the process and of its output. */
  readonly exit: Effect.Effect<ProcessExit>
}

export interface Gateway extends Started {
  /** `http://127.0.0.1:port`, without a slash behind it. */
  readonly url: string
  /** The working directory of the process; its database is `sluice.db` there, unless the config says otherwise. */
  readonly dir: string
  /** How many sockets the process has open now. Linux only. */
  readonly sockets: () => number
}

/** What the process is started with. */
export interface GatewayOptions {
  /** The config file: YAML text, or an object. Without one the process finds no file. */
  readonly config?: string | SluiceConfigInput
  /** Where it runs; a new temporary directory unless given. */
  readonly dir?: string
  /** Added to an environment that has nothing of this process's but `PATH`. */
  readonly env?: { readonly [name: string]: string }
  /** Arguments of Node, before the program. */
  readonly node?: ReadonlyArray<string>
}

/** The gateway ended, or said nothing, instead of listening. */
export class NotListening extends Data.TaggedError("NotListening")<{ readonly detail: string }> {
  override get message() {
    return `the gateway does not listen: ${this.detail}`
  }
}

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url))

const searchPath = process.env["PATH"]

/** The code that Node compiled, kept between processes: loading it is most of a start. */
const compileCache = join(tmpdir(), "sluice-test-compile-cache")

/** How long a start may take on a busy machine, in milliseconds. */
const startTimeout = 60_000

/** A directory that goes with the scope. */
export const temporaryDirectory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "sluice-e2e-"))),
  (dir) => Effect.promise(() => rm(dir, { recursive: true, force: true, maxRetries: 3 }))
)

const launch = (args: ReadonlyArray<string>, dir: string, options: GatewayOptions) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(
        process.execPath,
        ["--disable-warning=ExperimentalWarning", ...(options.node ?? []), main, ...args],
        {
          cwd: dir,
          env: { PATH: searchPath, NODE_COMPILE_CACHE: compileCache, ...options.env },
          stdio: ["ignore", "pipe", "pipe"]
        }
      )
      return started(child)
    }),
    ({ kill, exit }) =>
      Effect.suspend(() => {
        kill("SIGKILL")
        return exit
      })
  )

const started = (child: ChildProcess) => {
  const ended = Deferred.makeUnsafe<ProcessExit>()
  const listening = Deferred.makeUnsafe<string, NotListening>()
  let stdout = ""
  let stderr = ""
  const over = (detail: string) =>
    Deferred.doneUnsafe(listening, Effect.fail(new NotListening({ detail: `${detail}\n${stdout}${stderr}` })))
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    stdout += text
    const line = /^listening on (\S+)\n/m.exec(stdout)
    if (line !== null) Deferred.doneUnsafe(listening, Effect.succeed(line[1]!))
  })
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    stderr += text
  })
  child.on("error", (error) => {
    over(error.message)
    Deferred.doneUnsafe(ended, Effect.succeed({ code: null, signal: null }))
  })
  child.on("close", (code, signal) => {
    over(`it ended (${signal ?? code})`)
    Deferred.doneUnsafe(ended, Effect.succeed({ code, signal }))
  })
  return {
    pid: child.pid ?? 0,
    stdout: () => stdout,
    stderr: () => stderr,
    kill: (signal: NodeJS.Signals) => {
      child.kill(signal)
    },
    exit: Deferred.await(ended),
    listening: Deferred.await(listening).pipe(
      Effect.timeoutOrElse({
        duration: startTimeout,
        orElse: () => Effect.fail(new NotListening({ detail: `silence for ${startTimeout} ms\n${stdout}${stderr}` }))
      })
    )
  }
}

/**
 * Starts `sluice serve` as a process of its own on a free port and waits until it listens. Closing the scope kills it.
 * Real time and real sockets.
 */
const start = Effect.fnUntraced(function* (
  options: GatewayOptions = {}
): Effect.fn.Return<Gateway, NotListening, Scope.Scope> {
  const dir = options.dir ?? (yield* temporaryDirectory)
  const { config } = options
  if (config !== undefined) {
    // JSON is YAML.
    const text = typeof config === "string" ? config : JSON.stringify(config, null, 2)
    yield* Effect.promise(() => writeFile(join(dir, "sluice.yaml"), text))
  }
  const { listening, ...process } = yield* launch(["serve", "--port", "0"], dir, options)
  const url = yield* listening
  return { ...process, url, dir, sockets: () => socketsOf(process.pid) }
})

/** What a command printed and how it ended. */
export interface CommandResult extends ProcessExit {
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a command of `sluice` to its end.
 *
 * @param args behind the program's name
 */
const run = (args: ReadonlyArray<string>, options: GatewayOptions = {}): Effect.Effect<CommandResult> =>
  Effect.scoped(
    Effect.gen(function* () {
      const dir = options.dir ?? (yield* temporaryDirectory)
      const process = yield* launch(args, dir, options)
      const exit = yield* process.exit
      return { ...exit, stdout: process.stdout(), stderr: process.stderr() }
    })
  )

const socketsOf = (pid: number): number => {
  const folder = `/proc/${pid}/fd`
  return readdirSync(folder).filter((name) => {
    try {
      return readlinkSync(join(folder, name)).startsWith("socket:")
    } catch {
      // It was closed since the folder was read.
      return false
    }
  }).length
}

/** The real program in a process of its own. */
export const Gateway = { start, run }
