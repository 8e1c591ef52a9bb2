import type { Span } from "./JsonSpan.ts"
import { stringEnd } from "./StringEnd.ts"

const quote = 0x22

/**
 * The skeleton of JSON frames that differ in a few values only, as the chunks of a stream do.
 *
 * In a frame that has the shape of one which was parsed, and in which there was nothing to see, there is nothing to see
 * either: it need not be parsed, and comparing it costs a tenth of that. Whether the strings that may differ are written
 * as JSON wants them is left to who reads them. Texts are latin1, one character a byte.
 * Everything but those values is compared: any other member may be one that says something.
 */
export class Shape {
  /** What stands before the first value that may differ, between them, and behind the last. */
  private readonly fixed: ReadonlyArray<string>
  /** Of each value that may differ, whether it is a string (its quotes are in `fixed`) or a number. */
  private readonly strings: ReadonlyArray<boolean>
  /** How many of the first values seldom differ. */
  private readonly steady: number
  /** What stood before the others in a text that had this shape: nearly always it is the same in the next. */
  private head = ""
  private heads = 0

  private constructor(fixed: ReadonlyArray<string>, strings: ReadonlyArray<boolean>, steady: number) {
    this.fixed = fixed
    this.strings = strings
    this.steady = steady
  }

  /**
   * The shape of a text in which the values at `spans`, in order, may differ. `null` where there is none, or one of them
   * is neither a string nor a number without sign, fraction and exponent.
   *
   * @param steady how many of the first values are mostly the same in texts that follow one another, as a stream's id is
   */
  static of(text: string, spans: ReadonlyArray<Span>, steady = 0): Shape | null {
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
    return new Shape(fixed, strings, steady)
  }

  /** Whether the part of a text from `start` to `end` has this shape. */
  matches(text: string, start: number, end: number): boolean {
    const { fixed, head, steady, strings } = this
    const first = fixed[0]!
    let value = 0
    let at = start
    if (head !== "" && standsAt(text, head, start)) {
      value = steady
      at += head.length
    } else if (standsAt(text, first, start)) at += first.length
    else return false
    let headEnd = -1
    while (value < strings.length) {
      at = strings[value] ? stringEnd(text, at) : numberEnd(text, at)
      if (at === -1 || at > end) return false
      value++
      const behind = fixed[value]!
      if (!standsAt(text, behind, at)) return false
      at += behind.length
      if (value === steady) headEnd = at
    }
    if (at !== end) return false
    if (headEnd !== -1 && this.heads < mostHeads) {
      this.heads++
      this.head = copyOf(text, start, headEnd)
    }
    return true
  }
}

/** How many heads a shape learns: where each text brings another, learning costs more than it saves. */
const mostHeads = 16

/** Whether a part stands in a text at an offset: comparing a slice costs a third of what `startsWith` does. */
const standsAt = (text: string, part: string, at: number): boolean => text.slice(at, at + part.length) === part

/** A part of a text that is kept. A slice keeps the whole text alive as well, which is no matter where that is short. */
const copyOf = (text: string, start: number, end: number): string => {
  const part = text.slice(start, end)
  return text.length <= shortText ? part : Buffer.from(part, "latin1").toString("latin1")
}

const shortText = 4096

/** The offset behind the digits at `from`; -1 where there are none. */
const numberEnd = (text: string, from: number): number => {
  let at = from
  while (isDigit(text.charCodeAt(at))) at++
  return at === from ? -1 : at
}

const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39
