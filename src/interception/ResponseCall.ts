import { Effect } from "effect"
import { resultsFor } from "../dialect/openai-responses/ClientEvents.ts"
import type { FailedTurn, OpenedTurn, PeerTurns, TurnRequest, UpstreamError } from "../upstream/Upstream.ts"
import type { SocketCall } from "./InboundRequest.ts"

/** An upstream's side of a connection: the turns over its WebSocket. */
export type Native = Effect.Effect<PeerTurns, UpstreamError>

/** How the turns of one response are opened: over HTTP where it does not say. */
export interface ResponseCall {
  readonly open: SocketCall["open"]
  /** How the upstream's side of the connection was closed, if it was. */
  readonly closing?: SocketCall["closing"]
}

export const overHttp: ResponseCall = { open: null }

/** The turns of one response over an upstream's WebSocket. */
export class NativeCall implements ResponseCall {
  private readonly streamId: string | null
  private readonly native: Native
  /** A turn that the upstream has begun by itself. */
  private adopted: OpenedTurn | null
  private begun = false
  private turns: PeerTurns | null = null

  constructor(streamId: string | null, native: Native, adopted: OpenedTurn | null = null) {
    this.streamId = streamId
    this.native = native
    this.adopted = adopted
  }

  readonly closing = () => this.turns?.closing ?? null

  readonly open = (turn: TurnRequest) =>
    this.native.pipe(
      Effect.mapError((error): FailedTurn => ({ error, attempts: 1 })),
      Effect.flatMap((turns) => {
        const { adopted, streamId } = this
        this.turns = turns
        const goesOnFrom = this.begun ? turns.latestOn(streamId) : null
        this.begun = true
        this.adopted = null
        if (adopted !== null) return Effect.succeed(adopted)
        return turns.open(streamId, goesOnFrom === null ? turn.body! : resultsFor(turn.body!, goesOnFrom))
      })
    )
}
