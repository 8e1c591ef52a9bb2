import { createServer, type Socket } from "node:net"
import { Effect, type Scope } from "effect"
import { listen } from "./LocalServer.ts"

const serving = (serve: (socket: Socket) => void): Effect.Effect<number, never, Scope.Scope> =>
  Effect.suspend(() => Effect.map(listen(createServer(serve)), ({ port }) => port))

/**
 * Starts a server on a free port of 127.0.0.1 that takes connections and never says a word: over TLS, connecting to it
 * never ends.
 *
 * @returns the port
 */
export const muteServer: Effect.Effect<number, never, Scope.Scope> = serving(() => {})

/**
 * Starts a server on a free port of 127.0.0.1 that answers the first bytes of every connection with `said`, byte for
 * byte, and leaves the connection open.
 *
 * @param said one character for each byte
 * @returns the port
 */
export const talkingServer = (said: string): Effect.Effect<number, never, Scope.Scope> =>
  serving((socket) => socket.once("data", () => socket.write(said, "latin1")))
