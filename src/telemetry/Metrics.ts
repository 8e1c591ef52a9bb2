import { Context, Layer } from "effect"
import type { Ended } from "../interception/Observer.ts"
import type { RecorderStatistics } from "../recorder/Recorder.ts"
import { Counters, type Family, Histograms, histogram, render, type Series, single } from "./Prometheus.ts"

/** What others know at the moment of a scrape. */
export interface Readings {
  readonly openInterceptions: number
  readonly recorder: RecorderStatistics
  readonly recorderHealthy: boolean
}

/** Upper bounds in seconds: from a refusal to a long run of an agent. */
const durations = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600]
const firstFrames = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120]

/**
 * What is counted of interceptions.
 *
 * **Details**
 *
 * The values of all labels are bounded. A provider is one of the configuration, `none` where a call found none, or
 * `other` where the client named one that is not there; a model, a path or an actor is never a label.
 */
export class Metrics extends Context.Service<
  Metrics,
  {
    /** Counts an interception that has ended. */
    readonly observe: (ended: Ended) => void
    /** Everything in Prometheus text format, with what others know now. */
    readonly render: (readings: Readings) => string
  }
>()("sluice/telemetry/Metrics") {
  /** @param providers the names of the configured providers */
  static readonly layer = (providers: Iterable<string>): Layer.Layer<Metrics> =>
    Layer.sync(Metrics, () => make(new Set(providers)))
}

const make = (providers: ReadonlySet<string>): Metrics["Service"] => {
  const interceptions = new Counters("sluice_interceptions_total", "Interceptions that have ended.", [
    "dialect",
    "transport",
    "provider",
    "status"
  ])
  const errors = new Counters("sluice_errors_total", "Interceptions that ended with an error.", ["provider", "code"])
  const tokens = new Counters(
    "sluice_tokens_total",
    "Tokens used, as far as providers said; output includes reasoning, the other kinds are disjoint.",
    ["provider", "kind"]
  )
  const turns = new Counters("sluice_turns_total", "Turns: upstream requests and their responses.", ["provider"])
  const attempts = new Counters(
    "sluice_turn_attempts_total",
    "How often upstreams were called for these turns, retries included.",
    ["provider"]
  )
  const duration = new Histograms(
    "sluice_interception_duration_seconds",
    "From a call's first byte to its end; rejected calls are left out.",
    "provider",
    durations
  )
  const firstFrame = new Histograms(
    "sluice_time_to_first_frame_seconds",
    "From a call's first upstream request to the first frame of its response.",
    "provider",
    firstFrames
  )
  const own: ReadonlyArray<Family> = [interceptions, errors, tokens, turns, attempts, duration, firstFrame]

  /** The series of one provider, which its first interception brings about. */
  const seriesOf = (provider: string) => ({
    interceptions: new Map<string, Series>(),
    errors: new Map<string, Series>(),
    input: tokens.series(provider, "input"),
    output: tokens.series(provider, "output"),
    cacheRead: tokens.series(provider, "cache_read"),
    cacheWrite: tokens.series(provider, "cache_write"),
    reasoning: tokens.series(provider, "reasoning"),
    turns: turns.series(provider),
    attempts: attempts.series(provider),
    duration: duration.series(provider),
    firstFrame: firstFrame.series(provider)
  })
  const known = new Map<string, ReturnType<typeof seriesOf>>()

  return {
    observe: ({ interception, close, turns, usage }) => {
      const named = interception.provider
      const provider = named === null ? "none" : providers.has(named) ? named : "other"
      const series = getOrAdd(known, provider, seriesOf)

      const dialect = interception.dialect ?? "none"
      const transport = close.transport ?? interception.transport ?? "none"
      getOrAdd(series.interceptions, `${dialect} ${transport} ${close.status}`, () =>
        interceptions.series(dialect, transport, provider, close.status)
      ).count++
      if (close.error !== null) {
        getOrAdd(series.errors, close.error.code, (code) => errors.series(provider, code)).count++
      }

      for (const row of usage) {
        series.input.count += row.input ?? 0
        series.output.count += row.output ?? 0
        series.cacheRead.count += row.cacheRead ?? 0
        series.cacheWrite.count += row.cacheWrite ?? 0
        series.reasoning.count += row.reasoning ?? 0
      }
      for (const turn of turns) {
        series.turns.count++
        series.attempts.count += turn.attempts
      }
      if (close.status === "rejected") return
      // The clock may have been set back.
      series.duration.observe(Math.max(0, close.endedAt - interception.startedAt) / 1000)
      const waited = turns[0]?.timeToFirstFrameMs ?? null
      if (waited !== null) series.firstFrame.observe(Math.max(0, waited) / 1000)
    },
    render: (readings) => render([...own, ...ofReadings(readings), ...ofProcess()])
  }
}

const getOrAdd = <Value>(map: Map<string, Value>, key: string, make: (key: string) => Value): Value => {
  const found = map.get(key)
  if (found !== undefined) return found
  const made = make(key)
  map.set(key, made)
  return made
}

const ofReadings = ({ openInterceptions, recorder, recorderHealthy }: Readings): ReadonlyArray<Family> => [
  single("gauge", "sluice_open_interceptions", "Interceptions that are running.", openInterceptions),
  single(
    "gauge",
    "sluice_recorder_healthy",
    "Whether the store took what it was given last (1) or not (0).",
    recorderHealthy ? 1 : 0
  ),
  single(
    "counter",
    "sluice_recorder_committed_batches_total",
    "Batches that the store has taken.",
    recorder.committedBatches
  ),
  single(
    "counter",
    "sluice_recorder_spooled_batches_total",
    "Batches that went to the spool because the store did not take them in time.",
    recorder.spooledBatches
  ),
  single(
    "counter",
    "sluice_recorder_replayed_batches_total",
    "Spooled batches that have reached the store since.",
    recorder.replayedBatches
  ),
  single(
    "counter",
    "sluice_recorder_lost_batches_total",
    "Batches that neither the store nor the spool took.",
    recorder.lostBatches
  ),
  single(
    "counter",
    "sluice_recorder_refused_opens_total",
    "Calls refused because their interception could not be recorded.",
    recorder.refusedOpens
  ),
  single("gauge", "sluice_recorder_queued_batches", "Batches waiting to be committed.", recorder.queued),
  single(
    "gauge",
    "sluice_recorder_last_commit_seconds",
    "How long the last group took to commit.",
    recorder.lastCommitMs / 1000
  ),
  histogram("sluice_recorder_lag_seconds", "How long batches waited until they were durable.", recorder.lag)
]

const ofProcess = (): ReadonlyArray<Family> => {
  const { user, system } = process.cpuUsage()
  // Costs nothing between scrapes, as a timer that measures the loop's delay would.
  const loop = performance.eventLoopUtilization()
  return [
    single("gauge", "process_resident_memory_bytes", "Resident memory size in bytes.", process.memoryUsage.rss()),
    single(
      "counter",
      "process_cpu_seconds_total",
      "Total user and system CPU time spent in seconds.",
      (user + system) / 1e6
    ),
    single(
      "gauge",
      "process_start_time_seconds",
      "Start time of the process since unix epoch in seconds.",
      performance.timeOrigin / 1000
    ),
    single(
      "gauge",
      "nodejs_active_resources",
      "Sockets, timers and requests that keep the event loop alive.",
      process.getActiveResourcesInfo().length
    ),
    single(
      "counter",
      "nodejs_eventloop_active_seconds_total",
      "How long the event loop was busy; its rate is the loop's utilization.",
      loop.active / 1000
    ),
    single(
      "counter",
      "nodejs_eventloop_idle_seconds_total",
      "How long the event loop waited for something to happen.",
      loop.idle / 1000
    )
  ]
}
