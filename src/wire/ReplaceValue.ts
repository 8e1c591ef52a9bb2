import type { Frame } from "./Frame.ts"
import { type JsonPath, locate, replace } from "./JsonSpan.ts"

/**
 * Gives a value of one frame's data, and nothing else of it, a new one; where a key stands twice, both. The same frame
 * where it has no such value.
 *
 * @param raw the new value as JSON text
 */
export const replaceValue = (frame: Frame, path: JsonPath, raw: string): Frame => {
  const data = frame.dataBytes
  const changed = replace(data, path, raw)
  if (changed === null) return frame
  if (frame.lines <= 1) return frame.withData(changed)
  // Other data in several lines would be laid out anew.
  const span = locate(data, path)!
  const spliced = frame.spliceData(span.start, span.end, Buffer.from(raw))
  return spliced.dataBytes.equals(changed) ? spliced : frame.withData(changed)
}
