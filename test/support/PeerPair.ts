import { createServer } from "node:http"
import type { Socket } from "node:net"
import { Context, Deferred, Effect, Layer, type Scope } from "effect"
import { WebSocketServer } from "ws"
import { IdleTimers, type Peer } from "../../src/upstream/Upstream.ts"
import { connectionOptions, WebSocketPeer, type WebSocketPeerOptions } from "../../src/upstream/WebSocketPeer.ts"
import { listen } from "./LocalServer.ts"
import { type ClientSocket, WebSocketClient } from "./WebSocketClient.ts"

/** Timers that run by the clock of the test they are made in. */
export const idleTimers: Effect.Effect<IdleTimers["Service"], never, Scope.Scope> = Effect.map(
  Layer.build(IdleTimers.layer),
  Context.get(IdleTimers)
)

/** A peer, and the end of a test that it is connected with over a real socket. */
export interface PeerPair {
  readonly peer: Peer
  readonly client: ClientSocket
  /** What the peer goes over. */
  readonly socket: Socket
  readonly timers: IdleTimers["Service"]
}

/** Makes a peer, by default with a write deadline of ten seconds and messages of 64 KiB at most. */
export const peerPair = Effect.fnUntraced(function* (
  options: Partial<WebSocketPeerOptions> & { readonly maxPayload?: number; readonly keep?: boolean } = {}
): Effect.fn.Return<PeerPair, never, Scope.Scope> {
  const timers = options.timers ?? (yield* idleTimers)
  const accepted = Deferred.makeUnsafe<{ readonly peer: WebSocketPeer; readonly socket: Socket }>()
  const acceptor = new WebSocketServer({ ...connectionOptions(options.maxPayload ?? 65_536), noServer: true })
  const server = createServer().on("upgrade", (request, socket, head) => {
    acceptor.handleUpgrade(request, socket, head, (webSocket) => {
      const peer = new WebSocketPeer(webSocket, socket as Socket, { write: 10_000, ...options, timers })
      Deferred.doneUnsafe(accepted, Effect.succeed({ peer, socket: socket as Socket }))
    })
  })
  const { url } = yield* listen(server)
  const client = yield* Effect.orDie(WebSocketClient.connect(url, { keep: options.keep ?? true }))
  const { peer, socket } = yield* Effect.acquireRelease(Deferred.await(accepted), ({ peer }) => peer.release)
  return { peer, client, socket, timers }
})
