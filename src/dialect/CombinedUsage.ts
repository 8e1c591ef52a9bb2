import type { ClientUsage } from "./Dialect.ts"
import { isObject, type JsonObject, memberOf, setMember } from "./Json.ts"

/** What the members of a protocol's usage object count. */
export interface UsageMembers {
  /** The members that count what the model read, objects of details among them. All others count what it wrote. */
  readonly input: ReadonlySet<string>
  /** The member that is the sum of two others; `null` where the protocol has none. */
  readonly total: { readonly key: string; readonly of: readonly [input: string, output: string] } | null
}

/** How deep the counts of a usage object are added; what lies deeper is taken as the last turn has it. */
const deepest = 8

/**
 * The usage of several turns as one, in the form of the provider's own usage object: every number added, in details
 * too, and of anything that is no number the last one. With `context` the input side is that of the last turn alone.
 *
 * @param turns the usage of each turn that says what it used, in their order, each as last seen (see `latest`). One alone
 *   is answered as it is.
 */
export const combinedUsage = (
  turns: ReadonlyArray<JsonObject>,
  how: ClientUsage,
  members: UsageMembers
): JsonObject => {
  const last = turns.at(-1)
  if (last === undefined) return {}
  if (turns.length === 1) return last
  const sum = turns.reduce((before, usage) => added(before, usage, 0))
  if (how === "sum") return sum
  const combined: { [key: string]: unknown } = {}
  for (const key of Object.keys(sum)) {
    if (!members.input.has(key)) setMember(combined, key, sum[key])
    else if (Object.hasOwn(last, key)) combined[key] = last[key]
  }
  if (members.total === null || !Object.hasOwn(combined, members.total.key)) return combined
  const [input, output] = members.total.of.map((key) => combined[key])
  if (typeof input === "number" && typeof output === "number") combined[members.total.key] = input + output
  else delete combined[members.total.key]
  return combined
}

/** Two usage objects as one: the members of the later in their order, then those that only the earlier has. */
const added = (earlier: JsonObject, later: JsonObject, depth: number): JsonObject => {
  const sum: { [key: string]: unknown } = {}
  for (const key of Object.keys(later)) setMember(sum, key, addedValue(memberOf(earlier, key), later[key], depth))
  for (const key of Object.keys(earlier)) if (!Object.hasOwn(later, key)) setMember(sum, key, earlier[key])
  return sum
}

const addedValue = (earlier: unknown, later: unknown, depth: number): unknown => {
  if (later === null || later === undefined) return earlier ?? later
  if (typeof earlier === "number" && typeof later === "number") return earlier + later
  return isObject(earlier) && isObject(later) && depth < deepest ? added(earlier, later, depth + 1) : later
}
