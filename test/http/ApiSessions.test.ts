import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpClient, HttpRouter } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import { adminRule, admission } from "../../src/http/Admission.ts"
import { AmbiguousSession, Api } from "../../src/http/Api.ts"
import * as ApiRoutes from "../../src/http/ApiRoutes.ts"
import { Recorder } from "../../src/recorder/Recorder.ts"
import { close, interception, turn, usage } from "../recorder/rows.ts"

const rules = {
  admit: admission({ host: "127.0.0.1", hosts: [], origins: [] }),
  admitAdmin: adminRule({ token: undefined, listener: "loopback" })
}

const served = HttpRouter.serve(ApiRoutes.layer(rules), { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provideMerge(Recorder.layerMemory),
  Layer.provideMerge(NodeHttpServer.layerTest)
)

const get = (path: string) =>
  Effect.gen(function* () {
    const response = yield* HttpClient.get(path)
    return { status: response.status, json: JSON.parse(yield* response.text) }
  })

interface Node {
  readonly interception: { readonly id: string; readonly parentId: string | null }
  readonly children: ReadonlyArray<Node>
}

const idOf = (n: number) => `01993f6e-0000-7000-8000-${String(n).padStart(12, "0")}`

const record = Effect.gen(function* () {
  const recorder = yield* Recorder
  const rows = [
    [idOf(1), "alice", "s1", null],
    [idOf(2), "alice", "s1", idOf(1)],
    [idOf(3), "bob", "a session/with %2F", null],
    [idOf(4), "bob", "s1", null],
    [idOf(5), "alice", null, null]
  ] as const
  for (const [id, actor, sessionId, parentId] of rows) {
    yield* recorder.open(interception(id, { actor, sessionId, parentId }))
    yield* recorder.commit({ turns: [turn(id)], usage: [usage(id)], closes: [close(id)] })
  }
})

describe("the sessions of the management API", () => {
  it.effect("are listed newest first, with times as text and totals", () =>
    Effect.gen(function* () {
      yield* record
      const { status, json } = yield* get("/api/sessions")
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(
        json.sessions.map((session: { id: string; actor: string }) => [session.actor, session.id]),
        [
          ["bob", "s1"],
          ["bob", "a session/with %2F"],
          ["alice", "s1"]
        ]
      )
      assert.deepStrictEqual(json.sessions[2], {
        id: "s1",
        client: "codex",
        actor: "alice",
        startedAt: "2023-11-14T22:13:20.000Z",
        endedAt: "2023-11-14T22:13:20.200Z",
        interceptions: 2,
        usage: {
          turns: 2,
          input: 20,
          output: 40,
          cacheRead: 10,
          cacheWrite: 0,
          reasoning: 6,
          cost: null,
          currency: null
        }
      })
      assert.isNull(json.next)
      const first = yield* get("/api/sessions?limit=2&actor=&client=codex")
      const second = yield* get(`/api/sessions?limit=2&before=${first.json.next}`)
      assert.strictEqual(first.json.sessions.length, 2)
      assert.strictEqual(second.json.sessions.length, 1)
      assert.strictEqual((yield* get("/api/sessions?actor=alice")).json.sessions.length, 1)
      assert.strictEqual((yield* get("/api/sessions?client=zed")).json.sessions.length, 0)
      assert.strictEqual((yield* get("/api/sessions?limit=1001")).status, 400)
    }).pipe(Effect.provide(served))
  )

  it.effect("are shown one by one as a tree", () =>
    Effect.gen(function* () {
      yield* record
      const { status, json } = yield* get("/api/sessions/s1?actor=alice")
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(Object.keys(json).sort(), ["interceptions", "next", "session"])
      assert.strictEqual(json.session.interceptions, 2)
      assert.strictEqual(json.interceptions.length, 1)
      assert.strictEqual(json.interceptions[0].interception.id, idOf(1))
      assert.strictEqual(json.interceptions[0].interception.startedAt, "2023-11-14T22:13:20.000Z")
      assert.strictEqual(json.interceptions[0].children[0].interception.parentId, idOf(1))
      assert.deepStrictEqual(json.interceptions[0].children[0].children, [])
      const odd = yield* get(`/api/sessions/${encodeURIComponent("a session/with %2F")}`)
      assert.strictEqual(odd.json.session.id, "a session/with %2F")
    }).pipe(Effect.provide(served))
  )

  it.effect("are told apart by their actors", () =>
    Effect.gen(function* () {
      yield* record
      const several = yield* get("/api/sessions/s1")
      assert.strictEqual(several.status, 409)
      assert.strictEqual(several.json.error.code, "ambiguous_session")
      assert.match(several.json.error.message, /\?actor=: alice, bob\./)
      assert.strictEqual((yield* get("/api/sessions/s1?actor=bob")).json.session.interceptions, 1)
      for (const path of ["/api/sessions/s1?actor=eve", "/api/sessions/s2", "/api/sessions/null"]) {
        const missing = yield* get(path)
        assert.strictEqual(missing.status, 404, path)
        assert.strictEqual(missing.json.error.code, "not_found")
      }
      assert.strictEqual((yield* HttpClient.post("/api/sessions/s1")).status, 405)
      assert.strictEqual((yield* HttpClient.del("/api/sessions")).status, 405)
    }).pipe(Effect.provide(served))
  )

  it.effect("of thousands of calls, each the child of the one before, are encoded page by page", () =>
    Effect.gen(function* () {
      const recorder = yield* Recorder
      const opens = Array.from({ length: 5000 }, (_, i) =>
        interception(idOf(i), { sessionId: "s1", parentId: i === 0 ? null : idOf(i - 1) })
      )
      yield* recorder.commit({ opens })
      for (const limit of ["", "&limit=500"]) {
        const depths: Array<number> = []
        let next: string | null = ""
        let last: string | null = null
        while (next !== null) {
          const page: { readonly status: number; readonly json: { interceptions: Array<Node>; next: string | null } } =
            yield* get(`/api/sessions/s1?after=${next}${limit}`)
          assert.strictEqual(page.status, 200)
          let depth = 0
          let node: Node | undefined = page.json.interceptions[0]
          for (; node !== undefined; node = node.children[0]) {
            assert.strictEqual(node.interception.parentId, last)
            last = node.interception.id
            depth++
          }
          depths.push(depth)
          next = page.json.next
        }
        assert.strictEqual(last, idOf(4999))
        assert.deepStrictEqual(new Set(depths), new Set([limit === "" ? 200 : 500]))
      }
      assert.strictEqual((yield* get("/api/sessions/s1?limit=501")).status, 400)
      const client = yield* HttpApiClient.make(Api)
      const detail = yield* client.session({ params: { id: "s1" }, query: { limit: 500 } })
      assert.strictEqual(detail.next, idOf(499))
    }).pipe(Effect.provide(served))
  )

  it.effect("come through the typed client, too", () =>
    Effect.gen(function* () {
      yield* record
      const client = yield* HttpApiClient.make(Api)
      const page = yield* client.sessions({ query: { limit: 1 } })
      assert.strictEqual(page.sessions[0]?.actor, "bob")
      const detail = yield* client.session({ params: { id: "s1" }, query: { actor: "alice", limit: 10 } })
      assert.strictEqual(detail.interceptions[0]?.children[0]?.interception.id, idOf(2))
      const ambiguous = yield* Effect.flip(client.session({ params: { id: "s1" }, query: { limit: 10 } }))
      assert.instanceOf(ambiguous, AmbiguousSession)
    }).pipe(Effect.provide(served))
  )
})
