import type { IncomingMessage, ServerResponse } from "node:http"
import { Data, Effect } from "effect"
import { type GatewayError, gatewayError } from "../dialect/GatewayError.ts"
import { decodeBody, supportedCodings } from "../wire/ContentEncoding.ts"

/** A request body that cannot be taken; `error` is what its client is told. */
export class BadBody extends Data.TaggedError("BadBody")<{ readonly error: GatewayError }> {}

/**
 * Reads a request's body and takes its content coding off.
 *
 * @param limit the largest body, decoded, in bytes
 */
export const readBody = Effect.fnUntraced(function* (
  request: IncomingMessage,
  response: ServerResponse,
  limit: number
) {
  const declared = Number(request.headers["content-length"] ?? 0)
  if (declared > limit) return yield* tooLarge(limit)
  if (request.headers.expect === "100-continue") response.writeContinue()
  const bytes = yield* collect(request, limit)
  const coding = request.headers["content-encoding"]
  if (coding === undefined || coding === "" || coding === "identity") return bytes
  const decoded = yield* Effect.promise(() => decodeBody(coding, bytes, limit))
  if (decoded.ok) return decoded.bytes
  switch (decoded.reason) {
    case "unsupported":
      // RFC 9110, section 15.5.16: it says what would have been taken.
      response.setHeader("accept-encoding", supportedCodings)
      return yield* new BadBody({ error: gatewayError(415, "unsupported_content_encoding", decoded.detail) })
    case "malformed":
      return yield* new BadBody({ error: gatewayError(400, "invalid_content_encoding", decoded.detail) })
    case "too_large":
      return yield* tooLarge(limit)
  }
})

const tooLarge = (limit: number) =>
  new BadBody({
    error: gatewayError(413, "request_too_large", `The request body is larger than limits.body_bytes (${limit} bytes).`)
  })

/** The body as it came. A client that leaves in the middle interrupts the fiber, so only the end is waited for. */
const collect = (request: IncomingMessage, limit: number): Effect.Effect<Buffer, BadBody> =>
  Effect.callback<Buffer, BadBody>((resume) => {
    const chunks: Array<Buffer> = []
    let size = 0
    const onData = (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size <= limit) return
      stop()
      resume(tooLarge(limit))
    }
    const onEnd = () => {
      stop()
      resume(Effect.succeed(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)))
    }
    const onError = () => {
      stop()
      resume(Effect.interrupt)
    }
    const stop = () => {
      request.off("data", onData)
      request.off("end", onEnd)
      request.off("error", onError)
    }
    request.on("data", onData)
    request.on("end", onEnd)
    request.on("error", onError)
    return Effect.sync(stop)
  })
