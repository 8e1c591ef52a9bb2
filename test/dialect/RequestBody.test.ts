import { describe, expect, it } from "vitest"
import { dialectOf } from "../../src/dialect/Dialects.ts"

const names = ["openai-chat", "openai-responses", "anthropic-messages"] as const

const request = (more: string): Buffer =>
  Buffer.from(`{"model":"m","max_tokens":5,"messages":[],"input":"hello","x":${more}}`)

const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`

describe("a request body", () => {
  it.each(names)("may be nested 10,000 levels deep, and is refused beyond: %s", (name) => {
    const { view } = dialectOf(name)
    expect(view(request(nested(9_999)))).toMatchObject({ _tag: "RequestView", model: "m" })
    expect(view(request(nested(10_000)))).toEqual({
      _tag: "BadRequest",
      message: "The request body is nested deeper than 10000 levels.",
      param: null
    })
  })

  it.each(names)("of the largest size and depth is refused without being parsed: %s", (name) => {
    const body = Buffer.from(`{"x":${"[".repeat(30_000_000)}`)
    const started = performance.now()
    expect(dialectOf(name).view(body)).toMatchObject({ _tag: "BadRequest" })
    // Parsing it takes seconds.
    expect(performance.now() - started).toBeLessThan(1000)
  })
})
