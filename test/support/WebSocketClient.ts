import type { IncomingMessage } from "node:http"
import { Effect, Scope } from "effect"
import { WebSocket } from "ws"
import { WebSocketEnd } from "./WebSocketEnd.ts"

/** A handshake that was answered with a status, or not at all (0). */
export class HandshakeRefused {
  readonly _tag = "HandshakeRefused"
  readonly status: number
  readonly headers: IncomingMessage["headers"]
  readonly text: string
  constructor(status: number, headers: IncomingMessage["headers"], text: string) {
    this.status = status
    this.headers = headers
    this.text = text
  }
}

/** A client's end, and the head of the answer to its handshake. */
export interface ClientSocket extends WebSocketEnd {
  readonly headers: IncomingMessage["headers"]
}

export interface ConnectOptions {
  readonly headers?: { readonly [name: string]: string }
  /** Whether it offers permessage-deflate, as Codex does. */
  readonly deflate?: boolean
  readonly protocols?: ReadonlyArray<string>
  /** Whether what comes is kept; it is unless this is false. */
  readonly keep?: boolean
}

/**
 * Connects to a WebSocket. Closing the scope breaks the connection off.
 *
 * @param url `http` or `ws`
 */
const connect = (
  url: string,
  options: ConnectOptions = {}
): Effect.Effect<ClientSocket, HandshakeRefused, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) =>
    Effect.callback<ClientSocket, HandshakeRefused>((resume) => {
      const webSocket = new WebSocket(url.replace(/^http/, "ws"), [...(options.protocols ?? [])], {
        headers: options.headers ?? {},
        perMessageDeflate: options.deflate ?? false,
        maxPayload: 2 ** 30
      })
      const terminate = Effect.sync(() => webSocket.terminate())
      let head: IncomingMessage
      webSocket.once("upgrade", (answer) => {
        head = answer
      })
      webSocket.once("open", () => {
        const end = new WebSocketEnd(webSocket, head.socket, options.keep)
        resume(Effect.as(Scope.addFinalizer(scope, terminate), Object.assign(end, { headers: head.headers })))
      })
      webSocket.once("unexpected-response", (_request, answer) => {
        let text = ""
        answer.setEncoding("utf8")
        answer.on("data", (chunk: string) => {
          text += chunk
        })
        answer.on("close", () => {
          resume(Effect.fail(new HandshakeRefused(answer.statusCode ?? 0, answer.headers, text)))
          webSocket.terminate()
        })
      })
      webSocket.on("error", (error) => resume(Effect.fail(new HandshakeRefused(0, {}, error.message))))
      return terminate
    })
  )

/** A WebSocket client that hides nothing. */
export const WebSocketClient = { connect }
