import { Effect } from "effect"
import type { GatewayError } from "../dialect/GatewayError.ts"
import { clientError } from "../interception/Answering.ts"
import { errorAnswer } from "../interception/ErrorAnswer.ts"
import { uuidV7 } from "../interception/Uuid.ts"
import { Answer, type FramePull, first } from "../interception/Answer.ts"
import type { OpenedTurn, TurnRequest, Upstream } from "../upstream/Upstream.ts"
import { Frame } from "../wire/Frame.ts"

/** Why a relayed call has no answer to relay. */
interface NoAnswer {
  readonly error: GatewayError
}

/**
 * Opens a call whose answer is relayed unread. Only the body of what is no success is held, up
 * to `limit` bytes, to take echoed credentials out of it.
 */
export const openRelay = Effect.fnUntraced(function* (
  upstream: Upstream["Service"],
  limit: number,
  request: TurnRequest
) {
  const opened = yield* upstream
    .open(request)
    .pipe(Effect.mapError(({ error }): NoAnswer => ({ error: clientError(error) })))
  // A redirection, too, may quote the address that was asked for.
  if (opened.status < 300) return answerOf(opened, null, chunks(opened))
  const { body, headers } = yield* errorAnswer(opened, limit, request.provider).pipe(
    Effect.mapError((error): NoAnswer => ({ error: clientError(error) }))
  )
  return answerOf(opened, request.method === "HEAD" ? null : body.length, first([body]), headers)
})

const answerOf = (
  opened: OpenedTurn,
  length: number | null,
  pull: FramePull,
  headers: { readonly [name: string]: string } = {}
): Answer =>
  new Answer({
    id: uuidV7(Date.now()),
    head: { status: opened.status, headers: { ...opened.headers, ...headers } },
    transport: opened.transport,
    length,
    pull
  })

const chunks = (opened: OpenedTurn): FramePull =>
  Effect.map(opened.body.pull, (all) => all.map(part) as unknown as readonly [Frame, ...Array<Frame>])

const part = (chunk: Buffer): Frame => new Frame(chunk, 0, chunk.length, "part", "", 0, chunk.length, 1)
