import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Gateway, temporaryDirectory } from "../support/Gateway.ts"

describe("sluice demo", () => {
  it.live("makes its calls, ends with a table of what was recorded, and leaves that where it says", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryDirectory
      const demo = yield* Gateway.run(["demo"], { dir })
      assert.strictEqual(demo.code, 0, demo.stderr)
      assert.match(demo.stdout, /a streamed answer \.+ 200, \d+ events, the last one data: \[DONE\]/)
      assert.match(demo.stdout, /in Responses \.+ 200, \d+ events, the last one event: response\.completed\n/)
      assert.match(demo.stdout, /in Messages \.+ 200, \d+ events, the last one event: message_stop\n/)
      assert.match(
        demo.stdout,
        /a stream that breaks in the middle \.+ broke off: sim: the upstream's answer broke off/
      )
      const rows = demo.stdout.split("\n").filter((line) => /^\d{4}-\d{2}-\d{2} /.test(line))
      assert.strictEqual(rows.length, 10, demo.stdout)
      assert.match(rows[4]!, /completed .* 2 +\d+ +\S+ +[0-9a-f-]{36}$/)
      assert.match(rows[9]!, /rejected \(bad_request\)/)
      const again = yield* Gateway.run(["records"], { dir })
      for (const row of rows) assert.include(again.stdout, row.slice(-36))
    })
  )
})
