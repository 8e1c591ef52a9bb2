import type { TransportName } from "../../dialect/Dialect.ts"
import { Frame, whole } from "../../wire/Frame.ts"
import { SseDecoder } from "../../wire/SseDecoder.ts"
import { joinSmall } from "../../wire/JoinSmall.ts"
import type { Stage } from "./Stage.ts"

/** Bytes to frames, for one transport. */
export interface Decode extends Stage<Buffer, Frame> {
  /** Whether something was too large to be read: what it said is unknown then. */
  readonly overflowed: boolean
  /** Whether a frame that is too large to hold has begun to go through and is not at its end. */
  readonly midFrame: boolean
}

/**
 * The first stage: cuts what the upstream sends into frames.
 *
 * @param eventBytes the largest frame that is held and read; a larger one flows on in parts
 */
export const decode = (transport: TransportName, eventBytes: number, terminalEvents: ReadonlySet<string>): Decode =>
  transport === "sse"
    ? new DecodeSse(eventBytes, terminalEvents)
    : transport === "ws"
      ? new DecodeMessages()
      : new DecodeBody(eventBytes)

class DecodeSse implements Decode {
  private readonly decoder: SseDecoder

  constructor(eventBytes: number, terminalEvents: ReadonlySet<string>) {
    this.decoder = new SseDecoder({ maxEventBytes: eventBytes, terminalEvents })
  }

  get overflowed(): boolean {
    return this.decoder.overflowed
  }

  get midFrame(): boolean {
    return this.decoder.midEvent
  }

  push(chunks: ReadonlyArray<Buffer>, out: Array<Frame>): void {
    for (const piece of joinSmall(chunks)) this.decoder.push(piece, out)
  }

  end(out: Array<Frame>): void {
    this.decoder.end(out)
  }
}

/** The messages of a WebSocket: each chunk is one, whole as it came. */
class DecodeMessages implements Decode {
  readonly overflowed = false
  readonly midFrame = false

  push(chunks: ReadonlyArray<Buffer>, out: Array<Frame>): void {
    for (const chunk of chunks) out.push(whole("message", chunk))
  }

  end(): void {}
}

/** One JSON body as one frame. One that is too large goes through in parts, the last of them held to the end. */
class DecodeBody implements Decode {
  overflowed = false
  midFrame = false
  private readonly limit: number
  private held: Array<Buffer> = []
  private size = 0

  constructor(limit: number) {
    this.limit = limit
  }

  push(chunks: ReadonlyArray<Buffer>, out: Array<Frame>): void {
    for (const chunk of chunks) {
      this.held.push(chunk)
      this.size += chunk.length
    }
    if (!this.overflowed && this.size <= this.limit) return
    this.overflowed = true
    this.midFrame = true
    const last = this.held.pop()
    for (const chunk of this.held) out.push(part(chunk, false))
    this.held = last === undefined ? [] : [last]
  }

  end(out: Array<Frame>): void {
    const held = this.held
    this.held = []
    this.midFrame = false
    if (this.overflowed) for (const chunk of held) out.push(part(chunk, true))
    else out.push(whole("body", held.length === 1 ? held[0]! : Buffer.concat(held)))
  }
}

const part = (bytes: Buffer, terminal: boolean): Frame =>
  new Frame(bytes, 0, bytes.length, "part", "", 0, bytes.length, 1, terminal)
