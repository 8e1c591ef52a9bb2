import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Gateway, temporaryDirectory } from "../support/Gateway.ts"
import { RawClient } from "../support/RawClient.ts"

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string
}

/** What a person at a terminal never wants to be shown. */
const stack = /^\s+at .*:\d+:\d+\)?$/m

describe("the program", { concurrent: true, timeout: 120_000 }, () => {
  it.live("helps, and knows its version", () =>
    Effect.gen(function* () {
      const [help, asked] = yield* Effect.all([Gateway.run(["--help"]), Gateway.run(["--version"])], {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual([help.code, help.stderr, asked.code, asked.stderr], [0, "", 0, ""])
      for (const word of ["serve", "demo", "check", "records", "--config", "--port"]) assert.include(help.stdout, word)
      assert.include(asked.stdout, version)
    })
  )

  it.live("names the path, the value and what was expected in a config it cannot use, and ends with 1", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryDirectory
      const gateway = yield* Effect.flip(
        Gateway.start({ dir, config: "server:\n  port: 4141\nlimits:\n  idle: soon\nprovider: {}\n" })
      )
      assert.include(gateway.detail, "it ended (1)")
      assert.match(gateway.detail, /sluice\.yaml is not valid \(2 problems\):/)
      assert.match(gateway.detail, /line 4: limits\.idle is "soon": expected .*duration/)
      assert.match(gateway.detail, /line 5: provider: unknown key; did you mean providers\?/)
      assert.notMatch(gateway.detail, stack)
      // Nothing was touched.
      assert.deepStrictEqual(readdirSync(dir), ["sluice.yaml"])
    })
  )

  it.live("ends with 2 and its usage where it is not understood", () =>
    Effect.gen(function* () {
      const { code, stdout, stderr } = yield* Gateway.run(["serve", "--prot", "1"])
      assert.strictEqual(code, 2)
      assert.include(stdout + stderr, "--prot")
      assert.include(stdout + stderr, "USAGE")
    })
  )

  it.live("starts with nothing at all in an empty directory, as often as one likes but once on a port", () =>
    Effect.gen(function* () {
      const gateway = yield* Gateway.start()
      const { url, dir } = gateway
      const lines = gateway.stdout().split("\n")
      assert.strictEqual(lines[0], `listening on ${url}`)
      assert.include(gateway.stdout(), `base_url="${url}/openai/v1"`)
      assert.include(gateway.stdout(), "built-in config")
      assert.strictEqual(gateway.stderr(), "")
      const answer = yield* RawClient.post(`${url}/sim/v1/chat/completions`, {
        model: "sim",
        messages: [{ role: "user", content: "Hello" }]
      })
      assert.deepStrictEqual([yield* answer.ended, answer.status], ["clean", 200])
      assert.isTrue(existsSync(join(dir, "sluice.db")))

      const port = new URL(url).port
      const second = yield* Gateway.run(["--port", port], { dir })
      assert.strictEqual(second.code, 1)
      assert.match(second.stderr, new RegExp(`127\\.0\\.0\\.1:${port} is in use`))
      assert.notMatch(second.stdout + second.stderr, stack)
      // The first is not troubled by that: neither its port nor its database.
      const again = yield* RawClient.post(`${url}/sim/v1/chat/completions`, {
        model: "sim",
        messages: [{ role: "user", content: "Hello again" }]
      })
      assert.deepStrictEqual([yield* again.ended, again.status], ["clean", 200])
    })
  )

  it.live("prints what was recorded while it serves, as a table, as JSON, and one by its id", () =>
    Effect.gen(function* () {
      const { url, dir } = yield* Gateway.start()
      const ids: Array<string> = []
      for (const stream of [true, false]) {
        const answer = yield* RawClient.post(`${url}/v1/chat/completions`, {
          model: "sim/sim",
          stream,
          messages: [{ role: "user", content: "Hello [[sim: input=70, output=30]]" }]
        })
        assert.strictEqual(yield* answer.ended, "clean")
        ids.push(String(answer.headers["x-sluice-interception-id"]))
      }
      const running = yield* RawClient.post(`${url}/sim/v1/chat/completions`, {
        model: "sim",
        stream: true,
        messages: [{ role: "user", content: "Hello [[sim: stall]]" }]
      })
      yield* running.bytes(1)
      ids.push(String(running.headers["x-sluice-interception-id"]))

      const records = (...args: ReadonlyArray<string>) => Gateway.run(["records", ...args], { dir })
      const [table, json, one, none] = yield* Effect.all(
        [records(), records("--json"), records("--json", "--id", ids[0]!), records("--id", "nothing")],
        { concurrency: 2 }
      )
      assert.deepStrictEqual([table.code, table.stderr, json.code, json.stderr], [0, "", 0, ""])
      const rows = table.stdout.trimEnd().split("\n")
      assert.match(rows[0]!, /model/i)
      assert.strictEqual(rows.filter((row) => /completed.*\b70\b.*\b30\b/.test(row)).length, 2)
      const page = JSON.parse(json.stdout) as {
        interceptions: ReadonlyArray<{ id: string; status: string | null }>
        next: string | null
      }
      assert.deepStrictEqual(
        page.interceptions.map(({ id, status }) => [id, status]),
        [
          // Another process reads the records; that does not end what still runs.
          [ids[2], null],
          [ids[1], "completed"],
          [ids[0], "completed"]
        ]
      )
      const detail = JSON.parse(one.stdout) as { usage: ReadonlyArray<{ input: number; output: number }> }
      assert.deepInclude(detail.usage[0], { input: 70, output: 30 })
      assert.deepStrictEqual([none.code, none.stdout], [1, ""])
      assert.include(none.stderr, "nothing")
    })
  )
})
