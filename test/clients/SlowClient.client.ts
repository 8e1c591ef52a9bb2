import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertBounded, printReport, stallClient } from "../e2e/SlowClient.ts"

// What takes longer than the tests of every day should; a short form of it is in test/e2e/WebSocketSlowClient.test.ts.
describe.each(["native", "bridged"] as const)("a WebSocket client that stops reading, %s", (bridging) => {
  it.live("for a minute of 200 MB fills no memory, and loses nothing", () =>
    Effect.gen(function* () {
      // The write deadline is for clients that never go on.
      const report = yield* stallClient(bridging, 200_000_000, 60_000)
      yield* printReport(report)
      assertBounded(report)
    })
  )
})
