import { describe, expect, it } from "vitest"
import { waitAfterAnswer, waitAfterFailure } from "../../src/upstream/Retry.ts"

const now = Date.parse("2026-11-21T00:00:00Z")
const maxWait = 5000

const wait = (status: number, headers: { readonly [name: string]: string } = {}, attempt = 1, random = 0.5) =>
  waitAfterAnswer({ status, headers }, attempt, maxWait, random, now)

describe("another attempt after an answer", () => {
  it.each([200, 201, 204, 301, 302, 400, 401, 403, 404, 405, 409, 413, 422, 426, 499])("is no use for %d", (status) => {
    expect(wait(status, { "retry-after": "1" })).toBeNull()
  })

  it.each([408, 429, 500, 501, 502, 503, 504, 529, 599])("is worth it for %d", (status) => {
    expect(wait(status)).toBe(187.5)
  })

  it("is not made where the provider says so", () => {
    expect(wait(503, { "x-should-retry": "false" })).toBeNull()
    expect(wait(503, { "x-should-retry": "true" })).toBe(187.5)
    expect(wait(400, { "x-should-retry": "true" })).toBeNull()
  })

  it.each([
    [{ "retry-after": "1" }, 1000],
    [{ "retry-after": "0" }, 0],
    [{ "retry-after": "0.25" }, 250],
    [{ "retry-after": "-3" }, 0],
    [{ "retry-after": " 2 " }, 2000],
    [{ "retry-after": "5" }, 5000],
    [{ "retry-after": "Sat, 21 Nov 2026 00:00:03 GMT" }, 3000],
    [{ "retry-after": "Fri, 20 Nov 2026 23:59:00 GMT" }, 0],
    [{ "retry-after-ms": "40" }, 40],
    [{ "retry-after-ms": "40", "retry-after": "3" }, 40],
    [{ "retry-after-ms": "40", "retry-after": "60" }, 40],
    [{ "retry-after-ms": "soon", "retry-after": "3" }, 3000],
    [{ "retry-after-ms": "", "retry-after": "3" }, 3000]
  ])("waits as %j asks: %d ms", (headers, milliseconds) => {
    expect(wait(429, headers)).toBe(milliseconds)
  })

  it.each([
    { "retry-after": "6" },
    { "retry-after": "5.001" },
    { "retry-after": "Sat, 21 Nov 2026 00:01:00 GMT" },
    { "retry-after-ms": "5001" },
    { "retry-after-ms": "5001", "retry-after": "1" }
  ])("is not made where %j asks for a longer wait than allowed", (headers) => {
    expect(wait(429, headers)).toBeNull()
  })

  it.each([
    { "retry-after": "" },
    { "retry-after": "soon" },
    { "retry-after": "5 seconds" },
    { "retry-after": "Infinity" },
    { "retry-after-ms": "NaN" },
    { "retry-after-ms": " " }
  ])("waits by its own measure where %j says nothing", (headers) => {
    expect(wait(429, headers)).toBe(187.5)
  })
})

describe("the wait without advice", () => {
  it("doubles, half of it by chance, up to the longest", () => {
    expect([1, 2, 3, 4].map((attempt) => waitAfterFailure(attempt, maxWait, 0))).toEqual([125, 250, 500, 1000])
    expect([1, 2, 3, 4].map((attempt) => waitAfterFailure(attempt, maxWait, 1))).toEqual([250, 500, 1000, 2000])
    expect(waitAfterFailure(60, maxWait, 0)).toBe(maxWait)
    expect(waitAfterFailure(1, 0, 0.5)).toBe(0)
  })
})
