import type { BadRequest } from "./Dialect.ts"
import { withoutMark } from "../wire/Frame.ts"
import { deepestParsed, isDeeperThan } from "../wire/JsonDepth.ts"
import { isObject, type JsonObject, parsed } from "./Json.ts"

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
  const text = withoutMark(raw.toString("utf8"))
  if (isDeeperThan(text, deepestParsed)) {
    return bad(`The request body is nested deeper than ${deepestParsed} levels.`)
  }
  const body = parsed(text)
  if (body === undefined) return bad("The request body is not valid JSON.")
  return isObject(body) ? read(body) : bad(notObject)
}
