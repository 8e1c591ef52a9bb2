import { locate } from "../wire/JsonSpan.ts"

/** A JSON object as `JSON.parse` gives it. */
export type JsonObject = { readonly [key: string]: unknown }

/** A value that an upstream sent as JSON text; `null` where it is nested deeper than can be written. */
export const jsonText = (value: unknown): string | null => {
  try {
    return JSON.stringify(value) ?? null
  } catch {
    return null
  }
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The elements of a list that are objects; none where it is no list. */
export const objectsOf = (list: unknown): ReadonlyArray<JsonObject> =>
  Array.isArray(list) ? list.filter(isObject) : []

/** A member of an object that came as JSON. What every object inherits, as `constructor`, is none. */
export const memberOf = (object: JsonObject, key: string): unknown =>
  Object.hasOwn(object, key) ? object[key] : undefined

/** Gives an object of ours a member of whatever name: to assign `__proto__` would change what the object inherits. */
export const setMember = (object: { [key: string]: unknown }, key: string, value: unknown): void => {
  if (key !== "__proto__") object[key] = value
  else Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
}

/** A JSON text as a value; `undefined` where it is none. */
export const parsed = (text: string | null): unknown => {
  if (text === null) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The value of a member of the object that a JSON text is; `undefined` where it has none. Only that member is parsed. */
export const parsedMember = (json: Buffer, key: string): unknown => {
  const span = locate(json, [key])
  return span === null ? undefined : JSON.parse(json.toString("utf8", span.start, span.end))
}
