/** A process that records calls for as long as it lives, and says of each that it was acknowledged. */
import { writeSync } from "node:fs"
import { Effect, Layer, Logger } from "effect"
import { Recorder } from "../../src/recorder/Recorder.ts"
import { sqlite } from "./recorders.ts"
import { interception, settlement } from "./rows.ts"

const [folder = "", commitTimeout = "2000"] = process.argv.slice(2)

const call = (id: string) =>
  Effect.gen(function* () {
    const recorder = yield* Recorder
    yield* recorder.open(interception(id))
    writeSync(1, `open ${id}\n`)
    yield* recorder.commit(settlement(id))
    writeSync(1, `done ${id}\n`)
  })

const lane = (name: number) =>
  Effect.gen(function* () {
    for (let i = 0; ; i++) yield* call(`${name}-${i}`)
  })

Effect.runFork(
  Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], lane, { concurrency: "unbounded" }).pipe(
    Effect.provide(
      Layer.provide(sqlite(folder, { commitTimeout: Number(commitTimeout), onFailure: "continue" }), Logger.layer([]))
    )
  )
)
