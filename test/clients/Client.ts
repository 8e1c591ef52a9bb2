import { spawn } from "node:child_process"
import { existsSync, renameSync, rmSync } from "node:fs"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Data, Effect, type Scope } from "effect"

/** A program from npm, at the version that this suite was written against. */
export interface ClientPackage {
  /** Names and exact versions. The first is the client, the others are what it needs beside it. */
  readonly packages: ReadonlyArray<readonly [name: string, version: string]>
  /** What starts it, below `node_modules`: a script or a native program. */
  readonly program: string
}

export const claudeCode: ClientPackage = {
  packages: [["@anthropic-ai/claude-code", "2.1.329"]],
  // Finds the native program of this platform; `bin/claude.exe` is put there by an install script, which is not run.
  program: "@anthropic-ai/claude-code/cli-wrapper.cjs"
}

export const codex: ClientPackage = {
  packages: [["@openai/codex", "0.169.0"]],
  program: "@openai/codex/bin/codex.js"
}

export const openCode: ClientPackage = {
  packages: [["opencode-ai", "1.18.33"]],
  // The package's own script has to be made by an install script first.
  program: `opencode-${process.platform}-${process.arch}${process.arch === "x64" ? "-baseline" : ""}/bin/opencode`
}

export const pi: ClientPackage = {
  packages: [["@mariozechner/pi-coding-agent", "0.73.1"]],
  program: "@mariozechner/pi-coding-agent/dist/cli.js"
}

export const qwenCode: ClientPackage = {
  packages: [["@qwen-code/qwen-code", "0.24.4"]],
  program: "@qwen-code/qwen-code/cli-entry.js"
}

/** Libraries, which have no program: `program` is one of their files. */
export const langChain: ClientPackage = {
  packages: [
    ["@langchain/openai", "1.6.0"],
    ["@langchain/anthropic", "1.5.11"],
    ["@langchain/core", "1.2.13"]
  ],
  program: "@langchain/openai/dist/index.js"
}

/** A client could not be installed. */
export class NotInstalled extends Data.TaggedError("NotInstalled")<{
  readonly client: string
  readonly detail: string
}> {
  override get message() {
    return `${this.client} cannot be installed: ${this.detail}`
  }
}

/** Kept between runs; git ignores it. */
const cache = fileURLToPath(new URL("../../.cache/", import.meta.url))

const progress = (line: string) => Effect.sync(() => process.stderr.write(`clients: ${line}\n`))

/**
 * Sees to it that a client is there, and says so while it takes its time. No install script is run.
 *
 * @returns the path of the program
 */
export const install = (wanted: ClientPackage): Effect.Effect<string, NotInstalled> =>
  Effect.gen(function* () {
    const [[name, version]] = wanted.packages as [readonly [string, string]]
    const folder = join(cache, `${name.replaceAll("/", "+")}@${version}`)
    const program = join(folder, "node_modules", wanted.program)
    if (existsSync(program)) return program
    yield* progress(`installing ${name} ${version} …`)
    const started = performance.now()
    const partial = `${folder}.partial`
    rmSync(partial, { recursive: true, force: true })
    yield* Effect.promise(() => mkdir(partial, { recursive: true }))
    const result = yield* run({
      command: "npm",
      args: [
        "install",
        "--prefix",
        partial,
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--loglevel=error",
        ...wanted.packages.map((one) => one.join("@"))
      ],
      cwd: partial,
      env: process.env as { readonly [name: string]: string },
      timeout: 600_000
    }).pipe(Effect.scoped)
    if (result.code !== 0) return yield* new NotInstalled({ client: name, detail: result.stderr })
    // Only a whole installation has its name: one that was broken off is begun anew.
    renameSync(partial, folder)
    if (!existsSync(program)) return yield* new NotInstalled({ client: name, detail: `there is no ${wanted.program}` })
    yield* progress(`installed ${name} ${version} in ${Math.round((performance.now() - started) / 1000)} s`)
    return program
  })

export interface RunOptions {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly cwd: string
  /** The whole environment: nothing of this process's comes in. */
  readonly env: { readonly [name: string]: string }
  /** Milliseconds until it is killed. */
  readonly timeout: number
}

export interface RunResult {
  /** `null` where it was killed. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly milliseconds: number
  /** Both outputs, for the messages of assertions. */
  readonly output: string
}

/** Runs a program in a process group of its own, and kills that whole group at the end, in time or not. */
export const run = (options: RunOptions): Effect.Effect<RunResult, never, Scope.Scope> =>
  Effect.gen(function* () {
    const started = performance.now()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(options.command, options.args, {
          cwd: options.cwd,
          env: options.env,
          detached: true,
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      ({ pid }) => Effect.sync(() => killGroup(pid))
    )
    return yield* Effect.callback<RunResult>((resume) => {
      let stdout = ""
      let stderr = ""
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        stdout += text
      })
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        stderr += text
      })
      const timer = killLater(child.pid, options.timeout)
      const end = (code: number | null) => {
        clearTimeout(timer)
        const milliseconds = Math.round(performance.now() - started)
        const output = `exit code ${code} after ${milliseconds} ms\n${stdout}\n${stderr}`
        resume(Effect.succeed({ code, stdout, stderr, milliseconds, output }))
      }
      child.on("error", (error) => {
        stderr += error.message
        end(null)
      })
      child.on("close", end)
    })
  })

const killLater = (pid: number | undefined, delay: number) => setTimeout(() => killGroup(pid), delay)

const killGroup = (pid: number | undefined): void => {
  if (pid === undefined) return
  try {
    process.kill(-pid, "SIGKILL")
  } catch {
    // Nothing of it is left.
  }
}
