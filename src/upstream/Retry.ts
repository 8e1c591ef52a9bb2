import type { HeaderMap } from "./Exchange.ts"

/** Statuses that another attempt may better. */
export const isTransient = (status: number): boolean => status === 408 || status === 429 || status >= 500

/** The wait before the first further attempt, in milliseconds; it doubles with each. */
const firstWait = 250

/**
 * How many milliseconds to wait before trying again after an answer, or `null` where another attempt is no use: the
 * status is final, the provider says so, or it asks for a longer wait than `maxWait`.
 *
 * @param attempt how often the provider was asked so far
 * @param random a number from 0 up to 1
 * @param now epoch milliseconds, for a `retry-after` that is a date
 */
export const waitAfterAnswer = (
  answer: { readonly status: number; readonly headers: HeaderMap },
  attempt: number,
  maxWait: number,
  random: number,
  now: number
): number | null => {
  if (!isTransient(answer.status) || answer.headers["x-should-retry"] === "false") return null
  const asked = askedWait(answer.headers, now)
  if (asked === null) return waitAfterFailure(attempt, maxWait, random)
  return asked > maxWait ? null : asked
}

/** How many milliseconds to wait before trying again without an answer: exponential, with half of it by chance. */
export const waitAfterFailure = (attempt: number, maxWait: number, random: number): number =>
  Math.min(maxWait, firstWait * 2 ** (attempt - 1) * (0.5 + random / 2))

/** What `retry-after-ms` or `retry-after` asks for, in milliseconds (RFC 9110, section 10.2.3). */
export const askedWait = (headers: HeaderMap, now: number): number | null => {
  const milliseconds = numberIn(headers["retry-after-ms"])
  if (milliseconds !== null) return Math.max(0, milliseconds)
  const text = headers["retry-after"]
  const seconds = numberIn(text)
  if (seconds !== null) return Math.max(0, seconds * 1000)
  const date = typeof text === "string" ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? null : Math.max(0, date - now)
}

const numberIn = (value: HeaderMap[string]): number | null => {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : Number.NaN
  return Number.isFinite(number) ? number : null
}
