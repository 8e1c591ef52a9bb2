import { expect, it } from "vitest"
import { SeenUsage } from "../../src/dialect/SeenUsage.ts"
import { fromChat } from "../../src/dialect/Usage.ts"
import { whole } from "../../src/wire/Frame.ts"

const rawOf = (...texts: ReadonlyArray<string>): string | null | undefined => {
  const usage = new SeenUsage(fromChat)
  for (const text of texts) {
    const frame = whole("body", Buffer.from(`{"a":{"usage":${text}}}`))
    usage.see(JSON.parse(text), frame, ["a", "usage"])
  }
  // Whoever asks again is told the same.
  expect(usage.summary).toEqual(usage.summary)
  return usage.summary?.raw
}

const deep = `{"prompt_tokens":1,"x":${"[".repeat(50_000)}${"]".repeat(50_000)}}`

it.each([
  ["an object of its own", ['{ "prompt_tokens":1.0, "x":1e400 }'], '{ "prompt_tokens":1.0, "x":1e400 }'],
  ["one that is too deep to be written anew", [deep], deep],
  ["running totals", ['{"prompt_tokens":1}', '{"prompt_tokens":2.0}'], '{"prompt_tokens":2.0}'],
  [
    "counts that come one after the other",
    ['{"prompt_tokens":1}', '{"completion_tokens":2.0}'],
    '{"prompt_tokens":1,"completion_tokens":2}'
  ],
  ["a null behind it", ['{"prompt_tokens":1.0}', "null"], '{"prompt_tokens":1.0}'],
  ["nothing", [], undefined]
])("the provider's own usage is kept as it stands, where one object says all of it: %s", (_name, texts, raw) => {
  expect(rawOf(...texts)).toBe(raw)
})
