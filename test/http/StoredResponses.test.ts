import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, References } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { storedResponseOf } from "../../src/http/StoredResponses.ts"
import { ScriptedTools } from "../../src/testing/ScriptedTools.ts"
import { interception, turn } from "../recorder/rows.ts"
import { RawClient, type RawRequest } from "../support/RawClient.ts"
import type { RawTurn, ServedRequest } from "../support/UpstreamServer.ts"
import { type Gateway, startGateway } from "./InProcessGateway.ts"

const json = { "content-type": "application/json" }

const whole = Effect.fnUntraced(function* (request: RawRequest) {
  const answer = yield* RawClient.send(request)
  const ending = yield* answer.ended
  return { ...answer, ending }
}, Effect.scoped)

/** `up` is called with a central key, `own` with the client's. */
const config = (url: string): SluiceConfigInput => ({
  providers: {
    up: { type: "openai", base_url: `${url}/v1`, api_key: "central-key" },
    own: { type: "openai", base_url: `${url}/v1` },
    claude: { type: "anthropic", base_url: url }
  },
  retries: { times: 0 }
})

/** Records an interception of several turns, as one of an earlier process. */
const record = (
  { recorder }: Gateway,
  ids: ReadonlyArray<string>,
  options: { readonly actor?: string; readonly framesOut?: number } = {}
) => {
  const id = `01a00000-0000-7000-8000-${ids[0]!.padStart(12, "0")}`
  return recorder.commit({
    opens: [interception(id, { actor: options.actor ?? "anonymous", dialect: "openai-responses" })],
    turns: ids.map((upstreamResponseId, index) =>
      turn(id, index, { upstreamResponseId, framesOut: options.framesOut ?? 9 })
    )
  })
}

/** An upstream that answers with the response that it is asked for. */
const stored = (request: ServedRequest): RawTurn => {
  const id = /responses\/([^/?]+)/.exec(request.url)?.[1]
  return { headers: json, steps: [`{ "object":"response", "id" : "${id}",\n "output":[{"id":"${id}"}] }\n`] }
}

const start = (turns: (request: ServedRequest, index: number) => RawTurn = stored, services?: Layer.Layer<never>) =>
  startGateway({ config, turns, ...(services === undefined ? {} : { services }) })

const asked = ({ upstream }: Gateway) => upstream.requests.map(({ method, url }) => `${method} ${url}`)

/** Keeps what is logged, in place of the console. */
const logs = (kept: Array<string>): Layer.Layer<never> =>
  Logger.layer([
    Logger.make(({ fiber, logLevel, message }) => {
      if (logLevel !== "Warn") return
      kept.push(`${String(message)} ${JSON.stringify(fiber.getRef(References.CurrentLogAnnotations))}`)
    })
  ])

describe("a stored response of several turns", () => {
  it.live("is fetched as its last turn, under the first one's id", () =>
    Effect.gen(function* () {
      const gateway = yield* start()
      yield* record(gateway, ["r1", "r2", "r3"])
      for (const path of ["/v1/responses/r1", "/responses/r1"]) {
        const answer = yield* whole({ url: `${gateway.url}/up${path}?include%5B%5D=a` })
        assert.strictEqual(answer.text(), `{ "object":"response", "id" : "r1",\n "output":[{"id":"r3"}] }\n`)
        assert.strictEqual(answer.headers["x-sluice-lossy"], "output")
        assert.strictEqual(answer.status, 200)
      }
      assert.deepStrictEqual(asked(gateway), [
        "GET /v1/responses/r3?include%5B%5D=a",
        "GET /v1/responses/r3?include%5B%5D=a"
      ])
      const head = yield* whole({ url: `${gateway.url}/up/v1/responses/r1`, method: "HEAD" })
      assert.deepStrictEqual([head.text(), head.headers["x-sluice-lossy"]], ["", "output"])
      assert.strictEqual(asked(gateway)[2], "HEAD /v1/responses/r3")
    })
  )

  it.live("is not said to be short where turns before the last have shown nothing", () =>
    Effect.gen(function* () {
      const gateway = yield* start()
      yield* record(gateway, ["r1", "r2"], { framesOut: 0 })
      const answer = yield* whole({ url: `${gateway.url}/up/v1/responses/r1` })
      assert.include(answer.text(), `"id" : "r1"`)
      assert.isUndefined(answer.headers["x-sluice-lossy"])
    })
  )

  it.live("has the input items of its first turn, which its client has sent", () =>
    Effect.gen(function* () {
      const list = '{"object":"list","data":[{"id":"msg_1"}],"first_id":"msg_1"}'
      const gateway = yield* start(() => ({ headers: json, steps: [list] }))
      yield* record(gateway, ["r1", "r2"])
      const answer = yield* whole({ url: `${gateway.url}/up/v1/responses/r1/input_items?limit=1` })
      assert.strictEqual(answer.text(), list)
      assert.isUndefined(answer.headers["x-sluice-lossy"])
      assert.deepStrictEqual(asked(gateway), ["GET /v1/responses/r1/input_items?limit=1"])
    })
  )

  it.live("is streamed under the first one's id, in whatever pieces it comes", () =>
    Effect.gen(function* () {
      const events = (id: string) =>
        [
          ": hello\n\n",
          `event: response.created\ndata: {"type":"response.created","response":{"id":"${id}","output":[]}}\n\n`,
          `event: response.output_text.delta\ndata: {"type":"response.output_text.delta","response_id": "${id}","delta":"r2"}\n\n`,
          `data: {"type":"response.other","response_id":"r9","of":"r2"}\n\n`,
          `data: {"type":"response.completed","response":\ndata: {"id":"${id}","output":[{"id":"r2"}]}}\n\n`
        ].join("")
      const gateway = yield* start((_, index) => ({
        steps: index === 0 ? [events("r2")] : [...events("r2")]
      }))
      yield* record(gateway, ["r1", "r2"])
      for (let n = 0; n < 2; n++) {
        const answer = yield* whole({ url: `${gateway.url}/up/v1/responses/r1?stream=true` })
        assert.strictEqual(answer.text(), events("r1"))
        assert.strictEqual(answer.ending, "clean")
        assert.strictEqual(answer.headers["x-sluice-lossy"], "output")
      }
      assert.deepStrictEqual(asked(gateway)[0], "GET /v1/responses/r2?stream=true")
    })
  )

  it.live("breaks off where its stream does, and shows no part of an event", () =>
    Effect.gen(function* () {
      const gateway = yield* start(() => ({ steps: ['data: {"a":1}\n\n', 'data: {"respon', { reset: true }] }))
      yield* record(gateway, ["r1", "r2"])
      const answer = yield* whole({ url: `${gateway.url}/up/v1/responses/r1?stream=true` })
      assert.deepStrictEqual([answer.text(), answer.ending], ['data: {"a":1}\n\n', "reset"])
    })
  )

  it.live("is deleted with all its turns, and cancelled likewise", () =>
    Effect.gen(function* () {
      const gateway = yield* start()
      yield* record(gateway, ["r1", "r2", "r3"])
      const deleted = yield* whole({ url: `${gateway.url}/up/v1/responses/r1`, method: "DELETE" })
      assert.include(deleted.text(), `"id" : "r1"`)
      assert.isUndefined(deleted.headers["x-sluice-lossy"])
      assert.deepStrictEqual(asked(gateway).toSorted(), [
        "DELETE /v1/responses/r1",
        "DELETE /v1/responses/r2",
        "DELETE /v1/responses/r3"
      ])
      const cancelled = yield* whole({ url: `${gateway.url}/up/v1/responses/r1/cancel`, method: "POST", body: "" })
      assert.include(cancelled.text(), `"id" : "r1"`)
      assert.strictEqual(cancelled.headers["x-sluice-lossy"], "output")
      assert.deepStrictEqual(asked(gateway).slice(3).toSorted(), [
        "POST /v1/responses/r1/cancel",
        "POST /v1/responses/r2/cancel",
        "POST /v1/responses/r3/cancel"
      ])
    })
  )

  it.live("is answered as its last turn is, where others fail: that is logged", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const gateway = yield* start((request) => {
        const id = /responses\/([^/?]+)/.exec(request.url)?.[1]
        const error = { error: { message: `no ${id}, central-key`, code: "gone" } }
        return id === "r2" ? stored(request) : { status: 404, headers: json, steps: [JSON.stringify(error)] }
      }, logs(logged))
      yield* record(gateway, ["r1", "r2"])
      const deleted = yield* whole({ url: `${gateway.url}/up/v1/responses/r1`, method: "DELETE" })
      assert.deepStrictEqual([deleted.status, deleted.text().includes(`"id" : "r1"`)], [200, true])
      assert.strictEqual(logged.length, 1)
      assert.include(logged[0], "the upstream answered 404: no r1")
      assert.include(logged[0], `"response":"r1"`)
      assert.notInclude(logged[0], "central-key")

      yield* record(gateway, ["q1", "q2"])
      const failed = yield* whole({ url: `${gateway.url}/up/v1/responses/q1`, method: "DELETE" })
      assert.strictEqual(failed.status, 404)
      assert.include(failed.text(), "no q1", "not the id that the client does not know")
      assert.isUndefined(failed.headers["x-sluice-lossy"])
      assert.includeMembers(asked(gateway), ["DELETE /v1/responses/q1", "DELETE /v1/responses/q2"])
    })
  })

  it.live("is its actor's alone: for others the id is what it is", () =>
    Effect.gen(function* () {
      const gateway = yield* start()
      yield* record(gateway, ["r1", "r2"])
      const authorization = "Bearer sk-of-somebody"
      const other = yield* whole({ url: `${gateway.url}/own/v1/responses/r1`, headers: { authorization } })
      assert.include(other.text(), `"id" : "r1"`)
      assert.isUndefined(other.headers["x-sluice-lossy"])
      yield* whole({ url: `${gateway.url}/own/v1/responses/r1`, method: "DELETE", headers: { authorization } })
      assert.deepStrictEqual(asked(gateway), ["GET /v1/responses/r1", "DELETE /v1/responses/r1"])
    })
  )

  it.live("of one turn, and one that is not known, is relayed as it is", () =>
    Effect.gen(function* () {
      const gateway = yield* start()
      yield* record(gateway, ["r1"])
      yield* record(gateway, ["s1", "s2"])
      for (const id of ["r1", "r9", "s2"]) {
        const answer = yield* whole({ url: `${gateway.url}/up/v1/responses/${id}` })
        assert.include(answer.text(), `"id" : "${id}"`)
        assert.isUndefined(answer.headers["x-sluice-lossy"])
      }
      yield* whole({ url: `${gateway.url}/up/v1/responses/r1`, method: "DELETE" })
      assert.strictEqual(asked(gateway).length, 4)
    })
  )
})

describe("a response whose tools the gateway ran", () => {
  const completed = (id: string, output: ReadonlyArray<object>) =>
    JSON.stringify({ id, object: "response", status: "completed", model: "m-1", output, tools: [] })
  const call = { type: "function_call", id: "fc_1", call_id: "c1", name: "bmcp_scripted_time", arguments: "{}" }
  const text = { type: "message", id: "msg_1", role: "assistant", content: [{ type: "output_text", text: "noon" }] }

  it.live("is known by its first turn's id as soon as it was answered", () =>
    Effect.gen(function* () {
      const gateway = yield* start(
        (request, index) =>
          request.method === "POST"
            ? { headers: json, steps: [index === 0 ? completed("r1", [call]) : completed("r2", [text])] }
            : stored(request),
        Layer.merge(ScriptedTools.layer([{ name: "time", answer: "12:00" }]), logs([]))
      )
      const made = yield* whole({
        url: `${gateway.url}/up/v1/responses`,
        method: "POST",
        headers: json,
        body: JSON.stringify({ model: "m", input: "what time is it?" })
      })
      assert.strictEqual(JSON.parse(made.text()).id, "r1")
      const answer = yield* whole({ url: `${gateway.url}/up/v1/responses/r1` })
      assert.include(answer.text(), `"id" : "r1"`)
      assert.strictEqual(asked(gateway)[2], "GET /v1/responses/r2")
      assert.strictEqual(answer.headers["x-sluice-lossy"], "output", "nobody recorded what a JSON answer showed")
    })
  )
})

describe("a stored response to whose request tools were added", () => {
  const tools = ScriptedTools.layer([{ name: "time", answer: "12:00" }])
  const own = '{ "type":"function","name":"bash" }'
  const injected = '{"type":"function","name":"bmcp_scripted_time","parameters":{}}'
  const hidden = '{"type":"function_call","call_id":"c1","name":"bmcp_scripted_time","arguments":"{}"}'
  const said = '{"type":"message","content":[]}'
  const response = (list: string, output: string) =>
    `{ "id":"r1", "object":"response","status":"completed", "tools":[${list}],\n "output":[${output}]}`

  it.live("is shown without them, and without their calls", () =>
    Effect.gen(function* () {
      const body = response(`${own},${injected}`, `${hidden},${said}`)
      const event = `event: response.completed\ndata: {"type":"response.completed","response":${body.replace("\n", "")}}\n\n`
      const gateway = yield* start(
        ({ url }) =>
          url.includes("stream=true")
            ? { headers: { "content-type": "text/event-stream" }, steps: [event] }
            : { headers: json, steps: [body] },
        Layer.merge(tools, logs([]))
      )
      const shown = response(own, said)
      assert.strictEqual((yield* whole({ url: `${gateway.url}/up/v1/responses/r1` })).text(), shown)
      const streamed = yield* whole({ url: `${gateway.url}/up/v1/responses/r1?stream=true` })
      assert.include(streamed.text(), shown.replace("\n", ""))
      assert.notInclude(streamed.text(), "bmcp_")
    })
  )

  it.live("is counted with them", () =>
    Effect.gen(function* () {
      const gateway = yield* start(() => ({ headers: json, steps: ["{}"] }), Layer.merge(tools, logs([])))
      for (const [path, input] of [
        ["up/v1/responses/input_tokens", { model: "m", input: "hi" }],
        ["claude/v1/messages/count_tokens", { model: "m", messages: [{ role: "user", content: "hi" }] }]
      ] as const) {
        const body = JSON.stringify(input)
        yield* whole({ url: `${gateway.url}/${path}`, method: "POST", headers: json, body })
        const sent = gateway.upstream.requests.at(-1)!.body.toString()
        assert.include(sent, '"name":"bmcp_scripted_time"')
        assert.isTrue(sent.startsWith(body.slice(0, -1)), sent)
      }
    })
  )
})

describe("a path of a stored response", () => {
  const cases: ReadonlyArray<readonly [method: string, path: string, at: string | null]> = [
    ["GET", "/v1/responses/r1", "/v1/responses/x%2F"],
    ["GET", "/responses/r1", "/responses/x%2F"],
    ["HEAD", "/v1/responses/r%31", "/v1/responses/x%2F"],
    ["GET", "/v1/responses/r1/input_items", null],
    ["DELETE", "/v1/responses/r1", "/v1/responses/x%2F"],
    ["POST", "/v1/responses/r1/cancel", "/v1/responses/x%2F/cancel"],
    ["POST", "/v1/responses/r1", null],
    ["GET", "/v1/responses/r1/cancel", null],
    ["DELETE", "/v1/responses/r1/input_items", null],
    ["POST", "/v1/responses/input_tokens", null],
    ["GET", "/v1/conversations/r1", null]
  ]
  for (const [method, path, at] of cases) {
    it(`${method} ${path} ${at === null ? "is none" : "can be asked of another"}`, () => {
      const found = storedResponseOf(method, path)
      assert.strictEqual(found?.at("x/") ?? null, at)
      if (found !== null) assert.strictEqual(found.id, "r1")
    })
  }

  it("that is no escaped text is taken as it stands", () => {
    assert.strictEqual(storedResponseOf("GET", "/v1/responses/r%zz")?.id, "r%zz")
  })
})
