import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { RawClient, type RawRequest } from "../support/RawClient.ts"
import type { RawTurn } from "../support/UpstreamServer.ts"
import { startGateway } from "./InProcessGateway.ts"

const message = JSON.stringify({
  model: "claude-x",
  id: "msg_1",
  type: "message",
  role: "assistant",
  content: [{ type: "text", text: "Hi" }],
  stop_reason: "end_turn",
  usage: { input_tokens: 3, output_tokens: 2 }
})

const json = (body: string, more: Partial<RawTurn> = {}): RawTurn => ({
  headers: { "content-type": "application/json", "request-id": "req_up" },
  steps: [body],
  ...more
})

const request = JSON.stringify({ model: "claude-x", max_tokens: 9, messages: [{ role: "user", content: "hello" }] })

/** A gateway with two providers of Anthropic's type: one with a key of its own, one without. */
const gateway = (turns: ReadonlyArray<RawTurn>) =>
  startGateway({
    turns: [...turns],
    config: (url) => ({
      providers: {
        central: { type: "anthropic", base_url: url, api_key: "sk-ant-central", models: ["claude-x"] },
        byok: { type: "anthropic", base_url: url },
        chat: { type: "openai", base_url: `${url}/v1`, api_key: "central-key", models: ["gpt-5"] }
      },
      models: { fast: "central/claude-x" }
    })
  })

const whole = Effect.fnUntraced(function* (sent: RawRequest) {
  const answer = yield* RawClient.send(sent)
  yield* answer.ended
  return answer
})

const anthropic = { "content-type": "application/json", "anthropic-version": "2023-06-01" }

describe("credentials of Messages", () => {
  it.live.each([
    ["x-api-key", { "x-api-key": "sk-mine" }, { "x-api-key": "sk-mine" }],
    ["an OAuth bearer", { authorization: "Bearer oat-mine" }, { authorization: "Bearer oat-mine" }],
    ["both", { "x-api-key": "sk-mine", authorization: "Bearer oat-mine" }, { "x-api-key": "sk-mine" }],
    ["none", {}, {}]
  ] as ReadonlyArray<[string, { [name: string]: string }, { [name: string]: string }]>)(
    "of the client's own: %s",
    ([, sent, received]) =>
      Effect.gen(function* () {
        const { upstream, url } = yield* gateway([json(message)])
        yield* whole({ url: `${url}/byok/v1/messages`, body: request, headers: { ...anthropic, ...sent } })
        const { headers } = upstream.requests[0]!
        assert.strictEqual(headers["x-api-key"], received["x-api-key"])
        assert.strictEqual(headers.authorization, received.authorization)
      })
  )

  it.live("of the gateway's go out as x-api-key, whatever the client sent", () =>
    Effect.gen(function* () {
      const { upstream, url } = yield* gateway([json(message)])
      const headers = { ...anthropic, authorization: "Bearer oat-mine" }
      yield* whole({ url: `${url}/central/v1/messages`, body: request, headers })
      assert.strictEqual(upstream.requests[0]!.headers["x-api-key"], "sk-ant-central")
      assert.isUndefined(upstream.requests[0]!.headers.authorization)
    })
  )
})

describe("what a client of Messages says", () => {
  it.live("reaches the upstream: its query, its betas, its version and every byte of the body", () =>
    Effect.gen(function* () {
      const { upstream, url } = yield* gateway([json(message)])
      const beta = "claude-code-20250219,context-management-2025-06-27,made-up-2030-01-01"
      const body = `{ "messages":[{"role":"user","content":"a"},{"role":"system","content":"b","output_config":{"effort":"high"}}],"thread":{"type":"create"},"model":"claude-x","tools":[{"name":"t","defer_loading":true}],"max_tokens":1e2}`
      const headers = {
        ...anthropic,
        "anthropic-version": "2026-10-21",
        "anthropic-beta": beta,
        "anthropic-dangerous-direct-browser-access": "true",
        "x-claude-code-session-id": "s-1",
        "x-app": "cli"
      }
      yield* whole({ url: `${url}/v1/messages?beta=true&x=%31`, body, headers })
      const received = upstream.requests[0]!
      assert.strictEqual(received.url, "/v1/messages?beta=true&x=%31")
      assert.strictEqual(received.body.toString("utf8"), body)
      for (const [name, value] of Object.entries(headers)) assert.strictEqual(received.headers[name], value)
    })
  )

  it.live("comes back: status, headers and body of an error, 529 among them", () =>
    Effect.gen(function* () {
      const body = '{"type":"error", "error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_up"}'
      const headers = {
        "content-type": "application/json",
        "request-id": "req_up",
        "anthropic-ratelimit-requests-remaining": "0",
        "x-should-retry": "true"
      }
      const { recordings, url } = yield* gateway([{ status: 529, headers, steps: [body] }])
      const answer = yield* whole({ url: `${url}/central/v1/messages`, body: request, headers: anthropic })
      assert.strictEqual(answer.status, 529)
      assert.strictEqual(answer.text(), body)
      for (const [name, value] of Object.entries(headers)) assert.strictEqual(answer.headers[name], value)
      const { closes } = yield* recordings.rows
      assert.strictEqual(closes[0]?.error?.code, "upstream_status")
    })
  )
})

describe("errors of the gateway's in Messages", () => {
  const cases: ReadonlyArray<{
    readonly name: string
    readonly path: string
    readonly status: number
    readonly type: string
    readonly request?: Partial<RawRequest>
    readonly says?: RegExp
  }> = [
    { name: "an unknown provider", path: "/nobody/v1/messages", status: 404, type: "not_found_error" },
    {
      name: "an unknown model",
      path: "/v1/messages",
      status: 404,
      type: "not_found_error",
      request: { body: request.replace("claude-x", "nothing") },
      says: /Configured: fast/
    },
    { name: "an unknown route", path: "/central/v1/messages/nothing", status: 404, type: "not_found_error" },
    {
      name: "an unknown route, of a caller with Anthropic's headers",
      path: "/central/v1/nothing",
      status: 404,
      type: "not_found_error",
      request: { headers: anthropic }
    },
    {
      name: "a dialect that the provider lacks",
      path: "/chat/v1/messages",
      status: 404,
      type: "not_found_error",
      says: /does not speak anthropic-messages/
    },
    {
      name: "a method that is none",
      path: "/central/v1/messages",
      status: 405,
      type: "invalid_request_error",
      request: { method: "PUT" }
    },
    {
      name: "a method that is none, passed through",
      path: "/central/v1/messages/count_tokens",
      status: 405,
      type: "invalid_request_error",
      request: { method: "PUT" }
    },
    {
      name: "a strange host",
      path: "/central/v1/messages",
      status: 403,
      type: "permission_error",
      request: { headers: { host: "evil.example" } }
    },
    {
      name: "no JSON",
      path: "/central/v1/messages",
      status: 400,
      type: "invalid_request_error",
      request: { body: "{" },
      says: /not valid JSON/
    },
    {
      name: "no messages",
      path: "/central/v1/messages",
      status: 400,
      type: "invalid_request_error",
      request: { body: '{"model":"m"}' },
      says: /^messages: Field required$/
    },
    {
      name: "an unknown coding",
      path: "/central/v1/messages",
      status: 415,
      type: "invalid_request_error",
      request: { headers: { "content-encoding": "made-up" } }
    }
  ]

  it.live.each(cases.map((one) => [one.name, one] as const))("%s", ([, one]) =>
    Effect.gen(function* () {
      const { url, upstream } = yield* gateway([])
      const answer = yield* whole({ url: `${url}${one.path}`, method: "POST", body: request, ...one.request })
      assert.strictEqual(answer.status, one.status, answer.text())
      const body = JSON.parse(answer.text()) as {
        readonly type: string
        readonly error: { readonly type: string; readonly message: string }
        readonly request_id: string
      }
      assert.deepStrictEqual(Object.keys(body), ["type", "error", "request_id"])
      assert.deepStrictEqual([body.type, body.error.type], ["error", one.type])
      assert.deepStrictEqual(Object.keys(body.error), ["type", "message"])
      assert.match(body.error.message, one.says ?? /\w/)
      assert.strictEqual(answer.headers["request-id"], body.request_id)
      assert.isUndefined(answer.headers["x-request-id"])
      assert.strictEqual(upstream.requests.length, 0)
    })
  )

  it.live("are OpenAI's on its own paths, whatever the headers, and for callers without Anthropic's", () =>
    Effect.gen(function* () {
      const { url } = yield* gateway([])
      const answers = [
        yield* whole({ url: `${url}/nobody/v1/chat/completions`, body: request, headers: anthropic }),
        yield* whole({ url: `${url}/v1/responses/x`, body: request, headers: anthropic }),
        yield* whole({ url: `${url}/central/v1/nothing`, body: request })
      ]
      for (const answer of answers) {
        assert.strictEqual(answer.status, 404)
        const body = JSON.parse(answer.text()) as { readonly error: object }
        assert.deepStrictEqual(Object.keys(body), ["error"])
        assert.deepStrictEqual(Object.keys(body.error), ["message", "type", "param", "code"])
        assert.isDefined(answer.headers["x-request-id"])
      }
    })
  )
})

describe("count_tokens", () => {
  it.live.each([
    ["below a provider's name", "/byok/v1/messages/count_tokens?beta=true", request, request],
    ["with a model that says whose it is", "/v1/messages/count_tokens?beta=true", request, request],
    [
      "with an alias",
      "/v1/messages/count_tokens?beta=true",
      '{ "model" : "fast","messages":[ ]}',
      '{ "model" : "claude-x","messages":[ ]}'
    ]
  ] as ReadonlyArray<[string, string, string, string]>)("passes through %s, unrecorded", ([, path, sent, received]) =>
    Effect.gen(function* () {
      const { recordings, upstream, url } = yield* gateway([json('{"input_tokens": 14}')])
      const answer = yield* whole({ url: `${url}${path}`, body: sent, headers: anthropic })
      assert.strictEqual(answer.text(), '{"input_tokens": 14}')
      assert.strictEqual(answer.headers["request-id"], "req_up")
      assert.strictEqual(upstream.requests[0]!.url, "/v1/messages/count_tokens?beta=true")
      assert.strictEqual(upstream.requests[0]!.body.toString("utf8"), received)
      assert.strictEqual(upstream.requests[0]!.headers["anthropic-version"], "2023-06-01")
      assert.strictEqual((yield* recordings.rows).opens.length, 0)
    })
  )

  it.live.each(["{}", '{"model":"nothing"}', '{"model":"chat/gpt-5"}'])(
    "is a 404 in Anthropic's form where nobody can tell whose it is: %s",
    (body) =>
      Effect.gen(function* () {
        const { upstream, url } = yield* gateway([])
        const answer = yield* whole({ url: `${url}/v1/messages/count_tokens`, method: "POST", body })
        assert.strictEqual(answer.status, 404)
        assert.include(answer.text(), '"type":"not_found_error"')
        assert.strictEqual(upstream.requests.length, 0)
      })
  )
})

describe("model discovery", () => {
  it.live("answers in the form of the caller", () =>
    Effect.gen(function* () {
      const { upstream, url } = yield* gateway([json('{"data": []}')])
      for (const headers of [{ "anthropic-version": "2023-06-01" }, { "x-api-key": "k" }]) {
        const answer = yield* whole({ url: `${url}/v1/models?limit=1000`, headers })
        assert.deepStrictEqual(JSON.parse(answer.text()), {
          data: ["fast", "central/claude-x"].map((id) => ({
            type: "model",
            id,
            display_name: id,
            created_at: "1970-01-01T00:00:00Z"
          })),
          has_more: false,
          first_id: "fast",
          last_id: "central/claude-x"
        })
      }
      const first = yield* whole({ url: `${url}/v1/models?limit=1`, headers: { "x-api-key": "k" } })
      assert.include(first.text(), '"has_more":true,"first_id":"fast","last_id":"fast"')
      const openAi = yield* whole({ url: `${url}/v1/models`, headers: { authorization: "Bearer k" } })
      assert.include(openAi.text(), '{"object":"list","data":[{"id":"chat/gpt-5","object":"model"')
      const passed = yield* whole({ url: `${url}/central/v1/models?limit=7`, headers: { "x-api-key": "k" } })
      assert.strictEqual(passed.text(), '{"data": []}')
      assert.strictEqual(upstream.requests[0]!.url, "/v1/models?limit=7")
    })
  )
})
