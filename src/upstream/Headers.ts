import type { HeaderMap } from "./Exchange.ts"

/** Request headers that go on to a provider (DESIGN §5). A name ending in `*` stands for all that begin so. */
const onward = [
  "accept",
  "content-type",
  "user-agent",
  "originator",
  "version",
  "idempotency-key",
  "x-app",
  "x-client-request-id",
  "session-id",
  "session_id",
  "thread-id",
  "x-session-*",
  "x-claude-code-*",
  "chatgpt-account-id",
  "openai-*",
  "anthropic-*",
  "x-stainless-*",
  "x-codex-*"
]

/** Response headers that come back to a client. */
const backward = [
  "content-type",
  "retry-after",
  "retry-after-ms",
  "x-should-retry",
  "request-id",
  "x-request-id",
  "x-ratelimit-*",
  "anthropic-*",
  "openai-*",
  "x-codex-*"
]

/** Headers that stop here whatever a config forwards: they concern one connection, one credential or Sluice itself. */
const never = [
  "connection",
  "keep-alive",
  "proxy-*",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "sec-websocket-*",
  "host",
  "content-length",
  "content-encoding",
  "accept-encoding",
  "expect",
  "cookie",
  "set-cookie",
  "authorization",
  "x-api-key",
  "traceparent",
  "tracestate",
  "baggage",
  "b3",
  "x-b3-*",
  "x-sluice-*"
]

/** Whether a lower-case header name is in a list. */
type NameTest = (name: string) => boolean

const listed = (names: ReadonlyArray<string>): NameTest => {
  const exact = new Set(names.filter((name) => !name.endsWith("*")))
  const prefixes = names.filter((name) => name.endsWith("*")).map((name) => name.slice(0, -1))
  return (name) => exact.has(name) || prefixes.some((prefix) => name.startsWith(prefix))
}

const isOnward = listed(onward)
const isBackward = listed(backward)
const isNever = listed(never)

/** Names whose verdict was asked for before: header names repeat, and a lookup is cheaper than a dozen prefixes. */
const remembered = (test: NameTest): NameTest => {
  const verdicts = new Map<string, boolean>()
  return (name) => {
    const known = verdicts.get(name)
    if (known !== undefined) return known
    const verdict = test(name)
    // The names are the client's choice, so what is remembered is bounded.
    if (verdicts.size < 256) verdicts.set(name, verdict)
    return verdict
  }
}

/** Names that `connection` lists concern this connection only (RFC 9110, section 7.6.1). */
const hopByHop = (headers: HeaderMap): ReadonlyArray<string> => {
  const { connection } = headers
  if (connection === undefined || connection === "keep-alive" || connection === "close") return none
  return String(connection)
    .split(",")
    .map((name) => name.trim().toLowerCase())
}

const none: ReadonlyArray<string> = []

/**
 * The filter for a provider's request headers.
 *
 * @param forwardHeaders further names, from `providers.<name>.forward_headers`
 */
export const requestFilter = (
  forwardHeaders: ReadonlyArray<string>
): ((headers: HeaderMap) => { [name: string]: string }) => {
  const isForwarded = listed(forwardHeaders.map((name) => name.toLowerCase()))
  const passes = remembered((name) => (isOnward(name) || isForwarded(name)) && !isNever(name))
  return (headers) => {
    const kept: { [name: string]: string } = {}
    const dropped = hopByHop(headers)
    for (const name in headers) {
      if (!passes(name) || dropped.includes(name)) continue
      const value = headers[name]
      if (typeof value === "string") kept[name] = value
      else if (value !== undefined) kept[name] = value.join(", ")
    }
    return kept
  }
}

/** Headers of which a client expects one (RFC 9110, section 5.3); an upstream that sends more means the first. */
const single = new Set(["content-type", "retry-after", "retry-after-ms"])

const comesBack = remembered((name) => isBackward(name) && !isNever(name))

/** What of a provider's response head a client is shown. */
export const responseHeaders = (headers: HeaderMap): { [name: string]: string | ReadonlyArray<string> } => {
  const kept: { [name: string]: string | ReadonlyArray<string> } = {}
  const dropped = hopByHop(headers)
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || !comesBack(name) || dropped.includes(name)) continue
    kept[name] = typeof value !== "string" && single.has(name) ? (value[0] ?? "") : value
  }
  return kept
}
