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
