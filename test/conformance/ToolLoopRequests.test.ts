import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Interception } from "../../src/interception/Interception.ts"
import { dialectOf } from "../../src/dialect/Dialects.ts"
import type { ScriptedTool } from "../../src/testing/index.ts"
import type { Counts, DialectCase } from "./DialectCase.ts"
import { dialectTransports } from "./Dialects.ts"
import { Call } from "./Engine.ts"
import {
  assertAsked,
  assertRecorded,
  assertShown,
  countsOf,
  edits,
  finds,
  looks,
  loop,
  recordsOf,
  say,
  sentAll,
  sum,
  think,
  turnsOf,
  usageAt
} from "./toolloop/Loop.ts"
import { clientTool, hiddenNames } from "./toolloop/Names.ts"
import type { LoopTurn } from "./toolloop/ToolLoopCase.ts"

/** Makes a call with headers of the client's own. */
const callAs = (
  interception: Interception["Service"],
  dialect: DialectCase,
  headers: { readonly [name: string]: string },
  body: string
): Effect.Effect<Call> => new Call().start(interception, { dialect: dialect.name, provider: "up", body, headers })

describe.each(dialectTransports)("requests with tools in $title", ({ dialect, transport }) => {
  const { closed, clientFirst, clientTools, offered } = dialect.toolLoop
  const done = turnsOf([say("Done.")])
  const upstream = (turns: ReadonlyArray<LoopTurn>) => sentAll(dialect, transport, turns)
  const isStream = transport === "sse"

  const members = [
    { name: "no tools", members: {} },
    { name: "an empty list", members: { tools: [] } },
    { name: "tools of the client's", members: clientTools([clientTool, "my_other"]) },
    { name: "tools and members behind them", members: { ...clientTools([clientTool]), x_unknown: { tools: [1e2] } } }
  ]
  it.effect.each(members)("gain the injected ones beside $name, and nothing else changes", ({ members: more }) =>
    Effect.gen(function* () {
      const made = yield* loop(dialect, transport, upstream(done))
      const request = dialect.request(isStream, more)
      const call = yield* made.call(request)
      yield* call.ended
      const received = made.upstream.requests[0]!
      const own = offered(JSON.parse(request) as object)
      const expected = clientFirst ? [...own, ...hiddenNames] : [...hiddenNames, ...own]
      assert.deepStrictEqual(offered(received.json as object), expected)
      // One span was put in: all before it and all behind it is the client's.
      const text = received.body!.toString("utf8")
      let before = 0
      while (text[before] === request[before] && before < request.length) before++
      let behind = 0
      while (text.at(-1 - behind) === request.at(-1 - behind) && behind < request.length) behind++
      assert.isAtLeast(before + behind, request.length)
    })
  )

  it.effect.each(closed)("gain nothing with $name, and their bytes stay", ({ members: more }) =>
    Effect.gen(function* () {
      const made = yield* loop(dialect, transport, upstream(done))
      const request = dialect.request(isStream, more)
      const call = yield* made.call(request)
      yield* call.ended
      assert.strictEqual(made.upstream.requests[0]!.body!.toString("utf8"), request)
    })
  )

  it.effect("keep a tool of the client's that has the name of an injected one, and its calls are the client's", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I will. "), looks("one")])
      const made = yield* loop(dialect, transport, upstream(turns))
      const call = yield* made.ask(clientTools([hiddenNames[0]!]))
      yield* call.ended
      const names = offered(made.upstream.requests[0]!.json as object)
      assert.deepStrictEqual(names.toSorted(), hiddenNames.toSorted())
      const read = isStream ? dialect.toolLoop.readStream : dialect.toolLoop.readBody
      // The dialect's reader minds tools that a response repeats, which here are not the usual ones.
      const repeated = new RegExp(`,{"type":"function","name":"${hiddenNames[0]}",[^}]*},"strict":false}`, "g")
      const text = call.text.replaceAll(repeated, "")
      const shown = read(text)
      assert.strictEqual(shown.stop, "tools")
      assert.deepStrictEqual(
        shown.parts.flatMap((part) => (part.type === "call" ? [part.name] : [])),
        [hiddenNames[0]]
      )
      assert.strictEqual(made.tools.calls.length, 0)
      const { toolCalls } = recordsOf(made.ledger)
      assert.deepStrictEqual(
        toolCalls.map(({ injected, name }) => [name, injected]),
        [[hiddenNames[0], false]]
      )
    })
  )

  it.effect("have 128 tools at most", () =>
    Effect.gen(function* () {
      const own = Array.from({ length: 127 }, (_, n) => `my_${n}`)
      const made = yield* loop(dialect, transport, upstream(done))
      const call = yield* made.ask(clientTools(own))
      yield* call.ended
      const names = offered(made.upstream.requests[0]!.json as object)
      assert.strictEqual(names.length, 128)
      assert.includeMembers([...names], [...own, hiddenNames[0]!])
    })
  )

  it.effect("are offered what the catalogue has by then, and go on with what it had", () =>
    Effect.gen(function* () {
      const turns = turnsOf([looks("one")], [say("Done.")])
      const other: ScriptedTool = { name: "hidden_new", answer: "hidden" }
      const made = yield* loop(dialect, transport, [...upstream(turns), ...upstream(done)])
      const call = yield* made.ask()
      yield* call.ended
      yield* made.tools.offer([other])
      const later = yield* made.ask()
      yield* later.ended
      const names = made.upstream.requests.map((request) => offered(request.json as object))
      assert.deepStrictEqual(names[1], names[0])
      assert.includeMembers([...names[2]!], ["bmcp_scripted_hidden_new"])
      assert.notInclude(names[2]!, hiddenNames[0]!)
    })
  )

  it.effect("for an alias: every frame of every turn has the model that the client named", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I look. "), looks("one")], [think("Hm"), finds("two")], [say("Done.")])
      const made = yield* loop(dialect, transport, upstream(turns), { config: { models: { fast: "up/test-model" } } })
      const request = dialect.request(isStream, { ...clientTools([clientTool]), model: "fast" })
      const call = yield* made.call(request, true)
      yield* call.ended
      assertShown(dialect, transport, call, turns, { model: "fast" })
      assert.notInclude(call.text, "test-model")
      assertAsked(dialect, made, turns)
      for (const { json } of made.upstream.requests) assert.strictEqual((json as { model: string }).model, "test-model")
      assertRecorded(dialect, recordsOf(made.ledger), turns)
    })
  )

  it.effect("that Sluice asks for usage where the client did not: it is recorded, and not shown", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I look. "), looks("one")], [say("Done.")])
      const made = yield* loop(dialect, transport, upstream(turns))
      const plain = { ...clientTools([clientTool]), stream_options: undefined }
      const request = dialect.request(isStream, plain)
      const view = dialectOf(dialect.name).view(Buffer.from(request))
      assert(view._tag === "RequestView")
      const call = yield* made.call(request)
      yield* call.ended
      assertShown(dialect, transport, call, turns, isStream && !view.wantsUsage ? { usage: null } : {})
      assertRecorded(dialect, recordsOf(made.ledger), turns)
    })
  )

  const three = turnsOf([say("I look. "), looks("one")], [finds("two")], [say("Done.")])
  const context: Counts = {
    ...sum([usageAt(0), usageAt(1), usageAt(2)]),
    input: usageAt(2).input,
    cacheRead: usageAt(2).cacheRead
  }
  const all = sum([usageAt(0), usageAt(1), usageAt(2)])
  const claudeCode = { "user-agent": "claude-cli/2.1.329 (external, cli)", "x-claude-code-session-id": "s" }
  const counted = [
    { name: "sum", config: "sum", headers: claudeCode, usage: all },
    { name: "context", config: "context", headers: {}, usage: context },
    { name: "auto, for a coding agent", config: "auto", headers: claudeCode, usage: context },
    { name: "auto, for an SDK", config: "auto", headers: { "user-agent": "OpenAI/JS 7.55.0" }, usage: all }
  ] as const
  it.effect.each(counted)("with tools.client_usage $name", ({ config, headers, usage }) =>
    Effect.gen(function* () {
      const made = yield* loop(dialect, transport, upstream(three), { config: { tools: { client_usage: config } } })
      const request = dialect.request(isStream, clientTools([clientTool]))
      const call = yield* callAs(made.interception, dialect, headers, request)
      yield* call.ended
      assertShown(dialect, transport, call, three, { usage })
      const { usage: recorded } = recordsOf(made.ledger)
      assert.deepStrictEqual(recorded.map(countsOf), [usageAt(0), usageAt(1), usageAt(2)])
    })
  )

  it.effect("whose second turn says nothing of usage: nothing but that of the first is told", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I look. "), looks("one")], { parts: [say("Done.")], usage: null })
      const made = yield* loop(dialect, transport, upstream(turns))
      const call = yield* made.ask()
      yield* call.ended
      const read = (isStream ? dialect.toolLoop.readStream : dialect.toolLoop.readBody)(call.text)
      const { usage } = recordsOf(made.ledger)
      assert.deepStrictEqual(countsOf(usage[0]!), usageAt(0))
      assert.strictEqual(usage[1]!.provenance, "unknown")
      // Where usage has a frame of its own, none is made up for it.
      if (read.usage !== null) assert.deepStrictEqual(read.usage, usageAt(0))
    })
  )

  it.effect("may end on calls of the client's, and come back with their results", () =>
    Effect.gen(function* () {
      const turns = turnsOf([say("I will. "), edits("one")])
      const made = yield* loop(dialect, transport, upstream(turns))
      const call = yield* made.ask()
      yield* call.ended
      assertShown(dialect, transport, call, turns)
      assertRecorded(dialect, recordsOf(made.ledger), turns)
      assert.strictEqual(made.tools.calls.length, 0)
    })
  )
})
