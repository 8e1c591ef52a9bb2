import type { Frame } from "./Frame.ts"
import { edit, replace } from "./JsonSpan.ts"
import { findMember, type Key, makeKey } from "./JsonScan.ts"

const quote = 0x22

/**
 * Gives one member of the root object the same new value in frame after frame, as the `model` of a stream of chunks.
 *
 * The chunks of one stream begin alike, up to and beyond that member. So what stood before the value, and the value, are
 * remembered from the last frame that was scanned: a frame that begins with the same bytes has its value in the same
 * place, because what follows cannot change how those bytes read. Only the key coming once more could, and a frame that
 * holds it again is scanned.
 */
export class MemberReplacer {
  private readonly key: Key
  private readonly raw: Buffer
  /** The key as it stands where nothing in it is escaped. */
  private readonly plainKey: Buffer
  /** The data of the last frame that was scanned, up to the end of the value. */
  private prefix: Buffer | undefined
  /** Where the value begins in `prefix`. */
  private valueStart = 0

  /**
   * @param key The name of the member.
   * @param raw Its new value, as JSON text.
   */
  constructor(key: string, raw: string) {
    this.key = makeKey(key)
    this.raw = Buffer.from(raw)
    this.plainKey = Buffer.from(JSON.stringify(key))
  }

  /** The frame with the new value; the same frame where its data is no object or has no such member. */
  apply(frame: Frame): Frame {
    if (frame.kind === "comment" || frame.kind === "part") return frame
    if (frame.lines > 1) {
      const found = findMember(frame.dataBytes, this.key)
      if (found === null) return frame
      if (!found.repeated) return frame.spliceData(found.start, found.end, this.raw)
      const changed = replace(frame.dataBytes, [this.key.text], this.raw)
      return changed === null ? frame : frame.withData(changed)
    }
    const { source, dataStart, dataEnd } = frame
    const prefix = this.prefix
    if (prefix !== undefined) {
      const end = dataStart + prefix.length
      if (end < dataEnd && source.compare(prefix, 0, prefix.length, dataStart, end) === 0) {
        if (source.subarray(end, dataEnd).indexOf(this.plainKey) === -1) {
          return frame.splice(dataStart + this.valueStart, end, this.raw)
        }
      }
    }
    return this.scan(frame, source.subarray(dataStart, dataEnd))
  }

  private scan(frame: Frame, data: Buffer): Frame {
    const found = findMember(data, this.key)
    if (found === null) return frame
    if (found.repeated) {
      const changed = edit(data, [{ op: "replace", path: [this.key.text], raw: this.raw }])
      return changed === null ? frame : frame.withData(changed)
    }
    // A number could go on behind what was its end here; a string cannot.
    if (data[found.end - 1] === quote) {
      this.prefix = Buffer.from(data.subarray(0, found.end))
      this.valueStart = found.start
    }
    return frame.splice(frame.dataStart + found.start, frame.dataStart + found.end, this.raw)
  }
}
