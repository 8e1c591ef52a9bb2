import type { AnswerWriter } from "../../dialect/Dialect.ts"
import type { Frame } from "../../wire/Frame.ts"
import type { Stage } from "./Stage.ts"

/** Renumber: the turns of an interception as the one answer that its client sees. */
export const write = (writer: AnswerWriter, turn: number): Stage<Frame, Frame> => ({
  push(input, out) {
    for (const frame of input) writer.push(frame, turn, out)
  },
  end(out) {
    writer.finish(out)
  }
})
