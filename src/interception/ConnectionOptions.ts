import type { Duration } from "effect"
import type { IdleTimers, Peer, Upstream, UpstreamPeer } from "../upstream/Upstream.ts"
import type { InboundRequest } from "./InboundRequest.ts"
import type { Interception } from "./Interception.ts"

/** What every call of a connection shares. */
export type ConnectionRequest = Omit<InboundRequest, "body" | "dialect" | "method" | "socket">

/** What a connection takes from the configuration. */
export interface ConnectionSettings {
  readonly websocket: { readonly max_age: Duration.Duration; readonly max_queued: number }
  readonly limits: {
    readonly body_bytes: number
    readonly keep_alive: Duration.Duration
    readonly first_frame: Duration.Duration
    readonly idle: Duration.Duration
  }
}

/** What a connection is made with. */
export interface ConnectionOptions {
  readonly client: Peer
  readonly request: ConnectionRequest
  /** The WebSocket to the provider that the path names; `null` where it takes none. It was opened before the client's. */
  readonly dialled: UpstreamPeer | null
  readonly settings: ConnectionSettings
  readonly interception: Interception["Service"]
  readonly upstream: Upstream["Service"]
  readonly timers: IdleTimers["Service"]
}
