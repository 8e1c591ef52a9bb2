import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Random } from "../wire/Random.ts"
import { dialectTransports } from "./Dialects.ts"
import { settleDown } from "./Engine.ts"
import { awkward } from "./Noise.ts"
import {
  assertAsked,
  assertRecorded,
  assertShown,
  edits,
  finds,
  isHidden,
  looks,
  loop,
  recordsOf,
  say,
  sent,
  sentAll,
  slowly,
  think,
  turnsOf
} from "./toolloop/Loop.ts"
import type { LoopTurn, Part } from "./toolloop/ToolLoopCase.ts"

const said = (random: Random): string => random.pick(awkward) + random.pick(awkward) + String(random.below(1000))

const argumentsOf = (random: Random): string =>
  random.chance(20)
    ? "{}"
    : JSON.stringify({ q: `hidden ${random.pick(awkward)}`, n: random.below(9) }, null, random.below(2))

const clientArguments = (random: Random): string => JSON.stringify({ x: random.pick(awkward) })

/** The arguments of a call in pieces of random lengths, none of which ends inside a character. */
const piecesOf =
  (random: Random): NonNullable<LoopTurn["pieces"]> =>
  (written) => {
    const letters = [...written]
    const pieces: Array<string> = []
    while (letters.length > 0) pieces.push(letters.splice(0, 1 + random.below(7)).join(""))
    return pieces
  }

/** A turn that ends on injected calls, or with `last` one that ends the answer. */
const turnOf = (random: Random, place: number, last: boolean): Partial<LoopTurn> & { parts: ReadonlyArray<Part> } => {
  const parts: Array<Part> = []
  const count = random.below(5)
  for (let n = 0; n < count; n++) {
    if (random.chance(30)) parts.push(think(said(random), `sealed+/${place}${n}==`))
    else parts.push(say(said(random)))
  }
  const put = (part: Part) => {
    parts.splice(random.below(parts.length + 1), 0, part)
  }
  const hidden = last ? random.below(2) : 1 + random.below(3)
  const own = last && (hidden > 0 || random.chance(30)) ? 1 + random.below(2) : 0
  for (let n = 0; n < hidden; n++) put(random.pick([looks, finds, slowly])(`${place}_${n}`, argumentsOf(random)))
  for (let n = 0; n < own; n++) put(edits(`${place}_${n}`, clientArguments(random)))
  return {
    parts,
    pieces: piecesOf(random),
    ...(last && random.chance(15) ? { stop: "length" } : {}),
    lateName: random.chance(25),
    interleaved: random.chance(25),
    // Where the upstream leaves indexes out before calls of the client's, they stay out.
    firstIndex: own === 0 && random.chance(15) ? 1 + random.below(3) : 0
  }
}

const scriptOf = (random: Random): ReadonlyArray<LoopTurn> => {
  const count = 1 + random.below(5)
  return turnsOf(...Array.from({ length: count }, (_, place) => turnOf(random, place, place === count - 1)))
}

/** Says with which random script an assertion failed. */
const withSeed = (script: string, check: () => void): void => {
  try {
    check()
  } catch (error) {
    throw new Error(script, { cause: error })
  }
}

describe.each(dialectTransports)("any turns in $title", ({ dialect, transport }) => {
  it.effect("are shown, asked for and recorded as they follow from what the model said, however they are cut", () =>
    Effect.gen(function* () {
      for (let seed = 0; seed < 40; seed++) {
        const random = new Random(seed)
        const turns = scriptOf(random)
        const longest = random.pick([1, 5, 60, 400, 100_000])
        const made = yield* loop(
          dialect,
          transport,
          turns.map((turn) => sent(dialect, transport, turn, (bytes) => random.cut(bytes, longest)))
        )
        const call = yield* made.ask()
        const waits = () => made.tools.calls.some(({ outcome }) => outcome === undefined)
        for (let n = 0; n < turns.length && call.ending === "open"; n++) {
          yield* settleDown(() => call.ending !== "open" || waits())
          yield* settleDown(() => call.ending !== "open")
          if (waits()) yield* TestClock.adjust("5 seconds")
        }
        yield* call.ended
        withSeed(`seed ${seed}: ${JSON.stringify(turns)}`, () => {
          assertShown(dialect, transport, call, turns)
          assertAsked(dialect, made, turns)
          const last = turns.at(-1)!.stop === "length" ? "incomplete" : "completed"
          assertRecorded(dialect, recordsOf(made.ledger), turns, { last })
          const ran = turns.flatMap((turn) => (turn.stop === "length" ? [] : turn.parts.filter(isHidden)))
          assert.strictEqual(made.tools.calls.length, ran.length)
        })
      }
    })
  )

  it.effect("are the same where they are cut in two at any byte of a call", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I 👋. "), looks("one", '{"q":"hidden 👋"}'), edits("two")])
      const whole = Buffer.from(sentText())
      const from = whole.indexOf("hidden_look_one") - 60
      const to = from + 1100
      for (let at = Math.max(1, from); at < Math.min(to, whole.length); at += 4) {
        const halves = [whole.subarray(0, at), whole.subarray(at)]
        const made = yield* loop(dialect, transport, [sent(dialect, transport, turns[0]!, () => halves)])
        const call = yield* made.ask()
        yield* call.ended
        assertShown(dialect, transport, call, turns)
        assert.deepStrictEqual(
          made.tools.calls.map(({ args }) => args),
          [{ q: "hidden 👋" }]
        )
      }

      function sentText(): string {
        return transport === "sse" ? dialect.toolLoop.stream(turns[0]!).join("") : dialect.toolLoop.body(turns[0]!)
      }
    })
  )

  it.effect("are the same where the arguments of a call are cut in two at any letter", () =>
    Effect.gen(function* () {
      const written = '{"q":"hidden \\"👋\\" \\\\ x","n":[1]}'
      for (let at = 0; at <= [...written].length; at++) {
        const pieces: LoopTurn["pieces"] = (all) => [[...all].slice(0, at).join(""), [...all].slice(at).join("")]
        const turns = turnsOf({ parts: [looks("one", written)], pieces }, [say("Done.")])
        const made = yield* loop(dialect, transport, sentAll(dialect, transport, turns))
        const call = yield* made.ask()
        yield* call.ended
        assertShown(dialect, transport, call, turns)
        assertAsked(dialect, made, turns)
        if (transport === "json") break
      }
    })
  )
})
