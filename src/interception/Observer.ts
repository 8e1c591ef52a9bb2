import { Context } from "effect"
import type { Interception, InterceptionClose, Turn, Usage } from "../recorder/Records.ts"

/** An interception that has just ended, as it was recorded. */
export interface Ended {
  readonly interception: Interception
  readonly close: InterceptionClose
  /** Empty where it was rejected. */
  readonly turns: ReadonlyArray<Turn>
  readonly usage: ReadonlyArray<Usage>
}

/**
 * Told of every interception once, at its end: logs and metrics listen here. It must not throw, and what it does is on
 * the way of the answer's last frame.
 */
export const Observer: Context.Reference<(ended: Ended) => void> = Context.Reference<(ended: Ended) => void>(
  "sluice/interception/Observer",
  { defaultValue: () => () => {} }
)
