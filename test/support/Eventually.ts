import { assert } from "@effect/vitest"
import { Effect } from "effect"

/** Waits in real time until something holds, for 25 seconds at most: that it never did says more than a test's timeout. */
export const eventually = Effect.fnUntraced(function* (holds: () => boolean) {
  const end = performance.now() + 25_000
  while (!holds()) {
    assert.isBelow(performance.now(), end, `never: ${holds}`)
    yield* Effect.sleep("5 millis")
  }
})
