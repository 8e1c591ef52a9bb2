/**
 * A frame is the unit a transport carries: one SSE event, one WebSocket text message, or one whole JSON body.
 *
 * It is its raw bytes plus a parse on demand: what nobody looks into is neither decoded, nor copied, nor parsed.
 * Frames cut from one network chunk share that chunk's buffer, so that neighbours which nobody touched go out again
 * as one slice of it.
 */

/** What a frame is made of. `part` is a piece of an event too large to hold: it is passed on and never read. */
export type FrameKind = "event" | "comment" | "part" | "message" | "body"

/** The bytes of one frame, and where its data stands in them. */
export class Frame {
  /** The buffer the frame lies in: often a whole network chunk, shared with its neighbours. */
  readonly source: Buffer
  /** Offset of the frame's first byte in `source`. */
  readonly start: number
  /** Offset behind the frame's last byte in `source`, its closing blank line included. */
  readonly end: number
  readonly kind: FrameKind
  /** The value of the `event:` line; empty where there is none. */
  readonly event: string
  /**
   * Where the data stands in `source`: the value of the `data:` line without the space before it, or the whole message
   * or body. With several `data:` lines it runs from the first to the last and `lines` is more than one.
   */
  readonly dataStart: number
  readonly dataEnd: number
  /** How many `data:` lines the event has. */
  readonly lines: number
  /** Whether the client may not see this frame before the records of its turn are committed (law 3). */
  readonly terminal: boolean
  /** Whether the upstream ended before the blank line that closes an event. */
  readonly unterminated: boolean
  /** `source` as latin1, one character a byte, where whoever cut the frame had it at hand. */
  readonly text: string | null
  private parsed: unknown = undefined
  private decoded: string | undefined = undefined

  constructor(
    source: Buffer,
    start: number,
    end: number,
    kind: FrameKind,
    event: string,
    dataStart: number,
    dataEnd: number,
    lines: number,
    terminal = false,
    unterminated = false,
    text: string | null = null
  ) {
    this.source = source
    this.start = start
    this.end = end
    this.kind = kind
    this.event = event
    this.dataStart = dataStart
    this.dataEnd = dataEnd
    this.lines = lines
    this.terminal = terminal
    this.unterminated = unterminated
    this.text = text
  }

  /** The frame as it stands on the wire. */
  get bytes(): Buffer {
    return this.source.subarray(this.start, this.end)
  }

  get length(): number {
    return this.end - this.start
  }

  /** The data as text: for several `data:` lines, joined by newlines as the SSE specification says. */
  get data(): string {
    if (this.decoded === undefined) {
      const text = this.source.toString("utf8", this.dataStart, this.dataEnd)
      this.decoded = this.lines > 1 ? joinDataLines(text) : text
    }
    return this.decoded
  }

  /** The data as JSON, parsed once; `undefined` where it is not JSON. */
  get json(): unknown {
    if (this.parsed === undefined) {
      try {
        // `fetch` takes a byte order mark off a body; in an event or a message it is no JSON to anybody.
        this.parsed = JSON.parse(this.kind === "body" ? withoutMark(this.data) : this.data)
      } catch {
        return undefined
      }
    }
    return this.parsed
  }

  /** What `json` answered if somebody has asked already, else `undefined`. Never parses. */
  get peek(): unknown {
    return this.parsed
  }

  /** The same bytes, marked as those which end the answer. */
  asTerminal(): Frame {
    if (this.terminal) return this
    const frame = new Frame(
      this.source,
      this.start,
      this.end,
      this.kind,
      this.event,
      this.dataStart,
      this.dataEnd,
      this.lines,
      true,
      this.unterminated
    )
    frame.parsed = this.parsed
    frame.decoded = this.decoded
    return frame
  }

  /**
   * The frame with the bytes from `start` to `end` of `source`, which lie within its data, replaced by `raw`. `raw` has
   * no new line unless it brings the `data:` that goes with it, and `lines` says how many there are then.
   */
  splice(start: number, end: number, raw: Buffer, lines = this.lines): Frame {
    const change = raw.length - (end - start)
    const source = Buffer.allocUnsafe(this.end - this.start + change)
    this.source.copy(source, 0, this.start, start)
    raw.copy(source, start - this.start)
    this.source.copy(source, end - this.start + change, end, this.end)
    return new Frame(
      source,
      0,
      source.length,
      this.kind,
      this.event,
      this.dataStart - this.start,
      this.dataEnd - this.start + change,
      lines,
      this.terminal,
      this.unterminated
    )
  }

  /** The data's bytes; for several `data:` lines, joined by newlines. */
  get dataBytes(): Buffer {
    if (this.lines <= 1) return this.source.subarray(this.dataStart, this.dataEnd)
    // Latin-1 maps bytes to characters and back one to one.
    return Buffer.from(joinDataLines(this.source.toString("latin1", this.dataStart, this.dataEnd)), "latin1")
  }

  /** The frame with the bytes from `start` to `end` of its `dataBytes`, which lie within one line, replaced by `raw`. */
  spliceData(start: number, end: number, raw: Buffer): Frame {
    return this.splice(this.sourceOffset(start), this.sourceOffset(end), raw)
  }

  /** Where a byte of `dataBytes` stands in `source`. */
  private sourceOffset(offset: number): number {
    if (this.lines <= 1) return this.dataStart + offset
    const text = this.source.toString("latin1", this.dataStart, this.dataEnd)
    let left = offset
    let at = 0
    for (const line of dataLines(text)) {
      at = line.start
      if (left <= line.end - line.start) break
      left -= line.end - line.start + 1
    }
    return this.dataStart + at + left
  }

  /** The frame with other data, every other byte of it as it was. */
  withData(data: Buffer): Frame {
    const start = this.dataStart
    if (this.kind !== "event") return this.splice(start, this.dataEnd, data)
    // The specification lets a line be `data` without a colon.
    const colon = this.source[start - 1] === 0x61 ? 2 : 0
    if (colon === 0 && this.lines <= 1 && !data.includes(10)) return this.splice(start, this.dataEnd, data)
    const lines = data.toString("latin1").split("\n")
    const raw = Buffer.from(`${colon === 0 ? "" : ": "}${lines.join("\ndata: ")}`, "latin1")
    const frame = this.splice(start, this.dataEnd, raw, lines.length)
    if (colon === 0) return frame
    return new Frame(
      frame.source,
      0,
      frame.end,
      this.kind,
      this.event,
      frame.dataStart + colon,
      frame.dataEnd,
      lines.length,
      this.terminal,
      this.unterminated
    )
  }
}

/** A text without the byte order mark that may stand before JSON (RFC 8259, section 8.1). */
export const withoutMark = (text: string): string => (text.charCodeAt(0) === 0xfeff ? text.slice(1) : text)

/** Where the values of the `data:` lines stand in a text that begins with the value of the first. */
const dataLines = (text: string): ReadonlyArray<{ readonly start: number; readonly end: number }> => {
  const found: Array<{ start: number; end: number }> = []
  let start = 0
  for (const { 0: end, index } of [...text.matchAll(/\r\n|\r|\n/g), { 0: "", index: text.length }]) {
    if (start === 0) found.push({ start, end: index })
    else if (text.startsWith("data:", start))
      found.push({ start: start + (text[start + 5] === " " ? 6 : 5), end: index })
    else if (text.slice(start, index) === "data") found.push({ start: index, end: index })
    start = index + end.length
  }
  return found
}

/** The lines between the first `data:` and the last, as they stand, to the text they mean. */
const joinDataLines = (text: string): string =>
  dataLines(text)
    .map(({ start, end }) => text.slice(start, end))
    .join("\n")

/** A frame whose bytes are all data: a JSON body or a WebSocket text message. */
export const whole = (kind: "message" | "body", bytes: Buffer): Frame =>
  new Frame(bytes, 0, bytes.length, kind, "", 0, bytes.length, 1, kind === "body")

/** An SSE event of ours. `event` is left out where it is empty. */
export const sse = (event: string, data: string, terminal = false): Frame => {
  const head = event === "" ? "data: " : `event: ${event}\ndata: `
  const source = Buffer.from(`${head}${data}\n\n`)
  const dataStart = Buffer.byteLength(head)
  return new Frame(source, 0, source.length, "event", event, dataStart, source.length - 2, 1, terminal)
}

/** An SSE comment of ours, which clients pass over. */
export const comment = (text: string): Frame => {
  const source = Buffer.from(`: ${text}\n\n`)
  return new Frame(source, 0, source.length, "comment", "", 0, 0, 0)
}
