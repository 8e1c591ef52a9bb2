/** A small seeded generator (mulberry32): a failing case is found again by its seed. */
export class Random {
  private state: number

  constructor(seed: number) {
    this.state = seed
  }

  /** An integer from 0 up to, but not including, `bound`. */
  below(bound: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }

  pick<A>(choices: ReadonlyArray<A>): A {
    return choices[this.below(choices.length)]!
  }

  chance(percent: number): boolean {
    return this.below(100) < percent
  }

  /** `bytes` in chunks of random lengths, each in memory of its own. */
  cut(bytes: Buffer, longest: number): Array<Buffer> {
    const chunks: Array<Buffer> = []
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + 1 + this.below(longest))
      chunks.push(Buffer.from(bytes.subarray(at, end)))
      at = end
    }
    return chunks
  }
}
