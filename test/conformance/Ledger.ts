import { assert } from "@effect/vitest"
import { Effect, Latch, Layer, Option } from "effect"
import { Recorder } from "../../src/recorder/Recorder.ts"
import type { InterceptionClose, RecordBatch, Turn, Usage } from "../../src/recorder/Records.ts"
import type { Expected } from "./DialectCase.ts"

/** What settled an interception. */
export interface Settled {
  readonly batch: RecordBatch
  readonly turn: Turn
  readonly usage: Usage
  readonly close: InterceptionClose
}

/**
 * A recorder that keeps every batch as it was handed over, so that one handed over twice is seen, and whose commits
 * can be held.
 */
export class Ledger {
  readonly batches: Array<RecordBatch> = []
  readonly commits = Latch.makeUnsafe(true)

  /** From now on commits wait until they are released. */
  hold(): void {
    this.commits.closeUnsafe()
  }

  release(): void {
    this.commits.openUnsafe()
  }

  readonly layer: Layer.Layer<Recorder> = Layer.effect(
    Recorder,
    Effect.map(Recorder, (none) =>
      Recorder.of({
        ...none,
        open: (row) =>
          Effect.sync(() => {
            this.batches.push({ opens: [row] })
          }),
        commit: (batch) =>
          Effect.suspend(() => {
            this.batches.push(batch)
            return this.commits.await
          }),
        interception: () => Effect.succeed(Option.none())
      })
    )
  ).pipe(Layer.provide(Recorder.layerNone))

  /** The batches that close an interception. */
  get settlements(): ReadonlyArray<RecordBatch> {
    return this.batches.filter((batch) => (batch.closes?.length ?? 0) > 0)
  }

  /** The one settlement of the one interception there was: it fails where there was none, or a second. */
  settled(): Settled {
    assert.strictEqual(this.settlements.length, 1, "settlements")
    const batch = this.settlements[0]!
    const opened = this.batches.flatMap((one) => one.opens ?? [])
    assert.strictEqual(opened.length, 1, "opened interceptions")
    for (const rows of [batch.turns, batch.usage, batch.closes]) assert.strictEqual(rows?.length, 1)
    const turn = batch.turns![0]!
    const usage = batch.usage![0]!
    const close = batch.closes![0]!
    assert.strictEqual(close.id, opened[0]!.id)
    for (const id of [turn.interceptionId, usage.interceptionId]) assert.strictEqual(id, close.id)
    assert.strictEqual(usage.turnId, turn.id)
    assert.strictEqual(turn.status, close.status)
    assert.deepStrictEqual(turn.error, close.error)
    return { batch, turn, usage, close }
  }

  /** That the interception was settled once, and as it should be. */
  expect(expected: Expected): Settled {
    const settled = this.settled()
    const { batch, turn, usage } = settled
    assert.strictEqual(turn.status, expected.status, `status, error ${turn.error?.code}: ${turn.error?.message}`)
    assert.strictEqual(turn.error?.code, expected.error, `error: ${turn.error?.message}`)
    assert.strictEqual(usage.provenance, expected.provenance, "provenance")
    const none = { input: null, output: null, cacheRead: null, cacheWrite: null, reasoning: null, other: {} }
    const { input, output, cacheRead, cacheWrite, reasoning, other } = usage
    assert.deepStrictEqual(
      { input, output, cacheRead, cacheWrite, reasoning, other },
      { ...none, ...expected.usage },
      "usage"
    )
    if (expected.finishReason !== undefined) assert.strictEqual(turn.finishReason, expected.finishReason)
    if (expected.attempts !== undefined) assert.strictEqual(turn.attempts, expected.attempts)
    if (expected.httpStatus !== undefined) assert.strictEqual(turn.httpStatus, expected.httpStatus)
    if (expected.toolCalls !== undefined) {
      const calls = batch.toolCalls!.map(({ callId, name, arguments: written }) => ({
        callId,
        name,
        arguments: written === null ? null : (JSON.parse(written) as unknown)
      }))
      assert.deepStrictEqual(calls, [...expected.toolCalls])
    }
    if (expected.thoughts !== undefined) {
      const texts = batch.thoughts!.map(({ text }) => text)
      assert.deepStrictEqual(texts, [...expected.thoughts])
    }
    return settled
  }
}
