import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { ServedRequest } from "../support/UpstreamServer.ts"
import { claudeCode, install } from "./Client.ts"
import { atOnce, behind, checkListening, inTurn, makeListeningScene } from "./Listening.ts"
import { assistant, refuse, say, stream, streamed } from "./Model.ts"
import { callsOf, type Home, makeHome, makeScene, makeUpstream, recordsOf, sessionsOf, statusesOf } from "./Scene.ts"

const key = "sk-ant-test-0123456789abcdefghij"
const session = "5f0c1a52-0c0e-4a3e-9d3f-3b8f5a0e7c11"

let script = ""
beforeAll(async () => {
  script = await Effect.runPromise(install(claudeCode))
})

/** A new life of the client in the same folders: nothing is left of the one before but what pins its ids. */
const settle = ({ home, cwd }: Home) =>
  Effect.sync(() => {
    for (const folder of [home, cwd]) {
      rmSync(folder, { recursive: true, force: true })
      mkdirSync(folder)
    }
    // `device_id` of every request; random where there is none yet.
    writeFileSync(join(home, ".claude.json"), JSON.stringify({ userID: "0".repeat(64), hasCompletedOnboarding: true }))
    writeFileSync(join(cwd, "hello.txt"), "the file says ahoy\n")
  })

const claude = (
  home: Home,
  baseUrl: string,
  args: ReadonlyArray<string>,
  env: { readonly [name: string]: string } = {}
) =>
  home.run(
    script,
    args,
    {
      ANTHROPIC_BASE_URL: baseUrl,
      ANTHROPIC_API_KEY: key,
      // It refuses some of its options to root outside of a sandbox.
      IS_SANDBOX: "1",
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
      DISABLE_TELEMETRY: "1",
      DISABLE_AUTOUPDATER: "1",
      DISABLE_ERROR_REPORTING: "1",
      ...env
    },
    120_000
  )

/** Text, a tool turn and a third turn in one session, and the counting of its context. */
const day = (home: Home, baseUrl: string) =>
  Effect.gen(function* () {
    yield* settle(home)
    const text = yield* claude(home, baseUrl, ["-p", "--session-id", session, "say hi"])
    const tool = yield* claude(home, baseUrl, ["-c", "-p", "--allowedTools", "Bash", "--", "read hello.txt"])
    const resumed = yield* claude(home, baseUrl, ["-c", "-p", "turn three"])
    const context = yield* claude(home, baseUrl, ["-c", "-p", "/context"])
    return { text, tool, resumed, context }
  })

/** Headers that are another's between client and gateway than between gateway and upstream. */
const perConnection = ["host", "connection", "content-length", "accept-encoding", "x-api-key"]

/** A request as the upstream's law of bytes sees it: the path, each header but those above, and the body's bytes. */
const faceOf = ({ method, url, rawHeaders, body }: ServedRequest) => {
  const headers: Array<readonly [name: string, value: string]> = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase()
    if (!perConnection.includes(name)) headers.push([name, rawHeaders[at + 1]!])
  }
  headers.sort(([a], [b]) => (a < b ? -1 : 1))
  return { target: `${method} ${url}`, headers, body: body.toString("latin1") }
}

/** Counts of tokens are asked for side by side: their order says nothing. */
const facesOf = (requests: ReadonlyArray<ServedRequest>) => {
  const faces = requests.map(faceOf)
  const counts = faces.filter(({ target }) => target.includes("count_tokens"))
  counts.sort((a, b) => (a.body < b.body ? -1 : 1))
  return [...faces.filter((face) => !counts.includes(face)), ...counts]
}

describe("Claude Code", () => {
  it.live("sends the upstream through the gateway what it sends without one, byte for byte", () =>
    Effect.gen(function* () {
      const home = yield* makeHome
      const straight = yield* makeUpstream((asked, turn) => say(asked, assistant(asked, turn)))
      yield* day(home, straight.url)
      // A second day straight to the upstream shows that nothing of it is left to chance.
      const again = yield* makeUpstream((asked, turn) => say(asked, assistant(asked, turn)))
      yield* day(home, again.url)
      const { gateway, upstream } = yield* makeScene((asked, turn) => say(asked, assistant(asked, turn)))
      const said = yield* day(home, `${gateway.url}/anthropic`)

      const expected = facesOf(straight.requests)
      assert.deepStrictEqual(facesOf(again.requests), expected, "two days without a gateway differ")
      assert.deepStrictEqual(facesOf(upstream.requests), expected)

      assert.include(said.text.stdout, "Heard: say hi", said.text.output)
      assert.include(said.tool.stdout, "Heard: the file says ahoy", said.tool.output)
      assert.include(said.resumed.stdout, "Heard: turn three", said.resumed.output)
      assert.include(said.context.stdout, "Context Usage", said.context.output)
      for (const result of Object.values(said)) assert.strictEqual(result.code, 0, result.output)
      // Turns: text, the tool's call, its result, the third.
      assert.strictEqual(callsOf(upstream).length, 4)
      assert.isAbove(upstream.requests.filter(({ url }) => url.includes("/count_tokens?beta=true")).length, 5)
      for (const request of upstream.requests) {
        assert.strictEqual(request.headers["x-api-key"], key)
        assert.strictEqual(request.headers["authorization"], undefined)
      }
      const records = (yield* recordsOf(gateway)).filter(({ interception }) => interception.dialect !== null)
      assert.strictEqual(records.length, 4)
      for (const { interception, turns, usage } of records) {
        assert.deepInclude(interception, {
          client: "claude-code",
          sessionId: session,
          status: "completed",
          dialect: "anthropic-messages",
          transport: "sse",
          credentialKind: "byok"
        })
        assert.deepStrictEqual(
          turns.map(({ attempts }) => attempts),
          [1]
        )
        assert.deepInclude(usage[0], { input: 100, cacheRead: 20, output: 30, provenance: "provider" })
      }
      assert.deepStrictEqual(
        records.map(({ prompts, toolCalls }) => [prompts.length, toolCalls.map(({ name }) => name)]),
        [
          [1, []],
          [1, ["Bash"]],
          [0, []],
          [1, []]
        ]
      )
      assert.strictEqual(records[2]!.interception.parentId, records[1]!.interception.id)
      const [listed] = yield* sessionsOf(gateway)
      assert.deepInclude(listed, { id: session, client: "claude-code" })
      assert.deepStrictEqual(home.strangers, [])
    })
  )

  it.live("sees nothing of tools that the gateway runs, whose answers the model still knows in a resumed session", () =>
    Effect.gen(function* () {
      const home = yield* makeHome
      yield* settle(home)
      const scene = yield* makeListeningScene
      const ask = (...args: ReadonlyArray<string>) => claude(home, `${scene.gateway.url}/anthropic`, ["-p", ...args])
      const runs = [
        yield* ask("--output-format", "json", "--allowedTools", "Bash", "--", inTurn),
        yield* ask("-c", "--allowedTools", "Bash", "--", atOnce),
        yield* ask("-c", "--", behind)
      ]
      yield* checkListening(scene, home, "claude-code", runs)
      // Two requests, the first of them of two turns: their outputs are summed, their inputs are not.
      const { usage } = JSON.parse(runs[0]!.stdout) as { readonly usage: object }
      assert.deepInclude(usage, { input_tokens: 200, cache_read_input_tokens: 40, output_tokens: 90 })
    })
  )

  it.live("retries what was overloaded, each time with one request of the gateway", () =>
    Effect.gen(function* () {
      const home = yield* makeHome
      yield* settle(home)
      const { gateway, upstream } = yield* makeScene((asked, turn) =>
        turn < 2 ? refuse(asked.dialect, 529) : say(asked, assistant(asked, turn))
      )
      const said = yield* claude(home, `${gateway.url}/anthropic`, ["-p", "say hi"])
      assert.include(said.stdout, "Heard: say hi", said.output)
      assert.deepStrictEqual(statusesOf(yield* recordsOf(gateway)), [
        ["failed", "upstream_status"],
        ["failed", "upstream_status"],
        ["completed", undefined]
      ])
      assert.strictEqual(upstream.requests.length, 3)
    })
  )

  for (const [name, ending] of [
    ["reset", { reset: true }],
    ["closed", { fin: true }],
    ["ended cleanly without its terminal event", ""]
  ] as const) {
    for (const [where, at, heard] of [
      // After an error event of this type it asks again without a stream; after a broken connection, with one.
      ["its thoughts", 4, "say hi"],
      // It sends what it has as its own words and asks to go on from there, with a gateway and without one.
      ["its text", 9, "cut off mid-stream"]
    ] as const) {
      it.live(`recovers where the answer was ${name} in ${where}`, () =>
        Effect.gen(function* () {
          const home = yield* makeHome
          yield* settle(home)
          const { gateway, upstream } = yield* makeScene((asked, turn) => {
            const answer = assistant(asked, turn)
            // A connection that breaks at once may do so before the client has read what came over it.
            const steps = [...streamed(asked, answer).slice(0, at), { wait: 200 }, ending]
            return turn === 0 ? stream(steps) : say(asked, answer)
          })
          const said = yield* claude(home, `${gateway.url}/anthropic`, ["-p", "say hi"])
          assert.strictEqual(said.code, 0, said.output)
          assert.match(said.stdout, /^Heard: /, said.output)
          assert.include(said.stdout, heard)
          assert.strictEqual(upstream.requests.length, 2)
          assert.deepStrictEqual(statusesOf(yield* recordsOf(gateway)), [
            ["failed", "upstream_cut"],
            ["completed", undefined]
          ])
        })
      )
    }
  }

  it.live("waits while the gateway keeps a silent connection alive, and sends a bearer as a bearer", () =>
    Effect.gen(function* () {
      const home = yield* makeHome
      yield* settle(home)
      const { gateway, upstream } = yield* makeScene(
        (asked, turn) => {
          const events = streamed(asked, assistant(asked, turn))
          return stream([...events.slice(0, 6), { wait: 15_000 }, ...events.slice(6)])
        },
        { limits: { keep_alive: "1 second" } }
      )
      const said = yield* claude(home, `${gateway.url}/anthropic`, ["-p", "say hi"], {
        ANTHROPIC_API_KEY: "",
        ANTHROPIC_AUTH_TOKEN: key
      })
      assert.strictEqual(said.stdout.trim(), "Heard: say hi", said.output)
      assert.isAbove(said.milliseconds, 15_000)
      assert.strictEqual(upstream.requests.length, 1)
      assert.strictEqual(upstream.requests[0]!.headers["authorization"], `Bearer ${key}`)
      assert.strictEqual(upstream.requests[0]!.headers["x-api-key"], undefined)
    })
  )

  it.live("is served a model under its alias on the unified routes", () =>
    Effect.gen(function* () {
      const home = yield* makeHome
      yield* settle(home)
      const { gateway } = yield* makeScene((asked, turn) => say(asked, assistant(asked, turn)), {
        models: { "claude-quick": "anthropic/claude-sonnet-5" }
      })
      const said = yield* claude(home, gateway.url, ["-p", "--model", "claude-quick", "say hi"], {
        CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY: "1"
      })
      assert.strictEqual(said.stdout.trim(), "Heard: say hi", said.output)
      const records = yield* recordsOf(gateway)
      assert.deepStrictEqual(
        records.map(({ interception }) => [interception.requestedModel, interception.servedModel]),
        [["claude-quick", "claude-sonnet-5"]]
      )
    })
  )
})
