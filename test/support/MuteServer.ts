import { createServer, type AddressInfo, type Socket } from "node:net"
import { Effect, type Scope } from "effect"

/**
 * Starts a server on a free port of 127.0.0.1 that takes connections and never says a word: over TLS, connecting to it
 * never ends.
 *
 * @returns the port
 */
export const muteServer: Effect.Effect<number, never, Scope.Scope> = Effect.suspend(() => listening(() => {}))

/**
 * Starts a server on a free port of 127.0.0.1 that answers the first bytes of every connection with `said`, byte for
 * byte, and leaves the connection open.
 *
 * @param said one character for each byte
 * @returns the port
 */
export const talkingServer = (said: string): Effect.Effect<number, never, Scope.Scope> =>
  listening((socket) => socket.once("data", () => socket.write(said, "latin1")))

const listening = Effect.fnUntraced(function* (serve: (socket: Socket) => void) {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    serve(socket)
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
