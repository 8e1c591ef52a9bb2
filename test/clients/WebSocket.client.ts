import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { codex, install } from "./Client.ts"
import { execCodex, providerSettings, settleCodex } from "./CodexHome.ts"
import { assistant, say } from "./Model.ts"
import { type Home, makeHome, makeScene, makeUpstream, recordsOf, sessionsOf, statusesOf } from "./Scene.ts"
import {
  type Bridging,
  errorMessage,
  makeSocketModel,
  makeSocketScene,
  messages,
  type SocketScript,
  type SocketStep
} from "./WebSocketModel.ts"

let script = ""
beforeAll(async () => {
  script = await Effect.runPromise(install(codex))
})

const exec = (home: Home, ...args: ReadonlyArray<string>) => execCodex(script, home, args)

const begin = (baseUrl: string) =>
  Effect.gen(function* () {
    const home = yield* makeHome
    yield* settleCodex(home, providerSettings(baseUrl, true))
    return home
  })

const answering: SocketScript = (asked, turn) => messages(asked, assistant(asked, turn))

/** Its first two answers end so after twelve events. */
const cut =
  (ending: SocketStep): SocketScript =>
  (asked, turn) => {
    const whole = answering(asked, turn)
    return turn < 2 ? [...whole.slice(0, 12), ending] : whole
  }

const lastLine = (stdout: string) => stdout.trim().split("\n").at(-1)

const bridgings: ReadonlyArray<Bridging> = ["native", "bridged"]

describe.each(bridgings)("Codex over WebSockets, %s", (bridging) => {
  it.live("warms up, gets text, calls a tool, and goes on with the session", () =>
    Effect.gen(function* () {
      const { asked, baseUrl, gateway } = yield* makeSocketScene(bridging, answering)
      const home = yield* begin(baseUrl)
      const text = yield* exec(home, "say hi")
      assert.strictEqual(lastLine(text.stdout), "Heard: say hi", text.output)
      const tool = yield* exec(home, "resume", "--last", "read hello.txt")
      assert.strictEqual(lastLine(tool.stdout), "Heard: the file says ahoy", tool.output)
      const resumed = yield* exec(home, "resume", "--last", "turn three")
      assert.strictEqual(lastLine(resumed.stdout), "Heard: turn three", resumed.output)
      for (const { code, output, stderr } of [text, tool, resumed]) {
        assert.strictEqual(code, 0, output)
        assert.notInclude(stderr, "Reconnecting")
        assert.notInclude(stderr, "Falling back")
      }
      const creates = asked().map(({ body, items }) => [
        body["generate"] === false ? "warm-up" : "turn",
        typeof body["previous_response_id"] === "string" ? "goes on" : "begins",
        items
      ])
      // Each run is a connection of its own, on which only what is new is sent: what an upstream by HTTP gets is whole.
      assert.deepStrictEqual(
        creates,
        bridging === "native"
          ? [
              ["warm-up", "begins", 1],
              ["turn", "goes on", 3],
              ["warm-up", "begins", 1],
              ["turn", "goes on", 6],
              ["turn", "goes on", 1],
              ["warm-up", "begins", 1],
              ["turn", "goes on", 13]
            ]
          : [
              ["turn", "begins", 4],
              ["turn", "begins", 7],
              ["turn", "begins", 11],
              ["turn", "begins", 14]
            ]
      )
      for (const { body } of asked()) {
        assert.strictEqual(body["store"], false)
        assert.strictEqual(body["type"], bridging === "native" ? "response.create" : undefined)
      }
      const records = yield* recordsOf(gateway)
      const [session, ...others] = yield* sessionsOf(gateway)
      assert.deepStrictEqual(others, [])
      assert.deepInclude(session, { client: "codex", interceptions: 7 })
      for (const { interception, turns } of records) {
        assert.deepInclude(interception, {
          client: "codex",
          sessionId: session!.id,
          status: "completed",
          dialect: "openai-responses",
          transport: "ws",
          credentialKind: "byok"
        })
        assert.strictEqual(turns.length, 1)
      }
      const warm = bridging === "native" ? 7 : 0
      assert.deepStrictEqual(
        records.map(({ prompts, toolCalls, usage }) => [
          usage[0]?.input,
          usage[0]?.provenance,
          prompts[0]?.text,
          toolCalls[0]?.name
        ]),
        [
          [warm, "provider", undefined, undefined],
          [100, "provider", "say hi", undefined],
          [warm, "provider", undefined, undefined],
          [100, "provider", "read hello.txt", "exec_command"],
          [100, "provider", undefined, undefined],
          [warm, "provider", undefined, undefined],
          [100, "provider", "turn three", undefined]
        ]
      )
    })
  )

  const endings: ReadonlyArray<readonly [name: string, ending: SocketStep]> = [
    ["reset", { reset: true }],
    ["closed with 1011", { close: 1011 }],
    ["closed with 1000", { close: 1000 }]
  ]
  for (const [name, ending] of endings) {
    it.live(`asks again where the upstream was ${name} in the middle of an answer, as it does without a gateway`, () =>
      Effect.gen(function* () {
        const scene = yield* makeSocketScene(bridging, cut(ending))
        const said = yield* exec(yield* begin(scene.baseUrl), "say hi")
        assert.strictEqual(lastLine(said.stdout), "Heard: say hi", said.output)
        const straight = yield* makeSocketModel(cut(ending))
        const alone = yield* exec(yield* begin(`${straight.url}/v1`), "say hi")
        assert.strictEqual(lastLine(alone.stdout), "Heard: say hi", alone.output)
        const attempts = ({ stderr }: { readonly stderr: string }) => stderr.match(/Reconnecting\.* \d\/\d/g)
        assert.deepStrictEqual(attempts(said), attempts(alone), said.output)
        // Of its first attempt it says nothing.
        assert.deepStrictEqual(attempts(said), ["Reconnecting... 2/5"])
        const turns = (creates: typeof straight.creates) => creates.filter(({ body }) => body["generate"] !== false)
        const items = (creates: typeof straight.creates) => turns(creates).map((create) => create.items)
        // What is sent again is all of it, by either way.
        const whole = items(straight.creates)
        assert.deepStrictEqual(items(scene.asked()), bridging === "native" ? whole : [4, ...whole.slice(1)])
        const calls = statusesOf(yield* recordsOf(scene.gateway))
        assert.deepStrictEqual(calls, [
          ["completed", undefined],
          ["failed", "upstream_cut"],
          ["failed", "upstream_cut"],
          ["completed", undefined]
        ])
      })
    )
  }

  it.live("waits as long as an error 429 says before it asks again", () =>
    Effect.gen(function* () {
      const { asked, baseUrl, gateway } = yield* makeSocketScene(bridging, (given, turn) =>
        turn === 0 ? [errorMessage(429, "rate_limit_exceeded", { "retry-after": "2" })] : answering(given, turn)
      )
      const said = yield* exec(yield* begin(baseUrl), "say hi")
      assert.strictEqual(lastLine(said.stdout), "Heard: say hi", said.output)
      const [refused, answered, ...others] = asked().filter(({ body }) => body["generate"] !== false)
      assert.isAbove(answered!.receivedAt - refused!.receivedAt, 1_900)
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(statusesOf(yield* recordsOf(gateway)), [
        ["completed", undefined],
        ["failed", "upstream_status"],
        ["completed", undefined]
      ])
    })
  )

  it.live("waits through silence longer than its idle timer, which each keep-alive winds up", () =>
    Effect.gen(function* () {
      const silent = (keepAlive: string) =>
        Effect.gen(function* () {
          const scene = yield* makeSocketScene(
            bridging,
            (asked, turn) => {
              const whole = answering(asked, turn)
              return [...whole.slice(0, 12), { wait: 6_000 }, ...whole.slice(12)]
            },
            { limits: { keep_alive: keepAlive } }
          )
          const provider = "model_providers.gateway"
          const options = [`${provider}.stream_idle_timeout_ms=1500`, `${provider}.stream_max_retries=0`]
          return yield* exec(yield* begin(scene.baseUrl), ...options.flatMap((option) => ["-c", option]), "say hi")
        })
      const alive = yield* silent("1 second")
      assert.strictEqual(lastLine(alive.stdout), "Heard: say hi", alive.output)
      assert.notInclude(alive.stderr, "Falling back")
      // Its timer does run: where keep-alives are too rare, it gives up.
      const rare = yield* silent("1 minute")
      assert.include(rare.stderr, "idle timeout", rare.output)
    })
  )
})

/** What it says of connections, and its warnings, but that it does not know the model. */
const complaints = (stderr: string): ReadonlyArray<string> =>
  stderr
    .split("\n")
    .filter((line) => /websocket|warning|reconnect|falling/i.test(line) && !/Model metadata|PATH aliases/.test(line))
    .map((line) => line.replace(/^\S+Z /, ""))

describe("Codex that would use WebSockets", () => {
  const fallsBack = (name: string, more: Parameters<typeof makeScene>[1]) =>
    it.live(`turns to HTTP at once and without a warning where ${name}`, () =>
      Effect.gen(function* () {
        const { gateway, upstream } = yield* makeScene((asked, turn) => say(asked, assistant(asked, turn)), more)
        const said = yield* exec(yield* begin(`${gateway.url}/openai/v1`), "say hi")
        assert.strictEqual(lastLine(said.stdout), "Heard: say hi", said.output)
        assert.isBelow(said.milliseconds, 2_000)
        const straight = yield* makeUpstream((asked, turn) => say(asked, assistant(asked, turn)))
        const alone = yield* exec(yield* begin(`${straight.url}/v1`), "say hi")
        assert.deepStrictEqual(complaints(said.stderr), complaints(alone.stderr))
        assert.notMatch(complaints(said.stderr).join(), /warning|reconnect|falling/i)
        const posts = upstream.requests.filter(({ method }) => method === "POST")
        assert.strictEqual(posts.length, 1)
        const records = yield* recordsOf(gateway)
        assert.deepInclude(records.at(-1)!.interception, { status: "completed", transport: "sse" })
      })
    )

  fallsBack("they are switched off", { websocket: { enabled: false } })
  // This upstream has none, and answers 426.
  fallsBack("the provider takes none", {})
})
