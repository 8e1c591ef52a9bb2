/**
 * What a WebSocket remembers of its responses where the upstream is none: the latest of each lane, as the input of one
 * that goes on from it. It is gone with the connection, and so is right for clients that let nothing be stored.
 */
export class ConnectionMemory {
  private readonly latest = new Map<string | null, { readonly id: string; readonly items: ReadonlyArray<string> }>()

  /** @param items all input of the response and its output, each as JSON text */
  remember(lane: string | null, id: string, items: ReadonlyArray<string>): void {
    this.latest.set(lane, { id, items })
  }

  /** The items of a response, of whichever lane; `null` where it is not remembered. */
  find(id: string): ReadonlyArray<string> | null {
    for (const response of this.latest.values()) if (response.id === id) return response.items
    return null
  }

  /** A request that went on from a response of its own lane has failed: the real service forgets the response then. */
  evict(lane: string | null, id: string): void {
    if (this.latest.get(lane)?.id === id) this.latest.delete(lane)
  }
}
