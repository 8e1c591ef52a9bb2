import { Schema } from "effect"

/** One thing that is wrong with a config. */
export const ConfigProblem = Schema.Struct({
  /** Where: the key's path (`providers.local.base_url`), a flag, an environment variable, or empty for the whole file. */
  path: Schema.String,
  /** The file's line, counted from 1, where it is known. */
  line: Schema.NullOr(Schema.Int),
  /** What stands there, as JSON, secrets masked; `null` where nothing does. */
  value: Schema.NullOr(Schema.String),
  /** What is wrong, or what should stand there. */
  expected: Schema.String
})
export interface ConfigProblem extends Schema.Schema.Type<typeof ConfigProblem> {}

/**
 * A config that cannot be used, with everything that is wrong with it.
 *
 * `message` is made for people: one line for each problem, and no secret in it.
 */
export class ConfigError extends Schema.TaggedError<ConfigError>()("ConfigError", {
  /** The file it came from; `null` where there is none. */
  file: Schema.NullOr(Schema.String),
  problems: Schema.Array(ConfigProblem)
}) {
  override get message() {
    const count = this.problems.length === 1 ? "" : ` (${this.problems.length} problems)`
    const title = this.file === null ? `The config is not valid${count}:` : `${this.file} is not valid${count}:`
    return [title, ...this.problems.map((problem) => `  ${describeProblem(problem)}`)].join("\n")
  }
}

/** A problem as one line. */
export const describeProblem = (problem: ConfigProblem): string => {
  const line = problem.line === null ? "" : `line ${problem.line}: `
  const value = problem.value === null ? "" : ` is ${problem.value}`
  const place = `${problem.path}${value}`
  return `${line}${place}${place === "" ? "" : ": "}${problem.expected}`
}

/** Keys whose values are secrets, also where they are misspelt or stand in the wrong place. */
const secretKey = /key|token|secret|passw|authorization|credential|cookie/i
const publicKey = /^(credentials|max_.*)$/

/** Whether the value at a path may not be shown. Everything under an MCP server's `headers`, `env` and `oauth` may not. */
export const isSecret = (path: ReadonlyArray<PropertyKey>): boolean =>
  path.some((part, index) => {
    const key = String(part)
    if (path[0] === "mcp" && index > 2 && (key === "headers" || key === "env" || key === "oauth" || key === "args")) {
      return true
    }
    return secretKey.test(key) && !publicKey.test(key) && !isName(path, index)
  })

/** Whether this part of a path is a name that people choose: of a provider, an alias or a server. */
const isName = (path: ReadonlyArray<PropertyKey>, index: number): boolean =>
  ((path[0] === "providers" || path[0] === "models") && index === 1) ||
  (path[0] === "mcp" && path[1] === "servers" && index === 2)

/**
 * A config value as it may be shown: text shortened, user names, passwords and queries of addresses and anything that
 * looks like a provider's key masked, maps and lists only named.
 */
export const showValue = (path: ReadonlyArray<PropertyKey>, value: unknown): string | null => {
  if (value === undefined) return null
  if (value === null) return "empty"
  if (isSecret(path)) return "***"
  if (Array.isArray(value)) return "a list"
  if (typeof value === "object") return "a map"
  if (typeof value !== "string") return String(value)
  const masked = value
    .replace(/\/\/[^/\s]*@/g, "//***@")
    .replace(/([?&][^=&\s]*=)[^&\s]*/g, "$1***")
    .replace(/\b(sk|pk|rk|key)-[\w-]{6,}/g, "$1-***")
  return JSON.stringify(masked.length > 80 ? `${masked.slice(0, 79)}…` : masked)
}
