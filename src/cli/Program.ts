import { readFileSync } from "node:fs"
import { NodeHttpClient, NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Deferred, Effect, Layer, References, Runtime } from "effect"
import { banner } from "./Banner.ts"
import { run } from "./Cli.ts"
import { type DemoFailed, demo, placesToLook } from "./Demo.ts"
import type { SluiceConfig } from "../config/Config.ts"
import type { ConfigError } from "../config/ConfigError.ts"
import { listenerError } from "../config/Listener.ts"
import type { LoadedConfig } from "../config/Load.ts"
import { storeOf } from "../config/Store.ts"
import { type ListenError, serve } from "../http/Server.ts"
import { Recorder } from "../recorder/Recorder.ts"
import type { RecorderError } from "../recorder/RecorderError.ts"
import * as StandardErrorLogger from "../telemetry/StandardErrorLogger.ts"
import { httpExchange } from "../upstream/HttpExchange.ts"
import * as Sluice from "../Sluice.ts"

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string
}

/** Why a command may fail before it has begun. */
type Failure = ConfigError | DemoFailed | ListenError | RecorderError

const services = (loaded: LoadedConfig) =>
  Sluice.layerOf(loaded.config).pipe(Layer.provideMerge(Sluice.recorderOf(loaded.config)))

const serveCommand = Effect.fnUntraced(function* (loaded: LoadedConfig): Effect.fn.Return<void, Failure> {
  const unsafe = listenerError(loaded.config, loaded.file)
  if (unsafe !== null) return yield* unsafe
  const { host } = loaded.config.server
  yield* serve(Sluice.serviceRoutes, (port) => {
    listened = true
    return Console.log(banner({ host, port, loaded }))
  }).pipe(Effect.provide(services(loaded)))
})

/** What people type to run this program: from a checkout, or from the package. */
const command = import.meta.url.endsWith(".ts") ? "npm run sluice --" : "npx sluice"

/** Serves on any free port of this machine, with a simulated provider whatever the config has, and makes some calls. */
const demoCommand = Effect.fnUntraced(function* (loaded: LoadedConfig): Effect.fn.Return<void, Failure> {
  const simulated = Object.entries(loaded.config.providers).find(([, provider]) => provider.type === "simulated")
  const added = yield* Sluice.config({ providers: { sim: { type: "simulated" } } })
  const provider = simulated?.[0] ?? "sim"
  const config: SluiceConfig = {
    ...loaded.config,
    server: { ...loaded.config.server, host: "127.0.0.1", port: 0 },
    providers: simulated === undefined ? { ...loaded.config.providers, ...added.providers } : loaded.config.providers
  }
  const look = placesToLook(command, loaded)
  yield* Effect.gen(function* () {
    const port = yield* Deferred.make<number>()
    yield* Effect.raceFirst(
      serve(Sluice.serviceRoutes, (chosen) => Effect.asVoid(Deferred.succeed(port, chosen))),
      Effect.flatMap(Deferred.await(port), (chosen) =>
        demo({ url: `http://127.0.0.1:${chosen}`, provider, width: process.stdout.columns ?? 0, look })
      )
    )
  }).pipe(
    Effect.provide(services({ ...loaded, config })),
    // The log of the gateway's own would stand between the lines of the demonstration.
    Effect.provideService(References.MinimumLogLevel, "None"),
    Effect.provide(NodeHttpClient.layerUndici)
  )
})

/** What was recorded, for reading only: looking does nothing to a database, not even make one. */
const observerOf = (config: SluiceConfig): Layer.Layer<Recorder, RecorderError> => {
  const store = storeOf(config.recorder.url)
  return store?.kind === "sqlite" ? Recorder.layerSqliteObserver(store.path) : Sluice.recorderOf(config)
}

let listened = false

/** A gateway that was told to stop, and did, has done what it was asked. Any other command was broken off. */
const teardown: Runtime.Teardown = (exit, onExit) =>
  Runtime.defaultTeardown(exit, (code) => onExit(listened && code === 130 ? 0 : code))

/** Runs the command that the process was started with, and ends the process with its exit code. */
export const program = (): void =>
  run<Failure, never>(
    {
      env: process.env,
      serve: serveCommand,
      demo: demoCommand,
      recorder: observerOf,
      exchange: (config) => httpExchange({ connect: config.limits.connect }),
      tools: (config) => Sluice.layerOf(config).pipe(Layer.provide(Recorder.layerNone))
    },
    { version }
  )(process.argv.slice(2)).pipe(
    Effect.tapCause((cause) => (Cause.hasDies(cause) ? Effect.logFatal("sluice failed", cause) : Effect.void)),
    Effect.provide(Layer.mergeAll(NodeServices.layer, StandardErrorLogger.layer())),
    // What failed has been said by then, on standard error.
    NodeRuntime.runMain({ teardown, disableErrorReporting: true })
  )
