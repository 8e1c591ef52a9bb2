import { type Duration, Effect, Latch, type Scope } from "effect"
import { ChunkQueue } from "../ChunkQueue.ts"
import { Cut, type Exchange, type HeaderMap, UpstreamError } from "../Exchange.ts"

/**
 * One step of an answer's body on its way out.
 *
 * - text or bytes: one network chunk.
 * - `wait`: silence, by the Effect clock.
 * - `await`: silence until an effect is done, such as `latch.await` or `Deferred.await(deferred)`.
 * - `cut`: the connection breaks; a text says how.
 * - `end`: the body ends here; the steps behind it are not played.
 * - `hang`: silence until the exchange's scope is closed.
 */
export type Step =
  | string
  | Uint8Array
  | { readonly wait: Duration.Input }
  | { readonly await: Effect.Effect<unknown> }
  | { readonly cut: true | string }
  | { readonly end: true }
  | { readonly hang: true }

const toBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const play = Effect.fnUntraced(function* (
  provider: string,
  steps: ReadonlyArray<Step>,
  body: ChunkQueue<UpstreamError>
) {
  const flowing = Latch.makeUnsafe(true)
  body.connect({ pause: () => flowing.closeUnsafe(), resume: () => flowing.openUnsafe() })
  for (const step of steps) {
    if (body.paused) yield* flowing.await
    if (typeof step === "string") body.offer(Buffer.from(step))
    else if (step instanceof Uint8Array) body.offer(toBuffer(step))
    else if ("wait" in step) yield* Effect.sleep(step.wait)
    else if ("await" in step) yield* step.await
    else if ("hang" in step) return yield* Effect.never
    else if ("end" in step) break
    else {
      const detail = step.cut === true ? "connection reset by peer" : step.cut
      body.fail(new UpstreamError({ provider, reason: new Cut({ detail }) }))
    }
  }
  body.end()
})

/**
 * Answers with a head at once and plays the body's steps behind it, each chunk as soon as the reader keeps up.
 *
 * A fiber of the scope plays. Closing the scope stops it before its next step, and a body that had not ended fails
 * with `Cut`, so that nobody waits for the rest of it.
 */
export const playback = Effect.fnUntraced(function* (
  provider: string,
  head: { readonly status: number; readonly headers: HeaderMap },
  steps: ReadonlyArray<Step>
): Effect.fn.Return<Exchange, never, Scope.Scope> {
  const body = new ChunkQueue<UpstreamError>()
  yield* Effect.addFinalizer(() =>
    Effect.sync(() =>
      body.fail(new UpstreamError({ provider, reason: new Cut({ detail: "the exchange was closed" }) }))
    )
  )
  yield* Effect.forkScoped(play(provider, steps, body))
  return { status: head.status, headers: head.headers, body }
})
