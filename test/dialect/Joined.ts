import type { AnswerWriter, TurnReader } from "../../src/dialect/Dialect.ts"
import type { Frame } from "../../src/wire/Frame.ts"

/** What a reader lets go of a turn as its frames come, and at their end; `isCut` where that came too soon. */
export const passed = (reader: TurnReader, frames: ReadonlyArray<Frame>, isCut = false): Array<Frame> => {
  const out: Array<Frame> = []
  for (const frame of frames) reader.push(frame, out)
  reader.end(isCut, out)
  return out
}

/**
 * What a client sees of several turns, the engine's part played: a turn that ends on nothing but injected calls is gone
 * on from. What the writer says when all has ended well is not in it.
 *
 * @param readerOf makes a reader for each turn
 */
export const joined = (
  writer: AnswerWriter,
  readerOf: () => TurnReader,
  turns: ReadonlyArray<ReadonlyArray<Frame>>
) => {
  const shown: Array<Frame> = []
  /** The turns that were gone on from. */
  const goneOn: Array<ReadonlyArray<Frame>> = []
  const readers = turns.map((frames, turn) => {
    const reader = readerOf()
    for (const frame of passed(reader, frames)) writer.push(frame, turn, shown)
    if (!reader.holding) return reader
    const end: Array<Frame> = []
    reader.release(end)
    if (reader.summary().toolCalls.some(({ runner }) => runner === "client")) {
      for (const frame of end) writer.push(frame, turn, shown)
    } else {
      goneOn.push(frames)
      writer.next(end)
    }
    return reader
  })
  return { shown, goneOn, summaries: readers.map((reader) => reader.summary()) }
}
