import { describe, expect, it } from "vitest"
import { clientOf, clients, type HeaderMap } from "../../src/sessions/Clients.ts"

const stainless = { "x-stainless-lang": "js", "x-stainless-package-version": "1.0.0" }

/** What each client sends: observed in its requests, or as its source says. */
const observed: ReadonlyArray<readonly [client: string, what: string, headers: HeaderMap]> = [
  [
    "claude-code",
    "2.1, with its session",
    {
      ...stainless,
      "user-agent": "claude-cli/2.1.329 (external, sdk-cli)",
      "x-app": "cli",
      "anthropic-version": "2023-06-01",
      "x-claude-code-session-id": "3f0e3a52-5a1b-4b57-9d0b-2f6a6c1f2a11"
    }
  ],
  [
    "claude-code",
    "by its user agent and betas",
    {
      ...stainless,
      "user-agent": "claude-cli/2.0.1 (external, cli)",
      "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14"
    }
  ],
  [
    "qwen-code",
    "posing as Claude Code",
    {
      ...stainless,
      "user-agent": "claude-cli/0.24.4 (external, cli)",
      "anthropic-version": "2023-06-01",
      "anthropic-beta": "interleaved-thinking-2025-05-14"
    }
  ],
  ["qwen-code", "as itself", { ...stainless, "user-agent": "QwenCode/0.24.4 (linux; x64)" }],
  ["codex", "exec", { originator: "codex_exec", "user-agent": "codex_exec/0.169.0 (Debian 12; x86_64)" }],
  ["codex", "the terminal's", { originator: "codex_cli_rs", "user-agent": "codex-tui/0.169.0" }],
  ["codex", "by its user agent alone", { "user-agent": "codex_cli_rs/0.144.0 (Mac OS; arm64)" }],
  ["codex", "the desktop's", { originator: "Codex Desktop", "user-agent": "Codex Desktop/2026.9" }],
  [
    "opencode",
    "over the AI SDK",
    {
      "user-agent": "opencode/1.18.33 ai-sdk/provider-utils/4.0.1 runtime/bun/1.3.14",
      "x-session-affinity": "ses_1"
    }
  ],
  ["cursor", "from its servers", { "user-agent": "Cursor/1.0" }],
  ["zed", "1", { "user-agent": "Zed/0.210.0 (macos; aarch64)" }],
  ["copilot-vscode", "with a model of one's own", { "user-agent": "GitHubCopilotChat/0.36.2" }],
  [
    "copilot-vscode",
    "as its own service sees it",
    { "editor-version": "vscode/1.108.2", "editor-plugin-version": "copilot-chat/0.36.2", "x-interaction-type": "x" }
  ],
  [
    "copilot-cli",
    "with a provider of one's own",
    { ...stainless, "user-agent": "OpenAI/JS 5.20.1", "x-interaction-type": "conversation-user" }
  ],
  ["kilo", "the extension", { ...stainless, "user-agent": "Kilo-Code/5.16.2", "x-title": "Kilo Code" }],
  [
    "kilo",
    "with what it inherits of opencode",
    { "user-agent": "opencode/7.8.3 (darwin; arm64)", originator: "opencode", "x-title": "Kilo Code" }
  ],
  ["roo", "with chat", { ...stainless, "user-agent": "RooCode/3.54.0", "x-title": "Roo Code" }],
  ["roo", "with Responses", { "user-agent": "roo-code/3.54.0 (darwin 25.0.0; arm64)", originator: "roo-code" }],
  ["cline", "by its title", { ...stainless, "user-agent": "OpenAI/JS 5.0.0", "x-title": "Cline" }],
  ["crush", "1", { "user-agent": "Charm-Crush/v0.97.1 (https://charm.land/crush)" }],
  ["gemini-cli", "1", { "user-agent": "GeminiCLI/0.34.0/gemini-pro (linux; x64; terminal)" }],
  ["gemini-cli", "in Zed", { "user-agent": "GeminiCLI-acp-zed/0.62.0/gemini-pro (darwin; arm64; acp)" }],
  ["pi", "by its user agent", { "user-agent": "pi (darwin 25.0.0; arm64)" }],
  ["pi", "calling Codex's service", { originator: "pi", "user-agent": "codex_cli_rs/0.144.0" }],
  [
    "pi",
    "0.73, with the SDK's user agent",
    { ...stainless, "user-agent": "OpenAI/JS 6.26.0", session_id: "s", "x-client-request-id": "s" }
  ],
  ["junie", "1", { "user-agent": "ktor-client", "grazie-agent": '{"name":"junie:cli","version":"1.0"}' }],
  ["openai-sdk", "JavaScript", { ...stainless, "user-agent": "OpenAI/JS 7.55.0" }],
  ["openai-sdk", "Python, asynchronous", { "x-stainless-lang": "python", "user-agent": "AsyncOpenAI/Python 2.1.0" }],
  ["openai-sdk", "in an agent with a name of its own", { ...stainless, "user-agent": "Agents/JavaScript 0.20.0" }],
  ["anthropic-sdk", "JavaScript", { ...stainless, "user-agent": "Anthropic/JS 1.11.0" }],
  [
    "anthropic-sdk",
    "in an app with a name of its own",
    { ...stainless, "user-agent": "app/1", "anthropic-version": "1" }
  ],
  ["ai-sdk", "7", { "user-agent": "ai/7.0.173 ai-sdk-provider-utils/5.0.81 node.js/24" }],
  ["ai-sdk", "6", { "user-agent": "ai/6.0.1 ai-sdk/provider-utils/4.0.1 runtime/node.js/24" }],
  ["ai-sdk", "a provider of it alone", { "user-agent": "ai-sdk/openai-compatible/1.0.0" }]
]

describe("clientOf", () => {
  it.each(observed)("knows %s: %s", (client, _, headers) => {
    expect(clientOf(headers)).toBe(client)
    // The second time it is remembered.
    expect(clientOf({ ...headers })).toBe(client)
  })

  it("has an example of every client it knows", () => {
    expect([...new Set(observed.map(([client]) => client)), "unknown"].sort()).toEqual([...clients].sort())
  })

  it.each<readonly [string, HeaderMap]>([
    ["nothing", {}],
    ["an empty user agent", { "user-agent": "" }],
    ["a header that is there and empty", { "x-claude-code-session-id": "", "x-stainless-lang": "" }],
    ["a user agent of Claude Code without its betas", { "user-agent": "claude-cli/2.1.329 (external, cli)" }],
    ["its betas without its user agent", { "anthropic-beta": "claude-code-20250219" }],
    ["a name inside of another", { "user-agent": "not-codex_cli_rs/1.0" }],
    ["a name that begins like another", { "user-agent": "pi-hole/1.0" }],
    ["a name that ends like another", { "user-agent": "raspberrypi/1.0" }],
    ["an address with a name in it", { "user-agent": "https://example.com/codex" }],
    ["an app that ends like the AI SDK", { "user-agent": "my-ai-sdk/1.0" }],
    ["a title of its own", { "x-title": "My Cline Fork" }],
    ["a script", { "user-agent": "curl/8.5.0" }]
  ])("does not know %s", (_, headers) => {
    expect(clientOf(headers)).toBe("unknown")
  })

  it("takes a header that came several times, and one of any size", () => {
    expect(clientOf({ "user-agent": "x".repeat(100_000) })).toBe("unknown")
    expect(clientOf({ originator: ["codex_exec", "codex_exec"] })).toBe("codex")
  })

  it("tells apart callers who differ in one header only, whoever came first", () => {
    const headers = { "user-agent": "OpenAI/JS 6.26.0", "x-client-request-id": "1" }
    expect(clientOf(headers)).toBe("openai-sdk")
    expect(clientOf({ ...headers, session_id: "1" })).toBe("pi")
    expect(clientOf(headers)).toBe("openai-sdk")
  })

  it("answers the same once it has forgotten", () => {
    for (let i = 0; i < 3000; i++) expect(clientOf({ "user-agent": `codex_exec/0.${i}.0` })).toBe("codex")
    expect(clientOf({ "user-agent": "codex_exec/0.0.0" })).toBe("codex")
  })
})
