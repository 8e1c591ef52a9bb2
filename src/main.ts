import { readFileSync } from "node:fs"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, Layer, Runtime } from "effect"
import { banner } from "./cli/Banner.ts"
import { run } from "./cli/Cli.ts"
import type { ConfigError } from "./config/ConfigError.ts"
import { listenerError } from "./config/Listener.ts"
import type { LoadedConfig } from "./config/Load.ts"
import { type ListenError, serve } from "./http/Server.ts"
import type { RecorderError } from "./recorder/RecorderError.ts"
import { httpExchange } from "./upstream/HttpExchange.ts"
import * as Sluice from "./Sluice.ts"

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }

/** Why a command may fail before it has begun. */
type Failure = ConfigError | ListenError | RecorderError

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

let listened = false

/** A gateway that was told to stop, and did, has done what it was asked. Any other command was broken off. */
const teardown: Runtime.Teardown = (exit, onExit) =>
  Runtime.defaultTeardown(exit, (code) => onExit(listened && code === 130 ? 0 : code))

run<Failure, never>(
  {
    env: process.env,
    serve: serveCommand,
    demo: serveCommand,
    recorder: Sluice.recorderOf,
    exchange: (config) => httpExchange({ connect: config.limits.connect })
  },
  { version }
)(process.argv.slice(2)).pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain({ teardown }))
