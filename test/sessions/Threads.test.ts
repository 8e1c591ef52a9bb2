import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { AnsweredToolCall } from "../../src/dialect/Dialect.ts"
import { RecorderError } from "../../src/recorder/RecorderError.ts"
import { Sessions, type Threaded } from "../../src/sessions/Sessions.ts"
import type { FindToolCalls, FoundToolCall, ToolCallQuestion } from "../../src/sessions/Threads.ts"
import { remembering } from "./remembering.ts"

const layer = (toolCalls: FindToolCalls) => remembering({ toolCalls })

const nobody: FindToolCalls = () => Effect.succeed([])

const by = (id: string, change: Partial<Threaded> = {}): Threaded => ({
  id,
  actor: "alice",
  sessionId: "s1",
  ...change
})

const call = (callId: string, name = "ls", args: unknown = { path: "." }) => ({ callId, name, arguments: args })

const answered = (callId: string, name = "ls", args: unknown = '{"path":"."}'): AnsweredToolCall => ({
  callId,
  call: { name, arguments: args }
})

const bare = (callId: string): AnsweredToolCall => ({ callId, call: null })

/** The parent once everything that is looked at was looked at. */
const parentOf = (of: Threaded, asked: AnsweredToolCall | null) =>
  Effect.gen(function* () {
    const sessions = yield* Sessions
    const thread = yield* sessions.follow(of, asked)
    if (thread.looking !== null) yield* thread.looking
    return thread.parentId
  })

const made = (of: Threaded, ...calls: ReadonlyArray<ReturnType<typeof call>>) =>
  Effect.map(Sessions, (sessions) => sessions.made(of, calls))

describe("a thread", () => {
  it.effect("goes on from the interception that made the call it answers", () =>
    Effect.gen(function* () {
      yield* made(by("i1"), call("c1"), call("c2", "cat", { path: "a" }))
      yield* made(by("i2"), call("c3"))
      assert.strictEqual(yield* parentOf(by("i9"), answered("c1")), "i1")
      assert.strictEqual(yield* parentOf(by("i9"), answered("c2", "cat", { path: "a" })), "i1")
      assert.strictEqual(yield* parentOf(by("i9"), answered("c3")), "i2")
      assert.strictEqual(yield* parentOf(by("i9"), bare("c3")), "i2")
      assert.isNull(yield* parentOf(by("i9"), answered("c4")))
      assert.isNull(yield* parentOf(by("i9"), answered("")))
      assert.isNull(yield* parentOf(by("i9"), null))
    }).pipe(Effect.provide(layer(nobody)))
  )

  it.effect("is not taken for another whose calls are counted the same", () =>
    Effect.gen(function* () {
      yield* made(by("i1", { sessionId: "s1" }), call("call_0", "ls", { path: "a" }))
      yield* made(by("i2", { sessionId: "s2" }), call("call_0", "ls", { path: "a" }))
      yield* made(by("i3", { sessionId: "s1" }), call("call_0", "ls", { path: "b" }))
      assert.strictEqual(yield* parentOf(by("i9", { sessionId: "s1" }), answered("call_0", "ls", { path: "a" })), "i1")
      assert.strictEqual(yield* parentOf(by("i9", { sessionId: "s2" }), answered("call_0", "ls", { path: "a" })), "i2")
      assert.strictEqual(yield* parentOf(by("i9", { sessionId: "s1" }), answered("call_0", "ls", { path: "b" })), "i3")
      assert.isNull(yield* parentOf(by("i9"), answered("call_0", "cat", { path: "a" })), "another tool")
      assert.isNull(yield* parentOf(by("i9"), answered("call_0", "ls", { path: "c" })), "other arguments")
      assert.strictEqual(yield* parentOf(by("i9"), bare("call_0")), "i3", "the newest of the session")
    }).pipe(Effect.provide(layer(nobody)))
  )

  it.effect("is found by an id of whatever length, which takes no more room than a short one", () =>
    Effect.gen(function* () {
      setFlagsFromString("--expose-gc")
      const collect = runInNewContext("gc") as () => void
      const idOf = (at: number) => Buffer.alloc(1 << 20, 0x78).toString("latin1") + at
      collect()
      const before = process.memoryUsage().heapUsed
      for (let at = 0; at < 64; at++) yield* made(by("i1"), call(idOf(at)))
      yield* made(by("i2"), call(idOf(7)))
      collect()
      assert.isBelow(process.memoryUsage().heapUsed - before, 16 * (1 << 20))
      assert.strictEqual(yield* parentOf(by("i9"), answered(idOf(6))), "i1")
      assert.strictEqual(yield* parentOf(by("i9"), answered(idOf(7))), "i2")
      assert.isNull(yield* parentOf(by("i9"), answered(idOf(64))))
    }).pipe(Effect.provide(layer(nobody)))
  )

  it.effect("needs no session where the request repeats the call", () =>
    Effect.gen(function* () {
      const none = { sessionId: null }
      yield* made(by("i1", none), call("call_0"))
      yield* made(by("i2", none), call("call_0"))
      assert.strictEqual(yield* parentOf(by("i9", none), answered("call_0")), "i2")
      assert.isNull(yield* parentOf(by("i9", none), bare("call_0")), "which of the two?")
    }).pipe(Effect.provide(layer(nobody)))
  )

  it.effect("stays with its actor", () =>
    Effect.gen(function* () {
      yield* made(by("i1", { actor: "bob" }), call("c1"))
      assert.isNull(yield* parentOf(by("i9"), answered("c1")))
      assert.isNull(yield* parentOf(by("i9"), bare("c1")))
      // Names that would be the same when put together.
      yield* made(by("i1", { actor: "carol1" }), call("c1"))
      assert.isNull(yield* parentOf(by("i9", { actor: "carol" }), answered("1c1")))
    }).pipe(Effect.provide(layer(nobody)))
  )

  it.effect("never goes on from something newer, nor from itself", () =>
    Effect.gen(function* () {
      yield* made(by("i5"), call("c1"))
      assert.isNull(yield* parentOf(by("i5"), answered("c1")))
      assert.isNull(yield* parentOf(by("i4"), answered("c1")))
      assert.strictEqual(yield* parentOf(by("i6"), answered("c1")), "i5")
    }).pipe(Effect.provide(layer(nobody)))
  )

  it.effect("is found though the call was noted only while its answer was under way", () =>
    Effect.gen(function* () {
      const sessions = yield* Sessions
      const thread = yield* sessions.follow(by("i9"), answered("c1"))
      assert.isNull(thread.parentId)
      yield* made(by("i1"), call("c1"))
      assert.strictEqual(thread.parentId, "i1")
    }).pipe(Effect.provide(layer(nobody)))
  )

  it.effect("remembers so many calls and no more", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 5000; i++) yield* made(by("i1"), call(`c${i}`))
      assert.strictEqual(yield* parentOf(by("i9"), answered("c0")), "i1")
      for (let i = 5000; i < 10_001; i++) {
        yield* made(by("i1"), call(`c${i}`))
        // One that goes on being used is not forgotten.
        if (i % 1000 === 0) yield* made(by("i2"), call("c7"))
      }
      assert.isNull(yield* parentOf(by("i9"), answered("c0")))
      assert.strictEqual(yield* parentOf(by("i9"), answered("c5001")), "i1")
      assert.strictEqual(yield* parentOf(by("i9"), answered("c7")), "i2")
      for (let i = 0; i < 40; i++) yield* made(by(`i2${i + 10}`, { sessionId: `s${i}` }), call("call_0"))
      assert.isNull(yield* parentOf(by("i9", { sessionId: "s7" }), answered("call_0")))
      assert.strictEqual(yield* parentOf(by("i9", { sessionId: "s8" }), answered("call_0")), "i218")
    }).pipe(Effect.provide(layer(nobody)))
  )
})

const found = (interceptionId: string, change: Partial<FoundToolCall> = {}): FoundToolCall => ({
  interceptionId,
  sessionId: "s1",
  name: "ls",
  arguments: { path: "." },
  ...change
})

describe("a thread that only the store knows", () => {
  const asking = (rows: ReadonlyArray<FoundToolCall>) => {
    const questions: Array<ToolCallQuestion> = []
    const find: FindToolCalls = (question) => {
      questions.push(question)
      return Effect.succeed(rows)
    }
    return { questions, layer: layer(find) }
  }

  it.effect("is asked for once, with all that narrows it down", () => {
    const store = asking([found("i1")])
    return Effect.gen(function* () {
      assert.strictEqual(yield* parentOf(by("i9"), answered("c1")), "i1")
      assert.deepStrictEqual(store.questions, [
        { actor: "alice", callId: "c1", name: "ls", sessionId: "s1", before: "i9" }
      ])
      yield* made(by("i2"), call("c2"))
      assert.strictEqual(yield* parentOf(by("i9"), answered("c2")), "i2")
      assert.strictEqual(store.questions.length, 1, "what is remembered is not asked for")
    }).pipe(Effect.provide(store.layer))
  })

  it.effect.each<readonly [string, ReadonlyArray<FoundToolCall>, string | null]>([
    ["the newest of its session", [found("i1"), found("i3"), found("i2"), found("i4", { sessionId: "s2" })], "i3"],
    ["the only one of another session, as after a resume", [found("i1", { sessionId: "s2" })], "i1"],
    ["neither of two of other sessions", [found("i1", { sessionId: "s2" }), found("i2", { sessionId: null })], null],
    ["the only one that agrees", [found("i1", { sessionId: "s2" }), found("i2", { arguments: {} })], "i1"],
    ["one whose arguments were not recorded", [found("i1", { arguments: null })], "i1"],
    ["not one of another name for that", [found("i1", { arguments: null, name: "rm" })], null],
    ["one that made the call twice", [found("i1", { sessionId: "s2" }), found("i1", { sessionId: "s2" })], "i1"],
    ["nothing newer", [found("i9"), found("j1")], null]
  ])("takes %s", ([, rows, expected]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* parentOf(by("i9"), answered("c1")), expected)
    }).pipe(Effect.provide(asking(rows).layer))
  )

  it.effect("takes no one of another session from memory alone: the store may know a better one", () =>
    Effect.gen(function* () {
      yield* made(by("i5", { sessionId: "s2" }), call("call_0"))
      assert.strictEqual(yield* parentOf(by("i9"), answered("call_0")), "i1")
    }).pipe(Effect.provide(asking([found("i5", { sessionId: "s2" }), found("i1")]).layer))
  )

  it.effect("does not keep its call waiting, and is given up after half a second", () =>
    Effect.gen(function* () {
      const sessions = yield* Sessions
      const thread = yield* sessions.follow(by("i9"), answered("c1"))
      assert.isNull(thread.parentId)
      const waiting = yield* Effect.forkChild(thread.looking!, { startImmediately: true })
      yield* TestClock.adjust("499 millis")
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(waiting)
      assert.isNull(thread.looking)
      assert.isNull(thread.parentId)
    }).pipe(Effect.provide(layer(() => Effect.never)))
  )

  it.effect("comes while its call is under way", () => {
    const gate = Deferred.makeUnsafe<ReadonlyArray<FoundToolCall>>()
    return Effect.gen(function* () {
      const sessions = yield* Sessions
      const thread = yield* sessions.follow(by("i9"), answered("c1"))
      const { looking } = thread
      assert(looking !== null)
      yield* Deferred.succeed(gate, [found("i1")])
      yield* looking
      assert.strictEqual(thread.parentId, "i1")
    }).pipe(Effect.provide(layer(() => Deferred.await(gate))))
  })

  it.effect("has no parent where the store cannot be read", () =>
    Effect.gen(function* () {
      assert.isNull(yield* parentOf(by("i9"), answered("c1")))
    }).pipe(Effect.provide(layer(() => Effect.fail(RecorderError.failed("read", "gone")))))
  )
})
