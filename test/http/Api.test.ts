import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Option, Redacted } from "effect"
import { HttpClient, HttpClientRequest, HttpRouter, HttpServer } from "effect/http"
import { HttpApiClient, OpenApi } from "effect/http-api"
import { adminRule, admission } from "../../src/http/Admission.ts"
import { Api, NotFound } from "../../src/http/Api.ts"
import * as ApiRoutes from "../../src/http/ApiRoutes.ts"
import { Recorder, RecorderError } from "../../src/recorder/Recorder.ts"
import { logfmt } from "../../src/telemetry/StandardErrorLogger.ts"
import { RawClient } from "../support/RawClient.ts"
import { interception, start, thought, toolCall, turn, usage } from "../recorder/rows.ts"

const admit = admission({ host: "127.0.0.1", hosts: [], origins: ["https://tools.example"] })
const openRules = { admit, admitAdmin: adminRule({ token: undefined, listener: "loopback" }) }
const tokenRules = { admit, admitAdmin: adminRule({ token: Redacted.make("the-admin-token"), listener: "loopback" }) }
const remoteRules = { admit, admitAdmin: adminRule({ token: undefined, listener: "network" }) }

const broken = Layer.effect(
  Recorder,
  Effect.map(Recorder, (recorder) => {
    const failed = Effect.fail(RecorderError.failed("read", new Error("disk /secret/path is gone")))
    return { ...recorder, interceptions: () => failed, interception: () => failed, usage: () => failed }
  })
).pipe(Layer.provide(Recorder.layerMemory))

/** Answers an interception that has a number where JSON has none. */
const unpresentable = Layer.effect(
  Recorder,
  Effect.map(Recorder, (recorder) => ({
    ...recorder,
    interception: (id: string) =>
      Effect.map(
        recorder.interception(id),
        Option.map((detail) => ({
          ...detail,
          usage: detail.usage.map((row) => ({ ...row, other: { "a secret": Number.POSITIVE_INFINITY } }))
        }))
      )
  }))
).pipe(Layer.provideMerge(Recorder.layerMemory))

const served = (rules: ApiRoutes.ApiRules, recorder: Layer.Layer<Recorder> = Recorder.layerMemory) =>
  HttpRouter.serve(ApiRoutes.layer(rules), { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(recorder),
    Layer.provideMerge(NodeHttpServer.layerTest)
  )

const get = (path: string, headers: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const response = yield* HttpClient.execute(HttpClientRequest.get(path, { headers }))
    const text = yield* response.text
    return { status: response.status, headers: response.headers, text, json: JSON.parse(text || "null") }
  })

const [a1, a2, a3] = [1, 2, 3].map((last) => `01993f6e-0000-7000-8000-00000000000${last}`) as [string, string, string]

const record = Effect.gen(function* () {
  const recorder = yield* Recorder
  for (const id of [a1, a2, a3]) {
    yield* recorder.open(interception(id, { actor: id === a2 ? "byok:0123456789abcdef" : "anonymous" }))
  }
  yield* recorder.commit({
    turns: [turn(a3)],
    usage: [usage(a3, 0, { raw: '{"prompt_tokens":7,"completion_tokens":5}' })],
    toolCalls: [toolCall(a3, "call_1")],
    thoughts: [thought(a3, "hm")],
    closes: [{ id: a3, endedAt: start + 100, status: "completed", error: null }]
  })
})

describe("the management API", () => {
  it.effect("says that it failed, and logs where, when what was recorded cannot be presented", () => {
    const logged: Array<string> = []
    const logger = Logger.layer([Logger.map(logfmt, (line) => void logged.push(line))])
    return Effect.gen(function* () {
      yield* record
      const { json, status } = yield* get(`/api/interceptions/${a3}`)
      assert.deepStrictEqual([status, json.error.code], [500, "internal_error"])
      assert.strictEqual(logged.length, 1)
      assert.include(logged[0], "could not be written")
      assert.include(logged[0], "usage.0.other")
      assert.notInclude(logged[0], "secret")
    }).pipe(Effect.provide(Layer.provideMerge(served(openRules, unpresentable), logger)))
  })

  it.effect("presents the arguments of a call as text where a number in them is infinite", () =>
    Effect.gen(function* () {
      yield* record
      const recorder = yield* Recorder
      yield* recorder.commit({ toolCalls: [toolCall(a1, "call_2", { arguments: '{"n":1e400}' })] })
      const { json, status } = yield* get(`/api/interceptions/${a1}`)
      assert.deepStrictEqual([status, json.toolCalls[0].arguments], [200, '{"n":1e400}'])
    }).pipe(Effect.provide(served(openRules)))
  )

  it.effect("lists interceptions newest first, page by page, with times as text", () =>
    Effect.gen(function* () {
      yield* record
      const first = yield* get("/api/interceptions?limit=2")
      assert.strictEqual(first.status, 200)
      assert.match(first.headers["content-type"] ?? "", /^application\/json/)
      assert.strictEqual(first.headers["cache-control"], "no-store")
      assert.deepStrictEqual(Object.keys(first.json).sort(), ["interceptions", "next"])
      assert.deepStrictEqual(
        first.json.interceptions.map((row: { id: string }) => row.id),
        [a3, a2]
      )
      assert.strictEqual(first.json.interceptions[0].startedAt, "2023-11-14T22:13:20.000Z")
      assert.strictEqual(first.json.interceptions[0].status, "completed")
      assert.strictEqual(first.json.interceptions[1].status, null)
      const second = yield* get(`/api/interceptions?limit=2&before=${first.json.next}`)
      assert.deepStrictEqual(
        second.json.interceptions.map((row: { id: string }) => row.id),
        [a1]
      )
      assert.strictEqual(second.json.next, null)
    }).pipe(Effect.provide(served(openRules)))
  )

  it.effect("filters, and takes an empty filter for none", () =>
    Effect.gen(function* () {
      yield* record
      const ids = (query: string) =>
        Effect.map(get(`/api/interceptions?${query}`), ({ json }) =>
          json.interceptions.map((row: { id: string }) => row.id).join()
        )
      assert.strictEqual(yield* ids("actor=byok%3A0123456789abcdef"), a2)
      assert.strictEqual(yield* ids("model=none-such"), "")
      assert.strictEqual(yield* ids("model=fast"), `${a3},${a2},${a1}`)
      assert.strictEqual(yield* ids(`response=chatcmpl-${a3}-0`), a3)
      assert.strictEqual(yield* ids("session=s"), "")
      assert.strictEqual(yield* ids("actor=&model=&before="), `${a3},${a2},${a1}`)
    }).pipe(Effect.provide(served(openRules)))
  )

  it.effect("says which parameter is wrong and what it may be", () =>
    Effect.gen(function* () {
      for (const limit of ["0", "1001", "-1", "1.5", "1e2", "abc", "", "%20", "5&limit=6", "1".repeat(3000)]) {
        const { status, json } = yield* get(`/api/interceptions?limit=${limit}`)
        assert.strictEqual(status, 400, limit)
        assert.strictEqual(json.error.code, "invalid_parameter")
        assert.match(json.error.message, /^limit: /)
        assert.isBelow(json.error.message.length, 501)
      }
      const limit = yield* get("/api/interceptions?limit=1001")
      assert.strictEqual(limit.json.error.message, "limit: expected a whole number from 1 to 1000")
      for (const path of [
        "/api/interceptions?before=zzz",
        "/api/sessions?before=5",
        `/api/sessions/s?after=${"a".repeat(36)}`
      ]) {
        const { json, status } = yield* get(path)
        assert.deepStrictEqual([status, json.error.code], [400, "invalid_parameter"], path)
        assert.match(json.error.message, /^(before|after): expected the `next` of the page before$/)
      }
      const by = yield* get("/api/usage?by=provider")
      assert.strictEqual(by.status, 400)
      assert.match(by.json.error.message, /^by: .*"model".*"actor".*"day"/)
      for (const good of ["1", "1000"]) assert.strictEqual((yield* get(`/api/interceptions?limit=${good}`)).status, 200)
    }).pipe(Effect.provide(served(openRules)))
  )

  it.effect("shows everything of one interception, a provider's usage as the JSON it was", () =>
    Effect.gen(function* () {
      yield* record
      const { status, json } = yield* get(`/api/interceptions/${a3}`)
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(Object.keys(json).sort(), [
        "interception",
        "prompts",
        "thoughts",
        "toolCalls",
        "turns",
        "usage"
      ])
      assert.deepStrictEqual(json.usage[0].raw, { prompt_tokens: 7, completion_tokens: 5 })
      assert.strictEqual(json.turns[0].startedAt, "2023-11-14T22:13:20.001Z")
      const missing = yield* get("/api/interceptions/none")
      assert.strictEqual(missing.status, 404)
      assert.strictEqual(missing.json.error.code, "not_found")
    }).pipe(Effect.provide(served(openRules)))
  )

  it.effect("sums usage by model, which is the default, actor and day", () =>
    Effect.gen(function* () {
      yield* record
      const byModel = yield* get("/api/usage")
      assert.deepStrictEqual(Object.keys(byModel.json), ["usage"])
      assert.deepStrictEqual(Object.keys(byModel.json.usage[0]).sort(), [
        "cacheRead",
        "cacheWrite",
        "cost",
        "currency",
        "input",
        "interceptions",
        "key",
        "output",
        "reasoning",
        "turns"
      ])
      const byActor = yield* get("/api/usage?by=actor")
      assert.include(
        byActor.json.usage.map((sum: { key: string }) => sum.key),
        "anonymous"
      )
      const byDay = yield* get("/api/usage?by=day")
      assert.strictEqual(byDay.json.usage[0].key, "2023-11-14")
    }).pipe(Effect.provide(served(openRules)))
  )

  it.effect("says that the records cannot be read, and not why", () =>
    Effect.gen(function* () {
      for (const path of ["/api/interceptions", `/api/interceptions/${a1}`, "/api/usage?by=day"]) {
        const { status, json, text } = yield* get(path)
        assert.strictEqual(status, 503, path)
        assert.strictEqual(json.error.code, "recorder_unavailable")
        assert.notInclude(text, "secret")
      }
    }).pipe(Effect.provide(served(openRules, broken)))
  )

  it.effect("answers HEAD like GET, other methods 405 and other paths 404", () =>
    Effect.gen(function* () {
      yield* record
      const head = yield* HttpClient.head(`/api/interceptions/${a3}`)
      assert.strictEqual(head.status, 200)
      assert.strictEqual(yield* head.text, "")
      for (const path of ["/api/interceptions", `/api/interceptions/${a3}`, "/api/usage"]) {
        for (const send of [HttpClient.post, HttpClient.del, HttpClient.put]) {
          const response = yield* send(path)
          assert.strictEqual(response.status, 405)
          assert.strictEqual(response.headers["allow"], "GET, HEAD")
        }
      }
      for (const path of ["/api", "/api/", "/api/session", "/api/interceptions/a/b"]) {
        const { status, json } = yield* get(path)
        assert.strictEqual(status, 404, path)
        assert.strictEqual(json.error.code, "unknown_route")
      }
    }).pipe(Effect.provide(served(openRules)))
  )

  it.effect("wants the admin token where one is set, on every path", () =>
    Effect.gen(function* () {
      yield* record
      for (const path of ["/api/interceptions", `/api/interceptions/${a3}`, "/api/usage", "/api/none", "/api"]) {
        for (const headers of [{}, { authorization: "Bearer wrong" }, { "x-api-key": "the-admin-token" }]) {
          const refused = yield* get(path, headers)
          assert.strictEqual(refused.status, 401, path)
          assert.strictEqual(refused.headers["www-authenticate"], "Bearer")
          assert.strictEqual(refused.json.error.code, "unauthorized")
        }
      }
      const admitted = yield* get(`/api/interceptions/${a3}`, { authorization: "Bearer the-admin-token" })
      assert.strictEqual(admitted.status, 200)
      const unknown = yield* get("/api/interceptions?limit=0", {})
      assert.strictEqual(unknown.status, 401, "nothing is judged before the token")
    }).pipe(Effect.provide(served(tokenRules)))
  )

  it.effect("shows nothing off loopback where no token is set", () =>
    Effect.gen(function* () {
      const { status, json } = yield* get("/api/interceptions", { authorization: "Bearer x" })
      assert.strictEqual(status, 403)
      assert.match(json.error.message, /server\.admin_token/)
    }).pipe(Effect.provide(served(remoteRules)))
  )

  it.effect("refuses foreign hosts and origins, and answers those of listed origins and their preflights", () =>
    Effect.gen(function* () {
      const address = (yield* HttpServer.HttpServer).address
      const port = "port" in address ? address.port : 0
      const rebound = yield* RawClient.send({
        url: `http://127.0.0.1:${port}/api/interceptions`,
        headers: { host: `evil.example:${port}`, authorization: "Bearer the-admin-token" }
      })
      assert.strictEqual(rebound.status, 403)
      const foreign = yield* get("/api/interceptions", { origin: "https://evil.example" })
      assert.strictEqual(foreign.status, 403)
      assert.isUndefined(foreign.headers["access-control-allow-origin"])
      const page = { origin: "https://tools.example" }
      const refused = yield* get("/api/interceptions", page)
      assert.strictEqual(refused.status, 401)
      assert.strictEqual(refused.headers["access-control-allow-origin"], "https://tools.example")
      const wrong = yield* get("/api/interceptions?limit=0", { ...page, authorization: "Bearer the-admin-token" })
      assert.strictEqual(wrong.status, 400)
      assert.strictEqual(wrong.headers["access-control-allow-origin"], "https://tools.example")
      const preflight = yield* HttpClient.execute(
        HttpClientRequest.options("/api/interceptions", {
          headers: {
            ...page,
            "access-control-request-method": "GET",
            "access-control-request-headers": "authorization"
          }
        })
      )
      assert.strictEqual(preflight.status, 204)
      assert.strictEqual(preflight.headers["access-control-allow-headers"], "authorization")
    }).pipe(Effect.provide(served(tokenRules)))
  )

  it.effect("has a typed client made from the API alone", () =>
    Effect.gen(function* () {
      yield* record
      const client = yield* HttpApiClient.make(Api)
      const page = yield* client.interceptions({ query: { limit: 1 } })
      assert.strictEqual(page.interceptions[0]?.startedAt, start)
      const detail = yield* client.interception({ params: { id: a3 } })
      assert.strictEqual(detail.usage[0]?.raw, '{"prompt_tokens":7,"completion_tokens":5}')
      const sums = yield* client.usage({ query: { by: "actor" } })
      assert.isAbove(sums.usage.length, 0)
      const missing = yield* Effect.flip(client.interception({ params: { id: "none" } }))
      assert.instanceOf(missing, NotFound)
      assert.strictEqual(missing.message, "There is no interception of this id.")
    }).pipe(Effect.provide(served(openRules)))
  )

  it.effect("describes itself", () =>
    Effect.sync(() => {
      const document = OpenApi.fromApi(Api)
      assert.deepStrictEqual(Object.keys(document.paths).sort(), [
        "/api/interceptions",
        "/api/interceptions/{id}",
        "/api/sessions",
        "/api/sessions/{id}",
        "/api/usage"
      ])
    })
  )
})
