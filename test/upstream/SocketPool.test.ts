import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, References, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { make as makeConfig } from "../../src/config/Load.ts"
import { Scripted, Turn } from "../../src/testing/Scripted.ts"
import type { Answered, DialRequest } from "../../src/upstream/Dial.ts"
import { Unreachable } from "../../src/upstream/Exchange.ts"
import * as Providers from "../../src/upstream/Providers.ts"
import { IdleTimers, type OpenedTurn, type TurnRequest, Upstream, UpstreamError } from "../../src/upstream/Upstream.ts"
import { turnRequest } from "../support/Exchanges.ts"
import { type LinkedPeer, linkedPeers } from "../support/LinkedPeers.ts"

/** How a dial ends that does not connect: with an answer, with a failure, or never. */
type InVain = Answered | "unreachable" | "hang"

const answered = (status: number): Answered => ({ _tag: "Answered", status, headers: {}, body: Buffer.alloc(0) })

/** One dial, and the provider's end of the connection. */
interface Dialled {
  readonly request: DialRequest
  readonly at: LinkedPeer
  /** Whether its scope is closed. */
  released: boolean
}

interface Setup {
  readonly dials: ReadonlyArray<Dialled>
  readonly http: Scripted
  readonly upstream: Upstream["Service"]
  readonly timers: IdleTimers["Service"]
  readonly close: Effect.Effect<void>
}

const settle = Effect.gen(function* () {
  for (let i = 0; i < 100; i++) yield* Effect.yieldNow
})

const overHttp = "data: over HTTP\n\n"

/** A provider with a pool, in the hands of the test. */
const setup = Effect.fnUntraced(function* (
  options: { readonly inVain?: (dial: number) => InVain | null; readonly config?: SluiceConfigInput } = {}
) {
  const http = yield* Scripted.make(Array.from({ length: 9 }, () => Turn.sse([overHttp])))
  const dials: Array<Dialled> = []
  const dialer = (request: DialRequest) =>
    Effect.gen(function* () {
      const [at, peer] = linkedPeers()
      const dialled: Dialled = { request, at, released: false }
      const inVain = options.inVain?.(dials.length) ?? null
      dials.push(dialled)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          dialled.released = true
          peer.leave(1000)
        })
      )
      if (inVain === "hang") return yield* Effect.never
      if (inVain === "unreachable") {
        return yield* new UpstreamError({ provider: "up", reason: new Unreachable({ detail: "refused" }) })
      }
      return inVain ?? { _tag: "Connected" as const, peer, headers: { "x-request-id": "of the handshake" } }
    })
  const config: SluiceConfigInput = {
    retries: { times: 0 },
    providers: {
      up: {
        type: "openai",
        base_url: "http://up.test/v1",
        api_key: "sk-central",
        websocket_pool: true,
        credentials: "client-first"
      }
    },
    ...options.config
  }
  const scope = yield* Scope.make()
  const layer = Layer.unwrap(Effect.map(makeConfig(config), Providers.layer)).pipe(
    Layer.provideMerge(IdleTimers.layer),
    Layer.provideMerge(Layer.succeed(Providers.Exchangers, () => Effect.succeed(() => http.exchanger))),
    Layer.provideMerge(Layer.succeed(Providers.Dialers, () => Effect.succeed(() => dialer))),
    Layer.orDie
  )
  const services = yield* Layer.build(layer).pipe(Scope.provide(scope))
  const made: Setup = {
    dials,
    http,
    upstream: Context.get(services, Upstream),
    timers: Context.get(services, IdleTimers),
    close: Scope.close(scope, Exit.void)
  }
  yield* Effect.addFinalizer(() => made.close)
  return made
})

/** What was asked, as it goes on. */
class Asked {
  opened: OpenedTurn | null = null
  error: string | null = null
  /** Whether it may be tried again, by what the error says. */
  sent: boolean | undefined
  readonly chunks: Array<Buffer> = []
  ended = false
  readonly scope = Scope.makeUnsafe()

  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }

  readonly leave = Effect.suspend(() => Scope.close(this.scope, Exit.void))
}

const input = (text: string) => ({ role: "user", content: text })

const bodyOf = (more: object = {}): Buffer =>
  Buffer.from(JSON.stringify({ model: "m", input: [input("hello")], stream: true, store: false, ...more }))

/** Asks, and reads the answer as it comes. */
const ask = Effect.fnUntraced(
  function* ({ upstream }: Setup, body: Buffer, more: Partial<TurnRequest> = {}) {
    const asked = new Asked()
    const headers = { accept: "text/event-stream", "content-type": "application/json" }
    const request = turnRequest(body, { headers, ...more })
    const reading = upstream.open(request).pipe(
      Scope.provide(asked.scope),
      Effect.mapError(({ error }) => error),
      Effect.tap((opened) => {
        asked.opened = opened
        return Effect.forever(Effect.map(opened.body.pull, (chunks) => asked.chunks.push(...chunks)))
      }),
      Effect.catch((ended) =>
        Effect.sync(() => {
          if (!("reason" in ended)) asked.ended = true
          else {
            asked.error = ended.reason._tag
            asked.sent = ended.reason._tag === "Unreachable" ? ended.reason.sent : undefined
          }
        })
      ),
      Effect.onExit((exit) => (Exit.isSuccess(exit) ? Scope.close(asked.scope, Exit.void) : Effect.void))
    )
    yield* Effect.addFinalizer(() => asked.leave)
    const fiber = yield* Effect.forkChild(reading, { startImmediately: true })
    yield* settle
    return Object.assign(asked, { fiber })
  },
  Effect.provideService(References.MinimumLogLevel, "None")
)

const answer = (text: string) => ({
  type: "message",
  id: `msg_${text}`,
  status: "completed",
  role: "assistant",
  content: [{ type: "output_text", text, annotations: [] }]
})

/** The messages of a response. */
const response = (id: string, output: ReadonlyArray<object>, more: object = {}): ReadonlyArray<string> => {
  const about = { id, object: "response", ...more }
  return [
    { type: "response.created", response: { ...about, status: "in_progress", output: [] }, sequence_number: 0 },
    ...output.map((item, at) => ({
      type: "response.output_item.done",
      output_index: at,
      item,
      sequence_number: at + 1
    })),
    { type: "response.completed", response: { ...about, status: "completed", output }, sequence_number: 9 }
  ].map((message) => JSON.stringify(message))
}

const asEvents = (messages: ReadonlyArray<string>): string =>
  messages.map((message) => `event: ${JSON.parse(message).type}\ndata: ${message}\n\n`).join("")

/** The provider says something. */
const say = (dialled: Dialled, ...messages: ReadonlyArray<string | object>) =>
  Effect.suspend(() => {
    for (const message of messages) dialled.at.say(message)
    return settle
  })

/** One whole exchange over the last connection that was dialled, or the one given. */
const exchange = Effect.fnUntraced(function* (
  it: Setup,
  body: Buffer,
  id: string,
  text: string,
  more: Partial<TurnRequest> = {}
) {
  const asked = yield* ask(it, body, more)
  const messages = response(id, [answer(text)])
  yield* say(it.dials.at(-1)!, ...messages)
  assert.deepStrictEqual([asked.text, asked.ended], [asEvents(messages), true])
})

const sentOver = (dialled: Dialled) => dialled.at.events

const refused = (status: number, error: object, more: object = {}) => ({ type: "error", status, error, ...more })

describe("a stream of Responses", () => {
  it.effect("goes over a WebSocket, and is answered as over HTTP", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      const body = bodyOf({ n: 1.0 })
      const asked = yield* ask(it, body, {
        headers: {
          accept: "text/event-stream",
          "content-type": "application/json",
          "user-agent": "test",
          "x-client-request-id": "1"
        }
      })
      assert.isNull(asked.opened)
      const [dialled] = it.dials
      assert.deepStrictEqual(dialled!.request, {
        origin: "http://up.test",
        target: "/v1/responses",
        headers: { "accept-encoding": "identity", authorization: "Bearer sk-central", "user-agent": "test" }
      })
      assert.deepStrictEqual(dialled!.at.received, [`{"type":"response.create",${body.toString().slice(1)}`])
      const messages = response("resp_1", [answer("Hi")])
      yield* say(dialled!, messages[0]!)
      const { headers, status, transport } = asked.opened!
      assert.deepStrictEqual([status, headers, transport], [200, { "content-type": "text/event-stream" }, "sse"])
      assert.strictEqual(asked.text, asEvents(messages.slice(0, 1)))
      yield* say(dialled!, ...messages.slice(1))
      assert.deepStrictEqual([asked.text, asked.ended, it.http.requests.length], [asEvents(messages), true, 0])
    })
  )

  it.effect("takes the connection of one that is over, and another while that goes on", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      yield* exchange(it, bodyOf({ store: true }), "resp_1", "a")
      yield* exchange(it, bodyOf({ store: true }), "resp_2", "b")
      assert.strictEqual(it.dials.length, 1)
      yield* ask(it, bodyOf())
      yield* ask(it, bodyOf())
      assert.deepStrictEqual([it.dials.length, it.dials[0]!.at.received.length], [2, 3])
    })
  )

  it.effect("takes the connection of one whose last message was larger than what is held for a reader", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      yield* exchange(it, bodyOf({ store: true }), "resp_1", "a".repeat(300_000))
      yield* exchange(it, bodyOf({ store: true }), "resp_2", "b")
      assert.strictEqual(it.dials.length, 1)
    })
  )

  it.effect("leaves out what is of the connection, and keeps JSON of several lines in one event", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      const asked = yield* ask(it, bodyOf())
      const end = '{"type":"response.incomplete",\r\n"response":{}}'
      yield* say(it.dials[0]!, { type: "codex.rate_limits" }, { type: "keepalive" }, Buffer.from("x"))
      assert.isNull(asked.opened)
      yield* say(it.dials[0]!, end, { type: "responsesapi.websocket_timing" })
      const expected = 'event: response.incomplete\ndata: {"type":"response.incomplete",\ndata: "response":{}}\n\n'
      assert.deepStrictEqual([asked.text, asked.ended, it.dials[0]!.released], [expected, true, false])
    })
  )

  const others: ReadonlyArray<readonly [string, object, Partial<TurnRequest>?]> = [
    ["that is none", { stream: false }],
    ["in the background", { background: true }],
    ["that goes on from a response by its id", { previous_response_id: "resp_1" }],
    ["of a conversation", { conversation: "conv_1" }],
    ["with members of a WebSocket", { generate: false }],
    ["with the promise to be carried out once", {}, { headers: { "idempotency-key": "1" } }],
    ["at another path", {}, { path: "/v1/responses/compact" }],
    ["with another method", {}, { method: "PUT" }]
  ]
  it.effect.each(others)("%s goes over HTTP", ([, members, more]) =>
    Effect.gen(function* () {
      const it = yield* setup()
      const asked = yield* ask(it, bodyOf(members), more)
      assert.deepStrictEqual([asked.text, it.dials.length], [overHttp, 0])
    })
  )

  it.effect("goes over HTTP where a member comes twice, or a byte order mark before it", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      yield* ask(it, Buffer.from('{"stream":true,"input":"a","input":"b"}'))
      yield* ask(it, Buffer.from('\ufeff{"stream":true,"input":"a"}'))
      assert.deepStrictEqual([it.dials.length, it.http.requests.length], [0, 2])
    })
  )
})

describe("connections", () => {
  it.effect("are shared by nobody with another credential, or other headers", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      const mine = { credential: { key: "sk-mine", form: "bearer" } } as const
      yield* exchange(it, bodyOf(), "resp_1", "a", mine)
      yield* exchange(it, bodyOf(), "resp_2", "a", { credential: { key: "sk-other", form: "bearer" } })
      yield* exchange(it, bodyOf(), "resp_3", "a")
      yield* exchange(it, bodyOf(), "resp_4", "a", { ...mine, headers: { "openai-organization": "o" } })
      const keys = it.dials.map(({ request }) => request.headers["authorization"])
      assert.deepStrictEqual(keys, ["Bearer sk-mine", "Bearer sk-other", "Bearer sk-central", "Bearer sk-mine"])
      for (const { at } of it.dials) assert.strictEqual(at.received.length, 1)
    })
  )

  it.effect("are closed with the layer, idle or not, and leave no timer", () =>
    Effect.gen(function* () {
      const it = yield* setup({ inVain: (dial) => (dial === 2 ? "hang" : null) })
      const first = yield* ask(it, bodyOf())
      yield* exchange(it, bodyOf(), "resp_2", "a")
      yield* say(it.dials[0]!, response("resp_1", [])[0]!)
      yield* ask(it, bodyOf({ model: "other" }))
      assert.strictEqual(it.dials.length, 3)
      yield* it.close
      yield* settle
      assert.deepStrictEqual(
        it.dials.map(({ released }) => released),
        [true, true, true]
      )
      assert.strictEqual(first.error, "Cut")
      assert.strictEqual(it.timers.size(), 0)
    })
  )

  it.effect("are closed that nobody has used for five minutes", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      yield* exchange(it, bodyOf({ store: true }), "resp_1", "a")
      yield* TestClock.adjust("4 minutes")
      yield* exchange(it, bodyOf({ store: true }), "resp_2", "a")
      yield* TestClock.adjust("299 seconds")
      assert.isFalse(it.dials[0]!.released)
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(it.dials[0]!.released)
      assert.strictEqual(it.timers.size(), 0)
    })
  )

  it.effect("become 55 minutes old, and longer only while a response goes on", () =>
    Effect.gen(function* () {
      const it = yield* setup({ config: { limits: { idle: "1 hour" } } })
      for (let minutes = 0; minutes < 54; minutes += 4.5) {
        yield* exchange(it, bodyOf({ store: true }), "resp_1", "a")
        yield* TestClock.adjust("270 seconds")
      }
      const asked = yield* ask(it, bodyOf({ store: true }))
      yield* say(it.dials[0]!, response("resp_2", [])[0]!)
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual([it.dials.length, it.dials[0]!.released, asked.ended], [1, false, false])
      yield* say(it.dials[0]!, response("resp_2", [])[1]!)
      assert.deepStrictEqual([asked.ended, it.dials[0]!.released], [true, true])
      yield* exchange(it, bodyOf(), "resp_3", "a")
      assert.strictEqual(it.dials.length, 2)
    })
  )

  it.effect("are kept up to a number", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      for (let i = 0; i < 40; i++) {
        yield* exchange(it, bodyOf(), "resp", "a", { credential: { key: `sk-${i}`, form: "bearer" } })
      }
      const open = it.dials.map(({ released }) => !released)
      assert.deepStrictEqual(open, [...Array(8).fill(false), ...Array(32).fill(true)])
    })
  )

  it.effect.each([
    ["that broke", (it: Dialled) => it.at.leave(1006)],
    ["on which something came that nobody asked for", (it: Dialled) => it.at.say({ type: "response.created" })]
  ] as const)("are not used again %s", ([, broke]) =>
    Effect.gen(function* () {
      const it = yield* setup()
      yield* exchange(it, bodyOf({ store: true }), "resp_1", "a")
      broke(it.dials[0]!)
      yield* settle
      assert.isTrue(it.dials[0]!.released)
      yield* exchange(it, bodyOf({ store: true }), "resp_2", "a")
      assert.deepStrictEqual([it.dials.length, it.timers.size()], [2, 1])
    })
  )

  it.effect("that the provider calls too old make way for new ones, and nobody sees it", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      yield* exchange(it, bodyOf({ store: true }), "resp_1", "a")
      const asked = yield* ask(it, bodyOf({ store: true }))
      yield* say(it.dials[0]!, refused(400, { code: "websocket_connection_limit_reached", message: "60 minutes" }))
      assert.deepStrictEqual([it.dials.length, it.dials[0]!.released], [2, true])
      const messages = response("resp_2", [])
      yield* say(it.dials[1]!, ...messages)
      assert.deepStrictEqual([asked.text, asked.opened!.status], [asEvents(messages), 200])
    })
  )
})

describe("a provider that cannot be dialled", () => {
  it.effect.each([
    ["has none", answered(426)],
    ["fails", answered(503)],
    ["is not there", "unreachable"]
  ] as const)("because it %s is asked over HTTP, and not dialled again for a minute", ([, inVain]) =>
    Effect.gen(function* () {
      const it = yield* setup({ inVain: (dial) => (dial === 0 ? inVain : null) })
      assert.strictEqual((yield* ask(it, bodyOf())).text, overHttp)
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual((yield* ask(it, bodyOf())).text, overHttp)
      assert.strictEqual(it.dials.length, 1)
      yield* TestClock.adjust("1 second")
      yield* exchange(it, bodyOf(), "resp_1", "a")
      assert.strictEqual(it.dials.length, 2)
    })
  )

  it.effect("within limits.connect is asked over HTTP", () =>
    Effect.gen(function* () {
      const it = yield* setup({ inVain: () => "hang" })
      const asked = yield* ask(it, bodyOf())
      yield* TestClock.adjust("4999 millis")
      assert.strictEqual(asked.text, "")
      yield* TestClock.adjust("1 millis")
      yield* settle
      assert.deepStrictEqual([asked.text, it.dials[0]!.released], [overHttp, true])
    })
  )

  it.effect("with one credential can be with another", () =>
    Effect.gen(function* () {
      const it = yield* setup({ inVain: (dial) => (dial === 0 ? answered(401) : null) })
      const asked = yield* ask(it, bodyOf(), { credential: { key: "sk-wrong", form: "bearer" } })
      assert.strictEqual(asked.text, overHttp)
      yield* exchange(it, bodyOf(), "resp_1", "a")
      assert.strictEqual(it.dials.length, 2)
    })
  )

  it.effect("takes nothing so large, and is asked over HTTP", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      const asked = yield* ask(it, bodyOf())
      it.dials[0]!.at.leave(1009)
      yield* settle
      assert.strictEqual(asked.text, overHttp)
    })
  )
})

describe("an error", () => {
  it.effect("in place of a response is an answer with its status, and the connection is kept", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      const asked = yield* ask(it, bodyOf())
      const error = { type: "rate_limit_error", code: "rate_limit_exceeded", message: "slow down", param: null }
      yield* say(it.dials[0]!, refused(429, error, { headers: { "Retry-After": 7, "x-secret": "no" } }))
      assert.deepStrictEqual(
        [asked.opened!.status, asked.opened!.headers, asked.opened!.transport, asked.text, asked.ended],
        [
          429,
          { "content-type": "application/json", "retry-after": "7" },
          "json",
          `{"error":${JSON.stringify(error)}}`,
          true
        ]
      )
      yield* exchange(it, bodyOf(), "resp_1", "a")
      assert.strictEqual(it.dials.length, 1)
    })
  )

  it.effect.each([
    [400, { type: "error", error: { code: "invalid_value" } }],
    [429, { type: "error", code: "rate_limit_exceeded", message: "m" }],
    [500, { type: "error" }],
    [403, { type: "error", status_code: 403, error: {} }],
    [500, { type: "error", status: 200, error: {} }]
  ] as const)("has a status, %s, whatever it says", ([status, message]) =>
    Effect.gen(function* () {
      const it = yield* setup()
      const asked = yield* ask(it, bodyOf())
      yield* say(it.dials[0]!, message)
      assert.strictEqual(asked.opened!.status, status)
      assert.isObject(JSON.parse(asked.text).error)
    })
  )

  it.effect("that may pass is tried again, as over HTTP", () =>
    Effect.gen(function* () {
      const it = yield* setup({ config: { retries: { times: 1, max_wait: "5 seconds" } } })
      const asked = yield* ask(it, bodyOf())
      yield* say(it.dials[0]!, refused(503, { message: "busy" }, { headers: { "retry-after": "2" } }))
      yield* TestClock.adjust("2 seconds")
      yield* settle
      const messages = response("resp_1", [])
      yield* say(it.dials[0]!, ...messages)
      assert.deepStrictEqual([asked.text, asked.opened!.attempts], [asEvents(messages), 2])
    })
  )

  it.effect("behind the beginning is an event in the form of streams, and closes the connection", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      const asked = yield* ask(it, bodyOf())
      const [first] = response("resp_1", [])
      const error = { code: "server_error", message: "no", param: null }
      yield* say(it.dials[0]!, first!, refused(500, error, { headers: { "retry-after": "1" } }))
      const event = { type: "error", error, sequence_number: 1 }
      assert.strictEqual(asked.text, asEvents([first!, JSON.stringify(event)]))
      assert.deepStrictEqual([asked.ended, it.dials[0]!.released], [true, true])
    })
  )

  it.effect("that is an event of the stream is the end a second later, unless the end follows", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      const error = '{"type":"error","sequence_number":0,"code":"server_error","message":"no"}'
      const failed = '{"type":"response.failed","response":{}}'
      const asked = yield* ask(it, bodyOf())
      yield* say(it.dials[0]!, error)
      yield* TestClock.adjust("900 millis")
      assert.deepStrictEqual([asked.ended, asked.opened!.status], [false, 200])
      yield* TestClock.adjust("200 millis")
      yield* settle
      assert.deepStrictEqual([asked.text, asked.ended, it.dials[0]!.released], [asEvents([error]), true, true])
      const other = yield* ask(it, bodyOf())
      yield* say(it.dials[1]!, error, failed)
      assert.deepStrictEqual([other.text, other.ended], [asEvents([error, failed]), true])
      assert.deepStrictEqual([it.dials[1]!.released, it.timers.size()], [true, 0])
      yield* ask(it, bodyOf())
      yield* say(it.dials[2]!, error, ...response("resp_1", []))
      assert.isTrue(it.dials[2]!.released)
    })
  )

  it.effect(
    "is a connection that breaks: before the first message nothing is sent again, behind it the answer is cut",
    () =>
      Effect.gen(function* () {
        const it = yield* setup({ config: { retries: { times: 2 } } })
        const early = yield* ask(it, bodyOf())
        it.dials[0]!.at.leave(1011, "oops")
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual([early.error, early.sent, it.dials.length], ["Unreachable", true, 1])
        const late = yield* ask(it, bodyOf())
        yield* say(it.dials[1]!, response("resp_1", [])[0]!)
        it.dials[1]!.at.leave(1006)
        yield* settle
        assert.deepStrictEqual([late.error, it.dials.length, it.timers.size()], ["Cut", 2, 0])
      })
  )

  it.effect("is silence: the connection is closed then", () =>
    Effect.gen(function* () {
      const it = yield* setup({ config: { limits: { first_frame: "10 seconds", idle: "4 seconds" } } })
      const early = yield* ask(it, bodyOf())
      yield* TestClock.adjust("11 seconds")
      yield* settle
      assert.deepStrictEqual([early.error, it.dials[0]!.released], ["TimedOut", true])
      const late = yield* ask(it, bodyOf())
      yield* say(it.dials[1]!, response("resp_1", [])[0]!)
      yield* TestClock.adjust("3 seconds")
      yield* say(it.dials[1]!, { type: "codex.rate_limits" })
      yield* TestClock.adjust("3 seconds")
      assert.isNull(late.error)
      yield* TestClock.adjust("2 seconds")
      yield* settle
      yield* late.leave
      yield* settle
      assert.deepStrictEqual([late.error, it.dials[1]!.released, it.timers.size()], ["TimedOut", true, 0])
    })
  )
})

describe("a client that leaves", () => {
  it.effect.each([
    ["while it is dialled", "hang" as const, 0],
    ["before the first message", null, 0],
    ["in the middle of the answer", null, 1]
  ] as const)("%s closes the connection", ([, inVain, messages]) =>
    Effect.gen(function* () {
      const it = yield* setup({ inVain: () => inVain })
      const asked = yield* ask(it, bodyOf())
      yield* say(it.dials[0]!, ...response("resp_1", []).slice(0, messages))
      assert.isFalse(it.dials[0]!.released)
      yield* Fiber.interrupt(asked.fiber)
      yield* asked.leave
      yield* settle
      assert.deepStrictEqual([it.dials[0]!.released, it.timers.size()], [true, 0])
    })
  )

  it.effect("behind the end closes nothing", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      const asked = yield* ask(it, bodyOf())
      yield* say(it.dials[0]!, ...response("resp_1", []))
      yield* asked.leave
      yield* settle
      assert.isFalse(it.dials[0]!.released)
    })
  )

  it.effect("for a while holds up the provider, and nobody else", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      const read = yield* Deferred.make<void>()
      const opening = it.upstream.open(turnRequest(bodyOf()))
      const fiber = yield* Effect.forkChild(
        Effect.tap(opening, () => Deferred.await(read)),
        { startImmediately: true }
      )
      yield* settle
      const delta = JSON.stringify({ type: "response.output_text.delta", delta: "x".repeat(50_000) })
      for (let i = 0; i < 10; i++) yield* say(it.dials[0]!, delta)
      // What is over the mark waits with the peer, which stops reading.
      assert.isAbove(it.dials[0]!.at.other.waiting.length, 1)
      yield* Deferred.succeed(read, undefined)
      const { body } = yield* Effect.orDie(Effect.mapError(fiber.pipe(Fiber.join), ({ error }) => error))
      yield* Effect.orDie(body.pull)
      yield* settle
      assert.strictEqual(it.dials[0]!.at.other.waiting.length, 0)
    })
  )
})

describe("a request that goes on from the response before", () => {
  const first = [input("hello")]
  const second = [...first, answer("Hi"), input("and?")]

  it.effect("sends what it adds, and is answered as if it had sent all", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      yield* exchange(it, bodyOf({ input: first }), "resp_1", "Hi")
      const asked = yield* ask(it, bodyOf({ input: second }))
      const sent = sentOver(it.dials[0]!)[1]
      assert.deepStrictEqual(sent, {
        type: "response.create",
        model: "m",
        input: [input("and?")],
        stream: true,
        store: false,
        previous_response_id: "resp_1"
      })
      const messages = response("resp_2", [answer("Yes")], { previous_response_id: "resp_1" })
      yield* say(it.dials[0]!, ...messages)
      assert.strictEqual(asked.text, asEvents(response("resp_2", [answer("Yes")], { previous_response_id: null })))
      yield* ask(it, bodyOf({ input: [...second, answer("Yes"), input("so")] }))
      const third = sentOver(it.dials[0]!)[2]
      assert.deepStrictEqual([third!["previous_response_id"], third!["input"]], ["resp_2", [input("so")]])
      assert.strictEqual(it.dials.length, 1)
    })
  )

  it.effect("sends all on the same connection where the provider does not know the response, and nobody sees it", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      yield* exchange(it, bodyOf({ input: first }), "resp_1", "Hi")
      const asked = yield* ask(it, bodyOf({ input: second }))
      yield* say(it.dials[0]!, refused(400, { code: "previous_response_not_found", message: "gone" }))
      const [, , again] = sentOver(it.dials[0]!)
      assert.deepStrictEqual([again!["previous_response_id"], again!["input"]], [undefined, second])
      const messages = response("resp_2", [])
      yield* say(it.dials[0]!, ...messages)
      assert.deepStrictEqual([asked.text, asked.opened!.attempts, it.dials.length], [asEvents(messages), 1, 1])
    })
  )

  it.effect("sends all behind a response that failed or did not complete", () =>
    Effect.gen(function* () {
      for (const type of ["response.failed", "response.incomplete", "error"]) {
        const it = yield* setup()
        yield* exchange(it, bodyOf({ input: first }), "resp_1", "Hi")
        yield* ask(it, bodyOf({ input: second }))
        yield* say(it.dials[0]!, response("resp_2", [])[0]!, { type, response: { id: "resp_2" }, error: {} })
        yield* ask(it, bodyOf({ input: second }))
        const last = sentOver(it.dials.at(-1)!).at(-1)!
        assert.deepStrictEqual([last["previous_response_id"], last["input"]], [undefined, second], type)
      }
    })
  )

  it.effect("finds its connection among those of other conversations", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      yield* exchange(it, bodyOf({ input: first }), "resp_1", "Hi")
      yield* exchange(it, bodyOf({ input: [input("other")] }), "resp_2", "Yo")
      assert.strictEqual(it.dials.length, 2)
      yield* ask(it, bodyOf({ input: second }))
      assert.strictEqual(sentOver(it.dials[0]!)[1]!["previous_response_id"], "resp_1")
    })
  )

  it.effect("never does so with another credential", () =>
    Effect.gen(function* () {
      const it = yield* setup()
      yield* exchange(it, bodyOf({ input: first }), "resp_1", "Hi")
      yield* ask(it, bodyOf({ input: second }), { credential: { key: "sk-other", form: "bearer" } })
      assert.deepStrictEqual(sentOver(it.dials[1]!)[0]!["input"], second)
      assert.strictEqual(it.dials[0]!.at.received.length, 1)
    })
  )
})
