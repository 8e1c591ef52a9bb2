import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { RawClient } from "./RawClient.ts"
import { gate, UpstreamServer } from "./UpstreamServer.ts"

describe("the raw server and the raw client", () => {
  it.live("carry bytes as they stand and keep what was sent", () =>
    Effect.gen(function* () {
      const server = yield* UpstreamServer.make([{ status: 201, headers: { "x-a": ["1", "2"] }, steps: ["é", "b"] }])
      const answer = yield* RawClient.post(`${server.url}/p?q=1`, { a: 1 }, { "X-Odd": "Y" })
      assert.strictEqual(yield* answer.ended, "clean")
      assert.deepStrictEqual([answer.status, answer.headers["x-a"], answer.text()], [201, "1, 2", "éb"])
      const [request] = server.requests
      assert.deepStrictEqual([request!.method, request!.url, request!.text], ["POST", "/p?q=1", '{"a":1}'])
      assert.include(request!.rawHeaders, "X-Odd")
      assert.strictEqual(yield* request!.over, "sent")
      assert.isUndefined(request!.abortedAt)
    })
  )

  it.live("tell a broken answer from a whole one", () =>
    Effect.gen(function* () {
      const server = yield* UpstreamServer.make([{ steps: ["a", { reset: true }] }, { steps: ["a", { fin: true }] }])
      for (const index of [0, 1]) {
        const answer = yield* RawClient.send({ url: server.url })
        assert.strictEqual(yield* answer.ended, "reset")
        assert.strictEqual(yield* server.requests[index]!.over, "broken")
      }
    })
  )

  it.live("break before the head, and refuse", () =>
    Effect.gen(function* () {
      const server = yield* UpstreamServer.make([{ before: [{ reset: true }] }])
      assert.strictEqual((yield* Effect.flip(RawClient.send({ url: server.url }))).code, "ECONNRESET")
      yield* server.refuse
      assert.strictEqual((yield* Effect.flip(RawClient.send({ url: server.url }))).code, "ECONNREFUSED")
      const port = yield* UpstreamServer.closedPort
      const refused = yield* Effect.flip(RawClient.send({ url: `http://127.0.0.1:${port}` }))
      assert.strictEqual(refused.code, "ECONNREFUSED")
    })
  )

  it.live("see each chunk when it comes, and that the client has left", () =>
    Effect.gen(function* () {
      const second = gate()
      const server = yield* UpstreamServer.make([{ steps: ["one", { await: second.opened }, "two", { hang: true }] }])
      const answer = yield* RawClient.send({ url: server.url })
      yield* answer.bytes(3)
      assert.strictEqual(answer.text(), "one")
      second.open()
      yield* answer.bytes(6)
      assert.strictEqual(answer.text(), "onetwo")
      assert.strictEqual(server.openSockets(), 1)
      answer.abort()
      assert.strictEqual(yield* server.requests[0]!.over, "aborted")
      assert.isNumber(server.requests[0]!.abortedAt)
      assert.strictEqual(yield* answer.ended, "reset")
    })
  )

  it.live("leave when the scope closes", () =>
    Effect.gen(function* () {
      const server = yield* UpstreamServer.make(() => ({ steps: ["a", { hang: true }] }))
      yield* Effect.scoped(Effect.flatMap(RawClient.send({ url: server.url }), (answer) => answer.bytes(1)))
      assert.strictEqual(yield* server.requests[0]!.over, "aborted")
    })
  )
})
