import { Frame } from "./Frame.ts"

const lineFeed = 10
const carriageReturn = 13
const space = 32
const colon = 58

/** How far into an event too large to hold its `event:` line is looked for, in bytes. */
const headBytes = 4096

/** The three bytes of a byte order mark, as a latin1 text shows them. */
const byteOrderMark = "\u00ef\u00bb\u00bf"

const closingLines = Buffer.from("\n\n")

const nothing = Buffer.alloc(0)

/** Where a chunk stopped inside an event that is not closed. */
const state = {
  /** Only blank lines so far: they belong to the event that follows them. */
  leading: 0,
  /** Within a line. */
  line: 1,
  /** Behind a line that ended in LF or CRLF. */
  lineFeed: 2,
  /** Behind a line that ended in CR; an LF may still belong to it. */
  carriageReturn: 3,
  /** Behind the CR of a blank line whose LF is expected: the event is closed, but its last byte may be to come. */
  closing: 4
} as const

/** How an event stream is read. */
export interface SseDecoderOptions {
  /** The largest event that is held and read, in bytes, its blank line included. A larger one flows on unread. */
  readonly maxEventBytes: number
  /** Names of events that end an answer: the closing blank line of such an event, too large to hold, is marked terminal. */
  readonly terminalEvents?: ReadonlySet<string>
}

/**
 * Cuts a byte stream into Server-Sent Events (WHATWG HTML, section 9.2) without losing or changing a byte: the bytes of
 * all frames, one after the other, are the input.
 *
 * A frame is everything up to and including the blank line that closes it, so that what lies between events (comments,
 * spare blank lines, a byte order mark) travels at the head of the frame behind it. Lines end in LF, CRLF or CR. The
 * frames do not depend on how the input was cut into chunks, with one exception: a frame of kind `part` is a piece of an
 * event larger than `maxEventBytes`, passed on as it came.
 *
 * A blank line that is a bare CR closes its event at once if the line before it ended in a bare CR too; an LF behind it
 * then counts as a blank line of the next frame. Behind LF or CRLF the decoder waits for one byte more, because that CR
 * is nearly always half of a CRLF. So neither style of stream waits for its next event.
 *
 * An event too large to hold whose `event:` line, within its first 4096 bytes, is one of `terminalEvents` comes as parts
 * and, last, a part with `terminal` set that is nothing but its closing blank line: without it no client sees the event.
 */
export class SseDecoder {
  private readonly maxEventBytes: number
  private readonly terminalEvents: ReadonlySet<string> | undefined
  private state: number = state.leading
  /** Whether bytes of an event that is not closed have come in. */
  private open = false
  private flowing = false
  private tooLarge = false
  /** Whether the frame being read is the first, the only one that may begin with a byte order mark. */
  private first = true
  /** The open event's bytes so far: a slice of the chunk it began in, or a buffer of ours with room to grow. */
  private rest: Buffer = nothing
  private restLength = 0
  private restIsOurs = false
  /** The first bytes of an event that flows on unread. */
  private head: Buffer = nothing
  /** The next line ends in the text being read, so that none is searched for twice. */
  private nextLineFeed = -1
  private nextCarriageReturn = -1
  /** The name of the last event: streams repeat few names. */
  private lastName = ""

  constructor(options: SseDecoderOptions) {
    this.maxEventBytes = options.maxEventBytes
    this.terminalEvents = options.terminalEvents?.size ? options.terminalEvents : undefined
  }

  /** Whether any event was too large to be read, so that what it said, usage for one, is not known. */
  get overflowed(): boolean {
    return this.tooLarge
  }

  /** Whether parts of an unread event have gone through and its end has not. Nothing may be put between them. */
  get midEvent(): boolean {
    return this.flowing
  }

  /** Reads one chunk and appends the frames that it completes to `out`. Their bytes lie in `chunk`, which is kept. */
  push(chunk: Buffer, out: Array<Frame>): void {
    // A latin1 text has one character for each byte, and its indexOf costs a fraction of a Buffer's.
    const text = chunk.toString("latin1")
    const max = this.maxEventBytes
    let at = 0
    if (this.open) {
      at = this.resume(chunk, text, out)
      if (at === -1) return
    }
    let lf = -1
    let cr = -1
    while (at < text.length) {
      if (lf < at) lf = positionOf(text, "\n", at)
      if (cr < at) cr = positionOf(text, "\r", at)
      // What nearly every event of nearly every stream is: one `data:` line, with or without an `event:` line before it.
      let dataLine = at
      let end = lf
      if (isEvent(text, at) && text.charCodeAt(at + 5) === colon) {
        dataLine = lf + 1
        end = positionOf(text, "\n", dataLine)
      }
      if (
        text.charCodeAt(end + 1) === lineFeed &&
        isData(text, dataLine) &&
        text.charCodeAt(dataLine + 4) === colon &&
        cr >= end &&
        end + 2 - at <= max
      ) {
        const event = dataLine === at ? "" : this.name(chunk, text, valueAt(text, at + 6), lf)
        out.push(new Frame(chunk, at, end + 2, "event", event, valueAt(text, dataLine + 5), end, 1, false, false, text))
        this.first = false
        at = end + 2
        continue
      }
      this.nextLineFeed = lf
      this.nextCarriageReturn = cr
      const frame = this.read(chunk, text, at, false)
      if (frame === undefined) break
      lf = this.nextLineFeed
      cr = this.nextCarriageReturn
      this.close(frame, out)
      at = frame.end
    }
    if (at === text.length) return
    this.open = true
    this.state = state.leading
    this.boundary(text, at)
    this.hold(at === 0 ? chunk : chunk.subarray(at), out)
  }

  /**
   * The input has ended. A rest without its blank line becomes a frame with `unterminated` set, read as if it were
   * whole; a rest of nothing but blank lines is a comment. After a cut inside an unread event `midEvent` stays true.
   */
  end(out: Array<Frame>): void {
    if (!this.open) return
    if (this.state === state.closing) {
      this.finish(this.take(nothing), out)
      return
    }
    if (this.flowing) return
    const { source, length } = this.take(nothing)
    const closed = Buffer.concat([source.subarray(0, length), closingLines])
    const blank = this.state === state.leading
    const frame = blank ? undefined : this.readAll(closed, closed.length)
    out.push(
      frame === undefined
        ? new Frame(closed, 0, length, "comment", "", 0, 0, 0)
        : new Frame(
            closed,
            0,
            length,
            frame.kind,
            frame.event,
            frame.dataStart,
            frame.dataEnd,
            frame.lines,
            false,
            true
          )
    )
    this.reset()
  }

  /** Goes on with an event that began in an earlier chunk. Answers where it ended in this one, or -1. */
  private resume(chunk: Buffer, text: string, out: Array<Frame>): number {
    const end = this.boundary(text, 0)
    if (end === -1) {
      this.hold(chunk, out)
      return -1
    }
    this.finish(this.take(chunk.subarray(0, end)), out)
    return end
  }

  /** The open event is whole: reads it, or lets its end flow on. */
  private finish({ source, length }: { source: Buffer; length: number }, out: Array<Frame>): void {
    if (this.flowing) this.closeParts(source, 0, length, out)
    else {
      const frame = this.readAll(source, length)
      if (frame !== undefined) this.close(frame, out)
    }
    this.reset()
  }

  private reset(): void {
    this.open = false
    this.state = state.leading
  }

  private close(frame: Frame, out: Array<Frame>): void {
    if (frame.length > this.maxEventBytes) this.closeParts(frame.source, frame.start, frame.end, out)
    else out.push(frame)
    this.first = false
  }

  /** The last bytes of an event that is too large, its blank line apart if that ends the answer. */
  private closeParts(source: Buffer, start: number, end: number, out: Array<Frame>): void {
    this.tooLarge = true
    const terminal = this.terminalEvents
    if (terminal !== undefined) {
      this.addHead(source.subarray(start, end))
      const name = this.headName()
      if (terminal.has(name)) {
        const crlf = end - start > 1 && source[end - 1] === lineFeed && source[end - 2] === carriageReturn
        const blank = crlf ? end - 2 : end - 1
        if (blank > start) out.push(part(source, start, blank))
        out.push(new Frame(source, blank, end, "part", name, blank, blank, 0, true))
        start = end
      }
    }
    if (end > start) out.push(part(source, start, end))
    this.flowing = false
    this.first = false
    this.head = nothing
  }

  /** Keeps bytes of an open event, or lets them flow on once it is too large. */
  private hold(piece: Buffer, out: Array<Frame>): void {
    if (!this.flowing) {
      if (this.restLength + piece.length <= this.maxEventBytes) {
        this.keep(piece)
        return
      }
      this.flowing = true
      this.tooLarge = true
      if (this.restLength > 0) {
        const { source, length } = this.take(nothing)
        this.flow(source.subarray(0, length), out)
      }
    }
    if (this.state !== state.closing) this.flow(piece, out)
    else {
      // The CR is the blank line, or half of it, and not known to be terminal before the other half.
      if (piece.length > 1) this.flow(piece.subarray(0, -1), out)
      this.keep(piece.subarray(-1))
    }
  }

  private flow(piece: Buffer, out: Array<Frame>): void {
    if (this.terminalEvents !== undefined) this.addHead(piece)
    out.push(part(piece, 0, piece.length))
  }

  private addHead(piece: Buffer): void {
    const room = headBytes - this.head.length
    if (room > 0) this.head = Buffer.concat([this.head, piece.subarray(0, room)])
  }

  /** The value of the `event:` line among the lines that are whole in the head of a large event. */
  private headName(): string {
    const lines = Math.max(this.head.lastIndexOf(lineFeed), this.head.lastIndexOf(carriageReturn)) + 1
    const closed = Buffer.concat([this.head.subarray(0, lines), closingLines])
    return this.readAll(closed, closed.length)?.event ?? ""
  }

  /** Appends to the open event's bytes; the buffer doubles, so that many small chunks cost linear time. */
  private keep(piece: Buffer): void {
    if (this.restLength === 0) {
      this.rest = piece
      this.restLength = piece.length
      this.restIsOurs = false
      return
    }
    const length = this.restLength + piece.length
    if (!this.restIsOurs || length > this.rest.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(length, Math.min(2 * length, this.maxEventBytes)))
      this.rest.copy(grown, 0, 0, this.restLength)
      this.rest = grown
      this.restIsOurs = true
    }
    piece.copy(this.rest, this.restLength)
    this.restLength = length
  }

  /** The open event's bytes so far and `piece` behind them, in one buffer; nothing is kept any more. */
  private take(piece: Buffer): { source: Buffer; length: number } {
    let source = piece
    const length = this.restLength + piece.length
    if (piece.length === 0) source = this.rest
    else if (this.restLength > 0) {
      if (this.restIsOurs && length <= this.rest.length) source = this.rest
      else {
        source = Buffer.allocUnsafe(length)
        this.rest.copy(source, 0, 0, this.restLength)
      }
      piece.copy(source, this.restLength)
    }
    this.rest = nothing
    this.restLength = 0
    this.restIsOurs = false
    return { source, length }
  }

  /** Follows the open event to its end in `text`, from `from` on: the offset behind it, or -1 with `state` brought up. */
  private boundary(text: string, from: number): number {
    let at = from
    let lf = -1
    let cr = -1
    let now = this.state
    while (at < text.length) {
      if (now === state.line) {
        if (lf < at) lf = positionOf(text, "\n", at)
        if (cr < at) cr = positionOf(text, "\r", at)
        at = Math.min(lf, cr)
        if (at === text.length) break
      }
      const byte = text.charCodeAt(at++)
      if (now === state.closing) return byte === lineFeed ? at : at - 1
      if (byte === lineFeed) {
        if (now === state.lineFeed) return at
        if (now !== state.leading) now = state.lineFeed
      } else if (byte === carriageReturn) {
        if (now === state.carriageReturn) return at
        if (now !== state.leading) now = now === state.lineFeed ? state.closing : state.carriageReturn
      } else now = state.line
    }
    this.state = now
    return -1
  }

  private readAll(source: Buffer, length: number): Frame | undefined {
    this.nextLineFeed = -1
    this.nextCarriageReturn = -1
    return this.read(source, source.toString("latin1", 0, length), 0, true)
  }

  /**
   * Reads the event that begins at `start`; `undefined` where `text` ends before it does. With `isWhole` nothing comes
   * behind `text`, no LF to its last CR either.
   */
  private read(source: Buffer, text: string, start: number, isWhole: boolean): Frame | undefined {
    let event = ""
    let dataStart = start
    let dataEnd = start
    let lines = 0
    let at = start
    let bare = false
    let blankCloses = false
    if (this.first && text.startsWith(byteOrderMark, start)) at += byteOrderMark.length
    else while (isLineEnd(text.charCodeAt(at))) at++
    while (at < text.length) {
      const byte = text.charCodeAt(at)
      if (blankCloses && isLineEnd(byte)) {
        let end = at + 1
        if (byte === carriageReturn && !bare) {
          if (end === text.length) {
            if (!isWhole) return undefined
          } else if (text.charCodeAt(end) === lineFeed) end++
        }
        return new Frame(source, start, end, lines > 0 ? "event" : "comment", event, dataStart, dataEnd, lines)
      }
      const end = this.lineEnd(text, at)
      if (end === text.length) return undefined
      if (isData(text, at)) {
        const value = valueStart(text, at + 4, end)
        if (value !== -1) {
          if (lines === 0) dataStart = value
          dataEnd = end
          lines++
        }
      } else if (isEvent(text, at)) {
        const value = valueStart(text, at + 5, end)
        if (value !== -1) event = this.name(source, text, value, end)
      }
      blankCloses = true
      at = end + 1
      bare = text.charCodeAt(end) === carriageReturn
      if (bare && text.charCodeAt(at) === lineFeed) {
        bare = false
        at++
      }
    }
    return undefined
  }

  /** Offset of the next LF or CR from `at` on, or the length of `text`. */
  private lineEnd(text: string, at: number): number {
    if (this.nextLineFeed < at) this.nextLineFeed = positionOf(text, "\n", at)
    if (this.nextCarriageReturn < at) this.nextCarriageReturn = positionOf(text, "\r", at)
    return Math.min(this.nextLineFeed, this.nextCarriageReturn)
  }

  private name(source: Buffer, text: string, start: number, end: number): string {
    const last = this.lastName
    if (end - start === last.length && text.startsWith(last, start)) return last
    // Not a slice of the text: that would keep the whole text alive as long as the name.
    const name = source.toString("utf8", start, end)
    if (name.length === end - start) this.lastName = name
    return name
  }
}

const part = (source: Buffer, start: number, end: number): Frame =>
  new Frame(source, start, end, "part", "", start, start, 0)

const isData = (text: string, at: number): boolean =>
  text.charCodeAt(at) === 100 &&
  text.charCodeAt(at + 1) === 97 &&
  text.charCodeAt(at + 2) === 116 &&
  text.charCodeAt(at + 3) === 97

const isEvent = (text: string, at: number): boolean =>
  text.charCodeAt(at) === 101 &&
  text.charCodeAt(at + 1) === 118 &&
  text.charCodeAt(at + 2) === 101 &&
  text.charCodeAt(at + 3) === 110 &&
  text.charCodeAt(at + 4) === 116

const isLineEnd = (byte: number): boolean => byte === lineFeed || byte === carriageReturn

const positionOf = (text: string, what: string, from: number): number => {
  const found = text.indexOf(what, from)
  return found === -1 ? text.length : found
}

/** The offset behind the one space that may stand at `at`. */
const valueAt = (text: string, at: number): number => (text.charCodeAt(at) === space ? at + 1 : at)

/** Where the value of a field begins whose name ends at `at`; -1 where the name goes on. */
const valueStart = (text: string, at: number, end: number): number => {
  if (at === end) return end
  if (text.charCodeAt(at) !== colon) return -1
  return valueAt(text, at + 1)
}
