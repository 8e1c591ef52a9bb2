import type { Socket } from "node:net"

/**
 * Whether the other end of a connection takes what was written for it, by looking now and then. Any progress counts, for
 * one that is slow is none that is gone.
 */
export class Uptake {
  private written = 0
  private queued = -1
  private since: number

  constructor(now: number) {
    this.since = now
  }

  /**
   * Looks; answers since when the other end is known to have taken nothing, or `now`.
   *
   * @param socket `null` while what is written waits behind something else, which is not the other end's to take
   * @param waiting how many bytes are written that it may take; where there are none there is nothing to wait for
   */
  look(now: number, socket: Socket | null, waiting: number): number {
    if (socket === null || waiting === 0) {
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
