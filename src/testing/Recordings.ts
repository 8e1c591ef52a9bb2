import { Context, Deferred, Effect, Layer, Option } from "effect"
import { Recorder } from "../recorder/Recorder.ts"
import type { InterceptionDetail, RecordBatch } from "../recorder/Records.ts"

/** Every row by its kind, in the order they were written. */
export type Rows = Required<RecordBatch>

const collect = (batches: ReadonlyArray<RecordBatch>): Rows => ({
  opens: batches.flatMap((batch) => batch.opens ?? []),
  turns: batches.flatMap((batch) => batch.turns ?? []),
  prompts: batches.flatMap((batch) => batch.prompts ?? []),
  usage: batches.flatMap((batch) => batch.usage ?? []),
  toolCalls: batches.flatMap((batch) => batch.toolCalls ?? []),
  thoughts: batches.flatMap((batch) => batch.thoughts ?? []),
  memories: batches.flatMap((batch) => batch.memories ?? []),
  closes: batches.flatMap((batch) => batch.closes ?? [])
})

/**
 * What a test looks at to see what was recorded.
 *
 * It stands in front of a `Recorder`, which its layers provide along with it, and sees each row as it is handed over, so that a row written twice counts twice,
 * which a store would hide.
 *
 * @example
 * ```ts
 * import { assert, it } from "@effect/vitest"
 * import { Effect, Layer } from "effect"
 * import { Recordings } from "sluice/testing"
 *
 * it.effect("records a call once", () =>
 *   Effect.gen(function* () {
 *     yield* callTheGateway
 *     const recordings = yield* Recordings
 *     const [call] = yield* recordings.closed(1)
 *     assert.strictEqual(call!.interception.status, "completed")
 *     assert.strictEqual((yield* recordings.rows).turns.length, 1)
 *   }).pipe(Effect.provide(gateway.pipe(Layer.provideMerge(Recordings.layer)))))
 * ```
 */
export class Recordings extends Context.Service<
  Recordings,
  {
    /** Every row handed over so far. */
    readonly rows: Effect.Effect<Rows>
    /** The batches handed over so far, and every opened interception as a batch of its own. */
    readonly batches: Effect.Effect<ReadonlyArray<RecordBatch>>
    /**
     * Waits until so many interceptions are closed and durable, and answers those closed by then as the recorder reads
     * them, in the order they were closed.
     */
    readonly closed: (count: number) => Effect.Effect<ReadonlyArray<InterceptionDetail>>
    /** Waits until the interception of this id is closed and durable, and answers it as the recorder reads it. */
    readonly closedAs: (id: string) => Effect.Effect<InterceptionDetail>
  }
>()("sluice/testing/Recordings") {
  /** Stands in front of a recorder that is given to it. */
  static readonly layerNoDeps: Layer.Layer<Recordings | Recorder, never, Recorder> = Layer.effectContext(
    Effect.suspend(() => Effect.map(Recorder, watch))
  )

  /** Stands in front of a recorder in memory. */
  static readonly layer: Layer.Layer<Recordings | Recorder> = Recordings.layerNoDeps.pipe(
    Layer.provide(Recorder.layerMemory)
  )
}

const watch = (recorder: Recorder["Service"]): Context.Context<Recordings | Recorder> => {
  const batches: Array<RecordBatch> = []
  const closed: Array<string> = []
  const waiting = new Set<{ readonly ready: () => boolean; readonly done: Deferred.Deferred<void> }>()

  const note = (batch: RecordBatch) => {
    batches.push(batch)
    const complete = (batch.opens ?? []).filter((row) => row.status !== null)
    for (const { id } of [...complete, ...(batch.closes ?? [])]) if (!closed.includes(id)) closed.push(id)
    for (const waiter of waiting) if (waiter.ready()) Deferred.doneUnsafe(waiter.done, Effect.void)
  }

  const until = (ready: () => boolean): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (ready()) return recorder.flush
      const waiter = { ready, done: Deferred.makeUnsafe<void>() }
      waiting.add(waiter)
      return Deferred.await(waiter.done).pipe(
        Effect.ensuring(Effect.sync(() => waiting.delete(waiter))),
        Effect.andThen(recorder.flush)
      )
    })

  const read = (id: string): Effect.Effect<InterceptionDetail> =>
    recorder
      .interception(id)
      .pipe(
        Effect.orDie,
        Effect.map(Option.getOrThrowWith(() => new Error(`interception ${id} was closed and is not in the store`)))
      )

  const watched = Recorder.of({
    ...recorder,
    open: (row) =>
      Effect.suspend(() => {
        note({ opens: [row] })
        return recorder.open(row)
      }),
    // Noted before it is done: interrupting a commit stops the waiting and not the writing.
    commit: (batch) =>
      Effect.suspend(() => {
        note(batch)
        return recorder.commit(batch)
      })
  })

  const recordings = Recordings.of({
    rows: Effect.sync(() => collect(batches)),
    batches: Effect.sync(() => batches.slice()),
    closed: (count) =>
      Effect.andThen(
        until(() => closed.length >= count),
        Effect.suspend(() => Effect.forEach(closed, read))
      ),
    closedAs: (id) =>
      Effect.andThen(
        until(() => closed.includes(id)),
        read(id)
      )
  })
  return Context.make(Recordings, recordings).pipe(Context.add(Recorder, watched))
}
