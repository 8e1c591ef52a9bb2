import type { Frame } from "../wire/Frame.ts"
import { ChunkQueue } from "./ChunkQueue.ts"
import type { UpstreamError } from "./Exchange.ts"
import type { OpenedTurn } from "./Upstream.ts"

/** A turn that no provider is asked for: a stream of these events. */
export const localTurn = (events: ReadonlyArray<Frame>): OpenedTurn => {
  const body = new ChunkQueue<UpstreamError>()
  for (const event of events) body.offer(event.bytes)
  body.end()
  return {
    status: 200,
    headers: { "content-type": "text/event-stream" },
    transport: "sse",
    body,
    attempts: 1,
    secrets: []
  }
}
