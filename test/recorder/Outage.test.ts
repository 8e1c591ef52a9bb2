import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from "node:fs"
import { type FileHandle, open as openFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Logger, Option } from "effect"
import { TestClock } from "effect/testing"
import { vi } from "vitest"
import { HeldBatches, interceptionsOf } from "../../src/recorder/HeldBatches.ts"
import { MemoryStore } from "../../src/recorder/MemoryStore.ts"
import { Recorder, RecorderError } from "../../src/recorder/Recorder.ts"
import { StoreBusy } from "../../src/recorder/RecorderError.ts"
import type { RecordStore, WriteBatches } from "../../src/recorder/RecordStore.ts"
import { Spool } from "../../src/recorder/Spool.ts"
import { eventually, turns } from "./eventually.ts"
import { temporaryFolder } from "./folder.ts"
import { open } from "./recorders.ts"
import { close, interception, prompt, settlement } from "./rows.ts"

const full = RecorderError.failed("write", new Error("database or disk is full"))

/** A store in memory whose disk can be full. */
const storeWith = () => {
  const memory = new MemoryStore()
  const disk = { full: false }
  const write: WriteBatches = (batches) => Effect.suspend(() => (disk.full ? Effect.fail(full) : memory.write(batches)))
  const store: RecordStore = {
    secret: memory.secret,
    write,
    writeLate: write,
    endedInstances: memory.endedInstances,
    interceptions: memory.interceptions,
    interception: memory.interception,
    sessions: memory.sessions,
    session: memory.session,
    toolCalls: memory.toolCalls,
    memories: memory.memories,
    responseTurns: memory.responseTurns,
    usage: memory.usage
  }
  return { store, disk }
}

const options = { commitTimeout: "2 seconds", onFailure: "refuse", content: "all", spool: null } as const

const statusOf = (store: RecordStore, id: string) =>
  Effect.map(store.interception(id), (found) => Option.map(found, ({ interception: row }) => row.status))

/** A spool that takes nothing for as long as the scope is open. */
const fullSpool = Effect.acquireRelease(
  Effect.sync(() => vi.spyOn(Spool.prototype, "append").mockImplementation(() => Effect.fail(full))),
  (spy) => Effect.sync(() => spy.mockRestore())
)

describe("records that neither the store nor the spool takes", () => {
  it.effect("are held and land once the store takes them; until then nothing new begins", () =>
    Effect.gen(function* () {
      const { store, disk } = storeWith()
      const recorder = yield* Recorder.make(store, options)
      yield* recorder.open(interception("i1"))
      disk.full = true
      yield* recorder.commit(settlement("i1"))
      assert.isFalse(yield* recorder.healthy)
      assert.deepInclude(yield* recorder.statistics, { lostBatches: 0, spooledBatches: 0, queued: 1 })
      const refused = yield* Effect.flip(recorder.open(interception("i2")))
      assert.strictEqual(refused.reason._tag, "RecordsHeld")
      yield* TestClock.adjust("3 seconds")
      yield* turns
      assert.isFalse(yield* recorder.healthy)

      disk.full = false
      yield* TestClock.adjust("1 second")
      yield* eventually(recorder.healthy)
      assert.deepStrictEqual(yield* statusOf(store, "i1"), Option.some("completed"))
      assert.deepInclude(yield* recorder.statistics, {
        lostBatches: 0,
        committedBatches: 2,
        queued: 0,
        refusedOpens: 1
      })
      yield* recorder.open(interception("i3"))
    })
  )

  it.effect("are brought to the store by traffic alone, once a second has passed", () =>
    Effect.gen(function* () {
      const { store, disk } = storeWith()
      const recorder = yield* Recorder.make(store, { ...options, onFailure: "continue" })
      disk.full = true
      yield* Effect.forEach([1, 2, 3], (n) => recorder.open(interception(`i${n}`)))
      disk.full = false
      yield* TestClock.adjust("900 millis")
      yield* recorder.open(interception("i4"))
      yield* TestClock.adjust("100 millis")
      yield* recorder.open(interception("i5"))
      yield* recorder.flush
      assert.strictEqual((yield* store.interceptions({ limit: 10 })).interceptions.length, 5)
      assert.isTrue(yield* recorder.healthy)
    })
  )

  it.effect("go to the spool where that takes them first, and are replayed from it", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { store, disk } = storeWith()
      const spool = join(folder, "spool")
      const recorder = yield* Recorder.make(store, { ...options, spool })
      yield* recorder.open(interception("i1"))
      disk.full = true
      yield* Effect.scoped(Effect.andThen(fullSpool, recorder.commit(settlement("i1"))))
      assert.strictEqual(statSync(spool).size, 0)
      yield* TestClock.adjust("1 second")
      yield* eventually(Effect.map(recorder.statistics, ({ spooledBatches }) => spooledBatches === 1))
      assert.include(readFileSync(spool, "utf8"), '"i1"')
      assert.strictEqual((yield* recorder.statistics).queued, 0)
      disk.full = false
      yield* TestClock.adjust("1 second")
      yield* eventually(Effect.map(recorder.statistics, ({ replayedBatches }) => replayedBatches === 1))
      assert.deepStrictEqual(yield* statusOf(store, "i1"), Option.some("completed"))
    })
  )

  it.effect("are tried once more at the end, and what is lost then is named", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.map(Logger.formatLogFmt, (line) => {
        lines.push(line)
      })
      const end = (fullAtEnd: boolean, store: RecordStore, disk: { full: boolean }) =>
        Effect.scoped(
          Effect.gen(function* () {
            const recorder = yield* Recorder.make(store, options)
            disk.full = true
            yield* recorder.commit({ opens: [interception("i-held")], closes: [close("i-held")] })
            disk.full = fullAtEnd
          })
        ).pipe(Effect.provide(Logger.layer([logger])))
      const first = storeWith()
      yield* end(false, first.store, first.disk)
      assert.deepStrictEqual(yield* statusOf(first.store, "i-held"), Option.some("completed"))
      assert.isFalse(lines.some((line) => line.includes("are lost")))
      const second = storeWith()
      yield* end(true, second.store, second.disk)
      const lost = lines.filter((line) => line.includes("are lost") && line.includes("i-held"))
      assert.isAtLeast(lost.length, 1)
    })
  )
})

describe("HeldBatches", () => {
  it("holds 64 MiB and no more, lets go of the oldest first, and names its interceptions", () => {
    const held = new HeldBatches()
    const batch = (n: number) => ({ number: n, batch: { prompts: [prompt(`i${n}`, "x".repeat(1024 * 1024))] } })
    let n = 0
    while (held.add(batch(n))) n++
    assert.strictEqual(n, 31)
    assert.strictEqual(held.length, 31)
    assert.deepStrictEqual(interceptionsOf(held.first(2)), ["i0", "i1"])
    held.drop(1)
    assert.deepStrictEqual(interceptionsOf(held.first(1)), ["i1"])
    assert.isTrue(held.add(batch(n)))
  })
})

describe("a spool that cannot be written", () => {
  const start = (folder: string, spool: string) => Effect.scoped(open(folder, { spool, onFailure: "continue" }))

  it.effect("keeps the recorder from starting, and the error names it and its setting", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const error = yield* Effect.flip(start(folder, join(folder, "missing", "spool")))
      assert.instanceOf(error, RecorderError)
      assert.include(error.message, "recorder.spool")
      assert.include(error.message, join(folder, "missing"))
      mkdirSync(join(folder, "missing"))
      yield* start(folder, join(folder, "missing", "spool"))
      assert.deepStrictEqual(readdirSync(join(folder, "missing")), [])
    })
  )

  it.effect("is found out by writing to it, since a full disk lets it be opened", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      symlinkSync("/dev/full", join(folder, "full"))
      const spool = new Spool(join(folder, "full"))
      const error = yield* Effect.flip(spool.probe)
      yield* spool.close
      assert.include(error.message, "ENOSPC")
    })
  )
})

describe("a batch that could not be appended whole", () => {
  it.effect("is not left in the spool, to which it is appended again", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "spool")
      const spool = yield* Effect.acquireRelease(
        Effect.sync(() => new Spool(path)),
        (opened) => opened.close
      )
      yield* spool.probe
      const handle = yield* Effect.promise(() => openFile(path))
      const files = Object.getPrototypeOf(handle) as FileHandle
      yield* Effect.promise(() => handle.close())
      const batch = { number: 1, batch: { opens: [interception("i1")] } }
      const broken = vi.spyOn(files, "datasync").mockRejectedValueOnce(new Error("ENOSPC"))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(spool.append([batch]))))
      broken.mockRestore()
      assert.strictEqual(statSync(path).size, 0)
      assert.isFalse(spool.backlog)
      yield* spool.append([batch])
      assert.deepStrictEqual(JSON.parse(readFileSync(path, "utf8")), batch)
    })
  )
})

describe("the commit timeout", () => {
  it.effect("is not moved by setting the clock of the machine", () =>
    Effect.gen(function* () {
      const clock = yield* TestClock.testClockWith(Effect.succeed)
      let wall = 0
      const shifted: Clock.Clock = new Proxy(clock, {
        get: (target, name) =>
          name === "currentTimeMillisUnsafe" ? () => target.currentTimeMillisUnsafe() + wall : Reflect.get(target, name)
      })
      const { store } = storeWith()
      const locked = new RecorderError({ operation: "write", reason: new StoreBusy() })
      const busy: RecordStore = { ...store, write: (batches) => (free ? store.write(batches) : Effect.fail(locked)) }
      let free = false
      const recorder = yield* Effect.provideService(Recorder.make(busy, options), Clock.Clock, shifted)
      const opening = yield* Effect.forkChild(Effect.exit(recorder.open(interception("i1"))), {
        startImmediately: true
      })
      yield* turns
      wall = -3_600_000
      yield* TestClock.adjust("1999 millis")
      yield* turns
      assert.isUndefined(opening.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* turns
      assert.isDefined(opening.pollUnsafe())
      free = true
      assert.isTrue(Exit.isFailure(yield* Fiber.join(opening)))
    })
  )
})
