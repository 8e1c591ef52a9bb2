import { Context } from "effect"
import type { Interception, InterceptionClose, Turn, Usage } from "../recorder/Records.ts"

/** An interception that has just ended, as it was recorded. */
export interface Ended {
  readonly interception: Interception
  readonly close: InterceptionClose
  /** Empty where it was rejected. */
  readonly turns: ReadonlyArray<Turn>
  readonly usage: ReadonlyArray<Usage>
  /** How many calls of injected tools were run. */
  readonly toolCalls: number
}

/** The observer, so that nothing it does can stand between an interception and its record. */
export const unfailing =
  (observe: (ended: Ended) => void): ((ended: Ended) => void) =>
  (ended) => {
    try {
      observe(ended)
    } catch (cause) {
      process.emitWarning(`an observer of interceptions failed: ${String(cause)}`)
    }
  }

/**
 * Told of every interception once, at its end: logs and metrics listen here. What it does is on the way of the answer's
 * last frame.
 */
export const Observer: Context.Reference<(ended: Ended) => void> = Context.Reference<(ended: Ended) => void>(
  "sluice/interception/Observer",
  { defaultValue: () => () => {} }
)
