import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Worker } from "node:worker_threads"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Schema } from "effect"
import { TestClock } from "effect/testing"
import { vi } from "vitest"
import { InterceptionDetail, SessionPage, UsageKey, UsageSum } from "../../src/recorder/Records.ts"
import { migrate } from "../../src/recorder/SqliteMigrations.ts"
import { SqliteReaderClient } from "../../src/recorder/SqliteReaderClient.ts"
import { temporaryFolder } from "./folder.ts"
import { open } from "./recorders.ts"
import { interception, settlement, toolCall } from "./rows.ts"

const clientOf = (filename: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new SqliteReaderClient(filename)),
    (opened) => opened.close
  )

/** Has what is posted to workers go another way, as long as the scope is open. */
const posting = (post: (this: Worker) => void) =>
  Effect.acquireRelease(
    Effect.sync(() => vi.spyOn(Worker.prototype, "postMessage").mockImplementation(post)),
    (spy) => Effect.sync(() => spy.mockRestore())
  )

describe("the worker that reads", () => {
  it.effect("fails those who wait when it dies, and is started again for the next", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const filename = join(folder, "later", "records.db")
      const client = yield* Effect.acquireRelease(
        Effect.sync(() => new SqliteReaderClient(filename)),
        (opened) => opened.close
      )
      const error = yield* Effect.flip(client.ask("usage", "model"))
      assert.include(error.message, "the worker that reads records has failed")
      mkdirSync(join(folder, "later"))
      const database = new DatabaseSync(filename)
      migrate(database)
      database.close()
      assert.deepStrictEqual(yield* client.ask("usage", "model"), [])
    })
  )

  it.effect("fails those who wait when its answer cannot be read, and answers the next", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.scoped(open(folder))
      const client = yield* clientOf(join(folder, "records.db"))
      const unreadable = posting(function () {
        this.emit("messageerror", new RangeError("Maximum call stack size exceeded"))
      })
      const error = yield* Effect.flip(Effect.scoped(Effect.andThen(unreadable, client.ask("usage", "model"))))
      assert.include(error.message, "cannot be read: Maximum call stack")
      assert.deepStrictEqual(yield* client.ask("usage", "model"), [])
    })
  )

  it.effect("fails a question that it does not answer in two minutes", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.scoped(open(folder))
      const client = yield* clientOf(join(folder, "records.db"))
      const asking = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* posting(() => undefined)
          const fiber = yield* Effect.forkDetach(Effect.flip(client.ask("usage", "model")), { startImmediately: true })
          yield* TestClock.adjust("2 minutes")
          return fiber
        })
      )
      assert.include((yield* Fiber.join(asking)).message, "has not answered in 2 minutes")
      assert.deepStrictEqual(yield* client.ask("usage", "model"), [])
    })
  )
})

describe("arguments of any depth", () => {
  it.effect.each([4_000, 20_000])("are recorded with all of their call, and presented as text: %d", (depth) =>
    Effect.gen(function* () {
      const recorder = yield* open(yield* temporaryFolder)
      const deep = `${"[".repeat(depth)}${"]".repeat(depth)}`
      yield* recorder.open(interception("i1"))
      yield* recorder.commit({ ...settlement("i1"), toolCalls: [toolCall("i1", "c", { arguments: deep })] })
      const detail = Option.getOrThrow(yield* recorder.interception("i1"))
      assert.strictEqual(detail.interception.status, "completed")
      assert.strictEqual(detail.toolCalls[0]?.arguments, deep)
      const json = JSON.stringify(yield* Schema.encodeEffect(InterceptionDetail)(detail))
      assert.strictEqual(JSON.parse(json).toolCalls[0].arguments, deep)
      const query = { actor: "anonymous", callId: "c", name: null, sessionId: null, before: "i2" }
      assert.strictEqual((yield* recorder.toolCalls(query))[0]?.arguments, deep)
    })
  )
})

describe("figures that no count can be", () => {
  it.effect("keep nothing from being read where they are stored already", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const recorder = yield* open(folder)
      for (const id of ["i1", "i2"]) {
        yield* recorder.open(interception(id, { sessionId: "s1" }))
        yield* recorder.commit(settlement(id))
      }
      const database = new DatabaseSync(join(folder, "records.db"))
      database.exec(`
        UPDATE usage SET input = 9223372036854775807, output = 1e300, cache_read = -5, cache_write = 'many',
          reasoning = 2.5, other = '{"a":1e999,"b":"c","d":2}', cost = '1e5', currency = 'USD'
          WHERE interception_id = 'i1';
        INSERT INTO usage SELECT interception_id, 'more', input, 9007199254740991, 0, 0, 0, 'no json', provenance, raw,
          NULL, NULL, NULL FROM usage WHERE turn_id = 'i1-t0';
        INSERT INTO usage SELECT interception_id, 'most', input, 9007199254740991, 0, 0, 0, '[', provenance, raw,
          NULL, NULL, NULL FROM usage WHERE turn_id = 'i1-t0';
        UPDATE turns SET http_status = 4611686018427387904, attempts = -1, duration_ms = 9e999
          WHERE interception_id = 'i1';
        UPDATE interceptions SET started_at = 9223372036854775807 WHERE id = 'i1'`)
      database.close()
      for (const by of UsageKey.literals) {
        const sums = yield* Schema.encodeEffect(Schema.Array(UsageSum))(yield* recorder.usage(by))
        const { input, output, cacheWrite } = sums.find((sum) => by !== "day" || sum.key === "unknown")!
        const own = by === "day" ? 0 : 1
        assert.deepStrictEqual([input, output, cacheWrite], [10 * own, Number.MAX_SAFE_INTEGER, 0])
      }
      const detail = Option.getOrThrow(yield* recorder.interception("i1"))
      yield* Schema.encodeEffect(InterceptionDetail)(detail)
      const found = detail.usage.find(({ turnId }) => turnId === "i1-t0")!
      assert.deepInclude(found, { input: null, output: null, cacheRead: 0, cacheWrite: null, reasoning: 2 })
      assert.deepStrictEqual(found.other, { d: 2 })
      const page = yield* recorder.sessions({ limit: 10 })
      yield* Schema.encodeEffect(SessionPage)(page)
      assert.deepInclude(page.sessions[0]?.usage, { input: 10, output: Number.MAX_SAFE_INTEGER, cost: null })
    })
  )
})
