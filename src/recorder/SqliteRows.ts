import type { SQLOutputValue } from "node:sqlite"
import { countOf, otherOf } from "./Counts.ts"

/** Columns that no field shows. */
const hidden: ReadonlySet<string> = new Set(["instance", "batch", "place", "error_message"])
/** Counts that may be unknown, and those that may not. */
const counts: ReadonlySet<string> = new Set([
  "http_status",
  "close_code",
  "input",
  "output",
  "cache_read",
  "cache_write",
  "reasoning"
])
const requiredCounts: ReadonlySet<string> = new Set(["index", "attempts", "frames_in", "frames_out"])
const times: ReadonlySet<string> = new Set(["started_at", "ended_at"])
/** The latest moment there is, and by its negative the earliest, as ECMA-262 has it (21.4.1.1). */
const lastTime = 8.64e15

const fields = new Map<string, string>()
const fieldOf = (column: string): string => {
  let field = fields.get(column)
  if (field === undefined) {
    field = column.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    fields.set(column, field)
  }
  return field
}

/** A number as JavaScript has it. */
const numberOf = (value: SQLOutputValue | undefined): SQLOutputValue | undefined =>
  typeof value === "bigint" ? Number(value) : value

const timeOf = (value: SQLOutputValue | undefined): number | null =>
  typeof value === "number" ? Math.min(Math.max(value, -lastTime), lastTime) : null

const other = (json: SQLOutputValue | undefined): unknown => {
  try {
    return otherOf(JSON.parse(String(json)))
  } catch {
    return {}
  }
}

const fieldValueOf = (column: string, stored: SQLOutputValue | undefined): unknown => {
  const value = numberOf(stored)
  if (counts.has(column)) return countOf(value)
  if (requiredCounts.has(column)) return countOf(value) ?? 0
  if (times.has(column)) return timeOf(value)
  if (column === "other") return other(value)
  // Where content is not recorded.
  if (column === "arguments") return value === "null" ? null : value
  if (column === "injected") return value === 1
  return typeof value === "number" && !Number.isFinite(value) ? null : value
}

/**
 * A row as its record: each column is the field of that name, and the two of an error are one. The row is read with
 * integers as `bigint`, since SQLite's may be larger than a number holds; a figure that its field cannot have is taken
 * as unknown, so that no stored value keeps the others from being read.
 */
export const recordOf = <A>(row: Record<string, SQLOutputValue>): A => {
  const record: Record<string, unknown> = {}
  for (const column of Object.keys(row)) {
    const value = row[column]
    if (hidden.has(column)) continue
    if (column === "error_code") {
      record["error"] = value === null ? null : { code: value, message: row["error_message"] }
    } else record[fieldOf(column)] = fieldValueOf(column, value)
  }
  return record as A
}

/**
 * SQL for the sum of a column of counts. What is no count is left out, and the sum ends at the largest whole number that
 * JSON readers agree on: `sum()` would fail above 2^63, and what is read as a number above 2^53 is another one.
 */
export const sumOf = (column: string): string =>
  `CAST(min(total(CASE WHEN typeof(${column}) IN ('integer', 'real') AND ${column} BETWEEN 0 AND ${Number.MAX_SAFE_INTEGER}
     THEN ${column} END), ${Number.MAX_SAFE_INTEGER}) AS INTEGER)`
