import { Effect, Layer } from "effect"
import { Observer } from "../interception/Observer.ts"
import { InterceptionLog } from "./InterceptionLog.ts"
import { Metrics } from "./Metrics.ts"

/** Has every interception counted and logged at its end: provide it to `Interception.layer`. */
export const layerNoDeps: Layer.Layer<never, never, Metrics | InterceptionLog> = Layer.effect(
  Observer,
  Effect.gen(function* () {
    const metrics = yield* Metrics
    const log = yield* InterceptionLog
    return (ended) => {
      metrics.observe(ended)
      log.observe(ended)
    }
  })
)

/**
 * `layerNoDeps` with the log on standard error, and the `Metrics` that `/metrics` renders.
 *
 * @param providers the names of the configured providers
 */
export const layer = (providers: Iterable<string>): Layer.Layer<Metrics> =>
  layerNoDeps.pipe(Layer.provide(InterceptionLog.layer()), Layer.provideMerge(Metrics.layer(providers)))
