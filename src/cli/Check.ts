import { Console, Duration, Effect, type Layer, Redacted, References, Result, type Scope } from "effect"
import type { ProviderConfig, SluiceConfig } from "../config/Config.ts"
import { listenerError } from "../config/Listener.ts"
import type { LoadedConfig } from "../config/Load.ts"
import { ToolCatalog, type ToolServer, listed, mostTools, selectionsOf } from "../tools/ToolCatalog.ts"
import { Address } from "../upstream/Address.ts"
import { hint } from "../upstream/Credential.ts"
import type { Exchanger } from "../upstream/Exchange.ts"
import { placeOf } from "./Banner.ts"
import { table } from "./Table.ts"

/** What was found out about one provider or MCP server. */
export interface ServiceCheck {
  readonly name: string
  readonly ok: boolean
  /** Where it was looked for. */
  readonly address: string
  readonly finding: string
}

const patience: Duration.Input = "10 seconds"

/** The key in the form that the provider's own API takes it. */
const credentialHeaders = (provider: ProviderConfig): { readonly [name: string]: string } => {
  const version = provider.type === "anthropic" ? { "anthropic-version": "2023-06-01" } : {}
  if (provider.api_key === undefined) return version
  const key = Redacted.value(provider.api_key)
  return provider.type === "anthropic" ? { ...version, "x-api-key": key } : { authorization: `Bearer ${key}` }
}

const judge = (provider: ProviderConfig, status: number): { readonly ok: boolean; readonly finding: string } => {
  if (status >= 500) return { ok: false, finding: `answers ${status}` }
  if (provider.api_key === undefined) return { ok: true, finding: "reachable; clients bring their own key" }
  const key = `the key ${hint(Redacted.value(provider.api_key))}`
  if (status === 401 || status === 403) return { ok: false, finding: `refuses ${key} (${status})` }
  if (status >= 200 && status < 300) return { ok: true, finding: `accepts ${key}` }
  return { ok: true, finding: `reachable, but /models answers ${status}, so that ${key} could not be tried` }
}

/**
 * Reaches one provider by asking for its list of models, with the central key if there is one. Without one any answer
 * will do, since most refuse a call without a key.
 *
 * @param exchange - carries the request, through proxies if the environment names some
 */
export const checkProvider = (
  name: string,
  provider: ProviderConfig,
  exchange: Exchanger
): Effect.Effect<ServiceCheck> => {
  if (provider.base_url === undefined) {
    return Effect.succeed({ name, ok: true, address: provider.type, finding: "built in" })
  }
  const address = new Address(new URL(provider.base_url))
  const headers = { accept: "application/json", "accept-encoding": "identity", ...credentialHeaders(provider) }
  return exchange({
    method: "GET",
    origin: address.origin,
    target: address.target("/v1/models", ""),
    headers,
    body: null
  }).pipe(
    Effect.map(({ status }) => judge(provider, status)),
    Effect.scoped,
    Effect.mapError((error) => error.reason.message),
    Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.fail("no answer within 10 seconds") }),
    Effect.result,
    Effect.map((result) => ({
      name,
      address: placeOf(provider),
      ...(Result.isSuccess(result) ? result.success : { ok: false, finding: result.failure })
    }))
  )
}

/** Reaches every provider of a config at once; the findings come in the config's order. */
export const checkProviders = (
  config: SluiceConfig,
  exchange: (provider: string) => Exchanger
): Effect.Effect<ReadonlyArray<ServiceCheck>> =>
  Effect.forEach(
    Object.entries(config.providers),
    ([name, provider]) => checkProvider(name, provider, exchange(name)),
    { concurrency: "unbounded" }
  )

/** How long servers may take: a program may have to be installed first (`npx`). */
const patienceWithServers = Duration.seconds(60)

/** What was found out about the MCP servers of a config. */
interface ServersCheck {
  /** In the config's order. */
  readonly checks: ReadonlyArray<ServiceCheck>
  /** What they have and is not offered. */
  readonly warnings: ReadonlyArray<string>
}

/** Which tools no request has, though their server is there: what is wrong with them, or that they are too many. */
const toolWarnings = (config: SluiceConfig, servers: ReadonlyArray<ToolServer>): ReadonlyArray<string> => {
  const unfit = servers.flatMap(({ leftOut = [], name }) =>
    leftOut.length === 0 ? [] : [`tools of ${name} are left out: ${listed(leftOut, "; ")}`]
  )
  const tooMany = selectionsOf(config).flatMap((selection) => {
    const chosen = servers.filter(({ name }) => selection === null || selection.includes(name))
    const count = chosen.reduce((sum, { tools }) => sum + tools, 0)
    if (count <= mostTools) return []
    const names = chosen.map(({ name }) => name).join(", ")
    return [`a request takes ${mostTools} tools: ${count - mostTools} of the ${count} of ${names} are left out`]
  })
  return [...unfit, ...tooMany]
}

/** Connects to every MCP server of a config at once. */
export const checkServers = Effect.fnUntraced(function* (
  config: SluiceConfig
): Effect.fn.Return<ServersCheck, never, ToolCatalog> {
  const catalog = yield* ToolCatalog
  // By now they have had the two seconds that building the catalogue takes.
  const slow = catalog.servers().filter(({ status }) => status === "connecting")
  if (slow.length > 0) {
    const names = slow.map(({ name }) => name).join(", ")
    yield* Console.error(`waiting up to ${Duration.format(patienceWithServers)} for MCP servers to answer: ${names}`)
  }
  yield* Effect.sleep("50 millis").pipe(
    Effect.repeat({ until: () => catalog.servers().every(({ status }) => status !== "connecting") }),
    Effect.timeoutOption(patienceWithServers)
  )
  const servers = catalog.servers()
  const checks = servers.map(({ error, leftOut = [], name, status, tools }): ServiceCheck => {
    const server = config.mcp.servers[name]
    // Arguments that were written into the command by mistake may hold credentials.
    const address = server?.url?.replace(/\?.*/, "") ?? server?.command?.replace(/\s.*/s, " …") ?? ""
    const silent = `no answer within ${Duration.format(patienceWithServers)}`
    if (status !== "connected") return { name, ok: false, address, finding: error ?? silent }
    const unfit = leftOut.length === 0 ? "" : `; ${leftOut.length} more cannot be used`
    return { name, ok: true, address, finding: `offers ${tools} ${tools === 1 ? "tool" : "tools"}${unfit}` }
  })
  return { checks, warnings: toolWarnings(config, servers) }
})

/** The findings as lines for people, under what was looked at. */
export const renderChecks = (checks: ReadonlyArray<ServiceCheck>, width = 0, title = "PROVIDER"): string =>
  table(
    [{ title }, { title: "" }, { title: "ADDRESS", shrink: true }, { title: "FINDING" }],
    checks.map(({ name, ok, address, finding }) => [name, ok ? "ok" : "FAILED", address, finding]),
    width
  )

/**
 * The body of `sluice check`: says whether Sluice could start with a config that was loaded, and reaches its providers
 * and MCP servers.
 *
 * @param options.exchange - opens the connections to providers for the time of the check
 * @param options.tools - connects to the MCP servers for the time of the check
 * @returns whether all is well
 */
export const check = Effect.fn("Check.check")(function* (
  loaded: LoadedConfig,
  options: {
    readonly exchange: Effect.Effect<(provider: string) => Exchanger, never, Scope.Scope>
    readonly tools: Layer.Layer<ToolCatalog>
    readonly width?: number | undefined
  }
) {
  const refusal = listenerError(loaded.config, loaded.file)
  if (refusal === null) yield* Console.log(`${loaded.file ?? "The built-in config"} is valid`)
  else yield* Console.error(refusal.message)
  for (const warning of loaded.warnings) yield* Console.log(`warning: ${warning}`)
  const checks = yield* Effect.scoped(
    Effect.flatMap(options.exchange, (exchange) => checkProviders(loaded.config, exchange))
  )
  yield* Console.log(`\n${renderChecks(checks, options.width)}`)
  const servers =
    Object.keys(loaded.config.mcp.servers).length === 0
      ? { checks: [], warnings: [] }
      : yield* checkServers(loaded.config).pipe(
          Effect.provide(options.tools),
          // What it would log is what is printed here.
          Effect.provideService(References.MinimumLogLevel, "None")
        )
  if (servers.checks.length > 0) yield* Console.log(`\n${renderChecks(servers.checks, options.width, "MCP SERVER")}`)
  for (const warning of servers.warnings) yield* Console.log(`warning: ${warning}`)
  return refusal === null && [...checks, ...servers.checks].every(({ ok }) => ok)
})
