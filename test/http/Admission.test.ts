import { Redacted } from "effect"
import { describe, expect, it } from "vitest"
import { adminRule, admission, type AdmissionRequest } from "../../src/http/Admission.ts"

const admit = admission({
  host: "127.0.0.1",
  hosts: ["Sluice.Lan", "box.example:4141"],
  origins: ["https://tools.example"]
})

const request = (headers: AdmissionRequest["headers"], more: Partial<AdmissionRequest> = {}): AdmissionRequest => ({
  method: "POST",
  url: "/v1/chat/completions",
  headers,
  ...more
})

const tagOf = (headers: AdmissionRequest["headers"], more?: Partial<AdmissionRequest>) =>
  admit(request(headers, more))._tag

describe("the host rule", () => {
  it.each([
    "127.0.0.1",
    "127.0.0.1:4141",
    "192.168.1.7:80",
    "[::1]",
    "[::1]:4141",
    "[2001:DB8::7]:4141",
    "[::ffff:127.0.0.1]",
    "localhost",
    "LOCALHOST:4141",
    "localhost.:4141",
    "localhost:",
    "sluice.lan",
    "SLUICE.LAN:9999",
    "sluice.lan.",
    "box.example",
    "box.example:80"
  ])("admits %s", (host) => {
    expect(tagOf({ host })).toBe("Admitted")
  })

  it.each([
    "",
    " ",
    "evil.example",
    "evil.example:4141",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.localhost",
    "localhost..",
    "localhost@evil.example",
    "127.0.0.1@evil.example:80",
    "127.0.0.1:80@evil.example",
    "localhost:80:80",
    "localhost:http",
    "localhost:123456",
    "localhost/evil.example",
    "localhost#evil",
    "localhost evil",
    "::1",
    "[::1",
    "[::1]x",
    "[127.0.0.1]",
    "[evil]",
    "127.1",
    "2130706433",
    "0x7f000001",
    "lan",
    "sluice.lan.evil.example",
    "a, localhost"
  ])("refuses %j", (host) => {
    const verdict = admit(request({ host }))
    expect(verdict._tag).toBe("Forbidden")
    if (verdict._tag === "Forbidden") expect(verdict.message).toContain("server.hosts")
  })

  it("refuses a request without a host, whatever its version", () => {
    expect(tagOf({})).toBe("Forbidden")
  })

  it("refuses a request with several hosts, although the first would do", () => {
    const rawHeaders = ["Host", "localhost", "x", "host", "HOST", "evil.example"]
    expect(tagOf({ host: "localhost" }, { rawHeaders })).toBe("Forbidden")
    expect(tagOf({ host: "localhost" }, { rawHeaders: rawHeaders.slice(0, 4) })).toBe("Admitted")
  })

  it("wants the host of a target in absolute form to be one of ours, and the header's, too", () => {
    expect(tagOf({ host: "localhost" }, { url: "http://127.0.0.1:4141/v1/models" })).toBe("Admitted")
    expect(tagOf({ host: "localhost" }, { url: "http://evil.example/v1/models" })).toBe("Forbidden")
    expect(tagOf({ host: "localhost" }, { url: "http://localhost@evil.example/" })).toBe("Forbidden")
    expect(tagOf({ host: "localhost" }, { url: "ftp://localhost/" })).toBe("Forbidden")
    expect(tagOf({ host: "evil.example" }, { url: "http://localhost/" })).toBe("Forbidden")
    expect(tagOf({}, { url: "http://localhost/" })).toBe("Admitted")
    expect(tagOf({ host: "localhost" }, { url: "*", method: "OPTIONS" })).toBe("Admitted")
  })

  it("goes on refusing and admitting when the host changes between requests", () => {
    const seen = ["localhost", "evil.example", "localhost", "127.0.0.1", "evil.example"].map((host) => tagOf({ host }))
    expect(seen).toEqual(["Admitted", "Forbidden", "Admitted", "Admitted", "Forbidden"])
  })

  it("admits the name it listens on", () => {
    const byName = admission({ host: "Gateway.Internal", hosts: [], origins: [] })
    expect(byName(request({ host: "gateway.internal:4141" }))._tag).toBe("Admitted")
    expect(byName(request({ host: "sluice.lan" }))._tag).toBe("Forbidden")
  })

  it("does not repeat more of a host than is of use", () => {
    const verdict = admit(request({ host: `${"x".repeat(5000)}"` }))
    expect(verdict._tag === "Forbidden" && verdict.message.length).toBeLessThan(300)
  })
})

describe("the origin rule", () => {
  const host = "127.0.0.1:4141"

  it.each<[string, AdmissionRequest["headers"]]>([
    ["the same origin", { host, origin: "http://127.0.0.1:4141" }],
    ["the same origin on the port of its scheme", { host: "localhost:80", origin: "http://localhost" }],
    ["the same origin in IPv6", { host: "[::1]:4141", origin: "http://[::1]:4141" }],
    [
      "the same origin behind a TLS terminator",
      { host: "sluice.lan", origin: "https://sluice.lan", "x-forwarded-proto": "https" }
    ],
    ["an origin that is listed", { host, origin: "https://tools.example" }]
  ])("admits %s", (_, headers) => {
    expect(tagOf(headers)).toBe("Admitted")
  })

  it.each<[string, AdmissionRequest["headers"]]>([
    ["another host", { host, origin: "http://evil.example" }],
    ["another name of the same machine", { host, origin: "http://localhost:4141" }],
    ["another port", { host, origin: "http://127.0.0.1:3000" }],
    ["another scheme", { host, origin: "https://127.0.0.1:4141" }],
    ["the scheme that a terminator took off", { host, origin: `http://${host}`, "x-forwarded-proto": "https" }],
    ["a list of schemes", { host, origin: `https://${host}`, "x-forwarded-proto": "https, http" }],
    ["a scheme that is not the web's", { host, origin: `ftp://${host}`, "x-forwarded-proto": "ftp" }],
    ["null", { host, origin: "null" }],
    ["nothing", { host, origin: "" }],
    ["several", { host, origin: "http://127.0.0.1:4141, http://evil.example" }],
    ["a listed origin on another port", { host, origin: "https://tools.example:8443" }],
    ["what only begins like a listed one", { host, origin: "https://tools.example.evil.example" }],
    ["a page of an extension", { host, origin: "chrome-extension://abcdef" }]
  ])("refuses %s", (_, headers) => {
    const verdict = admit(request(headers))
    expect(verdict._tag).toBe("Forbidden")
    if (verdict._tag === "Forbidden") expect(verdict.message).toContain("server.origins")
    expect(tagOf({ ...headers, upgrade: "websocket", connection: "upgrade" }, { method: "GET" })).toBe("Forbidden")
    expect(tagOf({ ...headers, "access-control-request-method": "POST" }, { method: "OPTIONS" })).toBe("Forbidden")
  })

  it("lets a listed origin read the answer and its headers, and nobody else", () => {
    const verdict = admit(request({ host, origin: "https://tools.example" }))
    expect(verdict).toMatchObject({
      cors: { "access-control-allow-origin": "https://tools.example", vary: "origin" }
    })
    expect(verdict._tag === "Admitted" && verdict.cors["access-control-expose-headers"]).toContain(
      "x-sluice-interception-id"
    )
    expect(admit(request({ host }))).toEqual({ _tag: "Admitted", cors: { vary: "origin" } })
    expect(admission({ host, hosts: [], origins: [] })(request({ host }))).toEqual({ _tag: "Admitted", cors: {} })
  })

  it("answers the preflight of a listed origin, naming the headers it asked for", () => {
    const asked = "authorization,content-type,x-stainless-os"
    const verdict = admit(
      request(
        {
          host,
          origin: "https://tools.example",
          "access-control-request-method": "POST",
          "access-control-request-headers": asked
        },
        { method: "OPTIONS" }
      )
    )
    expect(verdict).toMatchObject({
      _tag: "Preflight",
      headers: {
        "access-control-allow-origin": "https://tools.example",
        "access-control-allow-headers": asked
      }
    })
    expect(verdict._tag === "Preflight" && verdict.headers["access-control-allow-methods"]).toContain("POST")
    expect(verdict._tag === "Preflight" && verdict.headers["vary"]).toContain("origin")
    expect(verdict._tag === "Preflight" && "access-control-allow-credentials" in verdict.headers).toBe(false)
  })

  it("does not repeat what is no list of header names", () => {
    const verdict = admit(
      request(
        {
          host,
          origin: "https://tools.example",
          "access-control-request-method": "POST",
          "access-control-request-headers": "x\u00e9; <b>"
        },
        { method: "OPTIONS" }
      )
    )
    expect(verdict._tag === "Preflight" && "access-control-allow-headers" in verdict.headers).toBe(false)
  })

  it("takes an OPTIONS request that asks nothing for an ordinary one", () => {
    const headers = { host, origin: "https://tools.example" }
    expect(tagOf(headers, { method: "OPTIONS" })).toBe("Admitted")
    expect(tagOf({ ...headers, "access-control-request-method": "POST" })).toBe("Admitted")
  })
})

describe("the admin rule", () => {
  const token = Redacted.make("admin-token-0123456789")

  it.each(["loopback", "network", "host"] as const)("wants the token where one is set (%s)", (listener) => {
    const rule = adminRule({ token, listener })
    expect(rule("Bearer admin-token-0123456789")._tag).toBe("Allowed")
    expect(rule("bearer  admin-token-0123456789 ")._tag).toBe("Allowed")
    for (const wrong of [
      undefined,
      "",
      "Bearer",
      "Bearer ",
      "Bearer admin-token-012345678",
      "Bearer admin-token-01234567890",
      "Bearer x admin-token-0123456789",
      "Basic admin-token-0123456789",
      "admin-token-0123456789"
    ]) {
      expect(rule(wrong)._tag, wrong).toBe("Unauthorized")
    }
  })

  it("never says what the token is", () => {
    const rule = adminRule({ token, listener: "network" })
    expect(JSON.stringify([rule(undefined), rule("Bearer wrong-guess")])).not.toMatch(/0123456789|wrong-guess/)
  })

  it.each([
    ["network", /so off loopback it needs a token: set server\.admin_token or SLUICE_ADMIN_TOKEN, /],
    ["host", /so where Sluice is embedded it needs a token: set server\.admin_token in the config of Sluice\.layer, /]
  ] as const)("without a token answers on loopback only, and says elsewhere (%s) how to set one", (listener, said) => {
    expect(adminRule({ token: undefined, listener: "loopback" })(undefined)._tag).toBe("Allowed")
    const refused = adminRule({ token: undefined, listener })("Bearer anything")
    expect(refused._tag).toBe("Forbidden")
    expect(refused._tag === "Forbidden" && refused.message).toMatch(said)
  })
})
