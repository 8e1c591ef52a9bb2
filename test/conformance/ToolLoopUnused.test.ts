import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ScriptedTools } from "../../src/testing/index.ts"
import { Random } from "../wire/Random.ts"
import { dialects, transports } from "./Dialects.ts"
import { awkward, disguise, inLines } from "./Noise.ts"
import { answering, edits, headersOf, loop, recordsOf, say, sent, think, turnsOf } from "./toolloop/Loop.ts"
import { hiddenNames } from "./toolloop/Names.ts"
import { goOut, settingOf } from "./WayOut.ts"
import { waysOutOf } from "./WaysOut.ts"

const unused = ScriptedTools.layer(answering)

describe.each(dialects)("in $name, with tools that nobody calls", (dialect) => {
  const rows = waysOutOf(dialect)

  it.effect.each(rows)("the way out is the same: $title", ({ transport, way }) =>
    Effect.provide(goOut(dialect, transport, way), unused)
  )

  const answers = dialect.answers.map((answer) => ({ ...answer, title: `${answer.transport}: ${answer.name}` }))
  it.effect.each(answers)("the answer is the upstream's own: $title", (answer) =>
    Effect.gen(function* () {
      const whole = Buffer.from(answer.body)
      const bytewise = Array.from(whole, (_, at) => whole.subarray(at, at + 1))
      for (const body of [[whole], bytewise]) {
        const made = yield* loop(dialect, answer.transport, [{ headers: headersOf(answer.transport), body }])
        const call = yield* made.call(dialect.request(answer.transport === "sse", answer.request))
        yield* call.ended
        assert.strictEqual(call.text, answer.body)
        assert.strictEqual(call.ending, "clean")
        made.ledger.expect({ attempts: 1, httpStatus: 200, toolCalls: [], thoughts: [], ...answer.expected })
      }
    })
  )

  it.effect("streams as other servers write them are the upstream's own, however they are cut", () =>
    Effect.gen(function* () {
      for (let seed = 0; seed < 30; seed++) {
        const random = new Random(seed)
        const texts = () => Array.from({ length: random.below(6) }, () => random.pick(awkward) + random.pick(awkward))
        const events = dialect.events({
          text: texts(),
          ...(random.chance(40) ? { thoughts: texts() } : {}),
          ...(random.chance(40) ? { calls: [{ id: "call_0", name: "f", arguments: '{"x":"👋"}' }] } : {}),
          usage: { input: random.below(99), cacheRead: 1, output: random.below(99), reasoning: 1 },
          ending: random.pick(["stop", "length", "tools"])
        })
        const all = [...events.body, ...events.finish, ...events.after, events.end]
        const text = all.map((one) => (random.chance(5) ? inLines(one) : disguise(random, one))).join("")
        const bytes = Buffer.from(random.chance(30) ? text.replaceAll("\n", "\r\n") : text)
        const made = yield* loop(dialect, "sse", [{ headers: headersOf("sse"), body: random.cut(bytes, 150) }])
        const call = yield* made.call(dialect.request(true))
        yield* call.ended
        assert.strictEqual(call.text, bytes.toString("utf8"), `seed ${seed}`)
        recordsOf(made.ledger)
      }
    })
  )

  it.effect.each(transports.map((transport) => ({ transport })))(
    "an answer that repeats the tools lacks the injected ones, and no other byte: $transport",
    ({ transport }) =>
      Effect.gen(function* () {
        const [turn] = turnsOf([think("Hm"), say("I will. "), edits("one")])
        const whole = Buffer.from(
          transport === "sse" ? dialect.toolLoop.stream(turn!).join("") : dialect.toolLoop.body(turn!)
        )
        const repeated = new RegExp(
          `,\\{"type":"function","name":"(?:${hiddenNames.join("|")})",.*?"strict":false\\}`,
          "g"
        )
        for (const longest of [1, 40, 10_000]) {
          const chunks = new Random(longest).cut(whole, longest)
          const made = yield* loop(dialect, transport, [sent(dialect, transport, turn!, () => chunks)])
          const call = yield* made.ask()
          yield* call.ended
          assert.strictEqual(call.text, whole.toString("utf8").replaceAll(repeated, ""))
          assert.notInclude(call.text, "hidden")
        }
      })
  )

  it("settings have what is tried", () => {
    assert.isAbove(rows.length, 50)
    assert.isNotEmpty(settingOf(dialect, "sse").stream)
  })
})
