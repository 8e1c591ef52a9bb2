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

/**
 * The ways a key is written where somebody quotes it: as it is, in JSON whose writer escapes slashes, and in a URL. A key
 * whose characters nobody escapes has but one.
 */
const spellings = (key: string): ReadonlyArray<string> =>
  /^[\w.~-]*$/.test(key) ? [key] : [...new Set([key, key.replaceAll("/", "\\/"), encodeURIComponent(key)])]

/** Puts its hint wherever one of the keys stands in a text (law 8). Answers the same text where none does. */
export const mask = (text: string, keys: ReadonlyArray<string>): string => {
  let masked = text
  for (const key of keys) {
    if (key.length < shortestSecret) continue
    for (const spelling of spellings(key)) {
      if (masked.includes(spelling)) masked = masked.split(spelling).join(hint(key))
    }
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
  const found = keys.filter(
    (key) => key.length >= shortestSecret && spellings(key).some((spelling) => bytes.includes(spelling))
  )
  // Latin-1 maps bytes to characters and back one to one, so that everything else stays as it was.
  return found.length === 0 ? bytes : Buffer.from(maskLatin1(bytes.toString("latin1"), found), "latin1")
}

const maskLatin1 = (text: string, keys: ReadonlyArray<string>): string => {
  let masked = text
  for (const key of keys) {
    const shown = Buffer.from(hint(key)).toString("latin1")
    for (const spelling of spellings(key)) {
      masked = masked.split(Buffer.from(spelling).toString("latin1")).join(shown)
    }
  }
  return masked
}
