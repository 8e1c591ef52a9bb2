import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { RawClient } from "../support/RawClient.ts"
import type { RawTurn } from "../support/UpstreamServer.ts"
import { startGateway } from "./InProcessGateway.ts"

const config = (url: string): SluiceConfigInput => ({
  providers: { up: { type: "openai", base_url: `${url}/v1`, api_key: "central-key" } },
  models: { fast: "up/real-2026" },
  retries: { times: 0 }
})

const json = { "content-type": "application/json" }
const sse = { "content-type": "text/event-stream" }

/** Makes one call, on the unified address unless `base` says otherwise, and waits for its record. */
const call = Effect.fnUntraced(function* (turn: RawTurn, path: string, body: object, base = "/v1") {
  const { recordings, url } = yield* startGateway({ config, turns: [turn] })
  const answer = yield* RawClient.post(`${url}${base}${path}`, body)
  const ending = yield* answer.ended
  const [detail] = yield* recordings.closed(1)
  return { status: answer.status, text: answer.text(), ending, detail: detail! }
})

describe("the model that a client named by an alias", () => {
  const inner = '"nested":{"model":"real-2026"},"text":"\\"model\\":\\"real-2026\\""'

  it.live("is in the JSON that it is answered with, and every other byte is the upstream's", () =>
    Effect.gen(function* () {
      for (const path of ["/responses/compact", "/embeddings", "/moderations", "/images/generations", "/rerank"]) {
        const body = { headers: json, steps: [`{ "a":1.0,${inner},\n"model" : "real-2026" }\n`] }
        const answered = yield* call(body, path, { model: "fast", input: "x" })
        assert.strictEqual(answered.text, `{ "a":1.0,${inner},\n"model" : "fast" }\n`, path)
        assert.deepInclude(answered.detail.interception, { requestedModel: "fast", servedModel: "real-2026" })
      }
    })
  )

  it.live("is in every event of a stream", () =>
    Effect.gen(function* () {
      const streams: ReadonlyArray<readonly [path: string, events: (model: string) => string]> = [
        [
          "/completions",
          (model) =>
            `data: {"model":"${model}","choices":[{"text":"a","index":0,"finish_reason":null}],${inner}}\n\n` +
            `data: {"choices":[{"text":"b","index":0,"finish_reason":"stop"}],"model":"${model}"}\n\ndata: [DONE]\n\n`
        ],
        [
          "/responses/compact",
          (model) =>
            `event: response.created\ndata: {"type":"response.created","response":{"model":"${model}",${inner}}}\n\n` +
            `event: response.completed\ndata: {"type":"response.completed","response":{"model":"${model}"}}\n\n`
        ],
        ["/images/generations", (model) => `event: image_generation.completed\ndata: {"model":"${model}",${inner}}\n\n`]
      ]
      for (const [path, events] of streams) {
        const turn = { headers: sse, steps: [events("real-2026")] }
        const answered = yield* call(turn, path, { model: "fast", stream: true })
        assert.strictEqual(answered.text, events("fast"), path)
        const untouched = yield* call(turn, path, { model: "real-2026", stream: true }, "/up/v1")
        assert.strictEqual(untouched.text, events("real-2026"), path)
        assert.strictEqual(untouched.detail.interception.servedModel, "real-2026", path)
      }
    })
  )
})

describe("an answer to passed-through inference that is none", () => {
  const answers: ReadonlyArray<readonly [name: string, turn: RawTurn, message: string]> = [
    ["a web page", { headers: { "content-type": "text/html" }, steps: ["<!DOCTYPE html><p>log in"] }, "base_url"],
    [
      "a web page in small pieces",
      { headers: { "content-type": "text/html" }, steps: [..."\n<html>log in</html>"] },
      "base_url"
    ],
    ["no JSON that says it is", { headers: json, steps: ['{"data":['] }, "its body is not JSON"],
    ["nothing at all", { headers: json, steps: [] }, "its body is empty"]
  ]
  for (const [name, turn, message] of answers) {
    it.live(`fails with 502 and is recorded so: ${name}`, () =>
      Effect.gen(function* () {
        const { detail, status, text } = yield* call(turn, "/responses/compact", { model: "m" }, "/up/v1")
        assert.strictEqual(status, 502)
        assert.strictEqual(JSON.parse(text).error.code, "upstream_malformed")
        assert.include(JSON.parse(text).error.message, message)
        assert.strictEqual(detail.interception.status, "failed")
        assert.strictEqual(detail.interception.error?.code, "malformed")
      })
    )
  }

  it.live("is told from bytes of other kinds, and from an error in JSON", () =>
    Effect.gen(function* () {
      const sound = { headers: { "content-type": "audio/mpeg" }, steps: ["\xff\xfb", "x".repeat(100)] }
      const heard = yield* call(sound, "/audio/speech", { model: "m", input: "x" }, "/up/v1")
      assert.deepStrictEqual([heard.status, heard.text], [200, `\xff\xfb${"x".repeat(100)}`])
      assert.strictEqual(heard.detail.interception.status, "completed")
      const short = { headers: { "content-type": "text/plain" }, steps: ["<i>", " Hi"] }
      const text = yield* call(short, "/audio/transcriptions", { model: "m" }, "/up/v1")
      assert.deepStrictEqual([text.text, text.detail.interception.status], ["<i> Hi", "completed"])
      const list = yield* call({ headers: json, steps: ["[1]"] }, "/rerank", { model: "m" }, "/up/v1")
      assert.deepStrictEqual([list.status, list.detail.interception.status], [200, "completed"])
      const failed = { headers: json, steps: ['{"error":{"message":"no such input"}}'] }
      const refused = yield* call(failed, "/embeddings", { model: "m" }, "/up/v1")
      assert.strictEqual(refused.detail.interception.status, "failed")
      assert.include(refused.detail.interception.error?.message ?? "", "no such input")
    })
  )
})

describe("a stream of passed-through inference", () => {
  const created = 'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{}}\n\n'
  const chunk = 'data: {"id":"cmpl-1","model":"m-1","choices":[{"text":"a","index":0,"finish_reason":null}]}\n\n'
  const wordy = 'data: {"id":"cmpl-1","model":"m-1","choices":[{"text":"b","index":0,"finish_reason":"length"}]}\n\n'

  it.live("leaves its usage in the records, wherever its protocol has it", () =>
    Effect.gen(function* () {
      const streams: ReadonlyArray<readonly [path: string, events: string, input: number, status: string]> = [
        [
          "/responses/compact",
          `${created}event: response.completed\ndata: {"type":"response.completed","response":{"usage":{"input_tokens":9,"output_tokens":3,"input_tokens_details":{"cached_tokens":2}}}}\n\n`,
          7,
          "completed"
        ],
        [
          "/completions",
          `${chunk}${wordy}data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":3}}\n\ndata: [DONE]\n\n`,
          4,
          "incomplete"
        ],
        [
          "/images/generations",
          'event: image_generation.partial_image\ndata: {"b64_json":"x"}\n\n' +
            'event: image_generation.completed\ndata: {"b64_json":"y","usage":{"input_tokens":5,"output_tokens":3}}\n\n',
          5,
          "completed"
        ]
      ]
      for (const [path, events, input, status] of streams) {
        const { detail, ending, text } = yield* call({ headers: sse, steps: [events] }, path, { model: "m" }, "/up/v1")
        assert.deepStrictEqual([text, ending], [events, "clean"])
        assert.strictEqual(detail.interception.status, status, path)
        assert.deepInclude(detail.usage[0], { input, output: 3, provenance: "provider" }, path)
        assert.lengthOf(detail.toolCalls, 0)
      }
    })
  )

  it.live("that breaks ends in an error of the protocol it came in", () =>
    Effect.gen(function* () {
      const inResponses = /^event: error\ndata: \{"type":"error","sequence_number":\d,"code":"upstream_cut"/
      const inChat = /^data: \{"error":\{"message":"[^"]*","type":"server_error","param":null,"code":"upstream_cut"/
      const cuts: ReadonlyArray<
        readonly [path: string, body: object, before: string, steps: RawTurn["steps"], RegExp]
      > = [
        ["/responses/compact", { input: "x", stream: true }, "", [{ reset: true }], inResponses],
        ["/responses/compact", { input: "x", stream: true }, created, [{ reset: true }], inResponses],
        ["/responses/compact", { input: "x", stream: true }, created, [], inResponses],
        ["/completions", { prompt: "x", stream: true }, chunk, [{ reset: true }], inChat],
        ["/completions", { prompt: "x", stream: true }, chunk, [], inChat],
        ["/completions", { prompt: "x", stream: true }, "", [{ reset: true }], inChat]
      ]
      for (const [path, body, before, steps, expected] of cuts) {
        const turn: RawTurn = { headers: sse, steps: before === "" ? [": hi\n\n", ...steps!] : [before, ...steps!] }
        const { detail, text } = yield* call(turn, path, { model: "m", ...body }, "/up/v1")
        assert.match(text.replace(before === "" ? ": hi\n\n" : before, ""), expected)
        assert.strictEqual(detail.interception.status, "failed")
        assert.strictEqual(detail.interception.error?.code, "upstream_cut")
      }
    })
  )

  it.live("of no protocol is whole where it ends between events, and cut where it ends in one", () =>
    Effect.gen(function* () {
      const event = 'event: image_generation.partial_image\ndata: {"b64_json":"x"}\n\n'
      const whole = yield* call({ headers: sse, steps: [event] }, "/images/generations", { model: "m" }, "/up/v1")
      assert.deepStrictEqual([whole.text, whole.detail.interception.status], [event, "completed"])
      const turn = { headers: sse, steps: [`${event}data: {"b64_js`] }
      const cut = yield* call(turn, "/images/generations", { model: "m" }, "/up/v1")
      assert.match(cut.text.slice(event.length), /^data: \{"error":.*upstream_cut/)
      assert.strictEqual(cut.detail.interception.error?.code, "upstream_cut")
      const failed = { headers: sse, steps: [`${event}event: error\ndata: {"error":{"message":"too odd"}}\n\n`] }
      const told = yield* call(failed, "/images/generations", { model: "m" }, "/up/v1")
      assert.include(told.detail.interception.error?.message ?? "", "too odd")
    })
  )
})
