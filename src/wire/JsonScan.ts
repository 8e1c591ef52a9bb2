/**
 * Walking over raw JSON (RFC 8259) in UTF-8 without parsing it: where values end, where members begin.
 *
 * The input is taken to be valid JSON. On other input these functions answer something, `-1` where they notice, but
 * always end and never throw, and none recurses: nesting costs no stack.
 */

const quote = 0x22
const backslash = 0x5c

/** How many bytes of a string are looked at one by one before a search is worth its call. */
const nearBytes = 32

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

/** Offset of the first byte from `at` on that is not JSON white space; the length where there is none. */
export const skipSpace = (json: Buffer, at: number): number => {
  const length = json.length
  for (; at < length; at++) if (!isSpace(json[at])) return at
  return at
}

/** Offset behind the last byte before `at` that is not JSON white space. */
export const skipSpaceBefore = (json: Buffer, at: number): number => {
  while (isSpace(json[at - 1])) at--
  return at
}

/**
 * Offset of a document's first byte that counts. A byte order mark may be passed over (RFC 8259, section 8.1), as `fetch`
 * does; it is no part of the value.
 */
export const documentStart = (json: Buffer): number =>
  json[0] === 0xef && json[1] === 0xbb && json[2] === 0xbf ? skipSpace(json, 3) : skipSpace(json, 0)

/** Offset behind the string whose opening quote is at `at`, or -1. */
export const skipString = (json: Buffer, at: number): number => {
  const length = json.length
  let i = at + 1
  for (;;) {
    for (const near = Math.min(i + nearBytes, length); i < near; i++) {
      const byte = json[i]!
      if (byte === quote) return i + 1
      if (byte === backslash) i++
    }
    const found = json.indexOf(quote, i)
    if (found === -1) return -1
    let slash = found
    while (slash > i && json[slash - 1] === backslash) slash--
    if ((found - slash) % 2 === 0) return found + 1
    i = found + 1
  }
}

/** What a byte means to one who only counts brackets: nothing (0), a string begins, a bracket opens or closes. */
const meaning = new Uint8Array(256)
const stringBegins = 1
const opens = 2
const closes = 3
meaning[quote] = stringBegins
meaning[0x5b] = opens
meaning[0x7b] = opens
meaning[0x5d] = closes
meaning[0x7d] = closes

/** Offset behind the value that begins at `at`, or -1. */
export const skipValue = (json: Buffer, at: number): number => {
  const first = json[at]
  if (first === quote) return skipString(json, at)
  if (first !== 0x7b && first !== 0x5b) return skipScalar(json, at)
  const length = json.length
  let depth = 0
  let i = at
  while (i < length) {
    const what = meaning[json[i]!]
    if (what === 0) {
      i++
    } else if (what === stringBegins) {
      i = skipString(json, i)
      if (i === -1) return -1
    } else {
      i++
      if (what === opens) depth++
      else if (--depth === 0) return i
    }
  }
  return -1
}

/** Offset behind the number or literal at `at`; -1 where there is nothing like that. */
const skipScalar = (json: Buffer, at: number): number => {
  const length = json.length
  let i = at
  for (; i < length; i++) {
    const byte = json[i]!
    const inScalar =
      (byte >= 0x30 && byte <= 0x39) ||
      (byte >= 0x61 && byte <= 0x7a) ||
      byte === 0x2e ||
      byte === 0x2d ||
      byte === 0x2b ||
      byte === 0x45
    if (!inScalar) break
  }
  return i === at ? -1 : i
}

/** A key of an object as it is looked for. */
export interface Key {
  readonly text: string
  /** `null` for text that UTF-8 cannot hold: only an escaped key can be that. */
  readonly bytes: Buffer | null
}

/** The keys made last: paths are mostly constants of the code. */
const keys = new Map<string, Key>()
const mostKeys = 256

export const makeKey = (text: string): Key => {
  const known = keys.get(text)
  if (known !== undefined) return known
  const key: Key = { text, bytes: text.isWellFormed() ? Buffer.from(text) : null }
  if (keys.size === mostKeys) keys.clear()
  keys.set(text, key)
  return key
}

/** A member's value as it stands last in an object, and whether the object has its key more than once. */
export interface FoundMember {
  readonly start: number
  readonly end: number
  readonly repeated: boolean
}

/** The same for an object that may not have the member: `start` and `end` are -1 then. */
export interface MemberPlace extends FoundMember {
  /** The offset behind the object's last member, or behind its opening brace where it has none. */
  readonly behind: number
}

/** The member `key` of the object that is the whole document; `null` where there is none, or no such document. */
export const findMember = (json: Buffer, key: Key): FoundMember | null => {
  const place = findPlace(json, key)
  return place === null || place.end === -1 ? null : place
}

/** Where the object that is the whole document has the member `key`, or room for it; `null` for any other document. */
export const findPlace = (json: Buffer, key: Key): MemberPlace | null => {
  const open = documentStart(json)
  if (json[open] !== 0x7b) return null
  let behind = open + 1
  let start = -1
  let end = -1
  let repeated = false
  let at = skipSpace(json, behind)
  // Only an empty object may end where a key is expected.
  while (json[at] !== 0x7d || behind !== open + 1) {
    if (json[at] !== quote) return null
    const keyEnd = skipString(json, at)
    if (keyEnd === -1) return null
    const value = behindColon(json, keyEnd)
    if (value === -1) return null
    behind = skipValue(json, value)
    if (behind === -1) return null
    if (keyEquals(json, at + 1, keyEnd - 1, key)) {
      repeated = end !== -1
      start = value
      end = behind
    }
    at = skipSpace(json, behind)
    if (json[at] === 0x7d) break
    if (json[at] !== 0x2c) return null
    at = skipSpace(json, at + 1)
  }
  return skipSpace(json, at + 1) === json.length ? { start, end, repeated, behind } : null
}

/** Where the value begins behind a key that ends at `at`, or -1. */
export const behindColon = (json: Buffer, at: number): number => {
  const found = skipSpace(json, at)
  return json[found] === 0x3a ? skipSpace(json, found + 1) : -1
}

/** Whether the key between the quotes, from `start` to `end`, is `key` once unescaped. */
export const keyEquals = (json: Buffer, start: number, end: number, key: Key): boolean => {
  const bytes = key.bytes
  if (bytes !== null && bytes.length === end - start) {
    let i = 0
    while (i < bytes.length && bytes[i] === json[start + i]) i++
    // Text that holds a backslash is never the key it looks like.
    if (i === bytes.length) return !bytes.includes(backslash)
  }
  for (let i = start; i < end; i++) {
    if (json[i] === backslash) return readString(json, start - 1, end + 1) === key.text
  }
  return false
}

/** The string that lies, with its quotes, from `start` to `end`; `null` where it is not valid. */
export const readString = (json: Buffer, start: number, end: number): string | null => {
  const raw = json.toString("utf8", start, end)
  if (!raw.includes("\\")) return raw.slice(1, -1)
  try {
    return String(JSON.parse(raw))
  } catch {
    return null
  }
}
