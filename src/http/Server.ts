import { createServer, type Server } from "node:http"
import { Server as NetServer } from "node:net"
import { NodeHttpServer } from "@effect/platform-node"
import { Clock, Duration, Effect, type FileSystem, Layer, type Path, Schema } from "effect"
import { type Etag, type HttpPlatform, HttpRouter } from "effect/http"
import type { Actors } from "../access/Actors.ts"
import { Settings } from "../config/Settings.ts"
import { Interception } from "../interception/Interception.ts"
import type { Recorder } from "../recorder/Recorder.ts"
import type { Sessions } from "../sessions/Sessions.ts"
import type { Metrics } from "../telemetry/Metrics.ts"
import type { ToolCatalog } from "../tools/ToolCatalog.ts"
import type { IdleTimers, Upstream } from "../upstream/Upstream.ts"
import { Lifecycle } from "./Lifecycle.ts"
import { wantsWebSocket } from "./Requests.ts"
import { keepUpgrades } from "./Upgrade.ts"

/** The listener could not be started. */
export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  host: Schema.String,
  port: Schema.Number,
  cause: Schema.Defect()
}) {
  override get message() {
    const code = (this.cause as NodeJS.ErrnoException | undefined)?.code
    const place = `${this.host}:${this.port}`
    if (code === "EADDRINUSE") return `${place} is in use. Stop what listens there, or choose another port (--port).`
    if (code === "EACCES") return `this user may not listen on ${place}.`
    if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND") return `${this.host} is not an address of this machine.`
    return `could not listen on ${place}: ${String(this.cause)}`
  }
}

/** Idle client connections are kept longer than load balancers keep theirs, whose common limit is 60 seconds. */
const keepAliveTimeout = 75_000

/** Agents send long metadata headers. */
const maxHeaderSize = 65_536

/** How long connections may take to close once every call on them has ended, and calls once they were ended. */
const grace = Duration.seconds(2)

/** What the server itself gives to the routes. */
type FromServer = HttpRouter.HttpRouter | HttpPlatform.HttpPlatform | Etag.Generator | FileSystem.FileSystem | Path.Path

/** What the routes take from the gateway. */
type FromGateway =
  | Settings
  | Lifecycle
  | Interception
  | Upstream
  | Sessions
  | IdleTimers
  | Actors
  | Recorder
  | Metrics
  | ToolCatalog

/**
 * Serves routes on the address of the config until it is interrupted, then stops in order: no new calls, and none whose
 * request is still on its way; the others may finish within `limits.drain` unless a second signal hurries it, up to the
 * last byte that their clients take; what still runs is ended on both sides, and connections are closed.
 *
 * @param onListening told the port, which the operating system chose for port 0
 */
export const serve = Effect.fnUntraced(function* (
  routes: Layer.Layer<never, never, FromServer | FromGateway>,
  onListening: (port: number) => Effect.Effect<void>
): Effect.fn.Return<void, ListenError, FromGateway> {
  const config = yield* Settings
  const { host, port } = config.server
  const server = createServer({
    keepAliveTimeout,
    maxHeaderSize,
    headersTimeout: 60_000,
    // Any other protocol is an offer that may be ignored, as Java's client makes with every request.
    shouldUpgradeCallback: wantsWebSocket
  })
  keepUpgrades(server)
  const listener = HttpRouter.serve(routes, {
    disableLogger: true,
    disableListenLog: true,
    routerConfig: { maxParamLength: 4096 }
  }).pipe(Layer.provide(NodeHttpServer.layer(() => server, { host, port, disablePreemptiveShutdown: true })))
  return yield* Effect.scoped(
    Effect.gen(function* () {
      yield* Layer.build(listener).pipe(Effect.mapError(({ cause }) => new ListenError({ host, port, cause })))
      const address = server.address()
      yield* onListening(typeof address === "object" && address !== null ? address.port : port)
      return yield* Effect.never.pipe(Effect.onInterrupt(() => stop(server, config.limits.drain)))
    })
  )
})

const stop = Effect.fnUntraced(function* (server: Server, drain: Duration.Duration) {
  const lifecycle = yield* Lifecycle
  const interception = yield* Interception
  lifecycle.become("draining")
  // Nothing connects any more. The HTTP server's own `close` would also break connections off whose answers are written
  // to their ends but not yet taken: it holds them for idle.
  NetServer.prototype.close.call(server)
  const open = lifecycle.open()
  if (open > 0) {
    const running = open === 1 ? "1 call is running and may" : `${open} calls are running and may`
    const time = Duration.format(drain)
    yield* Effect.logInfo(`stopping: ${running} finish within ${time}; a second signal ends it all now`)
  }
  const idle = () => lifecycle.open() === 0
  const hurry = new Hurry()
  yield* until(() => idle() || hurry.asked, drain)
  hurry.ignore()
  lifecycle.become("closing")
  yield* interception.shutdown
  lifecycle.endAll()
  yield* until(idle, grace)
  let connections = 1
  yield* until(() => {
    server.closeIdleConnections()
    server.getConnections((_error, count) => {
      connections = count
    })
    return connections === 0
  }, grace)
  server.closeAllConnections()
  server.close()
})

/** How often it is looked whether everything has come to rest, in milliseconds. */
const look = 20

/**
 * Waits until something holds, for so long at most. It looks instead of racing: it runs where the service has been
 * interrupted already, and what loses a race there cannot be interrupted once more.
 */
const until = Effect.fnUntraced(function* (holds: () => boolean, limit: Duration.Duration) {
  const end = (yield* Clock.monotonicTimeNanos) + Duration.toNanosUnsafe(limit)
  while (!holds() && (yield* Clock.monotonicTimeNanos) < end) yield* Effect.sleep(look)
})

/**
 * Listens for another signal: whoever sends it does not want to wait. One that comes at once does not count, for npm
 * passes a Ctrl-C on to a child that has got it from the terminal already.
 */
class Hurry {
  asked = false
  private readonly since = process.uptime()
  private readonly note = () => {
    if (process.uptime() - this.since > 0.5) this.asked = true
  }

  constructor() {
    process.on("SIGINT", this.note).on("SIGTERM", this.note)
  }

  ignore(): void {
    process.off("SIGINT", this.note).off("SIGTERM", this.note)
  }
}
