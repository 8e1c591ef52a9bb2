import { Effect, Layer } from "effect"
import { Actors } from "./access/Actors.ts"
import type { SluiceConfig, SluiceConfigInput } from "./config/Config.ts"
import type { ConfigError } from "./config/ConfigError.ts"
import { make as makeConfig } from "./config/Load.ts"
import { isLoopback } from "./config/Listener.ts"
import { Settings } from "./config/Settings.ts"
import { storeOf } from "./config/Store.ts"
import { adminRule, admission, type ListenerKind } from "./http/Admission.ts"
import * as ApiRoutes from "./http/ApiRoutes.ts"
import * as Health from "./http/Health.ts"
import { Lifecycle } from "./http/Lifecycle.ts"
import * as Routes from "./http/Routes.ts"
import { Interception } from "./interception/Interception.ts"
import { Recorder } from "./recorder/Recorder.ts"
import type { RecorderError } from "./recorder/RecorderError.ts"
import type { Sessions } from "./sessions/Sessions.ts"
import * as SessionsLayer from "./sessions/Layer.ts"
import type { Metrics } from "./telemetry/Metrics.ts"
import * as Telemetry from "./telemetry/Telemetry.ts"
import { IdleTimers } from "./upstream/IdleTimers.ts"
import * as McpServers from "./tools/McpServers.ts"
import { ToolCatalog } from "./tools/ToolCatalog.ts"
import * as Providers from "./upstream/Providers.ts"
import type { Upstream } from "./upstream/Upstream.ts"

/** Every service of the gateway. */
export type Services =
  | Settings
  | Lifecycle
  | Interception
  | ToolCatalog
  | Upstream
  | Sessions
  | IdleTimers
  | Actors
  | Metrics

/**
 * The gateway without an HTTP server: every service but the recorder, which the host chooses.
 *
 * @param input a config as in `sluice.yaml`; what is left out has the same defaults
 *
 * @example
 * ```ts
 * const gateway = layer({ providers: { openai: Provider.openai({ apiKey }) } })
 * const app = HttpRouter.serve(Layer.mergeAll(routes, myRoutes)).pipe(
 *   Layer.provide(gateway),
 *   Layer.provide(Recorder.layerSqlite({ filename: "./calls.db" }))
 * )
 * ```
 */
export const layer = (input: SluiceConfigInput = {}): Layer.Layer<Services, ConfigError, Recorder> =>
  Layer.unwrap(Effect.map(makeConfig(input), layerOf))

/** The tools of the config's MCP servers, or a catalogue of the host's own. */
const toolsOf = (config: SluiceConfig): Layer.Layer<ToolCatalog> =>
  Layer.unwrap(
    Effect.map(Effect.serviceOption(ToolCatalog), (own) =>
      own._tag === "Some" ? Layer.succeed(ToolCatalog, own.value) : McpServers.layer(config)
    )
  )

/** A config from code, with what is left out filled in. */
export const config = makeConfig

/** The same for a config that was read already. */
export const layerOf = (config: SluiceConfig): Layer.Layer<Services, never, Recorder> =>
  Interception.layer(config).pipe(
    Layer.provideMerge(toolsOf(config)),
    Layer.provideMerge(Providers.layer(config)),
    Layer.provideMerge(Layer.unwrap(Effect.map(Recorder, (recorder) => SessionsLayer.layer(recorder, config.tools)))),
    Layer.provideMerge(
      Layer.mergeAll(
        IdleTimers.layer,
        Lifecycle.layer,
        Actors.layer,
        Telemetry.layer(Object.keys(config.providers)),
        Layer.succeed(Settings, config)
      )
    )
  )

/** The routes, with the management API open without a token where only this machine reaches the listener. */
const routesFor = (listener: (config: SluiceConfig) => ListenerKind) =>
  Layer.unwrap(
    Effect.map(Settings, (config) => {
      const admit = admission(config.server)
      const admitAdmin = adminRule({ token: config.server.admin_token, listener: listener(config) })
      return Layer.mergeAll(Routes.layer, Health.layer(admit), ApiRoutes.layer({ admit, admitAdmin }))
    })
  )

/**
 * The routes for an `HttpRouter` of a host, on Node's HTTP server: calls below each provider's name and below `/v1`,
 * `/livez`, `/readyz` and `/metrics`, and the management API below `/api`, which needs `server.admin_token`. Names that
 * clients address the host by have to stand in `server.hosts`.
 */
export const routes = routesFor(() => "host")

/** The routes of the service of its own, with a 404 that says what there is. */
export const serviceRoutes = Layer.mergeAll(
  routesFor((config) => (isLoopback(config.server.host) ? "loopback" : "network")),
  Routes.notFound
)

/** The recorder that a config names in `recorder.url`. */
export const recorderOf = (config: SluiceConfig): Layer.Layer<Recorder, RecorderError> => {
  const store = storeOf(config.recorder.url)
  if (store === undefined || store.kind === "memory") return Recorder.layerMemory
  if (store.kind === "none") return Recorder.layerNone
  return Recorder.layerSqlite({
    filename: store.path,
    spool: config.recorder.spool,
    commitTimeout: config.recorder.commit_timeout,
    onFailure: config.recorder.on_failure,
    sync: config.recorder.sync,
    content: config.recorder.content
  })
}
