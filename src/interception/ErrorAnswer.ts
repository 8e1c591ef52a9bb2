import { Effect, Pull } from "effect"
import { isObject } from "../dialect/Json.ts"
import {
  type ChunkQueue,
  Malformed,
  maskBytes,
  maskText,
  type OpenedTurn,
  UpstreamError
} from "../upstream/Upstream.ts"
import { type Frame, whole } from "../wire/Frame.ts"

/** An upstream's answer that is an error, as a client may see it. */
export interface ErrorAnswer {
  readonly body: Frame
  /** Headers that Sluice adds. */
  readonly headers: { readonly [name: string]: string }
  /** What the error says, shortened. */
  readonly message: string | null
}

/**
 * Reads the body of an answer that is no success, up to `limit` bytes, and takes echoed credentials out of it. A 429
 * that does not say when to come back is given a `retry-after`, without which some clients give up at once; where a
 * quota is spent that is right.
 */
export const errorAnswer = Effect.fnUntraced(function* (opened: OpenedTurn, limit: number, provider: string) {
  const body = whole("body", maskBytes(yield* readAll(opened.body, limit, provider), opened.secrets))
  const { code, message } = errorOf(body)
  const unpaced = opened.status === 429 && opened.headers["retry-after"] === undefined
  const answer: ErrorAnswer = {
    body,
    headers: unpaced && code !== "insufficient_quota" ? { "retry-after": "1" } : {},
    message: message === null ? null : maskText(message, opened.secrets)
  }
  return answer
})

/** The longest part of an upstream's error message that goes into the records. */
const longestMessage = 500

/** What an error body says, in the form that all dialects share. */
const errorOf = (body: Frame): { readonly code: string | null; readonly message: string | null } => {
  const json = body.json
  const error = isObject(json) && isObject(json.error) ? json.error : json
  const field = (name: string): string | null => {
    const value = isObject(error) ? error[name] : undefined
    return typeof value === "string" ? value.slice(0, longestMessage) : null
  }
  return { code: field("code") ?? field("type"), message: field("message") }
}

const readAll = Effect.fnUntraced(function* (body: ChunkQueue<UpstreamError>, limit: number, provider: string) {
  const chunks: Array<Buffer> = []
  let size = 0
  let open = true
  while (open) {
    const more = yield* body.pull.pipe(Pull.catchDone(() => Effect.succeed(null)))
    if (more === null) {
      open = false
      continue
    }
    for (const chunk of more) {
      chunks.push(chunk)
      size += chunk.length
    }
    if (size > limit) {
      const reason = new Malformed({ detail: "its error body is larger than limits.event_bytes" })
      return yield* new UpstreamError({ provider, reason })
    }
  }
  return Buffer.concat(chunks)
})
