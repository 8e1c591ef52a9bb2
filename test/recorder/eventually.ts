import { Effect } from "effect"

/** Some turns of the event loop: a writer has tried by then, and sleeps. */
export const turns = Effect.promise(async () => {
  for (let i = 0; i < 5; i++) await new Promise(setImmediate)
})

/** Waits for what files take their time for; the test's own timeout bounds it. */
export const eventually = <E>(holds: Effect.Effect<boolean, E>): Effect.Effect<void, E> =>
  Effect.gen(function* () {
    while (!(yield* holds)) yield* turns
  })
