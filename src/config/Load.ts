import { Effect, FileSystem } from "effect"
import { LineCounter, type Node, isAlias, isMap as isYamlMap, isPair, isScalar, isSeq, parseDocument } from "yaml"
import { type ProviderInput, type SluiceConfig, type SluiceConfigInput, defaultProviders, isMap } from "./Config.ts"
import { ConfigError, type ConfigProblem } from "./ConfigError.ts"
import { type Source, decode, problemAt, valueAt } from "./Decode.ts"
import { type Environment, interpolate } from "./Interpolation.ts"
import { unsetSecrets, warningsOf } from "./Warnings.ts"

/** A config ready for use. */
export interface LoadedConfig {
  readonly config: SluiceConfig
  /** The file it came from; `null` without one. */
  readonly file: string | null
  /** What the config asks for and does not get, for people to read. */
  readonly warnings: ReadonlyArray<string>
}

/** Settings of the command line. */
export interface ConfigFlags {
  /** `--config` */
  readonly config?: string | undefined
  /** `--host` */
  readonly host?: string | undefined
  /** `--port` */
  readonly port?: number | undefined
  /** `--database`, a `recorder.url` */
  readonly database?: string | undefined
}

/** The file that is read where no other is named, in the working directory. */
export const defaultFile = "sluice.yaml"

/** What flags and the environment set, the stronger ones last. */
const overrides = (flags: ConfigFlags, env: Environment) =>
  [
    { path: ["server", "host"], label: "SLUICE_HOST", value: env["SLUICE_HOST"] || undefined },
    { path: ["server", "port"], label: "SLUICE_PORT", value: env["SLUICE_PORT"] || undefined },
    { path: ["recorder", "url"], label: "SLUICE_DATABASE_URL", value: env["SLUICE_DATABASE_URL"] || undefined },
    { path: ["server", "host"], label: "--host", value: flags.host },
    { path: ["server", "port"], label: "--port", value: flags.port },
    { path: ["recorder", "url"], label: "--database", value: flags.database }
  ].filter(({ value }) => value !== undefined)

/** The default providers with the keys of the environment; no other variable of an SDK is looked at anywhere. */
const providersFromEnvironment = (env: Environment): { readonly [name: string]: ProviderInput } => {
  const withKey = (name: string, key: string | undefined): ProviderInput =>
    key ? { ...defaultProviders[name]!, api_key: key } : defaultProviders[name]!
  return {
    ...defaultProviders,
    openai: withKey("openai", env["OPENAI_API_KEY"]),
    anthropic: withKey("anthropic", env["ANTHROPIC_API_KEY"])
  }
}

/** Values that come from the environment where the config is silent. */
const fromEnvironment: ReadonlyArray<readonly [path: ReadonlyArray<string>, label: string]> = [
  [["server", "admin_token"], "SLUICE_ADMIN_TOKEN"],
  [["providers", "openai", "api_key"], "OPENAI_API_KEY"],
  [["providers", "anthropic", "api_key"], "ANTHROPIC_API_KEY"]
]

/** A map with one value put in, its other values as they are; where there is no map, the value itself stays. */
const withValue = (root: unknown, [section, key]: ReadonlyArray<string>, value: unknown): unknown => {
  if (!isMap(root)) return root
  const inner = root[section!] ?? {}
  return isMap(inner) ? { ...root, [section!]: { ...inner, [key!]: value } } : root
}

/** The path of the key that begins at an offset of the file; empty where none does. */
const pathOfKey = (node: unknown, offset: number): ReadonlyArray<string> => {
  const items = isYamlMap(node) || isSeq(node) ? node.items : []
  for (const [index, item] of items.entries()) {
    if (!isPair(item)) {
      const path = pathOfKey(item, offset)
      if (path.length > 0) return [String(index), ...path]
      continue
    }
    const key = isScalar(item.key) ? String(item.key.value) : ""
    if ((item.key as Node | null)?.range?.[0] === offset) return [key]
    const path = pathOfKey(item.value, offset)
    if (path.length > 0) return [key, ...path]
  }
  return []
}

const beginning = (text: string): string => text.replace(/"(?:[^"\\]|\\.)*"?/g, '"…"').split("\n")[0]!

/** A parsed file, and where its values stand in it. */
const parse = (file: string, text: string): Effect.Effect<{ value: unknown; line: Source["line"] }, ConfigError> => {
  const counter = new LineCounter()
  // Pretty errors quote the file, which may hold secrets.
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false })
  const failure = (problems: ReadonlyArray<ConfigProblem>) => Effect.fail(new ConfigError({ file, problems }))
  const faults = [...document.errors, ...document.warnings]
  if (faults.length > 0) {
    return failure(
      faults.map((fault) => {
        const twice = fault.code === "DUPLICATE_KEY" ? pathOfKey(document.contents, fault.pos[0]) : []
        return {
          path: twice.join("."),
          line: counter.linePos(fault.pos[0]).line,
          value: null,
          expected: twice.length > 0 ? "this key is there already" : `not valid YAML: ${beginning(fault.message)}`
        }
      })
    )
  }
  const line: Source["line"] = (path) => {
    let node: unknown = document.contents
    let offset: number | undefined
    for (const key of path) {
      if (isAlias(node)) node = node.resolve(document)
      let next: unknown
      if (isYamlMap(node)) {
        const pair = node.items.find((item) => (isScalar(item.key) ? String(item.key.value) : "") === key)
        const start = (pair?.key as Node | undefined)?.range?.[0]
        if (pair === undefined || start === undefined) break
        offset = start
        next = pair.value
      } else if (isSeq(node) && typeof key === "number") {
        next = node.items[key]
        const start = (next as Node | undefined)?.range?.[0]
        if (start === undefined) break
        offset = start
      } else break
      node = next
    }
    return offset === undefined ? null : counter.linePos(offset).line
  }
  return Effect.try({
    try: () => ({ value: (document.toJS() as unknown) ?? {}, line }),
    catch: (cause) =>
      new ConfigError({
        file,
        problems: [{ path: "", line: null, value: null, expected: `not valid YAML: ${beginning(String(cause))}` }]
      })
  })
}

/** The text of the file to read, or `null` where there is none and none was asked for. */
const readFile = Effect.fnUntraced(function* (named: string | undefined) {
  const files = yield* FileSystem.FileSystem
  const file = named ?? defaultFile
  if (named === undefined && !(yield* files.exists(file).pipe(Effect.orElseSucceed(() => false)))) return null
  const text = yield* files.readFileString(file).pipe(
    Effect.mapError(
      (error) =>
        new ConfigError({
          file,
          problems: [
            {
              path: "",
              line: null,
              value: null,
              expected:
                error.reason._tag === "NotFound" ? "there is no such file" : `it cannot be read: ${error.reason._tag}`
            }
          ]
        })
    )
  )
  return { file, text }
})

/**
 * Loads the config of a running Sluice: the file (`--config`, else `sluice.yaml` in the working directory, else none),
 * then what the environment sets (`SLUICE_HOST`, `SLUICE_PORT`, `SLUICE_DATABASE_URL`), then the flags.
 *
 * A file that has `providers` replaces the default ones (`openai`, `anthropic` and the simulated `sim`) as a whole.
 * Relative paths in a config are relative to the working directory. No variable of an SDK matters, but for
 * `OPENAI_API_KEY` and `ANTHROPIC_API_KEY` where the default providers are in use.
 *
 * @param options.env - the environment, usually `process.env`
 * @returns the config, with warnings about what it asks for in vain; fails with a `ConfigError` listing every problem
 */
export const load = Effect.fn("Config.load")(function* (options: {
  readonly flags?: ConfigFlags
  readonly env: Environment
}) {
  const flags = options.flags ?? {}
  const read = yield* readFile(flags.config)
  const { value: written, line } = read === null ? { value: {}, line: () => null } : yield* parse(read.file, read.text)

  const interpolated = interpolate(written, options.env)
  const settings = overrides(flags, options.env)
  const apply = (root: unknown) =>
    settings.reduce((value, { path, ...setting }) => withValue(value, path, setting.value), root)
  const input = apply(interpolated.value)
  const shown = apply(written)

  const labels = new Map(settings.map(({ path, label }) => [path.join("."), label]))
  for (const [path, label] of fromEnvironment) {
    if (
      valueAt(input, path) === undefined &&
      !(path[0] === "providers" && valueAt(input, ["providers"]) !== undefined)
    ) {
      labels.set(path.join("."), label)
    }
  }

  const source: Source = {
    file: read?.file ?? null,
    written: (path) => valueAt(shown, path),
    line,
    label: (path) => labels.get(path.join("."))
  }
  const broken = interpolated.broken.map(({ path, problem }) => problemAt(source, path, problem))
  const complete = isMap(input)
    ? {
        ...input,
        providers: input["providers"] ?? providersFromEnvironment(options.env),
        server: withAdminToken(input["server"] ?? {}, options.env["SLUICE_ADMIN_TOKEN"])
      }
    : input
  const config = yield* decode(complete, source, broken)
  const warnings = [...unsetSecrets(written, input), ...warningsOf(config, input)]
  return { config, file: source.file, warnings } satisfies LoadedConfig
})

const withAdminToken = (server: unknown, token: string | undefined): unknown =>
  token && isMap(server) ? { admin_token: token, ...server } : server

/** Drops keys whose value is `undefined`, which a program may well write and YAML cannot. */
const compact = (value: unknown): unknown =>
  isMap(value)
    ? Object.fromEntries(
        Object.entries(value)
          .filter(([, element]) => element !== undefined)
          .map(([key, element]) => [key, compact(element)])
      )
    : value

/**
 * Makes a config from a plain object of the file's shape, for embedding: what is left out has the file's defaults,
 * secrets may be `Redacted`, durations `Duration`s. Neither a file nor the environment is looked at.
 *
 * @returns the config; fails with a `ConfigError` listing every problem
 */
export const make = (input: SluiceConfigInput = {}): Effect.Effect<SluiceConfig, ConfigError> =>
  decode(compact(input), {
    file: null,
    written: (path) => valueAt(input, path),
    line: () => null,
    label: () => undefined
  })
