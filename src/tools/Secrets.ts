import { Redacted } from "effect"
import type { McpServerConfig } from "../config/Config.ts"

/** Hides the credentials of one MCP server in text. */
export interface Mask {
  /** For errors and logs: every configured value that may be secret. */
  readonly inErrors: (text: string) => string
  /** For what tools answer, which belongs to the model: only what is a credential for sure. */
  readonly inAnswers: (text: string) => string
  /** How long the longest configured value is, in characters: whoever keeps an end of a text has to keep as much. */
  readonly longest: number
}

/** Names of headers, environment variables and options whose values are credentials. */
const credentialName = /auth|token|key|secret|cookie|passw|pwd|credential/i

/** Shorter values stand in any text by chance. */
const shortest = 4
const shortestInAnswers = 8

const mask = "***"

const replacing = (secrets: ReadonlyArray<string>, length: number): ((text: string) => string) => {
  // What is given as JSON, such as structured content, has them escaped.
  const forms = secrets
    .filter((secret) => secret.length >= length)
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)])
  // Longer ones first: one may be part of another.
  const sorted = [...new Set(forms)].toSorted((a, b) => b.length - a.length)
  return (text) => sorted.reduce((masked, secret) => masked.replaceAll(secret, mask), text)
}

/** `Bearer <token>`: the token is the secret, and may be echoed without its scheme. */
const withWords = (value: string): ReadonlyArray<string> => [value, ...value.split(/\s+/)]

/** The password in an address such as `postgres://user:password@host`, as it stands there and as it is meant. */
const passwordOf = (value: string): ReadonlyArray<string> => {
  const password = /^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]*?:([^/?#\s]+)@/i.exec(value)?.[1]
  if (password === undefined) return []
  try {
    return [password, decodeURIComponent(password)]
  } catch {
    return [password]
  }
}

/** The credentials in a program's arguments: `--api-key=x`, `--api-key x`, `--header "Authorization: Bearer x"`. */
const credentialsOf = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  args.flatMap((arg, index) => {
    const [, name = "", value = ""] = /^([^\s=:]+)(?:=|:\s*)(.*)$/s.exec(arg) ?? []
    const before = args[index - 1] ?? ""
    const isValue = before.startsWith("-") && !/[=:\s]/.test(before) && credentialName.test(before)
    return [
      ...(credentialName.test(name) ? withWords(value) : []),
      ...(isValue && !arg.startsWith("-") ? withWords(arg) : []),
      ...passwordOf(value),
      ...passwordOf(arg)
    ]
  })

/**
 * Makes the mask of a server.
 *
 * @param issued what an authorization server has given out since, such as access tokens
 */
export const maskOf = (server: McpServerConfig, issued: () => ReadonlyArray<string>): Mask => {
  const values = (record: McpServerConfig["headers"]) =>
    Object.entries(record).map(([name, value]) => [name, Redacted.value(value)] as const)
  const named = [...values(server.headers), ...values(server.env)]
  const credentials = named.flatMap(([name, value]) =>
    credentialName.test(name) ? withWords(value) : passwordOf(value)
  )
  credentials.push(...credentialsOf(server.args))
  if (server.oauth !== undefined) credentials.push(Redacted.value(server.oauth.client_secret))
  if (server.url !== undefined) {
    for (const [, value] of new URL(server.url).searchParams) credentials.push(value, encodeURIComponent(value))
  }
  const all = [...credentials, ...named.map(([, value]) => value), ...server.args]
  return {
    inErrors: (text) => replacing([...all, ...issued()], shortest)(text),
    inAnswers: (text) => replacing([...credentials, ...issued()], shortestInAnswers)(text),
    longest: Math.max(0, ...all.map(({ length }) => length))
  }
}
