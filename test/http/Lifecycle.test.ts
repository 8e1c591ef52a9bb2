import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Lifecycle } from "../../src/http/Lifecycle.ts"

it.effect("a call whose request is still on its way is broken off by a drain, whichever comes first", () =>
  Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    const ended: Array<string> = []
    const enter = (name: string) => lifecycle.enter(() => ended.push(name))
    const early = enter("early")
    const read = enter("read")
    const late = enter("late")
    early.arriving()
    read.arriving()
    read.arrived()
    assert.deepStrictEqual(ended, [])
    lifecycle.become("draining")
    assert.deepStrictEqual(ended, ["early"])
    late.arriving()
    assert.deepStrictEqual(ended, ["early", "late"])
    late.leave()
    early.leave()
    lifecycle.endAll()
    assert.deepStrictEqual(ended, ["early", "late", "read"])
  }).pipe(Effect.provide(Lifecycle.layer))
)

it.effect("a call that says twice that its request is on its way is broken off once, and not once it is there", () =>
  Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    let ended = 0
    const call = lifecycle.enter(() => ended++)
    call.arriving()
    call.arriving()
    call.arrived()
    lifecycle.become("draining")
    assert.strictEqual(ended, 0)
    call.leave()
    assert.strictEqual(lifecycle.open(), 0)
  }).pipe(Effect.provide(Lifecycle.layer))
)
