import type { TurnReader } from "../../dialect/Dialect.ts"
import type { Frame } from "../../wire/Frame.ts"
import type { Stage } from "./Stage.ts"

/** Detect, observe and withhold: what the upstream's dialect makes of its frames. Counts them on the way. */
export class Read implements Stage<Frame, Frame> {
  frames = 0
  private readonly reader: TurnReader

  constructor(reader: TurnReader) {
    this.reader = reader
  }

  push(input: ReadonlyArray<Frame>, out: Array<Frame>): void {
    const { reader } = this
    for (const frame of input) {
      if (reader.ended) {
        // What stands behind the end of an answer says nothing of it, in whichever chunk it comes. It goes on with it.
        if (!reader.holding) out.push(frame)
        continue
      }
      this.frames++
      reader.push(frame, out)
    }
  }

  end(out: Array<Frame>): void {
    this.reader.end(false, out)
  }
}
