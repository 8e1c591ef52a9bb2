import { Predicate } from "effect"
import type { Random } from "./Random.ts"

/** How far into a schema to go; a schema may refer to itself. */
const maxDepth = 8

/** Values for text, by what the property's name or its `format` promises. Earlier entries win. */
const textByName: ReadonlyArray<readonly [pattern: RegExp, values: readonly [string, ...Array<string>]]> = [
  [/date-time|timestamp/i, ["2026-01-15T09:30:00Z"]],
  [/date|day/i, ["2026-01-15", "2026-02-01"]],
  [/^time$/i, ["09:30:00Z"]],
  [/uuid/i, ["018f4e9a-7c3b-7d21-9a55-0f6f2b1c4d3e"]],
  [/e-?mail/i, ["ada@example.com"]],
  [/ur[il]|link|website/i, ["https://example.com/"]],
  [/path|file|dir/i, ["README.md", "src/main.ts"]],
  [/command|cmd|script/i, ["ls -la", "pwd"]],
  [/city|location|place|town|where/i, ["Paris", "Zürich", "東京"]],
  [/country/i, ["France", "Japan"]],
  [/lang/i, ["en", "fr"]],
  [/currency/i, ["EUR", "USD"]],
  [/unit/i, ["celsius"]],
  [/name/i, ["Ada"]],
  [/id$/i, ["a1"]]
]

/** Names of properties that are best filled with what the user said. */
const promptNames = /query|question|prompt|text|message|content|input|search|expression|pattern|body|title/i

const text = (name: string, schema: object, prompt: string, random: Random): string => {
  const format = "format" in schema && typeof schema.format === "string" ? schema.format : ""
  if (format === "" && promptNames.test(name) && prompt !== "") return prompt.slice(0, 80)
  if (/city|location|place|town|where/i.test(name)) {
    // "the weather in Lisbon" asks for Lisbon.
    const named = /\b(?:in|at|for|near)\s+(\p{Lu}[\p{L}-]+)/u.exec(prompt)?.[1]
    if (named !== undefined) return named
  }
  const found = textByName.find(([pattern]) => (format === "" ? pattern.test(name) : pattern.test(format)))
  const value = found === undefined ? "example" : random.pick(found[1])
  const least = "minLength" in schema && typeof schema.minLength === "number" ? schema.minLength : 0
  const most = "maxLength" in schema && typeof schema.maxLength === "number" ? schema.maxLength : Infinity
  return value.padEnd(least, "x").slice(0, most)
}

const number = (schema: { readonly [key: PropertyKey]: unknown }, whole: boolean, random: Random): number => {
  const bound = (key: string) => (typeof schema[key] === "number" ? schema[key] : undefined)
  const atLeast = bound("minimum")
  const above = bound("exclusiveMinimum")
  const atMost = bound("maximum")
  const below = bound("exclusiveMaximum")
  const lower = atLeast ?? above
  const upper = atMost ?? below
  // The middle is right whether or not the bounds themselves are.
  if (!whole && lower !== undefined && upper !== undefined) return (lower + upper) / 2
  const highest = atMost !== undefined ? Math.floor(atMost) : below === undefined ? undefined : Math.ceil(below) - 1
  const lowest = atLeast !== undefined ? Math.ceil(atLeast) : above === undefined ? undefined : Math.floor(above) + 1
  const low = lowest ?? Math.min(1, highest ?? 1)
  return low + random.below(Math.max(0, (highest ?? low + 9) - low) + 1)
}

/**
 * A plausible value for a JSON Schema: its first `const`, `default`, example or enumerated value, else one that fits its
 * type, bounds and the property's name. Of an object the required properties are given, or all where none is required.
 * Keywords it does not know are passed over; a value is plausible, not proven valid.
 *
 * @param prompt What the user said: fills properties such as `query`, and names the city in "the weather in Lisbon".
 * @see https://json-schema.org/draft/2020-12/json-schema-validation
 */
export const sample = (schema: unknown, prompt: string, random: Random): unknown => {
  const resolve = (reference: string): unknown => {
    let target: unknown = schema
    for (const part of reference.split("/").slice(1)) {
      target = Predicate.isObject(target) ? target[part.replaceAll("~1", "/").replaceAll("~0", "~")] : undefined
    }
    return target
  }
  const value = (node: unknown, name: string, depth: number): unknown => {
    if (!Predicate.isObject(node)) return text(name, {}, prompt, random)
    if (depth > maxDepth) return null
    if (typeof node.$ref === "string") return value(resolve(node.$ref), name, depth + 1)
    if (node.const !== undefined) return node.const
    if (node.default !== undefined) return node.default
    if (Array.isArray(node.examples) && node.examples.length > 0) return node.examples[0]
    if (Array.isArray(node.enum) && node.enum.length > 0) return node.enum[random.below(node.enum.length)]
    const options = node.anyOf ?? node.oneOf
    if (Array.isArray(options)) {
      const some = options.find((option) => !(Predicate.isObject(option) && option.type === "null"))
      return value(some, name, depth + 1)
    }
    if (Array.isArray(node.allOf)) {
      return value(Object.assign({}, ...node.allOf.filter(Predicate.isObject)), name, depth + 1)
    }
    const type = Array.isArray(node.type) ? node.type.find((one) => one !== "null") : node.type
    switch (type) {
      case "null":
        return null
      case "boolean":
        return true
      case "integer":
        return number(node, true, random)
      case "number":
        return number(node, false, random)
      case "array": {
        const length = Math.max(1, typeof node.minItems === "number" ? node.minItems : 1)
        return Array.from({ length: Math.min(length, 10) }, () => value(node.items, name, depth + 1))
      }
      case "string":
        return text(name, node, prompt, random)
    }
    if (type === undefined && !Predicate.isObject(node.properties)) return text(name, node, prompt, random)
    const properties = Predicate.isObject(node.properties) ? node.properties : {}
    const required = Array.isArray(node.required) ? node.required.filter(Predicate.isString) : []
    const names = required.length > 0 ? required : Object.keys(properties)
    return Object.fromEntries(names.map((key) => [key, value(properties[key], key, depth + 1)]))
  }
  return value(schema, "", 0)
}
