import OpenAI from "openai"
import { describe, expect, it } from "vitest"
import { gatewayError } from "../../../src/dialect/GatewayError.ts"
import { type Frame, sse, whole } from "../../../src/wire/Frame.ts"
import {
  answerOf,
  call,
  type Carrier,
  framesOf,
  isInjected,
  type Item,
  message,
  reasoning,
  textOf,
  type Turn
} from "./Turns.ts"

const carriers: ReadonlyArray<Carrier> = ["sse", "ws", "json"]

const usage = (input: number, cached: number, output: number, thought: number) => ({
  input_tokens: input,
  input_tokens_details: { cached_tokens: cached },
  output_tokens: output,
  output_tokens_details: { reasoning_tokens: thought },
  total_tokens: input + output
})

const client = (id: string) => call(id, "client_tool")

/** Turns by their items: all but the last end on injected calls only. */
const conversations: ReadonlyArray<readonly [string, ReadonlyArray<ReadonlyArray<Item>>]> = [
  ["no preamble", [[call("a")], [message("b")]]],
  ["a message, then a call", [[message("a"), call("b")], [message("c")]]],
  [
    "reasoning, then a call",
    [
      [reasoning("a"), call("b")],
      [reasoning("c"), message("d")]
    ]
  ],
  ["a call at an index beyond", [[reasoning("a"), message("b"), call("c")], [message("d")]]],
  ["two parallel calls", [[call("a"), call("b", "bmcp_s_sum")], [message("c")]]],
  ["text behind the calls", [[call("a"), message("b")], [message("c")]]],
  [
    "a client's call at the end",
    [
      [message("a"), call("b")],
      [message("c"), client("d")]
    ]
  ],
  [
    "a mixed turn at the end",
    [
      [message("a"), call("b")],
      [call("c"), client("d"), call("e"), message("f")]
    ]
  ],
  ["a mixed turn alone", [[client("a"), call("b"), client("c")]]],
  [
    "three turns",
    [
      [message("a"), call("b")],
      [call("c"), message("d"), call("e")],
      [reasoning("f"), message("g")]
    ]
  ],
  ["turns without anything shown", [[call("a")], [call("b")], []]]
]

const turnsOf = (items: ReadonlyArray<ReadonlyArray<Item>>, more: Partial<Turn> = {}): ReadonlyArray<Turn> =>
  items.map((own, i) => ({
    id: `resp_${i + 1}`,
    items: own,
    createdAt: 1700000000 + i,
    toolChoice: i === 0 ? "auto" : "none",
    usage: usage(100 * (i + 1), 10 * i, i + 7, i),
    ...more
  }))

/** The one turn that the client sees of several. */
const oneOf = (turns: ReadonlyArray<Turn>, used: object | null): Turn => ({
  ...turns[0]!,
  items: turns.flatMap((turn) => turn.items.filter((item) => !isInjected(item))),
  usage: used,
  outcome: turns.at(-1)!.outcome ?? "completed"
})

const summed = (turns: number) => {
  const sum = [0, 0, 0, 0]
  for (let i = 0; i < turns; i++) for (const [at, n] of [100 * (i + 1), 10 * i, i + 7, i].entries()) sum[at]! += n
  return usage(sum[0]!, sum[1]!, sum[2]!, sum[3]!)
}

const sent = (turns: ReadonlyArray<Turn>, carrier: Carrier) => turns.map((turn) => framesOf(turn, carrier))

describe("several turns", () => {
  describe.each(carriers)("%s", (carrier) => {
    it.each(conversations)("are, byte for byte, one answer: %s", (_, items) => {
      for (const outcome of ["completed", "incomplete", "failed"] as const) {
        const turns = turnsOf(items).map((turn, i) => (i === items.length - 1 ? { ...turn, outcome } : turn))
        const { shown } = answerOf(sent(turns, carrier))
        expect(textOf(shown)).toBe(textOf(framesOf(oneOf(turns, summed(items.length)), carrier)))
        expect(shown.map((frame) => frame.terminal).indexOf(true)).toBe(shown.length - 1)
      }
    })
  })

  it.each(conversations)("are one answer where the responses at the ends repeat nothing: %s", (_, items) => {
    const turns = turnsOf(items, { emptyOutput: true })
    const { shown } = answerOf(sent(turns, "sse"))
    const one = { ...oneOf(turns, summed(items.length)), emptyOutput: false }
    const [first] = turns
    const wanted = turns.length === 1 || first!.items.every(isInjected) ? null : textOf(framesOf(one))
    if (wanted !== null) expect(textOf(shown)).toBe(wanted)
    else expect(textOf(shown.slice(0, -1))).toBe(textOf(framesOf(one).slice(0, -1)))
  })

  it("tell a client the model that it asked for", () => {
    for (const carrier of carriers) {
      const turns = sent(turnsOf([[message("a"), call("b")], [message("c")]]), carrier)
      const renamed = textOf(answerOf(turns, { model: "fast" }).shown)
      expect(renamed).toBe(textOf(answerOf(turns).shown).replaceAll('"m-1"', '"fast"'))
      expect(renamed).toContain('"fast"')
    }
  })

  it.each(carriers)("used, with `context`, the input of the last and the output of all: %s", (carrier) => {
    const turns = turnsOf([[call("a")], [call("b")], [message("c")]])
    const { shown } = answerOf(sent(turns, carrier), { usage: "context" })
    expect(textOf(shown)).toBe(textOf(framesOf(oneOf(turns, usage(300, 20, 24, 3)), carrier)))
  })

  it("used what the others did where one does not say", () => {
    const [first, last] = turnsOf([[call("a")], [message("b")]]) as [Turn, Turn]
    for (const [turns, used] of [
      [[first, { ...last, usage: null }], first.usage],
      [[{ ...first, usage: null }, last], last.usage],
      [
        [
          { ...first, usage: null },
          { ...last, usage: null }
        ],
        null
      ]
    ] as const) {
      expect(textOf(answerOf(sent(turns, "sse")).shown)).toBe(textOf(framesOf(oneOf(turns, used ?? null))))
    }
  })

  it("go on from their own output, injected calls and all, without holes", () => {
    const items = [reasoning("a"), message("b"), call("c"), call("d")]
    const texts = items.map((item) => JSON.stringify(item))
    for (const carrier of carriers) {
      for (const emptyOutput of carrier === "json" ? [false] : [false, true]) {
        const turns = [
          { id: "r", items, emptyOutput },
          { id: "s", items: [message("e")] }
        ]
        expect(answerOf(sent(turns, carrier)).continued).toEqual([texts])
      }
    }
    const holes = whole("body", Buffer.from(`{"status":"completed","output":[null, ${texts.join(" , ")} ,null]}`))
    expect(answerOf([[holes]]).continued).toEqual([texts])
  })

  it("have every id of a response replaced, and no member that was not there added", () => {
    const first = framesOf({ id: "resp_1", items: [call("a")] })
    const later = [
      sse("response.x.delta", '{"response_id" : "resp_2","output_index":0 ,"sequence_number": 2}'),
      sse("response.steered", '{"response":{"id": "resp_2", "x":1e2}}'),
      sse("keepalive", '{"type":"keepalive","sequence_number":9}'),
      sse("codex.rate_limits", '{"a":1}'),
      sse("response.completed", '{"response":{"id":"resp_2","output":[ ]}}')
    ]
    const { shown } = answerOf([first, later])
    expect(textOf(shown.slice(2))).toBe(
      'event: response.x.delta\ndata: {"response_id" : "resp_1","output_index":0 ,"sequence_number": 2}\n\n' +
        'event: response.steered\ndata: {"response":{"id": "resp_1", "x":1e2}}\n\n' +
        'event: keepalive\ndata: {"type":"keepalive","sequence_number":2}\n\n' +
        'event: codex.rate_limits\ndata: {"a":1}\n\n' +
        'event: response.completed\ndata: {"response":{"id":"resp_1","output":[ ]}}\n\n'
    )
  })

  it("leave the places to items that were never finished", () => {
    const item = { type: "response.output_item.done", output_index: 2, item: message("a") }
    const first = [
      ...framesOf({ id: "r", items: [call("x")] }).slice(2, -1),
      sse(item.type, JSON.stringify(item)),
      sse("response.completed", '{"response":{"id":"r","output":[]}}')
    ]
    const { shown } = answerOf([first, framesOf({ id: "s", items: [message("c")] })])
    const places = shown.map((frame) => (frame.json as { output_index?: number }).output_index)
    expect(places).toEqual([1, ...Array<number>(7).fill(2), undefined])
  })

  it("end, over WebSocket, with an error too", () => {
    const error = whole("message", Buffer.from('{"type":"error","status":400,"sequence_number":0}'))
    const { shown } = answerOf([framesOf({ id: "r", items: [call("b")] }, "ws"), [error]])
    expect(shown.at(-1)!.terminal).toBe(true)
    expect(textOf(shown.slice(-1))).toBe('{"type":"error","status":400,"sequence_number":2}\n')
  })

  it("join the text that some servers add to a body", () => {
    const body = (text: string, item: Item) =>
      whole(
        "body",
        Buffer.from(JSON.stringify({ id: "r", status: "completed", output: [message(text), item], output_text: text }))
      )
    const { shown } = answerOf([[body("a", call("x"))], [body("b", reasoning("y"))]])
    expect(shown[0]!.json).toMatchObject({ output_text: "ab", output: [message("a"), message("b"), reasoning("y")] })
  })

  it("leave an error in the place of a later body as it is", () => {
    const error = whole("body", Buffer.from('{"error":{"message":"no"}}'))
    const { shown } = answerOf([framesOf({ id: "r", items: [message("a"), call("b")] }, "json"), [error]])
    expect(textOf(shown)).toBe('{"error":{"message":"no"}}')
  })
})

describe("numbers between and behind turns", () => {
  const first = framesOf({ id: "resp_1", items: [call("a"), message("b")] })
  const second = framesOf({ id: "resp_2", items: [message("c")] })
  // Two events that begin the answer, and seven of the message.
  const lastOfFirst = 8
  const kept = (n: number) => `event: keepalive\ndata: {"type":"keepalive","sequence_number":${n}}\n\n`
  const failed = (writer: ReturnType<typeof answerOf>["writer"]) => {
    const out: Array<Frame> = []
    writer.fail(gatewayError(502, "c", "m"), "sse", out)
    return (out[0]!.json as { sequence_number: number }).sequence_number
  }

  it("repeat the last that was shown while tools run, and count from it in an error", () => {
    const { writer } = answerOf([first])
    expect(textOf([writer.keepAlive("sse")!])).toBe(kept(lastOfFirst))
    expect(failed(writer)).toBe(lastOfFirst + 1)
  })

  it("go on in the next turn, and count what was shown of it", () => {
    for (let shown = 0; shown < second.length; shown++) {
      const { writer } = answerOf([first, second.slice(0, shown)])
      const last = lastOfFirst + Math.max(0, shown - 2)
      expect(textOf([writer.keepAlive("sse")!])).toBe(kept(last))
      expect(failed(writer)).toBe(last + 1)
    }
  })
})

describe("OpenAI's SDK", () => {
  const sdk = (frames: ReadonlyArray<Frame>, type: string) =>
    new OpenAI({
      apiKey: "none",
      baseURL: "http://127.0.0.1:1/v1",
      maxRetries: 0,
      fetch: async () => new Response(textOf(frames), { headers: { "content-type": type } })
    })

  it.each(conversations)("accepts the stream, and makes of it what comes as a body: %s", async (_, items) => {
    const turns = turnsOf(items)
    const stream = sdk(answerOf(sent(turns, "sse")).shown, "text/event-stream").responses.stream({
      model: "m",
      input: "x"
    })
    const seen: Array<number> = []
    for await (const event of stream) seen.push(event.sequence_number)
    expect(seen).toEqual(seen.map((_number, i) => i))
    const streamed = await stream.finalResponse()
    const asked = { model: "m", input: "x" }
    const parsed = await sdk(answerOf(sent(turns, "json")).shown, "application/json").responses.parse(asked)
    const { _request_id, ...body } = parsed as typeof parsed & { _request_id?: unknown }
    expect(JSON.parse(JSON.stringify(streamed))).toEqual(JSON.parse(JSON.stringify(body)))
    expect(streamed.output.map((item) => item.id)).toEqual(
      items
        .flat()
        .filter((item) => !isInjected(item))
        .map((item) => item.id)
    )
  })
})

it("an event that says its place twice says it twice the same", () => {
  const twice = sse(
    "response.x",
    '{"type":"response.x","sequence_number":1,"output_index":0,"response_id":"r2","n":{"output_index":5},"response_id":"r2","sequence_number":2,"output_index":0}'
  )
  const first = framesOf({ id: "r1", items: [message("m"), call("a")] })
  const second = framesOf({ id: "r2", items: [message("b")] })
  const { shown } = answerOf([first, [...second.slice(0, 2), twice, ...second.slice(2)]])
  expect(shown.find((frame) => frame.event === "response.x")!.data).toBe(
    '{"type":"response.x","sequence_number":9,"output_index":1,"response_id":"r1","n":{"output_index":5},"response_id":"r1","sequence_number":9,"output_index":1}'
  )
})
