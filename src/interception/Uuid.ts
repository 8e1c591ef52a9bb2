import { randomUUID } from "node:crypto"

let lastMillisecond = 0
let sequence = 0

/**
 * A UUIDv7 (RFC 9562, section 5.7): ids of one process sort in the order they were made. Node draws the random part of
 * its UUIDs from a pool, which makes this some twenty times cheaper than asking for ten random bytes each time.
 *
 * @param now epoch milliseconds
 */
export const uuidV7 = (now: number): string => {
  const millisecond = Math.trunc(now)
  if (millisecond > lastMillisecond) {
    lastMillisecond = millisecond
    sequence = 0
  } else if (++sequence > 0xfff) {
    lastMillisecond++
    sequence = 0
  }
  const time = lastMillisecond.toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7${sequence.toString(16).padStart(3, "0")}${randomUUID().slice(18)}`
}
