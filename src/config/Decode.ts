import { Effect, Schema, SchemaIssue } from "effect"
import { SluiceConfig, defaultProviders, isMap, sectionKeys } from "./Config.ts"
import { ConfigError, type ConfigProblem, showValue } from "./ConfigError.ts"
import { nearest } from "./Nearest.ts"
import { headerNamePattern } from "./Values.ts"

type Path = ReadonlyArray<PropertyKey>

/** What a raw config came from, for its errors. */
export interface Source {
  readonly file: string | null
  /** The value people wrote at a path, before the environment was put in; `undefined` where they wrote nothing. */
  readonly written: (path: Path) => unknown
  /** The line of a path, or of the nearest thing around it. */
  readonly line: (path: Path) => number | null
  /** What to call a path that came from a flag or the environment. */
  readonly label: (path: Path) => string | undefined
}

/** What stands at a path, stopping where there is nothing to go into. */
export const valueAt = (root: unknown, path: Path): unknown =>
  path.reduce<unknown>(
    (value, key) =>
      (isMap(value) && Object.hasOwn(value, key)) || (Array.isArray(value) && typeof key === "number")
        ? (value as { readonly [key: PropertyKey]: unknown })[key]
        : undefined,
    root
  )

const missing = "missing"
const unknownKey = "unknown key"
const neitherWay = "has neither url nor command"
const bothWays = "has both url and command"
const mapExpected = "expected a map"
const listExpected = "expected a list"

/** A problem at a path, as it is shown. */
export const problemAt = (source: Source, place: Path, expected: string): ConfigProblem => {
  // An alias may be written as text, in which nothing stands at `to`.
  const inText = place.findIndex((_, index) => index > 0 && typeof source.written(place.slice(0, index)) === "string")
  const path = inText < 0 ? place : place.slice(0, inText)
  const label = source.label(path)
  return {
    path: label ?? path.map(String).join("."),
    line: label === undefined ? source.line(path) : null,
    value: shownValue(path, source.written(path), expected),
    expected
  }
}

/** What stands in a wrong place may be anything, a key even: it is not shown. */
const shownValue = (path: Path, value: unknown, expected: string): string | null => {
  if (expected.startsWith(unknownKey)) return null
  // That a server is a map is not what is wrong with it.
  if ((expected === neitherWay || expected === bothWays) && value !== null) return null
  const misplaced = typeof value === "string" && (expected === mapExpected || expected === listExpected)
  return misplaced ? "text" : showValue(path, value)
}

const format = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => {
    switch (issue._tag) {
      case "MissingKey":
        return missing
      case "UnexpectedKey":
        return unknownKey
      case "InvalidType":
        return issue.ast._tag === "Arrays" ? listExpected : mapExpected
      default:
        return SchemaIssue.defaultLeafHook(issue)
    }
  }
})

/** The keys that may stand beside an unknown one. */
const keysBeside = (path: Path): ReadonlyArray<string> => {
  const parent = path.slice(0, -1).map(String)
  if (parent[0] === "providers" || parent[0] === "models") parent[1] = "*"
  if (parent[0] === "mcp" && parent.length > 2) parent[2] = "*"
  return sectionKeys[parent.join(".")] ?? []
}

/** Keys further down that people know from elsewhere as ones at the top (`mcpServers`). */
const deeperKeys = ["mcp.servers"]

const explain = (path: Path, message: string): string => {
  if (message === missing) {
    return typeof path.at(-1) === "number"
      ? "expected a list of at least one"
      : "missing, and there is no default for it"
  }
  if (message !== unknownKey) return message
  const keys = keysBeside(path)
  const near = nearest(String(path.at(-1)), path.length === 1 ? [...keys, ...deeperKeys] : keys)
  return near === undefined ? `unknown key; known are ${keys.join(", ")}` : `unknown key; did you mean ${near}?`
}

const providerName = /^[a-z0-9][a-z0-9_-]*$/
/** Paths of Sluice's own, which a provider's name would hide. */
const reserved = ["v1", "api", "console", "livez", "readyz", "metrics"]

/** What the Schema cannot see: names, and values that speak about other values. */
const crossChecks = (input: unknown, source: Source): ReadonlyArray<readonly [path: Path, expected: string]> => {
  const found: Array<readonly [Path, string]> = []
  const given = valueAt(input, ["providers"]) ?? defaultProviders
  const providers = isMap(given) ? given : {}
  const models = valueAt(input, ["models"])
  const servers = valueAt(input, ["mcp", "servers"])

  for (const [name, provider] of Object.entries(providers)) {
    const path = ["providers", name]
    if (reserved.includes(name)) {
      found.push([path, `a provider cannot be called ${name}: the path /${name} is Sluice's own`])
    } else if (!providerName.test(name)) {
      found.push([
        path,
        "expected a provider name of lower-case letters, digits, - and _, starting with a letter or digit"
      ])
    }
    if (!isMap(provider)) continue
    if (provider["type"] === "openai-compatible" && provider["base_url"] === undefined) {
      found.push([
        [...path, "base_url"],
        'missing: type openai-compatible needs one, such as "http://127.0.0.1:8000/v1"'
      ])
    }
  }
  if (isMap(given) && Object.keys(given).length === 0) {
    found.push([["providers"], "expected at least one provider; leave the key out for openai, anthropic and sim"])
  }

  for (const [alias, model] of Object.entries(isMap(models) ? models : {})) {
    const to = typeof model === "string" ? model : valueAt(model, ["to"])
    const provider = typeof to === "string" ? /^([^/]+)\/./.exec(to)?.[1] : undefined
    if (provider !== undefined && !Object.hasOwn(providers, provider)) {
      found.push([
        ["models", alias, "to"],
        `there is no provider ${provider}; there are ${Object.keys(providers).join(", ")}`
      ])
    }
  }

  for (const [section, entries] of [
    ["providers", providers] as const,
    ["models", isMap(models) ? models : {}] as const
  ]) {
    for (const [name, entry] of Object.entries(entries)) {
      const mcp = valueAt(entry, ["mcp"])
      for (const [index, server] of (Array.isArray(mcp) ? mcp : []).entries()) {
        if (typeof server === "string" && !(isMap(servers) && Object.hasOwn(servers, server))) {
          found.push([[section, name, "mcp", index], "there is no MCP server of this name in mcp.servers"])
        }
      }
    }
  }

  // What is empty is left out of the input.
  const written = source.written(["mcp", "servers"])
  for (const [name, server] of Object.entries(isMap(written) ? written : {})) {
    if (server === null) found.push([["mcp", "servers", name], neitherWay])
  }
  const prefixes = new Map<string, string>()
  for (const [name, server] of Object.entries(isMap(servers) ? servers : {})) {
    const path = ["mcp", "servers", name]
    const prefix = name.replace(/[^a-zA-Z0-9_-]/g, "_")
    const other = prefixes.get(prefix)
    if (name === "") found.push([path, "expected a server name"])
    if (other !== undefined) {
      found.push([path, `its tools would be called bmcp_${prefix}_…, as those of ${other} are: rename one of them`])
    } else prefixes.set(prefix, name)
    if (!isMap(server)) continue
    const ways = ["url", "command"].filter((key) => server[key] !== undefined)
    if (ways.length === 2) found.push([path, bothWays])
    // A key that is not known is likely to be the one that is missing, and is reported already.
    else if (ways.length === 0 && Object.keys(server).every((key) => sectionKeys["mcp.servers.*"]?.includes(key))) {
      found.push([path, neitherWay])
    }
    for (const header of isMap(server["headers"]) ? Object.keys(server["headers"]) : []) {
      if (!headerNamePattern.test(header)) found.push([[...path, "headers", header], "expected the name of a header"])
    }
  }
  return found
}

const decodeSchema = Schema.decodeUnknownResult(SluiceConfig, { errors: "all", onExcessProperty: "error" })

/** Names that people chose as keys must not reach into what objects inherit. */
const bare = <A>(map: { readonly [name: string]: A }): { readonly [name: string]: A } =>
  Object.assign(Object.create(null), map)

/**
 * Decodes a config whose environment variables are already put in.
 *
 * @param problems - what was found wrong before
 * @returns the config, or a `ConfigError` with everything that is wrong, in the order of the file where it is known
 */
export const decode = (
  input: unknown,
  source: Source,
  problems: ReadonlyArray<ConfigProblem> = []
): Effect.Effect<SluiceConfig, ConfigError> => {
  const result = decodeSchema(input)
  const issues = result._tag === "Failure" ? format(result.failure.issue).issues : []
  const found: Array<readonly [Path, string]> = issues.map((issue) => {
    const path = (issue.path ?? []) as Path
    return [path, explain(path, issue.message)]
  })
  for (const check of crossChecks(input, source)) {
    // Where the Schema has something to say already, the rest follows from it.
    if (!found.some(([path]) => path.join("\0") === check[0].join("\0"))) found.push(check)
  }
  const all = [...problems, ...found.map(([path, expected]) => problemAt(source, path, expected))]
  if (all.length > 0 || result._tag === "Failure") {
    const sorted = all.toSorted((a, b) => (a.line ?? Number.MAX_VALUE) - (b.line ?? Number.MAX_VALUE))
    return Effect.fail(new ConfigError({ file: source.file, problems: sorted }))
  }
  const config = result.success
  return Effect.succeed({
    ...config,
    providers: bare(config.providers),
    models: bare(config.models),
    mcp: { servers: bare(config.mcp.servers) }
  })
}
