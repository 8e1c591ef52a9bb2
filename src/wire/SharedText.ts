import type { Frame } from "./Frame.ts"

/** Frames as latin1, one character a byte. Those of one network chunk share its buffer, which becomes text but once. */
export class SharedText {
  private source: Buffer | null = null
  private text = ""

  /** All of the buffer that a frame lies in. */
  of(frame: Frame): string {
    if (frame.text !== null) return frame.text
    if (frame.source !== this.source) {
      this.source = frame.source
      this.text = frame.source.toString("latin1")
    }
    return this.text
  }
}
