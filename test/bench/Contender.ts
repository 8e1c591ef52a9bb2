/** Who is compared: the floor, Sluice without and with its recorder, and other gateways named on the command line. */
import { mkdirSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Child, type Cores, fileOf } from "./Child.ts"
import type { Dialect } from "./Dialect.ts"
import type { Recording } from "./Options.ts"

export interface Contender {
  readonly name: string
  /** Null for the floor. */
  readonly recording: Recording | null
  /** The contender that this one is but for the tools it gives to models; null where it gives none. */
  readonly without: string | null
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
  without: null,
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

/** Starts the MCP reference server with its 13 tools, beside the upstream: its time is not the gateway's. */
export const toolServer = async (cores: Cores | null): Promise<string> => {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve))
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  await Child.start({
    name: "MCP server",
    command: process.execPath,
    args: [
      fileURLToPath(import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js")),
      "streamableHttp"
    ],
    core: cores?.others,
    ready: /listening on port/i,
    env: { PORT: String(port) }
  })
  return `http://127.0.0.1:${port}/mcp`
}

/** @param tools the MCP server whose tools models are given, none of which they call; `null` for none */
export const gateway = (
  ground: Ground,
  { name, command }: Gateway,
  recording: Recording,
  tools: string | null = null
): Contender => {
  const plain = recording === "none" ? `${name}, no recorder` : `${name}, SQLite`
  const title = tools === null ? plain : `${plain}, tools`
  return {
    name: title,
    recording,
    without: tools === null ? null : plain,
    base: "/up/v1",
    start: async () => {
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
          `api_key: "bench", dialects: [${dialects}] }\n` +
          (tools === null ? "" : `mcp: { servers: { everything: { url: "${tools}" } } }\n`)
      )
      const [file = "", ...args] = command
      const child = await Child.start({
        name: title,
        command: file,
        args: [...args, "serve", "--config", config, "--port", "0"],
        core: ground.cores?.gateway,
        ready: listening
      })
      if (tools !== null) await toolsListed(child)
      return child
    }
  }
}

/** Waits until the gateway has tools to give. */
const toolsListed = async (child: Child): Promise<void> => {
  for (let tries = 0; tries < 100; tries++) {
    const { mcp } = (await (await fetch(`http://127.0.0.1:${child.port}/readyz`)).json()) as Readiness
    if (mcp?.servers.some(({ tools }) => tools > 0)) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`${child.name} has no tools after ten seconds\n${child.output}`)
}

interface Readiness {
  readonly mcp?: { readonly servers: ReadonlyArray<{ readonly tools: number }> }
}
