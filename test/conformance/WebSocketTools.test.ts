import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer } from "effect"
import { ScriptedTools } from "../../src/testing/index.ts"
import { settleDown } from "./Engine.ts"
import { openAiResponsesCase as dialect } from "./OpenAiResponsesCase.ts"
import {
  answering,
  assertRecorded,
  comparable,
  edits,
  finds,
  looks,
  recordsOf,
  resultOf,
  say,
  seen,
  sent,
  shown,
  slowly,
  think,
  turnsOf
} from "./toolloop/Loop.ts"
import { clientTool, hiddenNames } from "./toolloop/Names.ts"
import type { LoopTurn } from "./toolloop/ToolLoopCase.ts"
import { asked, messagesIn, onLane, settled, type SocketSetup, socketSetup, type Way, ways } from "./WebSocketSetup.ts"

const scripts: ReadonlyArray<{ readonly name: string; readonly turns: ReadonlyArray<LoopTurn> }> = [
  { name: "one call", turns: turnsOf([say("I will look. "), looks("one")], [say("It is a 👋.")]) },
  {
    name: "thoughts and two calls, then another",
    turns: turnsOf([think("Hm"), looks("one"), finds("two")], [say("Now. "), finds("three")], [say("Done.")])
  },
  { name: "calls of both sides", turns: turnsOf([say("Both. "), looks("one"), edits("two")]) },
  { name: "a client's call in the second turn", turns: turnsOf([looks("one")], [say("Now. "), edits("two")]) }
]

const messagesOf = (turn: LoopTurn, lane: string | null) =>
  messagesIn(dialect.toolLoop.stream(turn).join("")).map((message) => onLane(message, lane))

/** What a client of a stream would have got. */
const asStream = (messages: ReadonlyArray<string>): string =>
  messages
    .map((message) => {
      const { stream_id: _, ...event } = JSON.parse(message) as { type: string; stream_id?: string }
      return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
    })
    .join("")

const setupOf = Effect.fnUntraced(function* (way: Way, turns: ReadonlyArray<LoopTurn>) {
  const services = yield* Layer.build(ScriptedTools.layer(answering))
  const upstream = way === "native" ? {} : { turns: turns.map((turn) => sent(dialect, "sse", turn)) }
  const setup = yield* socketSetup({ way, ...upstream }).pipe(Effect.provide(services))
  return { ...setup, tools: Context.get(services, ScriptedTools) }
})

const ask = (setup: SocketSetup, more: object = {}): void => {
  const request = JSON.parse(dialect.request(true, dialect.toolLoop.clientTools([clientTool]))) as object
  setup.client.say({ type: "response.create", store: false, ...request, ...more })
}

describe.each(ways)("injected tools over a WebSocket, %s", (way) => {
  const rows = scripts.flatMap(({ name, turns }) =>
    [null, "lane"].map((lane) => ({ title: `${name}${lane === null ? "" : ", on a lane"}`, turns, lane }))
  )

  it.effect.each(rows)("$title", ({ lane, turns }) =>
    Effect.gen(function* () {
      const setup = yield* setupOf(way, turns)
      ask(setup, lane === null ? {} : { stream_id: lane })
      if (way === "native") {
        for (const [n, turn] of turns.entries()) {
          const request = JSON.parse(yield* asked(setup, n + 1)) as { readonly [name: string]: unknown }
          assert.deepInclude(request, { type: "response.create", ...(lane === null ? {} : { stream_id: lane }) })
          assert.deepStrictEqual(dialect.toolLoop.offered(request), [clientTool, ...hiddenNames])
          if (n > 0) {
            // What the connection has in memory is not said again.
            const before = turns[n - 1]!
            const results = before.parts.flatMap((part) => (part.type === "call" ? [resultOf(part)] : []))
            assert.strictEqual(request["previous_response_id"], before.id)
            assert.deepStrictEqual(
              request["input"],
              results.map(({ callId, text }) => ({ type: "function_call_output", call_id: callId, output: text }))
            )
          }
          for (const message of messagesOf(turn, lane)) setup.upstream().say(message)
        }
      }
      yield* settled(setup, 1)
      yield* settleDown()
      for (const event of setup.client.events) assert.strictEqual(event["stream_id"] ?? null, lane)
      const read = seen(dialect, "sse", asStream(setup.client.received))
      const expected = shown(dialect, turns)
      assert.deepStrictEqual(
        { ...read, parts: comparable(read.parts) },
        { ...expected, parts: comparable(expected.parts) }
      )
      assertRecorded(dialect, recordsOf(setup.ledger), turns)
      if (way === "native") assert.strictEqual(setup.upstream().received.length, turns.length)
      else assert.strictEqual(setup.scripted.requests.length, turns.length)
    }).pipe(Effect.scoped)
  )

  it.effect("a client that leaves during a tool ends it, and all is closed and recorded", () =>
    Effect.gen(function* () {
      const turns = turnsOf([slowly("one")], [say("Done.")])
      const setup = yield* setupOf(way, turns)
      ask(setup)
      if (way === "native") {
        yield* asked(setup, 1)
        for (const message of messagesOf(turns[0]!, null)) setup.upstream().say(message)
      }
      yield* setup.tools.received(1)
      setup.client.leave(1001)
      yield* Fiber.await(setup.running)
      assert.deepStrictEqual(setup.closes(), ["cancelled"])
      assert.strictEqual((yield* setup.tools.received(1))[0]!.outcome, "interrupted")
    }).pipe(Effect.scoped)
  )
})

describe("behind injected tools", () => {
  it.effect("a native client goes on from the id that it knows, and the upstream from its last", () =>
    Effect.gen(function* () {
      const turns = turnsOf([looks("one")], [say("Done.")])
      const setup = yield* setupOf("native", turns)
      ask(setup)
      for (const [n, turn] of turns.entries()) {
        yield* asked(setup, n + 1)
        for (const message of messagesOf(turn, null)) setup.upstream().say(message)
      }
      yield* settled(setup, 1)
      ask(setup, { previous_response_id: turns[0]!.id, input: "more" })
      assert.deepInclude(JSON.parse(yield* asked(setup, 3)), { previous_response_id: turns[1]!.id, input: "more" })
    }).pipe(Effect.scoped)
  )

  it.effect("the result of a hidden call beside a client's is sent with that of the client's", () =>
    Effect.gen(function* () {
      const [turn] = turnsOf([looks("one"), edits("two")])
      const setup = yield* setupOf("native", [turn!])
      ask(setup)
      yield* asked(setup, 1)
      for (const message of messagesOf(turn!, null)) setup.upstream().say(message)
      yield* settled(setup, 1)
      const output = { type: "function_call_output", call_id: "call_two", output: "edited" }
      ask(setup, { previous_response_id: turn!.id, input: [output] })
      const request = JSON.parse(yield* asked(setup, 2)) as {
        previous_response_id: string
        input: ReadonlyArray<object>
      }
      assert.strictEqual(request.previous_response_id, turn!.id)
      assert.deepStrictEqual(request.input.map((item) => (item as { call_id: string }).call_id).sort(), [
        "call_two",
        "hidden_look_one"
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("a bridged client goes on from the id that it knows, with all that was hidden of it", () =>
    Effect.gen(function* () {
      const turns = turnsOf([looks("one")], [say("Done.")])
      const setup = yield* setupOf("bridged", [...turns, ...turnsOf([say("More.")])])
      ask(setup)
      yield* settled(setup, 1)
      ask(setup, { previous_response_id: turns[0]!.id, input: "more" })
      yield* settled(setup, 2)
      const sentOn = setup.scripted.requests[2]!.json as { input: ReadonlyArray<{ type?: string; content?: unknown }> }
      assert.deepStrictEqual(
        sentOn.input.map(({ content, type }) => type ?? content),
        ["hello", "function_call", "function_call_output", "message", "more"]
      )
    }).pipe(Effect.scoped)
  )
})
