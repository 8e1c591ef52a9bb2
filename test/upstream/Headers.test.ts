import { describe, expect, it } from "vitest"
import { requestFilter, responseHeaders } from "../../src/upstream/Headers.ts"

const valued = (names: ReadonlyArray<string>) => Object.fromEntries(names.map((name) => [name, `value of ${name}`]))

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
  "x-session-affinity",
  "x-claude-code-session-id",
  "chatgpt-account-id",
  "openai-organization",
  "openai-beta",
  "anthropic-version",
  "anthropic-beta",
  "x-stainless-retry-count",
  "x-codex-turn-state"
]

const backward = [
  "content-type",
  "retry-after",
  "retry-after-ms",
  "x-should-retry",
  "request-id",
  "x-request-id",
  "x-ratelimit-remaining-tokens",
  "anthropic-ratelimit-requests-limit",
  "openai-model",
  "openai-processing-ms",
  "x-codex-primary-used-percent"
]

const hopByHop = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade"
]

const stoppedHere = [
  ...hopByHop,
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
  "x-b3-traceid",
  "x-sluice-anything"
]

const unlisted = ["accept-language", "origin", "referer", "x-forwarded-for", "forwarded", "via", "x-custom", "date"]

describe("request headers", () => {
  it("go on if they are listed, and no others do", () => {
    const all = valued([...onward, ...stoppedHere, ...unlisted])
    expect(requestFilter([])(all)).toEqual(valued(onward))
  })

  it("go on if the config forwards them, by name or beginning, whatever the case of its letters", () => {
    const filter = requestFilter(["X-Custom", "x-tenant-*"])
    const sent = valued(["x-custom", "x-customs", "x-tenant-id", "x-tenant", "referer"])
    expect(filter(sent)).toEqual(valued(["x-custom", "x-tenant-id"]))
  })

  it("stop here whatever the config forwards, if they concern a connection, a credential or Sluice", () => {
    const all = valued(stoppedHere)
    expect(requestFilter([...stoppedHere, "*"])(all)).toEqual({})
  })

  it("stop here if Connection lists them", () => {
    const filter = requestFilter(["x-custom"])
    const sent = { ...valued(["accept", "x-app", "x-custom", "openai-beta"]), connection: "close, X-App ,x-custom,," }
    expect(filter(sent)).toEqual(valued(["accept", "openai-beta"]))
  })

  it("keep the values of a repeated one, in order", () => {
    expect(requestFilter([])({ "anthropic-beta": ["a", "b,c"], accept: undefined })).toEqual({
      "anthropic-beta": "a, b,c"
    })
  })

  it("are judged the same when there are more names than are remembered", () => {
    const filter = requestFilter([])
    const many = Array.from({ length: 600 }, (_, i) => (i % 2 === 0 ? `x-stainless-${i}` : `x-other-${i}`))
    const expected = valued(many.filter((name) => name.startsWith("x-stainless-")))
    expect(filter(valued(many))).toEqual(expected)
    expect(filter(valued(many))).toEqual(expected)
  })
})

describe("response headers", () => {
  it("come back if they are listed, and no others do", () => {
    const all = valued([...backward, ...stoppedHere, "server", "alt-svc", "cf-ray", "location", "date"])
    expect(responseHeaders(all)).toEqual(valued(backward))
  })

  it("stop here if Connection lists them", () => {
    const sent = { ...valued(["content-type", "x-request-id"]), connection: "x-request-id" }
    expect(responseHeaders(sent)).toEqual(valued(["content-type"]))
  })

  it("are the first where a client expects one", () => {
    const sent = { "content-type": ["a", "b"], "retry-after": ["1", "2"], "retry-after-ms": ["3"], "x-request-id": "r" }
    expect(responseHeaders(sent)).toEqual({
      "content-type": "a",
      "retry-after": "1",
      "retry-after-ms": "3",
      "x-request-id": "r"
    })
  })

  it("keep the values of a repeated one apart", () => {
    expect(responseHeaders({ "openai-version": ["a", "b"] })).toEqual({ "openai-version": ["a", "b"] })
  })
})
