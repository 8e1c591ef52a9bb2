import { assert } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import type {
  Interception,
  InterceptionClose,
  ToolCall,
  Turn as TurnRow,
  Usage
} from "../../../src/recorder/Records.ts"
import type { ScriptedTool, Turn } from "../../../src/testing/index.ts"
import { ScriptedTools } from "../../../src/testing/index.ts"
import type { Counts, DialectCase } from "../DialectCase.ts"
import { type Call, type Engine, type EngineOptions, engine } from "../Engine.ts"
import type { Ledger } from "../Ledger.ts"
import { clientTool, hiddenNames } from "./Names.ts"
import type { CallPart, LoopTurn, Part, Seen, SentResult, Stop } from "./ToolLoopCase.ts"

export type Transport = "sse" | "json"

const [look, find, slow] = hiddenNames as [string, string, string]

export const say = (text: string): Part => ({ type: "text", text })

export const think = (text: string, sealed = "EqQBCgIYAhIM+/=="): Part => ({ type: "thought", text, sealed })

/** A call whose id is made of a word that is its own. */
const callOf =
  (prefix: string, tool: string) =>
  (word: string, args: string = JSON.stringify({ q: `${prefix} ${word} "👋"` })): CallPart => ({
    type: "call",
    id: `${prefix}_${word}`,
    name: tool,
    arguments: args
  })

/** Calls of injected tools: one that answers at once, another, and one that takes as long as the test wants. */
export const looks = callOf("hidden_look", look)
export const finds = callOf("hidden_find", find)
export const slowly = callOf("hidden_slow", slow)

/** A call of the client's tool. */
export const edits = callOf("call", clientTool)

export const isHidden = (part: Part): boolean => part.type === "call" && hiddenNames.includes(part.name)

/** What a turn uses, so that no two sums of turns are the same. */
export const usageAt = (place: number): Counts => ({
  input: 10 + 2 ** place,
  cacheRead: 100 + 2 ** place,
  output: 1000 + 2 ** place,
  reasoning: 2 ** place
})

/** Turns as an upstream makes them: each with an id and usage of its own, ending on its calls if it has any. */
export const turnsOf = (
  ...turns: ReadonlyArray<ReadonlyArray<Part> | (Partial<LoopTurn> & { readonly parts: ReadonlyArray<Part> })>
): ReadonlyArray<LoopTurn> =>
  turns.map((turn, place) => {
    const given = "parts" in turn ? turn : { parts: turn }
    const called = given.parts.some((part) => part.type === "call")
    return { id: `answer_${place}`, stop: called ? "tools" : "stop", usage: usageAt(place), ...given }
  })

/** The turn as the upstream sends it, an event in each network chunk unless it is cut otherwise. */
export const sent = (
  dialect: DialectCase,
  transport: Transport,
  turn: LoopTurn,
  cut: (bytes: Buffer) => ReadonlyArray<Buffer> | undefined = () => undefined
): Turn => {
  const { body, stream } = dialect.toolLoop
  const whole = transport === "sse" ? stream(turn) : [body(turn)]
  return { headers: headersOf(transport), body: cut(Buffer.from(whole.join(""))) ?? whole }
}

/** Turns as the upstream sends them, one behind the other. */
export const sentAll = (
  dialect: DialectCase,
  transport: Transport,
  turns: ReadonlyArray<LoopTurn>
): ReadonlyArray<Turn> => turns.map((turn) => sent(dialect, transport, turn))

export const headersOf = (transport: Transport) => ({
  "content-type": transport === "sse" ? "text/event-stream" : "application/json"
})

/** What the tools of the suite answer, unless a test has others. */
export const answering: ReadonlyArray<ScriptedTool> = [
  { name: "hidden_look", description: "Looks", answer: (args) => `hidden look at ${JSON.stringify(args)}` },
  { name: "hidden_find", answer: (args) => `hidden find of ${JSON.stringify(args)}` },
  { name: "hidden_slow", answer: Effect.delay(Effect.succeed("hidden slow"), "5 seconds") }
]

/** The same with a slow tool that answers otherwise. */
export const answeringSlowly = (answer: ScriptedTool["answer"]): ReadonlyArray<ScriptedTool> =>
  answering.map((tool) => (tool.name === "hidden_slow" ? { name: tool.name, answer } : tool))

/** What `answering` makes of a call. */
export const resultOf = (call: CallPart): SentResult => {
  const args = JSON.stringify(JSON.parse(call.arguments))
  const answer = { [look]: `hidden look at ${args}`, [find]: `hidden find of ${args}`, [slow]: "hidden slow" }
  return { callId: call.id, text: answer[call.name]!, isError: false }
}

export interface Loop extends Engine {
  readonly transport: Transport
  readonly tools: ScriptedTools["Service"]
  /** The request of the suite: it declares a tool of the client's. */
  readonly ask: (more?: { readonly [name: string]: unknown }) => Effect.Effect<Call>
}

export interface LoopOptions extends EngineOptions {
  readonly tools?: ReadonlyArray<ScriptedTool>
}

/** Builds the gateway over a scripted upstream and scripted tools. */
export const loop = Effect.fnUntraced(function* (
  dialect: DialectCase,
  transport: Transport,
  turns: ReadonlyArray<Turn>,
  { tools = answering, ...options }: LoopOptions = {}
) {
  const services = yield* Layer.build(ScriptedTools.layer(tools))
  const made = yield* engine(dialect, turns, options).pipe(Effect.provide(services))
  // A test that fails with commits held is not to wait for them.
  yield* Effect.addFinalizer(() => Effect.sync(() => made.ledger.release()))
  const ask: Loop["ask"] = (more = {}) =>
    made.call(dialect.request(transport === "sse", { ...dialect.toolLoop.clientTools([clientTool]), ...more }))
  return { ...made, transport, tools: Context.get(services, ScriptedTools), ask } satisfies Loop
})

/** What a client made of an answer so far, every rule checked; it fails where anything hidden can be seen. */
export const seen = (dialect: DialectCase, transport: Transport, text: string): Seen => {
  const { readBody, readStream } = dialect.toolLoop
  const read = transport === "sse" ? readStream(text) : readBody(text)
  for (const shown of [text, JSON.stringify(read)]) assert.notMatch(shown, /hidden|bmcp_/, "it shows what is hidden")
  return read
}

/** Arguments without what JSON allows to differ. */
const compact = (written: string): string => {
  try {
    return JSON.stringify(JSON.parse(written))
  } catch {
    return written
  }
}

/** Parts that can be compared: a body may have the arguments of a call written otherwise. */
export const comparable = (parts: ReadonlyArray<Part>): ReadonlyArray<Part> =>
  parts.map((part) => (part.type === "call" ? { ...part, arguments: compact(part.arguments) } : part))

export const sum = (usages: ReadonlyArray<Counts>): Counts =>
  usages.reduce((a, b) => ({
    input: a.input + b.input,
    cacheRead: a.cacheRead + b.cacheRead,
    output: a.output + b.output,
    reasoning: a.reasoning + b.reasoning
  }))

/** What a client has to see of turns that were all shown. */
export const shown = (dialect: DialectCase, turns: ReadonlyArray<LoopTurn>): Seen => {
  const parts = turns.flatMap((turn) => turn.parts).filter((part) => !isHidden(part))
  const last = turns.at(-1)!
  const called = parts.some((part) => part.type === "call")
  const stop: Stop = last.stop === "length" ? "length" : called ? "tools" : "stop"
  return {
    id: turns[0]!.id,
    model: "test-model-2025",
    parts: dialect.toolLoop.shape(parts),
    stop,
    usage: sum(turns.map((turn) => turn.usage!)),
    ended: true,
    error: null,
    keepAlives: 0
  }
}

/** That the client saw these turns as one clean answer. */
export const assertShown = (
  dialect: DialectCase,
  transport: Transport,
  call: Call,
  turns: ReadonlyArray<LoopTurn>,
  more: Partial<Seen> = {}
): Seen => {
  assert.isNull(call.refused, call.refused?.message)
  const read = seen(dialect, transport, call.text)
  const expected = { ...shown(dialect, turns), ...more }
  assert.deepStrictEqual(
    { ...read, parts: comparable(read.parts) },
    { ...expected, parts: comparable(expected.parts) },
    call.text
  )
  assert.strictEqual(call.ending, "clean")
  return read
}

/** What an interception left behind, as long as nothing of it is there twice or in the wrong order. */
export interface Records {
  readonly open: Interception
  readonly close: InterceptionClose
  readonly turns: ReadonlyArray<TurnRow>
  readonly usage: ReadonlyArray<Usage>
  readonly toolCalls: ReadonlyArray<ToolCall>
  readonly thoughts: ReadonlyArray<string>
  readonly prompts: number
}

/** The records of the one interception there was: opened once, closed once and last, each turn settled once. */
export const recordsOf = (ledger: Ledger): Records => {
  const { batches } = ledger
  const opens = batches.flatMap((batch) => batch.opens ?? [])
  const closes = batches.flatMap((batch) => batch.closes ?? [])
  const turns = batches.flatMap((batch) => batch.turns ?? [])
  const usage = batches.flatMap((batch) => batch.usage ?? [])
  const toolCalls: Array<ToolCall> = []
  const known = new Set<string>()
  for (const batch of batches) {
    for (const turn of batch.turns ?? []) known.add(turn.id)
    for (const call of batch.toolCalls ?? []) {
      assert.isTrue(known.has(call.turnId), "a call before its turn")
      toolCalls.push(call)
    }
  }
  assert.strictEqual(opens.length, 1, "opened")
  assert.strictEqual(closes.length, 1, "closed")
  const open = opens[0]!
  const close = closes[0]!
  assert.strictEqual(open.id, close.id)
  assert.deepStrictEqual(
    turns.map((turn) => turn.index),
    turns.map((_, place) => place),
    "indexes of the turns"
  )
  assert.strictEqual(new Set(turns.map((turn) => turn.id)).size, turns.length)
  assert.deepStrictEqual(
    usage.map((one) => one.turnId),
    turns.map((turn) => turn.id),
    "one usage for each turn"
  )
  for (const row of [...turns, ...usage, ...toolCalls]) assert.strictEqual(row.interceptionId, open.id)
  const ids = toolCalls.map((call) => `${call.turnId} ${call.callId}`)
  assert.strictEqual(new Set(ids).size, ids.length, "a call recorded twice")
  const thoughts = batches.flatMap((batch) => batch.thoughts ?? []).map((thought) => thought.text)
  const prompts = batches.flatMap((batch) => batch.prompts ?? []).length
  assert.strictEqual(prompts, turns.length === 0 ? 0 : 1, "prompts")
  return { open, close, turns, usage, toolCalls, thoughts, prompts }
}

/** The counts of a usage row. */
export const countsOf = ({ cacheRead, input, output, reasoning }: Usage) => ({ input, cacheRead, output, reasoning })

interface ComparedCall {
  readonly id: string | null
  readonly name: string
  readonly arguments: string | null
  readonly injected: boolean
  readonly serverUrl: string | null
  readonly error: string | null
}

const byId = (a: ComparedCall, b: ComparedCall): number => ((a.id ?? "") < (b.id ?? "") ? -1 : 1)

/** Which calls of a turn were recorded: their names, and whose they are, with the error of each. */
const recordedCalls = (records: Records, turnId: string): ReadonlyArray<ComparedCall> =>
  records.toolCalls
    .filter((call) => call.turnId === turnId)
    .map(
      ({ arguments: written, callId, error, injected, name, serverUrl }): ComparedCall => ({
        id: callId,
        name,
        arguments: written === null ? null : compact(written),
        injected,
        serverUrl,
        error: error?.code ?? null
      })
    )
    .sort(byId)

/** That all turns are on record, as completed, each with its usage, thoughts and calls. */
export const assertRecorded = (
  dialect: DialectCase,
  records: Records,
  turns: ReadonlyArray<LoopTurn>,
  more: { readonly errors?: { readonly [callId: string]: string }; readonly last?: TurnRow["status"] } = {}
): void => {
  const last = more.last ?? "completed"
  const statuses = turns.map((_, place) => (place === turns.length - 1 ? last : "completed"))
  assert.deepStrictEqual(
    records.turns.map((turn) => turn.status),
    statuses
  )
  assert.strictEqual(records.close.status, last)
  assert.isNull(records.close.error)
  for (const [place, turn] of turns.entries()) {
    const row = records.turns[place]!
    assert.isNull(row.error)
    assert.strictEqual(row.upstreamResponseId, turn.id)
    assert.strictEqual(row.servedModel, "test-model-2025")
    assert.strictEqual(row.httpStatus, 200)
    assert.isNotNull(row.timeToFirstFrameMs, "a frame that is held back is one")
    assert.deepStrictEqual(countsOf(records.usage[place]!), turn.usage)
    assert.strictEqual(records.usage[place]!.provenance, "provider")
    const wasRun = turn.stop === "tools"
    const calls = turn.parts
      .filter((part) => part.type === "call")
      .map((call): ComparedCall => {
        const injected = isHidden(call)
        return {
          id: call.id,
          name: call.name,
          arguments: compact(call.arguments),
          injected,
          serverUrl: injected && wasRun ? "http://scripted.test/mcp" : null,
          error: more.errors?.[call.id] ?? (injected && !wasRun ? "internal" : null)
        }
      })
      .sort(byId)
    assert.deepStrictEqual(recordedCalls(records, row.id), calls)
  }
  const thoughts = turns.flatMap((turn) =>
    dialect.toolLoop.shape(turn.parts).flatMap((part) => (part.type === "thought" ? [part.text] : []))
  )
  assert.deepStrictEqual(records.thoughts, thoughts)
}

/** That each request goes on from the turn before it: all it said, and what its tools answered. */
export const assertAsked = (
  dialect: DialectCase,
  made: Loop,
  turns: ReadonlyArray<LoopTurn>,
  results: (call: CallPart) => SentResult = resultOf
): void => {
  const { goesOn, shape } = dialect.toolLoop
  const { requests } = made.upstream
  assert.strictEqual(requests.length, turns.length, "requests")
  for (const [place, turn] of turns.slice(0, -1).entries()) {
    const added = goesOn(requests[place]!.json as object, requests[place + 1]!.json as object)
    assert.deepStrictEqual(comparable(added.parts), comparable(shape(turn.parts)), `output of turn ${place}`)
    const calls = turn.parts.filter((part) => part.type === "call")
    assert.deepStrictEqual(added.results, calls.map(results), `results of turn ${place}`)
  }
  for (const request of requests) assert.isDefined(request.outcome, "an exchange was left open")
}
