import { describe, expect, it } from "vitest"
import { postHeaders } from "../../src/interception/HandshakeHeaders.ts"

describe("the headers of a handshake, on a request with a body", () => {
  it("say what the body is", () => {
    expect(postHeaders({ "user-agent": "codex" })).toEqual({
      "user-agent": "codex",
      "content-type": "application/json"
    })
  })

  it("lose what only concerns the connection", () => {
    const betas = (value: string | ReadonlyArray<string>) => postHeaders({ "openai-beta": value })["openai-beta"]
    expect(betas("responses_websockets=2026-02-06")).toBeUndefined()
    expect(betas("other=1, responses_websockets=2026-02-06")).toBe("other=1")
    expect(betas(["responses_websockets=2026-02-06", "other=1"])).toBe("other=1")
  })
})
