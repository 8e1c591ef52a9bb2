import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { banner } from "../../src/cli/Banner.ts"
import { make } from "../../src/config/Load.ts"

describe("banner", () => {
  it.effect("says first where it listens, and then where to point clients", () =>
    Effect.gen(function* () {
      const config = yield* make({ providers: { oa: { type: "openai", api_key: "sk-0123456789abcdefghij" } } })
      const lines = banner({
        host: "127.0.0.1",
        port: 12345,
        loaded: { config, file: "sluice.yaml", warnings: ["mind this"] }
      }).split("\n")
      assert.strictEqual(lines[0], "listening on http://127.0.0.1:12345")
      assert.include(lines, "  oa  https://api.openai.com/v1  central key sk-0…ghij")
      assert.include(lines, '                  base_url = "http://127.0.0.1:12345/oa/v1"')
      assert.isTrue(lines.some((line) => line.includes("OPENAI_BASE_URL=http://127.0.0.1:12345/oa/v1")))
      assert.isFalse(lines.some((line) => line.includes("ANTHROPIC_BASE_URL")))
      assert.strictEqual(lines.at(-1), "warning: mind this")
    })
  )

  it.effect("prefers the providers that clients are made for", () =>
    Effect.gen(function* () {
      const config = yield* make({ providers: { sim: { type: "simulated" }, real: { type: "anthropic" } } })
      const text = banner({ host: "127.0.0.1", port: 1, loaded: { config, file: null, warnings: [] } })
      assert.include(text, "ANTHROPIC_BASE_URL=http://127.0.0.1:1/real claude\n")
      assert.include(text, 'base_url="http://127.0.0.1:1/sim/v1"')
      assert.include(text, "clients bring their own key")
    })
  )

  it.effect("points Claude Code at the simulated model where no other provider speaks Messages", () =>
    Effect.gen(function* () {
      const config = yield* make({ providers: { sim: { type: "simulated" } } })
      const text = banner({ host: "127.0.0.1", port: 1, loaded: { config, file: null, warnings: [] } })
      assert.include(text, "ANTHROPIC_BASE_URL=http://127.0.0.1:1/sim ANTHROPIC_API_KEY=none claude --model sim\n")
    })
  )

  it.effect("names the MCP servers, without what their addresses may hold of keys", () =>
    Effect.gen(function* () {
      const servers = { docs: { url: "http://127.0.0.1:3001/mcp?key=secret" }, local: { command: "my-server" } }
      const config = yield* make({ mcp: { servers } })
      const text = banner({ host: "127.0.0.1", port: 1, loaded: { config, file: null, warnings: [] } })
      assert.include(text, "Tools from MCP servers (http://127.0.0.1:1/readyz says which are connected):\n")
      assert.match(text, /^ {2}docs {3}http:\/\/127\.0\.0\.1:3001\/mcp\n {2}local {2}my-server$/m)
      const without = banner({
        host: "127.0.0.1",
        port: 1,
        loaded: { config: yield* make(), file: null, warnings: [] }
      })
      assert.notInclude(without, "MCP")
    })
  )

  it.effect("writes IPv6 addresses in brackets and gives clients of a wildcard address one they can reach", () =>
    Effect.gen(function* () {
      const loaded = { config: yield* make(), file: null, warnings: [] }
      const text = banner({ host: "::", port: 1, loaded })
      assert.include(text, "listening on http://[::]:1\n")
      assert.include(text, "ANTHROPIC_BASE_URL=http://[::1]:1/anthropic")
    })
  )
})
