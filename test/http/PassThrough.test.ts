import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { RawClient, type RawRequest } from "../support/RawClient.ts"
import { gate, type RawTurn } from "../support/UpstreamServer.ts"
import { startGateway } from "./InProcessGateway.ts"

const json = { "content-type": "application/json" }

const whole = Effect.fnUntraced(function* (request: RawRequest) {
  const answer = yield* RawClient.send(request)
  const ending = yield* answer.ended
  return { ...answer, ending }
})

const config = (url: string): SluiceConfigInput => ({
  providers: {
    up: {
      type: "openai",
      base_url: `${url}/v1`,
      api_key: "central-key",
      dialects: ["openai-chat", "openai-responses", "anthropic-messages"]
    },
    claude: { type: "anthropic", base_url: url }
  },
  models: { embed: "up/text-embedding-3-small" },
  retries: { times: 0 }
})

describe("what is passed through", () => {
  const calls: ReadonlyArray<readonly [method: string, path: string]> = [
    ["GET", "/models"],
    ["GET", "/models/gpt-5"],
    ["GET", "/models/ft:gpt-4o:org::id"],
    ["GET", "/models/org/name"],
    ["GET", "/models/a%20b"],
    ["HEAD", "/models"],
    ["POST", "/moderations"],
    ["POST", "/completions"],
    ["POST", "/rerank"],
    ["POST", "/embeddings"],
    ["POST", "/images/generations"],
    ["POST", "/images/edits"],
    ["POST", "/audio/speech"],
    ["POST", "/audio/transcriptions"],
    ["POST", "/responses/compact"],
    ["POST", "/responses/input_tokens"],
    ["GET", "/responses/resp_1"],
    ["DELETE", "/responses/resp_1"],
    ["POST", "/responses/resp_1/cancel"],
    ["GET", "/responses/resp_1/input_items"],
    ["GET", "/chat/completions/chatcmpl-1"],
    ["POST", "/chat/completions/chatcmpl-1"],
    ["DELETE", "/chat/completions/chatcmpl-1"],
    ["GET", "/chat/completions/chatcmpl-1/messages"],
    ["POST", "/conversations"],
    ["GET", "/conversations/conv_1/items/msg_1"],
    ["POST", "/messages/count_tokens"],
    ["POST", "/messages/batches"],
    ["GET", "/messages/batches/b_1/results"],
    ["POST", "/files"],
    ["GET", "/files/file-1/content"],
    ["DELETE", "/files/file-1"],
    ["POST", "/uploads/u_1/parts"],
    ["GET", "/batches"],
    ["POST", "/vector_stores/vs_1/search"]
  ]

  it.live("goes on with method, path, query and body, and comes back as it is", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({
        config,
        turns: (_, index) => ({ status: 200 + (index % 2), headers: json, steps: [`{"answer" :${index}}\n`] })
      })
      for (const [index, [method, path]] of calls.entries()) {
        const body = method === "POST" ? `{"n" :${index}}` : undefined
        const answer = yield* whole({
          url: `${url}/up/v1${path}?a=1&a=%zz`,
          method,
          headers: json,
          ...(body === undefined ? {} : { body })
        }).pipe(Effect.scoped)
        const request = upstream.requests[index]!
        assert.deepStrictEqual(
          [request.method, request.url, request.text],
          [method, `/v1${path}?a=1&a=%zz`, body ?? ""]
        )
        assert.strictEqual(request.headers["content-length"], body === undefined ? undefined : String(body.length))
        assert.strictEqual(answer.status, 200 + (index % 2), path)
        assert.strictEqual(answer.text(), method === "HEAD" ? "" : `{"answer" :${index}}\n`)
      }
    })
  )

  it.live("streams in both forms as its bytes come, and ends as they do", () =>
    Effect.gen(function* () {
      const seconds = [gate(), gate()]
      const [stream, sound] = seconds.map(
        ({ opened }): RawTurn => ({ steps: ["data: a\n", { await: opened }, "\n: odd\r\n\xff"] })
      )
      const { url } = yield* startGateway({
        config,
        turns: [
          stream!,
          { ...sound!, headers: { "content-type": "audio/mpeg" } },
          { steps: ["data: a\n\n", { reset: true }] }
        ]
      })
      for (const [at, path] of ["/responses/resp_1?stream=true", "/files/file-1/content"].entries()) {
        const answer = yield* RawClient.send({ url: `${url}/up/v1${path}` })
        yield* answer.bytes(8)
        assert.strictEqual(answer.text(), "data: a\n")
        seconds[at]!.open()
        assert.strictEqual(yield* answer.ended, "clean")
        assert.strictEqual(answer.text(), "data: a\n\n: odd\r\n\xff")
      }
      const broken = yield* whole({ url: `${url}/up/v1/responses/resp_1?stream=true` })
      assert.strictEqual(broken.ending, "reset")
    })
  )

  it.live("closes the upstream when its client leaves", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({ config, turns: [{ steps: ["x", { hang: true }] }] })
      const answer = yield* RawClient.send({ url: `${url}/up/v1/files/file-1/content` })
      yield* answer.bytes(1)
      answer.abort()
      assert.strictEqual(yield* upstream.requests[0]!.over, "aborted")
    })
  )

  it.live("may be a form with a file in it, of any bytes", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({ config, turns: [{ headers: json, steps: ["{}"] }] })
      const type = "multipart/form-data; boundary=x"
      const form = Buffer.concat([
        Buffer.from('--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'),
        Buffer.from([0, 255, 10, 13]),
        Buffer.from("\r\n--x--\r\n")
      ])
      for (const path of ["/files", "/audio/transcriptions"]) {
        const answer = yield* whole({ url: `${url}/up/v1${path}`, body: form, headers: { "content-type": type } })
        assert.strictEqual(answer.status, 200)
        assert.deepStrictEqual(upstream.requests.at(-1)!.body, form)
        assert.strictEqual(upstream.requests.at(-1)!.headers["content-type"], type)
      }
    })
  )

  it.live("goes on decoded, within the limit, or is refused", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({
        config: (up) => ({ ...config(up), limits: { body_bytes: 1000 } }),
        turns: [{ headers: json, steps: ["{}"] }]
      })
      const send = (path: string, body: Uint8Array) =>
        whole({ url: `${url}/up/v1${path}`, body, headers: { "content-encoding": "gzip" } })
      for (const path of ["/files", "/embeddings"]) {
        assert.strictEqual((yield* send(path, gzipSync('{"a":1}'))).status, 200)
        assert.strictEqual(upstream.requests.at(-1)!.text, '{"a":1}')
        assert.notProperty(upstream.requests.at(-1)!.headers, "content-encoding")
        const count = upstream.requests.length
        assert.strictEqual((yield* send(path, gzipSync("x".repeat(1001)))).status, 413)
        assert.strictEqual((yield* send(path, gzipSync('{"a":1}').subarray(0, 12))).status, 400)
        const unknown = yield* whole({ url: `${url}/up/v1${path}`, body: "{}", headers: { "content-encoding": "x" } })
        assert.strictEqual(unknown.status, 415)
        assert.strictEqual(unknown.headers["accept-encoding"], "gzip, br, zstd, deflate")
        assert.isString(unknown.headers["x-request-id"])
        assert.strictEqual(upstream.requests.length, count)
      }
    })
  )

  it.live("is answered 502 where its provider cannot be reached, and 504 where that is silent", () =>
    Effect.gen(function* () {
      const { url, upstream, recordings } = yield* startGateway({
        config: (up) => ({ ...config(up), limits: { first_frame: "700 millis" } }),
        turns: [{ before: [{ reset: true }] }, { before: [{ reset: true }] }, { before: [{ hang: true }] }]
      })
      for (const [path, status, code] of [
        ["/models", 502, "upstream_unreachable"],
        ["/embeddings", 502, "upstream_unreachable"],
        ["/models", 504, "upstream_timeout"],
        ["/embeddings", 504, "upstream_timeout"]
      ] as const) {
        const answer = yield* whole({ url: `${url}/up/v1${path}`, ...(path === "/models" ? {} : { body: "{}" }) })
        assert.strictEqual(answer.status, status)
        assert.strictEqual(JSON.parse(answer.text()).error.code, code)
        assert.isString(answer.headers["x-request-id"])
      }
      assert.strictEqual(upstream.requests.length, 4)
      assert.strictEqual((yield* recordings.closed(2)).length, 2)
    })
  )
})

describe("what is recorded of it", () => {
  it.live("is inference, with its usage, and nothing else", () =>
    Effect.gen(function* () {
      const embedding =
        '{"object":"list","data":[],"model":"text-embedding-3-small-v1","usage":{"prompt_tokens":8,"total_tokens":8}}'
      const { url, recordings } = yield* startGateway({ config, turns: [{ headers: json, steps: [embedding] }] })
      for (const [method, path] of [
        ["GET", "/models"],
        ["POST", "/files"],
        ["GET", "/responses/resp_1"],
        ["POST", "/responses/input_tokens"]
      ] as const) {
        const answer = yield* whole({ url: `${url}/up/v1${path}`, method })
        assert.isUndefined(answer.headers["x-sluice-interception-id"])
      }
      assert.lengthOf((yield* recordings.rows).opens, 0)

      const body = '{"model":"text-embedding-3-small","input":"secret text"}'
      const answer = yield* whole({ url: `${url}/up/v1/embeddings`, body, headers: json })
      assert.strictEqual(answer.text(), embedding)
      const detail = yield* recordings.closedAs(String(answer.headers["x-sluice-interception-id"]))
      assert.deepInclude(detail.interception, {
        status: "completed",
        dialect: null,
        provider: "up",
        requestedModel: "text-embedding-3-small",
        servedModel: "text-embedding-3-small-v1",
        transport: "json"
      })
      assert.lengthOf(detail.turns, 1)
      assert.deepInclude(detail.usage[0]!, { input: 8, output: null, provenance: "provider" })
      assert.lengthOf(detail.prompts, 0)
    })
  )

  it.live("on the unified routes goes by its model", () =>
    Effect.gen(function* () {
      const { url, upstream, recordings } = yield* startGateway({
        config,
        turns: [{ headers: json, steps: ['{"model":"m"}'] }]
      })
      const send = (body: string) => whole({ url: `${url}/v1/embeddings`, body, headers: json })
      for (const [asked, sent] of [
        ["embed", "text-embedding-3-small"],
        ["up/other", "other"],
        ["text-embedding-3-large", "text-embedding-3-large"]
      ]) {
        assert.strictEqual((yield* send(`{ "input":"x", "model" :"${asked}"}`)).status, 200)
        assert.strictEqual(upstream.requests.at(-1)!.text, `{ "input":"x", "model" :"${sent}"}`)
      }
      assert.strictEqual((yield* send('\ufeff {"model":"embed"}')).status, 200)
      assert.strictEqual(upstream.requests.at(-1)!.text, '\ufeff {"model":"text-embedding-3-small"}')
      const count = upstream.requests.length
      for (const body of ['{"model":"nothing"}', "{}", "", "x"]) {
        const answer = yield* send(body)
        assert.deepStrictEqual([answer.status, JSON.parse(answer.text()).error.code], [404, "model_not_found"])
        const { interception } = yield* recordings.closedAs(String(answer.headers["x-sluice-interception-id"]))
        assert.deepInclude(interception, { status: "rejected", dialect: null })
      }
      assert.strictEqual(upstream.requests.length, count)
    })
  )
})
