import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { dialects, transports } from "./Dialects.ts"
import {
  assertAsked,
  assertRecorded,
  assertShown,
  edits,
  finds,
  looks,
  loop,
  recordsOf,
  say,
  sentAll,
  think,
  turnsOf
} from "./toolloop/Loop.ts"
import type { LoopTurn } from "./toolloop/ToolLoopCase.ts"

/** Turns that end well, tools that answer at once: what is to be seen follows from the turns alone. */
const scripts: ReadonlyArray<{ readonly name: string; readonly turns: ReadonlyArray<LoopTurn> }> = [
  { name: "a call without a preamble", turns: turnsOf([looks("one")], [say("It is a 👋.")]) },
  { name: "a preamble, then a call", turns: turnsOf([say("I will look. "), looks("one")], [say("It is a cat.")]) },
  { name: "text behind a call", turns: turnsOf([looks("one"), say("I look. ")], [say("It is a cat.")]) },
  {
    name: "text on both sides of a call",
    turns: turnsOf([say("I will. "), looks("one"), say("I did. ")], [say("It is a cat.")])
  },
  {
    name: "thoughts before a call, and in the turn behind it",
    turns: turnsOf(
      [think("Let me think", "sealed+/1=="), say("I will. "), looks("one")],
      [think(" again", "sealed+/2=="), say("It is a cat.")]
    )
  },
  {
    name: "turns whose first text brings their role",
    turns: turnsOf(
      { parts: [say("So. "), looks("one")], roleBeside: true },
      { parts: [say("Done.")], roleBeside: true }
    )
  },
  { name: "nothing but thoughts and a call", turns: turnsOf([think("Hm"), looks("one")], [say("Done.")]) },
  { name: "a call of a turn that says nothing behind it", turns: turnsOf([say("So. "), looks("one")], []) },
  { name: "two calls at once", turns: turnsOf([looks("one"), finds("two")], [say("Both.")]) },
  {
    name: "two calls of the same tool with text between them",
    turns: turnsOf([looks("one"), say("and "), looks("two")], [say("Both.")])
  },
  {
    name: "calls whose pieces come in turns",
    turns: turnsOf({ parts: [looks("one"), finds("two")], interleaved: true }, [say("Both.")])
  },
  { name: "a call at a high index", turns: turnsOf({ parts: [looks("one")], firstIndex: 3 }, [say("Done.")]) },
  {
    name: "a call whose name comes late",
    turns: turnsOf({ parts: [say("So. "), looks("one")], lateName: true }, [say("Done.")])
  },
  {
    name: "calls of both sides whose names come late",
    turns: turnsOf({ parts: [looks("one"), edits("two"), finds("three")], lateName: true })
  },
  {
    name: "arguments that come at once",
    turns: turnsOf({ parts: [looks("one")], pieces: (written) => [written] }, [say("Done.")])
  },
  {
    name: "arguments that come letter by letter",
    turns: turnsOf({ parts: [looks("one")], pieces: (written) => [...written] }, [say("Done.")])
  },
  { name: "a call without arguments", turns: turnsOf([looks("one", "{}")], [say("Done.")]) },
  {
    name: "ten turns in a row",
    turns: turnsOf(
      ...Array.from({ length: 9 }, (_, n) => (n % 2 === 0 ? [looks(`${n}`)] : [say(`So ${n}. `), finds(`${n}`)])),
      [say("Done.")]
    )
  },
  { name: "a client's call in the second turn", turns: turnsOf([looks("one")], [say("Now. "), edits("two")]) },
  {
    name: "an answer that is cut short in the second turn",
    turns: turnsOf([looks("one")], { parts: [say("It is")], stop: "length" })
  },
  { name: "ours, then theirs", turns: turnsOf([looks("one"), edits("two")]) },
  { name: "theirs, then ours", turns: turnsOf([edits("one"), looks("two")]) },
  ...orders(["ours", "ours", "theirs", "theirs"]).map((whose) => ({
    name: `calls in the order ${whose.join(", ")}`,
    turns: turnsOf([say("All: "), ...whose.map((who, n) => (who === "ours" ? looks(`${n}`) : edits(`${n}`)))])
  })),
  {
    name: "calls of both sides in the second turn",
    turns: turnsOf([say("I look. "), looks("one")], [think("Hm"), say("I do. "), finds("two"), edits("three")])
  }
]

/** Every order of some words, those that look the same once. */
function orders(all: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> {
  if (all.length <= 1) return [all]
  return [...new Set(all)].flatMap((first) =>
    orders(all.toSpliced(all.indexOf(first), 1)).map((rest) => [first, ...rest])
  )
}

describe.each(dialects)("injected tools in $name", (dialect) => {
  const rows = scripts.flatMap(({ name, turns }) =>
    transports.map((transport) => ({ title: `${transport}: ${name}`, transport, turns }))
  )

  it.effect.each(rows)("$title", ({ transport, turns }) =>
    Effect.gen(function* () {
      const made = yield* loop(dialect, transport, sentAll(dialect, transport, turns))
      const call = yield* made.ask()
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertAsked(dialect, made, turns)
      const last = turns.at(-1)!.stop === "length" ? "incomplete" : "completed"
      assertRecorded(dialect, recordsOf(made.ledger), turns, { last })
    })
  )
})
