import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, FileSystem, Layer, Path, Runtime, Schema, Stdio, Terminal } from "effect"
import { ChildProcessSpawner } from "effect/process"
import { TestClock, TestConsole } from "effect/testing"
import { run } from "../../src/cli/Cli.ts"
import type { LoadedConfig } from "../../src/config/Load.ts"
import { Recorder } from "../../src/recorder/Recorder.ts"
import { ToolCatalog, type ToolServer } from "../../src/tools/ToolCatalog.ts"

const platform = (files: { readonly [path: string]: string }) =>
  Layer.mergeAll(
    FileSystem.layerNoop({
      exists: (path) => Effect.succeed(Object.hasOwn(files, path)),
      readFileString: (path) => Effect.succeed(files[path] ?? "")
    }),
    Path.layer,
    Stdio.layerTest({}),
    Layer.succeed(
      Terminal.Terminal,
      Terminal.make({
        columns: Effect.succeed(0),
        rows: Effect.succeed(24),
        size: Effect.die("unused"),
        readInput: Effect.die("unused"),
        readLine: Effect.die("unused"),
        display: () => Effect.void
      })
    ),
    Layer.succeed(
      ChildProcessSpawner.ChildProcessSpawner,
      ChildProcessSpawner.make(() => Effect.die("unused"))
    )
  )

class PortTaken extends Schema.TaggedError<PortTaken>()("PortTaken", { port: Schema.Int }) {
  override get message() {
    return `port ${this.port} is in use`
  }
}

/** Runs the command line; what it did, printed, and left as its exit code. */
const sluice = Effect.fnUntraced(
  function* (
    args: ReadonlyArray<string>,
    options: {
      readonly env?: { readonly [name: string]: string }
      readonly files?: { readonly [path: string]: string }
      readonly serve?: Effect.Effect<void, PortTaken>
      readonly tools?: Layer.Layer<ToolCatalog>
    } = {}
  ) {
    const done: Array<readonly [what: string, loaded: LoadedConfig]> = []
    const body = (what: string) => (loaded: LoadedConfig) =>
      Effect.andThen(
        Effect.sync(() => done.push([what, loaded])),
        options.serve ?? Effect.void
      )
    const exit = yield* run(
      {
        env: options.env ?? {},
        serve: body("serve"),
        demo: body("demo"),
        recorder: () => Layer.effect(Recorder, Effect.die("unused")),
        exchange: () => Effect.succeed(() => () => Effect.die("unused")),
        tools: () => options.tools ?? ToolCatalog.layerNone
      },
      { version: "1.2.3" }
    )(args).pipe(Effect.provide(platform(options.files ?? {})), Effect.flip, Effect.option)
    const output = (yield* TestConsole.logLines).join("\n")
    const errors = (yield* TestConsole.errorLines).join("\n")
    return { done, output, errors, exitCode: exit._tag === "Some" ? Runtime.getErrorExitCode(exit.value) : 0 }
  },
  Effect.provide(TestConsole.layer, { local: true })
)

describe("sluice", () => {
  it.effect("serves without a command, and with serve, taking flags on either side of it", () =>
    Effect.gen(function* () {
      for (const args of [
        ["--port", "0"],
        ["serve", "--port", "0"],
        ["--port", "0", "serve"],
        ["-p", "0"]
      ]) {
        const { done, exitCode } = yield* sluice(args)
        assert.deepStrictEqual(
          [done[0]?.[0], done[0]?.[1].config.server.port, exitCode],
          ["serve", 0, 0],
          args.join(" ")
        )
      }
      const { done } = yield* sluice(["demo", "--database", "memory:"])
      assert.deepStrictEqual([done[0]?.[0], done[0]?.[1].config.recorder.url], ["demo", "memory:"])
    })
  )

  it.effect("prints a config error as it is, without a stack, and ends with 1", () =>
    Effect.gen(function* () {
      const { done, errors, exitCode } = yield* sluice(["-c", "x.yaml"], { files: { "x.yaml": "server: { prot: 1 }" } })
      assert.strictEqual(errors, "sluice: x.yaml is not valid:\n  line 1: server.prot: unknown key; did you mean port?")
      assert.strictEqual(exitCode, 1)
      assert.deepStrictEqual(done, [])
    })
  )

  it.effect("prints any other error of a command by its message, and ends with 1", () =>
    Effect.gen(function* () {
      const { errors, exitCode } = yield* sluice([], { serve: Effect.fail(new PortTaken({ port: 1 })) })
      assert.deepStrictEqual([errors, exitCode], ["sluice: port 1 is in use", 1])
    })
  )

  it.effect("ends with 2 and says how it is used when it is not understood", () =>
    Effect.gen(function* () {
      for (const args of [["sevre"], ["--prot", "1"], ["--port", "x"], ["serve", "extra"]]) {
        const { done, output, errors, exitCode } = yield* sluice(args)
        assert.strictEqual(exitCode, 2, args.join(" "))
        assert.match(output + errors, /USAGE/)
        assert.deepStrictEqual(done, [])
      }
    })
  )

  it.effect("says in one line how many records may be asked for", () =>
    Effect.gen(function* () {
      for (const limit of ["0", "1001"]) {
        const { output, errors, exitCode } = yield* sluice(["records", "--limit", limit])
        assert.deepStrictEqual(
          [output, errors, exitCode],
          ["", "sluice: --limit takes a whole number from 1 to 1000", 2]
        )
      }
    })
  )

  it.effect("helps, for itself and for each command, and knows its version", () =>
    Effect.gen(function* () {
      const { output, exitCode } = yield* sluice(["--help"])
      assert.strictEqual(exitCode, 0)
      for (const word of ["serve", "demo", "check", "records", "--config", "--host", "--port", "--database"]) {
        assert.include(output, word)
      }
      assert.include((yield* sluice(["records", "--help"])).output, "--json")
      assert.include((yield* sluice(["--version"])).output, "1.2.3")
    })
  )

  it.effect("checks MCP servers, and ends with 1 where one cannot be reached", () =>
    Effect.gen(function* () {
      const files = {
        "sluice.yaml": `providers: { sim: { type: simulated } }
mcp: { servers: { one: { url: "http://h/mcp?key=canary" }, two: { command: run, env: { A: canary } } } }
`
      }
      const tools = (...servers: ReadonlyArray<ToolServer>) =>
        Layer.effect(
          ToolCatalog,
          Effect.map(ToolCatalog, (catalog) => ({ ...catalog, servers: () => servers }))
        ).pipe(Layer.provide(ToolCatalog.layerNone))
      const one = { name: "one", status: "connected", tools: 13, error: null } as const
      const checked = (second: ToolServer) =>
        Effect.gen(function* () {
          const waiting = yield* Effect.forkChild(sluice(["check"], { files, tools: tools(one, second) }))
          yield* TestClock.adjust("61 seconds")
          return yield* Fiber.join(waiting)
        })
      const good = yield* checked({ name: "two", status: "connected", tools: 1, error: null })
      assert.strictEqual(good.exitCode, 0)
      assert.strictEqual(good.errors, "")
      assert.match(
        good.output,
        /MCP SERVER +ADDRESS +FINDING\none +ok +http:\/\/h\/mcp +offers 13 tools\ntwo +ok +run +offers 1 tool$/
      )
      assert.notInclude(good.output, "canary")
      const bad = yield* checked({ name: "two", status: "failed", tools: 0, error: "spawn run ENOENT" })
      assert.strictEqual(bad.exitCode, 1)
      assert.match(bad.output, /two +FAILED +run +spawn run ENOENT$/)
      const line = {
        "sluice.yaml":
          "providers: { sim: { type: simulated } }\nmcp: { servers: { two: { command: run --token canary } } }"
      }
      const failed = tools({ name: "two", status: "failed", tools: 0, error: "there is no such program" })
      const checking = yield* Effect.forkChild(sluice(["check"], { files: line, tools: failed }))
      yield* TestClock.adjust("1 seconds")
      const mistaken = yield* Fiber.join(checking)
      assert.match(mistaken.output, /two +FAILED +run … +there is no such program$/)
      assert.notInclude(mistaken.output, "canary")
      const leftOut = ["list: its schema is no object", 'text: its schema is of "string" and not of an object']
      const much = yield* checked({ name: "two", status: "connected", tools: 120, error: null, leftOut })
      assert.strictEqual(much.exitCode, 0)
      assert.include(
        much.output,
        `offers 120 tools; 2 more cannot be used
warning: tools of two are left out: ${leftOut.join("; ")}
warning: a request takes 128 tools: 5 of the 133 of one, two are left out`
      )
      const silent = yield* checked({ name: "two", status: "connecting", tools: 0, error: null })
      assert.strictEqual(silent.exitCode, 1)
      assert.strictEqual(silent.errors, "waiting up to 1m for MCP servers to answer: two")
      assert.match(silent.output, /two +FAILED +run +no answer within 1m$/)
    })
  )

  it.effect("checks a config without starting, and ends with 1 where it could not start", () =>
    Effect.gen(function* () {
      const files = { "sluice.yaml": "providers: { sim: { type: simulated } }" }
      const good = yield* sluice(["check"], { files })
      assert.include(good.output, "sluice.yaml is valid")
      assert.strictEqual(good.exitCode, 0)
      const open = yield* sluice(["check", "--host", "0.0.0.0"], { files })
      assert.include(open.errors, "sluice.yaml is not valid")
      assert.include(open.errors, "server.allow_open: true")
      assert.strictEqual(open.exitCode, 1)
    })
  )
})
