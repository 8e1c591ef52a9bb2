import { hash } from "node:crypto"

/** How deep values are compared. What lies deeper counts as equal: no text makes this overflow the stack. */
const deepest = 64

/** A JSON value as text that is the same for the same value, in whatever order its members stand. */
const canonical = (value: unknown, depth: number): string => {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null"
  if (depth === deepest) return "…"
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, depth + 1)).join()}]`
  const members = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1))
  return `{${members.map(([name, item]) => `${JSON.stringify(name)}:${canonical(item, depth + 1)}`).join()}}`
}

const parsed = (text: string): unknown => {
  // Some servers send nothing where a tool takes nothing, and clients send that back as an object.
  if (text.trim() === "") return {}
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/**
 * What tells the arguments of one tool call from those of another: the same for equal JSON, whether given as a value or
 * as its text; what is not JSON is compared as text. The arguments themselves are not in it.
 */
export const digestOf = (value: unknown): string =>
  hash("sha256", canonical(typeof value === "string" ? parsed(value) : value, 0), "base64")
