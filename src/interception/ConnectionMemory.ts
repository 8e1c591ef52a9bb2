interface Remembered {
  readonly id: string
  readonly items: ReadonlyArray<string>
  readonly size: number
}

/**
 * What a WebSocket remembers of its responses where the upstream is none: the latest of each lane, as the input of one
 * that goes on from it. It is gone with the connection, and so is right for clients that let nothing be stored.
 */
export class ConnectionMemory {
  /** The oldest first. */
  private readonly latest = new Map<string | null, Remembered>()
  private readonly bound: number
  private size = 0

  /** @param bound how many characters it may hold; beyond them the oldest response is forgotten */
  constructor(bound: number) {
    this.bound = bound
  }

  /** @param items all input of the response and its output, each as JSON text */
  remember(lane: string | null, id: string, items: ReadonlyArray<string>): void {
    this.forget(lane)
    const size = items.reduce((sum, item) => sum + item.length, 0)
    this.latest.set(lane, { id, items, size })
    this.size += size
    for (const oldest of this.latest.keys()) {
      if (this.size <= this.bound) return
      this.forget(oldest)
    }
  }

  /** The items of a response, of whichever lane; `null` where it is not remembered. */
  find(id: string): ReadonlyArray<string> | null {
    for (const response of this.latest.values()) if (response.id === id) return response.items
    return null
  }

  /** A request that went on from a response of its own lane has failed: the real service forgets the response then. */
  evict(lane: string | null, id: string): void {
    if (this.latest.get(lane)?.id === id) this.forget(lane)
  }

  private forget(lane: string | null): void {
    const known = this.latest.get(lane)
    if (known === undefined) return
    this.latest.delete(lane)
    this.size -= known.size
  }
}
