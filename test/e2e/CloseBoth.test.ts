import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Schedule } from "effect"
import { Gateway, temporaryDirectory } from "../support/Gateway.ts"
import { RawClient } from "../support/RawClient.ts"
import { type RawTurn, type ServedRequest, UpstreamServer } from "../support/UpstreamServer.ts"
import { times } from "../support/Soak.ts"

/** Where in its life a stream is broken off, and how it is recorded then. */
const phases = {
  /** The client leaves while the upstream has not answered. */
  "before the head": "cancelled/client_gone",
  /** The client leaves between two chunks. */
  "mid-stream": "cancelled/client_gone",
  /** The client leaves while the upstream sends as fast as it can. */
  "in a flood": "cancelled/client_gone",
  /** The client leaves with half a JSON body on the way. */
  "in a body": "cancelled/client_gone",
  /** The client leaves once it saw the finish reason: it has finished. */
  "after the finish": "completed",
  /** The upstream breaks before its head. */
  "upstream before the head": "failed/upstream_unreachable",
  /** The upstream breaks between two chunks. */
  "upstream mid-stream": "failed/upstream_cut",
  /** The upstream breaks inside an event. */
  "upstream in an event": "failed/upstream_cut"
} as const
type Phase = keyof typeof phases

const chunk = (delta: object, finish: string | null) =>
  `data: ${JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    created: 1_800_000_000,
    model: "m",
    choices: [{ index: 0, delta, finish_reason: finish }],
    usage: null
  })}\n\n`

const first = chunk({ role: "assistant", content: "Hel" }, null)
const last = chunk({}, "stop")
const large = Buffer.from(chunk({ content: "x".repeat(60_000) }, null).repeat(40))

const turns: { readonly [P in Phase]: RawTurn } = {
  "before the head": { before: [{ hang: true }] },
  "mid-stream": { steps: [first, { hang: true }] },
  "in a flood": { steps: [first, large, { hang: true }] },
  "in a body": { headers: { "content-type": "application/json" }, steps: ['{"id":', { hang: true }] },
  "after the finish": { steps: [first, last, { hang: true }] },
  "upstream before the head": { before: [{ reset: true }] },
  "upstream mid-stream": { steps: [first, { reset: true }] },
  "upstream in an event": { steps: [first, last.slice(0, 40), { reset: true }] }
}

/** Answers SIGUSR2 with a line that says what the process holds once its garbage was collected. */
const probe = `data:text/javascript,${encodeURIComponent(`
  process.on("SIGUSR2", async () => {
    for (let i = 0; i < 3; i++) {
      await globalThis.gc({ type: "major", execution: "async" })
      await new Promise((resolve) => setImmediate(resolve))
    }
    const { heapUsed, external } = process.memoryUsage()
    console.log("holding " + JSON.stringify({ heap: heapUsed + external, handles: process.getActiveResourcesInfo().sort() }))
  })
`)}`

interface Holding {
  readonly heap: number
  readonly handles: Array<string>
}

const streams = times(2_000, 500)
const wave = 50

/** The phases of a wave. Two waves wait for usage behind the finish, which takes their upstreams a second. */
const phasesOf = (number: number): ReadonlyArray<Phase> => {
  if (number % 20 === 9) return Array.from({ length: wave }, () => "after the finish")
  const others = (Object.keys(phases) as Array<Phase>).filter((phase) => phase !== "after the finish")
  return Array.from({ length: wave }, (_, i) => others[i % others.length]!)
}

describe("close both (law 4)", () => {
  // Open sockets are counted in /proc.
  it.live.skipIf(process.platform !== "linux")(
    `after ${streams} streams that were broken off, nothing is left open`,
    () =>
      Effect.gen(function* () {
        const began = performance.now()
        const arrived = new Map<string, Deferred.Deferred<ServedRequest>>()
        const upstream = yield* UpstreamServer.make((request) => {
          const { model, user } = JSON.parse(request.text) as { model: Phase; user: string }
          const waiting = arrived.get(user)
          if (waiting !== undefined) Deferred.doneUnsafe(waiting, Effect.succeed(request))
          return turns[model]
        })
        const dir = yield* temporaryDirectory
        const gateway = yield* Gateway.start({
          dir,
          node: ["--expose-gc", `--import=${probe}`],
          config: {
            providers: { up: { type: "openai-compatible", base_url: `${upstream.url}/v1` } },
            retries: { times: 0 }
          }
        })

        const holding = Effect.gen(function* () {
          const before = gateway.stdout().split("\nholding ").length
          gateway.kill("SIGUSR2")
          const lines = yield* Effect.sync(() => gateway.stdout().split("\nholding ")).pipe(
            Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: (found) => found.length > before })
          )
          return JSON.parse(lines.at(-1)!.split("\n")[0]!) as Holding
        })

        /** Waits until as many sockets are open as when nothing had been asked yet, and answers what is held then. */
        const idleAgain = (sockets: number) =>
          Effect.sync(() => ({ gateway: gateway.sockets(), upstream: upstream.openSockets() })).pipe(
            Effect.repeat({
              schedule: Schedule.spaced("50 millis"),
              times: 160,
              until: (open) => open.gateway <= sockets && open.upstream === 0
            }),
            Effect.tap((open) =>
              Effect.sync(() => assert.deepStrictEqual(open, { gateway: sockets, upstream: 0 }, "open sockets"))
            ),
            Effect.andThen(holding),
            // A checkpoint may be under way, whose thread is waited for.
            Effect.repeat({
              schedule: Schedule.spaced("100 millis"),
              times: 50,
              until: ({ handles }) => !handles.includes("MessagePort")
            })
          )

        /** How long after their clients the upstreams were left, in milliseconds. */
        const delays: { [P in Phase]?: Array<number> } = {}

        const breakOff = (phase: Phase, number: number) =>
          Effect.gen(function* () {
            const user = `stream ${number}`
            const request = Deferred.makeUnsafe<ServedRequest>()
            arrived.set(user, request)
            const post = RawClient.post(`${gateway.url}/up/v1/chat/completions`, {
              model: phase,
              stream: phase !== "in a body",
              messages: [{ role: "user", content: user }],
              user
            })
            let left = 0
            switch (phase) {
              case "before the head":
              case "in a body":
                // The head of a JSON answer waits for its body.
                yield* Effect.raceFirst(post, Effect.andThen(Deferred.await(request), Effect.sleep("5 millis")))
                left = performance.now()
                break
              case "mid-stream":
              case "in a flood":
              case "after the finish": {
                const answer = yield* post
                yield* answer.bytes(phase === "after the finish" ? first.length + last.length : first.length)
                left = performance.now()
                answer.abort()
                break
              }
              case "upstream before the head":
              case "upstream mid-stream":
              case "upstream in an event": {
                const answer = yield* post
                const ended = yield* answer.ended
                if (phase === "upstream before the head") assert.strictEqual(answer.status, 502)
                else {
                  // Of a broken event nothing is shown.
                  assert.strictEqual(ended, "clean")
                  assert.isTrue(answer.text().startsWith(`${first}data: {"error":`), answer.text())
                  assert.notInclude(answer.text(), "[DONE]")
                }
                return
              }
            }
            const served = yield* Deferred.await(request)
            assert.strictEqual(yield* served.over, "aborted", phase)
            const list = delays[phase] ?? []
            delays[phase] = list
            list.push(served.abortedAt! - left)
          }).pipe(Effect.scoped)

        const runWaves = Effect.fnUntraced(function* (from: number, to: number) {
          for (let start = from; start < to; start += wave) {
            yield* Effect.forEach(phasesOf(start / wave), (phase, i) => breakOff(phase, start + i), {
              concurrency: "unbounded",
              discard: true
            })
          }
        })

        const idle = gateway.sockets()
        const fresh = yield* holding
        yield* runWaves(0, streams / 2)
        const half = yield* idleAgain(idle)
        yield* runWaves(streams / 2, streams)
        const end = yield* idleAgain(idle)

        const metrics = yield* RawClient.send({ url: `${gateway.url}/metrics` })
        yield* metrics.ended
        assert.match(metrics.text(), /^sluice_open_interceptions 0$/m)

        /** The delay that so large a share of a phase's aborts stayed within. */
        const delay = (phase: Phase, share: number) => {
          const sorted = (delays[phase] ?? []).sort((one, other) => one - other)
          return Math.round(sorted[Math.ceil(sorted.length * share) - 1] ?? Number.POSITIVE_INFINITY)
        }
        const growth = Math.round((end.heap - half.heap) / 1024)
        yield* Effect.sync(() =>
          process.stdout.write(
            `close both: ${streams} streams, aborts at the upstream after (95 %, all) ${JSON.stringify(
              Object.fromEntries(
                (Object.keys(delays) as Array<Phase>).map((phase) => [phase, [delay(phase, 0.95), delay(phase, 1)]])
              )
            )} ms, sockets ${idle} as before, heap ${Math.round(half.heap / 1024)} KiB ${growth < 0 ? "" : "+"}${growth} KiB in the second half, ${
              Math.round((performance.now() - began) / 100) / 10
            } s\n`
          )
        )
        for (const { handles } of [half, end]) {
          // All streams share one timer for silence; it may be asleep still.
          if (handles.length > fresh.handles.length) handles.splice(handles.indexOf("Timeout"), 1)
          assert.deepStrictEqual(handles, fresh.handles)
        }
        assert.isBelow(growth, 2048)
        for (const phase of ["before the head", "mid-stream", "in a flood", "in a body"] as const) {
          assert.isBelow(delay(phase, 0.95), 1_000, phase)
          // A few may meet a machine that is busy with something else.
          assert.isBelow(delay(phase, 1), 5_000, phase)
        }
        // Usage is waited for first, up to a second.
        assert.isBelow(delay("after the finish", 0.95), 2_000)

        const database = new DatabaseSync(join(dir, "sluice.db"), { readOnly: true })
        const recorded = database
          .prepare(
            `SELECT i.requested_model AS phase, coalesce(i.status, 'open') || coalesce('/' || i.error_code, '') AS ending,
               count(DISTINCT i.id) AS interceptions, count(t.id) AS turns, count(u.turn_id) AS usages,
               count(DISTINCT p.text) AS prompts
             FROM interceptions i LEFT JOIN turns t ON t.interception_id = i.id AND t.status = i.status
               LEFT JOIN usage u ON u.interception_id = i.id LEFT JOIN prompts p ON p.interception_id = i.id
             GROUP BY 1, 2 ORDER BY 1, 2`
          )
          .all()
        database.close()
        const counts = new Map<Phase, number>()
        for (let start = 0; start < streams; start += wave) {
          for (const phase of phasesOf(start / wave)) counts.set(phase, (counts.get(phase) ?? 0) + 1)
        }
        assert.deepStrictEqual(
          recorded.map((row) => ({ ...row })),
          [...counts].sort().map(([phase, count]) => ({
            phase,
            ending: phases[phase],
            interceptions: count,
            turns: count,
            usages: count,
            prompts: count
          }))
        )
      }),
    180_000
  )
})
