import { assert, describe, it } from "vitest"
import { makeRandom } from "../../../src/upstream/simulated/Random.ts"
import { sample } from "../../../src/upstream/simulated/Sample.ts"

const draw = (schema: unknown, seed = 0, prompt = "the weather in Lisbon") => sample(schema, prompt, makeRandom(seed))

describe("a sample of a JSON Schema", () => {
  it("stays within the bounds of a number, whatever is drawn", () => {
    const bounds: ReadonlyArray<readonly [object, number, number]> = [
      [{ type: "integer", minimum: 3, maximum: 4 }, 3, 4],
      [{ type: "integer", exclusiveMinimum: 3, exclusiveMaximum: 6 }, 4, 5],
      [{ type: "integer", maximum: -5 }, -5, -5],
      [{ type: "number", minimum: 0.5, maximum: 0.75 }, 0.5, 0.75],
      [{ type: "number", exclusiveMinimum: 0, exclusiveMaximum: 1 }, 0.001, 0.999],
      [{ type: "integer", exclusiveMaximum: 0 }, -9, -1]
    ]
    for (const [schema, least, most] of bounds) {
      for (let seed = 0; seed < 50; seed++) {
        const value = draw(schema, seed) as number
        assert.isTrue(value >= least && value <= most, `${value} for ${JSON.stringify(schema)}`)
      }
    }
  })

  it("gives an object its required properties, or all of them", () => {
    const properties = { query: { type: "string" }, city: { type: "string" } }
    assert.deepStrictEqual(draw({ type: "object", properties }), { query: "the weather in Lisbon", city: "Lisbon" })
    assert.deepStrictEqual(draw({ type: "object", properties, required: ["city"] }), { city: "Lisbon" })
    assert.deepStrictEqual(draw({ type: "object" }), {})
  })

  it("follows references, into a schema that refers to itself too", () => {
    const tree = {
      $ref: "#/$defs/node",
      $defs: { node: { type: "object", properties: { size: { const: 1 }, next: { $ref: "#/$defs/node" } } } }
    }
    assert.propertyVal(draw(tree) as object, "size", 1)
  })

  it("takes the first choice that is not null, merges allOf, and heeds const, default, enum and lengths", () => {
    assert.isTrue(draw({ anyOf: [{ type: "null" }, { type: "boolean" }] }))
    assert.isTrue(draw({ type: ["null", "boolean"] }))
    const merged = { allOf: [{ type: "object", properties: { a: { const: 1 } } }, { required: ["a"] }] }
    assert.deepStrictEqual(draw(merged), { a: 1 })
    assert.strictEqual(draw({ type: "string", default: "d" }), "d")
    assert.strictEqual(draw({ enum: [7] }), 7)
    assert.deepStrictEqual(draw({ type: "array", minItems: 2, items: { const: 0 } }), [0, 0])
    assert.strictEqual((draw({ type: "string", minLength: 20 }) as string).length, 20)
    assert.strictEqual((draw({ type: "string", maxLength: 2 }) as string).length, 2)
  })
})
