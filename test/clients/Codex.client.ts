import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { zstdDecompressSync } from "node:zlib"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { DateTime, Clock, Effect } from "effect"
import type { RawStep, ServedRequest } from "../support/UpstreamServer.ts"
import { codex, install } from "./Client.ts"
import { execCodex, providerSettings, quietSettings, settleCodex } from "./CodexHome.ts"
import { atOnce, behind, checkListening, inTurn, makeListeningScene } from "./Listening.ts"
import { assistant, refuse, say, stream, streamed } from "./Model.ts"
import {
  callsOf,
  type Home,
  makeHome,
  makeScene,
  makeUpstream,
  recordsOf,
  type Scene,
  sessionsOf,
  statusesOf
} from "./Scene.ts"

let script = ""
beforeAll(async () => {
  script = await Effect.runPromise(install(codex))
})

/** Its settings for the provider that is built in, and for ChatGPT's own services. */
const chatGptSettings = (baseUrl: string, servicesUrl: string): string => `
openai_base_url = "${baseUrl}"
chatgpt_base_url = "${servicesUrl}/backend-api"
${quietSettings}
`

const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** A token as ChatGPT's login gives it; nobody checks its signature. */
const token = [
  base64({ alg: "none" }),
  base64({
    email: "nobody@example.test",
    exp: 4_000_000_000,
    "https://api.openai.com/auth": { chatgpt_plan_type: "pro", chatgpt_account_id: "acc-1", chatgpt_user_id: "user-1" }
  }),
  base64("signature")
].join(".")

const logIn = ({ home }: Home) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.sync(() =>
      writeFileSync(
        join(home, ".codex", "auth.json"),
        JSON.stringify({
          auth_mode: "chatgpt",
          OPENAI_API_KEY: null,
          tokens: { id_token: token, access_token: token, refresh_token: "none", account_id: "acc-1" },
          last_refresh: DateTime.formatIso(DateTime.makeUnsafe(now))
        })
      )
    )
  )

const exec = (home: Home, args: ReadonlyArray<string>) => execCodex(script, home, args)

const begin = (scene: Pick<Scene, "gateway">) =>
  Effect.gen(function* () {
    const home = yield* makeHome
    yield* settleCodex(home, providerSettings(`${scene.gateway.url}/openai/v1`, false))
    return home
  })

describe("Codex", () => {
  it.live("gets text, calls a tool, and goes on with the session", () =>
    Effect.gen(function* () {
      const scene = yield* makeScene((asked, turn) => say(asked, assistant(asked, turn)))
      const { gateway, upstream } = scene
      const home = yield* begin(scene)
      const text = yield* exec(home, ["say hi"])
      assert.strictEqual(text.stdout.trim().split("\n").at(-1), "Heard: say hi", text.output)
      const tool = yield* exec(home, ["resume", "--last", "read hello.txt"])
      assert.include(tool.stdout, "Heard: the file says ahoy", tool.output)
      const resumed = yield* exec(home, ["resume", "--last", "turn three"])
      assert.include(resumed.stdout, "Heard: turn three", resumed.output)
      for (const result of [text, tool, resumed]) assert.strictEqual(result.code, 0, result.output)
      assert.strictEqual(callsOf(upstream).length, 4)
      assert.strictEqual(upstream.requests.length, 4)
      const records = yield* recordsOf(gateway)
      assert.strictEqual(records.length, 4)
      const session = upstream.requests[0]!.headers["session-id"] as string
      for (const { interception, turns, usage } of records) {
        assert.deepInclude(interception, {
          client: "codex",
          sessionId: session,
          status: "completed",
          dialect: "openai-responses",
          transport: "sse",
          credentialKind: "byok"
        })
        assert.deepStrictEqual(
          turns.map(({ attempts }) => attempts),
          [1]
        )
        assert.deepInclude(usage[0], { input: 100, cacheRead: 20, output: 30, reasoning: 10, provenance: "provider" })
      }
      assert.deepStrictEqual(
        records.map(({ prompts, toolCalls, thoughts }) => [
          prompts[0]?.text,
          toolCalls.map(({ name }) => name),
          thoughts.map(({ source }) => source)
        ]),
        [
          ["say hi", [], ["reasoning_summary"]],
          ["read hello.txt", ["exec_command"], ["reasoning_summary"]],
          [undefined, [], ["reasoning_summary"]],
          ["turn three", [], ["reasoning_summary"]]
        ]
      )
      assert.strictEqual(records[2]!.interception.parentId, records[1]!.interception.id)
      assert.deepInclude((yield* sessionsOf(gateway))[0], { id: session, client: "codex", interceptions: 4 })
    })
  )

  it.live("sees nothing of tools that the gateway runs, whose answers the model still knows in a resumed session", () =>
    Effect.gen(function* () {
      const scene = yield* makeListeningScene
      const home = yield* begin(scene)
      const runs = [
        yield* exec(home, ["--json", inTurn]),
        yield* exec(home, ["resume", "--last", atOnce]),
        yield* exec(home, ["resume", "--last", behind])
      ]
      yield* checkListening(scene, home, "codex", runs)
      // Two requests, the first of them of two turns: their outputs are summed, their inputs are not.
      const { usage } = JSON.parse(runs[0]!.stdout.trim().split("\n").at(-1)!) as { readonly usage: object }
      assert.deepInclude(usage, { input_tokens: 240, cached_input_tokens: 40, output_tokens: 90 })
    })
  )

  it.live("logged in to ChatGPT, sends bodies in zstd, which go on decoded, and takes the 426 for its WebSocket", () =>
    Effect.gen(function* () {
      const home = yield* makeHome
      const { gateway, upstream } = yield* makeScene((asked, turn) => say(asked, assistant(asked, turn)))
      const straight = yield* makeUpstream((asked, turn) => say(asked, assistant(asked, turn)))
      const ask = (baseUrl: string) =>
        Effect.gen(function* () {
          yield* settleCodex(home, chatGptSettings(baseUrl, straight.url))
          yield* logIn(home)
          const said = yield* exec(home, ["say hi"])
          assert.strictEqual(said.stdout.trim().split("\n").at(-1), "Heard: say hi", said.output)
          return said
        })
      // What it sends where there is no gateway: proof that the other run had something to decode.
      const given = (asked: ReadonlyArray<ServedRequest>) => asked.filter(({ method }) => method === "POST")
      const alone = straight.requests
      yield* ask(`${straight.url}/v1`)
      const [encoded] = given(alone.filter(({ url }) => url === "/v1/responses"))
      assert.strictEqual(encoded!.headers["content-encoding"], "zstd")
      const said = yield* ask(`${gateway.url}/openai/v1`)
      const [decoded, ...others] = given(upstream.requests)
      assert.strictEqual(others.length, 0)
      assert.strictEqual(decoded!.headers["content-encoding"], undefined)
      assert.strictEqual(decoded!.headers["authorization"], `Bearer ${token}`)
      assert.strictEqual(decoded!.headers["chatgpt-account-id"], "acc-1")
      // The ids in it are of the run, but it has the same members in the same order, and is about as long.
      const plain = zstdDecompressSync(encoded!.body)
      assert.deepStrictEqual(Object.keys(JSON.parse(decoded!.text)), Object.keys(JSON.parse(plain.toString())))
      assert.closeTo(decoded!.body.length, plain.length, 300)
      // Where the WebSocket is not refused with 426, it tries for seconds.
      assert.isBelow(said.milliseconds, 5_000, said.output)
      assert.deepStrictEqual(statusesOf(yield* recordsOf(gateway)), [
        ["rejected", "upstream_status"],
        ["completed", undefined]
      ])
    })
  )

  const cuts: ReadonlyArray<readonly [name: string, ending: RawStep]> = [
    ["reset", { reset: true }],
    ["closed", { fin: true }],
    ["ended cleanly without its terminal event", ""]
  ]
  for (const [name, ending] of cuts) {
    it.live(`asks again where the answer was ${name} in its middle`, () =>
      Effect.gen(function* () {
        const scene = yield* makeScene((asked, turn) => {
          const answer = assistant(asked, turn)
          return turn < 2 ? stream([...streamed(asked, answer).slice(0, 12), ending]) : say(asked, answer)
        })
        const home = yield* begin(scene)
        const said = yield* exec(home, ["say hi"])
        assert.strictEqual(said.stdout.trim().split("\n").at(-1), "Heard: say hi", said.output)
        assert.include(said.stderr, "Reconnecting", said.output)
        assert.strictEqual(scene.upstream.requests.length, 3)
        assert.deepStrictEqual(statusesOf(yield* recordsOf(scene.gateway)), [
          ["failed", "upstream_cut"],
          ["failed", "upstream_cut"],
          ["completed", undefined]
        ])
      })
    )
  }

  it.live("waits as long as a 429 says before it asks again", () =>
    Effect.gen(function* () {
      const scene = yield* makeScene((asked, turn) =>
        turn === 0 ? refuse(asked.dialect, 429, { "retry-after": "2" }) : say(asked, assistant(asked, turn))
      )
      const home = yield* begin(scene)
      const said = yield* exec(home, ["say hi"])
      assert.strictEqual(said.stdout.trim().split("\n").at(-1), "Heard: say hi", said.output)
      const [refused, answered] = scene.upstream.requests
      assert.isAbove(answered!.receivedAt - refused!.receivedAt, 1_900)
      assert.strictEqual(scene.upstream.requests.length, 2)
      assert.deepStrictEqual(statusesOf(yield* recordsOf(scene.gateway)), [
        ["failed", "upstream_status"],
        ["completed", undefined]
      ])
    })
  )

  it.live("asks again also where a 429 does not say when: the gateway does", () =>
    Effect.gen(function* () {
      const scene = yield* makeScene((asked, turn) =>
        turn === 0 ? refuse(asked.dialect, 429) : say(asked, assistant(asked, turn))
      )
      const home = yield* begin(scene)
      const said = yield* exec(home, ["say hi"])
      assert.strictEqual(said.stdout.trim().split("\n").at(-1), "Heard: say hi", said.output)
      assert.strictEqual(scene.upstream.requests.length, 2)
    })
  )

  it.live("is not warned of another model where the gateway chose it by an alias", () =>
    Effect.gen(function* () {
      const ask = (alias: boolean) =>
        Effect.gen(function* () {
          const scene = yield* makeScene(
            (asked, turn) => {
              const answer = say(asked, assistant(asked, turn))
              return { ...answer, headers: { ...answer.headers, "openai-model": "gpt-5.1-2026-01-01" } }
            },
            { models: { quick: "openai/gpt-5.1-2026-01-01" } }
          )
          const home = yield* makeHome
          yield* settleCodex(home, providerSettings(`${scene.gateway.url}${alias ? "/v1" : "/openai/v1"}`, false))
          const said = yield* exec(home, ["-m", "quick", "say hi"])
          assert.strictEqual(said.stdout.trim().split("\n").at(-1), "Heard: say hi", said.output)
          const [record] = yield* recordsOf(scene.gateway)
          return { said, record: record!.interception }
        })
      const chosen = yield* ask(true)
      assert.deepInclude(chosen.record, { requestedModel: "quick", servedModel: "gpt-5.1-2026-01-01" })
      assert.notInclude(chosen.said.stderr, "rerouted")
      assert.notInclude(chosen.said.stderr, "gpt-5.1-2026-01-01")
      // It does look: what the upstream itself says of another model goes on.
      const other = yield* ask(false)
      assert.include(other.said.stderr, "gpt-5.1-2026-01-01", other.said.output)
    })
  )

  it.live("waits through silence longer than its idle timer, which each keep-alive winds up", () =>
    Effect.gen(function* () {
      const silent = (keepAlive: string) =>
        Effect.gen(function* () {
          const scene = yield* makeScene(
            (asked, turn) => {
              const events = streamed(asked, assistant(asked, turn))
              return stream([...events.slice(0, 12), { wait: 6_000 }, ...events.slice(12)])
            },
            { limits: { keep_alive: keepAlive } }
          )
          const home = yield* begin(scene)
          const provider = "model_providers.gateway"
          const options = [`${provider}.stream_idle_timeout_ms=1500`, `${provider}.stream_max_retries=0`]
          const said = yield* exec(home, [...options.flatMap((option) => ["-c", option]), "say hi"])
          return { said, upstream: scene.upstream }
        })
      const alive = yield* silent("1 second")
      assert.strictEqual(alive.said.stdout.trim().split("\n").at(-1), "Heard: say hi", alive.said.output)
      assert.strictEqual(alive.upstream.requests.length, 1)
      // Its timer does run: where keep-alives are too rare, it gives up.
      const rare = yield* silent("1 minute")
      assert.notStrictEqual(rare.said.code, 0, rare.said.output)
      assert.include(rare.said.stderr, "idle timeout", rare.said.output)
    })
  )
})
