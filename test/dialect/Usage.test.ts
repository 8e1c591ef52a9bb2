import { describe, expect, it } from "vitest"
import type { JsonObject } from "../../src/dialect/Json.ts"
import { fromChat, fromMessages, fromResponses, latest } from "../../src/dialect/Usage.ts"

describe("later usage over earlier", () => {
  it("keeps the latest value of each field that is not null, at every depth, and adds nothing", () => {
    const earlier = { prompt_tokens: 5, completion_tokens: 1, details: { cached_tokens: 2, audio_tokens: 1 } }
    const later = { prompt_tokens: null, completion_tokens: 4, details: { cached_tokens: 3, audio_tokens: null } }
    expect(latest(earlier, later)).toEqual({
      prompt_tokens: 5,
      completion_tokens: 4,
      details: { cached_tokens: 3, audio_tokens: 1 }
    })
    expect(latest(earlier, { details: null })).toEqual(earlier)
    expect(latest(null, later)).toBe(later)
    expect(earlier.completion_tokens).toBe(1)
  })
})

describe("names that every object knows", () => {
  const named = '{"constructor":5,"toString":7,"__proto__":{"cache_read_input_tokens":1234,"cached_tokens":9}}'
  const usage = () => JSON.parse(named) as JsonObject

  it("are names like any other in a usage object", () => {
    const other = { constructor: 5, toString: 7 }
    expect(fromChat(usage()).other).toEqual(other)
    expect(fromResponses(usage()).other).toEqual(other)
    expect(fromMessages(usage()).other).toEqual({
      ...other,
      "__proto__.cache_read_input_tokens": 1234,
      "__proto__.cached_tokens": 9
    })
    expect(Object.entries(fromChat(JSON.parse('{"__proto__":3}') as JsonObject).other)).toEqual([["__proto__", 3]])
  })

  it("bring nothing in when later usage is folded over earlier", () => {
    const folded = latest({ input_tokens: 1 }, usage())
    expect(fromMessages(folded)).toMatchObject({ input: 1, cacheRead: null })
    expect(fromMessages(folded).raw).toBe(`{"input_tokens":1,${named.slice(1)}`)
    expect(JSON.stringify(latest(usage(), usage()))).toBe(named)
  })
})

describe("the usage of Chat Completions", () => {
  it("counts no token twice", () => {
    const usage = fromChat({
      prompt_tokens: 100,
      completion_tokens: 20,
      total_tokens: 120,
      prompt_tokens_details: { cached_tokens: 60, cache_write_tokens: 10 },
      completion_tokens_details: { reasoning_tokens: 15 }
    })
    expect(usage).toMatchObject({ input: 30, cacheRead: 60, cacheWrite: 10, output: 20, reasoning: 15, other: {} })
  })

  it("reads the names of DeepSeek", () => {
    const usage = fromChat({ prompt_tokens: 10, prompt_cache_hit_tokens: 4, prompt_cache_miss_tokens: 6 })
    expect(usage).toMatchObject({ input: 6, cacheRead: 4, output: null, other: {} })
  })

  it("never goes below zero, and says by how much it would have", () => {
    const usage = fromChat({ prompt_tokens: 3, completion_tokens: -1, prompt_tokens_details: { cached_tokens: 5 } })
    expect(usage).toMatchObject({ input: 0, cacheRead: 5, output: 0, other: { input_clamped: 2 } })
  })

  it("knows nothing of what is no count, and keeps the provider's own numbers", () => {
    const raw = {
      prompt_tokens: "3",
      completion_tokens: null,
      prompt_tokens_details: [],
      server_seconds: 2.7,
      x: Number.POSITIVE_INFINITY
    }
    const usage = fromChat(raw)
    expect(usage).toMatchObject({ input: null, output: null, cacheRead: null, other: { server_seconds: 2 } })
    expect(JSON.parse(usage.raw!)).toMatchObject({ prompt_tokens: "3", server_seconds: 2.7 })
  })
})

describe("the usage of Responses", () => {
  it("counts no token twice, names the counts it does not know, and keeps what the provider said", () => {
    const given = {
      input_tokens: 100,
      input_tokens_details: { cached_tokens: 60, cache_write_tokens: 10, audio_tokens: 5, text_tokens: 0 },
      output_tokens: 20,
      output_tokens_details: { reasoning_tokens: 15 },
      total_tokens: 120,
      tool_calls: 2
    }
    const usage = fromResponses(given)
    expect(usage).toMatchObject({ input: 30, cacheRead: 60, cacheWrite: 10, output: 20, reasoning: 15 })
    expect(usage.other).toEqual({ "input_tokens_details.audio_tokens": 5, tool_calls: 2 })
    expect(JSON.parse(usage.raw!)).toEqual(given)
  })

  it("is never negative", () => {
    const usage = fromResponses({ input_tokens: 5, input_tokens_details: { cached_tokens: 9 }, output_tokens: -1 })
    expect(usage).toMatchObject({ input: 0, cacheRead: 9, output: 0, other: { input_clamped: 4 } })
  })

  it("is not known where it is not said", () => {
    expect(fromResponses({ input_tokens: null, output_tokens: "7" })).toMatchObject({
      input: null,
      cacheRead: null,
      cacheWrite: null,
      output: null,
      reasoning: null
    })
  })
})

describe("the usage of Messages", () => {
  it("keeps what was read from caches and written to them apart from the input", () => {
    const usage = fromMessages({
      input_tokens: 7,
      cache_read_input_tokens: 1000,
      cache_creation_input_tokens: 60,
      cache_creation: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 40 },
      output_tokens: 50,
      output_tokens_details: { thinking_tokens: 30 },
      server_tool_use: { web_search_requests: 2, web_fetch_requests: 0 },
      service_tier: "standard"
    })
    expect(usage).toMatchObject({ input: 7, cacheRead: 1000, cacheWrite: 60, output: 50, reasoning: 30 })
    expect(usage.other).toEqual({ cache_write_5m: 20, cache_write_1h: 40, web_search_requests: 2 })
  })

  it("adds up writes to caches only where nobody else did", () => {
    const written = { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 40 }
    expect(fromMessages({ cache_creation: written }).cacheWrite).toBe(60)
    expect(fromMessages({ cache_creation: { ephemeral_1h_input_tokens: 40 } }).cacheWrite).toBe(40)
    expect(fromMessages({ cache_creation: null, cache_creation_input_tokens: 5 }).cacheWrite).toBe(5)
  })

  it("knows nothing of what was not said, and names what it does not know", () => {
    const usage = fromMessages({ output_tokens: -3, input_tokens: null, future: { a_tokens: 2, text: "x" }, some: 1 })
    expect(usage).toMatchObject({ input: null, cacheRead: null, cacheWrite: null, output: 0, reasoning: null })
    expect(usage.other).toEqual({ "future.a_tokens": 2, some: 1, output_tokens_clamped: 3 })
    expect(JSON.parse(usage.raw!)).toMatchObject({ output_tokens: -3 })
  })

  it("takes no figure that nobody can count to, and no nesting that nobody can write", () => {
    let nested: object = {}
    for (let depth = 0; depth < 50_000; depth++) nested = { nested }
    const usage = fromChat({ prompt_tokens: 1e300, completion_tokens: 2 ** 62, other_tokens: -(2 ** 60), nested })
    expect(usage).toMatchObject({ input: null, output: null, other: {}, raw: null })
    expect(latest({ nested }, { nested, total: 1 })).toMatchObject({ total: 1 })
  })
})
