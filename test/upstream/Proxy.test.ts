import { assert, describe, it } from "@effect/vitest"
import { proxyFor } from "../../src/upstream/Proxy.ts"

const secure = "https://api.example.com"
const plain = "http://api.example.com:8000"

describe("the proxy to an address", () => {
  const cases: ReadonlyArray<readonly [string, { readonly [name: string]: string }, string, string | null]> = [
    ["is none where the environment names none", {}, secure, null],
    ["is that of its scheme", { HTTPS_PROXY: "http://s", HTTP_PROXY: "http://p" }, secure, "http://s"],
    ["is that of its scheme", { HTTPS_PROXY: "http://s", HTTP_PROXY: "http://p" }, plain, "http://p"],
    ["is that of http where https has none", { HTTP_PROXY: "http://p" }, secure, "http://p"],
    ["is none for http where only https has one", { HTTPS_PROXY: "http://s" }, plain, null],
    [
      "is read in small letters first",
      { https_proxy: "http://small", HTTPS_PROXY: "http://s" },
      secure,
      "http://small"
    ],
    ["is none where the name is empty", { HTTPS_PROXY: "" }, secure, null]
  ]
  it.each(cases)("%s: %o, %s", (_, environment, url, expected) => {
    assert.strictEqual(proxyFor(new URL(url), environment), expected)
  })

  const exceptions: ReadonlyArray<readonly [string, string, boolean]> = [
    ["*", secure, true],
    ["other.com, api.example.com", secure, true],
    ["API.Example.com.", secure, true],
    ["example.com", secure, true],
    [".example.com", secure, true],
    [".example.com", "https://example.com", true],
    ["*.example.com", secure, true],
    ["*.example.com", "https://example.com", false],
    ["ample.com", secure, false],
    ["api.example.com:443", secure, true],
    ["api.example.com:8443", secure, false],
    ["api.example.com:8000", plain, true],
    ["*:80", secure, false],
    ["127.0.0.1", "http://127.0.0.1:4141", true],
    ["::1", "http://[::1]:4141", true],
    ["[::1]", "http://[::1]:4141", true],
    ["[::1]:4141", "http://[::1]:4141", true],
    ["[::1]:80", "http://[::1]:4141", false],
    [" ,, ", secure, false]
  ]
  it.each(exceptions)("is none for what no_proxy lists: %o and %s, %s", (list, url, excepted) => {
    const environment = { http_proxy: "http://p", NO_PROXY: list }
    assert.strictEqual(proxyFor(new URL(url), environment), excepted ? null : "http://p")
  })
})
