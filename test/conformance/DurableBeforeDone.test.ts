import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { MemoryStore } from "../../src/recorder/MemoryStore.ts"
import { Recorder } from "../../src/recorder/Recorder.ts"
import { temporaryFolder } from "../recorder/folder.ts"
import { dialects } from "./Dialects.ts"
import { engine, settleDown } from "./Engine.ts"
import { eventually, rawTurn, sockets } from "./Sockets.ts"
import { settingOf, wordOf } from "./WayOut.ts"

describe.each(dialects)("in $name nobody sees an end whose records are not durable", (dialect) => {
  const sse = settingOf(dialect, "sse")
  const json = settingOf(dialect, "json")
  const { body, finish, after, end } = sse.events
  const before = [...body, ...finish, ...after].join("")

  const chunkings = [
    { name: "an event in each chunk", chunks: [...body, ...finish, ...after, end] },
    { name: "all in one chunk", chunks: [sse.stream] },
    { name: "a byte in each chunk", chunks: Array.from(Buffer.from(sse.stream), (byte) => Buffer.from([byte])) }
  ]

  it.effect.each(chunkings)("the terminal frame waits, and no frame before it: $name", ({ chunks }) =>
    Effect.gen(function* () {
      const { call, ledger } = yield* engine(dialect, [sse.turn(chunks)])
      ledger.hold()
      const client = yield* call(dialect.request(true))
      yield* settleDown(() => ledger.settlements.length > 0)
      yield* settleDown()
      assert.strictEqual(client.text, before)
      assert.strictEqual(client.ending, "open")
      assert.strictEqual(ledger.settled().turn.status, "completed")
      ledger.release()
      yield* client.ended
      assert.strictEqual(client.text, sse.stream)
      assert.strictEqual(client.ending, "clean")
    })
  )

  it.effect("a body waits, and its head with it", () =>
    Effect.gen(function* () {
      const { call, ledger } = yield* engine(dialect, [json.turn(json.body)])
      ledger.hold()
      const client = yield* call(dialect.request(false))
      yield* settleDown(() => ledger.settlements.length > 0)
      yield* settleDown()
      assert.isNull(client.answer)
      ledger.release()
      yield* client.ended
      assert.strictEqual(client.text, json.body)
    })
  )

  it.effect("an error event waits for its records as well", () =>
    Effect.gen(function* () {
      const { call, ledger } = yield* engine(dialect, [sse.turn([...body, { cut: true }])])
      ledger.hold()
      const client = yield* call(dialect.request(true))
      yield* settleDown(() => ledger.settlements.length > 0)
      yield* settleDown()
      assert.strictEqual(client.text, body.join(""))
      ledger.release()
      yield* client.ended
      const errorEvent = dialect.readErrorEvent(client.text.slice(body.join("").length))
      assert.strictEqual(errorEvent?.code, wordOf(dialect, "upstream_cut", "event"))
    })
  )

  it.effect.skipIf(finish.length === 0 || dialect.leftAfterFinish !== "completed")(
    "the end of a stream without a terminal frame waits",
    () =>
      Effect.gen(function* () {
        const { call, ledger } = yield* engine(dialect, [sse.turn([...body, ...finish, ...after])])
        ledger.hold()
        const client = yield* call(dialect.request(true))
        yield* settleDown(() => ledger.settlements.length > 0)
        yield* settleDown()
        assert.strictEqual(client.text, before)
        assert.strictEqual(client.ending, "open")
        ledger.release()
        yield* client.ended
        assert.strictEqual(client.text, before)
        assert.strictEqual(client.ending, "clean")
      })
  )

  it.live("over real sockets", () =>
    Effect.gen(function* () {
      const { call, ledger } = yield* sockets(dialect, [rawTurn("sse", [sse.stream])])
      ledger.hold()
      const answer = yield* call(dialect.request(true))
      yield* eventually("settled", () => ledger.settlements.length > 0)
      yield* Effect.sleep(50)
      assert.strictEqual(answer.text(), before)
      ledger.release()
      assert.strictEqual(yield* answer.ended, "clean")
      assert.strictEqual(answer.text(), sse.stream)
    })
  )

  /** A real recorder whose store takes what begins a call and never answers to what ends one. */
  const stuck = Effect.map(temporaryFolder, (folder) => {
    const store = new MemoryStore()
    const write: typeof store.write = (batches) =>
      batches.some(({ batch }) => (batch.closes?.length ?? 0) > 0) ? Effect.never : store.write(batches)
    const recorder = Layer.effect(
      Recorder,
      Recorder.make(
        {
          write,
          writeLate: write,
          endedInstances: store.endedInstances,
          interceptions: store.interceptions,
          interception: store.interception,
          sessions: store.sessions,
          session: store.session,
          toolCalls: store.toolCalls,
          memories: store.memories,
          responseTurns: store.responseTurns,
          usage: store.usage,
          secret: store.secret
        },
        { spool: join(folder, "spool"), commitTimeout: "80 millis", onFailure: "refuse", content: "all" }
      )
    )
    const spooled = () =>
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"))
        .join("")
    return { recorder: Layer.orDie(recorder), spooled }
  })

  it.live.each(["sse", "json"] as const)(
    "a commit that hangs goes to the spool, and the answer ends: %s",
    (transport) =>
      Effect.gen(function* () {
        const { recorder, spooled } = yield* stuck
        const setting = settingOf(dialect, transport)
        const whole = transport === "sse" ? sse.stream : json.body
        const { call } = yield* sockets(dialect, [rawTurn(transport, [whole])], { recorder })
        const started = performance.now()
        const answer = yield* call(dialect.request(transport === "sse"))
        if (transport === "sse") {
          yield* answer.bytes(Buffer.byteLength(before))
          yield* Effect.sleep(20)
          assert.strictEqual(answer.text(), before)
        }
        assert.strictEqual(yield* answer.ended, "clean")
        assert.isAtLeast(performance.now() - started, 79)
        assert.strictEqual(answer.text(), whole)
        assert.include(spooled(), answer.headers["x-sluice-interception-id"] as string)
        assert.include(spooled(), setting.dialect.finishReason("stop"))
      })
  )
})
