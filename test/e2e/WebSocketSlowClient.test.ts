import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertBounded, printReport, stallClient } from "./SlowClient.ts"

// The same for 200 MB and a minute is in test/clients/SlowClient.client.ts.
// Memory is read in /proc.
describe.skipIf(process.platform !== "linux").each(["native", "bridged"] as const)(
  "a WebSocket client that stops reading, %s",
  { timeout: 60_000 },
  (bridging) => {
    it.live("for 3 seconds of 40 MB fills no memory, and loses nothing", () =>
      Effect.gen(function* () {
        const report = yield* stallClient(bridging, 40_000_000, 3_000)
        yield* printReport(report)
        assertBounded(report)
      })
    )
  }
)
