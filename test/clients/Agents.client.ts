import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type ClientPackage, install, openCode, pi, qwenCode } from "./Client.ts"
import { atOnce, checkUnseen, makeListeningScene, mixed } from "./Listening.ts"
import { assistant, say } from "./Model.ts"
import type { DialectName } from "./ModelAnswer.ts"
import { callsOf, type Home, makeHome, makeScene, recordsOf } from "./Scene.ts"

const key = "sk-test-0123456789abcdefghij"
const model = "mock-model"

/** An agent, and how it is told which gateway to ask in which protocol. */
interface Agent {
  readonly name: string
  readonly client: ClientPackage
  /** The files of its settings, by their path below `HOME`. */
  readonly files: (url: string) => { readonly [path: string]: object }
  readonly env: (url: string) => { readonly [name: string]: string }
  readonly args: (dialect: DialectName, prompt: string) => ReadonlyArray<string>
  /** What it is recorded as. */
  readonly recordedAs: (dialect: DialectName) => string
  /** Whether its requests name a session. */
  readonly session: (dialect: DialectName) => boolean
}

const dialects: ReadonlyArray<DialectName> = ["openai-chat", "openai-responses", "anthropic-messages"]

const agents: ReadonlyArray<Agent> = [
  {
    name: "opencode",
    client: openCode,
    files: (url) => {
      const provider = (npm: string, baseURL: string) => ({
        npm,
        options: { baseURL, apiKey: key },
        models: { [model]: { name: model } }
      })
      return {
        ".config/opencode/opencode.json": {
          small_model: `openai-chat/${model}`,
          autoupdate: false,
          share: "disabled",
          provider: {
            "openai-chat": provider("@ai-sdk/openai-compatible", `${url}/compatible/v1`),
            "openai-responses": provider("@ai-sdk/openai", `${url}/openai/v1`),
            "anthropic-messages": provider("@ai-sdk/anthropic", `${url}/anthropic/v1`)
          }
        }
      }
    },
    env: () => ({ OPENCODE_DISABLE_MODELS_FETCH: "1", OPENCODE_DISABLE_AUTOUPDATE: "1" }),
    args: (dialect, prompt) => ["run", "--auto", "-m", `${dialect}/${model}`, prompt],
    recordedAs: () => "opencode",
    session: () => true
  },
  {
    name: "pi",
    client: pi,
    files: (url) => {
      const provider = (api: string, baseUrl: string) => ({ api, baseUrl, apiKey: key, models: [{ id: model }] })
      return {
        ".pi/agent/models.json": {
          providers: {
            "openai-chat": provider("openai-completions", `${url}/compatible/v1`),
            "openai-responses": provider("openai-responses", `${url}/openai/v1`),
            "anthropic-messages": provider("anthropic-messages", `${url}/anthropic`)
          }
        }
      }
    },
    env: () => ({ PI_OFFLINE: "1", PI_TELEMETRY: "0" }),
    args: (dialect, prompt) => ["-p", "--no-session", "--provider", dialect, "--model", model, prompt],
    // Of this version only Responses has more than the SDK's own headers.
    recordedAs: (dialect) =>
      ({ "openai-chat": "openai-sdk", "openai-responses": "pi", "anthropic-messages": "anthropic-sdk" })[dialect],
    session: (dialect) => dialect === "openai-responses"
  },
  {
    name: "qwen-code",
    client: qwenCode,
    files: () => ({
      ".qwen/settings.json": {
        privacy: { usageStatisticsEnabled: false },
        telemetry: { enabled: false },
        general: { enableAutoUpdate: false }
      }
    }),
    env: (url) => ({
      OPENAI_API_KEY: key,
      OPENAI_BASE_URL: `${url}/openai/v1`,
      OPENAI_MODEL: model,
      ANTHROPIC_API_KEY: key,
      ANTHROPIC_BASE_URL: `${url}/anthropic`,
      ANTHROPIC_MODEL: model
    }),
    args: (dialect, prompt) => {
      const types = {
        "openai-chat": "openai",
        "openai-responses": "openai-responses",
        "anthropic-messages": "anthropic"
      }
      return ["--auth-type", types[dialect], "-y", prompt]
    },
    recordedAs: () => "qwen-code",
    session: (dialect) => dialect === "openai-responses"
  }
]

const settle = ({ home, cwd }: Home, files: { readonly [path: string]: object }) =>
  Effect.sync(() => {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(home, path)), { recursive: true })
      writeFileSync(join(home, path), JSON.stringify(content))
    }
    writeFileSync(join(cwd, "hello.txt"), "the file says ahoy\n")
  })

for (const agent of agents) {
  describe(agent.name, () => {
    let program = ""
    beforeAll(async () => {
      program = await Effect.runPromise(install(agent.client))
    })
    for (const dialect of dialects) {
      it.live(`gets text and calls a tool over ${dialect}`, () =>
        Effect.gen(function* () {
          const home = yield* makeHome
          const { gateway, upstream } = yield* makeScene((asked, turn) => say(asked, assistant(asked, turn)))
          yield* settle(home, agent.files(gateway.url))
          const ask = (prompt: string) => home.run(program, agent.args(dialect, prompt), agent.env(gateway.url), 90_000)
          const text = yield* ask("say hi")
          assert.match(text.stdout, /Heard: .*say hi/, text.output)
          const tool = yield* ask("read hello.txt")
          assert.include(tool.stdout, "the file says ahoy", tool.output)
          const records = (yield* recordsOf(gateway)).filter(({ interception }) => interception.dialect !== null)
          const own = records.filter(({ interception }) => interception.dialect === dialect)
          assert.strictEqual(callsOf(upstream).length, records.length)
          assert.isAtLeast(own.length, 3)
          for (const { interception, turns } of records) {
            assert.strictEqual(interception.client, agent.recordedAs(dialect), String(interception.userAgent))
            assert.strictEqual(interception.status, "completed")
            assert.strictEqual(turns[0]!.attempts, 1)
          }
          for (const { interception } of own) {
            assert.strictEqual(interception.sessionId !== null, agent.session(dialect), String(interception.sessionId))
          }
          assert.strictEqual(own.flatMap(({ toolCalls }) => toolCalls).length, 1)
          const caller = own.find(({ toolCalls }) => toolCalls.length > 0)!
          assert.isDefined(
            own.find(({ interception }) => interception.parentId === caller.interception.id),
            "the answer to the tool's result belongs to the call"
          )
          if (home.strangers.length > 0) process.stderr.write(`clients: ${agent.name} wanted ${home.strangers}\n`)
        })
      )

      it.live(`sees nothing of a tool that the gateway runs beside its own over ${dialect}`, () =>
        Effect.gen(function* () {
          const home = yield* makeHome
          const { gateway, model: listens } = yield* makeListeningScene
          yield* settle(home, agent.files(gateway.url))
          const said = yield* home.run(program, agent.args(dialect, atOnce), agent.env(gateway.url), 90_000)
          assert.strictEqual(said.code, 0, said.output)
          assert.include(said.stdout, "Heard: the file says ahoy", said.output)
          checkUnseen(said, home)
          assert.deepInclude(listens.conversations, mixed)
        })
      )
    }
  })
}
