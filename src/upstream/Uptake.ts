import type { Socket } from "node:net"

/**
 * Whether the other end of a socket takes what was written for it, by looking now and then. Any progress counts, for
 * one that is slow is none that is gone; where nothing waits to be taken there is nothing to wait for.
 */
export class Uptake {
  private readonly socket: Socket
  private written = 0
  private queued = -1
  private since: number

  constructor(socket: Socket, now: number) {
    this.socket = socket
    this.since = now
  }

  /** Looks; answers since when the other end is known to have taken nothing, or `now`. */
  look(now: number): number {
    const { socket } = this
    if (socket.writableLength === 0) {
      this.queued = -1
      this.since = now
      return now
    }
    const written = socket.bytesWritten - socket.writableLength
    const queued = queuedBytes(socket)
    if (written !== this.written || queued !== this.queued) {
      this.written = written
      this.queued = queued
      this.since = now
    }
    return this.since
  }
}

/**
 * How much of the write that is under way the operating system has not taken yet. Node counts a write as a whole, up to
 * megabytes; its own socket timeout looks here, too. Where that is not to be had, only whole writes are progress.
 */
const queuedBytes = (socket: Socket & { readonly _handle?: { readonly writeQueueSize?: number } | null }): number =>
  socket._handle?.writeQueueSize ?? 0
