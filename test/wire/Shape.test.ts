import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { describe, expect, it } from "vitest"
import { Shape } from "../../src/wire/Shape.ts"

const shapeOf = (text: string, ...values: ReadonlyArray<string>) =>
  Shape.of(
    text,
    values.map((value) => ({ start: text.indexOf(value), end: text.indexOf(value) + value.length }))
  )

const chunk = '{"id":"a","t":17,"x":null,"delta":{"text":"hello"},"end":null}'

describe("Shape", () => {
  const shape = shapeOf(chunk, '"a"', "17", '"hello"')!
  const matches = (text: string) => shape.matches(`..${text}..`, 2, 2 + text.length)

  it.each([
    chunk,
    '{"id":"bcd","t":1,"x":null,"delta":{"text":""},"end":null}',
    '{"id":"","t":170000,"x":null,"delta":{"text":"a \\" quote and a \\\\"},"end":null}',
    '{"id":"a","t":17,"x":null,"delta":{"text":"\u00c3\u00a9"},"end":null}'
  ])("is that of %s", (text) => {
    expect(matches(text)).toBe(true)
  })

  it.each([
    // As long as null, before, between and behind the values.
    '{"id":"a","t":17,"x":"OK","delta":{"text":"hello"},"end":null}',
    '{"id":"a","t":17,"x":true,"delta":{"text":"hello"},"end":null}',
    '{"id":"a","t":17,"x":null,"delta":{"text":"hello"},"end":"no"}',
    '{"id":"a","t":17,"x":null,"delta":{"nope":"hello"},"end":null}',
    '{"id":"a","t":17,"x":null,"delta":{"text":"hello","more":1},"end":null}',
    '{"id":"a","t":17,"x":null,"delta":{"text":null},"end":null}',
    '{"id":"a","t":"17","x":null,"delta":{"text":"hello"},"end":null}',
    '{"id":"a","t":-1,"x":null,"delta":{"text":"hello"},"end":null}',
    '{"id":"a","t":17,"x":null,"delta":{"text":"hello},"end":null}',
    '{"id":"a","t":17,"x":null,"delta":{"text":"hello"},"end":null} ',
    '{"id":"a","t":17,"x":null,"delta":{"text":"hello"},"end":nul',
    ""
  ])("is not that of %s", (text) => {
    expect(matches(text)).toBe(false)
  })

  it("keeps nothing of the texts it was made of but what they have in common", () => {
    setFlagsFromString("--expose-gc")
    const collect = runInNewContext("gc") as () => void
    const used = () => {
      collect()
      return process.memoryUsage().heapUsed
    }
    const size = 400_000
    const before = used()
    const shapes = Array.from({ length: 40 }, (_, i) => {
      const value = JSON.stringify(String(i).padEnd(size, "x"))
      return shapeOf(Buffer.from(`{"the first of the members":${value},"and the last":null}`).toString("latin1"), value)
    })
    expect(used() - before).toBeLessThan(10 * size)
    expect(shapes.every((kept) => kept !== null)).toBe(true)
  })

  it("is none where nothing may differ, or what may is neither a string nor a plain number", () => {
    expect(Shape.of("{}", [])).toBeNull()
    expect(shapeOf(chunk, "null")).toBeNull()
    expect(shapeOf('{"t":-1}', "-1")).toBeNull()
  })
})
