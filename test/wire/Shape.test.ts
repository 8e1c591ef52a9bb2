import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { describe, expect, it } from "vitest"
import { Shape } from "../../src/wire/Shape.ts"

const shapeOf = (text: string, ...values: ReadonlyArray<string>) =>
  Shape.of(
    text,
    values.map((value) => ({ start: text.indexOf(value), end: text.indexOf(value) + value.length }))
  )

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

/** Bytes of the heap that something holds on to. */
const used = (): number => {
  collect()
  return process.memoryUsage().heapUsed
}

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
    const size = 400_000
    const before = used()
    const shapes = Array.from({ length: 40 }, (_, i) => {
      const value = JSON.stringify(String(i).padEnd(size, "x"))
      return shapeOf(Buffer.from(`{"the first of the members":${value},"and the last":null}`).toString("latin1"), value)
    })
    expect(used() - before).toBeLessThan(10 * size)
    expect(shapes.every((kept) => kept !== null)).toBe(true)
  })

  it("keeps nothing of the texts it has seen but what stands before the others", () => {
    const size = 400_000
    const before = used()
    const shapes = Array.from({ length: 40 }, (_, i) => {
      const start = chunk.indexOf('"a"')
      const said = chunk.indexOf('"hello"')
      const spans = [
        { start, end: start + 3 },
        { start: said, end: said + 7 }
      ]
      const text = chunk.replace('"a"', `"a response of a usual id"`).replace("hello", String(i).padEnd(size, "x"))
      const own = Buffer.from(text).toString("latin1")
      const one = Shape.of(chunk, spans, 1)!
      expect(one.matches(own, 0, own.length)).toBe(true)
      return one
    })
    expect(used() - before).toBeLessThan(10 * size)
    expect(shapes.length).toBe(40)
  })

  it("is none where nothing may differ, or what may is neither a string nor a plain number", () => {
    expect(Shape.of("{}", [])).toBeNull()
    expect(shapeOf(chunk, "null")).toBeNull()
    expect(shapeOf('{"t":-1}', "-1")).toBeNull()
  })

  describe.each([1, 2, 3])("with the first %d values mostly the same", (steady) => {
    const values = (text: string) => ['"a"', "17", '"hello"'].map((value) => ({ value, at: text.indexOf(value) }))
    const spans = values(chunk).map(({ at, value }) => ({ start: at, end: at + value.length }))
    const make = (id: number, time: number, said: number, mark: string) =>
      `{"id":"${"x".repeat(id)}","t":${10 ** time},"x":${mark},"delta":{"text":"${'é\\"'.repeat(said)}"},"end":null}`

    it("says of each text in a row what it says without", () => {
      const one = Shape.of(chunk, spans, steady)!
      const plain = Shape.of(chunk, spans)!
      let seed = 7 * steady
      const below = (limit: number) => {
        seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff
        return (seed >>> 8) % limit
      }
      const said = { yes: 0, no: 0 }
      for (let i = 0; i < 2000; i++) {
        // Runs of texts that begin alike, longer ones than a shape learns heads in, and now and then one of another shape.
        const whole = make(below(i < 1000 ? 2 : 60), below(3), below(3), below(5) === 0 ? "nULL" : "null")
        const cut = below(9) === 0 ? whole.slice(0, below(whole.length)) : whole
        const text = `..${cut}${"}".repeat(below(8) === 0 ? 1 : 0)}`
        const end = below(10) === 0 ? text.length - 1 : text.length
        const answer = one.matches(`${text},"more"`, 2, end)
        expect(answer).toBe(plain.matches(`${text},"more"`, 2, end))
        said[answer ? "yes" : "no"]++
      }
      expect(said.yes).toBeGreaterThan(500)
      expect(said.no).toBeGreaterThan(300)
    })
  })
})
