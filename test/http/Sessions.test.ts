import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { RawClient } from "../support/RawClient.ts"
import type { RawTurn } from "../support/UpstreamServer.ts"
import { chat, startGateway } from "./InProcessGateway.ts"

const tool = { id: "call_0", type: "function", function: { name: "ls", arguments: '{"path":"."}' } }

const calling: RawTurn = {
  headers: { "content-type": "application/json" },
  steps: [
    JSON.stringify({
      id: "chatcmpl-1",
      object: "chat.completion",
      model: "m-1",
      choices: [
        { index: 0, message: { role: "assistant", content: null, tool_calls: [tool] }, finish_reason: "tool_calls" }
      ],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
    })
  ]
}

const goingOn = {
  ...chat,
  messages: [
    ...chat.messages,
    { role: "assistant", content: null, tool_calls: [tool] },
    { role: "tool", tool_call_id: "call_0", content: "a.txt" }
  ]
}

describe("a session of calls over HTTP", () => {
  it.live("is seen in the management API with its client, as a tree", () =>
    Effect.gen(function* () {
      const { url } = yield* startGateway({ turns: [calling, calling, calling] })
      const call = (body: object, headers: { readonly [name: string]: string }) =>
        Effect.gen(function* () {
          const answer = yield* RawClient.post(`${url}/up/v1/chat/completions`, body, headers)
          yield* answer.ended
          assert.strictEqual(answer.status, 200)
          return String(answer.headers["x-sluice-interception-id"])
        })
      const get = (path: string) =>
        Effect.gen(function* () {
          const answer = yield* RawClient.send({ url: `${url}${path}` })
          yield* answer.ended
          return JSON.parse(answer.text())
        })

      const opencode = { "user-agent": "opencode/1.18.33 ai-sdk/provider-utils/4.0.1", "X-Session-Affinity": "ses_1/2" }
      const first = yield* call(chat, opencode)
      const second = yield* call(goingOn, opencode)
      yield* call(chat, { "user-agent": "curl/8.5.0" })

      const { sessions } = yield* get("/api/sessions")
      assert.strictEqual(sessions.length, 1)
      assert.deepInclude(sessions[0], { id: "ses_1/2", client: "opencode", actor: "anonymous", interceptions: 2 })
      assert.deepInclude(sessions[0].usage, { turns: 2, input: 6, output: 4 })
      const detail = yield* get(`/api/sessions/${encodeURIComponent(sessions[0].id)}?actor=anonymous`)
      assert.deepStrictEqual(detail.session, sessions[0])
      const [root, ...more] = detail.interceptions
      assert.deepStrictEqual(more, [])
      assert.strictEqual(root.interception.id, first)
      assert.strictEqual(root.children[0].interception.id, second)
      assert.strictEqual(root.children[0].interception.parentId, first)
      const page = yield* get("/api/interceptions?session=ses_1%2F2")
      assert.deepStrictEqual(
        page.interceptions.map(({ id }: { readonly id: string }) => id),
        [second, first]
      )
    })
  )
})
