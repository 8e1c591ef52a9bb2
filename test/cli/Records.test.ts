import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestConsole } from "effect/testing"
import { records, renderDetail, renderInterceptions } from "../../src/cli/Records.ts"
import { Recorder } from "../../src/recorder/Recorder.ts"
import type { InterceptionDetail, Usage } from "../../src/recorder/Records.ts"
import { interception } from "../recorder/rows.ts"

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
  it("shows one line for each, with its counts under the names and by the meaning that they have everywhere", () => {
    const [titles, row] = renderInterceptions([detail]).split("\n")
    assert.match(titles!, /^STARTED \(UTC\) +STATUS .* MODEL +INPUT {2}CACHE READ {2}OUTPUT {2}TOOLS/)
    assert.match(
      row!,
      /^2026-11-20 01:02:03 {2}failed \(upstream_cut\) {2}openai {4}fast → gpt-4.1-mini +10 +90 +5 +1 +1500 {2}codex +01993f6e-0000-7000-8000-000000000001$/
    )
  })

  it("has columns for caches only where one was read or written", () => {
    const used = (more: Partial<Usage>) => ({ ...detail, usage: [{ ...detail.usage[0]!, ...more }] })
    const titles = (more: Partial<Usage>) => renderInterceptions([used(more), used({ cacheRead: 0 })]).split("\n")[0]!
    assert.notInclude(titles({ cacheRead: null }), "CACHE")
    assert.match(titles({ cacheRead: 0, cacheWrite: 4 }), /INPUT {2}CACHE WRITE {2}OUTPUT/)
    assert.match(titles({ cacheRead: 2, cacheWrite: 4 }), /INPUT {2}CACHE READ {2}CACHE WRITE {2}OUTPUT/)
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

  it("shows counts that add up, of each turn and of all, and those that have no column", () => {
    const [first] = detail.usage
    const usage: ReadonlyArray<Usage> = [
      { ...first!, input: 10, cacheRead: 30, cacheWrite: 12, output: 7, reasoning: 3, other: { cache_write_5m: 12 } },
      { ...first!, turnId: "t2", input: 1, cacheRead: null, output: 2, other: { cache_write_5m: 1, searches: 2 } }
    ]
    const turns = [detail.turns[0]!, { ...detail.turns[0]!, id: "t2", index: 1 }]
    const lines = renderDetail({ ...detail, turns, usage }).split("\n")
    const at = lines.findIndex((line) => line.startsWith("Usage in tokens"))
    const cells = lines.slice(at + 1, at + 5).map((line) => line.trim().split(/ {2,}/))
    assert.deepStrictEqual(cells, [
      ["TURN", "INPUT", "CACHE READ", "CACHE WRITE", "OUTPUT", "TOTAL", "REASONING", "OTHER", "SOURCE"],
      ["0", "10", "30", "12", "7", "59", "3", "cache_write_5m 12", "partial"],
      ["1", "1", "-", "-", "2", "3", "-", "cache_write_5m 1, searches 2", "partial"],
      ["all", "11", "30", "12", "9", "62", "3", "cache_write_5m 13, searches 2"]
    ])
  })
})

describe("records", () => {
  const printed = (model: string | undefined) =>
    Effect.gen(function* () {
      yield* records({ limit: 5, model, json: false, width: 0 })
      return (yield* TestConsole.logLines).join("\n")
    })

  it.effect("says that nothing is recorded only where nothing is", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* printed(undefined), "Nothing is recorded yet.")
    }).pipe(Effect.provide(Layer.mergeAll(Recorder.layerMemory, TestConsole.layer)))
  )

  it.effect("says that nothing matches where a model was asked for", () =>
    Effect.gen(function* () {
      yield* (yield* Recorder).open(interception("a1"))
      assert.strictEqual(
        yield* printed("no\u001bsuch"),
        "Nothing that is recorded asked for the model no such, or was served by it."
      )
    }).pipe(Effect.provide(Layer.mergeAll(Recorder.layerMemory, TestConsole.layer)))
  )
})
