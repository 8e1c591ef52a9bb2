import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import type { Home } from "./Scene.ts"

/** Of Codex's settings, what keeps it from calling anything but what it is told to. */
export const quietSettings = `
model = "gpt-5"
check_for_update_on_startup = false
[analytics]
enabled = false
[feedback]
enabled = false
[otel]
exporter = "none"
trace_exporter = "none"
metrics_exporter = "none"
log_user_prompt = false
`

/** Codex's settings for a provider with a key, which it asks by HTTP, or over WebSockets first. */
export const providerSettings = (baseUrl: string, websockets: boolean): string => `
model_provider = "gateway"
${quietSettings}
[model_providers.gateway]
name = "gateway"
base_url = "${baseUrl}"
env_key = "GATEWAY_KEY"
wire_api = "responses"
supports_websockets = ${websockets}
`

/** Empties a home and gives Codex these settings in it, and a file `hello.txt` to read. */
export const settleCodex = ({ home, cwd }: Home, settings: string) =>
  Effect.sync(() => {
    for (const folder of [home, cwd]) rmSync(folder, { recursive: true, force: true })
    mkdirSync(join(home, ".codex"), { recursive: true })
    mkdirSync(cwd)
    writeFileSync(join(home, ".codex", "config.toml"), settings)
    writeFileSync(join(cwd, "hello.txt"), "the file says ahoy\n")
  })

/** Runs `codex exec`. */
export const execCodex = (script: string, home: Home, args: ReadonlyArray<string>) =>
  home.run(
    script,
    // It is in a folder of its own; the sandbox that it would start commands in needs rights that tests may lack.
    ["exec", ...args, "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"],
    { GATEWAY_KEY: "sk-test-0123456789abcdefghij" },
    120_000
  )
