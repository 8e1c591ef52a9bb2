import { assert, describe, it } from "@effect/vitest"
import { renderDetail, renderInterceptions } from "../../src/cli/Records.ts"
import type { InterceptionDetail } from "../../src/recorder/Records.ts"

const detail: InterceptionDetail = {
  interception: {
    id: "01993f6e-0000-7000-8000-000000000001",
    actor: "anonymous",
    provider: "openai",
    providerType: "openai",
    requestedModel: "fast",
    servedModel: "gpt-4.1-mini",
    dialect: "openai-chat",
    transport: "sse",
    client: "codex",
    sessionId: null,
    parentId: null,
    userAgent: "ua\u001b[2J",
    credentialKind: "central",
    credentialHint: "sk-0…ghij",
    startedAt: Date.UTC(2026, 10, 20, 1, 2, 3, 400),
    endedAt: Date.UTC(2026, 10, 20, 1, 2, 4, 900),
    status: "failed",
    error: { code: "upstream_cut", message: "broke off" }
  },
  turns: [
    {
      id: "t1",
      interceptionId: "i",
      index: 0,
      startedAt: 0,
      endedAt: 1,
      transport: "sse",
      upstreamResponseId: "r",
      servedModel: "m",
      httpStatus: 200,
      status: "failed",
      finishReason: null,
      error: { code: "upstream_cut", message: "broke off" },
      timeToFirstFrameMs: 12.6,
      durationMs: 1500,
      attempts: 1,
      framesIn: 9,
      framesOut: 9,
      lane: null,
      closeCode: null,
      closeReason: null
    }
  ],
  prompts: [{ interceptionId: "i", turnId: "t1", text: "one\ntwo\u001b[31m" }],
  usage: [
    {
      interceptionId: "i",
      turnId: "t1",
      input: 10,
      output: 5,
      cacheRead: 90,
      cacheWrite: null,
      reasoning: null,
      other: {},
      provenance: "partial",
      raw: null,
      cost: null,
      currency: null,
      priceVersion: null
    }
  ],
  toolCalls: [
    {
      interceptionId: "i",
      turnId: "t1",
      callId: "call_1",
      name: "search",
      arguments: '{"q":"x"}',
      injected: false,
      serverUrl: null,
      error: null,
      durationMs: null
    }
  ],
  thoughts: []
}

describe("renderInterceptions", () => {
  it("shows one line for each, with all its input counted", () => {
    const [titles, row] = renderInterceptions([detail]).split("\n")
    assert.match(titles!, /^STARTED \(UTC\) +STATUS/)
    assert.match(
      row!,
      /^2026-11-20 01:02:03 {2}failed \(upstream_cut\) {2}openai {4}fast → gpt-4.1-mini +100 +5 +1 +1500 {2}codex +01993f6e-0000-7000-8000-000000000001$/
    )
  })

  it("says of what is not known that it is not", () => {
    const running = {
      ...detail,
      interception: { ...detail.interception, endedAt: null, status: null, error: null },
      usage: [],
      toolCalls: []
    }
    assert.match(renderInterceptions([running]).split("\n")[1]!, /running .* - +- +0 +- {2}codex/)
  })
})

describe("renderDetail", () => {
  it("shows everything recorded, harmless to a terminal", () => {
    const text = renderDetail(detail)
    assert.include(text, "credential    central sk-0…ghij")
    assert.include(text, "upstream_cut: broke off")
    assert.include(text, '{"q":"x"}')
    assert.include(text, "Prompt\n  one\n  two [31m")
    assert.notInclude(text, "\u001b")
  })
})
