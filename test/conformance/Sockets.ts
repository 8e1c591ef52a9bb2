import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { NodeHttpServer } from "@effect/platform-node"
import { assert } from "@effect/vitest"
import { Effect, Layer, References } from "effect"
import { HttpRouter } from "effect/http"
import * as Routes from "../../src/http/Routes.ts"
import * as Sluice from "../../src/Sluice.ts"
import { RawClient } from "../support/RawClient.ts"
import { type RawTurn, UpstreamServer } from "../support/UpstreamServer.ts"
import type { DialectCase } from "./DialectCase.ts"
import { configOf, type EngineOptions } from "./Engine.ts"
import { Ledger } from "./Ledger.ts"

/** How long a test waits for what is to happen soon, in milliseconds. */
const patience = 5_000

/** Waits in real time until something holds; fails where it never does. */
export const eventually = (what: string, ready: () => boolean): Effect.Effect<void> =>
  Effect.gen(function* () {
    const until = performance.now() + patience
    while (!ready()) {
      if (performance.now() > until) assert.fail(`never: ${what}`)
      yield* Effect.sleep(2)
    }
  })

/** The gateway on a port of its own in this process, between a raw upstream and raw clients. Real time. */
export const sockets = Effect.fnUntraced(function* (
  dialect: DialectCase,
  turns: ReadonlyArray<RawTurn>,
  options: EngineOptions & { readonly baseUrl?: string } = {}
) {
  const upstream = yield* UpstreamServer.make(turns)
  const ledger = new Ledger()
  const server = createServer()
  const gateway = HttpRouter.serve(Routes.layer, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provide(
      NodeHttpServer.layer(() => server, { host: "127.0.0.1", port: 0, gracefulShutdownTimeout: "1 second" })
    ),
    Layer.provide(Sluice.layer(configOf(options, options.baseUrl ?? `${upstream.url}/v1`))),
    Layer.provide(options.recorder ?? ledger.layer),
    Layer.provide(Layer.succeed(References.MinimumLogLevel, "None"))
  )
  yield* Layer.build(gateway)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/up${dialect.path}`
  return {
    upstream,
    ledger,
    url,
    /** Sends a request and waits for the head. */
    call: (request: string) => RawClient.send({ url, body: request, headers: { "content-type": "application/json" } })
  }
})

/** A chunked or JSON answer of the raw upstream. */
export const rawTurn = (
  transport: "sse" | "json",
  steps: NonNullable<RawTurn["steps"]>,
  before: NonNullable<RawTurn["before"]> = []
): RawTurn => ({
  headers: { "content-type": transport === "sse" ? "text/event-stream" : "application/json" },
  before,
  steps
})
