import type { RecordBatch, Usage } from "./Records.ts"

/**
 * A figure as a count that can be stored, summed and presented: a negative one is 0, a broken one is cut. One that is no
 * number, or beyond the whole numbers that JSON readers agree on (RFC 8259, 6), is none: cut to the largest it would
 * only spoil every sum that it goes into.
 */
export const countOf = (value: unknown): number | null =>
  typeof value === "number" && Math.abs(value) <= Number.MAX_SAFE_INTEGER ? Math.max(0, Math.trunc(value)) : null

/** The sum of counts, which ends at the largest that can be presented. */
export const addCounts = (left: number, right: number | null): number =>
  Math.min(left + (right ?? 0), Number.MAX_SAFE_INTEGER)

/** Figures by name, without those that are none. */
export const otherOf = (figures: unknown): Usage["other"] => {
  const found: Record<string, number> = {}
  if (typeof figures !== "object" || figures === null) return found
  for (const [name, value] of Object.entries(figures)) {
    if (typeof value === "number" && Number.isFinite(value)) found[name] = value
  }
  return found
}

const isCounted = ({ input, output, cacheRead, cacheWrite, reasoning, other }: Usage): boolean =>
  input === countOf(input) &&
  output === countOf(output) &&
  cacheRead === countOf(cacheRead) &&
  cacheWrite === countOf(cacheWrite) &&
  reasoning === countOf(reasoning) &&
  Object.values(other).every(Number.isFinite)

const counted = (usage: Usage): Usage =>
  isCounted(usage)
    ? usage
    : {
        ...usage,
        input: countOf(usage.input),
        output: countOf(usage.output),
        cacheRead: countOf(usage.cacheRead),
        cacheWrite: countOf(usage.cacheWrite),
        reasoning: countOf(usage.reasoning),
        other: otherOf(usage.other)
      }

/** The batch with usage that can be stored. What the provider said stands unchanged in `raw`. */
export const withCounts = (batch: RecordBatch): RecordBatch =>
  batch.usage === undefined || batch.usage.every(isCounted) ? batch : { ...batch, usage: batch.usage.map(counted) }
