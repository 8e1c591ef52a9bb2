import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { placesToLook } from "../../src/cli/Demo.ts"
import { make } from "../../src/config/Load.ts"

const places = (file: string | null, url?: string) =>
  Effect.map(make(url === undefined ? {} : { recorder: { url } }), (config) =>
    placesToLook("sluice", { config, file, warnings: [] }).map(([, how]) => how)
  )

describe("where the demo says to look next", () => {
  it.effect("needs no flags where nothing is configured", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* places(null), [
        "sluice records",
        "sluice records --id <ID>",
        "sqlite:./sluice.db",
        "sluice serve"
      ])
    })
  )

  it.effect("names the file and the database that the records are in, as a shell takes them", () =>
    Effect.gen(function* () {
      const [again, one, kept, serve] = yield* places("my demo's.yaml", "sqlite:./other.db")
      assert.strictEqual(again, "sluice records --config 'my demo'\\''s.yaml' --database sqlite:./other.db")
      assert.strictEqual(one, `${again} --id <ID>`)
      assert.strictEqual(kept, "sqlite:./other.db")
      assert.strictEqual(serve, "sluice serve --config 'my demo'\\''s.yaml'")
      assert.strictEqual((yield* places("sluice.yaml"))[0], "sluice records --database sqlite:./sluice.db")
      assert.strictEqual((yield* places(null, "sqlite:./b.db"))[0], "sluice records --database sqlite:./b.db")
    })
  )

  it.effect("leaves out records of which nothing is left", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* places("x.yaml", "memory:"), ["sluice serve --config x.yaml"])
    })
  )
})
