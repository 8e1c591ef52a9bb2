import { stringEnd } from "./StringEnd.ts"

const quote = 0x22

/**
 * How deep JSON of others is parsed. None that means anything is deeper than some dozens; but `JSON.parse` would hold up
 * every stream for seconds, and take gigabytes, for as many levels as `limits.body_bytes` has room for.
 */
export const deepestParsed = 10_000

/**
 * Whether a JSON text is nested deeper than so many levels of arrays and objects. Brackets within strings do not count.
 * Of a text that is no JSON the answer means nothing, but it ends, and nothing recurses.
 *
 * `JSON.parse` takes any depth, but spends ten times the time and some 170 bytes of memory on each level of it.
 */
export const isDeeperThan = (json: string, levels: number): boolean => {
  // Every level has two brackets. Searching for brackets costs a third of telling which are in strings.
  if (json.length < 2 * levels || !hasMoreOpen(json, levels)) return false
  let depth = 0
  for (let i = 0; i < json.length; i++) {
    const code = json.charCodeAt(i)
    if (code === quote) {
      i = stringEnd(json, i + 1)
      if (i === -1) return false
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > levels) return true
    } else if (code === 0x5d || code === 0x7d) depth--
  }
  return false
}

const hasMoreOpen = (json: string, levels: number): boolean => {
  let count = 0
  for (const bracket of "[{") {
    for (let at = json.indexOf(bracket); at !== -1; at = json.indexOf(bracket, at + 1)) {
      if (++count > levels) return true
    }
  }
  return false
}
