import { Cause, Formatter, type Layer, Logger, References } from "effect"
import { text, timestamp } from "./Logfmt.ts"
import type { WriteLines } from "./InterceptionLog.ts"

/** The longest value of a line, in characters: stacks are longer than what clients choose. */
const longestValue = 8192

const shown = (value: unknown): string =>
  text(typeof value === "string" ? value : Formatter.format(value, { space: 0 }), longestValue)

/** A name as a key: what would be taken for the end of one is replaced. */
const key = (name: string): string => name.replace(/[^\w.-]/g, "_")

/**
 * Turns what the program itself logs into a line of the form that interceptions have: `timestamp=… level=… message=…`,
 * then the cause and the annotations.
 */
export const logfmt: Logger.Logger<unknown, string> = Logger.make(({ cause, date, fiber, logLevel, message }) => {
  let line = `timestamp=${timestamp(date.getTime())} level=${logLevel.toUpperCase()}`
  line += ` message=${text((Array.isArray(message) ? message : [message]).map(plain).join(" "), longestValue)}`
  if (cause.reasons.length > 0) line += ` cause=${text(Cause.pretty(cause), longestValue)}`
  for (const [name, value] of Object.entries(fiber.getRef(References.CurrentLogAnnotations))) {
    line += ` ${key(name)}=${shown(value)}`
  }
  return line
})

const plain = (part: unknown): string => (typeof part === "string" ? part : Formatter.format(part, { space: 0 }))

/** Standard output belongs to the commands. The console swallows what goes wrong on a closed pipe. */
const toStandardError: WriteLines = (line) => console.error(line)

/**
 * Has everything that is logged written to standard error, a line each, in place of Effect's own loggers.
 *
 * @param write where lines go, without their line feed; by default to standard error
 */
export const layer = (write: WriteLines = toStandardError): Layer.Layer<never> =>
  Logger.layer([Logger.map(logfmt, (line) => write(line))])
