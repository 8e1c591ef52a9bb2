import { describe, expect, it } from "vitest"
import { output } from "../../../src/dialect/anthropic-messages/Blocks.ts"
import { Frame, whole } from "../../../src/wire/Frame.ts"
import {
  begin,
  type Block,
  bodyOf,
  call,
  close,
  delta,
  event,
  framesOf,
  injected,
  read,
  say,
  streamOf,
  textOf,
  think,
  type Turn
} from "./Turns.ts"

const one = call("t1", "bmcp_a_one", { x: "ü 👋" })
const two = call("t2", "bmcp_a_two")
const mine = call("c1", "read", { path: "a" })
const other = call("c2", "write", {})

const isInjected = (block: Block): boolean => block.type === "tool_use" && injected.has(String(block.name))

/** The turn as if its injected calls had not been made. */
const without = (turn: Turn): Turn => ({
  stop: "tool_use",
  ...turn,
  blocks: turn.blocks.filter((block) => !isInjected(block))
})

const search: ReadonlyArray<Block> = [
  { type: "server_tool_use", id: "s", name: "web_search", input: { query: "q" } },
  { type: "web_search_tool_result", tool_use_id: "s", content: [{ encrypted_content: "e" }] }
]

/** All orders of some blocks. */
const orders = (blocks: ReadonlyArray<Block>): ReadonlyArray<ReadonlyArray<Block>> =>
  blocks.length < 2
    ? [blocks]
    : blocks.flatMap((first, place) => orders(blocks.toSpliced(place, 1)).map((rest) => [first, ...rest]))

const turns: ReadonlyArray<readonly [string, Turn]> = [
  ["no text before it", { blocks: [one] }],
  ["text, then a call", { blocks: [say("I look."), one] }],
  ["a thought, then a call", { blocks: [think("hm", "EqQB+/=="), one] }],
  ["a thought, text, and a call", { blocks: [think("hm", "EqQB+/=="), say("I look."), one] }],
  ["two calls at once", { blocks: [one, two] }],
  ["text between and behind calls", { blocks: [one, say("and"), two, say("so"), think("x", "y")] }],
  ["tools of the provider beside it", { blocks: [...search, one, ...search, say("x")] }],
  ["a pause", { blocks: [say("x"), one, ...search], stop: "pause_turn" }],
  ["the end of the answer", { blocks: [one], stop: "end_turn" }],
  ["a stop sequence", { blocks: [one, say("x")], stop: "stop_sequence" }],
  ["no reason to stop", { blocks: [one, say("x")], stop: null }],
  ...orders([say("a"), one, mine, two, other]).map((blocks) => {
    return [blocks.map((block) => String(block.name ?? block.text)).join(" "), { blocks }] as const
  })
]

describe("a turn with injected calls", () => {
  it.each(turns)("is shown as if they had not been made, and its end held: %s", (_name, turn) => {
    const { out, reader } = read(framesOf(streamOf(turn)))
    expect(reader.holding).toBe(true)
    expect(reader.outcome).toBe("completed")
    expect(reader.ended).toBe(true)
    const expected = streamOf(without(turn))
    const end = expected.indexOf("event: message_delta")
    expect(textOf(out)).toBe(expected.slice(0, end))
    const released: Array<Frame> = []
    reader.release(released)
    expect(textOf(released)).toBe(expected.slice(end))
    expect(reader.holding).toBe(false)
  })

  it.each(turns)("is held whole where it is a body: %s", (_name, turn) => {
    const { out, reader } = read([whole("body", Buffer.from(bodyOf(turn)))])
    expect([out.length, reader.holding, reader.outcome]).toEqual([0, true, "completed"])
    reader.release(out)
    expect(textOf(out)).toBe(bodyOf(without(turn)))
    expect([out[0]!.terminal, reader.holding]).toEqual([true, false])
  })

  it("says of each call who runs it", () => {
    const blocks = [...search, one, mine, { type: "mcp_tool_use", id: "m", name: "bmcp_a_one", input: {} }]
    for (const frames of [framesOf(streamOf({ blocks })), [whole("body", Buffer.from(bodyOf({ blocks })))]]) {
      const { toolCalls } = read(frames).reader.summary()
      expect(toolCalls.map(({ callId, runner }) => [callId, runner])).toEqual([
        ["s", "provider"],
        ["t1", "gateway"],
        ["c1", "client"],
        ["m", "provider"]
      ])
      expect(JSON.parse(toolCalls[1]!.arguments)).toEqual({ x: "ü 👋" })
    }
  })

  it("has all its arguments wherever they are cut", () => {
    const text = '{"path":"a \\"b\\" \\u00fc","n":[1.0e2,{}]}'
    for (let cut = 0; cut <= text.length; cut++) {
      const said = [text.slice(0, cut), text.slice(cut)].map((partial_json) =>
        delta(1, { type: "input_json_delta", partial_json })
      )
      const events = [begin(0, say("")), close(0), begin(1, call("t", "bmcp_a_one")), ...said, close(1)].join("")
      const { out, reader } = read(framesOf(events))
      expect(reader.summary().toolCalls[0]!.arguments).toBe(text)
      expect(textOf(out)).toBe(begin(0, say("")) + close(0))
    }
  })

  it.each([["max_tokens"], ["model_context_window_exceeded"], ["refusal"]])(
    "shows its end at once where it stopped by %s, without the calls",
    (stop) => {
      const turn: Turn = { blocks: [say("a"), one, mine, two], stop }
      const stream = read(framesOf(streamOf(turn)))
      expect([stream.reader.holding, textOf(stream.out)]).toEqual([false, streamOf(without(turn))])
      const body = read([whole("body", Buffer.from(bodyOf(turn)))])
      expect([body.reader.holding, textOf(body.out)]).toEqual([false, bodyOf(without(turn))])
    }
  )

  it("holds from the reason to stop on, and lets keep-alives through", () => {
    const stream = streamOf({ blocks: [one] })
    const stop = stream.indexOf("event: message_stop")
    const ping = 'event: ping\ndata: {"type": "ping"}\n\n: a comment\n\n'
    const unknown = event({ type: "future" })
    const { out, reader } = read(framesOf(stream.slice(0, stop) + ping + unknown + stream.slice(stop)))
    expect(textOf(out)).toBe(stream.slice(0, stream.indexOf("event: content_block_start")) + ping)
    reader.release(out)
    expect(textOf(out).endsWith(unknown + stream.slice(stop))).toBe(true)
  })

  it.each([
    ["an error", event({ type: "error", error: { message: "Overloaded" } }), "failed"],
    ["an error that is no JSON", "event: error\ndata: oh\n\n", "failed"],
    ["nothing", "", null]
  ])("holds nothing where behind its reason to stop there is %s", (_name, last, outcome) => {
    const stream = streamOf(without({ blocks: [one] }))
    const stop = stream.indexOf("event: message_stop")
    const cut = streamOf({ blocks: [one] })
    const { out, reader } = read(framesOf(cut.slice(0, cut.indexOf("event: message_stop")) + last))
    expect([reader.holding, reader.outcome]).toEqual([false, outcome])
    expect(textOf(out)).toBe(stream.slice(0, stop) + last)
  })

  it("has no end to hold before it is said why it stopped", () => {
    const silent = event({ type: "message_delta", delta: { stop_reason: null }, usage: { output_tokens: 1 } })
    const said = event({ type: "message_delta", delta: { stop_reason: "tool_use" }, usage: { output_tokens: 2 } })
    expect(read(framesOf(begin(0, one) + close(0) + silent)).reader.holding).toBe(false)
    const { out, reader } = read(framesOf(begin(0, one) + close(0) + silent + said + event({ type: "message_stop" })))
    expect([reader.holding, out]).toEqual([true, []])
    reader.release(out)
    expect(textOf(out)).toBe(silent + said + event({ type: "message_stop" }))
  })

  it("numbers blocks behind the highest that was shown, in whatever order they began", () => {
    const events = begin(1, say("")) + begin(0, say("")) + begin(2, one) + begin(3, say(""))
    expect(textOf(read(framesOf(events)).out)).toBe(begin(1, say("")) + begin(0, say("")) + begin(2, say("")))
  })

  it("holds an end that has no blank line behind it", () => {
    const stream = streamOf({ blocks: [one] })
    const { out, reader } = read(framesOf(stream.slice(0, -1)))
    expect([reader.holding, reader.outcome]).toEqual([true, "completed"])
    reader.release(out)
    expect(textOf(out).endsWith('{"type":"message_stop"}\n')).toBe(true)
  })

  it("keeps blocks apart that are open at once", () => {
    const text = (index: number, said: string) => delta(index, { type: "text_delta", text: said })
    const input = (index: number) => delta(index, { type: "input_json_delta", partial_json: "{}" })
    const events = [
      begin(0, say("")),
      begin(1, one),
      text(0, "a"),
      input(1),
      begin(2, say("")),
      text(2, "b"),
      close(1),
      text(0, "c"),
      text(2, "d"),
      close(0),
      close(2)
    ].join("")
    const shown = [
      begin(0, say("")),
      text(0, "a"),
      begin(1, say("")),
      text(1, "b"),
      text(0, "c"),
      text(1, "d"),
      close(0),
      close(1)
    ].join("")
    expect(textOf(read(framesOf(events)).out)).toBe(shown)
  })

  it("shows what has no place among the blocks as it is", () => {
    const late = `${delta(7, { type: "text_delta", text: "a" }) + event({ type: "future", index: 0 })}data:\n\n`
    expect(textOf(read(framesOf(begin(0, one) + late)).out)).toBe(late)
  })

  it("changes only the index of an event, however it is written", () => {
    const spaced = 'data: { "index" : 1,\ndata:  "type":"content_block_delta", "delta":{"n":1.0e2} }\n\n'
    const { out } = read(framesOf(begin(0, one) + begin(1, say("")) + spaced))
    expect(textOf(out)).toBe(begin(0, say("")) + spaced.replace("1,", "0,"))
  })
})

describe("injected tools that are not called", () => {
  const blocks = [think("hm", "s"), say("a"), mine, ...search, say('"bmcp_a_one"')]

  it.each(["tool_use", "end_turn", "max_tokens", "refusal", null])("cost no byte: %s", (stop) => {
    const frames = framesOf(streamOf({ blocks, stop }))
    const { out, reader } = read(frames)
    expect(out).toEqual(frames)
    expect(out.every((frame, place) => frame === frames[place])).toBe(true)
    expect(reader.holding).toBe(false)
    const body = whole("body", Buffer.from(bodyOf({ blocks, stop })))
    expect(read([body]).out[0]).toBe(body)
  })

  it("leave unread what nobody looks into", () => {
    const frames = framesOf(streamOf({ blocks }))
    read(frames)
    const texts = frames.filter((frame) => frame.bytes.includes("text_delta"))
    expect(texts.length).toBeGreaterThan(3)
    expect(texts.every((frame) => frame.peek === undefined)).toBe(true)
  })

  it("are the client's where none were injected", () => {
    const frames = framesOf(streamOf({ blocks: [one] }))
    const { out, reader } = read(frames, new Set())
    expect(out).toEqual(frames)
    expect(reader.summary().toolCalls[0]!.runner).toBe("client")
  })
})

describe("the ids that calls are answered by", () => {
  const nameless = { type: "tool_use", name: "bmcp_a_one", input: {} }
  const turn: Turn = { blocks: [one, { ...two, id: "t1" }, nameless, { ...nameless, id: "" }, say("x")] }

  it.each([
    ["a stream", framesOf(streamOf(turn))],
    ["a body", [whole("body", Buffer.from(bodyOf(turn)))]]
  ])("are each another one, and go back upstream with the calls: %s", (_name, frames) => {
    const ids = read(frames)
      .reader.summary()
      .toolCalls.map((seen) => seen.callId)
    expect(ids).toEqual(["t1", "t1_2", "call_2", "call_3"])
    const { content } = JSON.parse(output(frames)![0]!) as { content: ReadonlyArray<Block> }
    expect(content.slice(0, 4).map((block) => block.id)).toEqual(ids)
  })

  it("are the client's own for its calls", () => {
    const { reader } = read(framesOf(streamOf({ blocks: [one, { ...mine, id: "t1" }] })))
    expect(reader.summary().toolCalls.map((seen) => seen.callId)).toEqual(["t1", "t1"])
  })
})

describe("what is held of an end", () => {
  const begun = streamOf({ blocks: [one] }).split("event: message_stop")[0]!
  const odd = 'event: unknown\ndata: {"type":"unknown"}\n\n'

  it("is no ping, whatever its event is called", () => {
    const ping = 'data: {"type":"ping"}\n\n'
    const { out, reader } = read(framesOf(begun + ping.repeat(2000)))
    expect(textOf(out)).toContain(ping.repeat(2000))
    const before = textOf(out).indexOf(ping)
    expect(before).toBeLessThan(textOf(out).indexOf("message_delta"))
    expect(reader.malformed).toBe(null)
  })

  it("is at most a thousand frames: a turn with more is broken", () => {
    const { reader } = read(framesOf(begun + odd.repeat(999)))
    expect([reader.malformed, reader.holding]).toEqual([null, false])
    expect(read(framesOf(begun + odd.repeat(1000))).reader.malformed).toBe("it does not end behind its end")
  })

  it("is at most a mebibyte", () => {
    const large = `event: unknown\ndata: {"type":"unknown","x":"${"y".repeat(6e5)}"}\n\n`
    expect(read(framesOf(begun + large)).reader.malformed).toBe(null)
    expect(read(framesOf(begun + large + large)).reader.malformed).toBe("it does not end behind its end")
  })
})

describe("a part of an event too large to read", () => {
  const bytes = Buffer.from("event: content_block_delta\ndata: {")
  const part = new Frame(bytes, 0, bytes.length, "part", "", 0, 0, 0)

  it("goes on as long as no injected call was made, and breaks the turn behind one", () => {
    const { out, reader } = read([...framesOf(begin(0, say(""))), part])
    expect(out.at(-1)).toBe(part)
    expect(reader.malformed).toBe(null)
    out.length = 0
    for (const frame of [...framesOf(begin(1, { ...one, input: {} })), part]) reader.push(frame, out)
    expect(out).toEqual([])
    expect(reader.malformed).toBe("an event of it is too large to be read")
  })
})
