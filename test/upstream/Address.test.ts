import { describe, expect, it } from "vitest"
import { Address } from "../../src/upstream/Address.ts"

const targetOf = (base: string, path: string, query = "") => new Address(new URL(base)).target(path, query)
const join = (base: string, path: string, query = "") => new URL(base).origin + targetOf(base, path, query)
const queryOf = (target: string) => target.replace(/^[^?]*/, "")

describe("a path behind a base URL", () => {
  it.each([
    // Without a version of its own the client's is kept.
    ["https://api.anthropic.com", "/v1/messages", "https://api.anthropic.com/v1/messages"],
    ["https://api.anthropic.com/", "/v1/messages", "https://api.anthropic.com/v1/messages"],
    ["https://host/api", "/v1/models", "https://host/api/v1/models"],
    ["https://host/openai/", "/v1/models", "https://host/openai/v1/models"],
    // A version stands for it, wherever it is in the path.
    ["https://api.openai.com/v1", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"],
    ["https://api.openai.com/v1/", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"],
    ["https://host/v1beta/openai", "/v1/chat/completions", "https://host/v1beta/openai/chat/completions"],
    ["https://host/api/paas/v4", "/v1/chat/completions", "https://host/api/paas/v4/chat/completions"],
    ["https://host/v1", "/chat/completions", "https://host/v1/chat/completions"],
    ["https://host/v1", "/v1", "https://host/v1"],
    // A word that merely begins with a v is none, nor is one in the host.
    ["https://v1.host/voice", "/v1/models", "https://v1.host/voice/v1/models"],
    ["https://host/version1", "/v1/models", "https://host/version1/v1/models"],
    // Only a whole segment of the client's is dropped, and only the first.
    ["https://host/v1", "/v1beta/models", "https://host/v1/v1beta/models"],
    ["https://host/v1", "/v1/v1/models", "https://host/v1/v1/models"],
    // Escapes stay as they are.
    ["https://host/v1", "/v1/models/a%20b%3Fc%25", "https://host/v1/models/a%20b%3Fc%25"],
    ["https://host/v1", "/v1/models/ft:gpt:o::1", "https://host/v1/models/ft:gpt:o::1"]
  ])("%s and %s make %s", (base, path, url) => {
    expect(join(base, path)).toBe(url)
  })
})

describe("a query", () => {
  it.each([
    "?limit=10&after=x",
    "?a=1&a=2&a=",
    "?",
    "??",
    "?&&=&",
    "?a=%zz&b=%2F%2f&c=+%20",
    "?a=%E4%BD%A0&b=%ff",
    "?a[]=1&b={x}|y^`\\",
    "?a=/../b//c;d:e@f,g!h$i(j)*k~l",
    "?api-version=1?2"
  ])("%s goes on as it stands", (query) => {
    // One that holds nothing is none.
    expect(queryOf(targetOf("https://host/v1", "/v1/models", query))).toBe(query === "?" ? "" : query)
  })

  it.each([
    ["https://host/v1?api-version=1", "", "?api-version=1"],
    ["https://host/v1?api-version=1", "?", "?api-version=1"],
    ["https://host/v1?api-version=1", "?a=%zz&a", "?api-version=1&a=%zz&a"],
    ["https://host/v1?", "?a=1", "?a=1"]
  ])("of %s and %s is %s", (base, query, joined) => {
    expect(queryOf(targetOf(base, "/v1/models", query))).toBe(joined)
  })

  it("cannot reach what stands before it", () => {
    expect(targetOf("https://host/v1", "/v1/models", "?a#/../../admin")).toBe("/v1/models?a%23/../../admin")
  })
})
