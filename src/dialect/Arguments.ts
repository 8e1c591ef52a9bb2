import { hash } from "node:crypto"
import { deepestParsed, isDeeperThan } from "../wire/JsonDepth.ts"

/** How deep values are compared. What lies deeper counts as equal: no text makes this overflow the stack. */
const deepest = 64

/** A JSON value as text that is the same for the same value, in whatever order its members stand. */
const canonical = (value: unknown, depth: number): string => {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null"
  if (depth === deepest) return "…"
  let text = ""
  if (Array.isArray(value)) {
    for (const item of value) text += `${canonical(item, depth + 1)},`
    return `[${text}]`
  }
  const members = value as { readonly [name: string]: unknown }
  for (const name of Object.keys(members).sort()) {
    text += `${JSON.stringify(name)}:${canonical(members[name], depth + 1)},`
  }
  return `{${text}}`
}

const parsed = (given: string): unknown => {
  let text = given
  for (;;) {
    // Some servers send nothing where a tool takes nothing, and clients send that back as an object.
    if (text.trim() === "") return {}
    if (isDeeperThan(text, deepestParsed)) return text
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      return text
    }
    // Records keep text that is no JSON as a JSON string; each time it is taken out of one it is shorter.
    if (typeof value !== "string") return value
    text = value
  }
}

/**
 * What tells the arguments of one tool call from those of another: the same for equal JSON, whether given as a value, as
 * its text or as a JSON string of its text; what is not JSON, or nested too deep to be parsed,
 * is compared as text. The arguments themselves are not in it.
 */
export const digestOf = (value: unknown): string =>
  hash("sha256", canonical(typeof value === "string" ? parsed(value) : value, 0), "base64")
