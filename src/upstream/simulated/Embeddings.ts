import { Predicate } from "effect"
import { tokens } from "./Conversation.ts"
import { type Failure, invalid, type JsonObject, pretty } from "./Dialect.ts"
import { makeRandom } from "./Random.ts"

/** What OpenAI's small model answers with. */
const usualDimensions = 1536

const isTokens = (value: unknown): value is ReadonlyArray<number> =>
  Array.isArray(value) && value.length > 0 && value.every(Predicate.isNumber)

/** A vector of length 1 that is a function of the text. */
const embed = (text: string, dimensions: number, seed: number): Float32Array => {
  const random = makeRandom(seed, "embedding", text)
  const vector = Float32Array.from({ length: dimensions }, () => random.next() * 2 - 1)
  const length = Math.hypot(...vector)
  return vector.map((value) => value / length)
}

/** Numbers as 32-bit floats, little end first, whatever the machine. */
const encodeBase64 = (vector: Float32Array): string => {
  const bytes = Buffer.alloc(vector.length * 4)
  vector.forEach((value, index) => {
    bytes.writeFloatLE(value, index * 4)
  })
  return bytes.toString("base64")
}

/**
 * Answers an embeddings request: a body in OpenAI's shape, or why there is none.
 *
 * @see https://platform.openai.com/docs/api-reference/embeddings
 */
export const embeddings = (request: JsonObject, seed: number): string | Failure => {
  if (typeof request.model !== "string" || request.model === "") {
    return invalid("you must provide a model parameter", null, null)
  }
  const given: unknown = request.input
  const inputs = typeof given === "string" || isTokens(given) ? [given] : given
  if (
    !Array.isArray(inputs) ||
    inputs.length === 0 ||
    !inputs.every((one) => typeof one === "string" || isTokens(one))
  ) {
    return invalid("'$.input' is invalid. Expected a string, or an array of strings or tokens.", "input", null)
  }
  const asked = request.dimensions
  const dimensions =
    typeof asked === "number" && Number.isInteger(asked) && asked > 0 && asked <= 8192 ? asked : usualDimensions
  let count = 0
  const data = inputs.map((input: string | ReadonlyArray<number>, index) => {
    count += typeof input === "string" ? tokens(input).length : input.length
    const vector = embed(JSON.stringify(input), dimensions, seed)
    const embedding = request.encoding_format === "base64" ? encodeBase64(vector) : Array.from(vector)
    return { object: "embedding", index, embedding }
  })
  return pretty({ object: "list", data, model: request.model, usage: { prompt_tokens: count, total_tokens: count } })
}
