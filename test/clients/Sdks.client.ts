import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { faulty, whole } from "./Faults.ts"
import { makeScene, recordsOf } from "./Scene.ts"
import { sdkCases } from "./SdkCases.ts"

// What takes longer than the tests of every day should; the rest of what SDKs do is in test/e2e/Sdks.test.ts.
describe("SDKs", () => {
  it.live("wait through 15 seconds of silence, which the gateway fills with keep-alives", () =>
    Effect.gen(function* () {
      const { gateway, upstream } = yield* makeScene(faulty(), { limits: { keep_alive: "1 second" } })
      const started = performance.now()
      const said = yield* Effect.forEach(
        sdkCases,
        (sdk) =>
          Effect.promise(() =>
            sdk
              .stream({
                url: gateway.url,
                key: "sk-test",
                model: "m",
                prompt: `${sdk.name}: fault silence 15000`,
                fetch
              })
              .then(
                (text) => [sdk.name, text],
                (error: unknown) => [sdk.name, String(error)]
              )
          ),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        said,
        sdkCases.map(({ name }) => [name, whole])
      )
      assert.isAbove(performance.now() - started, 15_000)
      assert.strictEqual(upstream.requests.length, sdkCases.length)
      const records = yield* recordsOf(gateway)
      assert.strictEqual(records.length, sdkCases.length)
      for (const { interception, turns } of records) {
        assert.strictEqual(interception.status, "completed")
        assert.strictEqual(turns[0]!.attempts, 1)
      }
    })
  )
})
