import type { Frame } from "./Frame.ts"
import { type JsonPath, locate } from "./JsonSpan.ts"

/** A value of one frame's data as its JSON text stands there; `null` where there is no such value. */
export const rawValue = (frame: Frame, path: JsonPath): Buffer | null => {
  const data = frame.dataBytes
  const span = locate(data, path)
  return span === null ? null : data.subarray(span.start, span.end)
}
