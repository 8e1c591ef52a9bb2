import { spawn } from "node:child_process"
import { connect } from "node:net"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schedule } from "effect"
import { openOpenAiSocket } from "../clients/OpenAiSocket.ts"
import { Gateway } from "../support/Gateway.ts"
import { RawClient } from "../support/RawClient.ts"
import { UpstreamServer } from "../support/UpstreamServer.ts"
import { type ConnectOptions, HandshakeRefused, WebSocketClient } from "../support/WebSocketClient.ts"
import type { WebSocketEnd } from "../support/WebSocketEnd.ts"
import { WebSocketUpstream } from "../support/WebSocketUpstream.ts"

const simulated = { providers: { sim: { type: "simulated" as const } } }

interface Told {
  readonly type: string
  readonly status?: number
  readonly error?: { readonly code: string; readonly message: string }
  readonly delta?: string
}

const told = (client: WebSocketEnd): ReadonlyArray<Told> => client.json() as ReadonlyArray<Told>

const last = (client: WebSocketEnd): Told | undefined => told(client).at(-1)

const refusal = (url: string, options: ConnectOptions = {}) =>
  Effect.scoped(Effect.result(WebSocketClient.connect(url, options))).pipe(
    Effect.map((result) => (result._tag === "Failure" ? result.failure : new HandshakeRefused(101, {}, "")))
  )

const codeOf = ({ text }: HandshakeRefused): string | undefined =>
  (JSON.parse(text) as { readonly error?: { readonly code?: string } }).error?.code

/** A response to the simulated model. */
const create = (directives: string, more: object = {}) => ({
  type: "response.create",
  model: "sim",
  input: `Hello [[sim: ${directives}]]`,
  ...more
})

const isOver = ({ type }: Told): boolean => type === "response.completed" || type === "error"

/** Waits for the end of a response. */
const over = (client: WebSocketEnd, count = 1) => client.until(() => told(client).filter(isOver).length >= count)

/** How everything that was recorded ended. */
const endings = (dir: string): { readonly [ending: string]: number } => {
  const database = new DatabaseSync(join(dir, "sluice.db"), { readOnly: true })
  const rows = database
    .prepare(
      "SELECT coalesce(status, 'open') || coalesce('/' || error_code, '') AS ending, count(*) AS number FROM interceptions GROUP BY 1"
    )
    .all()
  database.close()
  return Object.fromEntries(rows.map((row) => [String(row["ending"]), Number(row["number"])]))
}

/** An upstream that a test can kill, and its address. */
const doomedUpstream = Effect.gen(function* () {
  const program = fileURLToPath(new URL("DoomedUpstream.ts", import.meta.url))
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program])),
    (started) => Effect.sync(() => started.kill("SIGKILL"))
  )
  const port = yield* Effect.callback<string>((resume) => {
    child.stdout.once("data", (line: Buffer) => resume(Effect.succeed(line.toString().trim())))
  })
  return { url: `http://127.0.0.1:${port}`, kill: () => child.kill("SIGKILL") }
})

describe("WebSockets of the real process", { concurrent: true, timeout: 60_000 }, () => {
  it.live("serve the OpenAI SDK with the simulated model, at both addresses", () =>
    Effect.gen(function* () {
      const gateway = yield* Gateway.start({ config: simulated })
      const parameters = {
        type: "object" as const,
        properties: { city: { type: "string" as const } },
        required: ["city"],
        additionalProperties: false
      }
      const tools = [{ type: "function" as const, name: "weather", description: "Weather", parameters, strict: true }]
      for (const [base, model] of [
        ["/sim/v1", "sim"],
        ["/v1", "sim/sim"]
      ] as const) {
        const [text, again, error] = yield* Effect.promise(async () => {
          const { ask, close } = openOpenAiSocket(`${gateway.url}${base}`, model)
          const said = await ask({ input: "Hello [[sim: words=3]]" })
          const called = await ask({ input: "Hello [[sim: tool=weather]]", tools })
          const call = called.response.output.find((item) => item.type === "function_call")!
          const result = await ask({
            previous_response_id: called.response.id,
            input: [{ type: "function_call_output", call_id: call.call_id, output: "sunny" }],
            tools
          })
          const missing = await ask({ previous_response_id: "resp_nobody", input: "Hello" }).catch((thrown) => thrown)
          close()
          return [said.text, result.text, missing]
        })
        assert.strictEqual(text.trim().split(/\s+/).length, 3)
        assert.notStrictEqual(again, "")
        assert.include(String(error), "Previous response with id 'resp_nobody' not found")
      }
      assert.deepStrictEqual(endings(gateway.dir), { completed: 6, "rejected/bad_request": 2 })
    })
  )

  it.live("are refused with real statuses before they are accepted", () =>
    Effect.gen(function* () {
      const statuses = [401, 403, 404, 429, 426, 500, 503]
      const upstream = yield* WebSocketUpstream.make({
        handshakes: ({ headers }) => {
          const status = Number(headers["x-refuse"])
          const body = JSON.stringify({ error: { message: `refused ${status}`, type: "some", code: "of_upstream" } })
          return { status, body, headers: { "content-type": "application/json", "x-request-id": `req_${status}` } }
        }
      })
      const nobody = yield* UpstreamServer.closedPort
      const gateway = yield* Gateway.start({
        config: {
          providers: {
            ...simulated.providers,
            picky: { type: "openai", base_url: `${upstream.url}/v1`, forward_headers: ["x-refuse"] },
            gone: { type: "openai", base_url: `http://127.0.0.1:${nobody}/v1` }
          },
          retries: { times: 0 }
        }
      })
      const { url } = gateway
      const sim = `${url}/sim/v1/responses`
      const seen: Array<readonly [string, number, string | undefined]> = []
      const refuse = Effect.fnUntraced(function* (name: string, address: string, options?: ConnectOptions) {
        const refused = yield* refusal(address, options)
        assert.match(refused.headers["content-type"] ?? "", /^application\/json/, name)
        // Nothing else may be asked on its connection.
        assert.match(refused.headers.connection ?? "", /^(?:upgrade, )?close$/, name)
        assert.notProperty(refused.headers, "keep-alive", name)
        seen.push([name, refused.status, codeOf(refused)])
        return refused
      })
      yield* refuse("host", sim, { headers: { host: "evil.example" } })
      yield* refuse("origin", sim, { headers: { origin: "https://evil.example" } })
      yield* refuse("provider", `${url}/nobody/v1/responses`)
      yield* refuse("other path", `${url}/sim/v1/chat/completions`)
      yield* refuse("other method", `${url}/sim/v1/embeddings`)
      yield* refuse("nobody there", `${url}/gone/v1/responses`)
      for (const status of statuses) {
        const refused = yield* refuse(String(status), `${url}/picky/v1/responses`, {
          headers: { "x-refuse": String(status) }
        })
        // It is told to use HTTP where that would do better.
        if (refused.status === 426) assert.strictEqual(refused.headers.upgrade, "HTTP/1.1")
        else assert.include(refused.text, `refused ${status}`)
      }
      const off = yield* Gateway.start({ config: { ...simulated, websocket: { enabled: false } } })
      const asked = performance.now()
      yield* refuse("switched off", `${off.url}/sim/v1/responses`)
      assert.isBelow(performance.now() - asked, 1_000)
      assert.deepStrictEqual(seen, [
        ["host", 403, "forbidden"],
        ["origin", 403, "forbidden"],
        ["provider", 404, "provider_not_found"],
        ["other path", 426, "websocket_unavailable"],
        ["other method", 405, "method_not_allowed"],
        ["nobody there", 502, "upstream_unreachable"],
        ["401", 401, "upstream_error"],
        ["403", 403, "upstream_error"],
        ["404", 404, "upstream_error"],
        // A 429 here would be the end for Codex; the POST that follows gets it.
        ["429", 426, "websocket_unavailable"],
        ["426", 426, "websocket_unavailable"],
        ["500", 500, "upstream_error"],
        ["503", 503, "upstream_error"],
        ["switched off", 426, "websocket_unavailable"]
      ])
      assert.strictEqual(upstream.handshakes.length, statuses.length)
    })
  )

  it.live("are refused at once where the upstream is busy, however long it asks to wait", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make({
        handshakes: ({ headers }) => ({ status: Number(headers["x-refuse"]), headers: { "retry-after": "4" } })
      })
      const gateway = yield* Gateway.start({
        config: {
          providers: { picky: { type: "openai", base_url: `${upstream.url}/v1`, forward_headers: ["x-refuse"] } }
        }
      })
      for (const [status, answered] of [
        [429, 426],
        [503, 503]
      ] as const) {
        const asked = performance.now()
        const refused = yield* refusal(`${gateway.url}/picky/v1/responses`, {
          headers: { "x-refuse": String(status) }
        })
        assert.strictEqual(refused.status, answered)
        assert.isBelow(performance.now() - asked, 2_000)
      }
      assert.strictEqual(upstream.handshakes.length, 2)
    })
  )

  it.live("are refused where the handshake is none, in words of HTTP", () =>
    Effect.gen(function* () {
      const gateway = yield* Gateway.start({ config: simulated })
      const ask = (headers: { readonly [name: string]: string }) =>
        RawClient.send({
          url: `${gateway.url}/sim/v1/responses`,
          headers: {
            connection: "Upgrade",
            upgrade: "websocket",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version": "13",
            ...headers
          }
        }).pipe(Effect.tap(({ ended }) => ended))
      const old = yield* ask({ "sec-websocket-version": "8" })
      assert.strictEqual(old.status, 426)
      assert.strictEqual(old.headers["sec-websocket-version"], "13")
      const withBody = yield* ask({ "content-length": "5" })
      assert.strictEqual(withBody.status, 400)
      assert.include(withBody.text(), "has no body")
      const keyless = yield* ask({ "sec-websocket-key": "short" })
      assert.strictEqual(keyless.status, 400)
      assert.include(keyless.text(), "Sec-WebSocket-Key")
    })
  )

  it.live("have on their answer what the upstream's handshake said", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make({
        handshakes: [
          {
            headers: {
              "x-request-id": "req_7",
              "x-codex-turn-state": "sticky",
              "x-ratelimit-remaining-requests": "99",
              "openai-model": "gpt-5.1-2026-01-01",
              "set-cookie": "session=1",
              server: "elsewhere"
            }
          }
        ]
      })
      const gateway = yield* Gateway.start({
        config: { providers: { up: { type: "openai", base_url: `${upstream.url}/v1` } } }
      })
      const client = yield* WebSocketClient.connect(`${gateway.url}/up/v1/responses?api-version=1`, {
        headers: { authorization: "Bearer sk-client", "x-codex-turn-state": "mine", cookie: "a=b" },
        deflate: true
      })
      const { headers } = client
      assert.strictEqual(headers["x-request-id"], "req_7")
      assert.strictEqual(headers["x-codex-turn-state"], "sticky")
      assert.strictEqual(headers["x-ratelimit-remaining-requests"], "99")
      assert.strictEqual(headers["openai-model"], "gpt-5.1-2026-01-01")
      assert.strictEqual(headers.server, undefined)
      assert.strictEqual(headers["set-cookie"], undefined)
      // Compression is declined on each side.
      assert.strictEqual(headers["sec-websocket-extensions"], undefined)
      const [dialled] = upstream.handshakes
      assert.strictEqual(dialled!.url, "/v1/responses?api-version=1")
      assert.strictEqual(dialled!.headers.authorization, "Bearer sk-client")
      assert.strictEqual(dialled!.headers["x-codex-turn-state"], "mine")
      assert.strictEqual(dialled!.headers.cookie, undefined)
      assert.strictEqual(dialled!.headers["sec-websocket-extensions"], undefined)
      const up = yield* upstream.connection(0)
      client.send({ type: "response.create", model: "m", input: "hi" })
      assert.deepStrictEqual(yield* up.received(1), ['{"type":"response.create","model":"m","input":"hi"}'])
      up.close(4001, "of its own")
      assert.deepStrictEqual(yield* client.closed, { code: 4001, reason: "of its own" })
    })
  )

  it.live("answer what is no request with errors that have a status, and live on", () =>
    Effect.gen(function* () {
      const gateway = yield* Gateway.start({ config: { ...simulated, websocket: { max_frame_bytes: 65_536 } } })
      const url = `${gateway.url}/sim/v1/responses`
      const client = yield* WebSocketClient.connect(url)
      const bad: ReadonlyArray<unknown> = [
        "not JSON",
        "[]",
        "{}",
        { type: "response.dance" },
        create("words=1", { stream_id: "" }),
        create("words=1", { stream_id: "a b" }),
        { type: "response.create", input: "hi" }
      ]
      for (const [index, message] of bad.entries()) {
        client.send(message)
        yield* client.received(index + 1)
        assert.deepInclude(last(client), { type: "error", status: 400 }, JSON.stringify(message))
        assert.isString(last(client)?.error?.code)
      }
      client.sendBinary(Buffer.from(JSON.stringify(create("words=1"))))
      yield* client.received(bad.length + 1)
      assert.deepInclude(last(client), { type: "error", status: 400 })
      client.send(create("words=2"))
      yield* client.until(() => told(client).some(({ type }) => type === "response.completed"))

      client.send(create("words=1", { instructions: "x".repeat(70_000) }))
      assert.strictEqual((yield* client.closed).code, 1009)

      /** What becomes of a connection on which these bytes come. */
      const closeOf = Effect.fnUntraced(function* (bytes: ReadonlyArray<number> | Buffer) {
        const broken = yield* WebSocketClient.connect(url)
        broken.sendRaw(Buffer.from(bytes))
        return (yield* broken.closed).code
      }, Effect.scoped)
      assert.strictEqual(yield* closeOf(Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n\r\n")), 1002)
      // Not masked, reserved bits, a reserved opcode, a continuation of nothing, and text that is no UTF-8.
      assert.strictEqual(yield* closeOf([0x81, 0x02, 0x7b, 0x7d]), 1002)
      assert.strictEqual(yield* closeOf([0xf1, 0x82, 0, 0, 0, 0, 0x7b, 0x7d]), 1002)
      assert.strictEqual(yield* closeOf([0x83, 0x82, 0, 0, 0, 0, 0x7b, 0x7d]), 1002)
      assert.strictEqual(yield* closeOf([0x80, 0x82, 0, 0, 0, 0, 0x7b, 0x7d]), 1002)
      assert.strictEqual(yield* closeOf([0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]), 1007)
      // It says that it has more than is taken.
      assert.strictEqual(yield* closeOf([0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), 1009)

      const deflating = yield* WebSocketClient.connect(url, { deflate: true })
      deflating.send(create("words=2"))
      yield* over(deflating)
      assert.strictEqual(last(deflating)?.type, "response.completed")
    })
  )

  it.live("end where the upstream's process is killed, with an error that says so", () =>
    Effect.gen(function* () {
      const doomed = yield* doomedUpstream
      const provider = { type: "openai" as const, base_url: `${doomed.url}/v1` }
      const gateway = yield* Gateway.start({
        config: { providers: { native: provider, bridged: { ...provider, websocket: false } }, retries: { times: 0 } }
      })
      const native = yield* WebSocketClient.connect(`${gateway.url}/native/v1/responses`)
      const bridged = yield* WebSocketClient.connect(`${gateway.url}/bridged/v1/responses`)
      for (const client of [native, bridged]) {
        client.send({ type: "response.create", model: "m", input: "hi" })
        yield* client.received(2)
      }
      doomed.kill()
      for (const client of [native, bridged]) {
        yield* over(client)
        assert.deepInclude(last(client), { type: "error", status: 502 })
        assert.strictEqual(last(client)?.error?.code, "upstream_cut")
        assert.strictEqual(client.messages.length, 3)
      }
      assert.strictEqual((yield* native.closed).code, 1011)
      // The other is the gateway's own: it lives on, and says what becomes of the next request.
      bridged.send({ type: "response.create", model: "m", input: "hi" })
      yield* over(bridged, 2)
      assert.strictEqual(last(bridged)?.status, 502)
      assert.strictEqual((yield* refusal(`${gateway.url}/native/v1/responses`)).status, 502)
      bridged.close(1000)
      assert.strictEqual((yield* bridged.closed).code, 1000)
      assert.deepStrictEqual(endings(gateway.dir), {
        "failed/upstream_cut": 2,
        "failed/upstream_unreachable": 1,
        "rejected/upstream_unreachable": 1
      })
    })
  )

  it.live("on SIGTERM let running responses finish, take no others, and are closed with 1001", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make()
      const gateway = yield* Gateway.start({
        config: { providers: { ...simulated.providers, up: { type: "openai", base_url: `${upstream.url}/v1` } } }
      })
      const idle = yield* WebSocketClient.connect(`${gateway.url}/sim/v1/responses`)
      const bridged = yield* WebSocketClient.connect(`${gateway.url}/sim/v1/responses`)
      const native = yield* WebSocketClient.connect(`${gateway.url}/up/v1/responses`)
      bridged.send(create("words=20, delay=50ms"))
      yield* bridged.received(1)
      native.send({ type: "response.create", model: "m", input: "hi" })
      const up = yield* upstream.connection(0)
      yield* up.received(1)
      up.send({ type: "response.created", sequence_number: 0, response: { id: "resp_1", status: "in_progress" } })
      yield* native.received(1)
      gateway.kill("SIGTERM")
      assert.strictEqual((yield* idle.closed).code, 1001)
      assert.isFalse(told(bridged).some(isOver), "the others were not asked to wait")
      native.send({ type: "response.create", model: "m", input: "more" })
      yield* native.received(2)
      assert.deepInclude(last(native), { type: "error", status: 503 })
      const late = yield* refusal(`${gateway.url}/sim/v1/responses`)
      assert.include([0, 503], late.status)
      up.send({
        type: "response.completed",
        sequence_number: 1,
        response: { id: "resp_1", status: "completed", output: [], usage: { input_tokens: 1, output_tokens: 1 } }
      })
      assert.deepStrictEqual(yield* native.closed, { code: 1001, reason: "the gateway is shutting down" })
      assert.strictEqual(last(native)?.type, "response.completed")
      assert.strictEqual((yield* bridged.closed).code, 1001)
      assert.strictEqual(last(bridged)?.type, "response.completed")
      assert.strictEqual(told(bridged).filter(({ delta }) => delta !== undefined).length, 20)
      assert.strictEqual((yield* up.closed).code, 1001)
      assert.deepStrictEqual(yield* gateway.exit, { code: 0, signal: null })
      assert.deepStrictEqual(endings(gateway.dir), { completed: 2 })
    })
  )

  it.live("on SIGTERM are refused where the upstream has not answered yet, and hold nothing up", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make({ handshakes: [{ instead: "hang" }] })
      const gateway = yield* Gateway.start({
        config: {
          providers: { up: { type: "openai", base_url: `${upstream.url}/v1` } },
          limits: { drain: "50 seconds" }
        }
      })
      const dialling = yield* Effect.forkChild(refusal(`${gateway.url}/up/v1/responses`))
      yield* upstream.dialled(1)
      const told = performance.now()
      gateway.kill("SIGTERM")
      const refused = yield* Fiber.join(dialling)
      assert.deepStrictEqual([refused.status, codeOf(refused)], [503, "shutting_down"])
      assert.deepStrictEqual(yield* gateway.exit, { code: 0, signal: null })
      assert.isBelow(performance.now() - told, 5_000)
      assert.strictEqual(upstream.openSockets(), 0)
    })
  )

  it.live("on SIGTERM are told that the gateway stops where their responses do not end in time", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make()
      const gateway = yield* Gateway.start({
        config: {
          providers: { ...simulated.providers, up: { type: "openai", base_url: `${upstream.url}/v1` } },
          limits: { drain: "500 millis" }
        }
      })
      const bridged = yield* WebSocketClient.connect(`${gateway.url}/sim/v1/responses`)
      bridged.send(create("stall=2"))
      const native = yield* WebSocketClient.connect(`${gateway.url}/up/v1/responses`)
      native.send({ type: "response.create", model: "m", input: "hi" })
      const up = yield* upstream.connection(0)
      yield* up.received(1)
      up.send({ type: "response.created", sequence_number: 0, response: { id: "resp_1", status: "in_progress" } })
      for (const client of [bridged, native]) yield* client.received(1)
      gateway.kill("SIGTERM")
      for (const client of [bridged, native]) {
        assert.deepStrictEqual(yield* client.closed, { code: 1001, reason: "the gateway is shutting down" })
        assert.deepInclude(last(client), { type: "error", status: 503 })
        assert.strictEqual(last(client)?.error?.code, "shutting_down")
      }
      assert.strictEqual((yield* up.closed).code, 1001)
      assert.deepStrictEqual(yield* gateway.exit, { code: 0, signal: null })
      assert.strictEqual(endings(gateway.dir)["open"], undefined)
    })
  )

  it.live("end at both sides where the client takes nothing, or half of it leaves", () =>
    Effect.gen(function* () {
      const flood = JSON.stringify({ type: "response.output_text.delta", delta: "x".repeat(60_000) })
      const upstream = yield* WebSocketUpstream.make({
        onConnection: ({ socket, webSocket }) => {
          const flow = () => {
            while (webSocket.readyState === webSocket.OPEN && !socket.writableNeedDrain) webSocket.send(flood)
            socket.once("drain", flow)
          }
          webSocket.once("message", flow)
        }
      })
      const gateway = yield* Gateway.start({
        config: {
          providers: { up: { type: "openai", base_url: `${upstream.url}/v1` } },
          limits: { write: "1 second" }
        }
      })
      const deaf = yield* WebSocketClient.connect(`${gateway.url}/up/v1/responses`)
      deaf.pause()
      const half = yield* WebSocketClient.connect(`${gateway.url}/up/v1/responses`, { keep: false })
      for (const client of [deaf, half]) client.send({ type: "response.create", model: "m", input: "hi" })
      yield* half.until(() => half.bytes > 0)
      half.socket.end()
      for (const index of [0, 1]) assert.strictEqual((yield* (yield* upstream.connection(index)).closed).code, 1001)
      yield* Effect.repeat(
        Effect.sync(() => endings(gateway.dir)["cancelled/client_gone"]),
        { schedule: Schedule.spaced("20 millis"), until: (count) => count === 2 }
      )
    })
  )

  it.live("lose nothing of what a client sent before it was answered", () =>
    Effect.gen(function* () {
      const upstream = yield* WebSocketUpstream.make()
      const gateway = yield* Gateway.start({
        config: { providers: { up: { type: "openai", base_url: `${upstream.url}/v1` } } }
      })
      const payload = Buffer.from('{"type":"response.create","model":"m","input":"early"}')
      const frame = Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload])
      const handshake = [
        "GET /up/v1/responses HTTP/1.1",
        "host: 127.0.0.1",
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version: 13"
      ]
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => connect(Number(new URL(gateway.url).port), "127.0.0.1")),
        (opened) => Effect.sync(() => opened.destroy())
      )
      socket.write(Buffer.concat([Buffer.from(`${handshake.join("\r\n")}\r\n\r\n`), frame.subarray(0, 20)]))
      const up = yield* upstream.connection(0)
      socket.write(frame.subarray(20))
      assert.deepStrictEqual(yield* up.received(1), [payload.toString()])
    })
  )
})
