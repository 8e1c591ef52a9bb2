import type { Memory } from "./Sessions.ts"

/** What an entry takes beside its texts, in bytes, as far as that can be told. */
const entryBytes = 256

/** An entry. Its value is let go of when it is replaced. */
interface Kept {
  readonly actor: string
  readonly key: string
  readonly expiresAt: number
  readonly bytes: number
  value: string | null
}

/** What is kept for one actor. */
interface Share {
  readonly entries: Map<string, Kept>
  /** The oldest first, as in `Memories`. */
  order: Array<Kept>
  first: number
  bytes: number
}

/**
 * What is kept for actors in this process, up to so many bytes. What there is no room for is taken from the actor that has
 * the most, its oldest first: nobody can push out what is kept for somebody with less.
 */
export class Memories {
  private readonly limit: number
  private readonly actors = new Map<string, Share>()
  /** The oldest first. Entries that were replaced stand here without a value until they are passed over. */
  private order: Array<Kept> = []
  /** Where the oldest stands. */
  private first = 0
  private size = 0
  private count = 0

  /** @param limit in bytes; a character counts for two */
  constructor(limit: number) {
    this.limit = limit
  }

  /** How many bytes are taken. */
  get bytes(): number {
    return this.size
  }

  /**
   * Keeps something new, in the place of what had its key.
   *
   * @returns whether it is kept, and not larger than all the room
   */
  add(memory: Memory, now: number): boolean {
    const kept = keptOf(memory)
    const before = this.actors.get(memory.actor)?.entries.get(memory.key)
    if (before !== undefined) this.forget(before)
    if (kept.bytes > this.limit) return false
    this.keep(kept).order.push(kept)
    this.order.push(kept)
    this.trim(now)
    return true
  }

  /**
   * Keeps what is older than all that is kept, as far as there is room.
   *
   * @param memories the newest first
   * @returns whether there may be room for more
   */
  addOlder(memories: ReadonlyArray<Memory>, now: number): boolean {
    const older: Array<Kept> = []
    let room = true
    for (const memory of memories) {
      if (memory.expiresAt <= now || this.actors.get(memory.actor)?.entries.has(memory.key)) continue
      const kept = keptOf(memory)
      if (kept.bytes > this.limit) continue
      if (this.size + kept.bytes > this.limit) {
        room = false
        break
      }
      this.keep(kept)
      older.push(kept)
    }
    const shares = new Map<Share, Array<Kept>>()
    for (const kept of older.reverse()) {
      const share = this.actors.get(kept.actor)!
      const own = shares.get(share)
      if (own === undefined) shares.set(share, [kept])
      else own.push(kept)
    }
    for (const [share, own] of shares) {
      share.order = [...own, ...share.order.slice(share.first)]
      share.first = 0
    }
    this.order = [...older, ...this.order.slice(this.first)]
    this.first = 0
    return room
  }

  /** Whether anything is kept for an actor. */
  has(actor: string): boolean {
    return this.actors.has(actor)
  }

  /** What is kept under a key; `null` where there is nothing, and where it has expired. */
  find(actor: string, key: string, now: number): string | null {
    const kept = this.actors.get(actor)?.entries.get(key)
    return kept === undefined || kept.expiresAt <= now ? null : kept.value
  }

  private keep(kept: Kept): Share {
    let share = this.actors.get(kept.actor)
    if (share === undefined) {
      share = { entries: new Map(), order: [], first: 0, bytes: 0 }
      this.actors.set(kept.actor, share)
    }
    share.entries.set(kept.key, kept)
    share.bytes += kept.bytes
    this.size += kept.bytes
    this.count++
    // Done now and then, so that it costs each entry the same.
    if (share.order.length > 2 * share.entries.size + 64) {
      share.order = share.order.filter(({ value }) => value !== null)
      share.first = 0
    }
    return share
  }

  private forget(kept: Kept): void {
    kept.value = null
    const share = this.actors.get(kept.actor)!
    share.entries.delete(kept.key)
    share.bytes -= kept.bytes
    if (share.entries.size === 0) this.actors.delete(kept.actor)
    this.size -= kept.bytes
    this.count--
  }

  /** Makes room at the expense of who has the most. */
  private take(): void {
    let most: Share | null = null
    for (const share of this.actors.values()) if (most === null || share.bytes > most.bytes) most = share
    if (most === null) return
    // Half of it at once: the actors are not looked through for every entry.
    const half = most.bytes / 2
    while (this.size > this.limit && most.bytes > half) {
      const oldest = most.order[most.first++]!
      if (oldest.value !== null) this.forget(oldest)
    }
  }

  /** Forgets what has expired, and what there is no room for. */
  private trim(now: number): void {
    for (; this.first < this.order.length; this.first++) {
      const oldest = this.order[this.first]!
      if (oldest.value === null) continue
      if (oldest.expiresAt > now) break
      this.forget(oldest)
    }
    while (this.size > this.limit) this.take()
    // Done now and then, so that it costs each entry the same.
    if (this.order.length > 2 * this.count + 64) {
      this.order = this.order.filter(({ value }) => value !== null)
      this.first = 0
    }
  }
}

const keptOf = ({ actor, expiresAt, key, value }: Memory): Kept => ({
  actor,
  key,
  value,
  expiresAt,
  bytes: 2 * (key.length + value.length) + entryBytes
})
