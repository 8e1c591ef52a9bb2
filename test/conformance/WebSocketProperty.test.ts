import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Turn } from "../../src/testing/index.ts"
import { Random } from "../wire/Random.ts"
import { settleDown } from "./Engine.ts"
import { create, eventsOf, messagesOf, onLane, type SocketSetup, socketSetup } from "./WebSocketSetup.ts"

const modes = ["native", "bridged", "unified"] as const

const lanes = [null, "a", "b", "c"] as const

const laneOf = (text: string): string | null => (JSON.parse(text) as { stream_id?: string }).stream_id ?? null

/** What an upstream without a WebSocket does with one request. */
const turnOf = (random: Random, n: number): Turn => {
  if (random.chance(10)) return random.pick([Turn.hang, Turn.refused, Turn.error(500, "no")])
  const events: Array<unknown> = [...eventsOf(`resp_${n}`, `text ${n}`)]
  for (let times = random.below(3); times > 0; times--) {
    const odd = [{ wait: "3 seconds" }, { wait: 1 }, { cut: true }, { hang: true }, ": comment\n\n", "data: 17\n\n"]
    events.splice(random.below(events.length + 1), 0, random.pick(odd))
  }
  return Turn.sse(events)
}

/** The upstream of a native connection, as simple as it can be: it answers each lane in order. */
class Model {
  readonly said = new Map<string | null, Array<string>>()
  /** How many responses it has brought to their end. */
  ended = 0
  private readonly setup: SocketSetup
  private readonly running = new Map<string | null, Array<string>>()
  /** The last message that ended a response, by lane. */
  private readonly ends = new Map<string | null, string>()
  private unasked = 0
  private read = 0
  private peer: unknown = null

  constructor(setup: SocketSetup) {
    this.setup = setup
  }

  private get upstream() {
    const upstream = this.setup.upstream()
    // One that was dialled anew knows nothing of what was before.
    if (upstream !== this.peer) {
      this.peer = upstream
      this.read = 0
      this.running.clear()
    }
    return upstream
  }

  private look(): void {
    for (const text of this.upstream.received.slice(this.read)) {
      this.read++
      const { input, type } = JSON.parse(text) as { input: string; type: string }
      if (type !== "response.create") continue
      const lane = laneOf(text)
      this.running.set(lane, [...(this.running.get(lane) ?? []), ...messagesOf(`resp_${input}`, "text", lane)])
    }
  }

  private say(lane: string | null, message: string): void {
    this.said.set(lane, [...(this.said.get(lane) ?? []), message])
    this.upstream.say(message)
  }

  /** Says the next of some lane, or something that it should not. */
  step(random: Random): void {
    if (!this.setup.isDialled()) return
    this.look()
    const lane = random.pick(lanes)
    if (random.chance(3)) {
      this.say(lane, onLane('{"type":"codex.rate_limits"}', lane))
      return
    }
    if (random.chance(3)) {
      this.upstream.say(random.pick(["17", Buffer.from([1])]))
      return
    }
    if (random.chance(2)) {
      // Half of a response, or all of one, that nobody has asked for, on any lane or one that is not known.
      const where = random.pick([...lanes, "zz"])
      const number = this.unasked++
      const messages = messagesOf(`unasked_${number}`, "text", where).map(
        (message) => `${message.slice(0, -1)},"unasked":${number}}`
      )
      const count = random.chance(50) ? messages.length : 1 + random.below(messages.length - 1)
      if (count === messages.length) this.ended++
      for (const message of messages.slice(0, count)) this.say(where, message)
      return
    }
    if (random.chance(2)) {
      const end = this.ends.get(lane)
      if (end !== undefined) this.upstream.say(end)
      return
    }
    const left = this.running.get(lane)
    if (left === undefined || left.length === 0) return
    if (random.chance(4)) {
      // The rest of this response is dropped.
      const end = left.findIndex((message) => message.includes('"type":"response.completed"'))
      left.splice(0, end + 1)
      this.say(lane, onLane('{"type":"error","status":500,"error":{"message":"no"}}', lane))
      return
    }
    const message = left.shift()!
    if (message.includes('"type":"response.completed"')) {
      this.ended++
      this.ends.set(lane, message)
    }
    this.say(lane, message)
  }
}

/** Whether everything of `part` stands in `all`, in its order. */
const isSubsequence = (part: ReadonlyArray<string>, all: ReadonlyArray<string>): boolean => {
  let at = 0
  for (const one of all) if (part[at] === one) at++
  return at === part.length
}

/** What is said, by whichever name of the model. */
const unnamed = (message: string): string => message.replace(/"model":"[^"]*"/, "")

/** Which of the responses that nobody asked for a message is of. */
const unaskedOf = (message: string): unknown => (JSON.parse(message) as { unasked?: unknown }).unasked ?? null

const closes = [1000, 1001, 1005, 1006, 1008, 1011, 1012, 3000, 4999]

const run = Effect.fnUntraced(function* (mode: (typeof modes)[number], seed: number) {
  const random = new Random(seed)
  const native = mode !== "bridged"
  const setup = yield* socketSetup({
    way: native ? "native" : "bridged",
    unified: mode === "unified",
    turns: Array.from({ length: 40 }, (_, n) => turnOf(random, n)),
    config: { websocket: { max_queued: 4 }, limits: { first_frame: "20 seconds", idle: "20 seconds" } }
  })
  const { client, connection, timers } = setup
  const model = new Model(setup)
  let created = 0
  const step = (): Effect.Effect<unknown> | undefined => {
    const dice = random.below(100)
    if (dice < 18) {
      const lane = random.pick(lanes)
      const more = lane === null ? {} : { stream_id: lane }
      client.say(create({ model: random.chance(90) ? "up/m" : "m", input: `${created++}`, ...more }))
    } else if (dice < 20)
      client.say(random.pick(["{", "[]", '{"type":"x"}', '{"type":"response.create","stream_id":""}']))
    else if (dice < 22) client.stopTaking()
    else if (dice < 26) client.takeOn()
    else if (dice < 28) return TestClock.adjust(random.pick(["1 second", "11 seconds", "21 seconds"]))
    else if (dice < 60 && native) model.step(random)
    else return settleDown(() => random.chance(40))
    return
  }
  for (let left = 20 + random.below(120); left > 0; left--) yield* step() ?? Effect.void
  const code = random.pick(closes)
  const upstream = setup.isDialled() ? setup.upstream() : undefined
  const end = random.below(5)
  if (end === 0 && upstream !== undefined && mode === "native") upstream.leave(code, "upstream")
  else if (end === 1) connection.shutDown()
  else if (end === 2) {
    connection.drain()
    yield* setup.interception.shutdown
    connection.shutDown()
  } else if (end === 3) yield* Effect.forkChild(Fiber.interrupt(setup.running))
  else client.leave(code, "client")
  if (random.chance(50)) client.say(create({ stream_id: "late" }))
  if (random.chance(50) && native) model.step(random)
  // Who takes nothing is waited for no longer than this.
  if (random.chance(50)) client.takeOn()
  yield* settleDown()
  yield* TestClock.adjust("3 seconds")
  yield* settleDown()
  yield* TestClock.adjust("30 seconds")
  client.takeOn()
  yield* settleDown()
  // How its upstream ended is known behind all that it has said, and that was only taken now.
  yield* TestClock.adjust("3 seconds")
  yield* settleDown()

  assert.isDefined(setup.running.pollUnsafe(), "the connection is still carried")
  assert.isNotNull(client.closing(), "the client is connected")
  if (upstream !== undefined) assert.isNotNull(setup.upstream().closing(), "the upstream is connected")
  for (const request of setup.scripted.requests) assert.isDefined(request.outcome, "an exchange was left open")
  assert.strictEqual(setup.interception.running(), 0)
  yield* TestClock.adjust("2 seconds")
  assert.strictEqual(timers.size(), 0, "timers")
  assert.deepStrictEqual(setup.atGateway.late, [], "said behind the close")
  if (upstream !== undefined) assert.deepStrictEqual(setup.toUpstream().late, [])

  const opened = new Set(setup.ledger.batches.flatMap((batch) => (batch.opens ?? []).map(({ id }) => id)))
  const closed = setup.ledger.batches.flatMap((batch) => (batch.closes ?? []).map(({ id }) => id))
  assert.strictEqual(new Set(closed).size, closed.length, "settled twice")
  assert.deepStrictEqual(new Set(closed), opened, "settled")
  const turns = setup.ledger.batches.flatMap((batch) => (batch.turns ?? []).map(({ interceptionId }) => interceptionId))
  assert.strictEqual(new Set(turns).size, turns.length)
  if (!native) return
  assert.isAtMost(setup.closes().filter((status) => status === "completed").length, model.ended)
  for (const lane of [...lanes, "zz"]) {
    const own = client.received.filter((text) => text.startsWith("{") && laneOf(text) === lane)
    const shown = own.filter((text) => !/^\{"type":"(?:error|keepalive)"/.test(text))
    const said = model.said.get(lane) ?? []
    // A response that nobody asked for is shown behind those of its lane that were, whatever came first.
    for (const which of new Set([...shown, ...said].map(unaskedOf))) {
      const [seen, sent] = [shown, said].map((all) => all.filter((text) => unaskedOf(text) === which).map(unnamed))
      assert.isTrue(isSubsequence(seen!, sent!), `the order of lane ${lane}, ${which ?? "asked"}`)
    }
    const asked = (upstream?.received ?? []).filter((text) => laneOf(text) === lane && text.includes('"input"'))
    const numbers = asked.map((text) => Number((JSON.parse(text) as { input: string }).input))
    assert.deepStrictEqual(
      numbers,
      numbers.toSorted((a, b) => a - b)
    )
  }
}, Effect.scoped)

describe.each(modes)("any interleaving of what both sides do, %s", (mode) => {
  const seeds = Array.from({ length: 10 }, (_, n) => n)
  it.effect.each(seeds)("tens from %i", (ten) =>
    Effect.forEach(
      Array.from({ length: 6 }, (_, n) => ten * 10 + n),
      (seed) =>
        Effect.catchDefect(run(mode, seed), (defect) => Effect.die(new Error(`seed ${seed}`, { cause: defect }))),
      { discard: true }
    )
  )
})
