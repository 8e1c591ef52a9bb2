import type { HeaderMap } from "./Exchange.ts"

/** A provider's credential as somebody sent it. */
export interface Credential {
  readonly key: string
  /** How it came: an OAuth bearer has to stay a bearer. */
  readonly form: "bearer" | "x-api-key"
}

/** The credential of a request: `x-api-key`, which wins, or a bearer. */
export const credentialOf = (headers: HeaderMap): Credential | null => {
  const apiKey = single(headers["x-api-key"])
  if (apiKey !== "") return { key: apiKey, form: "x-api-key" }
  const authorization = single(headers["authorization"])
  const key = /^bearer +(\S.*)$/i.exec(authorization)?.[1]?.trim() ?? ""
  return key === "" ? null : { key, form: "bearer" }
}

const single = (value: string | ReadonlyArray<string> | undefined): string =>
  typeof value === "string" ? value.trim() : (value?.[0] ?? "").trim()

/** As much of a key as may be shown: 4 characters at each end if it has 20 or more, 2 from 10, 1 from 5, else none. */
export const hint = (key: string): string => {
  const shown = key.length >= 20 ? 4 : key.length >= 10 ? 2 : key.length >= 5 ? 1 : 0
  return shown === 0 ? "…" : `${key.slice(0, shown)}…${key.slice(-shown)}`
}

/** Below this a key is no secret, and masking it would garble what holds the same letters by chance. */
const shortestSecret = 6

/** Characters that nobody escapes: a key of these is written in one way only. */
const plain = /^[\w.~-]*$/

/** The ways a character of a key is written where somebody quotes it: as it is, or escaped in JSON, a URL or HTML. */
const spellings = (character: string): string => {
  const code = character.charCodeAt(0)
  const literal = /\w/.test(character) ? character : `\\u${code.toString(16).padStart(4, "0")}`
  if (plain.test(character) || code > 0x7e) return literal
  const hex = code
    .toString(16)
    .padStart(2, "0")
    .replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`)
  return `(?:\\\\?${literal}|\\\\u00${hex}|%${hex}|&#0*${code};|&#[xX]0*${hex};)`
}

const finders = new Map<string, RegExp>()

/** Finds a key in any of its spellings. */
const finder = (key: string): RegExp => {
  const known = finders.get(key)
  if (known !== undefined) return known
  const made = new RegExp([...key].map(spellings).join(""), "g")
  // Every head is looked through, most for the same few keys; which keys come is the clients' choice.
  if (finders.size < 256) finders.set(key, made)
  return made
}

/** Puts its hint wherever one of the keys stands in a text (law 8). Answers the same text where none does. */
export const mask = (text: string, keys: ReadonlyArray<string>): string => replaceKeys(text, keys, hint)

const replaceKeys = (text: string, keys: ReadonlyArray<string>, show: (key: string) => string): string => {
  let masked = text
  for (const key of keys) {
    if (key.length < shortestSecret) continue
    if (!plain.test(key)) masked = masked.replace(finder(key), () => show(key))
    else if (masked.includes(key)) masked = masked.split(key).join(show(key))
  }
  return masked
}

/** `mask` for the value of a header, in which the hint's ellipsis cannot stand (RFC 9110, section 5.5). */
export const maskHeader = (value: string, keys: ReadonlyArray<string>): string => {
  const masked = mask(value, keys)
  return masked === value ? value : masked.replaceAll("…", "...")
}

/** `mask` for bytes: they are the same buffer where no key stands in them. */
export const maskBytes = (bytes: Buffer, keys: ReadonlyArray<string>): Buffer => {
  // Latin-1 maps bytes to characters and back one to one, so that everything else stays as it was.
  const text = bytes.toString("latin1")
  const masked = replaceKeys(text, keys.map(asLatin1), (key) => asLatin1(hint(Buffer.from(key, "latin1").toString())))
  return masked === text ? bytes : Buffer.from(masked, "latin1")
}

/** A text's bytes in UTF-8, each as one character. */
const asLatin1 = (text: string): string => Buffer.from(text).toString("latin1")
