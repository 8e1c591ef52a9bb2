import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Scope } from "effect"
import { TestClock } from "effect/testing"
import { type Recorder, RecorderError } from "../../src/recorder/Recorder.ts"
import { migrate, migrations } from "../../src/recorder/SqliteMigrations.ts"
import { eventually, turns } from "./eventually.ts"
import { temporaryFolder } from "./folder.ts"
import { during, open } from "./recorders.ts"
import { close, interception, prompt, settlement, toolCall, turn, usage } from "./rows.ts"

/** A connection of somebody else takes the write lock; answers how it is let go of. */
const lockedBy = (folder: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const database = new DatabaseSync(join(folder, "records.db"))
      database.exec("BEGIN IMMEDIATE")
      return database
    }),
    (database) => Effect.sync(() => database.close())
  ).pipe(Effect.map((database) => Effect.sync(() => database.exec("ROLLBACK"))))

const spools = (folder: string) =>
  readdirSync(folder).filter((name) => name.startsWith("spool") && statSync(join(folder, name)).size > 0)

const replayed = (recorder: Recorder["Service"], batches: number) =>
  eventually(Effect.map(recorder.statistics, (statistics) => statistics.replayedBatches === batches))

const noSpool = (folder: string) => eventually(Effect.sync(() => spools(folder).length === 0))

describe("a database that another connection has locked", () => {
  it.effect("keeps its installation's secret from start to start, and has one of its own", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const secretOf = (where: string) => during(where, (recorder) => Effect.succeed(recorder.secret.toString("hex")))
      const first = yield* secretOf(folder)
      assert.match(first, /^[0-9a-f]{64}$/)
      assert.strictEqual(yield* secretOf(folder), first)
      assert.notStrictEqual(yield* secretOf(yield* temporaryFolder), first)
    })
  )

  it.effect("takes the batch once it is free again, and blocks nobody meanwhile", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const recorder = yield* open(folder)
      const unlock = yield* lockedBy(folder)
      const opening = yield* Effect.forkChild(recorder.open(interception("i1")), { startImmediately: true })
      yield* turns
      yield* TestClock.adjust("1 second")
      yield* turns
      assert.isUndefined(opening.pollUnsafe())
      assert.isFalse(yield* recorder.healthy)
      yield* unlock
      yield* TestClock.adjust("100 millis")
      yield* Fiber.join(opening)
      assert.isTrue(yield* recorder.healthy)
      assert.deepStrictEqual(spools(folder), [])
      assert.isTrue(Option.isSome(yield* recorder.interception("i1")))
    })
  )

  it.effect("refuses an opening after the commit timeout, and spools a settlement", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const recorder = yield* open(folder)
      yield* recorder.open(interception("i1"))
      const unlock = yield* lockedBy(folder)
      const opening = yield* Effect.forkChild(Effect.exit(recorder.open(interception("i2"))), {
        startImmediately: true
      })
      const settling = yield* Effect.forkChild(recorder.commit(settlement("i1")), { startImmediately: true })
      yield* turns
      yield* TestClock.adjust("1999 millis")
      yield* turns
      assert.isUndefined(opening.pollUnsafe())
      assert.isUndefined(settling.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const refused = yield* Fiber.join(opening)
      assert.isTrue(Exit.isFailure(refused))
      yield* Fiber.join(settling)
      const statistics = yield* recorder.statistics
      assert.deepInclude(statistics, { spooledBatches: 1, refusedOpens: 1, lostBatches: 0, committedBatches: 1 })
      const [spool] = spools(folder)
      assert.isDefined(spool)
      assert.strictEqual(statSync(join(folder, spool!)).mode & 0o777, 0o600)

      // The store works again: the spool is replayed, and goes.
      yield* unlock
      yield* recorder.open(interception("i3"))
      yield* replayed(recorder, 1)
      const detail = Option.getOrThrow(yield* recorder.interception("i1"))
      assert.strictEqual(detail.interception.status, "completed")
      assert.deepStrictEqual(detail.turns, [turn("i1")])
      assert.isTrue(Option.isNone(yield* recorder.interception("i2")))
      yield* noSpool(folder)
    })
  )

  it.effect("lets an opening wait in the spool where on_failure is continue, and its close come first", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const recorder = yield* open(folder, { onFailure: "continue" })
      const unlock = yield* lockedBy(folder)
      const opening = yield* Effect.forkChild(recorder.open(interception("i1")), { startImmediately: true })
      yield* turns
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(opening)
      yield* unlock
      // In the same turn, so that this is written before the spool.
      yield* recorder.commit(settlement("i1"))
      yield* replayed(recorder, 1)
      const detail = Option.getOrThrow(yield* recorder.interception("i1"))
      assert.strictEqual(detail.interception.status, "completed")
      assert.strictEqual(detail.interception.servedModel, "gpt-4.1-mini-2025-04-14")
      assert.deepStrictEqual(detail.usage, [usage("i1")])
    })
  )

  it.effect("is tried again by itself after an opening was refused, so that health comes back without a call", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const recorder = yield* open(folder)
      const unlock = yield* lockedBy(folder)
      const opening = yield* Effect.forkChild(Effect.exit(recorder.open(interception("i1"))), {
        startImmediately: true
      })
      yield* turns
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(opening)))
      assert.isFalse(yield* recorder.healthy)
      yield* unlock
      yield* turns
      yield* TestClock.adjust("1 second")
      yield* eventually(recorder.healthy)
    })
  )

  it.effect("replays by itself, when nothing else is to be written", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const recorder = yield* open(folder)
      yield* recorder.open(interception("i1"))
      const unlock = yield* lockedBy(folder)
      const settling = yield* Effect.forkChild(recorder.commit(settlement("i1")), { startImmediately: true })
      yield* turns
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(settling)
      yield* turns
      yield* unlock
      yield* TestClock.adjust("1 second")
      yield* replayed(recorder, 1)
      yield* noSpool(folder)
    })
  )
})

describe("a row that the store refuses for what is in it", () => {
  it.effect("takes down neither its batch nor others, and is put aside", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const recorder = yield* open(folder)
      const bad = JSON.parse('{"turns":[{"id":"t","interceptionId":"i1"}]}')
      const [call] = JSON.parse('[{"interceptionId":"i2","turnId":"i2-t0","name":"bad","arguments":"[]"}]')
      yield* Effect.all(
        [
          recorder.open(interception("i1")),
          recorder.commit(bad),
          recorder.commit(settlement("i1")),
          recorder.open(interception("i2")),
          recorder.commit({ ...settlement("i2"), toolCalls: [call, toolCall("i2", "good")] })
        ],
        { concurrency: "unbounded" }
      )
      const first = Option.getOrThrow(yield* recorder.interception("i1"))
      assert.strictEqual(first.interception.status, "completed")
      const second = Option.getOrThrow(yield* recorder.interception("i2"))
      assert.strictEqual(second.interception.status, "completed")
      assert.deepStrictEqual(second.turns, [turn("i2")])
      assert.deepStrictEqual(second.usage, [usage("i2")])
      assert.deepStrictEqual(second.toolCalls, [toolCall("i2", "good")])
      const kept = readdirSync(folder).filter((name) => name.endsWith(".rejected"))
      assert.strictEqual(kept.length, 1)
      const lines = readFileSync(join(folder, kept[0]!), "utf8").trim().split("\n")
      assert.deepStrictEqual(
        lines.map((line) => JSON.parse(line).batch),
        [bad, { toolCalls: [call] }]
      )
      assert.deepInclude(yield* recorder.statistics, { committedBatches: 5, spooledBatches: 0, lostBatches: 0 })
      assert.isTrue(yield* recorder.healthy)
    })
  )

  it.effect("is not recorded as a call's beginning: the call is refused", () =>
    Effect.gen(function* () {
      const recorder = yield* open(yield* temporaryFolder)
      const error = yield* Effect.flip(recorder.open(JSON.parse('{"id":"i1"}')))
      assert.strictEqual(error.reason._tag, "StoreFailed")
      yield* recorder.open(interception("i2"))
    })
  )
})

describe("what an instance leaves behind", () => {
  /** Leaves the instance known and its rows open, as a killed process does; its lock goes with the connection. */
  const abandon = Effect.fnUntraced(function* (folder: string, ids: ReadonlyArray<string>) {
    yield* during(folder, (recorder) => Effect.forEach(ids, (id) => recorder.open(interception(id))))
    const database = new DatabaseSync(join(folder, "records.db"))
    const row = database.prepare("SELECT name, spool FROM instances ORDER BY number DESC LIMIT 1").get()
    database.close()
    return { spool: String(row?.["spool"]) }
  })

  it.effect("closes at the next start what was open, as failed by process_ended", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* abandon(folder, ["i1"])
      yield* TestClock.adjust("5 seconds")
      yield* during(folder, (recorder) =>
        Effect.gen(function* () {
          const { interception: row } = Option.getOrThrow(yield* recorder.interception("i1"))
          assert.strictEqual(row.status, "failed")
          assert.strictEqual(row.error?.code, "process_ended")
          assert.strictEqual(row.endedAt, 5_000)
        })
      )
      assert.deepStrictEqual(
        readdirSync(folder).filter((name) => name.includes("-instance-")),
        []
      )
    })
  )

  it.effect("leaves alone what another live instance has open", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const first = yield* open(folder)
      yield* first.open(interception("i1"))
      const second = yield* open(folder)
      yield* second.open(interception("i2"))
      const rows = (yield* second.interceptions({ limit: 10 })).interceptions
      assert.deepStrictEqual(
        rows.map((row) => [row.id, row.status]),
        [
          ["i2", null],
          ["i1", null]
        ]
      )
    })
  )

  it.effect("replays its spool before it closes anything, and passes over a torn last line", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { spool } = yield* abandon(folder, ["i1", "i2"])
      const line = JSON.stringify({ number: 900, batch: settlement("i1") })
      const late = JSON.stringify({ number: 901, batch: { opens: [interception("i3")] } })
      writeFileSync(spool, `${line}\n${late}\n${line}\n${line.slice(0, 40)}`)
      yield* during(folder, (recorder) =>
        Effect.gen(function* () {
          const statuses = (yield* recorder.interceptions({ limit: 10 })).interceptions.map((row) => [
            row.id,
            row.status
          ])
          assert.deepStrictEqual(statuses, [
            ["i3", "failed"],
            ["i2", "failed"],
            ["i1", "completed"]
          ])
          assert.strictEqual(Option.getOrThrow(yield* recorder.interception("i1")).turns.length, 1)
        })
      )
      assert.isFalse(existsSync(spool))
    })
  )

  it.effect("lets a true close prevail over the conclusion that its process had ended", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* abandon(folder, ["i1"])
      yield* during(folder, (recorder) =>
        Effect.gen(function* () {
          yield* recorder.commit({ closes: [close("i1")] })
          yield* recorder.commit({ closes: [{ ...close("i1"), status: "cancelled" }] })
          const { interception: row } = Option.getOrThrow(yield* recorder.interception("i1"))
          assert.strictEqual(row.status, "completed")
          assert.isNull(row.error)
        })
      )
    })
  )

  it.effect("is replayed whole, however large it is", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { spool } = yield* abandon(folder, ["i0"])
      const text = "ä".repeat(1_000_000)
      const lines = Array.from({ length: 400 }, (_, i) =>
        JSON.stringify({
          number: 1_000 + i,
          batch: { opens: [interception(`i${i}`)], prompts: [prompt(`i${i}`, i === 200 ? text : "short")] }
        })
      )
      writeFileSync(spool, lines.map((line) => `${line}\n`).join(""))
      yield* during(folder, (recorder) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* recorder.interceptions({ limit: 1_000 })).interceptions.length, 400)
          assert.strictEqual(Option.getOrThrow(yield* recorder.interception("i200")).prompts[0]?.text, text)
          assert.strictEqual(Option.getOrThrow(yield* recorder.interception("i399")).prompts.length, 1)
        })
      )
      assert.isFalse(existsSync(spool))
      assert.isFalse(existsSync(`${spool}.rejected`))
    })
  )

  it.effect("is nothing but the database after a clean end", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* during(folder, (recorder) =>
        Effect.andThen(recorder.open(interception("i1")), recorder.commit(settlement("i1")))
      )
      assert.deepStrictEqual(readdirSync(folder), ["records.db"])
      assert.strictEqual(statSync(join(folder, "records.db")).mode & 0o777, 0o600)
    })
  )

  it.effect("holds what was put when the scope closed", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const scope = yield* Scope.make()
      const recorder = yield* open(folder).pipe(Scope.provide(scope))
      const writing = yield* Effect.forkChild(
        Effect.forEach([1, 2, 3], (i) => recorder.commit({ opens: [interception(`i${i}`)] }), {
          concurrency: "unbounded"
        }),
        { startImmediately: true }
      )
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(writing)
      const late = yield* Effect.exit(recorder.open(interception("late")))
      assert.isTrue(Exit.isFailure(late))
      yield* during(folder, (again) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* again.interceptions({ limit: 10 })).interceptions.length, 3)
        })
      )
    })
  )
})

describe("a database synchronised with the disk", () => {
  it.effect("is opened again after a clean end, and after an unclean one", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      for (const id of ["i1", "i2", "i3"]) {
        yield* during(folder, (recorder) => recorder.open(interception(id)), { sync: "full" })
      }
      yield* during(
        folder,
        (recorder) =>
          Effect.gen(function* () {
            assert.strictEqual((yield* recorder.interceptions({ limit: 10 })).interceptions.length, 3)
          }),
        { sync: "full" }
      )
    })
  )
})

describe("migrations", () => {
  it.effect("bring an older database up to date, keep what is in it, and run once", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* during(folder, (recorder) => recorder.open(interception("i1")))
      const database = new DatabaseSync(join(folder, "records.db"))
      const next = [...migrations, "ALTER TABLE interceptions ADD COLUMN note TEXT DEFAULT 'none'"]
      migrate(database, next)
      migrate(database, next)
      const row = database.prepare("SELECT id, note FROM interceptions").get()
      assert.deepStrictEqual({ ...row }, { id: "i1", note: "none" })
      const numbers = database.prepare("SELECT number FROM migrations ORDER BY number").all()
      assert.deepStrictEqual(
        numbers.map((found) => found["number"]),
        next.map((_, i) => i + 1)
      )
      database.close()
    })
  )

  it.effect("leave a database alone where one of them fails", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* during(folder, (recorder) => recorder.open(interception("i1")))
      const database = new DatabaseSync(join(folder, "records.db"))
      const failing = [...migrations, "CREATE TABLE half (a TEXT)", "this is no SQL"]
      const failed = yield* Effect.exit(Effect.try({ try: () => migrate(database, failing), catch: String }))
      assert.isTrue(Exit.isFailure(failed))
      const tables = database.prepare("SELECT name FROM sqlite_master WHERE name = 'half'").all()
      assert.deepStrictEqual(tables, [])
      database.close()
    })
  )

  it.effect("refuse a database of a newer version, and say so", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* during(folder, (recorder) => recorder.open(interception("i1")))
      const database = new DatabaseSync(join(folder, "records.db"))
      database.prepare("INSERT INTO migrations VALUES (?, 'later')").run(migrations.length + 1)
      database.close()
      const error = yield* Effect.flip(Effect.scoped(open(folder)))
      assert.instanceOf(error, RecorderError)
      assert.strictEqual(error.reason._tag, "NewerDatabase")
      assert.include(error.message, "newer version")
    })
  )

  it.effect("are not reached where the database's folder is missing, and the error says which", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const error = yield* Effect.flip(Effect.scoped(open(join(folder, "missing"))))
      assert.include(error.message, "missing")
    })
  )
})
