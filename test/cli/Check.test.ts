import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { checkProvider, checkProviders, renderChecks } from "../../src/cli/Check.ts"
import { make } from "../../src/config/Load.ts"
import type { ProviderInput } from "../../src/config/Config.ts"
import { ChunkQueue } from "../../src/upstream/ChunkQueue.ts"
import { type ExchangeRequest, Unreachable, UpstreamError } from "../../src/upstream/Exchange.ts"

const key = "sk-0123456789abcdefghij"

/** A provider that answers every request with one status, and what it was asked. */
const answering = (status: number) => {
  const asked: Array<ExchangeRequest> = []
  const exchange = (request: ExchangeRequest) =>
    Effect.sync(() => {
      asked.push(request)
      return { status, headers: {}, body: new ChunkQueue<UpstreamError>() }
    })
  return { asked, exchange }
}

const checkOne = (provider: ProviderInput, status: number) =>
  Effect.gen(function* () {
    const config = yield* make({ providers: { p: provider } })
    return yield* checkProvider("p", config.providers["p"]!, answering(status).exchange)
  })

describe("checkProvider", () => {
  it.effect("asks for the models with the key, in the provider's own form", () =>
    Effect.gen(function* () {
      const { asked, exchange } = answering(200)
      const config = yield* make({
        providers: { a: { type: "openai", api_key: key }, b: { type: "anthropic", api_key: key } }
      })
      yield* checkProviders(config, () => exchange)
      assert.deepStrictEqual(
        asked.map(({ origin, target, headers }) => [origin + target, headers["authorization"], headers["x-api-key"]]),
        [
          ["https://api.openai.com/v1/models", `Bearer ${key}`, undefined],
          ["https://api.anthropic.com/v1/models", undefined, key]
        ]
      )
    })
  )

  it.effect.each([
    { provider: { type: "openai", api_key: key }, status: 200, ok: true, finding: "accepts the key sk-0…ghij" },
    { provider: { type: "openai", api_key: key }, status: 401, ok: false, finding: "refuses the key sk-0…ghij (401)" },
    { provider: { type: "openai", api_key: key }, status: 503, ok: false, finding: "answers 503" },
    { provider: { type: "openai" }, status: 401, ok: true, finding: "reachable; clients bring their own key" },
    { provider: { type: "openai" }, status: 502, ok: false, finding: "answers 502" },
    { provider: { type: "simulated" }, status: 500, ok: true, finding: "built in" }
  ] as const)("$provider.type answering $status: $finding", ({ provider, status, ok, finding }) =>
    Effect.gen(function* () {
      const result = yield* checkOne(provider, status)
      assert.strictEqual(result.finding, finding)
      assert.strictEqual(result.ok, ok)
    })
  )

  it.effect("says why a provider cannot be reached, and does not wait for ever", () =>
    Effect.gen(function* () {
      const config = yield* make({ providers: { p: { type: "openai" } } })
      const provider = config.providers["p"]!
      const refused = yield* checkProvider("p", provider, () =>
        Effect.fail(new UpstreamError({ provider: "p", reason: new Unreachable({ detail: "ECONNREFUSED" }) }))
      )
      assert.isFalse(refused.ok)
      assert.include(refused.finding, "ECONNREFUSED")
      const waiting = yield* Effect.forkChild(checkProvider("p", provider, () => Effect.never))
      yield* TestClock.adjust("11 seconds")
      const silent = yield* Fiber.join(waiting)
      assert.strictEqual(silent.finding, "no answer within 10 seconds")
      assert.include(renderChecks([silent]), "p         FAILED  https://api.openai.com/v1  no answer")
    })
  )
})
