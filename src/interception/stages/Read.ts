import type { TurnReader } from "../../dialect/Dialect.ts"
import type { Frame } from "../../wire/Frame.ts"
import type { Stage } from "./Stage.ts"

/** Detect, observe and withhold: what the upstream's dialect makes of its frames. Counts them on the way. */
export class Read implements Stage<Frame, Frame> {
  frames = 0
  /** The frames as they came, where another turn may have to go on from them; `null` where there are too many. */
  kept: Array<Frame> | null = []
  private readonly reader: TurnReader
  private room: number

  /** @param keep how many bytes of frames are kept at most; 0 keeps none */
  constructor(reader: TurnReader, keep = 0) {
    this.reader = reader
    this.room = keep
    if (keep === 0) this.kept = null
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
      if (this.kept !== null) this.keep(frame)
      reader.push(frame, out)
    }
  }

  private keep(frame: Frame): void {
    this.room -= frame.length
    this.kept!.push(frame)
    if (this.room < 0) this.kept = null
  }

  end(out: Array<Frame>): void {
    this.reader.end(false, out)
  }
}
