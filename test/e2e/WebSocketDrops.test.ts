import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Schedule } from "effect"
import { toolsReady } from "../clients/Scene.ts"
import { Gateway, temporaryDirectory } from "../support/Gateway.ts"
import { mcpServer } from "../support/McpServer.ts"
import { RawClient } from "../support/RawClient.ts"
import { type ServedRequest, UpstreamServer } from "../support/UpstreamServer.ts"
import { type ClientSocket, WebSocketClient } from "../support/WebSocketClient.ts"
import type { WebSocketEnd } from "../support/WebSocketEnd.ts"
import { type UpstreamSocket, WebSocketUpstream } from "../support/WebSocketUpstream.ts"
import { times } from "../support/Soak.ts"

/** Where in its life a connection is broken off, and how its response is recorded then, if it has one. */
const phases = {
  /** The client leaves while the upstream has not answered the handshake. */
  "in the dial": null,
  /** The client leaves a connection on which nothing was said. */
  "after the upgrade": null,
  /** The client leaves with half a frame on the way. */
  "in a frame": null,
  /** The client leaves while it is answered. */
  "in a turn": "cancelled/client_gone",
  /** The client says that it leaves while it is answered. */
  "in a turn, with a close frame": "cancelled/client_gone",
  /** The client leaves while an injected tool runs. */
  "in a tool": "cancelled/client_gone",
  /** The client leaves while an upstream by HTTP has not answered. */
  "bridged, before the head": "cancelled/client_gone",
  /** The client leaves while an upstream by HTTP answers. */
  "bridged, in a turn": "cancelled/client_gone",
  /** The upstream breaks off its answer. */
  "by the upstream, in a turn": "failed/upstream_cut",
  /** The upstream breaks off the handshake. */
  "by the upstream, in the dial": null
} as const
type Phase = keyof typeof phases

const names = Object.keys(phases) as ReadonlyArray<Phase>
const total = times(2_000, 200)
const wave = 100

const response = (id: string, more: object) => ({
  id,
  object: "response",
  error: null,
  model: "m",
  output: [],
  ...more
})

const created = JSON.stringify({
  type: "response.created",
  sequence_number: 0,
  response: response("resp_1", { status: "in_progress" })
})

const delta = JSON.stringify({
  type: "response.output_text.delta",
  sequence_number: 1,
  item_id: "msg_1",
  output_index: 0,
  content_index: 0,
  delta: "Hello"
})

const call = { type: "function_call", id: "fc_1", call_id: "call_1", name: "bmcp_slow_echo", arguments: "{}" }

const called: ReadonlyArray<object> = [
  { type: "response.output_item.added", output_index: 0, item: { ...call, status: "in_progress", arguments: "" } },
  { type: "response.function_call_arguments.done", output_index: 0, item_id: "fc_1", arguments: "{}" },
  { type: "response.output_item.done", output_index: 0, item: { ...call, status: "completed" } },
  {
    type: "response.completed",
    response: response("resp_1", {
      status: "completed",
      output: [{ ...call, status: "completed" }],
      usage: { input_tokens: 1, output_tokens: 1, total_tokens: 2 }
    })
  }
]

/** Half of a text frame that is masked, as a client's are. */
const halfFrame = Buffer.from([0x81, 0xfe, 0x10, 0x00, 1, 2, 3, 4, 0x7b, 0x22])

interface Holding {
  readonly heap: number
  readonly handles: Array<string>
  readonly fibers: number
  readonly connections: number
  readonly peers: number
}

const probe = fileURLToPath(new URL("HoldingProbe.ts", import.meta.url))

describe("close both (law 4), over WebSockets", () => {
  // Open sockets are counted in /proc.
  it.live.skipIf(process.platform !== "linux")(
    `after ${total} connections that were broken off, nothing is left open`,
    () =>
      Effect.gen(function* () {
        const began = performance.now()
        /** What the upstreams are waited for, by the number of the connection. */
        const dialled = new Map<string, Deferred.Deferred<void>>()
        const asked = new Map<string, Deferred.Deferred<WebSocketEnd>>()
        const posted = new Map<string, Deferred.Deferred<ServedRequest>>()
        const done = <A>(map: Map<string, Deferred.Deferred<A>>, number: unknown, value: A) => {
          const waiting = map.get(String(number))
          if (waiting !== undefined) Deferred.doneUnsafe(waiting, Effect.succeed(value))
        }

        const native = yield* WebSocketUpstream.make({
          keep: false,
          handshakes: ({ headers }) => {
            done(dialled, headers["x-number"], undefined)
            if (headers["x-phase"] === "in the dial") return { instead: "hang" }
            return headers["x-phase"] === "by the upstream, in the dial" ? { instead: "reset" } : {}
          },
          onConnection: (socket: UpstreamSocket) => {
            const { "x-number": number, "x-phase": phase } = socket.request.headers
            socket.webSocket.once("message", () => {
              socket.send(created)
              if (phase === "in a tool") for (const event of called) socket.send(event)
              else socket.send(delta)
              if (phase === "by the upstream, in a turn") setTimeout(() => socket.drop("reset"), 5)
            })
            done(asked, number, socket)
          }
        })
        const bridged = yield* UpstreamServer.make((request) => {
          const { metadata } = JSON.parse(request.text) as { metadata: { number: string; phase: Phase } }
          done(posted, metadata.number, request)
          if (metadata.phase === "bridged, before the head") return { before: [{ hang: true }] }
          const event = (data: string) => `event: ${JSON.parse(data).type}\ndata: ${data}\n\n`
          return { steps: [event(created), event(delta), { hang: true }] }
        })
        const tools = yield* mcpServer
        let running = 0
        tools.onCall = () => {
          running++
        }
        const dir = yield* temporaryDirectory
        const gateway = yield* Gateway.start({
          dir,
          node: ["--expose-gc", `--import=${probe}`],
          config: {
            providers: {
              native: {
                type: "openai",
                base_url: `${native.url}/v1`,
                mcp: ["slow"],
                forward_headers: ["x-number", "x-phase"]
              },
              bridged: { type: "openai", base_url: `${bridged.url}/v1`, websocket: false }
            },
            mcp: { servers: { slow: { url: `http://127.0.0.1:${tools.port}/mcp` } } },
            retries: { times: 0 }
          }
        })
        yield* toolsReady(gateway)

        const holding = Effect.gen(function* () {
          const before = gateway.stdout().split("\nholding ").length
          gateway.kill("SIGUSR2")
          const lines = yield* Effect.sync(() => gateway.stdout().split("\nholding ")).pipe(
            Effect.repeat({
              schedule: Schedule.spaced("20 millis"),
              until: (found) => found.length > before && found.at(-1)!.includes("\n")
            })
          )
          return JSON.parse(lines.at(-1)!.split("\n")[0]!) as Holding
        })

        /** Waits until as many sockets are open as when nothing had been asked yet, and answers what is held then. */
        const idleAgain = (sockets: number) =>
          Effect.sync(() => ({
            gateway: gateway.sockets(),
            native: native.openSockets(),
            bridged: bridged.openSockets()
          })).pipe(
            Effect.repeat({
              schedule: Schedule.spaced("50 millis"),
              times: 160,
              until: (open) => open.gateway <= sockets && open.native + open.bridged === 0
            }),
            Effect.tap((open) =>
              Effect.sync(() => {
                assert.deepStrictEqual([open.native, open.bridged], [0, 0], "sockets of the upstreams")
                // The connection to the MCP server may have been closed meanwhile.
                assert.isAtMost(open.gateway, sockets, "sockets of the gateway")
              })
            ),
            // A second after a call that was broken off the MCP server's tools are listed once more.
            Effect.andThen(
              holding.pipe(
                Effect.repeat({
                  schedule: Schedule.spaced("200 millis"),
                  times: 25,
                  until: ({ fibers }) => fibers <= fresh.fibers
                })
              )
            )
          )

        /** How long after their clients the upstreams were left, in milliseconds. */
        const delays: Array<number> = []

        const breakOff = Effect.fnUntraced(function* (phase: Phase, count: number) {
          const number = String(count)
          const dial = Deferred.makeUnsafe<void>()
          const ask = Deferred.makeUnsafe<WebSocketEnd>()
          const post = Deferred.makeUnsafe<ServedRequest>()
          dialled.set(number, dial)
          asked.set(number, ask)
          posted.set(number, post)
          const provider = phase.startsWith("bridged") ? "bridged" : "native"
          const connecting = WebSocketClient.connect(`${gateway.url}/${provider}/v1/responses`, {
            headers: { "x-number": number, "x-phase": phase }
          })
          if (phase === "in the dial") {
            yield* Effect.raceFirst(Effect.flip(connecting), Deferred.await(dial))
            return
          }
          if (phase === "by the upstream, in the dial") {
            const { status } = yield* Effect.flip(connecting)
            return assert.strictEqual(status, 502)
          }
          const client: ClientSocket = yield* Effect.catch(connecting, ({ text }) => Effect.die(text))
          const create = () =>
            client.send({ type: "response.create", model: phase, input: number, metadata: { number, phase } })
          switch (phase) {
            case "after the upgrade":
              break
            case "in a frame":
              client.sendRaw(halfFrame)
              yield* Effect.sleep("2 millis")
              break
            case "in a tool": {
              const before = running
              create()
              yield* Effect.repeat(
                Effect.sync(() => running),
                {
                  schedule: Schedule.spaced("2 millis"),
                  until: (calls) => calls > before
                }
              )
              break
            }
            case "bridged, before the head":
              create()
              yield* Deferred.await(post)
              break
            default:
              create()
              yield* client.received(2)
          }
          const left = performance.now()
          if (phase === "by the upstream, in a turn") {
            const { code } = yield* client.closed
            const last = JSON.parse(client.texts().at(-1)!) as { type: string; status?: number }
            assert.deepInclude(last, { type: "error", status: 502 })
            return assert.strictEqual(code, 1011)
          }
          if (phase === "in a turn, with a close frame") {
            client.close(1000)
            assert.strictEqual((yield* client.closed).code, 1000)
          } else client.drop(count % 2 === 0 ? "fin" : "reset")
          if (provider === "native") {
            const { code } = yield* (yield* Deferred.await(ask)).closed
            assert.strictEqual(code, phase === "in a turn, with a close frame" ? 1000 : 1001, phase)
          } else assert.strictEqual(yield* (yield* Deferred.await(post)).over, "aborted", phase)
          delays.push(performance.now() - left)
        }, Effect.scoped)

        const runWaves = Effect.fnUntraced(function* (from: number, to: number) {
          for (let start = from; start < to; start += wave) {
            yield* Effect.forEach(
              Array.from({ length: wave }, (_, i) => start + i),
              (number) => breakOff(names[number % names.length]!, number),
              { concurrency: "unbounded", discard: true }
            )
          }
        })

        const idle = gateway.sockets()
        const fresh = yield* holding
        yield* runWaves(0, total / 2)
        const half = yield* idleAgain(idle)
        yield* runWaves(total / 2, total)
        const end = yield* idleAgain(idle)

        const metrics = yield* RawClient.send({ url: `${gateway.url}/metrics` })
        yield* metrics.ended
        assert.match(metrics.text(), /^sluice_open_interceptions 0$/m)

        delays.sort((one, other) => one - other)
        const share = (part: number) => Math.round(delays[Math.ceil(delays.length * part) - 1]!)
        const growth = Math.round((end.heap - half.heap) / 1024)
        yield* Effect.sync(() =>
          process.stdout.write(
            `close both: ${total} WebSockets, upstreams left after ${share(0.5)} ms (half), ${share(0.95)} ms (95 %), ${share(1)} ms (all), sockets ${idle} as before, fibers ${fresh.fibers} → ${half.fibers} → ${end.fibers}, connections ${end.connections}, peers ${end.peers}, heap ${Math.round(half.heap / 1024)} KiB ${growth < 0 ? "" : "+"}${growth} KiB in the second half, ${Math.round((performance.now() - began) / 100) / 10} s\n`
          )
        )
        for (const { connections, fibers, handles, peers } of [half, end]) {
          assert.deepStrictEqual({ connections, fibers, peers }, { connections: 0, fibers: fresh.fibers, peers: 0 })
          // All share one timer for silence, which may be asleep still, and the MCP server's connection may be closed.
          const more = handles.filter((handle) => handle !== "Timeout" && handle !== "TCPSocketWrap")
          assert.deepStrictEqual(
            more,
            fresh.handles.filter((handle) => handle !== "Timeout" && handle !== "TCPSocketWrap")
          )
          assert.isAtMost(handles.length, fresh.handles.length + 1)
        }
        assert.isBelow(growth, 2048)
        assert.isBelow(share(0.95), 1_000)
        // A few may meet a machine that is busy with something else.
        assert.isBelow(share(1), 5_000)

        const database = new DatabaseSync(join(dir, "sluice.db"), { readOnly: true })
        const recorded = database
          .prepare(
            `SELECT i.requested_model AS phase, i.status || coalesce('/' || i.error_code, '') AS ending,
               count(DISTINCT i.id) AS interceptions, count(t.id) AS turns, count(u.turn_id) AS usages
             FROM interceptions i LEFT JOIN turns t ON t.interception_id = i.id
               LEFT JOIN usage u ON u.turn_id = t.id
             WHERE i.requested_model IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2`
          )
          .all()
        const handshakes = database
          .prepare(
            "SELECT status, count(*) AS interceptions FROM interceptions WHERE requested_model IS NULL GROUP BY 1"
          )
          .all()
        database.close()
        const each = total / names.length
        assert.deepStrictEqual(
          recorded.map((row) => ({ ...row })),
          names
            .filter((phase) => phases[phase] !== null)
            .toSorted()
            .map((phase) => ({ phase, ending: phases[phase], interceptions: each, turns: each, usages: each }))
        )
        // A handshake that the upstream refused; one that the client gave up is none of the upstream's.
        assert.deepStrictEqual(
          handshakes.map((row) => ({ ...row })),
          [{ status: "rejected", interceptions: each }]
        )
      }),
    120_000
  )
})
