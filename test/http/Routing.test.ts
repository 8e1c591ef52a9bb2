import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { RawClient, type RawRequest } from "../support/RawClient.ts"
import { answers, chat, startGateway, wire } from "./InProcessGateway.ts"

const config = (url: string): SluiceConfigInput => ({
  providers: {
    // The paths of the upstream tell which provider was called.
    versioned: { type: "openai", base_url: `${url}/versioned/v1`, api_key: "k-versioned" },
    bare: { type: "openai-compatible", base_url: `${url}/bare/`, models: ["llama-*", "exact"] },
    beta: { type: "openai-compatible", base_url: `${url}/v1beta/openai?api-version=1`, models: ["org/*"] },
    claude: { type: "anthropic", base_url: `${url}/claude` }
  },
  models: { fast: "versioned/gpt-4.1-mini", agent: { to: "bare/llama-4" } }
})

const whole = Effect.fnUntraced(function* (request: RawRequest) {
  const answer = yield* RawClient.send(request)
  yield* answer.ended
  return answer
})

const ask = (url: string, model: string, more: object = {}) => ({
  url,
  body: JSON.stringify({ ...chat, model, ...more }),
  headers: { "content-type": "application/json" }
})

describe("a call below a provider's name", () => {
  it.live("goes to its base URL, whether or not either names a version", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({ config })
      for (const [path, expected] of [
        ["/versioned/v1/chat/completions", "/versioned/v1/chat/completions"],
        ["/versioned/chat/completions", "/versioned/v1/chat/completions"],
        ["/bare/v1/chat/completions", "/bare/v1/chat/completions"],
        ["/bare/chat/completions", "/bare/chat/completions"],
        ["/beta/v1/chat/completions", "/v1beta/openai/chat/completions?api-version=1"],
        ["/beta/v1/chat/completions?a=%zz&a", "/v1beta/openai/chat/completions?api-version=1&a=%zz&a"]
      ]) {
        assert.strictEqual((yield* whole(ask(url + path, "m"))).status, 200, path)
        assert.strictEqual(upstream.requests.at(-1)!.url, expected)
      }
    })
  )

  it.live("changes nothing of the model's name, in the request or the answer", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({ config })
      for (const model of ["fast", "bare/x", "anything"]) {
        const answer = yield* whole(ask(`${url}/versioned/v1/chat/completions`, model))
        assert.strictEqual(JSON.parse(upstream.requests.at(-1)!.text).model, model)
        assert.strictEqual(JSON.parse(answer.text()).model, "m-1")
      }
    })
  )

  it.live("keeps its query as it came", () =>
    Effect.gen(function* () {
      const { port, url, upstream } = yield* startGateway({ config })
      for (const query of [
        "?a=1&a=2&a=",
        "??",
        "?&&=&",
        "?a=%zz&b=%2F%2f&c=+%20",
        "?a=%E4%BD%A0",
        "?a[]={x}|y^`\\",
        "?/../x"
      ]) {
        const connection = yield* wire(port)
        const { body } = ask("", "m")
        connection.write(
          `POST /bare/v1/chat/completions${query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`
        )
        assert.match(yield* connection.closed, /^HTTP\/1\.1 200 /)
        assert.strictEqual(upstream.requests.at(-1)!.url, `/bare/v1/chat/completions${query}`)
      }
      const listed = yield* whole({ url: `${url}/bare/v1/models?limit=%31` })
      assert.strictEqual(listed.status, 200)
      assert.strictEqual(upstream.requests.at(-1)!.url, "/bare/v1/models?limit=%31")
    })
  )

  it.live("may name its target in absolute form", () =>
    Effect.gen(function* () {
      const { port, upstream } = yield* startGateway({ config })
      const connection = yield* wire(port)
      connection.write(
        "GET http://localhost/bare/v1/models?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
      )
      assert.match(yield* connection.closed, /^HTTP\/1\.1 200 /)
      assert.strictEqual(upstream.requests[0]!.url, "/bare/v1/models?x=1")
      assert.strictEqual(upstream.requests[0]!.headers["host"], new URL(upstream.url).host)
    })
  )
})

describe("a call of a unified route", () => {
  const cases: ReadonlyArray<readonly [asked: string, path: string, sent: string]> = [
    ["versioned/gpt-5", "/versioned/v1/chat/completions", "gpt-5"],
    ["bare/org/model:tag", "/bare/v1/chat/completions", "org/model:tag"],
    ["fast", "/versioned/v1/chat/completions", "gpt-4.1-mini"],
    ["agent", "/bare/v1/chat/completions", "llama-4"],
    ["llama-3.1", "/bare/v1/chat/completions", "llama-3.1"],
    ["exact", "/bare/v1/chat/completions", "exact"],
    ["org/anything", "/v1beta/openai/chat/completions?api-version=1", "org/anything"],
    ["gpt-5", "/versioned/v1/chat/completions", "gpt-5"]
  ]

  it.live("goes where its model says, under the name used there, and shows the client its own", () =>
    Effect.gen(function* () {
      const { url, upstream, recordings } = yield* startGateway({
        config,
        turns: [{ ...answers, headers: { ...answers.headers, "openai-model": "m-1" } }]
      })
      for (const [asked, path, sent] of cases) {
        const answer = yield* whole(ask(`${url}/v1/chat/completions`, asked))
        assert.strictEqual(answer.status, 200, asked)
        const request = upstream.requests.at(-1)!
        assert.deepStrictEqual([request.url, JSON.parse(request.text).model], [path, sent])
        const shown = asked === sent ? "m-1" : asked
        assert.strictEqual(JSON.parse(answer.text()).model, shown)
        assert.strictEqual(answer.headers["openai-model"], shown)
        const { interception } = yield* recordings.closedAs(String(answer.headers["x-sluice-interception-id"]))
        assert.deepInclude(interception, { requestedModel: asked, servedModel: "m-1" })
      }
    })
  )

  it.live("changes the model's span of the request, and every frame of the answer, and nothing else", () =>
    Effect.gen(function* () {
      const frames = [
        'data: {"id":"1","model":"m-1","x":1e2,"choices":[]}\n\n',
        'data: {"model" : "m-1" ,"choices":[{"index":0,"finish_reason":"stop"}]}\r\n\r\n',
        "data: [DONE]\n\n"
      ]
      const { url, upstream } = yield* startGateway({ config, turns: [{ steps: frames }] })
      const body = (model: string) =>
        `{ "messages":[],\t"stream":true,"n" :1e0, "model" : "${model}","stream_options":{"include_usage":true},"\\u00e9":9007199254740993 }`
      const answer = yield* whole({ url: `${url}/v1/chat/completions`, body: body("fast") })
      assert.strictEqual(upstream.requests[0]!.text, body("gpt-4.1-mini"))
      assert.strictEqual(answer.text(), frames.join("").replaceAll('"m-1"', '"fast"'))
    })
  )

  it.live("reads and changes one and the same of several models", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({ config })
      const body = '{"model":"fast","messages":[],"model":"bare/two"}'
      const answer = yield* whole({ url: `${url}/v1/chat/completions`, body })
      const [request] = upstream.requests
      if (request === undefined) return assert.isAtLeast(answer.status, 400)
      // Whichever is taken, the upstream that was chosen for it must not read the other.
      const expected = request.url.startsWith("/bare") ? "two" : "gpt-4.1-mini"
      assert.strictEqual(JSON.parse(request.text).model, expected)
    })
  )

  it.live("lists what it knows for sure", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({ config })
      const answer = yield* whole({ url: `${url}/v1/models` })
      const { object, data } = JSON.parse(answer.text())
      assert.strictEqual(object, "list")
      assert.deepStrictEqual(
        data.map(({ id, owned_by }: { id: string; owned_by: string }) => [id, owned_by]),
        [
          ["fast", "versioned"],
          ["agent", "bare"],
          ["bare/exact", "bare"]
        ]
      )
      const head = yield* whole({ url: `${url}/v1/models`, method: "HEAD" })
      assert.deepStrictEqual([head.status, head.text()], [200, ""])
      assert.strictEqual(upstream.requests.length, 0)
    })
  )
})

describe("a path", () => {
  const tricks = [
    "/versioned/v1/models/../organization/admin_api_keys",
    "/versioned/v1/models/x/../../organization",
    "/versioned/v1/models/./x",
    "/versioned/v1/models/..",
    "/versioned/v1/models/.",
    "/versioned/v1/models/%2e%2e/organization",
    "/versioned/v1/models/%2E%2e/organization",
    "/versioned/v1/models/.%2e/organization",
    "/versioned/v1/models/..%2forganization",
    "/versioned/v1/models/..%2Forganization",
    "/versioned/v1/models/x%2f..%2f..%2forganization",
    "/versioned/v1/models/%252e%252e%252forganization",
    "/versioned/v1/models/%25252e%25252e/organization",
    "/versioned/v1/models//organization",
    "/versioned//v1/models",
    "/versioned/v1//models",
    "//versioned/v1/organization",
    "/versioned/v1/models/..;/organization",
    "/versioned/v1/models/..;x=1/organization",
    "/versioned/v1/models/..\\organization",
    "/versioned/v1/models\\..\\organization",
    "/versioned/v1/models/..%5corganization",
    "/versioned/v1/models/..%5Corganization",
    "/versioned/v1/models/x%00",
    "/versioned/v1/models/x%00/../organization",
    "/versioned/v1/models/x%0d%0aX-Injected:%201",
    "/versioned/v1/models/x%7f",
    "/versioned/v1/models/%zz",
    "/versioned/v1/chat/completions/../../organization",
    "/versioned/v1/chat/completions%2f..%2f..%2forganization",
    "/versioned/v1/chat%2fcompletions",
    "/versioned/v1/files/%2e%2e",
    "/versioned/v1/Models",
    "/versioned/V1/models",
    "/VERSIONED/v1/models",
    "/versioned/v1/modelsx",
    "/versioned/v1/xmodels",
    "/versioned/v1/v1/models",
    "/versioned/v1/organization/admin_api_keys",
    "/versioned/v1/admin",
    "/versioned/v1/fine_tuning/jobs",
    "/versioned/v1/realtime/sessions",
    "/versioned/v1/assistants",
    "/versioned/v1/usage",
    "/versioned/v1/",
    "/versioned/../bare/v1/models",
    "/versioned/%2e%2e/bare/v1/models",
    "/v1/models/../organization",
    "/v1/models%2f..%2forganization"
  ]

  it.live("reaches no provider by another spelling", () =>
    Effect.gen(function* () {
      const { port, upstream } = yield* startGateway({ config })
      for (const path of tricks) {
        for (const method of ["GET", "POST"]) {
          const connection = yield* wire(port)
          connection.write(
            `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}`
          )
          assert.match(yield* connection.closed, /^HTTP\/1\.1 (404|405|400) /, path)
          assert.strictEqual(upstream.requests.length, 0, path)
        }
      }
    })
  )

  it.live("with raw bytes that no path may hold is refused as no HTTP", () =>
    Effect.gen(function* () {
      const { port, upstream } = yield* startGateway({ config })
      for (const odd of ["\0", "\t", "\x0b", "\x7f", "\xe9"]) {
        const connection = yield* wire(port)
        connection.write(Buffer.from(`GET /bare/v1/models/${odd} HTTP/1.1\r\nHost: localhost\r\n\r\n`, "latin1"))
        assert.match(yield* connection.closed, /^HTTP\/1\.1 400 /)
      }
      assert.strictEqual(upstream.requests.length, 0)
    })
  )
})
