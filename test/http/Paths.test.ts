import { describe, expect, it } from "vitest"
import { dialectOfPath, interceptedPaths } from "../../src/http/Paths.ts"

describe("the dialect of a path", () => {
  it.each([
    ["/v1/messages", "anthropic-messages"],
    ["/messages", "anthropic-messages"],
    ["/anthropic/v1/messages", "anthropic-messages"],
    ["/anthropic/messages/count_tokens", "anthropic-messages"],
    ["/v1/messages/batches/b1/results", "anthropic-messages"],
    ["/openai/v1/chat/completions", "openai-chat"],
    ["/v1/chat/completions/c1/messages", "openai-chat"],
    ["/openai/v1/responses/r1/input_items", "openai-responses"],
    ["/v1/models", null],
    ["/v1/messages_", null],
    ["/openai/v1/threads/t1/messages", null],
    ["/", null]
  ])("%s: %s", (path, dialect) => {
    expect(dialectOfPath(path)).toBe(dialect)
  })

  it("is known of every path that is intercepted", () => {
    for (const path of interceptedPaths) expect(dialectOfPath(path)).not.toBeNull()
  })
})
