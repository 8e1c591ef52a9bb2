import type { DialectName } from "../dialect/Dialect.ts"
import type { NoRoute, ProviderInfo, Route } from "./Upstream.ts"

/** What routing knows of a provider beside what everybody does. */
export interface RoutedProvider extends ProviderInfo {
  /** Names of the models it serves; `*` stands for any characters. */
  readonly models: ReadonlyArray<string>
  /** The MCP servers whose tools its calls are given; `null` for all. */
  readonly mcp: ReadonlyArray<string> | null
}

/** What an alias stands for. */
export interface Alias {
  /** The model, as `provider/model`. */
  readonly to: string
  /** The MCP servers whose tools its calls are given, whatever its provider says; `null` to leave that to it. */
  readonly mcp: ReadonlyArray<string> | null
}

/** Model names that tell whose they are, for providers that list none. */
const knownNames: ReadonlyArray<{ readonly type: string; readonly name: RegExp }> = [
  { type: "anthropic", name: /^claude-/ },
  { type: "openai", name: /^(gpt-|chatgpt-|codex-|o[0-9]|text-embedding-|computer-use-|ft:gpt-)/ },
  { type: "simulated", name: /^sim($|-)/ }
]

/** Finds the provider of a call by the config's providers and aliases. */
export class Routing {
  private readonly providers: ReadonlyMap<string, RoutedProvider>
  private readonly aliases: ReadonlyMap<string, Alias>
  private readonly lists: ReadonlyArray<{
    readonly provider: RoutedProvider
    readonly test: (model: string) => boolean
  }>

  constructor(providers: ReadonlyArray<RoutedProvider>, aliases: ReadonlyMap<string, Alias>) {
    this.providers = new Map(providers.map((provider) => [provider.name, provider]))
    this.aliases = aliases
    this.lists = providers
      .filter((provider) => provider.models.length > 0)
      .map((provider) => ({ provider, test: listTest(provider.models) }))
  }

  /** The provider that a path names. */
  named(name: string, dialect: DialectName | null): Route | NoRoute {
    const provider = this.providers.get(name)
    if (provider === undefined) {
      return noRoute(
        "provider_not_found",
        `There is no provider '${shown(name)}'. Configured: ${this.providerNames()}.`
      )
    }
    return supports(provider, dialect) ? { provider, model: null, mcp: provider.mcp } : unsupported(provider, dialect!)
  }

  /** The provider of a model, on the routes that name none. */
  forModel(model: string, dialect: DialectName | null): Route | NoRoute {
    const alias = this.aliases.get(model)
    const target = alias?.to ?? model
    const mcp = alias?.mcp ?? null
    const slash = target.indexOf("/")
    const prefixed = slash > 0 ? this.providers.get(target.slice(0, slash)) : undefined
    if (prefixed !== undefined) return route(prefixed, target.slice(slash + 1), dialect, mcp)
    const listed = this.lists.find((list) => list.test(target) && supports(list.provider, dialect))
    if (listed !== undefined) return route(listed.provider, target, dialect, mcp)
    const type = knownNames.find((known) => known.name.test(target))?.type
    const ofType = [...this.providers.values()].filter((provider) => provider.type === type)
    const known = ofType.find((provider) => supports(provider, dialect)) ?? ofType[0]
    if (known !== undefined) return route(known, target, dialect, mcp)
    return noRoute("model_not_found", `The model '${shown(model)}' is not configured. ${this.choices()}`)
  }

  private providerNames(): string {
    return [...this.providers.keys()].join(", ") || "none"
  }

  private choices(): string {
    const aliases = [...this.aliases.keys()]
    const prefixes = [...this.providers.keys()].map((name) => `${name}/<model>`)
    const lists = this.lists.flatMap((list) => list.provider.models)
    const all = [...aliases, ...lists, ...prefixes]
    return all.length === 0 ? "No provider is configured." : `Configured: ${all.join(", ")}.`
  }
}

/** A client's name for something, as far as it helps: a message is no place for megabytes. */
const shown = (name: string): string => (name.length > 200 ? `${name.slice(0, 200)}…` : name)

const supports = (provider: ProviderInfo, dialect: DialectName | null): boolean =>
  dialect === null || provider.dialects.includes(dialect)

const route = (
  provider: RoutedProvider,
  model: string,
  dialect: DialectName | null,
  mcp: Route["mcp"]
): Route | NoRoute =>
  supports(provider, dialect) ? { provider, model, mcp: mcp ?? provider.mcp } : unsupported(provider, dialect!)

const unsupported = (provider: ProviderInfo, dialect: DialectName): NoRoute => ({
  _tag: "NoRoute",
  code: "dialect_not_supported",
  message: `The provider '${provider.name}' does not speak ${dialect}. It speaks: ${provider.dialects.join(", ")}.`,
  provider
})

const noRoute = (code: NoRoute["code"], message: string): NoRoute => ({
  _tag: "NoRoute",
  code,
  message,
  provider: null
})

const listTest = (patterns: ReadonlyArray<string>): ((model: string) => boolean) => {
  const expressions = patterns.map((pattern) => new RegExp(`^${pattern.split("*").map(escapeRegExp).join(".*")}$`))
  return (model) => expressions.some((expression) => expression.test(model))
}

const escapeRegExp = (text: string): string => text.replace(/[.+?^${}()|[\]\\]/g, "\\$&")
