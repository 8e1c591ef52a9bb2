import { expect } from "vitest"
import type { Dialect } from "../../src/dialect/Dialect.ts"
import type { HiddenTurn, MemoryEntry, ToolMemory } from "../../src/dialect/ToolMemory.ts"

/** What is kept for one actor. */
export class Kept {
  private readonly values = new Map<string, string>()

  keep(entries: ReadonlyArray<MemoryEntry>): this {
    for (const { key, value } of entries) this.values.set(key, value)
    return this
  }

  readonly find = (key: string): string | null => this.values.get(key) ?? null
}

export const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

/** A turn in which injected calls with these ids were hidden, and what their tools said. */
export const hiding = (output: ReadonlyArray<string>, ids: ReadonlyArray<string>): HiddenTurn => ({
  output,
  injected: new Set(ids),
  results: ids.map((callId) => ({
    callId,
    content: [{ type: "text", text: `result of ${callId}` }],
    isError: false
  }))
})

/** The request that follows on all these turns, as an upstream has seen it. */
export const goneOn = (
  continueWith: Dialect["edit"]["continueWith"],
  request: object,
  turns: ReadonlyArray<HiddenTurn>
): unknown => {
  let body = json(request)
  for (const { output, results } of turns) body = continueWith(body, output, results)!
  return JSON.parse(body.toString())
}

/** What the upstream gets of a request, once `turns` were remembered of the answer to `first`. */
export const recalled = (
  memory: ToolMemory,
  first: unknown,
  turns: ReadonlyArray<HiddenTurn>,
  later: unknown
): unknown =>
  JSON.parse(memory.recall(json(later), new Kept().keep(memory.remember(json(first), turns)).find).toString())

/** Whether a request stays the same buffer. */
export const staysAsItIs = (
  memory: ToolMemory,
  first: unknown,
  turns: ReadonlyArray<HiddenTurn>,
  later: unknown
): boolean => {
  const body = json(later)
  return memory.recall(body, new Kept().keep(memory.remember(json(first), turns)).find) === body
}

/** Expects nothing to be kept of these answers, nor of one whose results are missing or whose output cannot be read. */
export const expectForgotten = (
  memory: ToolMemory,
  first: unknown,
  whole: ReadonlyArray<HiddenTurn>,
  answers: ReadonlyArray<ReadonlyArray<HiddenTurn>>
): void => {
  const lacking = whole.map((turn) => ({ ...turn, results: [] }))
  const unreadable = [{ output: ["{"], injected: new Set(["x"]), results: [] }]
  expect(memory.remember(json(first), whole)).not.toEqual([])
  for (const turns of [...answers, lacking, unreadable]) expect(memory.remember(json(first), turns)).toEqual([])
}

/** Expects a request to stay the same buffer whatever strange values are found for it, and so what is no request. */
export const expectUntouched = (memory: ToolMemory, request: unknown, odd: ReadonlyArray<string>): void => {
  const body = json(request)
  for (const value of ["", "null", "[]", "{}", '{"version":0}', '{"version":1,"at":"nowhere"}'])
    expect(memory.recall(body, () => value)).toBe(body)
  for (const none of ["", "[]", "{", ...odd].map((said) => Buffer.from(said)))
    expect(memory.recall(none, () => null)).toBe(none)
}
