import type { Frame } from "../../wire/Frame.ts"

/**
 * Whether an event is an error by its name, whatever its data. An event without data is none: readers that follow the
 * specification pass over it (https://html.spec.whatwg.org/multipage/server-sent-events.html#dispatchMessage).
 */
export const isError = (frame: Frame): boolean => frame.event === "error" && frame.kind === "event"
