import type { RecordBatch } from "./Records.ts"
import { type NumberedBatch, rowsOf } from "./RecordStore.ts"

/** How much is held at most, in bytes, as far as that can be told: a string may take two for each character. */
const heldBytes = 64 * 1024 * 1024
const rowBytes = 512

/** The batches that neither the store nor the spool took, in memory until one of them does. */
export class HeldBatches {
  private held: Array<NumberedBatch> = []
  private bytes = 0

  get length(): number {
    return this.held.length
  }

  /** Holds a batch, unless too much is held already. Answers whether it does. */
  add(batch: NumberedBatch): boolean {
    const bytes = bytesOf(batch.batch)
    if (this.bytes + bytes > heldBytes) return false
    this.held.push(batch)
    this.bytes += bytes
    return true
  }

  /** The oldest ones. */
  first(count: number): ReadonlyArray<NumberedBatch> {
    return this.held.slice(0, count)
  }

  /** Lets go of the oldest ones. */
  drop(count: number): void {
    for (const { batch } of this.held.splice(0, count)) this.bytes -= bytesOf(batch)
  }
}

const bytesOf = (batch: RecordBatch): number => {
  let characters = 0
  for (const { text } of batch.prompts ?? []) characters += text.length
  for (const { text } of batch.thoughts ?? []) characters += text.length
  for (const call of batch.toolCalls ?? []) characters += call.arguments?.length ?? 0
  for (const { key, value } of batch.memories ?? []) characters += key.length + value.length
  for (const { raw } of batch.usage ?? []) characters += raw?.length ?? 0
  return rowsOf(batch) * rowBytes + 2 * characters
}

/** The interceptions that batches are of. */
export const interceptionsOf = (batches: ReadonlyArray<NumberedBatch>): ReadonlyArray<string> => {
  const ids = new Set<string>()
  for (const { batch } of batches) {
    for (const { id } of [...(batch.opens ?? []), ...(batch.closes ?? [])]) ids.add(id)
    for (const rows of [batch.turns, batch.prompts, batch.usage, batch.toolCalls, batch.thoughts]) {
      for (const { interceptionId } of rows ?? []) ids.add(interceptionId)
    }
  }
  return [...ids]
}
