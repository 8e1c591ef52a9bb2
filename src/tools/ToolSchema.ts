/** What is wrong with a tool's schema; the tool is then left out. */
export interface InvalidSchema {
  readonly problem: string
}

const isObject = (value: unknown): value is { readonly [key: string]: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/**
 * A tool's `inputSchema` as JSON text that every provider takes: what the server sent, its keys in their order, and
 * always an object's schema. Upstreams refuse a schema without `type` or `properties` (the Responses API one that has
 * `required` and no `properties`), so these are added where they are missing.
 */
export const inputSchemaText = (schema: unknown): string | InvalidSchema => {
  if (schema === undefined || schema === null) return '{"type":"object","properties":{}}'
  if (!isObject(schema)) return { problem: "its schema is no object" }
  const { properties, required, type } = schema
  // A list of types that allows objects is one of an object as far as arguments go.
  if (type !== undefined && type !== "object" && !(Array.isArray(type) && type.includes("object"))) {
    return { problem: `its schema is of ${JSON.stringify(type)} and not of an object` }
  }
  if (properties !== undefined && !isObject(properties)) return { problem: "its schema's properties are no object" }
  for (const [name, property] of Object.entries(properties ?? {})) {
    if (!isObject(property) && typeof property !== "boolean") return { problem: `its property ${name} has no schema` }
  }
  if (required !== undefined && !(Array.isArray(required) && required.every((name) => typeof name === "string"))) {
    return { problem: "what its schema requires is no list of names" }
  }
  if (type === "object" && properties !== undefined) return JSON.stringify(schema)
  return JSON.stringify({
    ...(type === "object" ? {} : { type: "object" }),
    ...schema,
    ...(Array.isArray(type) ? { type: "object" } : {}),
    ...(properties === undefined ? { properties: {} } : {})
  })
}
