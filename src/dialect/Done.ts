import type { Frame } from "../wire/Frame.ts"

/**
 * Whether an event is the `[DONE]` that ends a stream of Chat Completions, and that some servers end every kind of stream
 * with.
 */
export const isDone = (frame: Frame): boolean => {
  const length = frame.dataEnd - frame.dataStart
  return length >= 6 && length < 16 && frame.source[frame.dataStart] === 0x5b && frame.data.trim() === "[DONE]"
}
