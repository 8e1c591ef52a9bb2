import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Option, Random } from "effect"
import { Recorder } from "../../src/recorder/Recorder.ts"
import { temporaryFolder } from "./folder.ts"
import { open } from "./recorders.ts"

const script = fileURLToPath(new URL("./killed.ts", import.meta.url))

/** What ended with another process is warned of, which is no news here. */
const openQuietly = (folder: string) => Effect.provide(open(folder), Logger.layer([]))

const everything = Effect.flatMap(Recorder, (recorder) => recorder.interceptions({ limit: 1_000_000 })).pipe(
  Effect.map((page) => page.interceptions)
)

/** Lets a child record, does something meanwhile, kills it at a random moment, and answers what it had said by then. */
const recordAndKill = <A, E, R>(folder: string, commitTimeout: number, meanwhile: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    let said = ""
    let started: (() => void) | undefined
    const child: ChildProcess = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(process.execPath, [script, folder, String(commitTimeout)])),
      (running) => Effect.sync(() => running.kill("SIGKILL"))
    )
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      said += text
      started?.()
    })
    const closed = new Promise<void>((done) => child.on("close", () => done()))
    yield* Effect.callback<void>((resume) => {
      started = () => resume(Effect.void)
    })
    yield* Effect.sleep(20)
    const found = yield* meanwhile
    yield* Effect.sleep(yield* Random.nextIntBetween(20, 200))
    child.kill("SIGKILL")
    yield* Effect.promise(() => closed)
    return { lines: said.split("\n").slice(0, -1), found }
  })

/** Somebody else's connection takes the write lock, and keeps it as long as the scope is open. */
const lock = (folder: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const database = new DatabaseSync(join(folder, "records.db"), { timeout: 1_000 })
      database.exec("BEGIN IMMEDIATE")
      return database
    }),
    (database) => Effect.sync(() => database.close())
  )

const rounds = [
  { name: "while it commits", commitTimeout: 2_000, locked: false },
  { name: "while it commits, again", commitTimeout: 2_000, locked: false },
  { name: "while it spools, since the database is locked", commitTimeout: 10, locked: true },
  { name: "while it spools, again", commitTimeout: 10, locked: true }
]

describe("a process killed with SIGKILL", () => {
  it.live.each(rounds)("loses nothing that was acknowledged: $name", ({ commitTimeout, locked }) =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { lines } = yield* Effect.scoped(recordAndKill(folder, commitTimeout, locked ? lock(folder) : Effect.void))
      const recorder = yield* openQuietly(folder)
      const rows = new Map((yield* Effect.provideService(everything, Recorder, recorder)).map((row) => [row.id, row]))
      const done = lines.filter((line) => line.startsWith("done ")).map((line) => line.slice(5))
      assert.isAbove(done.length, 0)
      for (const id of done) assert.strictEqual(rows.get(id)?.status, "completed", id)
      for (const line of lines) assert.isTrue(rows.has(line.slice(5)), line)
      // Nothing is left running, and what never ended says so.
      for (const row of rows.values()) {
        if (row.status === "completed") continue
        assert.strictEqual(row.status, "failed")
        assert.strictEqual(row.error?.code, "process_ended")
      }
      for (const id of done.slice(-20)) {
        const detail = Option.getOrThrow(yield* recorder.interception(id))
        assert.strictEqual(detail.turns.length, 1)
        assert.strictEqual(detail.usage.length, 1)
        assert.strictEqual(detail.prompts.length, 1)
      }
    })
  )

  it.live("was left alone by others for as long as it lived", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const another = Effect.scoped(
        Effect.flatMap(openQuietly(folder), (recorder) => Effect.provideService(everything, Recorder, recorder))
      )
      const { found } = yield* recordAndKill(folder, 2_000, another)
      assert.isAbove(found.length, 0)
      assert.deepStrictEqual(
        found.filter((row) => row.status === "failed"),
        []
      )
    })
  )
})
