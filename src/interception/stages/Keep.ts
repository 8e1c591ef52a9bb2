import type { Frame } from "../../wire/Frame.ts"
import type { Decode } from "./Decode.ts"
import type { Stage } from "./Stage.ts"

/**
 * Keeps what an upstream sends on its way to be cut into frames, for the few turns that another goes on from. Bytes are
 * kept and not frames: hundreds of those would outlive the chunk that they came in, of nearly every turn for nothing.
 */
export class Keep implements Stage<Buffer, Frame> {
  private readonly decode: Decode
  private readonly again: () => Decode
  private room: number
  private chunks: Array<Buffer> | null = []

  /**
   * @param again makes another decoder like `decode`
   * @param room how many bytes are kept at most
   */
  constructor(decode: Decode, again: () => Decode, room: number) {
    this.decode = decode
    this.again = again
    this.room = room
  }

  push(input: ReadonlyArray<Buffer>, out: Array<Frame>): void {
    for (const chunk of input) {
      if (this.chunks === null) break
      this.room -= chunk.length
      if (this.room < 0) this.chunks = null
      else this.chunks.push(chunk)
    }
    this.decode.push(input, out)
  }

  end(out: Array<Frame>): void {
    this.decode.end(out)
  }

  /** The first so many frames, as they came; `null` where there was too much to keep. */
  frames(count: number): ReadonlyArray<Frame> | null {
    if (this.chunks === null) return null
    const decode = this.again()
    const frames: Array<Frame> = []
    decode.push(this.chunks, frames)
    decode.end(frames)
    return frames.slice(0, count)
  }
}
