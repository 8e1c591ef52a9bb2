import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { RawClient } from "../support/RawClient.ts"
import type { RawTurn } from "../support/UpstreamServer.ts"
import { chat, startGateway } from "./InProcessGateway.ts"

const codings: ReadonlyArray<readonly [string, (text: string) => Buffer]> = [
  ["gzip", (text) => gzipSync(text)],
  ["br", (text) => brotliCompressSync(text)],
  ["zstd", (text) => zstdCompressSync(text)],
  ["deflate", (text) => deflateSync(text)]
]

const chunk = (delta: object, finish: string | null) =>
  `data: ${JSON.stringify({ id: "c", model: "m", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
const stream = `${chunk({ content: "hé".repeat(5000) }, null)}${chunk({}, "stop")}data: [DONE]\n\n`
const completion = JSON.stringify({ id: "c", model: "m", choices: [{ index: 0, message: {}, finish_reason: "stop" }] })

const turn = (coding: string, type: string, steps: RawTurn["steps"], status = 200): RawTurn => ({
  status,
  headers: { "content-type": type, "content-encoding": coding },
  ...(steps === undefined ? {} : { steps })
})

/** Bytes cut into small network writes. */
const cut = (bytes: Buffer): RawTurn["steps"] => {
  const steps: Array<Buffer> = []
  for (let at = 0; at < bytes.length; at += 97) steps.push(bytes.subarray(at, at + 97))
  return steps
}

const ask = Effect.fnUntraced(function* (turns: ReadonlyArray<RawTurn>, path = "/up/v1/chat/completions") {
  const gateway = yield* startGateway({
    turns,
    config: (up) => ({
      providers: { up: { type: "openai", base_url: `${up}/v1`, api_key: "k-central-secret" } },
      retries: { times: 0 }
    })
  })
  const answer = yield* RawClient.post(`${gateway.url}${path}`, { ...chat, stream: true })
  yield* answer.ended
  return answer
})

describe("an upstream that compresses though nobody asked", () => {
  it.live.each(codings)("is read and relayed without its %s coding, streamed and not", ([coding, encode]) =>
    Effect.gen(function* () {
      const streamed = yield* ask([turn(coding, "text/event-stream", cut(encode(stream)))])
      assert.deepStrictEqual([streamed.status, streamed.headers["content-encoding"]], [200, undefined])
      assert.strictEqual(streamed.text(), stream)
      const whole = yield* ask([turn(coding, "application/json", cut(encode(completion)))])
      assert.strictEqual(whole.text(), completion)
    })
  )

  it.live("has keys taken out of its errors like any other", () =>
    Effect.gen(function* () {
      const body = JSON.stringify({ error: { message: "bad key k-central-secret" } })
      const answer = yield* ask([turn("gzip", "application/json", [gzipSync(body)], 401)])
      assert.strictEqual(answer.status, 401)
      assert.notInclude(answer.text(), "k-central-secret")
      assert.include(answer.text(), "bad key")
    })
  )

  it.live("is told apart from one that is cut inside its coding, or that nobody can read", () =>
    Effect.gen(function* () {
      const half = gzipSync(stream).subarray(0, 60)
      const cutOff = yield* ask([turn("gzip", "text/event-stream", [half])])
      assert.match(cutOff.text(), /data: \{"error":.*upstream_cut/)
      const unknown = yield* ask([turn("x-odd", "application/json", ["{}"])])
      assert.strictEqual(unknown.status, 502)
      assert.include(unknown.text(), "encoded as x-odd")
    })
  )
})
