/**
 * Reads one HTTP/1.1 answer from a socket's bytes: just enough of RFC 9112 for the load generator to be light, and
 * strict enough that a broken answer does not count.
 */

const headEnd = Buffer.from("\r\n\r\n")
const eventEnd = "\n\n"
/** How many of the body's last bytes are kept at least: more than any stream's last event has. */
const tailSize = 8192

export class Answer {
  status = 0
  /** Bytes of the body, without the chunk framing. */
  bytes = 0
  /** HTTP chunks the body came in; 0 for a body with a length. */
  chunks = 0
  /** Whether body bytes have come. */
  get begun(): boolean {
    return this.bytes > 0
  }
  done = false
  private held: Buffer | undefined
  private inBody = false
  private chunked = false
  /** Bytes that are still to come of the body, or of the current chunk. */
  private left = 0
  /** In a chunked body: the size line so far, while one is being read. */
  private line: string | undefined
  /** Bytes of a line end that are still to come. */
  private skip = 0
  private last = false
  /** The body's last pieces, as they came in. */
  private tail: Array<Buffer> = []
  private tailBytes = 0

  /** Takes in bytes; throws where they are not an HTTP answer. */
  push(input: Buffer): void {
    let bytes = input
    if (!this.inBody) {
      bytes = this.held === undefined ? input : Buffer.concat([this.held, input])
      const end = bytes.indexOf(headEnd)
      if (end < 0) {
        this.held = bytes
        return
      }
      this.held = undefined
      this.readHead(bytes.toString("latin1", 0, end))
      bytes = bytes.subarray(end + 4)
    }
    if (this.chunked) this.readChunks(bytes)
    else this.take(bytes, 0, bytes.length)
    if (!this.chunked && this.left === 0) this.done = true
  }

  /** Whether the body so far ends with a whole event that begins with `start`. */
  endsWithEvent(start: string): boolean {
    const tail = Buffer.concat(this.tail).toString("latin1")
    if (!tail.endsWith(eventEnd)) return false
    const before = tail.lastIndexOf(eventEnd, tail.length - eventEnd.length - 1)
    return tail.startsWith(start, before < 0 ? 0 : before + eventEnd.length)
  }

  private readHead(head: string): void {
    this.inBody = true
    this.status = Number(head.slice(9, 12))
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)
    this.chunked = /\r\ntransfer-encoding: *chunked/i.test(head)
    if (!this.chunked && length === null) throw new Error("the answer has neither a length nor chunks")
    this.left = length === null ? 0 : Number(length[1])
    this.line = this.chunked ? "" : undefined
  }

  private take(bytes: Buffer, start: number, end: number): void {
    const length = end - start
    if (length > this.left) throw new Error("more bytes than the answer's length")
    this.left -= length
    this.bytes += length
    this.tail.push(bytes.subarray(start, end))
    this.tailBytes += length
    while (this.tailBytes - this.tail[0]!.length >= tailSize) this.tailBytes -= this.tail.shift()!.length
  }

  private readChunks(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length) {
      if (this.done) throw new Error("bytes behind the answer's end")
      if (this.left > 0) {
        const end = Math.min(bytes.length, at + this.left)
        this.take(bytes, at, end)
        at = end
        if (this.left === 0) this.skip = 2
      } else if (this.skip > 0) {
        const step = Math.min(this.skip, bytes.length - at)
        this.skip -= step
        at += step
        this.done = this.last && this.skip === 0
      } else {
        const newline = bytes.indexOf(10, at)
        this.line += bytes.toString("latin1", at, newline < 0 ? bytes.length : newline)
        if (newline < 0) return
        at = newline + 1
        this.left = Number.parseInt(this.line!, 16)
        this.chunks++
        this.line = ""
        if (Number.isNaN(this.left)) throw new Error("not a chunk size")
        // Behind the last chunk only the blank line of an empty trailer is left.
        if (this.left === 0) {
          this.chunks--
          this.last = true
          this.skip = 2
        }
      }
    }
  }
}
