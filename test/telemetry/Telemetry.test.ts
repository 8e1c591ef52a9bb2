import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Observer } from "../../src/interception/Observer.ts"
import { InterceptionLog } from "../../src/telemetry/InterceptionLog.ts"
import { Metrics } from "../../src/telemetry/Metrics.ts"
import { layerNoDeps } from "../../src/telemetry/Telemetry.ts"
import { Recorder } from "../../src/recorder/Recorder.ts"
import { ended } from "./ended.ts"

it.effect("what ends is counted and logged, once", () =>
  Effect.gen(function* () {
    const writes: Array<string> = []
    const layer = layerNoDeps.pipe(
      Layer.provideMerge(InterceptionLog.layer((lines) => writes.push(lines))),
      Layer.provideMerge(Metrics.layer(["openai"])),
      Layer.provideMerge(Recorder.layerNone)
    )
    yield* Effect.gen(function* () {
      const observe = yield* Observer
      observe(ended({}))
      yield* InterceptionLog.use((log) => log.flush)
      assert.strictEqual(writes.join("").match(/message=interception/g)?.length, 1)
      const { statistics } = yield* Recorder
      const text = (yield* Metrics).render({
        openInterceptions: 0,
        recorder: yield* statistics,
        recorderHealthy: true
      })
      assert.match(text, /^sluice_turns_total\{provider="openai"\} 1$/m)
    }).pipe(Effect.provide(layer))
  })
)
