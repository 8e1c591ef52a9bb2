import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { RawClient } from "../support/RawClient.ts"
import { chat, startGateway } from "./InProcessGateway.ts"

describe("an answer with 200 that is none", () => {
  it.live("is named by its content type where that is no JSON, as of a login page", () =>
    Effect.gen(function* () {
      const page = { headers: { "content-type": "text/html; charset=utf-8" }, steps: ["<html>log in</html>"] }
      const gateway = yield* startGateway({ turns: [page] })
      const answer = yield* RawClient.post(`${gateway.url}/up/v1/chat/completions`, chat)
      yield* answer.ended
      assert.strictEqual(answer.status, 502)
      const { error } = JSON.parse(answer.text()) as { error: { code: string; message: string } }
      assert.strictEqual(error.code, "upstream_malformed")
      assert.include(error.message, "text/html; charset=utf-8; is the provider's base_url right?")
      const [call] = yield* gateway.recordings.closed(1)
      assert.strictEqual(call!.interception.error?.code, "malformed")
    })
  )
})
