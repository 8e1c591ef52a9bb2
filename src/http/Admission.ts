import { createHash, timingSafeEqual } from "node:crypto"
import { isIP, isIPv6 } from "node:net"
import { Redacted } from "effect"

/** What the listener's rules are made from: the `server` section of the configuration. */
export interface AdmissionSettings {
  readonly host: string
  readonly hosts: ReadonlyArray<string>
  readonly origins: ReadonlyArray<string>
}

/** What is looked at of a request. Node's `IncomingMessage` is one. */
export interface AdmissionRequest {
  readonly method?: string | undefined
  /** The request target as it came. */
  readonly url?: string | undefined
  /** By lower-case name. */
  readonly headers: { readonly [name: string]: string | ReadonlyArray<string> | undefined }
  /** Names and values in turn, in which a header that came twice still stands twice. */
  readonly rawHeaders?: ReadonlyArray<string> | undefined
}

/** Headers by lower-case name. */
export interface HeaderRecord {
  readonly [name: string]: string
}

/** Whether a request is taken in. */
export type Verdict =
  /** It is; `cors` goes onto whatever it is answered with. */
  | { readonly _tag: "Admitted"; readonly cors: HeaderRecord }
  /** It is answered 403. */
  | { readonly _tag: "Forbidden"; readonly message: string }
  /** It is a browser's question whether it may send a request: answered 204 with these headers. */
  | { readonly _tag: "Preflight"; readonly headers: HeaderRecord }

export type Admit = (request: AdmissionRequest) => Verdict

/**
 * What a page may read of an answer. The wildcard stands for everything, which it does for requests without cookies, and
 * Sluice takes no cookies; the names are for clients that do not know it.
 */
const exposed = [
  "*",
  "x-sluice-interception-id",
  "x-sluice-lossy",
  "x-request-id",
  "request-id",
  "retry-after",
  "retry-after-ms",
  "x-should-retry",
  "x-ratelimit-limit-requests",
  "x-ratelimit-limit-tokens",
  "x-ratelimit-remaining-requests",
  "x-ratelimit-remaining-tokens",
  "x-ratelimit-reset-requests",
  "x-ratelimit-reset-tokens"
].join(", ")

/** How long a browser may remember what a preflight was answered, in seconds. */
const preflightMaxAge = "600"

/**
 * Makes the rules that keep web pages away from a listener (DESIGN §5), which stand before every route, upgrades
 * included.
 *
 * **Details**
 *
 * A name that an attacker points at this machine (DNS rebinding) reaches the listener as `Host`; only IP literals,
 * `localhost`, `server.host` and `server.hosts` are answered, whatever the port. A `Host` that is missing, comes twice or
 * cannot be read is refused: the rule would not hold behind a proxy that garbles it. Where the target is in absolute
 * form (RFC 9112, section 3.2.2), its host must be one of these, too.
 *
 * An `Origin` is the same origin if scheme, host and port are those the request was sent to. The scheme is `http`, which
 * the listener speaks, or what a TLS terminator says in `x-forwarded-proto`: a page cannot set that without a preflight,
 * which would be refused.
 */
export const admission = (settings: AdmissionSettings): Admit => {
  const names = new Set(["localhost", ...[settings.host, ...settings.hosts].map((name) => hostOf(name) ?? name)])
  const origins = new Map(settings.origins.map((origin) => [origin, crossOrigin(origin)]))
  // What is answered then depends on who asks, also where nobody says so.
  const local: Verdict = { _tag: "Admitted", cors: origins.size === 0 ? {} : { vary: "origin" } }
  // Nearly all requests carry the same one.
  let lastAllowed: string | undefined

  const allows = (authority: string): boolean => {
    if (authority === lastAllowed) return true
    const host = hostOf(authority)
    if (host === null || (isIP(host) === 0 && !names.has(host))) return false
    lastAllowed = authority
    return true
  }

  return (request) => {
    const { headers } = request
    const url = request.url ?? "/"
    const named = headers["host"]
    const target = url.startsWith("/") || url === "*" ? null : authorityOf(url)
    if (named === undefined ? target === null : typeof named !== "string" || !allows(named)) return strange(named)
    if (target !== null && !allows(target)) return strange(target)
    if (request.rawHeaders !== undefined && isRepeated(request.rawHeaders)) {
      return { _tag: "Forbidden", message: "The request has several Host headers." }
    }

    const origin = headers["origin"]
    if (origin === undefined) return local
    const authority = target ?? (named as string)
    const known = typeof origin === "string" ? origins.get(origin) : undefined
    if (known === undefined && !isSameOrigin(origin, authority, headers["x-forwarded-proto"])) {
      return {
        _tag: "Forbidden",
        message: `Pages of the origin ${quote(origin)} may not call this gateway; server.origins lists those that may.`
      }
    }
    if (request.method === "OPTIONS" && headers["access-control-request-method"] !== undefined) {
      return { _tag: "Preflight", headers: preflight(String(origin), headers) }
    }
    return known ?? local
  }
}

const strange = (host: unknown): Verdict => ({
  _tag: "Forbidden",
  message:
    host === undefined
      ? "The request has no Host header."
      : `This gateway does not answer to the host ${quote(host)}; server.hosts lists the names it answers to.`
})

/** A client's text in a message: escaped, and not longer than is of use. */
const quote = (value: unknown): string => JSON.stringify(String(value).slice(0, 100))

/** The host of an authority, in lower case, without its port and the dot of the root; `null` where it has none. */
const hostOf = (authority: string): string | null => {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^\s:@/\\?#%[\]]+?)\.?)(?::\d{0,5})?$/i.exec(authority)
  if (match === null) return null
  const [, bracketed, name] = match
  if (bracketed !== undefined) return isIPv6(bracketed) ? bracketed : null
  return name!.toLowerCase()
}

/** The authority of a target in absolute form, or what stands in its place. */
const authorityOf = (url: string): string => /^https?:\/\/([^/?#]*)/i.exec(url)?.[1] ?? url

const isRepeated = (rawHeaders: ReadonlyArray<string>): boolean => {
  let seen = false
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    if (name.length !== 4 || name.toLowerCase() !== "host") continue
    if (seen) return true
    seen = true
  }
  return false
}

const isSameOrigin = (origin: unknown, authority: string, forwarded: unknown): boolean => {
  const scheme = typeof forwarded === "string" ? forwarded.trim().toLowerCase() : "http"
  if ((scheme !== "http" && scheme !== "https") || typeof origin !== "string") return false
  // Parsing drops a port that is the scheme's own, on both sides.
  const address = `${scheme}://${authority}`
  return URL.canParse(address) && URL.canParse(origin) && new URL(address).origin === new URL(origin).origin
}

const crossOrigin = (origin: string): Verdict => ({
  _tag: "Admitted",
  cors: { "access-control-allow-origin": origin, "access-control-expose-headers": exposed, vary: "origin" }
})

const preflight = (origin: string, headers: AdmissionRequest["headers"]): HeaderRecord => {
  const asked = headers["access-control-request-headers"]
  return {
    "access-control-allow-origin": origin,
    "access-control-allow-methods": "GET, HEAD, POST, DELETE",
    // A wildcard would leave out `authorization`.
    ...(typeof asked === "string" && /^[\w\s,!#$%&'*+.^`|~-]+$/.test(asked)
      ? { "access-control-allow-headers": asked }
      : {}),
    ...(headers["access-control-request-private-network"] === "true"
      ? { "access-control-allow-private-network": "true" }
      : {}),
    "access-control-max-age": preflightMaxAge,
    vary: "origin, access-control-request-method, access-control-request-headers"
  }
}

/** Whether a request may see what people wrote. */
export type AdminVerdict =
  | { readonly _tag: "Allowed" }
  /** It is answered 401, with `www-authenticate: Bearer`. */
  | { readonly _tag: "Unauthorized"; readonly message: string }
  /** It is answered 403. */
  | { readonly _tag: "Forbidden"; readonly message: string }

/**
 * Whose listener it is, and who reaches it: Sluice's own, reached from this machine only (`loopback`) or from others,
 * too (`network`), or that of a host which Sluice is embedded in and which alone knows who reaches it (`host`).
 */
export type ListenerKind = "loopback" | "network" | "host"

/** Says by its `authorization` header whether a request may use `/api` and `/console`. */
export type AdmitAdmin = (authorization: string | undefined) => AdminVerdict

/**
 * Makes the rule of `/api` and `/console`: with `server.admin_token` they need it as a bearer (RFC 6750) everywhere;
 * without one they answer on a loopback listener of Sluice's own only.
 */
export const adminRule = (options: {
  readonly token: Redacted.Redacted<string> | undefined
  readonly listener: ListenerKind
}): AdmitAdmin => {
  if (options.token === undefined) {
    const verdict: AdminVerdict =
      options.listener === "loopback"
        ? { _tag: "Allowed" }
        : { _tag: "Forbidden", message: needsToken(options.listener) }
    return () => verdict
  }
  const expected = digest(Redacted.value(options.token))
  return (authorization) => {
    const given = /^bearer +(\S+)\s*$/i.exec(authorization ?? "")?.[1]
    if (given === undefined) {
      return { _tag: "Unauthorized", message: "Send the admin token (server.admin_token) as a bearer." }
    }
    // Digests are of one length, and how far they agree says nothing about the token.
    return timingSafeEqual(digest(given), expected)
      ? { _tag: "Allowed" }
      : { _tag: "Unauthorized", message: "This is not the admin token (server.admin_token)." }
  }
}

const needsToken = (listener: "network" | "host") => {
  const [where, key] =
    listener === "host"
      ? ["where Sluice is embedded", "server.admin_token in the config of Sluice.layer"]
      : ["off loopback", "server.admin_token or SLUICE_ADMIN_TOKEN"]
  return `This shows what people wrote, so ${where} it needs a token: set ${key}, and send it as a bearer.`
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()
