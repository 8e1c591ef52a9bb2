import { Cause, Effect, Pull } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"

/**
 * A step of the pipeline: a fold over arrays, one array for each network chunk. A stage is a plain value without an
 * effect in it, so that several fuse into one and cost what their work costs, per chunk and not per frame.
 */
export interface Stage<In, Out> {
  /** Takes what came in, and puts what goes on into `out`. */
  push(input: ReadonlyArray<In>, out: Array<Out>): void
  /** Nothing more comes in: puts what was held back into `out`. */
  end(out: Array<Out>): void
}

/** Two stages as one. */
export const compose = <A, B, C>(first: Stage<A, B>, second: Stage<B, C>): Stage<A, C> => {
  let between: Array<B> = []
  return {
    push(input, out) {
      first.push(input, between)
      if (between.length === 0) return
      second.push(between, out)
      between = []
    },
    end(out) {
      first.end(between)
      if (between.length > 0) second.push(between, out)
      between = []
      second.end(out)
    }
  }
}

/**
 * Runs a stream's pull through a stage: one operator, however many stages were composed.
 *
 * @param verdict asked after every chunk, and with `ended` after the last: an error ends the stream once what was
 * released before it has gone on.
 */
export const through =
  <In, Out, E2>(stage: Stage<In, Out>, verdict: (ended: boolean) => E2 | null) =>
  <E>(pull: Pull.Pull<NonEmptyReadonlyArray<In>, E>): Pull.Pull<NonEmptyReadonlyArray<Out>, E | E2> => {
    let after: Pull.Pull<never, E | E2> | undefined

    const release = (out: ReadonlyArray<Out>): Pull.Pull<NonEmptyReadonlyArray<Out>, E | E2> =>
      out.length > 0 ? Effect.succeed(out as NonEmptyReadonlyArray<Out>) : (after ?? next)

    const onSuccess = (input: NonEmptyReadonlyArray<In>) => {
      const out: Array<Out> = []
      stage.push(input, out)
      const error = verdict(false)
      if (error !== null) after = Effect.fail(error)
      return release(out)
    }

    const onFailure = (cause: Cause.Cause<E | Cause.Done>): Pull.Pull<NonEmptyReadonlyArray<Out>, E | E2> => {
      if (!Pull.isDoneCause(cause)) return Effect.failCause(cause as Cause.Cause<E>)
      const out: Array<Out> = []
      stage.end(out)
      const error = verdict(true)
      after = error === null ? Cause.done() : Effect.fail(error)
      return release(out)
    }

    const next: Pull.Pull<NonEmptyReadonlyArray<Out>, E | E2> = Effect.suspend(
      () => after ?? Effect.matchCauseEffect(pull, { onSuccess, onFailure })
    )
    return next
  }
