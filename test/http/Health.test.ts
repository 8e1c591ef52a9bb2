import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpClient, HttpClientRequest, HttpRouter } from "effect/http"
import { admission } from "../../src/http/Admission.ts"
import * as Health from "../../src/http/Health.ts"
import { Lifecycle } from "../../src/http/Lifecycle.ts"
import { Interception } from "../../src/interception/Interception.ts"
import { Recorder } from "../../src/recorder/Recorder.ts"
import { Metrics } from "../../src/telemetry/Metrics.ts"
import { ToolCatalog } from "../../src/tools/ToolCatalog.ts"
import { ended } from "../telemetry/ended.ts"

const admit = admission({ host: "127.0.0.1", hosts: [], origins: ["https://tools.example"] })

const interceptions = Layer.succeed(Interception, {
  open: () => Effect.die("no call"),
  reject: () => Effect.die("no call"),
  shutdown: Effect.void,
  edited: ({ body }) => Effect.succeed(body),
  running: () => 7
})

const sick = Layer.effect(
  Recorder,
  Effect.map(Recorder, (recorder) => ({ ...recorder, healthy: Effect.succeed(false) }))
).pipe(Layer.provide(Recorder.layerNone))

const tools = Layer.effect(
  ToolCatalog,
  Effect.map(ToolCatalog, (catalog) => ({
    ...catalog,
    servers: () => [
      { name: "up", status: "connected" as const, tools: 3, error: null },
      { name: "down", status: "failed" as const, tools: 0, error: "connect ECONNREFUSED 10.0.0.1:80" }
    ]
  }))
).pipe(Layer.provide(ToolCatalog.layerNone))

const served = (
  recorder: Layer.Layer<Recorder> = Recorder.layerNone,
  catalog: Layer.Layer<ToolCatalog> = ToolCatalog.layerNone
) =>
  HttpRouter.serve(Health.layer(admit), { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(Layer.mergeAll(recorder, Lifecycle.layer, Metrics.layer(["openai"]), interceptions, catalog)),
    Layer.provideMerge(NodeHttpServer.layerTest)
  )

const get = (path: string) =>
  Effect.gen(function* () {
    const response = yield* HttpClient.get(path)
    return { status: response.status, headers: response.headers, text: yield* response.text }
  })

describe("the health routes", () => {
  it.effect("say that all is well while Sluice serves", () =>
    Effect.gen(function* () {
      for (const path of ["/livez", "/readyz"]) {
        const { status, headers, text } = yield* get(path)
        assert.strictEqual(status, 200)
        assert.strictEqual(headers["cache-control"], "no-store")
        assert.strictEqual(JSON.parse(text).status, "ok")
      }
    }).pipe(Effect.provide(served()))
  )

  it.effect.each(["draining", "closing"] as const)("take readiness away while it is %s, not life", (phase) =>
    Effect.gen(function* () {
      const lifecycle = yield* Lifecycle
      lifecycle.become(phase)
      const { status, text } = yield* get("/readyz")
      assert.strictEqual(status, 503)
      assert.deepStrictEqual(JSON.parse(text), {
        status: "unavailable",
        checks: { lifecycle: `the service is ${phase}`, recorder: "ok" }
      })
      assert.strictEqual((yield* get("/livez")).status, 200)
    }).pipe(Effect.provide(served()))
  )

  it.effect("take readiness away while nothing can be recorded", () =>
    Effect.gen(function* () {
      const { status, text } = yield* get("/readyz")
      assert.strictEqual(status, 503)
      assert.strictEqual(JSON.parse(text).checks.lifecycle, "ok")
      assert.match(JSON.parse(text).checks.recorder, /store/)
      assert.strictEqual((yield* get("/livez")).status, 200)
      assert.match((yield* get("/metrics")).text, /^sluice_recorder_healthy 0$/m)
    }).pipe(Effect.provide(served(sick)))
  )

  it.effect("show how MCP servers are doing, without which calls are taken all the same", () =>
    Effect.gen(function* () {
      const { status, text } = yield* get("/readyz")
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(JSON.parse(text), {
        status: "ok",
        checks: { lifecycle: "ok", recorder: "ok" },
        mcp: {
          servers: [
            { name: "up", status: "connected", tools: 3 },
            { name: "down", status: "failed", tools: 0 }
          ]
        }
      })
    }).pipe(Effect.provide(served(Recorder.layerNone, tools)))
  )

  it.effect("show metrics as Prometheus reads them", () =>
    Effect.gen(function* () {
      yield* Metrics.useSync((metrics) => metrics.observe(ended({})))
      const { status, headers, text } = yield* get("/metrics")
      assert.strictEqual(status, 200)
      assert.strictEqual(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
      assert.match(text, /^sluice_open_interceptions 7$/m)
      assert.match(text, /^sluice_interceptions_total\{.*provider="openai",status="completed"\} 1$/m)
    }).pipe(Effect.provide(served()))
  )

  it.effect("answer HEAD without a body, and nothing but HEAD and GET", () =>
    Effect.gen(function* () {
      const lifecycle = yield* Lifecycle
      for (const path of ["/livez", "/readyz", "/metrics"]) {
        const head = yield* HttpClient.head(path)
        assert.strictEqual(head.status, 200, path)
        assert.strictEqual(yield* head.text, "")
        const post = yield* HttpClient.post(path)
        assert.strictEqual(post.status, 405)
        assert.strictEqual(post.headers["allow"], "GET, HEAD")
      }
      lifecycle.become("draining")
      assert.strictEqual((yield* HttpClient.head("/readyz")).status, 503)
    }).pipe(Effect.provide(served()))
  )

  it.effect("stand behind the listener's rules", () =>
    Effect.gen(function* () {
      for (const path of ["/livez", "/readyz", "/metrics"]) {
        const foreign = yield* HttpClient.execute(
          HttpClientRequest.get(path, { headers: { origin: "https://evil.example" } })
        )
        assert.strictEqual(foreign.status, 403)
        const listed = yield* HttpClient.execute(
          HttpClientRequest.get(path, { headers: { origin: "https://tools.example" } })
        )
        assert.strictEqual(listed.status, 200)
        assert.strictEqual(listed.headers["access-control-allow-origin"], "https://tools.example")
      }
    }).pipe(Effect.provide(served()))
  )
})
