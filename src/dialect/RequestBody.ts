import type { BadRequest } from "./Dialect.ts"
import { isObject, type JsonObject } from "./Json.ts"

/** Why a request cannot be read. */
export const bad = (message: string, param: string | null = null): BadRequest => ({
  _tag: "BadRequest",
  message,
  param
})

/**
 * Reads a request whose body is a JSON object, as every dialect wants it.
 *
 * @param read what the dialect makes of the object
 * @param notObject what the dialect says of any other JSON value
 */
export const readBody = <View>(
  raw: Buffer,
  read: (body: JsonObject) => View | BadRequest,
  notObject = "The request body must be a JSON object."
): View | BadRequest => {
  const body = parse(raw)
  if (body === undefined) return bad("The request body is not valid JSON.")
  return isObject(body) ? read(body) : bad(notObject)
}

const parse = (raw: Buffer): unknown => {
  try {
    return JSON.parse(raw.toString("utf8"))
  } catch {
    return undefined
  }
}
