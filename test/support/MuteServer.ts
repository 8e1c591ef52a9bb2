import { createServer, type AddressInfo, type Socket } from "node:net"
import { Effect, type Scope } from "effect"

/**
 * Starts a server on a free port of 127.0.0.1 that takes connections and never says a word: over TLS, connecting to it
 * never ends.
 *
 * @returns the port
 */
export const muteServer: Effect.Effect<number, never, Scope.Scope> = Effect.gen(function* () {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resume(Effect.void))
      })
  )
  return (server.address() as AddressInfo).port
})
