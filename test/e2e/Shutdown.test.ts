import { connect } from "node:net"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { eventually } from "../support/Eventually.ts"
import { Gateway } from "../support/Gateway.ts"
import { RawClient } from "../support/RawClient.ts"
import { type RawTurn, UpstreamServer } from "../support/UpstreamServer.ts"

const signals = ["SIGTERM", "SIGINT"] as const

const configWith = (drain: string) => ({ providers: { sim: { type: "simulated" as const } }, limits: { drain } })

const ask = (url: string, directives: string, stream = true) =>
  RawClient.post(`${url}/sim/v1/chat/completions`, {
    model: "sim",
    stream,
    messages: [{ role: "user", content: `Hello [[sim: ${directives}]]` }]
  })

/** Waits until an answer has begun, so that its interception is running. */
const begun = (url: string, directives: string) => Effect.tap(ask(url, directives), (answer) => answer.bytes(1))

const head = (length: number): string =>
  `POST /sim/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`

/** A connection on which a client can be as slow as it likes. */
const connection = (url: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      let text = ""
      const socket = connect(Number(new URL(url).port), "127.0.0.1")
      socket.setEncoding("utf8").on("data", (more: string) => {
        text += more
      })
      socket.on("error", () => {})
      return { socket, text: () => text }
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

/** How everything that was recorded ended, by its number: `status`, or `status/error`. */
const endings = (dir: string): { readonly [ending: string]: number } => {
  const database = new DatabaseSync(join(dir, "sluice.db"), { readOnly: true })
  const rows = database
    .prepare(
      `SELECT coalesce(i.status, 'open') || coalesce('/' || i.error_code, '') AS ending, count(*) AS number
       FROM interceptions i JOIN turns t ON t.interception_id = i.id AND t.status = i.status
         JOIN usage u ON u.turn_id = t.id
       GROUP BY 1`
    )
    .all()
  const total = database.prepare("SELECT count(*) AS number FROM interceptions").get()
  database.close()
  const found = Object.fromEntries(rows.map((row) => [String(row["ending"]), Number(row["number"])]))
  // An interception without its one turn and one usage would not be among them.
  assert.strictEqual(
    Object.values(found).reduce((sum, number) => sum + number, 0),
    Number(total?.["number"])
  )
  return found
}

/** How many calls are over. */
const closed = (dir: string): number => {
  const database = new DatabaseSync(join(dir, "sluice.db"), { readOnly: true })
  const row = database.prepare("SELECT count(*) AS number FROM interceptions WHERE status IS NOT NULL").get()
  database.close()
  return Number(row?.["number"])
}

/** What a new client is told while the gateway stops: nothing, or to come back. */
const turnedAway = Effect.fnUntraced(function* (url: string) {
  const answer = yield* Effect.result(ask(url, "words=1", false))
  if (answer._tag === "Failure") return assert.strictEqual(answer.failure.code, "ECONNREFUSED")
  assert.strictEqual(answer.success.status, 503)
  assert.isAtLeast(Number(answer.success.headers["retry-after"]), 1)
})

const unready = Effect.fnUntraced(function* (url: string) {
  const answer = yield* Effect.result(RawClient.send({ url: `${url}/readyz` }))
  if (answer._tag === "Success") assert.strictEqual(answer.success.status, 503)
})

/** The error event that ends a stream, and nothing behind it. */
const assertEndedByShutdown = (text: string) => {
  const events = text.trimEnd().split("\n\n")
  const last = JSON.parse(events.at(-1)!.replace(/^data: /, "")) as { error: { code: string } }
  assert.strictEqual(last.error.code, "shutting_down")
  assert.notInclude(text, "[DONE]")
}

/** A completion as an upstream answers it, with so much in front of what is read of it. */
const bodyOf = (text: string): RawTurn => ({
  headers: { "content-type": "application/json" },
  steps: [JSON.stringify({ pad: text, choices: [{ index: 0, message: {}, finish_reason: "stop" }] })]
})

/** The same as one event of a stream. */
const streamOf = (text: string): RawTurn => ({
  steps: [
    `data: ${JSON.stringify({ pad: text, choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\n`,
    "data: [DONE]\n\n"
  ]
})

describe("an orderly stop", { concurrent: true, timeout: 120_000 }, () => {
  it.live.each(signals)("on %s lets running calls finish in time, ends the others, and leaves nothing open", (signal) =>
    Effect.gen(function* () {
      const gateway = yield* Gateway.start({ config: configWith("3 seconds") })
      const { url } = gateway
      const finishing = yield* begun(url, "words=3, delay=300ms")
      const stalled = yield* begun(url, "stall=3")
      const whole = yield* Effect.forkChild(ask(url, "words=3, first=1s", false))
      const headless = yield* Effect.forkChild(ask(url, "hang"))
      const wholeTooLate = yield* Effect.forkChild(ask(url, "stall", false))
      const gone = yield* begun(url, "stall=3")
      // So that the calls without a head are running, too.
      yield* Effect.sleep("300 millis")

      assert.strictEqual((yield* RawClient.send({ url: `${url}/readyz` })).status, 200)

      const asked = performance.now()
      gateway.kill(signal)
      yield* Effect.sleep("100 millis")
      yield* turnedAway(url)
      yield* unready(url)
      gone.abort()

      assert.strictEqual(yield* finishing.ended, "clean")
      assert.isTrue(finishing.text().endsWith("data: [DONE]\n\n"))
      assert.strictEqual(finishing.headers["content-type"], "text/event-stream; charset=utf-8")
      const body = yield* Fiber.join(whole)
      assert.strictEqual(yield* body.ended, "clean")
      assert.strictEqual(body.status, 200)

      assert.strictEqual(yield* stalled.ended, "clean")
      assertEndedByShutdown(stalled.text())
      for (const fiber of [wholeTooLate, headless]) {
        const late = yield* Fiber.join(fiber)
        assert.strictEqual(yield* late.ended, "clean")
        assert.deepStrictEqual([late.status, late.headers["retry-after"]], [503, "1"])
        assert.include(late.text(), "shutting_down")
      }

      assert.deepStrictEqual(yield* gateway.exit, { code: 0, signal: null })
      const took = performance.now() - asked
      assert.isAbove(took, 2_900)
      assert.isBelow(took, 6_500)
      assert.deepStrictEqual(endings(gateway.dir), {
        completed: 2,
        "failed/shutdown": 3,
        "cancelled/client_gone": 1
      })
    })
  )

  it.live.each(signals)("is hurried by a second %s", (signal) =>
    Effect.gen(function* () {
      const gateway = yield* Gateway.start({ config: configWith("10 minutes") })
      const stalled = yield* begun(gateway.url, "stall=3")
      gateway.kill(signal)
      // One that comes sooner is taken for the first, doubled on its way.
      yield* Effect.sleep("1 second")
      const asked = performance.now()
      gateway.kill(signal)
      assert.strictEqual(yield* stalled.ended, "clean")
      assertEndedByShutdown(stalled.text())
      assert.deepStrictEqual(yield* gateway.exit, { code: 0, signal: null })
      assert.isBelow(performance.now() - asked, 4_000)
      assert.deepStrictEqual(endings(gateway.dir), { "failed/shutdown": 1 })
    })
  )

  it.live("waits no longer for clients that read nothing, or send half a request", () =>
    Effect.gen(function* () {
      const gateway = yield* Gateway.start({ config: configWith("500 millis") })
      const unread = yield* connection(gateway.url)
      unread.socket.pause()
      const body = JSON.stringify({
        model: "sim",
        stream: true,
        messages: [{ role: "user", content: "Hello [[sim: words=60000]]" }]
      })
      unread.socket.write(`${head(body.length)}${body}`)
      const half = yield* connection(gateway.url)
      half.socket.write(`${head(body.length)}${body.slice(0, 20)}`)
      yield* Effect.sleep("1 second")

      const asked = performance.now()
      gateway.kill("SIGTERM")
      assert.deepStrictEqual(yield* gateway.exit, { code: 0, signal: null })
      assert.isBelow(performance.now() - asked, 8_000)
      assert.match(half.text(), /^HTTP\/1\.1 503 .*shutting_down/s)
      // Of half a request nothing is known that could be recorded.
      assert.deepStrictEqual(endings(gateway.dir), { "failed/shutdown": 1 })
    })
  )

  it.live.each([false, true])("waits until a slow client has taken all of its answer (streamed: %s)", (stream) =>
    Effect.gen(function* () {
      const text = "x".repeat(10_000_000)
      const upstream = yield* UpstreamServer.make([stream ? streamOf(text) : bodyOf(text)])
      const gateway = yield* Gateway.start({
        config: {
          providers: { up: { type: "openai-compatible", base_url: `${upstream.url}/v1`, dialects: ["openai-chat"] } },
          limits: { drain: "10 minutes", event_bytes: 20_000_000 }
        }
      })
      const slow = yield* connection(gateway.url)
      slow.socket.on("data", () => {
        slow.socket.pause()
        setTimeout(() => slow.socket.resume(), 5)
      })
      const body = JSON.stringify({ model: "m", stream, messages: [{ role: "user", content: "hello" }] })
      slow.socket.write(head(body.length).replace("/sim/", "/up/") + body)
      yield* eventually(() => slow.text().length > 0)
      // A body is at its end then, but not with its client.
      if (!stream) yield* eventually(() => closed(gateway.dir) === 1)
      assert.isBelow(slow.text().length, text.length)
      gateway.kill("SIGTERM")
      assert.deepStrictEqual(yield* gateway.exit, { code: 0, signal: null })
      yield* eventually(() => slow.socket.destroyed || slow.socket.readableEnded)
      assert.isAbove(slow.text().length, text.length)
      assert.deepStrictEqual(endings(gateway.dir), { completed: 1 })
      assert.isTrue(slow.text().endsWith(stream ? "0\r\n\r\n" : "}]}"), slow.text().slice(-100))
    })
  )

  it.live("does not wait for answers behind another on a connection whose client has left", () =>
    Effect.gen(function* () {
      const gateway = yield* Gateway.start({ config: configWith("10 minutes") })
      const client = yield* connection(gateway.url)
      const request = (directive: string) => {
        const content = `Hello [[sim: ${directive}]]`
        const body = JSON.stringify({ model: "sim", stream: false, messages: [{ role: "user", content }] })
        return head(body.length) + body
      }
      client.socket.write(request("stall") + request("words=1").repeat(12))
      yield* eventually(() => closed(gateway.dir) === 12)
      client.socket.destroy()
      yield* eventually(() => closed(gateway.dir) === 13)
      const asked = performance.now()
      gateway.kill("SIGTERM")
      assert.deepStrictEqual(yield* gateway.exit, { code: 0, signal: null })
      assert.isBelow(performance.now() - asked, 4_000)
      assert.deepStrictEqual(endings(gateway.dir), { completed: 12, "cancelled/client_gone": 1 })
      assert.notInclude(gateway.stderr(), "MaxListeners")
    })
  )

  it.live("turns half a request away at once", () =>
    Effect.gen(function* () {
      const gateway = yield* Gateway.start({ config: configWith("10 minutes") })
      const half = yield* connection(gateway.url)
      half.socket.write(`${head(1000)}{`)
      const halfUpload = yield* connection(gateway.url)
      halfUpload.socket.write(`${head(1000).replace("chat/completions", "files")}{`)
      const running = yield* begun(gateway.url, "words=3, delay=700ms")
      gateway.kill("SIGTERM")
      yield* eventually(() => half.text() !== "" && halfUpload.text() !== "")
      for (const { text } of [half, halfUpload]) {
        assert.match(text(), /^HTTP\/1\.1 503 .*\r\nretry-after: 1\r\n.*shutting_down/is)
      }
      assert.notInclude(running.text(), "[DONE]", "it was not at once")
      assert.strictEqual(yield* running.ended, "clean")
      assert.include(running.text(), "[DONE]")
      assert.deepStrictEqual(yield* gateway.exit, { code: 0, signal: null })
      assert.deepStrictEqual(endings(gateway.dir), { completed: 1 })
    })
  )

  it.live("waits for what it reads on for clients that have left, until it is hurried", () =>
    Effect.gen(function* () {
      const config = { ...configWith("10 minutes"), on_client_gone: "drain" as const }
      const gateway = yield* Gateway.start({ config })
      const finishing = yield* begun(gateway.url, "words=20, delay=100ms")
      const stalled = yield* begun(gateway.url, "stall=3")
      finishing.abort()
      stalled.abort()
      yield* Effect.sleep("200 millis")
      gateway.kill("SIGTERM")
      yield* eventually(() => closed(gateway.dir) === 1)
      assert.include(gateway.stderr() + gateway.stdout(), "2 calls are running and may finish within")
      const asked = performance.now()
      gateway.kill("SIGTERM")
      assert.deepStrictEqual(yield* gateway.exit, { code: 0, signal: null })
      assert.isBelow(performance.now() - asked, 4_000)
      assert.deepStrictEqual(endings(gateway.dir), { "cancelled/client_gone": 2 })
    })
  )

  it.live("does not wait where nothing runs", () =>
    Effect.gen(function* () {
      const gateway = yield* Gateway.start({ config: configWith("10 minutes") })
      const answer = yield* ask(gateway.url, "words=1")
      yield* answer.ended
      const asked = performance.now()
      gateway.kill("SIGTERM")
      assert.deepStrictEqual(yield* gateway.exit, { code: 0, signal: null })
      assert.isBelow(performance.now() - asked, 4_000)
      assert.deepStrictEqual(endings(gateway.dir), { completed: 1 })
    })
  )
})
