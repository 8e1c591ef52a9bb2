import { Effect } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { Interception } from "../interception/Interception.ts"
import { Recorder } from "../recorder/Recorder.ts"
import { Metrics } from "../telemetry/Metrics.ts"
import { contentType } from "../telemetry/Prometheus.ts"
import { ToolCatalog } from "../tools/ToolCatalog.ts"
import type { Admit } from "./Admission.ts"
import { guardedRead } from "./Guard.ts"
import { Lifecycle } from "./Lifecycle.ts"

/**
 * `/livez`: the process runs. `/readyz`: it takes calls and can record them; else 503, saying which check fails. How the
 * MCP servers are doing is shown beside: calls are taken without their tools. Why one fails is in the log and not here,
 * where everybody who reaches the listener may look.
 *
 * `/metrics`: counters and histograms in Prometheus text format. All answer GET and HEAD, behind the listener's rules.
 */
export const layer = (admit: Admit) =>
  HttpRouter.use(
    Effect.fnUntraced(function* (router) {
      const lifecycle = yield* Lifecycle
      const recorder = yield* Recorder
      const interception = yield* Interception
      const metrics = yield* Metrics
      const catalog = yield* ToolCatalog

      const live = Effect.succeed(HttpServerResponse.jsonUnsafe({ status: "ok" }))

      const ready = Effect.map(recorder.healthy, (healthy) => {
        const phase = lifecycle.phase()
        const checks = {
          lifecycle: phase === "serving" ? "ok" : `the service is ${phase}`,
          recorder: healthy ? "ok" : "the store did not take what it was given last"
        }
        const ok = phase === "serving" && healthy
        const servers = catalog.servers().map(({ name, status, tools }) => ({ name, status, tools }))
        const mcp = servers.length === 0 ? {} : { mcp: { servers } }
        return HttpServerResponse.jsonUnsafe(
          { status: ok ? "ok" : "unavailable", checks, ...mcp },
          { status: ok ? 200 : 503 }
        )
      })

      const scrape = Effect.gen(function* () {
        const statistics = yield* recorder.statistics
        const healthy = yield* recorder.healthy
        return HttpServerResponse.text(
          metrics.render({
            openInterceptions: interception.running(),
            recorder: statistics,
            recorderHealthy: healthy
          }),
          { contentType }
        )
      })

      yield* router.add("*", "/livez", guardedRead(admit, live))
      yield* router.add("*", "/readyz", guardedRead(admit, ready))
      yield* router.add("*", "/metrics", guardedRead(admit, scrape))
    })
  )
