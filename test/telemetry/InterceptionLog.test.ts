import { assert, describe, it } from "@effect/vitest"
import { vi } from "vitest"
import { Effect, Exit, Layer, References, Scope } from "effect"
import type { Ended } from "../../src/interception/Observer.ts"
import { InterceptionLog, lineOf } from "../../src/telemetry/InterceptionLog.ts"
import { ended } from "./ended.ts"

const failed = (code: "upstream_cut" | "bad_request", status: "failed" | "rejected" = "failed") =>
  ({ status, error: { code, message: "CANARY-message" } }) as const

/** What is written of these interceptions, by how often it was written. */
const logged = (all: ReadonlyArray<Ended>, minimum: "Info" | "Warn" | "Error" = "Info") =>
  Effect.gen(function* () {
    const writes: Array<string> = []
    yield* Effect.gen(function* () {
      const log = yield* InterceptionLog
      for (const one of all) log.observe(one)
      assert.deepStrictEqual(writes, [], "nothing is written while something is carried out")
      yield* log.flush
    }).pipe(
      Effect.provide(
        InterceptionLog.layer((lines) => writes.push(lines)).pipe(
          Layer.provide(Layer.succeed(References.MinimumLogLevel, minimum))
        )
      )
    )
    return writes
  })

describe("the interception log", () => {
  it.effect("has one line for each interception, written together", () =>
    Effect.gen(function* () {
      const writes = yield* logged([ended({}), ended({ close: failed("upstream_cut") })])
      assert.strictEqual(writes.length, 1)
      const lines = writes[0]!.split("\n")
      assert.strictEqual(lines.length, 3)
      assert.strictEqual(
        lines[0],
        "timestamp=2023-11-14T22:13:21.500Z level=INFO message=interception id=i1 provider=openai model=fast " +
          "served=gpt-4.1-mini-2025-04-14 dialect=openai-chat transport=sse status=completed http_status=200 " +
          "duration_ms=1500 first_frame_ms=13 attempts=1 input=10 output=20 cache_read=30 cache_write=0 reasoning=5 " +
          "usage=provider"
      )
      assert.include(lines[1], "level=WARN")
      assert.include(lines[1], "status=failed error=upstream_cut")
      assert.strictEqual(lines[2], "")
    })
  )

  it.live("writes by itself, lines that come close together in one piece", () =>
    Effect.gen(function* () {
      const writes: Array<string> = []
      const scope = yield* Effect.scope
      const context = yield* Layer.buildWithScope(
        InterceptionLog.layer((lines) => writes.push(lines)),
        scope
      )
      const observe = InterceptionLog.useSync((log) => log.observe(ended({}))).pipe(Effect.provideContext(context))
      vi.useFakeTimers()
      yield* observe
      yield* observe
      assert.strictEqual(writes.length, 0)
      vi.runAllTimers()
      assert.deepStrictEqual(
        writes.map((lines) => lines.split("\n").length),
        [3]
      )
      yield* observe
      vi.runAllTimers()
      assert.strictEqual(writes.length, 2)
      vi.useRealTimers()
    })
  )

  it.effect("writes what is left when it is closed", () =>
    Effect.gen(function* () {
      const writes: Array<string> = []
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        InterceptionLog.layer((lines) => writes.push(lines)),
        scope
      )
      yield* InterceptionLog.useSync((log) => log.observe(ended({}))).pipe(Effect.provideContext(context))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(writes.length, 1)
    })
  )

  it.effect("warns of what was rejected or failed, not of a client that left", () =>
    Effect.gen(function* () {
      const all = [
        ended({}),
        ended({ close: { status: "incomplete" } }),
        ended({ close: { status: "cancelled", error: { code: "client_gone", message: "" } } }),
        ended({ close: failed("upstream_cut") }),
        ended({ close: failed("bad_request", "rejected"), turns: [], usage: [] })
      ]
      const levels = (yield* logged(all)).join("").match(/level=\w+/g)
      assert.deepStrictEqual(levels, ["level=INFO", "level=INFO", "level=INFO", "level=WARN", "level=WARN"])
      assert.strictEqual((yield* logged(all, "Warn")).join("").match(/level=WARN/g)?.length, 2)
      assert.notInclude((yield* logged(all, "Warn")).join(""), "level=INFO")
      assert.deepStrictEqual(yield* logged(all, "Error"), [])
    })
  )

  it("sums the tokens of several turns, and says the weakest provenance", () => {
    const line = lineOf(
      ended({
        turns: [
          { attempts: 2, timeToFirstFrameMs: 40 },
          { attempts: 1, httpStatus: 502, timeToFirstFrameMs: null }
        ],
        usage: [{}, { input: 1, output: null, reasoning: null, provenance: "partial" }]
      }),
      "INFO"
    )
    assert.include(line, "http_status=502")
    assert.include(line, "first_frame_ms=40 turns=2 attempts=3 input=11 output=20 ")
    assert.include(line, "usage=partial")
  })

  it("says how many calls of injected tools were run, and what went over a WebSocket", () => {
    const plain = lineOf(ended({}), "INFO")
    assert.notMatch(plain, / (?:tool_calls|lane|frames_in|close)=/)
    const line = lineOf(
      ended({
        close: { transport: "ws" },
        toolCalls: 3,
        turns: [
          { lane: "a", framesIn: 4, framesOut: 2 },
          { lane: "a", framesIn: 5, framesOut: 5, closeCode: 1012, closeReason: "service restart" }
        ]
      }),
      "INFO"
    )
    assert.include(
      line,
      ' turns=2 tool_calls=3 lane=a frames_in=9 frames_out=7 close=1012 close_reason="service restart" attempts=2 '
    )
  })

  it("has the time of the end, to the millisecond", () => {
    const times = [1_700_000_001_500, 1_700_000_001_007, 1_700_000_002_000, 1_700_000_001_999, 1_699_999_999_999]
    const shown = times.map((endedAt) => /timestamp=(\S+)/.exec(lineOf(ended({ close: { endedAt } }), "INFO"))?.[1])
    assert.deepStrictEqual(
      shown,
      times.map((endedAt) => new Date(endedAt).toISOString())
    )
  })

  it("leaves out what is not known", () => {
    const line = lineOf(
      ended({
        row: { provider: null, requestedModel: null, transport: null },
        close: { ...failed("bad_request", "rejected"), servedModel: null, transport: null },
        turns: [],
        usage: []
      }),
      "WARN"
    )
    assert.strictEqual(
      line,
      "timestamp=2023-11-14T22:13:21.500Z level=WARN message=interception id=i1 provider=- model=- " +
        "dialect=openai-chat transport=- status=rejected error=bad_request duration_ms=1500\n"
    )
  })

  it("never repeats an error's message, a user agent, a hint or an actor", () => {
    const row = { userAgent: "CANARY-agent", credentialHint: "CANARY-hint", actor: "CANARY-actor" }
    const turns = [{ error: { code: "upstream_cut", message: "CANARY-turn" }, finishReason: "CANARY-reason" }] as const
    assert.notInclude(lineOf(ended({ row, close: failed("upstream_cut"), turns }), "WARN"), "CANARY")
  })

  it.each([
    ["a line feed", "x\nlevel=INFO message=interception id=forged", '"x\\nlevel=INFO message=interception id=forged"'],
    ["carriage return and escape", "a\r\u001b[2Jb", '"a\\r\\u001b[2Jb"'],
    ["C1 controls and line separators", "a\u0085\u009b\u2028\u2029b", '"a\\u0085\\u009b\\u2028\\u2029b"'],
    ["a turned direction", "a\u202eb\u2066c", '"a\\u202eb\\u2066c"'],
    ["a space and a pair of its own", "a status=completed", '"a status=completed"'],
    ["a quote and a backslash", 'a"b\\', '"a\\"b\\\\"'],
    ["nothing", "", '""'],
    ["what stands for nothing", "-", '"-"'],
    ["half a character", "a\ud800", '"a\\ud800"'],
    ["a long one", "m".repeat(5000), `"${"m".repeat(120)}…"`],
    ["a plain one", "openai/gpt-4.1:free@2", "openai/gpt-4.1:free@2"],
    ["other letters", "模型", '"模型"']
  ])("cannot be forged by a model with %s in its name", (_, model, shown) => {
    const line = lineOf(
      ended({ row: { requestedModel: model, provider: model }, close: { servedModel: model } }),
      "INFO"
    )
    assert.include(line, ` provider=${shown} model=${shown} served=${shown} dialect=`)
    assert.strictEqual(line.indexOf("\n"), line.length - 1)
  })
})
