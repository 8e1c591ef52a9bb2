import { spawn } from "node:child_process"
import { randomInt } from "node:crypto"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Option } from "effect"
import { Recorder } from "../../src/recorder/Recorder.ts"
import { temporaryFolder } from "./folder.ts"

const script = fileURLToPath(new URL("./killed.ts", import.meta.url))

/** Lets the child record for a random while, kills it, and answers what it had said by then. */
const recordAndKill = (
  folder: string,
  commitTimeout: number,
  whileItRuns: () => void
): Promise<ReadonlyArray<string>> =>
  new Promise((done, failed) => {
    const child = spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", script, folder, String(commitTimeout)],
      { stdio: ["ignore", "pipe", "inherit"] }
    )
    let said = ""
    let started = false
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text
      if (started) return
      started = true
      setTimeout(whileItRuns, 20)
      setTimeout(() => child.kill("SIGKILL"), randomInt(40, 240))
    })
    child.on("error", failed)
    child.on("close", () => done(said.split("\n").slice(0, -1)))
  })

const rounds = [
  { name: "while it commits", commitTimeout: 2_000, lock: false },
  { name: "while it commits, again", commitTimeout: 2_000, lock: false },
  { name: "while it spools, since somebody has locked the database", commitTimeout: 10, lock: true },
  { name: "while it spools, again", commitTimeout: 10, lock: true }
]

describe("a process killed with SIGKILL", () => {
  it.live.each(rounds)("$name, loses nothing that was acknowledged", ({ commitTimeout, lock }) =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const said = yield* Effect.promise(async () => {
        let other: DatabaseSync | undefined
        const heard = await recordAndKill(folder, commitTimeout, () => {
          if (!lock) return
          other = new DatabaseSync(join(folder, "records.db"), { timeout: 1_000 })
          other.exec("BEGIN IMMEDIATE")
        })
        other?.close()
        return heard
      })
      const recorder = Context.get(
        yield* Layer.build(
          Recorder.layerSqlite({
            filename: join(folder, "records.db"),
            spool: join(folder, "spool"),
            commitTimeout: "2 seconds",
            onFailure: "refuse",
            sync: "process",
            content: "all"
          })
        ),
        Recorder
      )
      const rows = new Map(
        (yield* recorder.interceptions({ limit: 1_000_000 })).interceptions.map((row) => [row.id, row])
      )
      const done = said.filter((line) => line.startsWith("done ")).map((line) => line.slice(5))
      assert.isAbove(done.length, 0)
      for (const id of done) assert.strictEqual(rows.get(id)?.status, "completed", id)
      for (const line of said) assert.isTrue(rows.has(line.slice(5)), line)
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
})
