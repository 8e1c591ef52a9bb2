import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib"
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { RawClient, type RawRequest } from "../support/RawClient.ts"
import { chat, chunked, completion, type Gateway, startGateway, wire } from "./InProcessGateway.ts"

const limit = 1024 * 1024

class Listening extends Context.Service<Listening, Gateway>()("test/http/Listening") {
  static readonly layer = Layer.effect(
    Listening,
    startGateway({
      config: (url) => ({
        providers: {
          up: { type: "openai", base_url: `${url}/v1`, api_key: "central-key" },
          byok: { type: "openai", base_url: `${url}/v1` },
          claude: { type: "anthropic", base_url: url }
        },
        models: { fast: "up/real-model" },
        limits: { body_bytes: limit }
      })
    })
  )
}

const json = { "content-type": "application/json" }
const good = JSON.stringify(chat)
const chatPath = "/up/v1/chat/completions"

/** A request that is refused, and how. */
interface Case {
  readonly name: string
  readonly path?: string
  readonly method?: string
  readonly headers?: { readonly [name: string]: string }
  readonly body?: string | Uint8Array
  readonly status: number
  readonly code: string
  readonly param?: string
  /** What the message says. */
  readonly says?: RegExp
  /** The provider that the rejected interception names; left out where nothing is recorded. */
  readonly recorded?: string | null
}

const invalid = (name: string, body: string | Uint8Array, more: Partial<Case> = {}): Case => ({
  name,
  body,
  status: 400,
  code: "invalid_request",
  recorded: "up",
  ...more
})

const encoded = (name: string, coding: string, body: Uint8Array, more: Partial<Case>): Case => ({
  name,
  body,
  headers: { "content-encoding": coding },
  status: 400,
  code: "invalid_content_encoding",
  recorded: "up",
  ...more
})

const bomb = Buffer.alloc(32 * limit)
const notJson = { says: /^The request body is not valid JSON\.$/ }
const tooDeep = { says: /^The request body is nested deeper than 10000 levels\.$/ }
const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth)
const notObject = { says: /^The request body must be a JSON object\.$/ }

const bodies: ReadonlyArray<Case> = [
  invalid("empty body", "", notJson),
  invalid("white space only", " \r\n\t", notJson),
  invalid("no JSON", "hello", notJson),
  invalid("JSON cut short", good.slice(0, -1), notJson),
  invalid("JSON with garbage behind it", `${good}x`, notJson),
  invalid("two values", `${good}\n${good}`, notJson),
  invalid("a form", "model=m&messages=[]", notJson),
  invalid("a comma too many", '{"model":"m","messages":[],}', notJson),
  invalid("NaN", '{"model":"m","messages":[],"temperature":NaN}', notJson),
  invalid("two byte order marks", `\ufeff\ufeff${good}`, notJson),
  invalid("a byte order mark and nothing else", "\ufeff", notJson),
  invalid("UTF-16", Buffer.from(good, "utf16le"), notJson),
  invalid("10,000 open brackets", "[".repeat(10_000), notJson),
  invalid("10,000 brackets", "[".repeat(10_000) + "]".repeat(10_000), notObject),
  // Deeper than anybody's request: parsing one of 30 MB would hold up every stream for seconds.
  invalid("100,000 open brackets", "[".repeat(100_000), tooDeep),
  invalid("10,001 levels inside a request", `{"model":"m","messages":[],"x":${nested(10_000)}}`, tooDeep),
  invalid("array", "[]", notObject),
  invalid("string", '"model"', notObject),
  invalid("number", "1", notObject),
  invalid("null", "null", notObject),
  invalid("no model", '{"messages":[]}', { param: "model", says: /must provide a model/ }),
  invalid("model null", '{"model":null,"messages":[]}', { param: "model" }),
  invalid("model a number", '{"model":4,"messages":[]}', { param: "model" }),
  invalid("model an array", '{"model":["m"],"messages":[]}', { param: "model" }),
  invalid("no messages", '{"model":"m"}', { param: "messages" }),
  invalid("messages null", '{"model":"m","messages":null}', { param: "messages" }),
  invalid("messages a string", '{"model":"m","messages":"hello"}', { param: "messages" }),
  invalid("messages an object", '{"model":"m","messages":{"0":{}}}', { param: "messages" }),
  invalid("no model on the unified route", '{"messages":[]}', {
    path: "/v1/chat/completions",
    param: "model",
    recorded: null
  }),

  encoded("unknown coding", "lzma", Buffer.from(good), { status: 415, code: "unsupported_content_encoding" }),
  encoded("known and unknown coding", "gzip, aws-chunked", gzipSync(good), {
    status: 415,
    code: "unsupported_content_encoding",
    says: /gzip, br, zstd, deflate/
  }),
  encoded("gzip cut short", "gzip", gzipSync(good).subarray(0, -4), { says: /cut short/ }),
  encoded("gzip of nothing", "gzip", Buffer.alloc(0), { says: /cut short/ }),
  encoded("br cut short", "br", brotliCompressSync(good).subarray(0, -4), { says: /cut short|not valid/ }),
  encoded("zstd cut short", "zstd", zstdCompressSync(good).subarray(0, -4), { says: /cut short|not valid/ }),
  encoded("deflate cut short", "deflate", deflateSync(good).subarray(0, -6), { says: /cut short|not valid/ }),
  encoded("gzip that is none", "gzip", Buffer.from(good), { says: /not valid/ }),
  encoded("br that is none", "br", Buffer.from(good), {}),
  encoded("zstd that is none", "zstd", Buffer.from(good), {}),
  encoded("gzip with garbage behind it", "gzip", Buffer.concat([gzipSync(good), Buffer.from("garbage")]), {}),
  encoded("br with garbage behind it", "br", Buffer.concat([brotliCompressSync(good), Buffer.from("garbage")]), {}),
  encoded("zstd with garbage behind it", "zstd", Buffer.concat([zstdCompressSync(good), Buffer.from("garbage")]), {}),
  encoded("gzip of no JSON", "gzip", gzipSync("hello"), { code: "invalid_request", ...notJson }),
  ...(
    [
      ["gzip", gzipSync(bomb)],
      ["br", brotliCompressSync(bomb)],
      ["zstd", zstdCompressSync(bomb)],
      ["deflate", deflateSync(bomb)],
      ["gzip, gzip", gzipSync(gzipSync(bomb))]
    ] as const
  ).map(([coding, body]) => encoded(`${coding} bomb`, coding, body, { status: 413, code: "request_too_large" })),
  invalid("one byte over the limit", "x".repeat(limit + 1), { status: 413, code: "request_too_large" })
]

const notFound = (name: string, path: string, more: Partial<Case> = {}): Case => ({
  name,
  path,
  body: good,
  status: 404,
  code: "unknown_route",
  ...more
})

const notAllowed = (path: string, method: string, more: Partial<Case> = {}): Case => ({
  name: `${method} ${path}`,
  path,
  method,
  status: 405,
  code: "method_not_allowed",
  ...more
})

const routes: ReadonlyArray<Case> = [
  notFound("unknown provider", "/nobody/v1/chat/completions", {
    code: "provider_not_found",
    says: /^There is no provider 'nobody'\. Configured: up, byok, claude\.$/
  }),
  notFound("unknown provider, passed through", "/nobody/v1/models", { method: "GET", code: "provider_not_found" }),
  notFound("unknown route of a provider", "/up/v1/organization/admin_api_keys", {
    says: /There is no route POST \/up\/v1\/organization\/admin_api_keys\. Sluice serves /
  }),
  notFound("unknown route of nobody", "/nobody/v1/organization/admin_api_keys"),
  notFound("unknown unified route", "/v1/organization/admin_api_keys"),
  notFound("the root", "/", { method: "GET" }),
  notFound("a provider alone", "/up"),
  notFound("a provider and a slash", "/up/"),
  notFound("the version alone", "/v1"),
  notFound("a slash too many", `${chatPath}/`),
  notFound("an escape that is none", "/up/v1/models/%zz", { method: "GET" }),
  notFound("files, for which no model speaks", "/v1/files", { says: /\/up\/v1\/files/ }),
  notFound("a dialect that the provider lacks", "/claude/v1/chat/completions", {
    code: "dialect_not_supported",
    says: /^The provider 'claude' does not speak openai-chat\. It speaks: anthropic-messages\.$/,
    recorded: "claude"
  }),
  notFound("unknown model", "/v1/chat/completions", {
    code: "model_not_found",
    says: /^The model 'm' is not configured\. Configured: fast, up\/<model>, byok\/<model>, claude\/<model>\.$/,
    recorded: null
  }),
  notFound("a model of a provider that lacks the dialect", "/v1/chat/completions", {
    body: JSON.stringify({ ...chat, model: "claude-sonnet-5" }),
    code: "dialect_not_supported",
    recorded: null
  }),
  ...["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"].map((method) =>
    notAllowed(chatPath, method, { recorded: "up" })
  ),
  notAllowed("/v1/chat/completions", "GET", { recorded: null }),
  notAllowed(chatPath, "GET", {
    name: "a WebSocket",
    headers: { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "x" },
    status: 426,
    code: "websocket_unavailable",
    recorded: "up"
  }),
  ...["POST", "PUT", "DELETE"].map((method) => notAllowed("/up/v1/models", method)),
  notAllowed("/v1/models", "POST"),
  notAllowed("/up/v1/embeddings", "GET"),
  notAllowed("/up/v1/files/file-1", "PUT")
]

const allowed: { readonly [path: string]: string } = {
  [chatPath]: "POST",
  "/v1/chat/completions": "POST",
  "/up/v1/models": "GET, HEAD",
  "/v1/models": "GET, HEAD",
  "/up/v1/embeddings": "POST",
  "/up/v1/files/file-1": "GET, HEAD, POST, DELETE"
}

const whole = Effect.fnUntraced(function* (request: RawRequest) {
  const answer = yield* RawClient.send(request)
  yield* answer.ended
  return answer
})

layer(Listening.layer, { excludeTestServices: true })("what cannot be taken", (it) => {
  it.effect.each([...bodies, ...routes].map((one) => [one.name, one] as const))("is refused: %s", ([, one]) =>
    Effect.gen(function* () {
      const { url, upstream, recordings } = yield* Listening
      const path = one.path ?? chatPath
      const opened = (yield* recordings.rows).opens.length
      const answer = yield* whole({
        url: url + path,
        method: one.method ?? "POST",
        headers: { ...json, authorization: "Bearer sk-client-0123456789", ...one.headers },
        ...(one.body === undefined ? {} : { body: one.body })
      })
      assert.strictEqual(answer.status, one.status)
      assert.strictEqual(answer.headers["content-type"], "application/json")
      assert.strictEqual(answer.headers["content-length"], String(answer.body().length))
      const body = JSON.parse(answer.text())
      assert.deepStrictEqual(Object.keys(body), ["error"])
      assert.deepStrictEqual(Object.keys(body.error), ["message", "type", "param", "code"])
      assert.deepInclude(body.error, {
        type: "invalid_request_error",
        param: one.param ?? null,
        code: one.code
      })
      if (one.says !== undefined) assert.match(body.error.message, one.says)
      const id = answer.headers["x-request-id"]
      assert.match(String(id), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/)
      assert.strictEqual(answer.headers["allow"], one.status === 405 ? allowed[path] : undefined)
      assert.strictEqual(answer.headers["upgrade"], one.status === 426 ? "HTTP/1.1" : undefined)
      assert.strictEqual(answer.headers["accept-encoding"], one.status === 415 ? "gzip, br, zstd, deflate" : undefined)
      assert.strictEqual(upstream.requests.length, 0)

      if (one.recorded === undefined) {
        assert.isUndefined(answer.headers["x-sluice-interception-id"])
        assert.strictEqual((yield* recordings.rows).opens.length, opened)
        return
      }
      assert.strictEqual(answer.headers["x-sluice-interception-id"], id)
      const { interception, ...rest } = yield* recordings.closedAs(String(id))
      assert.deepStrictEqual(rest, { turns: [], prompts: [], usage: [], toolCalls: [], thoughts: [] })
      assert.deepInclude(interception, { status: "rejected", provider: one.recorded, dialect: "openai-chat" })
      assert.deepStrictEqual(interception.error, { code: "bad_request", message: body.error.message })
      assert.isNotNull(interception.endedAt)
    })
  )

  it.effect("is refused without its body where that is declared too large", () =>
    Effect.gen(function* () {
      const { port, upstream } = yield* Listening
      for (const expect of ["", "Expect: 100-continue\r\n"]) {
        const connection = yield* wire(port)
        connection.write(
          `POST ${chatPath} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${limit + 1}\r\n${expect}\r\n`
        )
        const text = yield* connection.until(/"request_too_large"/)
        assert.match(text, /^HTTP\/1\.1 413 /)
      }
      assert.strictEqual(upstream.requests.length, 0)
    })
  )

  it.effect("is refused where its chunks come to too much", () =>
    Effect.gen(function* () {
      const { port, upstream, recordings } = yield* Listening
      const connection = yield* wire(port)
      connection.write(`POST ${chatPath} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n`)
      connection.write(chunked("x".repeat(limit + 1)))
      const text = yield* connection.until(/"request_too_large"/)
      assert.match(text, /^HTTP\/1\.1 413 /)
      assert.include(text, "limits.body_bytes (1048576 bytes)")
      const id = /^x-sluice-interception-id: (.*)\r$/m.exec(text)?.[1]
      assert.strictEqual((yield* recordings.closedAs(id!)).interception.status, "rejected")
      assert.strictEqual(upstream.requests.length, 0)
    })
  )

  it.effect("is refused to HEAD without a body", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* Listening
      for (const [path, status] of [
        [chatPath, 405],
        ["/nobody/v1/models", 404],
        ["/up/v1/embeddings", 405]
      ] as const) {
        const answer = yield* whole({ url: url + path, method: "HEAD" })
        assert.deepStrictEqual([answer.status, answer.text()], [status, ""])
        assert.isAbove(Number(answer.headers["content-length"]), 0)
        assert.isString(answer.headers["x-request-id"])
      }
      assert.strictEqual(upstream.requests.length, 0)
    })
  )
})

describe("a rejected interception", () => {
  it.live("says whose call it would have been", () =>
    Effect.gen(function* () {
      const gateway = yield* startGateway({
        config: (url) => ({
          providers: {
            up: { type: "openai", base_url: url, api_key: "sk-central-0123456789" },
            byok: { type: "openai", base_url: url }
          }
        })
      })
      const reject = Effect.fnUntraced(function* (path: string) {
        const headers = { ...json, authorization: "Bearer sk-client-9876543210", "user-agent": "tester/1" }
        const answer = yield* whole({ url: gateway.url + path, body: "{}", headers })
        return (yield* gateway.recordings.closedAs(String(answer.headers["x-sluice-interception-id"]))).interception
      })
      const central = yield* reject(chatPath)
      assert.deepInclude(central, { actor: "anonymous", credentialKind: "central", credentialHint: "sk-c…6789" })
      assert.deepInclude(central, {
        provider: "up",
        providerType: "openai",
        userAgent: "tester/1",
        requestedModel: null
      })
      const byok = yield* reject("/byok/v1/chat/completions")
      assert.deepInclude(byok, { credentialKind: "byok", credentialHint: "sk-c…3210" })
      assert.match(byok.actor, /^byok:[0-9a-f]{16}$/)
      const unified = yield* reject("/v1/chat/completions")
      assert.deepInclude(unified, { actor: "anonymous", credentialKind: "none", credentialHint: null, provider: null })
    })
  )
})

describe("what is odd and can be taken", () => {
  const text = '{ "model" : "m",\r\n"messages":[],"n":1e0,"big":9007199254740993,"\\u00e9":"é組", "x":{} }'
  const codings: ReadonlyArray<readonly [string | undefined, Uint8Array]> = [
    [undefined, Buffer.from(text)],
    ["identity", Buffer.from(text)],
    ["", Buffer.from(text)],
    ["gzip", gzipSync(text)],
    ["GZip", gzipSync(text)],
    ["x-gzip", gzipSync(text)],
    ["br", brotliCompressSync(text)],
    ["zstd", zstdCompressSync(text)],
    ["deflate", deflateSync(text)],
    ["deflate", deflateRawSync(text)],
    ["deflate, gzip", gzipSync(deflateSync(text))],
    ["br,identity ,zstd", zstdCompressSync(brotliCompressSync(text))]
  ]

  it.live("an encoded body arrives decoded, byte for byte, and without its coding", () =>
    Effect.gen(function* () {
      const { port, upstream } = yield* startGateway()
      for (const [coding, body] of codings) {
        const encoding = coding === undefined ? "" : `Content-Encoding: ${coding}\r\n`
        const head = `POST ${chatPath} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${encoding}`
        for (const sent of [
          Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`), body]),
          Buffer.concat([Buffer.from("Transfer-Encoding: chunked\r\n\r\n"), chunked(body, 7)])
        ]) {
          const connection = yield* wire(port)
          connection.write(Buffer.concat([Buffer.from(head), sent]))
          assert.match(yield* connection.closed, /^HTTP\/1\.1 200 /, `${coding}`)
          const request = upstream.requests.at(-1)!
          assert.strictEqual(request.text, text, `${coding}`)
          assert.isUndefined(request.headers["content-encoding"])
          assert.isUndefined(request.headers["transfer-encoding"])
          assert.strictEqual(request.headers["content-length"], String(Buffer.byteLength(text)))
        }
      }
      assert.strictEqual(upstream.requests.length, codings.length * 2)
    })
  )

  it.live("a body as large as the limit, encoded or not", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({
        config: (up) => ({
          providers: { up: { type: "openai", base_url: up } },
          limits: { body_bytes: 4096 }
        })
      })
      const body = good + " ".repeat(4096 - good.length)
      const encodedBodies = [
        ["identity", body],
        ["gzip", gzipSync(body)],
        ["zstd", zstdCompressSync(body)]
      ] as const
      for (const [coding, sent] of encodedBodies) {
        const answer = yield* whole({ url: url + chatPath, body: sent, headers: { "content-encoding": coding } })
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(upstream.requests.at(-1)!.text, body)
      }
    })
  )

  it.live("thousands of brackets inside a request, where nothing is changed and where something is", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway()
      const deep = nested(9_990)
      const objects = `${'{"a":'.repeat(9_990)}1${"}".repeat(9_990)}`
      for (const [path, model] of [
        [chatPath, "m"],
        ["/v1/chat/completions", "up/m"]
      ]) {
        const body = `{"messages":[${deep}],"x":${objects},"stream":true,"model":"${model}"}`
        const answer = yield* whole({ url: url + path, body, headers: json })
        assert.strictEqual(answer.status, 200)
        const sent = upstream.requests.at(-1)!.text
        assert.isTrue(sent.startsWith(`{"messages":[${deep}],"x":${objects},"stream":true,"model":"m"`))
      }
    })
  )

  it.live("a byte order mark, which goes on with the rest", () =>
    Effect.gen(function* () {
      const body = `\ufeff${completion}\n`
      const { url, recordings, upstream } = yield* startGateway({ turns: [{ headers: json, steps: [body] }] })
      for (const [path, model, shown] of [
        [chatPath, "m", body],
        ["/v1/chat/completions", "up/m", body.replace('"m-1"', '"up/m"')]
      ] as const) {
        const sent = `\ufeff${JSON.stringify({ ...chat, model })}`
        const answer = yield* whole({ url: url + path, body: sent, headers: json })
        assert.strictEqual(answer.status, 200)
        // `text` would take it off.
        assert.deepStrictEqual(answer.body(), Buffer.from(shown))
        assert.deepStrictEqual(upstream.requests.at(-1)!.body, Buffer.from(`\ufeff${good}`))
      }
      for (const { usage } of yield* recordings.closed(2)) {
        assert.deepInclude(usage[0], { input: 3, output: 2, provenance: "provider" })
      }
    })
  )

  it.live("any content-type, and none", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway()
      for (const type of [undefined, "text/plain", "application/json; charset=latin1"]) {
        const headers = type === undefined ? {} : { "content-type": type }
        const answer = yield* whole({ url: url + chatPath, body: good, headers })
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(upstream.requests.at(-1)!.headers["content-type"], type)
      }
    })
  )
})
