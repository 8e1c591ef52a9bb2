import type { AddressInfo, Server, Socket } from "node:net"
import { Effect, type Scope } from "effect"

/** A server of a test's own, on a free port of 127.0.0.1. */
export interface LocalServer {
  readonly port: number
  /** `http://127.0.0.1:port`, without a slash behind it. */
  readonly url: string
  /** The connections that are open now. */
  readonly sockets: ReadonlySet<Socket>
  /** Breaks every connection off and stops the server, as closing the scope does. */
  readonly close: Effect.Effect<void>
}

/** Has a server listen on a free port of 127.0.0.1 until the scope closes. Real time and real sockets. */
export const listen = Effect.fnUntraced(function* (server: Server): Effect.fn.Return<LocalServer, never, Scope.Scope> {
  const sockets = new Set<Socket>()
  server.on("connection", (socket: Socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
  })
  const close = Effect.callback<void>((resume) => {
    for (const socket of sockets) socket.destroy()
    if (!server.listening) return resume(Effect.void)
    server.close(() => resume(Effect.void))
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () => close
  )
  const { port } = server.address() as AddressInfo
  return { port, url: `http://127.0.0.1:${port}`, sockets, close }
})
