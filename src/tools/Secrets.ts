import { Redacted } from "effect"
import type { McpServerConfig } from "../config/Config.ts"

/** Hides the credentials of one MCP server in text. */
export interface Mask {
  /** For errors and logs: every configured value that may be secret. */
  readonly inErrors: (text: string) => string
  /** For what tools answer, which belongs to the model: only what is a credential for sure. */
  readonly inAnswers: (text: string) => string
}

const credentialHeader = /auth|token|key|secret|cookie|passw|credential/i

/** Shorter values stand in any text by chance. */
const shortest = 4
const shortestInAnswers = 8

const replacing = (secrets: ReadonlyArray<string>): ((text: string) => string) => {
  // Longer ones first: one may be part of another.
  const sorted = [...new Set(secrets)].toSorted((a, b) => b.length - a.length)
  return (text) => sorted.reduce((masked, secret) => masked.replaceAll(secret, "***"), text)
}

/**
 * Makes the mask of a server.
 *
 * @param issued what an authorization server has given out since, such as access tokens
 */
export const maskOf = (server: McpServerConfig, issued: () => ReadonlyArray<string>): Mask => {
  const headers = Object.entries(server.headers).map(([name, value]) => [name, Redacted.value(value)] as const)
  const credentials = headers
    .filter(([name]) => credentialHeader.test(name))
    // `Bearer <token>`: the token is the secret, and may be echoed without its scheme.
    .flatMap(([, value]) => [value, ...value.split(/\s+/)])
  if (server.oauth !== undefined) credentials.push(Redacted.value(server.oauth.client_secret))
  if (server.url !== undefined) {
    for (const [, value] of new URL(server.url).searchParams) credentials.push(value, encodeURIComponent(value))
  }
  const others = [
    ...headers.map(([, value]) => value),
    ...Object.values(server.env).map(Redacted.value),
    ...server.args
  ]
  const long = (length: number) => (value: string) => value.length >= length
  return {
    inErrors: (text) => replacing([...credentials, ...others, ...issued()].filter(long(shortest)))(text),
    inAnswers: (text) => replacing([...credentials, ...issued()].filter(long(shortestInAnswers)))(text)
  }
}
