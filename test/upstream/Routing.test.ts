import { describe, expect, it } from "vitest"
import type { DialectName } from "../../src/dialect/Dialect.ts"
import { type Alias, Routing, type RoutedProvider } from "../../src/upstream/Routing.ts"

const provider = (
  name: string,
  type: string,
  dialects: ReadonlyArray<DialectName> = ["openai-chat"],
  models: ReadonlyArray<string> = []
): RoutedProvider => ({ name, type, dialects, askUsage: true, websocket: false, models, mcp: null })

const providers = [
  provider("local", "openai-compatible", ["openai-chat"], ["llama-*", "a.b", "meta/*-instruct"]),
  provider("second", "openai-compatible", ["openai-responses"], ["llama-3", "only-responses"]),
  provider("openai", "openai", ["openai-chat", "openai-responses"]),
  provider("anthropic", "anthropic", ["anthropic-messages"]),
  provider("sim", "simulated", ["openai-chat", "openai-responses", "anthropic-messages"])
]

const aliases = new Map<string, Alias>([
  ["fast", { to: "openai/gpt-4.1-mini", mcp: ["docs"] }],
  ["gpt-4o", { to: "local/llama-3", mcp: null }],
  ["local/odd", { to: "sim/sim", mcp: null }],
  ["slashed", { to: "local/org/model", mcp: null }]
])

const routing = new Routing(providers, aliases)

const pick = (model: string, dialect: DialectName | null = "openai-chat", by = routing) => {
  const route = by.forModel(model, dialect)
  return "_tag" in route ? route.code : `${route.provider.name} ${route.model}`
}

describe("the provider of a model", () => {
  it.each([
    // provider/model, of which only the first part names the provider
    ["openai/gpt-5", "openai gpt-5"],
    ["local/anything at all", "local anything at all"],
    ["local/org/model:tag", "local org/model:tag"],
    ["sim/openai/gpt-5", "sim openai/gpt-5"],
    // aliases win over prefixes, lists and known names, and are followed once
    ["fast", "openai gpt-4.1-mini"],
    ["gpt-4o", "local llama-3"],
    ["local/odd", "sim sim"],
    ["slashed", "local org/model"],
    ["openai/fast", "openai fast"],
    // lists, in which a star is any characters and everything else itself
    ["llama-3.1-70b", "local llama-3.1-70b"],
    ["llama-", "local llama-"],
    ["a.b", "local a.b"],
    ["axb", "model_not_found"],
    ["xllama-3", "model_not_found"],
    ["meta/llama-instruct", "local meta/llama-instruct"],
    ["meta/llama", "model_not_found"],
    // known names
    ["gpt-5", "openai gpt-5"],
    ["chatgpt-4o-latest", "openai chatgpt-4o-latest"],
    ["codex-mini", "openai codex-mini"],
    ["o3", "openai o3"],
    ["ft:gpt-4o:org::id", "openai ft:gpt-4o:org::id"],
    ["sim", "sim sim"],
    ["sim-slow", "sim sim-slow"],
    ["simple", "model_not_found"],
    ["omni", "model_not_found"],
    ["my-gpt-5", "model_not_found"],
    // nothing
    ["", "model_not_found"],
    ["/gpt-5", "model_not_found"],
    ["nobody/gpt-5", "model_not_found"],
    ["GPT-5", "model_not_found"],
    ["__proto__", "model_not_found"],
    ["constructor/x", "model_not_found"]
  ])("%j is %j", (model, expected) => {
    expect(pick(model)).toBe(expected)
  })

  it("is one that speaks the dialect, where several list the model", () => {
    expect(pick("llama-3", "openai-chat")).toBe("local llama-3")
    expect(pick("llama-3", "openai-responses")).toBe("second llama-3")
    expect(pick("only-responses", "openai-chat")).toBe("model_not_found")
  })

  it("is refused where it is known and lacks the dialect", () => {
    expect(pick("claude-sonnet-5")).toBe("dialect_not_supported")
    expect(pick("anthropic/x")).toBe("dialect_not_supported")
    expect(routing.forModel("anthropic/x", "openai-chat")).toMatchObject({
      message: "The provider 'anthropic' does not speak openai-chat. It speaks: anthropic-messages.",
      provider: { name: "anthropic" }
    })
  })

  it("needs no dialect for what is passed through", () => {
    expect(pick("text-embedding-3-small", null)).toBe("openai text-embedding-3-small")
    expect(pick("anthropic/x", null)).toBe("anthropic x")
  })

  it("that there is not is answered with all there is", () => {
    expect(routing.forModel("nothing", "openai-chat")).toMatchObject({
      message:
        "The model 'nothing' is not configured. Configured: fast, gpt-4o, local/odd, slashed, llama-*, a.b, meta/*-instruct, " +
        "llama-3, only-responses, local/<model>, second/<model>, openai/<model>, anthropic/<model>, sim/<model>."
    })
    expect(new Routing([], new Map()).forModel("x", null)).toMatchObject({
      message: "The model 'x' is not configured. No provider is configured."
    })
  })

  it("whose name is endless is not repeated to the end", () => {
    const route = routing.forModel("x".repeat(1_000_000), "openai-chat")
    expect("_tag" in route && route.message.length).toBeLessThan(1000)
  })
})

describe("the provider of a path", () => {
  it("serves any model under the name the client uses", () => {
    expect(routing.named("openai", "openai-chat")).toMatchObject({ provider: { name: "openai" }, model: null })
  })

  it("has to speak the dialect", () => {
    expect(routing.named("anthropic", "openai-chat")).toMatchObject({ code: "dialect_not_supported" })
    expect(routing.named("anthropic", null)).toMatchObject({ provider: { name: "anthropic" } })
  })

  it("that there is not is answered with those there are", () => {
    expect(routing.named("nobody", null)).toMatchObject({
      code: "provider_not_found",
      message: "There is no provider 'nobody'. Configured: local, second, openai, anthropic, sim."
    })
  })
})
