import type { Socket } from "node:net"
import { Deferred, Effect } from "effect"
import type { WebSocket } from "ws"

/** How a WebSocket was closed, as this end saw it: 1005 where no code was said, 1006 where the connection just ended. */
export interface SeenClose {
  readonly code: number
  readonly reason: string
}

/** One end of a WebSocket in the hands of a test. */
export class WebSocketEnd {
  /** What came so far. */
  readonly messages: Array<Buffer> = []
  /** How many of them were binary. */
  binary = 0
  /** How many bytes the messages so far had. */
  bytes = 0
  /** How many pings came. */
  pings = 0
  readonly webSocket: WebSocket
  readonly socket: Socket
  private over = false
  private readonly gone = Deferred.makeUnsafe<SeenClose>()
  private readonly looks = new Set<() => void>()

  constructor(webSocket: WebSocket, socket: Socket, keep = true) {
    this.webSocket = webSocket
    this.socket = socket
    webSocket.on("message", (data: Buffer, binary) => {
      // What is only counted would fill the memory of the test otherwise.
      if (keep) this.messages.push(data)
      this.bytes += data.length
      if (binary) this.binary++
      for (const look of this.looks) look()
    })
    webSocket.on("ping", () => {
      this.pings++
      for (const look of this.looks) look()
    })
    webSocket.on("error", () => {})
    webSocket.on("close", (code, reason) => {
      this.over = true
      Deferred.doneUnsafe(this.gone, Effect.succeed({ code, reason: reason.toString() }))
      for (const look of this.looks) look()
    })
  }

  /** The messages so far, as text. */
  texts(): ReadonlyArray<string> {
    return this.messages.map((message) => message.toString())
  }

  /** The messages so far, as JSON. */
  json(): ReadonlyArray<unknown> {
    return this.texts().map((text) => JSON.parse(text))
  }

  /** Waits until something holds, which is looked at with everything that comes, or the connection is over. */
  until(holds: () => boolean): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const look = () => {
        if (!holds() && !this.over) return
        this.looks.delete(look)
        resume(Effect.void)
      }
      this.looks.add(look)
      look()
      return Effect.sync(() => this.looks.delete(look))
    })
  }

  /** Waits until so many messages have come, or the connection is over; answers all that came, as text. */
  received(count: number): Effect.Effect<ReadonlyArray<string>> {
    return Effect.map(
      this.until(() => this.messages.length >= count),
      () => this.texts()
    )
  }

  /** Sends text, bytes as text, or a value as JSON. */
  send(message: unknown): void {
    const data = typeof message === "string" || message instanceof Uint8Array ? message : JSON.stringify(message)
    this.webSocket.send(data, { binary: false })
  }

  sendBinary(data: Uint8Array): void {
    this.webSocket.send(data, { binary: true })
  }

  /** Writes bytes past the protocol. */
  sendRaw(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  /** Stops reading; what comes stays with the operating systems. */
  pause(): void {
    this.webSocket.pause()
  }

  resume(): void {
    this.webSocket.resume()
  }

  /** Sends a close frame; with no code, an empty one. */
  close(code?: number, reason?: string): void {
    this.webSocket.close(code, reason)
  }

  /** Breaks the connection off: with a FIN, or a RST. */
  drop(how: "fin" | "reset" = "fin"): void {
    if (how === "fin") this.socket.destroy()
    else this.socket.resetAndDestroy()
  }

  /** Waits for the end. */
  readonly closed: Effect.Effect<SeenClose> = Deferred.await(this.gone)
}
