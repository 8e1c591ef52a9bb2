import { Effect } from "effect"
import type { GatewayError } from "../dialect/GatewayError.ts"
import { clientError } from "../interception/Answering.ts"
import { errorAnswer } from "../interception/ErrorAnswer.ts"
import { shownHeaders } from "../interception/ShownHeaders.ts"
import { through } from "../interception/stages/Stage.ts"
import { uuidV7 } from "../interception/Uuid.ts"
import { Answer, type FramePull, first } from "../interception/Answer.ts"
import type { OpenedTurn, TurnRequest, Upstream } from "../upstream/Upstream.ts"
import { Frame, whole } from "../wire/Frame.ts"
import { type ResponseView, renamed, renamedText } from "./RenamedResponse.ts"

/** Why a relayed call has no answer to relay. */
export interface NoAnswer {
  readonly error: GatewayError
}

/** How an answer is shown that is about a stored response. */
export interface Shown extends ResponseView {
  /** Headers of a success that Sluice adds. */
  readonly headers: { readonly [name: string]: string }
}

/**
 * Opens a call whose answer is relayed unread. Only the body of what is no success is held, up
 * to `limit` bytes, to take echoed credentials out of it.
 *
 * @param shown where the answer has to be read after all, up to `limit` bytes at a time
 * @param model what the client called the model, where its upstream is asked for another
 */
export const openRelay = Effect.fnUntraced(function* (
  upstream: Upstream["Service"],
  limit: number,
  request: TurnRequest,
  shown: Shown | null = null,
  model: string | null = null
) {
  const opened = yield* upstream
    .open(request)
    .pipe(Effect.mapError(({ error }): NoAnswer => ({ error: clientError(error) })))
  // A redirection, too, may quote the address that was asked for.
  if (opened.status < 300) {
    if (shown === null) return answerOf(opened, null, chunks(opened), shownHeaders(opened, model))
    const stage = renamed(shown, opened.transport, limit)
    const pull =
      request.method === "HEAD" ? chunks(opened) : through<Buffer, Frame, never>(stage, () => null)(opened.body.pull)
    return answerOf(opened, null, pull, shown.headers)
  }
  const { body: said, headers } = yield* errorAnswer(opened, limit, request.provider).pipe(
    Effect.mapError((error): NoAnswer => ({ error: clientError(error) }))
  )
  const body = shown === null ? said : whole("body", renamedText(shown, said.bytes))
  return answerOf(opened, request.method === "HEAD" ? null : body.length, first([body]), headers)
})

const answerOf = (
  opened: OpenedTurn,
  length: number | null,
  pull: FramePull,
  headers: OpenedTurn["headers"] = {}
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
