import { MessageStream } from "@anthropic-ai/sdk/lib/MessageStream"
import { describe, expect, it } from "vitest"
import type { Frame } from "../../../src/wire/Frame.ts"
import {
  answered,
  begin,
  type Block,
  bodies,
  call,
  delta,
  event,
  framesOf,
  injected,
  say,
  streamed,
  streamOf,
  textOf,
  think,
  type Turn
} from "./Turns.ts"

const one = call("t1", "bmcp_a_one", { x: 1 })
const two = call("t2", "bmcp_a_two")
const mine = call("c1", "read", { path: "a" })
const search: ReadonlyArray<Block> = [
  { type: "server_tool_use", id: "s", name: "web_search", input: { query: "q" } },
  { type: "web_search_tool_result", tool_use_id: "s", content: [{ encrypted_content: "e" }] }
]

const conversations: ReadonlyArray<readonly [string, ReadonlyArray<Turn>]> = [
  ["a call, then text", [{ blocks: [one] }, { blocks: [say("done")] }]],
  ["text, a call, text", [{ blocks: [say("I look."), one] }, { blocks: [say("done")] }]],
  [
    "a thought and two calls, then a thought and text",
    [{ blocks: [think("hm", "s1"), one, two] }, { blocks: [think("ah", "s2"), say("done")] }]
  ],
  [
    "three turns",
    [
      { blocks: [say("a"), one, say("b")] },
      { blocks: [two, say("c"), one, say("d")] },
      { blocks: [say("e"), ...search, say("f")] }
    ]
  ],
  ["a turn with a client's call at its end", [{ blocks: [say("a"), one] }, { blocks: [say("b"), two, mine] }]],
  ["one turn with calls of both", [{ blocks: [say("a"), one, mine, two] }]],
  ["an incomplete turn at the end", [{ blocks: [say("a"), one] }, { blocks: [say("b"), two], stop: "max_tokens" }]],
  ["tools of the provider and a pause", [{ blocks: [...search, one], stop: "pause_turn" }, { blocks: [...search] }]],
  ["an answer without any block", [{ blocks: [one] }, { blocks: [] }]],
  ["ten turns", [...Array.from({ length: 9 }, (_, n) => ({ blocks: [say(`${n}`), one] })), { blocks: [say("x")] }]]
]

/** What the official SDK makes of a stream. */
const accumulated = async (frames: ReadonlyArray<Frame>): Promise<unknown> => {
  const lines = framesOf(textOf(frames)).filter((frame) => frame.event !== "ping")
  const encoded = lines.map((frame) => Buffer.from(`${JSON.stringify(frame.json)}\n`))
  const message = await MessageStream.fromReadableStream(ReadableStream.from(encoded)).finalMessage()
  // What the SDK itself makes of text.
  return JSON.parse(JSON.stringify({ ...message, parsed_output: undefined }))
}

const bodyOfAnswer = (turns: ReadonlyArray<Turn>, options = {}): unknown => {
  const shown = answered(bodies(turns), options)
  expect(shown).toHaveLength(1)
  return shown[0]!.json
}

describe("several turns as one answer", () => {
  it.each(conversations)("is for the official SDK the same message, streamed or not: %s", async (_name, turns) => {
    const shown = answered(streamed(turns))
    const message = await accumulated(shown)
    const blocks = turns.flatMap((turn) => turn.blocks).filter((block) => !injected.has(String(block.name)))
    const count = turns.length
    expect(message).toMatchObject({
      id: "msg_0",
      content: blocks,
      usage: { input_tokens: 10 * count, output_tokens: 5 * count }
    })
    expect(bodyOfAnswer(turns)).toEqual(message)
  })

  it.each(conversations)("has one beginning, one end, and every index once: %s", (_name, turns) => {
    const shown = answered(streamed(turns))
    const of = (type: string) => shown.filter((frame) => frame.event === type)
    expect(shown[0]!.event).toBe("message_start")
    expect(of("message_start")).toHaveLength(1)
    expect(of("message_delta")).toHaveLength(1)
    expect(of("message_stop")).toEqual([shown.at(-1)])
    expect(shown.filter((frame) => frame.terminal)).toEqual([shown.at(-1)])
    const starts = of("content_block_start").map((frame) => (frame.json as { index: number }).index)
    expect(starts).toEqual(starts.map((_, place) => place))
    expect(textOf(shown)).not.toContain("bmcp_a_")
  })

  it.each(conversations)("carries the client's name of the model: %s", (_name, turns) => {
    expect(bodyOfAnswer(turns, { model: "fast" })).toMatchObject({ model: "fast" })
    const shown = textOf(answered(streamed(turns), { model: "fast" }))
    expect([shown.split('"model":"fast"').length, shown.includes('"model":"claude"')]).toEqual([2, false])
  })

  it("is what came, byte for byte, where there is one turn", () => {
    const turn: Turn = { blocks: [think("hm", "s"), say("a"), mine, ...search] }
    const frames = framesOf(streamOf(turn))
    expect(textOf(answered([frames]))).toBe(textOf(frames))
    const [body] = bodies([turn])
    expect(answered([body!])[0]).toBe(body![0])
  })

  it("keeps every byte of later turns but indexes and usage", () => {
    const spaced = 'event: x\ndata: { "type":"content_block_delta", "index" : 0, "delta":{"n":1.0e2} }\nid: 7\n\n'
    const unknown = event({ type: "future", index: 0 })
    const ping = 'event: ping\ndata: {"type": "ping"}\n\n'
    const text = delta(0, { type: "text_delta", text: "a" })
    const failed = event({ type: "error", error: { message: "Overloaded" } })
    const later = `${begin(0, say("")) + spaced + unknown + ping}: c\n\n${text}${failed}`
    const first = framesOf(streamOf({ blocks: [say("a"), one] }))
    const shown = textOf(answered([first, framesOf(event({ type: "message_start", message: {} }) + later)]))
    const raised = `${begin(1, say("")) + spaced.replace("0,", "1,") + unknown + ping}: c\n\n`
    expect(shown.slice(shown.indexOf("event: content_block_stop"))).toBe(
      event({ type: "content_block_stop", index: 0 }) + raised + text.replace('"index":0', '"index":1') + failed
    )
  })

  it("shows an error that comes in the place of a later body as it is", () => {
    const [first] = bodies([{ blocks: [one] }])
    const error = '{"type":"error","error":{"type":"api_error","message":"x"}}'
    const frames = framesOf(`data: ${error}\n\n`)
    expect(textOf(answered([first!, frames]))).toBe(`data: ${error}\n\n`)
  })

  it("keeps the bytes of a body outside the members that it changes", () => {
    const block = '{ "type":"text", "n":1.0e2 }'
    const [first] = bodies([{ id: "first", blocks: [one] }])
    const last = `{ "x" : 1.0, "id":"last","content":[ ${block} ], "usage":{"input_tokens":1} }`
    const frames = framesOf(`data: ${last}\n\n`)
    const [body] = bodies([{ blocks: [] }])
    const shown = answered([first!, [body![0]!.withData(frames[0]!.dataBytes)]])
    expect(textOf(shown)).toBe(
      `{ "x" : 1.0, "id":"first","content":[ ${block} ], "usage":{"input_tokens":11,"output_tokens":5},"model":"claude" }`
    )
  })
})

describe("the usage of several turns", () => {
  const cached = {
    input_tokens: 1,
    cache_creation_input_tokens: 20,
    cache_read_input_tokens: 300,
    cache_creation: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 0 },
    output_tokens: 4,
    server_tool_use: { web_search_requests: 1 },
    service_tier: "standard"
  }
  const later = { ...cached, input_tokens: 2, cache_read_input_tokens: 320, output_tokens: 5 }
  const turns: ReadonlyArray<Turn> = [
    { blocks: [say("a"), one], usage: cached, endUsage: { output_tokens: 4, server_tool_use: cached.server_tool_use } },
    { blocks: [say("b")], usage: later, endUsage: { output_tokens: 5, server_tool_use: cached.server_tool_use } }
  ]
  const output = { output_tokens: 9, server_tool_use: { web_search_requests: 2 } }

  it.each([
    [
      "sum",
      {
        input_tokens: 3,
        cache_creation_input_tokens: 40,
        cache_read_input_tokens: 620,
        cache_creation: { ephemeral_5m_input_tokens: 40, ephemeral_1h_input_tokens: 0 },
        ...output
      }
    ],
    [
      "context",
      {
        input_tokens: 2,
        cache_creation_input_tokens: 20,
        cache_read_input_tokens: 320,
        cache_creation: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 0 },
        ...output
      }
    ]
  ] as const)("is told by %s, the input at the end of a stream too", async (usage, expected) => {
    expect(bodyOfAnswer(turns, { usage })).toMatchObject({ usage: { ...expected, service_tier: "standard" } })
    const shown = answered(streamed(turns), { usage })
    const end = shown.find((frame) => frame.event === "message_delta")!.json
    expect(end).toMatchObject({ usage: expected })
    // The SDK knows of no `cache_creation` at the end of a stream.
    const { cache_creation: _, ...counts } = expected
    expect(await accumulated(shown)).toMatchObject({ usage: counts })
  })

  it("of input that the last turn has none of is nought, lest clients keep that of the first", async () => {
    const last = { blocks: [say("b")], usage: { input_tokens: 2, output_tokens: 1, cache_read_input_tokens: null } }
    const shown = answered(streamed([turns[0]!, last]), { usage: "context" })
    expect(await accumulated(shown)).toMatchObject({
      usage: { input_tokens: 2, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 5 }
    })
  })

  it("is told where the end of the last turn says nothing of it", async () => {
    const start = streamOf({ blocks: [say("b")] })
    const silent = start.replace(/,"usage":\{[^}]*\}\}\n\nevent: message_stop/, "}\n\nevent: message_stop")
    expect(silent).not.toBe(start)
    const shown = answered([framesOf(streamOf({ blocks: [one] })), framesOf(silent)])
    expect(await accumulated(shown)).toMatchObject({ usage: { input_tokens: 20, output_tokens: 6 } })
  })
})
