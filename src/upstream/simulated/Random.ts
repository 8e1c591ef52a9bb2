import { createHash } from "node:crypto"

const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/** Numbers and ids that look random and are a function of the words they were made from. */
export interface Random {
  /** A number from 0 up to 1, 1 excluded. */
  readonly next: () => number
  /** A whole number from 0 up to `limit`, `limit` excluded. */
  readonly below: (limit: number) => number
  readonly pick: <A>(values: readonly [A, ...Array<A>]) => A
  /** `length` letters and digits, as providers write their ids. */
  readonly id: (length: number) => string
}

/**
 * Makes a generator (mulberry32) from the SHA-256 of some words.
 *
 * Each purpose takes a generator of its own, so that drawing more of one thing does not change another.
 */
export const makeRandom = (...words: ReadonlyArray<string | number>): Random => {
  let state = createHash("sha256").update(JSON.stringify(words)).digest().readUInt32LE(0)
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
  const below = (limit: number) => Math.floor(next() * limit)
  return {
    next,
    below,
    pick: (values) => values[below(values.length)] ?? values[0],
    id: (length) => Array.from({ length }, () => letters[below(letters.length)]).join("")
  }
}
