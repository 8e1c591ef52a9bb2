import { spawn } from "node:child_process"
import { existsSync, renameSync, rmSync } from "node:fs"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Data, Effect, type Scope } from "effect"

/** A program from npm, at the version that this suite was written against. */
export interface ClientPackage {
  /** What it is recorded as. */
  readonly client: string
  /** Names and exact versions. The first is the client, the others are what it needs beside it. */
  readonly packages: ReadonlyArray<readonly [name: string, version: string]>
  /** The script that starts it, below `node_modules`. */
  readonly script: string
}

export const claudeCode: ClientPackage = {
  client: "claude-code",
  packages: [["@anthropic-ai/claude-code", "2.1.329"]],
  // Finds the native program of this platform; `bin/claude.exe` is put there by an install script, which is not run.
  script: "@anthropic-ai/claude-code/cli-wrapper.cjs"
}

export const codex: ClientPackage = {
  client: "codex",
  packages: [["@openai/codex", "0.169.0"]],
  script: "@openai/codex/bin/codex.js"
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
 * @returns the path of the script that starts it
 */
export const install = (wanted: ClientPackage): Effect.Effect<string, NotInstalled> =>
  Effect.gen(function* () {
    const [[name, version]] = wanted.packages as [readonly [string, string]]
    const folder = join(cache, `${name.replaceAll("/", "+")}@${version}`)
    const script = join(folder, "node_modules", wanted.script)
    if (existsSync(script)) return script
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
    yield* progress(`installed ${name} ${version} in ${Math.round((performance.now() - started) / 1000)} s`)
    return script
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
      const timer = setTimeout(() => killGroup(child.pid), options.timeout)
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

const killGroup = (pid: number | undefined): void => {
  if (pid === undefined) return
  try {
    process.kill(-pid, "SIGKILL")
  } catch {
    // Nothing of it is left.
  }
}
