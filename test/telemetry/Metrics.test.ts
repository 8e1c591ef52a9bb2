import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Ended } from "../../src/interception/Observer.ts"
import { Metrics, type Readings } from "../../src/telemetry/Metrics.ts"
import { ended } from "./ended.ts"

const readings: Readings = {
  openInterceptions: 3,
  recorderHealthy: true,
  recorder: {
    committedBatches: 11,
    spooledBatches: 2,
    replayedBatches: 1,
    lostBatches: 4,
    refusedOpens: 5,
    queued: 6,
    lastCommitMs: 7,
    lag: { bounds: [0.001, 0.01], counts: [2, 3, 1], sum: 0.5, count: 6 }
  }
}

/** The samples, by name and labels, after these interceptions. */
const samples = (all: ReadonlyArray<Ended>, now: Readings = readings) =>
  Effect.gen(function* () {
    const metrics = yield* Metrics
    for (const one of all) metrics.observe(one)
    const text = metrics.render(now)
    const found = new Map<string, number>()
    for (const line of text.split("\n")) {
      if (line === "" || line.startsWith("#")) continue
      const space = line.lastIndexOf(" ")
      assert.isFalse(found.has(line.slice(0, space)), line)
      found.set(line.slice(0, space), Number(line.slice(space + 1)))
    }
    return { text, found }
  }).pipe(Effect.provide(Metrics.layer(["openai", 'od"d\\name'])))

describe("the metrics", () => {
  it.effect("count interceptions by dialect, transport, provider and status", () =>
    Effect.gen(function* () {
      const { found } = yield* samples([
        ended({}),
        ended({}),
        ended({ close: { status: "failed", error: { code: "upstream_cut", message: "secret text" } } })
      ])
      const labels = 'dialect="openai-chat",transport="sse",provider="openai"'
      assert.strictEqual(found.get(`sluice_interceptions_total{${labels},status="completed"}`), 2)
      assert.strictEqual(found.get(`sluice_interceptions_total{${labels},status="failed"}`), 1)
      assert.strictEqual(found.get('sluice_errors_total{provider="openai",code="upstream_cut"}'), 1)
    })
  )

  it.effect("count tokens by kind, where they are known", () =>
    Effect.gen(function* () {
      const unknown = { input: null, output: null, cacheRead: null, cacheWrite: null, reasoning: null }
      const { found } = yield* samples([
        ended({ turns: [{}, { attempts: 3 }], usage: [{}, { input: 1, reasoning: null }] }),
        ended({ usage: [unknown] })
      ])
      const tokens = (kind: string) => found.get(`sluice_tokens_total{provider="openai",kind="${kind}"}`)
      assert.deepStrictEqual(
        ["input", "output", "cache_read", "cache_write", "reasoning"].map(tokens),
        [11, 40, 60, 0, 5]
      )
      assert.strictEqual(found.get('sluice_turns_total{provider="openai"}'), 3)
      assert.strictEqual(found.get('sluice_turn_attempts_total{provider="openai"}'), 5)
    })
  )

  it.effect("have cumulated histograms with inclusive bounds in seconds", () =>
    Effect.gen(function* () {
      const { found } = yield* samples([
        ended({ close: { endedAt: 1_700_000_000_000 + 2500 }, turns: [{ timeToFirstFrameMs: 100 }] }),
        ended({ close: { endedAt: 1_700_000_000_000 + 2501 }, turns: [{ timeToFirstFrameMs: null }] }),
        ended({ close: { endedAt: 1_700_000_000_000 + 900_000 }, turns: [{ timeToFirstFrameMs: -5 }] })
      ])
      const bucket = (le: string) =>
        found.get(`sluice_interception_duration_seconds_bucket{provider="openai",le="${le}"}`)
      assert.deepStrictEqual(["1", "2.5", "5", "600", "+Inf"].map(bucket), [0, 1, 2, 2, 3])
      assert.strictEqual(found.get('sluice_interception_duration_seconds_count{provider="openai"}'), 3)
      assert.strictEqual(found.get('sluice_interception_duration_seconds_sum{provider="openai"}'), 905.001)
      const first = (le: string) => found.get(`sluice_time_to_first_frame_seconds_bucket{provider="openai",le="${le}"}`)
      assert.deepStrictEqual(["0.05", "0.1", "+Inf"].map(first), [1, 2, 2])
    })
  )

  it.effect("take nothing a client chose for a label", () =>
    Effect.gen(function* () {
      const client = { requestedModel: "CANARY-model", actor: "CANARY-actor", userAgent: "CANARY-agent" }
      const rejected = { status: "rejected", error: { code: "bad_request", message: "CANARY-message" } } as const
      const { text, found } = yield* samples([
        ended({ row: client }),
        ended({ row: { ...client, provider: "CANARY-provider" }, close: rejected, turns: [], usage: [] }),
        ended({
          row: { ...client, provider: null, dialect: null, transport: null },
          close: { ...rejected, servedModel: "CANARY-served", transport: null },
          turns: [],
          usage: []
        })
      ])
      assert.notInclude(text, "CANARY")
      assert.strictEqual(
        found.get('sluice_interceptions_total{dialect="none",transport="none",provider="none",status="rejected"}'),
        1
      )
      assert.strictEqual(found.get('sluice_errors_total{provider="other",code="bad_request"}'), 1)
      assert.strictEqual(found.get('sluice_interception_duration_seconds_count{provider="none"}'), 0)
    })
  )

  it.effect("escape the names of providers", () =>
    Effect.gen(function* () {
      const { found } = yield* samples([ended({ row: { provider: 'od"d\\name' } })])
      assert.strictEqual(found.get('sluice_turns_total{provider="od\\"d\\\\name"}'), 1)
    })
  )

  it.effect("show the recorder, what is open, and the process", () =>
    Effect.gen(function* () {
      const { found, text } = yield* samples([])
      assert.strictEqual(found.get("sluice_open_interceptions"), 3)
      assert.strictEqual(found.get("sluice_recorder_healthy"), 1)
      assert.strictEqual(found.get("sluice_recorder_committed_batches_total"), 11)
      assert.strictEqual(found.get("sluice_recorder_spooled_batches_total"), 2)
      assert.strictEqual(found.get("sluice_recorder_replayed_batches_total"), 1)
      assert.strictEqual(found.get("sluice_recorder_lost_batches_total"), 4)
      assert.strictEqual(found.get("sluice_recorder_refused_opens_total"), 5)
      assert.strictEqual(found.get("sluice_recorder_queued_batches"), 6)
      assert.strictEqual(found.get("sluice_recorder_last_commit_seconds"), 0.007)
      assert.strictEqual(found.get('sluice_recorder_lag_seconds_bucket{le="0.001"}'), 2)
      assert.strictEqual(found.get('sluice_recorder_lag_seconds_bucket{le="0.01"}'), 5)
      assert.strictEqual(found.get('sluice_recorder_lag_seconds_bucket{le="+Inf"}'), 6)
      assert.strictEqual(found.get("sluice_recorder_lag_seconds_sum"), 0.5)
      for (const name of [
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
        "nodejs_eventloop_active_seconds_total"
      ]) {
        assert.isAbove(found.get(name) ?? 0, 0, name)
      }
      assert.isAtLeast(found.get("nodejs_active_resources") ?? -1, 0)
      assert.isTrue(text.endsWith("\n"))
    })
  )

  it.effect("are text in which every family has its help and type, once, and every line is well formed", () =>
    Effect.gen(function* () {
      const { text } = yield* samples([ended({}), ended({ row: { provider: 'od"d\\name' } })])
      const typed = new Map<string, string>()
      for (const line of text.trimEnd().split("\n")) {
        const type = /^# TYPE (\w+) (counter|gauge|histogram)$/.exec(line)
        if (type !== null) {
          assert.isFalse(typed.has(type[1]!), line)
          typed.set(type[1]!, type[2]!)
        } else if (!line.startsWith("# HELP ")) {
          const sample = /^(\w+)(?:\{(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)+\})? -?\d+(?:\.\d+)?(?:e[+-]\d+)?$/.exec(line)
          assert.isNotNull(sample, line)
          const name = sample![1]!
          assert.isTrue(typed.has(name) || typed.has(name.replace(/_(bucket|sum|count)$/, "")), line)
        }
      }
    })
  )
})
