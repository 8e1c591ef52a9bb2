import { Context, Effect, Layer } from "effect"
import type { SluiceConfig } from "../config/Config.ts"
import type { ToolContent, ToolDefinition } from "../dialect/InjectedTools.ts"

/** A tool that Sluice adds to requests. Its `name` is `bmcp_<server>_<tool>`. */
export interface InjectedTool extends ToolDefinition {
  /** The MCP server's name in the config. */
  readonly server: string
  /** Where the server is, without credentials; the command line's program for one that is run. */
  readonly serverUrl: string
  /** What the server calls it. */
  readonly tool: string
}

/** What a call of a tool came to. */
export interface ToolAnswer {
  readonly content: ReadonlyArray<ToolContent>
  /** Why the tool failed, for the records; `null` where it did not. */
  readonly error: string | null
  /** Of which kind that is: by default the server, or the tool, has said so itself. */
  readonly kind?: ToolErrorKind
}

/** Kinds of failures: the model's arguments, the time, the way to the server, or what the server answered. */
export type ToolErrorKind = "bad_request" | "timeout" | "upstream_unreachable" | "upstream_status"

/** How an MCP server is doing. */
export interface ToolServer {
  readonly name: string
  readonly status: "connecting" | "connected" | "failed"
  /** How many tools it offers, after `allow` and `deny`. */
  readonly tools: number
  /** Why it failed, without credentials. */
  readonly error: string | null
  /** The tools that it has and that cannot be offered: what each is called, and what is wrong with it. */
  readonly leftOut?: ReadonlyArray<string>
}

/** The most tools that providers take in one request. */
export const mostTools = 128

/** The tools that Sluice adds to requests and runs itself. */
export class ToolCatalog extends Context.Service<
  ToolCatalog,
  {
    /**
     * The tools of some servers, or of all for `null`, as far as they are known now: at most 128, in an order that stays
     * the same. The same array as long as nothing has changed.
     */
    readonly tools: (servers: ReadonlyArray<string> | null) => ReadonlyArray<InjectedTool>
    /**
     * Calls a tool and never fails: what goes wrong is an answer that the model can read. Ends within
     * `tools.call_timeout`. Interrupting it tells the server that nobody waits any more.
     *
     * @param input the arguments as the model wrote them, which may be no JSON
     */
    readonly call: (tool: InjectedTool, input: string) => Effect.Effect<ToolAnswer>
    readonly servers: () => ReadonlyArray<ToolServer>
  }
>()("sluice/tools/ToolCatalog") {
  /** No tools at all: nothing is injected. */
  static readonly layerNone: Layer.Layer<ToolCatalog> = Layer.succeed(ToolCatalog, {
    tools: () => noTools,
    call: (tool) =>
      Effect.succeed({ content: [{ type: "text", text: `There is no tool ${tool.name}.` }], error: "no such tool" }),
    servers: () => []
  })
}

const noTools: ReadonlyArray<InjectedTool> = []

/** The selections of servers that a config makes: all of them, unless every alias and provider names some. */
export const selectionsOf = (config: SluiceConfig): ReadonlyArray<ReadonlyArray<string> | null> => {
  const named = [...Object.values(config.providers), ...Object.values(config.models)].map(({ mcp }) => mcp ?? null)
  const distinct = new Map(named.map((servers) => [JSON.stringify(servers), servers]))
  return [...distinct.values()]
}

/** How many things are named before the others are only counted. */
const mostNamed = 20

/** Things as text for people; where there are many, the first of them and how many more there are. */
export const listed = (things: ReadonlyArray<string>, separator: string): string => {
  const more = things.length > mostNamed ? ` and ${things.length - mostNamed} more` : ""
  return `${things.slice(0, mostNamed).join(separator)}${more}`
}
