import { describe, expect, it } from "vitest"
import { anthropicModels, isAnthropicCaller, modelAt, openAiModels } from "../../src/http/Models.ts"

const models = ["a", "b", "c", "d", "e"].map((id) => ({ id, provider: "up" }))

const page = (query: string) => {
  const { data, ...rest } = JSON.parse(anthropicModels(models, query)) as {
    data: ReadonlyArray<{ id: string }>
    has_more: boolean
  }
  return { ids: data.map((model) => model.id).join(""), ...rest }
}

describe("the models in Anthropic's form", () => {
  it("have a type, a name and a time", () => {
    expect(JSON.parse(anthropicModels(models.slice(0, 1), ""))).toEqual({
      data: [{ type: "model", id: "a", display_name: "a", created_at: "1970-01-01T00:00:00Z" }],
      has_more: false,
      first_id: "a",
      last_id: "a"
    })
  })

  it.each([
    ["", "abcde", false],
    ["?limit=1000", "abcde", false],
    ["?limit=5", "abcde", false],
    ["?limit=2", "ab", true],
    ["?limit=0", "a", true],
    ["?limit=two", "abcde", false],
    ["?limit=2&after_id=b", "cd", true],
    ["?limit=2&after_id=c", "de", false],
    ["?after_id=e", "", false],
    ["?after_id=z", "", false],
    ["?before_id=c", "ab", false],
    ["?limit=2&before_id=d", "bc", true],
    ["?limit=3&before_id=d", "abc", false],
    ["?before_id=a", "", false],
    ["?before_id=z", "", false],
    ["?after_id=a&before_id=d", "bc", true]
  ])("are paged: %s", (query, ids, more) => {
    expect(page(query)).toMatchObject({ ids, has_more: more, first_id: ids[0] ?? null, last_id: ids.at(-1) ?? null })
  })

  it("are read to their end page by page, in both directions", () => {
    const forward: Array<string> = []
    for (let query = "?limit=2"; ; query = `?limit=2&after_id=${forward.at(-1)![1]}`) {
      const { ids, has_more } = page(query)
      forward.push(ids)
      if (!has_more) break
    }
    expect(forward).toEqual(["ab", "cd", "e"])
    const backward: Array<string> = []
    for (let query = "?limit=2&before_id=e"; ; query = `?limit=2&before_id=${backward.at(-1)![0]}`) {
      const { ids, has_more } = page(query)
      backward.push(ids)
      if (!has_more) break
    }
    expect(backward).toEqual(["cd", "ab"])
  })
})

describe("the models in OpenAI's form", () => {
  it("say whose they are", () => {
    expect(JSON.parse(openAiModels(models.slice(0, 1)))).toEqual({
      object: "list",
      data: [{ id: "a", object: "model", created: 0, owned_by: "up" }]
    })
  })
})

describe("one model", () => {
  const known = [
    { id: "fast", provider: "up" },
    { id: "up/some model@v1", provider: "up" }
  ]
  const anthropic = { "anthropic-version": "2023-06-01" }

  it.each(["/v1/models/up/some%20model@v1", "/v1/models/up%2Fsome%20model%40v1", "/v1/models/up/some model@v1"])(
    "is found by its id, escaped or not, in the form of the list: %s",
    (path) => {
      expect(JSON.parse(modelAt(known, path, {})!.body!)).toEqual(JSON.parse(openAiModels(known)).data[1])
      expect(JSON.parse(modelAt(known, path, anthropic)!.body!)).toEqual(JSON.parse(anthropicModels(known, "")).data[1])
    }
  )

  it.each([
    "/v1/models/FAST",
    "/v1/models/fast/",
    "/v1/models/%E0%A4%A",
    "/v1/models/..%2ffast",
    "/v1/models/constructor"
  ])("is not found where it is not listed: %s", (path) => {
    expect(modelAt(known, path, {})).toMatchObject({ error: { status: 404, code: "model_not_found" } })
  })

  it("is named in the refusal no longer than helps", () => {
    expect(modelAt(known, `/v1/models/${"x".repeat(5000)}`, {})!.error!.message.length).toBeLessThan(300)
  })

  it.each(["/v1/models", "/v1/models/", "/v1/responses/x", "/models/fast"])("is not asked for by %s", (path) => {
    expect(modelAt(known, path, {})).toBeNull()
  })
})

describe("a caller of Anthropic's", () => {
  it.each([
    [{ "anthropic-version": "2023-06-01" }, true],
    [{ "x-api-key": "k" }, true],
    [{ authorization: "Bearer k" }, false],
    [{}, false]
  ])("is known by its headers: %j", (headers, expected) => {
    expect(isAnthropicCaller(headers)).toBe(expected)
  })
})
