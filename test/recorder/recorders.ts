import { join } from "node:path"
import { Context, Effect, Layer } from "effect"
import { Recorder, type SqliteOptions } from "../../src/recorder/Recorder.ts"
import { temporaryFolder } from "./folder.ts"

/** A store on disk, in a folder of a test's own. */
export const sqlite = (folder: string, change: Partial<SqliteOptions> = {}) =>
  Recorder.layerSqlite({
    filename: join(folder, "records.db"),
    spool: join(folder, "spool"),
    commitTimeout: "2 seconds",
    onFailure: "refuse",
    sync: "process",
    content: "all",
    ...change
  })

const build = <E>(layer: Layer.Layer<Recorder, E>) => Effect.map(Layer.build(layer), Context.get(Recorder))

/** Opens a store on disk until the scope closes. */
export const open = (folder: string, change?: Partial<SqliteOptions>) => build(sqlite(folder, change))

/** Runs with a recorder of its own, which is closed behind it. */
export const during = <A, E>(
  folder: string,
  run: (recorder: Recorder["Service"]) => Effect.Effect<A, E>,
  change?: Partial<SqliteOptions>
) => Effect.scoped(Effect.flatMap(open(folder, change), run))

/** Every store there is, empty. */
export const stores = [
  { name: "memory", make: build(Recorder.layerMemory) },
  { name: "sqlite", make: Effect.flatMap(temporaryFolder, (folder) => open(folder)) }
]
