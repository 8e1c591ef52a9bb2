import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { Turn } from "../../src/testing/index.ts"
import type { Exchanger } from "../../src/upstream/Exchange.ts"
import { socketPool } from "../../src/upstream/SocketPool.ts"
import { linkedPeers } from "../support/LinkedPeers.ts"
import { idleTimers } from "../support/PeerPair.ts"
import { engine, settleDown } from "./Engine.ts"
import { openAiResponsesCase as dialect } from "./OpenAiResponsesCase.ts"
import { messagesIn } from "./WebSocketSetup.ts"

/** What a provider says in one answer, and whether its connection is cut behind that. */
interface Said {
  readonly messages: ReadonlyArray<string>
  readonly cut: boolean
}

const nameIn = (message: string): string => JSON.parse(message).type

/** The same as a stream over HTTP. */
const turnOf = ({ cut, messages }: Said): Turn => ({
  headers: { "content-type": "text/event-stream" },
  body: [
    ...messages.map((message) => `event: ${nameIn(message)}\ndata: ${message}\n\n`),
    ...(cut ? [{ cut: true } as const] : [])
  ]
})

/** The same over a WebSocket of a pool, which is the upstream of every turn. */
const pool = (said: Said, sent: Array<string>) =>
  Effect.gen(function* () {
    const http: Exchanger = () => Effect.die(new Error("it went over HTTP"))
    const dialer = () =>
      Effect.sync(() => {
        const [at, peer] = linkedPeers()
        const send = (data: Buffer) =>
          Effect.sync(() => {
            sent.push(data.toString())
            for (const message of said.messages) at.say(message)
            if (said.cut) at.leave(1006)
          })
        return { _tag: "Connected" as const, peer: Object.assign(peer, { send }), headers: {} }
      })
    const timers = yield* idleTimers
    return yield* socketPool({ provider: "scripted", http, dialer, timers, connect: Duration.seconds(5) })
  })

/** Everything that anybody learns of a call. */
const outcome = Effect.fnUntraced(function* (said: Said, request: object, exchanger: Exchanger | null) {
  const { call, ledger } = yield* engine(dialect, [turnOf(said)], exchanger === null ? {} : { exchanger })
  const client = yield* call(dialect.request(true, { ...request }))
  yield* client.ended
  yield* settleDown(() => ledger.settlements.length > 0)
  const { batch, close, turn, usage } = ledger.settled()
  const written = JSON.stringify(
    {
      turn,
      close,
      usage,
      toolCalls: batch.toolCalls,
      thoughts: batch.thoughts,
      prompts: batch.prompts
    },
    (key, value: unknown) => (/^(?:id|turnId|interceptionId|.*At|.*Ms|message)$/.test(key) ? undefined : value)
  )
  return {
    head: client.head?.status ?? null,
    text: client.text.replace(/broke off: [^"]*/, "broke off"),
    ending: client.ending,
    records: JSON.parse(written)
  }
})

const readable = (text: string): boolean =>
  messagesIn(text).every((message) => {
    try {
      return typeof nameIn(message) === "string"
    } catch {
      return false
    }
  })

const cases = [
  ...dialect.answers
    .filter(({ request, transport }) => transport === "sse" && request?.["background"] !== true)
    .map(({ body, name, request = {} }) => ({ name, said: { messages: messagesIn(body), cut: false }, request, body })),
  ...dialect.cutStreams.map(({ body, name, request = {} }) => ({
    name: `cut: ${name}`,
    said: { messages: messagesIn(body), cut: true },
    request,
    body
  }))
].filter(({ body, said }) => readable(body) && said.messages.length > 0)

describe("over a pooled WebSocket", () => {
  it("there is something to compare", () => {
    assert.isAbove(cases.length, 30)
  })

  it.effect.each(cases)("client and records are told what they are over HTTP: $name", ({ request, said }) =>
    Effect.gen(function* () {
      const sent: Array<string> = []
      const overSocket = yield* outcome(said, request, yield* pool(said, sent))
      const overHttp = yield* outcome(said, request, null)
      assert.deepStrictEqual(overSocket, overHttp)
      assert.strictEqual(sent.length, 1)
    })
  )
})
