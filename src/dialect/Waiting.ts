import type { Frame } from "../wire/Frame.ts"

/** How much of a turn is kept back at most until it is known whose it is: an upstream may never say. */
const mostFrames = 1000
const mostBytes = 1024 * 1024

/** Counts what is kept back. */
export class Waiting {
  private frames = 0
  private bytes = 0

  /** Counts one more frame. Answers whether it is still within what is kept back. */
  fits(frame: Frame): boolean {
    this.frames++
    this.bytes += frame.length
    return this.frames <= mostFrames && this.bytes <= mostBytes
  }

  /** Nothing is kept back any more. */
  clear(): void {
    this.frames = 0
    this.bytes = 0
  }
}
