import { Ajv } from "@modelcontextprotocol/client/validators/ajv"

/** What is wrong with a tool's schema; the tool is then left out. */
export interface InvalidSchema {
  readonly problem: string
}

/** What all drafts have in common is held to the rules of draft 7, the rest is let through. */
const metaSchema = "http://json-schema.org/draft-07/schema#"
const ajv = new Ajv({ strict: false, validateFormats: false, logger: false })

const isObject = (value: unknown): value is { readonly [key: string]: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const problemOf = (schema: { readonly [key: string]: unknown }): string | undefined => {
  const { type } = schema
  // A list of types that allows objects is one of an object as far as arguments go.
  if (type !== undefined && type !== "object" && !(Array.isArray(type) && type.includes("object"))) {
    return `its schema is of ${JSON.stringify(type)} and not of an object`
  }
  return ajv.validate(metaSchema, schema)
    ? undefined
    : `its ${ajv.errorsText(ajv.errors?.slice(0, 1), { dataVar: "schema" })}`
}

const textOf = (schema: { readonly [key: string]: unknown }): string => {
  const { properties, type } = schema
  if (type === "object" && properties !== undefined) return JSON.stringify(schema)
  return JSON.stringify({
    ...(type === undefined ? { type: "object" } : {}),
    ...schema,
    ...(Array.isArray(type) ? { type: "object" } : {}),
    ...(properties === undefined ? { properties: {} } : {})
  })
}

/**
 * A tool's `inputSchema` as JSON text that every provider takes: what the server sent, its keys in their order, and
 * always an object's schema. Upstreams refuse a schema without `type` or `properties` (the Responses API one that has
 * `required` and no `properties`), so these are added where they are missing. One invalid schema would have a provider
 * refuse the whole request, so it is held to its meta-schema here.
 */
export const inputSchemaText = (schema: unknown): string | InvalidSchema => {
  if (schema === undefined || schema === null) return '{"type":"object","properties":{}}'
  if (!isObject(schema)) return { problem: "its schema is no object" }
  try {
    const problem = problemOf(schema)
    return problem === undefined ? textOf(schema) : { problem }
  } catch {
    return { problem: "its schema is nested too deeply" }
  }
}
