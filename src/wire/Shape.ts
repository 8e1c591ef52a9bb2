import type { Span } from "./JsonSpan.ts"
import { stringEnd } from "./StringEnd.ts"

const quote = 0x22

/**
 * The skeleton of JSON frames that differ in a few values only, as the chunks of a stream do.
 *
 * A frame that has the shape of one which was parsed, and in which there was nothing to see, is valid JSON with nothing
 * to see in it: it need not be parsed, and comparing it costs a tenth of that. Texts are latin1, one character a byte.
 * Everything but those values is compared: any other member may be one that says something.
 */
export class Shape {
  /** What stands before the first value that may differ, between them, and behind the last. */
  private readonly fixed: ReadonlyArray<string>
  /** Of each value that may differ, whether it is a string (its quotes are in `fixed`) or a number. */
  private readonly strings: ReadonlyArray<boolean>

  private constructor(fixed: ReadonlyArray<string>, strings: ReadonlyArray<boolean>) {
    this.fixed = fixed
    this.strings = strings
  }

  /**
   * The shape of a text in which the values at `spans`, in order, may differ. `null` where there is none, or one of them
   * is neither a string nor a number without sign, fraction and exponent.
   */
  static of(text: string, spans: ReadonlyArray<Span>): Shape | null {
    const fixed: Array<string> = []
    const strings: Array<boolean> = []
    let from = 0
    if (spans.length === 0) return null
    for (const { start, end } of spans) {
      const isString = text.charCodeAt(start) === quote
      if (!isString && !/^\d+$/.test(text.slice(start, end))) return null
      fixed.push(copyOf(text, from, isString ? start + 1 : start))
      strings.push(isString)
      from = isString ? end - 1 : end
    }
    fixed.push(copyOf(text, from, text.length))
    return new Shape(fixed, strings)
  }

  /** Whether the part of a text from `start` to `end` has this shape. */
  matches(text: string, start: number, end: number): boolean {
    const { fixed, strings } = this
    let at = start
    for (let i = 0; i < strings.length; i++) {
      const between = fixed[i]!
      if (!text.startsWith(between, at)) return false
      at += between.length
      at = strings[i] ? stringEnd(text, at) : numberEnd(text, at)
      if (at === -1 || at > end) return false
    }
    const last = fixed[strings.length]!
    return at + last.length === end && text.startsWith(last, at)
  }
}

/** A part of a text that is kept: a slice would keep the whole text alive as well. */
const copyOf = (text: string, start: number, end: number): string =>
  Buffer.from(text.slice(start, end), "latin1").toString("latin1")

/** The offset behind the digits at `from`; -1 where there are none. */
const numberEnd = (text: string, from: number): number => {
  let at = from
  while (isDigit(text.charCodeAt(at))) at++
  return at === from ? -1 : at
}

const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39
