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

/** What is kept for actors in this process, up to so many bytes: the oldest is forgotten first. */
export class Memories {
  private readonly limit: number
  private readonly actors = new Map<string, Map<string, Kept>>()
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

  /** Keeps something new, in the place of what had its key. */
  add(memory: Memory, now: number): void {
    const kept = keptOf(memory)
    const before = this.actors.get(memory.actor)?.get(memory.key)
    if (before !== undefined) this.forget(before)
    if (kept.bytes > this.limit) return
    this.keep(kept)
    this.order.push(kept)
    this.trim(now)
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
      if (memory.expiresAt <= now || this.actors.get(memory.actor)?.has(memory.key)) continue
      const kept = keptOf(memory)
      if (this.size + kept.bytes > this.limit) {
        room = false
        break
      }
      this.keep(kept)
      older.push(kept)
    }
    this.order = [...older.reverse(), ...this.order.slice(this.first)]
    this.first = 0
    return room
  }

  /** Whether anything is kept for an actor. */
  has(actor: string): boolean {
    return this.actors.has(actor)
  }

  /** What is kept under a key; `null` where there is nothing, and where it has expired. */
  find(actor: string, key: string, now: number): string | null {
    const kept = this.actors.get(actor)?.get(key)
    return kept === undefined || kept.expiresAt <= now ? null : kept.value
  }

  private keep(kept: Kept): void {
    const entries = this.actors.get(kept.actor)
    if (entries === undefined) this.actors.set(kept.actor, new Map([[kept.key, kept]]))
    else entries.set(kept.key, kept)
    this.size += kept.bytes
    this.count++
  }

  private forget(kept: Kept): void {
    kept.value = null
    const entries = this.actors.get(kept.actor)
    entries?.delete(kept.key)
    if (entries?.size === 0) this.actors.delete(kept.actor)
    this.size -= kept.bytes
    this.count--
  }

  /** Forgets the oldest: what has expired, and what there is no room for. */
  private trim(now: number): void {
    for (; this.first < this.order.length; this.first++) {
      const oldest = this.order[this.first]!
      if (oldest.value === null) continue
      if (this.size <= this.limit && oldest.expiresAt > now) break
      this.forget(oldest)
    }
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
