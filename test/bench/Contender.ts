/** Who is compared: the floor, Sluice without and with its recorder, and other gateways named on the command line. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Child, type Cores, fileOf } from "./Child.ts"
import type { Dialect } from "./Dialect.ts"
import type { Recording } from "./Options.ts"

export interface Contender {
  readonly name: string
  /** Null for the floor. */
  readonly recording: Recording | null
  /** What the paths of the dialects are appended to. */
  readonly base: string
  readonly start: () => Promise<Child>
}

/** A gateway's command; the arguments of `serve` are appended to it. */
export interface Gateway {
  readonly name: string
  readonly command: ReadonlyArray<string>
}

/** What every contender is started with. */
export interface Ground {
  readonly cores: Cores | null
  /** A directory of this run, removed at its end. */
  readonly directory: string
  readonly upstreamPort: number
  /** What the provider is to speak. */
  readonly dialects: ReadonlyArray<Dialect>
}

const listening = /listening on http:\/\/[^:\s]+:(\d+)/

export const floor = (ground: Ground): Contender => ({
  name: "bare pipe",
  recording: null,
  base: "/v1",
  start: () =>
    Child.start({
      name: "bare pipe",
      command: process.execPath,
      args: [fileOf("Floor.ts"), String(ground.upstreamPort)],
      core: ground.cores?.gateway,
      ready: listening
    })
})

let directories = 0

export const gateway = (ground: Ground, { name, command }: Gateway, recording: Recording): Contender => {
  const title = recording === "none" ? `${name}, no recorder` : `${name}, SQLite`
  return {
    name: title,
    recording,
    base: "/up/v1",
    start: () => {
      // A new directory each time: every process begins with an empty store.
      const directory = join(ground.directory, String(++directories))
      mkdirSync(directory)
      const config = join(directory, "sluice.yaml")
      const dialects = ground.dialects.map(({ configName }) => configName).join(", ")
      const url = recording === "none" ? "none:" : `sqlite:${join(directory, "records.db")}`
      writeFileSync(
        config,
        `recorder: { url: ${JSON.stringify(url)}, spool: ${JSON.stringify(join(directory, "spool"))} }\n` +
          "providers:\n" +
          `  up: { type: openai-compatible, base_url: "http://127.0.0.1:${ground.upstreamPort}/v1", ` +
          `api_key: "bench", dialects: [${dialects}] }\n`
      )
      const [file = "", ...args] = command
      return Child.start({
        name: title,
        command: file,
        args: [...args, "serve", "--config", config, "--port", "0"],
        core: ground.cores?.gateway,
        ready: listening
      })
    }
  }
}
