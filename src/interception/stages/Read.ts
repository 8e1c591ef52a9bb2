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
    this.frames += input.length
    if (this.kept !== null) this.keep(input)
    for (const frame of input) this.reader.push(frame, out)
  }

  private keep(input: ReadonlyArray<Frame>): void {
    for (const frame of input) {
      this.room -= frame.length
      this.kept!.push(frame)
    }
    if (this.room < 0) this.kept = null
  }

  end(out: Array<Frame>): void {
    this.reader.end(false, out)
  }
}
