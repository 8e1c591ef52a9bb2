import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { talkingServer } from "../support/MuteServer.ts"
import { RawClient } from "../support/RawClient.ts"
import type { RawTurn } from "../support/UpstreamServer.ts"
import { answers, chat, completion, startGateway, wire } from "./InProcessGateway.ts"

const json = { "content-type": "application/json" }
const chatPath = "/up/v1/chat/completions"

const whole = Effect.fnUntraced(function* (
  url: string,
  headers: { readonly [name: string]: string } = {},
  body: unknown = chat
) {
  const answer = yield* RawClient.post(url, body, headers)
  yield* answer.ended
  return answer
})

/** The headers of a message by lower-case name, as they were sent; a repeated one keeps its values apart. */
const byName = (rawHeaders: ReadonlyArray<string>): { [name: string]: Array<string> } => {
  const names: { [name: string]: Array<string> } = {}
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase()
    names[name] = [...(names[name] ?? []), rawHeaders[i + 1]!]
  }
  return names
}

describe("request headers", () => {
  const sent = {
    accept: "text/event-stream",
    "user-agent": "Agent/1.0",
    "openai-organization": "org-1",
    "OpenAI-Beta": "a=1, b=2",
    "x-stainless-retry-count": "0",
    "x-codex-turn-state": "s",
    "session-id": "s-1",
    "idempotency-key": "i-1",
    "x-custom": "mine",
    "x-other": "other"
  }
  const stopped = {
    authorization: "Bearer sk-client-0123456789",
    "x-api-key": "sk-client-0123456789",
    cookie: "session=1",
    te: "trailers",
    "proxy-authorization": "Basic eA==",
    "proxy-connection": "keep-alive",
    "keep-alive": "timeout=5",
    "accept-encoding": "gzip, br",
    "accept-language": "de",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b3: "0",
    "x-forwarded-for": "10.0.0.1",
    "x-sluice-actor": "admin",
    "x-sluice-interception-id": "forged"
  }

  const config = (url: string): SluiceConfigInput => ({
    providers: {
      up: { type: "openai", base_url: `${url}/v1`, api_key: "sk-central-0123456789" },
      more: {
        type: "openai",
        base_url: `${url}/v1`,
        api_key: "sk-central-0123456789",
        forward_headers: ["X-Custom", "cookie", "x-sluice-actor", "proxy-authorization", "te"]
      }
    }
  })

  it.live("arrive if they are listed or forwarded, and nothing else does", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({ config })
      for (const [index, path] of [
        chatPath,
        "/more/v1/chat/completions",
        "/up/v1/models",
        "/up/v1/embeddings"
      ].entries()) {
        const answer = path.endsWith("models")
          ? yield* RawClient.send({ url: url + path, headers: { ...sent, ...stopped } })
          : yield* whole(url + path, { ...sent, ...stopped })
        yield* answer.ended
        const { "x-custom": custom, "x-other": _, ...listed } = sent
        const lower = Object.fromEntries(Object.entries(listed).map(([name, value]) => [name.toLowerCase(), [value]]))
        const { host, connection, "content-length": length, ...arrived } = byName(upstream.requests[index]!.rawHeaders)
        assert.deepStrictEqual(arrived, {
          ...lower,
          ...(path.endsWith("models") ? {} : { "content-type": ["application/json"] }),
          ...(path.startsWith("/more") ? { "x-custom": [custom] } : {}),
          authorization: ["Bearer sk-central-0123456789"],
          "accept-encoding": ["identity"]
        })
        assert.deepStrictEqual(host, [new URL(upstream.url).host])
        assert.deepStrictEqual(connection, ["keep-alive"])
        assert.strictEqual(length === undefined, path.endsWith("models"))
        assert.notStrictEqual(answer.headers["x-sluice-interception-id"], "forged")
      }
    })
  )

  it.live("do not arrive if Connection lists them", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({ config })
      yield* whole(url + chatPath, { ...sent, connection: "close, OpenAI-Organization,x-codex-turn-state" })
      const arrived = upstream.requests[0]!.headers
      assert.deepInclude(arrived, { "session-id": "s-1", "openai-beta": "a=1, b=2" })
      assert.notProperty(arrived, "openai-organization")
      assert.notProperty(arrived, "x-codex-turn-state")
    })
  )

  it.live("arrive joined where they came several times", () =>
    Effect.gen(function* () {
      const { port, upstream } = yield* startGateway({ config })
      const connection = yield* wire(port)
      const body = JSON.stringify(chat)
      connection.write(
        `POST ${chatPath} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nOpenAI-Beta: a\r\nopenai-beta: b\r\nContent-Length: ${body.length}\r\n\r\n${body}`
      )
      yield* connection.closed
      assert.strictEqual(upstream.requests[0]!.headers["openai-beta"], "a, b")
    })
  )
})

describe("response headers", () => {
  const listed = {
    "retry-after": "7",
    "retry-after-ms": "7000",
    "x-should-retry": "true",
    "request-id": "req_a",
    "x-request-id": "req_b",
    "x-ratelimit-remaining-requests": "9",
    "anthropic-organization-id": "org",
    "openai-processing-ms": "12",
    "x-codex-primary-used-percent": "3"
  }
  const stopped = {
    "set-cookie": ["a=1", "b=2"],
    server: "upstream/1",
    "cf-ray": "x",
    "alt-svc": 'h3=":443"',
    "strict-transport-security": "max-age=1",
    "access-control-allow-origin": "*",
    "content-encoding": "identity",
    "proxy-authenticate": "Basic",
    "www-authenticate": "Bearer",
    location: "/elsewhere",
    "keep-alive": "timeout=99",
    trailer: "x",
    "x-sluice-interception-id": "forged",
    "x-sluice-lossy": "forged"
  }

  const own = new Set(["date", "connection", "transfer-encoding", "content-length", "keep-alive"])
  const shown = (headers: { readonly [name: string]: unknown }) =>
    Object.fromEntries(Object.entries(headers).filter(([name]) => !own.has(name)))

  const turns: ReadonlyArray<readonly [string, RawTurn]> = [
    ["JSON", { headers: json, steps: [completion] }],
    ["a stream", { headers: { "content-type": "text/event-stream" }, steps: ["data: [DONE]\n\n"] }],
    ["an error", { status: 418, headers: json, steps: ['{"error":{}}'] }]
  ]

  it.live.each(turns)("come back if they are listed, and nothing else does: %s", ([, turn]) =>
    Effect.gen(function* () {
      const { url } = yield* startGateway({ turns: [{ ...turn, headers: { ...turn.headers, ...listed, ...stopped } }] })
      const answer = yield* whole(url + chatPath)
      const { "x-sluice-interception-id": id, ...rest } = shown(answer.headers)
      assert.deepStrictEqual(rest, { ...turn.headers, ...listed })
      assert.match(String(id), /^[0-9a-f-]{36}$/)
      assert.strictEqual(answer.status, turn.status ?? 200)
      const relayed = yield* RawClient.send({ url: `${url}/up/v1/models` })
      yield* relayed.ended
      assert.deepStrictEqual(shown(relayed.headers), { ...turn.headers, ...listed })
    })
  )

  const kinds: ReadonlyArray<readonly [name: string, type: string, body: string]> = [
    ["JSON", "application/json", completion],
    ["a stream", "text/event-stream", "data: [DONE]\n\n"]
  ]
  it.live.each(kinds)("come back byte by byte, and a content-type once: %s", ([, type, body]) =>
    Effect.gen(function* () {
      // In UTF-8 and in Latin-1; HTTP says nothing of what such bytes mean (RFC 9110, section 5.5).
      const odd = "x-request-id: caf\u00c3\u00a9 \u00e9"
      const head = `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\ncontent-type: text/plain\r\n${odd}\r\n`
      const up = yield* talkingServer(`${head}connection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
      const { port } = yield* startGateway({
        config: () => ({ providers: { up: { type: "openai", base_url: `http://127.0.0.1:${up}/v1` } } })
      })
      const sent = JSON.stringify(chat)
      for (const request of [
        `POST ${chatPath} HTTP/1.1\r\nContent-Length: ${sent.length}\r\n`,
        "GET /up/v1/models HTTP/1.1\r\n"
      ]) {
        const connection = yield* wire(port)
        connection.write(`${request}Host: localhost\r\nConnection: close\r\n\r\n${request.startsWith("P") ? sent : ""}`)
        const answer = yield* connection.closed
        assert.match(answer, /^HTTP\/1.1 200 /)
        assert.include(answer, `${odd}\r\n`)
        assert.deepStrictEqual(answer.match(/^content-type: .*$/gim), [`content-type: ${type}`])
      }
    })
  )

  it.live("do not come back if Connection lists them", () =>
    Effect.gen(function* () {
      const { url } = yield* startGateway({
        turns: [
          {
            ...answers,
            headers: { ...json, "x-request-id": "r", "request-id": "q", connection: "close, x-request-id" }
          }
        ]
      })
      const { headers } = yield* whole(url + chatPath)
      assert.notProperty(headers, "x-request-id")
      assert.strictEqual(headers["request-id"], "q")
    })
  )

  it.live("name the interception in every answer of an intercepted route, as its record does", () =>
    Effect.gen(function* () {
      const statuses = [200, 201, 400, 401, 404, 409, 429, 500, 503]
      const { url, recordings } = yield* startGateway({
        turns: (_, index) => ({
          status: statuses[index]!,
          headers: json,
          steps: [statuses[index]! < 300 ? completion : "{}"]
        })
      })
      for (const status of statuses) {
        const answer = yield* whole(url + chatPath)
        assert.strictEqual(answer.status, status)
        const id = String(answer.headers["x-sluice-interception-id"])
        const { interception, turns } = yield* recordings.closedAs(id)
        assert.deepStrictEqual(
          [interception.status, turns[0]!.httpStatus],
          [status < 300 ? "completed" : "failed", status]
        )
      }
    })
  )
})

describe("an upstream's error", () => {
  const errors: ReadonlyArray<readonly [string, RawTurn]> = [
    ["JSON in OpenAI's form", { status: 400, headers: json, steps: ['{ "error" : {"message":"é","code":null}}\n'] }],
    ["JSON in another", { status: 422, headers: json, steps: ['{"detail":[{"loc":["body"]}]}'] }],
    ["HTML", { status: 502, headers: { "content-type": "text/html; charset=utf-8" }, steps: ["<html>", "组</html>"] }],
    [
      "bytes",
      { status: 500, headers: { "content-type": "application/octet-stream" }, steps: [Buffer.from([0, 255, 195, 40])] }
    ],
    [
      "text in pieces",
      { status: 503, headers: { "content-type": "text/plain" }, steps: ["no ", "healthy ", "upstream"] }
    ],
    ["nothing", { status: 404, headers: {}, steps: [] }],
    ["a stream", { status: 400, headers: { "content-type": "text/event-stream" }, steps: ['data: {"error":{}}\n\n'] }],
    ["a redirection", { status: 302, headers: { ...json, location: "/x" }, steps: ["{}"] }]
  ]

  it.live.each(errors)("keeps status, body and content-type: %s", ([, turn]) =>
    Effect.gen(function* () {
      const { url } = yield* startGateway({ turns: [turn] })
      const expected = Buffer.concat((turn.steps ?? []).map((step) => Buffer.from(step as string)))
      for (const path of [chatPath, "/up/v1/embeddings", "/up/v1/moderations", "/up/v1/files"]) {
        const answer = yield* whole(url + path)
        assert.strictEqual(answer.status, turn.status)
        assert.deepStrictEqual(answer.body(), expected)
        assert.strictEqual(answer.headers["content-type"], turn.headers?.["content-type"])
        assert.notProperty(answer.headers, "location")
      }
    })
  )

  const limited = (body: string, headers: { readonly [name: string]: string } = {}): RawTurn => ({
    status: 429,
    headers: { ...json, ...headers },
    steps: [body]
  })

  it.live.each([
    ["given one", limited('{"error":{"code":"rate_limit_exceeded"}}'), "1"],
    ["given one where its body says nothing", limited("slow down"), "1"],
    ["left as it is", limited('{"error":{"code":"rate_limit_exceeded"}}', { "retry-after": "20" }), "20"],
    ["given none with a spent quota", limited('{"error":{"code":"insufficient_quota"}}'), undefined],
    [
      "given none where only the type says so",
      limited('{"error":{"type":"insufficient_quota","code":null}}'),
      undefined
    ]
  ] as const)("429 without retry-after is %s", ([, turn, expected]) =>
    Effect.gen(function* () {
      const { url } = yield* startGateway({ turns: [turn] })
      const answer = yield* whole(url + chatPath)
      assert.strictEqual(answer.status, 429)
      assert.strictEqual(answer.headers["retry-after"], expected)
    })
  )

  it.live("503 is given none", () =>
    Effect.gen(function* () {
      const { url } = yield* startGateway({ turns: [{ status: 503, headers: json, steps: ["{}"] }] })
      assert.isUndefined((yield* whole(url + chatPath)).headers["retry-after"])
    })
  )
})

describe("credentials", () => {
  const config = (url: string): SluiceConfigInput => ({
    providers: {
      central: { type: "openai", base_url: url, api_key: "sk-central-0123456789" },
      byok: { type: "openai", base_url: url },
      first: { type: "openai", base_url: url, api_key: "sk-central-0123456789", credentials: "client-first" }
    }
  })
  const client = "sk-client-9876543210"
  const bearer = { authorization: `Bearer ${client}` }
  const apiKey = { "x-api-key": client }
  const central = ["Bearer sk-central-0123456789", "central", "sk-c…6789"] as const
  const own = [`Bearer ${client}`, "byok", "sk-c…3210"] as const
  const none = [undefined, "none", null] as const

  it.live.each([
    ["central", bearer, central],
    ["central", apiKey, central],
    ["central", {}, central],
    ["byok", bearer, own],
    ["byok", apiKey, own],
    ["byok", {}, none],
    ["byok", { authorization: "Basic dTpw" }, none],
    ["first", bearer, own],
    ["first", apiKey, own],
    ["first", {}, central]
  ] as ReadonlyArray<
    readonly [string, { readonly [name: string]: string }, typeof central | typeof own | typeof none]
  >)(
    "of %s with %j are those of the config or the client, and the record says whose",
    ([provider, headers, [sent, kind, hint]]) =>
      Effect.gen(function* () {
        const { url, upstream, recordings } = yield* startGateway({ config })
        for (const path of [`/${provider}/v1/chat/completions`, "/v1/chat/completions"]) {
          const model = path.startsWith("/v1/") ? `${provider}/m` : "m"
          const answer = yield* whole(url + path, headers, { ...chat, model })
          assert.strictEqual(upstream.requests.at(-1)!.headers["authorization"], sent)
          assert.notProperty(upstream.requests.at(-1)!.headers, "x-api-key")
          const id = String(answer.headers["x-sluice-interception-id"])
          const { interception } = yield* recordings.closedAs(id)
          assert.deepInclude(interception, { credentialKind: kind, credentialHint: hint, provider })
          if (kind === "byok") assert.match(interception.actor, /^byok:[0-9a-f]{16}$/)
          else assert.strictEqual(interception.actor, "anonymous")
        }
        const actors = (yield* recordings.rows).opens.map(({ actor }) => actor)
        assert.strictEqual(new Set(actors).size, 1)
      })
  )

  it.live("that are the admin token are nobody's", () =>
    Effect.gen(function* () {
      const { url, upstream, recordings } = yield* startGateway({
        config: (up) => ({ ...config(up), server: { admin_token: "admin-token-0123456789" } })
      })
      for (const headers of [
        { authorization: "Bearer admin-token-0123456789" },
        { "x-api-key": "admin-token-0123456789" }
      ]) {
        for (const path of ["/byok/v1/chat/completions", "/byok/v1/files"]) {
          yield* whole(url + path, headers)
          assert.notProperty(upstream.requests.at(-1)!.headers, "authorization")
        }
      }
      const kinds = (yield* recordings.closed(2)).map(({ interception }) => interception.credentialKind)
      assert.deepStrictEqual(kinds, ["none", "none"])
    })
  )
})
