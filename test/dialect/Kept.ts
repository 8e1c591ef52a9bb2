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
