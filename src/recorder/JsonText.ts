import type { Schema } from "effect"
import { deepestParsed, isDeeperThan } from "../wire/JsonDepth.ts"

/**
 * How deep JSON may be to be presented as JSON. Readers have limits of their own, 128 in some, and what encodes it here
 * recurses: what a model or a provider wrote must overflow neither.
 */
const deepest = 100

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/**
 * Text that may be JSON as JSON text: itself where it is, else a JSON string. Of which kind text is that is nested deeper
 * than is parsed, nobody asks: it becomes a string.
 */
export const jsonTextOf = (text: string): string =>
  !isDeeperThan(text, deepestParsed) && isJson(text) ? text : JSON.stringify(text)

/** Whether a value holds a number that JSON has no form for: `JSON.parse` makes `1e400` infinite. No deeper than `deepest`. */
const holdsInfinity = (value: unknown): boolean => {
  if (typeof value === "number") return !Number.isFinite(value)
  return typeof value === "object" && value !== null && Object.values(value).some(holdsInfinity)
}

/**
 * The JSON value of a JSON text; the text itself where it is none, is too deep to be presented, or holds a number that
 * is too large to be one.
 */
export const presented = (text: string): Schema.Json => {
  if (isDeeperThan(text, deepest)) return text
  try {
    const value: unknown = JSON.parse(text)
    return holdsInfinity(value) ? text : (value as Schema.Json)
  } catch {
    return text
  }
}
