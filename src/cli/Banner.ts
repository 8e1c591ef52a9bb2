import { Redacted } from "effect"
import type { LoadedConfig } from "../config/Load.ts"
import type { ProviderConfig } from "../config/Config.ts"
import { hint } from "../upstream/Credential.ts"
import { table } from "./Table.ts"

/** How a provider is paid for: by one central key, shown as its masked hint, by its clients' keys, or not at all. */
export const keyOf = (provider: ProviderConfig): string => {
  if (provider.type === "simulated") return "built in, needs no key"
  if (provider.api_key === undefined) return "clients bring their own key"
  const central = `central key ${hint(Redacted.value(provider.api_key))}`
  return provider.credentials === "client-first" ? `${central}, unless the client sends one` : central
}

/** Where a provider is, without the query of its address, which may hold a key. */
export const placeOf = (provider: ProviderConfig): string => provider.base_url?.replace(/\?.*/, "") ?? provider.type

/** The address clients use: a wildcard address is reached through this machine's own. */
const clientAddress = (host: string, port: number): string => {
  const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host
  return `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}`
}

/**
 * What `serve` prints once it listens: its address in the first line, the providers, the MCP servers, where to point
 * clients, and the config's warnings.
 *
 * @param host - the address listened on
 * @param port - the port listened on, as the operating system gave it
 */
export const banner = (options: {
  readonly host: string
  readonly port: number
  readonly loaded: LoadedConfig
}): string => {
  const { config, file, warnings } = options.loaded
  const base = clientAddress(options.host, options.port)
  const host = options.host.includes(":") ? `[${options.host}]` : options.host
  const providers = Object.entries(config.providers)

  /** The name of the provider that speaks a dialect, `preferred` first. */
  const speaking = (dialect: ProviderConfig["dialects"][number], preferred: ProviderConfig["type"]) => {
    const able = providers.filter(([, provider]) => provider.dialects.includes(dialect))
    return (able.find(([, provider]) => provider.type === preferred) ?? able[0])?.[0]
  }
  const isSimulated = (name: string) => config.providers[name]?.type === "simulated"
  const messages = speaking("anthropic-messages", "anthropic")
  const responses = speaking("openai-responses", "openai")
  const chat = speaking("openai-chat", "openai")

  const clients: Array<string> = []
  if (messages !== undefined) {
    // The simulated model needs no key, but Claude Code asks people to log in where it has none.
    const [key, model] = isSimulated(messages) ? [" ANTHROPIC_API_KEY=none", " --model sim"] : ["", ""]
    clients.push(`  Claude Code   ANTHROPIC_BASE_URL=${base}/${messages}${key} claude${model}`)
  }
  if (responses !== undefined) {
    clients.push(
      `  Codex         in ~/.codex/config.toml:`,
      '                  model_provider = "sluice"',
      "                  [model_providers.sluice]",
      '                  name = "Sluice"',
      `                  base_url = "${base}/${responses}/v1"`,
      '                  env_key = "OPENAI_API_KEY"',
      '                  wire_api = "responses"',
      ...(config.websocket.enabled ? ["                  supports_websockets = true"] : [])
    )
  }
  if (chat !== undefined) {
    clients.push(`  OpenAI SDKs   base_url="${base}/${chat}/v1", or OPENAI_BASE_URL=${base}/${chat}/v1`)
  }
  clients.push(`  any provider  ${base}/v1 with a model like "${providers[0]?.[0] ?? "provider"}/model"`)

  const list = table(
    [{ title: "" }, { title: "" }, { title: "" }],
    providers.map(([name, provider]) => [`  ${name}`, placeOf(provider), keyOf(provider)])
  )
  const servers = Object.entries(config.mcp.servers).map(([name, { command, url }]) => [
    `  ${name}`,
    url?.replace(/\?.*/, "") ?? command ?? ""
  ])
  const tools =
    servers.length === 0
      ? []
      : [
          "",
          `Tools from MCP servers (${base}/readyz says which are connected):`,
          ...table([{ title: "" }, { title: "" }], servers)
            .split("\n")
            .slice(1)
        ]
  return [
    `listening on http://${host}:${options.port}`,
    "",
    `Providers (${file ?? "built-in config"}, recording to ${config.recorder.url}):`,
    ...list.split("\n").slice(1),
    ...tools,
    "",
    "Point your clients here:",
    ...clients,
    ...(warnings.length > 0 ? ["", ...warnings.map((warning) => `warning: ${warning}`)] : [])
  ].join("\n")
}
