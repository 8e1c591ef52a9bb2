import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { RawClient, type RawRequest } from "../support/RawClient.ts"
import { startGateway } from "./InProcessGateway.ts"

const config = (url: string): SluiceConfigInput => ({
  providers: {
    sim: { type: "simulated" },
    up: { type: "openai", base_url: `${url}/v1`, api_key: "central-key" },
    local: { type: "openai-compatible", base_url: `${url}/v1`, models: ["org/llama 4"], dialects: ["openai-chat"] },
    claude: { type: "anthropic", base_url: url, models: ["claude-x"] }
  },
  models: { fast: "up/real-2026", smart: "claude/claude-x" },
  retries: { times: 0 }
})

const anthropic = { "anthropic-version": "2023-06-01" }

const whole = Effect.fnUntraced(function* (request: RawRequest) {
  const answer = yield* RawClient.send(request)
  yield* answer.ended
  return {
    status: answer.status,
    headers: answer.headers,
    text: answer.text(),
    json: JSON.parse(answer.text() || "null")
  }
})

describe("the models of the unified address", () => {
  it.live("are those that the caller's clients can call, and each is there by its id", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({ config })
      const lists = [
        [{}, ["fast", "sim/sim", "local/org/llama 4"]],
        [anthropic, ["smart", "sim/sim", "claude/claude-x"]]
      ] as const
      for (const [headers, expected] of lists) {
        const list = yield* whole({ url: `${url}/v1/models`, headers })
        const models: ReadonlyArray<{ readonly id: string }> = list.json.data
        assert.deepStrictEqual(
          models.map(({ id }) => id),
          [...expected]
        )
        for (const model of models) {
          for (const path of [encodeURIComponent(model.id), model.id.replaceAll(" ", "%20")]) {
            const one = yield* whole({ url: `${url}/v1/models/${path}`, headers })
            assert.deepStrictEqual([one.status, one.json], [200, model], path)
          }
        }
        const head = yield* whole({ url: `${url}/v1/models/${expected[0]}`, method: "HEAD", headers })
        assert.deepStrictEqual([head.status, head.text], [200, ""])
      }
      const other = yield* whole({ url: `${url}/v1/models/smart` })
      assert.deepStrictEqual([other.status, other.json.error.code], [404, "model_not_found"])
      const unknown = yield* whole({ url: `${url}/v1/models/nothing`, headers: anthropic })
      assert.deepStrictEqual([unknown.status, unknown.json.error.type], [404, "not_found_error"])
      const post = yield* whole({ url: `${url}/v1/models/fast`, method: "POST", body: "{}" })
      assert.strictEqual(post.status, 405)
      assert.lengthOf(upstream.requests, 0)
    })
  )
})

describe("a relayed call of the unified address", () => {
  it.live("answers openai-model as its client named the model", () =>
    Effect.gen(function* () {
      const headers = { "content-type": "application/json", "openai-model": "real-2026" }
      const { url, upstream } = yield* startGateway({ config, turns: [{ headers, steps: ['{"input_tokens":1}'] }] })
      const ask = (path: string, model: string) =>
        whole({ url: url + path, body: JSON.stringify({ model, input: "x" }) })
      const named = yield* ask("/v1/responses/input_tokens", "fast")
      assert.deepStrictEqual([named.headers["openai-model"], named.text], ["fast", '{"input_tokens":1}'])
      const counted = yield* ask("/v1/messages/count_tokens", "smart")
      assert.strictEqual(counted.headers["openai-model"], "smart")
      // The rest of the request is not ours to judge.
      assert.strictEqual(upstream.requests.at(-1)!.text, '{"model":"claude-x","input":"x"}')
      const plain = yield* ask("/up/v1/responses/input_tokens", "fast")
      assert.strictEqual(plain.headers["openai-model"], "real-2026")
    })
  )

  it.live("that is not JSON is refused with 400 in its dialect", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({ config })
      for (const body of ["{bad", "", "[]", '"x"']) {
        const message = yield* whole({ url: `${url}/v1/messages/count_tokens`, method: "POST", body })
        assert.strictEqual(message.status, 400, body)
        assert.strictEqual(message.json.type, "error")
        assert.strictEqual(message.json.error.type, "invalid_request_error")
        const response = yield* whole({ url: `${url}/v1/responses/input_tokens`, method: "POST", body })
        assert.strictEqual(response.status, 400, body)
        assert.strictEqual(response.json.error.type, "invalid_request_error")
      }
      assert.lengthOf(upstream.requests, 0)
    })
  )

  it.live("that no model speaks for is told a provider that has its path", () =>
    Effect.gen(function* () {
      const { url } = yield* startGateway({ config })
      const advised = [
        ["GET", "/v1/messages/batches", {}, "/claude/v1/messages/batches"],
        ["GET", "/v1/responses/resp_1", {}, "/up/v1/responses/resp_1"],
        ["GET", "/v1/chat/completions/c_1", {}, "/up/v1/chat/completions/c_1"],
        ["POST", "/v1/messages/count_tokens", {}, "/claude/v1/messages/count_tokens"],
        ["GET", "/v1/files", {}, "/up/v1/files"],
        ["GET", "/v1/files", anthropic, "/claude/v1/files"]
      ] as const
      for (const [method, path, headers, expected] of advised) {
        const answer = yield* whole({ url: url + path, method, headers, ...(method === "POST" ? { body: "{}" } : {}) })
        assert.strictEqual(answer.status, 404)
        assert.include(answer.json.error.message, `as in ${expected}.`)
      }
    })
  )

  it.live("is told that no provider has its path, where that is so", () =>
    Effect.gen(function* () {
      const { url } = yield* startGateway({})
      const answer = yield* whole({ url: `${url}/v1/messages/batches` })
      assert.match(answer.json.error.message, /No provider speaks anthropic-messages\.$/)
    })
  )
})

describe("a path of a dialect that its provider lacks", () => {
  const lacking = [
    ["POST", "/up/v1/messages/count_tokens"],
    ["GET", "/up/v1/messages/batches"],
    ["GET", "/claude/v1/responses/resp_1"],
    ["DELETE", "/claude/responses/resp_1"],
    ["POST", "/claude/v1/responses/compact"],
    ["POST", "/claude/v1/responses/input_tokens"],
    ["GET", "/claude/v1/chat/completions/c_1"],
    ["GET", "/local/v1/responses/resp_1"]
  ] as const
  it.live("is a 404 in the dialect of the path, and nobody is asked", () =>
    Effect.gen(function* () {
      const { url, upstream, recordings } = yield* startGateway({ config })
      for (const [method, path] of lacking) {
        const body = method === "POST" ? { body: '{"model":"m"}' } : {}
        const answer = yield* whole({ url: url + path, method, ...body })
        assert.strictEqual(answer.status, 404, path)
        assert.match(answer.json.error.message, /^The provider '\w+' does not speak [a-z-]+\. It speaks: /)
        assert.strictEqual(answer.json.type, path.includes("/messages/") ? "error" : undefined)
      }
      assert.lengthOf(upstream.requests, 0)
      assert.lengthOf((yield* recordings.rows).opens, 0)
    })
  )

  it.live("is not any path that is of no dialect, whatever its names", () =>
    Effect.gen(function* () {
      const { url, upstream } = yield* startGateway({ config })
      const open = ["/local/v1/models", "/local/v1/models/messages", "/local/models/responses/x", "/local/v1/files"]
      for (const path of open) assert.strictEqual((yield* whole({ url: url + path })).status, 200, path)
      assert.strictEqual((yield* whole({ url: `${url}/local/v1/embeddings`, body: '{"model":"m"}' })).status, 200)
      assert.lengthOf(upstream.requests, 5)
    })
  )
})
