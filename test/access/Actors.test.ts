import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Actors } from "../../src/access/Actors.ts"
import { Recorder } from "../../src/recorder/Recorder.ts"
import type { Credential, CredentialUse } from "../../src/upstream/Upstream.ts"

const key = (text: string, form: Credential["form"] = "bearer"): Credential => ({ key: text, form })
const use = (kind: CredentialUse["kind"]): CredentialUse => ({ kind, hint: null })

const installation = Actors.layer.pipe(Layer.provide(Layer.fresh(Recorder.layerMemory)))

const withActors = (test: (actor: Actors["Service"]["actor"]) => void) =>
  Effect.map(Actors, ({ actor }) => test(actor)).pipe(Effect.provide(installation))

describe("the actor in open mode", () => {
  it.effect("is anonymous where the client's key is not used", () =>
    withActors((actor) => {
      assert.strictEqual(actor(null, use("central")), "anonymous")
      assert.strictEqual(actor(key("sk-client"), use("central")), "anonymous")
      assert.strictEqual(actor(null, use("none")), "anonymous")
      assert.strictEqual(actor(key("sk-client"), use("none")), "anonymous")
    })
  )

  it.effect("is derived from the client's own key, the same for the same key however it came", () =>
    withActors((actor) => {
      const first = actor(key("sk-client"), use("byok"))
      assert.match(first, /^byok:[0-9a-f]{16}$/)
      assert.strictEqual(actor(key("sk-client", "x-api-key"), use("byok")), first)
      assert.notStrictEqual(actor(key("sk-client2"), use("byok")), first)
    })
  )

  it.effect("stays the same when more keys came than are remembered", () =>
    withActors((actor) => {
      const first = actor(key("sk-0"), use("byok"))
      const all = new Set(Array.from({ length: 3000 }, (_, i) => actor(key(`sk-${i}`), use("byok"))))
      assert.strictEqual(all.size, 3000)
      assert.strictEqual(actor(key("sk-0"), use("byok")), first)
    })
  )

  it.effect("of one installation says nothing about the key to another", () =>
    Effect.gen(function* () {
      const own = Effect.map(Actors, ({ actor }) => actor(key("sk-client"), use("byok")))
      const one = yield* own.pipe(Effect.provide(installation, { local: true }))
      const other = yield* own.pipe(Effect.provide(installation, { local: true }))
      assert.notStrictEqual(one, other)
    })
  )
})
