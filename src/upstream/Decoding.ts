import { once } from "node:events"
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib"
import { type Cause, Effect, Pull, type Scope } from "effect"
import { ChunkQueue } from "./ChunkQueue.ts"
import { Cut, Malformed, UpstreamError } from "./Exchange.ts"

const decoders = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  br: createBrotliDecompress,
  deflate: createInflate,
  zstd: createZstdDecompress
} as const

const isKnown = (coding: string): coding is keyof typeof decoders => Object.hasOwn(decoders, coding)

/**
 * The body of an answer without its content coding. Providers are asked for none, but some compress all the same, and
 * what is compressed can neither be read nor be relayed to a client that asked for something else. Backpressure goes
 * through: the provider waits while the decoded bytes do.
 *
 * @param coding the answer's `content-encoding`; the same queue comes back where that names none
 */
export const decoded = Effect.fnUntraced(function* (
  body: ChunkQueue<UpstreamError>,
  coding: string,
  provider: string
): Effect.fn.Return<ChunkQueue<UpstreamError>, UpstreamError, Scope.Scope> {
  const name = coding.trim().toLowerCase()
  if (name === "" || name === "identity") return body
  if (!isKnown(name)) {
    const detail = `it is encoded as ${name.slice(0, 40)}, which nobody asked for`
    return yield* new UpstreamError({ provider, reason: new Malformed({ detail }) })
  }
  const decoder = decoders[name]()
  const queue = new ChunkQueue<UpstreamError>()
  queue.connect({ pause: () => decoder.pause(), resume: () => decoder.resume() })
  const broken = (cause: Error) =>
    queue.fail(new UpstreamError({ provider, reason: new Cut({ detail: `its ${name} coding: ${cause.message}` }) }))
  decoder
    .on("data", (chunk: Buffer) => queue.offer(chunk))
    .on("end", () => queue.end())
    .on("error", broken)
  yield* Effect.addFinalizer(() => Effect.sync(() => decoder.destroy()))
  const feed = Effect.gen(function* () {
    while (true) {
      for (const chunk of yield* body.pull) {
        if (!decoder.write(chunk)) yield* Effect.promise((signal) => once(decoder, "drain", { signal }))
      }
    }
  })
  yield* Effect.forkScoped(
    Effect.catchCause(feed, (cause) =>
      Effect.sync(() => {
        if (Pull.isDoneCause(cause)) decoder.end()
        else queue.failCause(cause as Cause.Cause<UpstreamError>)
      })
    )
  )
  return queue
})
