import { Effect } from "effect"
import { errorAnswer } from "../interception/ErrorAnswer.ts"
import type { ResponseTurns } from "../sessions/Sessions.ts"
import type { TurnRequest, Upstream } from "../upstream/Upstream.ts"
import { openRelay } from "./Relay.ts"

/** A call of a response that the provider has stored. */
export interface StoredResponse {
  readonly id: string
  /** `cancel`, or empty. */
  readonly part: string
  /** Whether it changes what is stored, instead of reading it. */
  readonly changes: boolean
  /** The path of the same call for another response. */
  readonly at: (id: string) => string
}

const stored = /^((?:\/v1)?\/responses\/)([^/]+)(?:\/(cancel))?$/

/**
 * The stored response that a call is about; `null` where it is about none. Its input items are the first turn's, as what
 * the client has sent: the last one's have calls in them that it never saw.
 *
 * @param path behind the provider's name
 */
export const storedResponseOf = (method: string, path: string): StoredResponse | null => {
  const found = stored.exec(path)
  if (found === null) return null
  const [, prefix = "", written = "", part = ""] = found
  const reads = (method === "GET" || method === "HEAD") && part !== "cancel"
  const changes = part === "cancel" ? method === "POST" : part === "" && method === "DELETE"
  if (!reads && !changes) return null
  const behind = part === "" ? "" : `/${part}`
  return { id: decoded(written), part, changes, at: (id) => `${prefix}${encodeURIComponent(id)}${behind}` }
}

const decoded = (written: string): string => {
  try {
    return decodeURIComponent(written)
  } catch {
    return written
  }
}

/**
 * Relays a call of a response that may have been made in several turns, of which the client knows the first one's id: it
 * is shown the last turn under that id, and what it changes is changed for all turns.
 *
 * @param injected the names of injected tools, which it is not shown
 */
export const openStoredResponse = Effect.fnUntraced(function* (
  upstream: Upstream["Service"],
  limit: number,
  request: TurnRequest,
  response: StoredResponse,
  turns: ResponseTurns,
  injected: ReadonlySet<string>
) {
  const last = turns.ids.at(-1)!
  // What is left when it is deleted says nothing of its output.
  const isShort = turns.shownBefore && request.method !== "DELETE"
  const opening = openRelay(
    upstream,
    limit,
    { ...request, path: response.at(last) },
    {
      from: last,
      to: response.id,
      injected,
      headers: isShort ? { "x-sluice-lossy": "output" } : {}
    }
  )
  if (!response.changes) return yield* opening
  const earlier = Effect.forEach(
    turns.ids.slice(0, -1),
    (id) => changeEarlier(upstream, limit, { ...request, path: response.at(id) }, id),
    { concurrency: 4, discard: true }
  )
  // The earlier ones are changed also where the last cannot be.
  const [answer] = yield* Effect.all([Effect.exit(opening), earlier], { concurrency: 2 })
  return yield* answer
})

/** Changes an earlier turn, which the client does not know of. */
const changeEarlier = (
  upstream: Upstream["Service"],
  limit: number,
  request: TurnRequest,
  id: string
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const opened = yield* Effect.mapError(upstream.open(request), ({ error }) => error)
    const { message } = yield* errorAnswer(opened, limit, request.provider)
    return opened.status < 300
      ? null
      : `the upstream answered ${opened.status}${message === null ? "" : `: ${message}`}`
  }).pipe(
    Effect.scoped,
    Effect.catch((error) => Effect.succeed(error.message)),
    Effect.flatMap((reason) =>
      reason === null
        ? Effect.void
        : Effect.logWarning("an earlier turn of a stored response was left as it is").pipe(
            Effect.annotateLogs({ provider: request.provider, method: request.method, response: id, reason })
          )
    )
  )
