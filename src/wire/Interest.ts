import type { Frame } from "./Frame.ts"

/** A member that makes a frame worth reading, found in its bytes without parsing them. */
export interface Needle {
  /** The member's name, or with `prefix` how the name begins. */
  readonly key: string
  readonly prefix?: boolean
  /** What its value has to be: an object, a string, or anything but null. */
  readonly value: "object" | "string" | "present"
}

interface CompiledNeedle {
  readonly bytes: Buffer
  readonly prefix: boolean
  readonly first: number
}

const quote = 0x22

/**
 * Tells which frames hold one of a few members, by searching the bytes of a whole network chunk once.
 *
 * Members that are there but null (`"usage":null` stands in every chunk) do not count. A quote inside a JSON string is
 * escaped, so the name with its quotes is never found in what somebody wrote. A false alarm costs a parse; a member
 * whose name is spelt with escapes is missed, which no provider does.
 */
export class Interest {
  private readonly needles: ReadonlyArray<CompiledNeedle>
  private source: Buffer | undefined
  private hits: Array<number> = []
  private next = 0

  constructor(needles: ReadonlyArray<Needle>) {
    this.needles = needles.map((needle) => ({
      bytes: Buffer.from(needle.prefix === true ? `"${needle.key}` : `"${needle.key}"`),
      prefix: needle.prefix === true,
      first: needle.value === "object" ? 0x7b : needle.value === "string" ? quote : 0
    }))
  }

  /** Whether the frame holds one of the members. Frames have to come in order. */
  has(frame: Frame): boolean {
    if (frame.source !== this.source) this.search(frame.source, frame.start)
    const hits = this.hits
    while (this.next < hits.length && hits[this.next]! < frame.start) this.next++
    return this.next < hits.length && hits[this.next]! < frame.end
  }

  private search(source: Buffer, from: number): void {
    this.source = source
    this.next = 0
    const hits: Array<number> = []
    for (const { bytes, first, prefix } of this.needles) {
      let at = source.indexOf(bytes, from)
      while (at !== -1) {
        const end = prefix ? source.indexOf(quote, at + bytes.length) + 1 : at + bytes.length
        if (end === 0) break
        const value = valueAt(source, end)
        if (first === 0 ? value !== 0x6e && value !== 0 : value === first) hits.push(at)
        at = source.indexOf(bytes, end)
      }
    }
    if (hits.length > 1) hits.sort((a, b) => a - b)
    this.hits = hits
  }
}

/** The first byte of the value behind a member's name; 0 where no colon follows. */
const valueAt = (source: Buffer, from: number): number => {
  let at = from
  let colon = false
  for (; at < source.length; at++) {
    const byte = source[at]!
    if (byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d) continue
    if (byte === 0x3a && !colon) {
      colon = true
      continue
    }
    return colon ? byte : 0
  }
  return 0
}
