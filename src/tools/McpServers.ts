import { Duration, Effect, Layer } from "effect"
import type { SluiceConfig } from "../config/Config.ts"
import { isDeeperThan } from "../wire/JsonDepth.ts"
import type { Arguments } from "./McpConnection.ts"
import type { McpError } from "./McpError.ts"
import type { McpServer } from "./McpServer.ts"
import { type InjectedTool, type ToolAnswer, ToolCatalog, listed, mostTools, selectionsOf } from "./ToolCatalog.ts"
import { failure, toolAnswer } from "./ToolContents.ts"
import { toolNames } from "./ToolName.ts"

/** How long starting waits for servers, so that the first call has their tools. */
const firstWait = Duration.seconds(2)

/** How deep arguments may be. What reads and writes them recurses. */
const deepestArguments = 500

const isObject = (value: unknown): value is Arguments =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The arguments that a model wrote, or what is wrong with them, for the model to read. */
const argumentsOf = (input: string): Arguments | string => {
  if (input.trim() === "") return {}
  if (isDeeperThan(input, deepestArguments)) {
    return `The arguments are nested too deep (more than ${deepestArguments} levels). The tool was not called.`
  }
  try {
    const value: unknown = JSON.parse(input)
    return isObject(value) ? value : "The arguments are not a JSON object. The tool was not called."
  } catch (error) {
    return `The arguments are not valid JSON (${(error as Error).message}). The tool was not called.`
  }
}

const sameTool = (a: InjectedTool, b: InjectedTool): boolean =>
  a.name === b.name && a.description === b.description && a.inputSchema === b.inputSchema && a.serverUrl === b.serverUrl

/** All tools of all servers, and what each selection of servers is offered of them. */
class Offer {
  private readonly servers: ReadonlyArray<McpServer>
  private all: ReadonlyArray<InjectedTool> = []
  private selections = new Map<string, ReadonlyArray<InjectedTool>>()
  /** What selections offered before the last change: one that is still the same stays the same array. */
  private before = new Map<string, ReadonlyArray<InjectedTool>>()

  constructor(servers: ReadonlyArray<McpServer>) {
    this.servers = servers
  }

  /** Takes in what the servers offer now. */
  update(): void {
    const offered = this.servers.flatMap((server) =>
      server.tools().map((tool) => ({ ...tool, server: server.name, serverUrl: server.url }))
    )
    const names = toolNames(offered)
    const known = new Map(this.all.map((tool) => [`${tool.server}\0${tool.tool}`, tool]))
    this.all = offered.map((tool, index) => {
      const now = { ...tool, name: names[index]! }
      const then = known.get(`${tool.server}\0${tool.tool}`)
      return then !== undefined && sameTool(then, now) ? then : now
    })
    for (const [key, tools] of this.selections) this.before.set(key, tools)
    this.selections = new Map()
  }

  private selected(servers: ReadonlyArray<string> | null): ReadonlyArray<InjectedTool> {
    return servers === null ? this.all : this.all.filter(({ server }) => servers.includes(server))
  }

  tools(servers: ReadonlyArray<string> | null): ReadonlyArray<InjectedTool> {
    const key = servers === null ? "" : JSON.stringify(servers)
    const known = this.selections.get(key)
    if (known !== undefined) return known
    const now = this.selected(servers).slice(0, mostTools)
    const then = this.before.get(key)
    const same = then?.length === now.length && then.every((tool, index) => tool === now[index])
    const tools = same && then !== undefined ? then : now
    this.selections.set(key, tools)
    this.before.delete(key)
    return tools
  }

  /** The names of the tools that do not fit in. */
  leftOut(servers: ReadonlyArray<string> | null): ReadonlyArray<string> {
    return this.selected(servers)
      .slice(mostTools)
      .map(({ name }) => name)
  }
}

/** What a model reads of a call that has failed on its way to the server, or there. */
const unreached = ({ server, tool }: InjectedTool, error: McpError): ToolAnswer =>
  failure(`The tool ${tool} of ${server} failed: ${error.detail}`, "upstream_unreachable")

const make = Effect.fnUntraced(function* (config: SluiceConfig) {
  // The client takes a tenth of a second to load, which who has no servers does not pay.
  const { makeServer } = yield* Effect.promise(() => import("./McpServer.ts"))
  const servers: Array<McpServer> = []
  const offer = new Offer(servers)
  const selections = selectionsOf(config)
  let warned = ""

  const onTools = Effect.fnUntraced(function* () {
    offer.update()
    const leftOut = [...new Set(selections.flatMap((selection) => offer.leftOut(selection)))]
    const text = listed(leftOut, ", ")
    if (text !== warned && text !== "") {
      yield* Effect.logWarning(
        `a request takes ${mostTools} tools: ${leftOut.length} of MCP servers are left out: ${text}`
      )
    }
    warned = text
  })

  for (const [name, server] of Object.entries(config.mcp.servers)) {
    servers.push(yield* makeServer(name, server, onTools))
  }
  yield* Effect.forEach(servers, ({ attempted }) => attempted, { concurrency: "unbounded", discard: true }).pipe(
    Effect.timeoutOption(firstWait)
  )
  offer.update()

  const byName = new Map(servers.map((server) => [server.name, server]))
  const timeout = config.tools.call_timeout
  const maxBytes = config.tools.max_result_bytes

  const call = (tool: InjectedTool, input: string): Effect.Effect<ToolAnswer> => {
    const server = byName.get(tool.server)
    if (server === undefined) return Effect.succeed(failure(`There is no MCP server ${tool.server}.`))
    const args = argumentsOf(input)
    if (typeof args === "string") return Effect.succeed(failure(args, "bad_request"))
    const wasAway = server.away() !== null
    return server.call(tool.tool, args).pipe(
      Effect.map((result) => toolAnswer(result, maxBytes, server.mask)),
      // What a server sends must not end a call that it is not the whole of.
      Effect.catchDefect(() => Effect.succeed(failure(`The answer of ${tool.tool} of ${server.name} cannot be read.`))),
      Effect.catch((error) => Effect.succeed(unreached(tool, error))),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => {
          // One that was away all the time has not been asked.
          const away = wasAway ? server.away() : null
          return Effect.succeed(
            away === null
              ? failure(
                  `The tool ${tool.tool} of ${server.name} did not answer within ${Duration.format(timeout)}.`,
                  "timeout"
                )
              : unreached(tool, away)
          )
        }
      })
    )
  }

  return ToolCatalog.of({
    tools: (selection) => offer.tools(selection),
    call,
    servers: () => servers.map(({ status }) => status())
  })
})

/**
 * The tools of a config's MCP servers. One connection to each server is shared by all calls, and is made again where
 * it is lost; none that fails keeps others, or the layer, from working. Building it waits up to two seconds for them.
 */
export const layer = (config: SluiceConfig): Layer.Layer<ToolCatalog> =>
  Object.keys(config.mcp.servers).length === 0 ? ToolCatalog.layerNone : Layer.effect(ToolCatalog, make(config))
