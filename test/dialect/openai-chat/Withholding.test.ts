import { describe, expect, it } from "vitest"
import { openAiChat } from "../../../src/dialect/openai-chat/OpenAiChat.ts"
import { Frame } from "../../../src/wire/Frame.ts"
import { Random } from "../../wire/Random.ts"
import {
  accumulate,
  asked,
  bytesOf,
  call,
  chunk,
  chunksOf,
  delta,
  done,
  finish,
  framesOf,
  injected,
  read,
  role,
  text,
  usage,
  usageChunk
} from "./Turns.ts"

const end = finish("tool_calls") + usageChunk(5, 3) + done

/** The pieces of calls that are shown. */
const piecesIn = (stream: string) =>
  chunksOf(stream).flatMap((one) =>
    (one.choices as Array<{ delta: { tool_calls?: Array<Record<string, unknown>> } }>).flatMap(
      (choice) => choice.delta.tool_calls ?? []
    )
  )

describe("a turn without injected calls", () => {
  it.each([
    ["text", role + text("a") + text("b") + finish("stop") + usageChunk(1, 2) + done],
    ["a call", role + call(0, "mine") + end],
    ["two calls", role + call(0, "mine") + call(1, "yours") + end],
    ["odd indexes", role + call(3, "mine") + call(7, "yours") + call(5, "theirs") + end],
    ["the index 0 for all", call(0, "mine", "{}", 1, "a") + call(0, "yours", "{}", 1, "b") + end],
    ["a call without index and id", delta({ tool_calls: [{ function: { name: "mine", arguments: "{}" } }] }) + end],
    ["comments", `: hello\n\n${role}: more\n\n${call(0, "mine")}: more\n\n${end}`],
    ["the old function_call by an injected name", delta({ function_call: { name: "bmcp_a", arguments: "" } }) + end],
    [
      "another choice",
      chunk({ choices: [{ index: 1, delta: { tool_calls: [{ index: 0, id: "x", function: { name: "mine" } }] } }] })
    ],
    [
      "a name that comes late",
      delta({ tool_calls: [{ index: 0, id: "x", function: { arguments: "{" } }] }) +
        `: wait\n\n${text("b")}` +
        delta({ tool_calls: [{ index: 0, function: { name: "mine", arguments: "}" } }] }) +
        end
    ],
    [
      "a name that never comes",
      delta({ tool_calls: [{ index: 0, id: "x", function: { arguments: "{" } }] }) + text("b") + end
    ],
    ["no finish reason", text("a") + done],
    ["no [DONE]", text("a") + finish("stop")],
    ["an error", `${text("a")}data: {"error":{"message":"no"}}\n\n`],
    [
      "a body",
      '{ "id":"c", "choices":[{"message":{"tool_calls":[{"id":"x","function":{"name":"mine","arguments":""}}]}}]}'
    ],
    ["a body with no calls", '{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}']
  ])("goes on byte by byte: %s", (_name, stream) => {
    const { shown, held, holding } = read(stream)
    expect(shown).toBe(stream)
    expect(held).toEqual([])
    expect(holding).toBe(false)
  })

  it("does not wait for anything but a name", () => {
    const { live, frames } = read(role + text("a") + call(0, "mine") + finish("tool_calls"))
    expect(live).toEqual(frames)
  })
})

describe("injected calls", () => {
  const own = delta({
    tool_calls: [{ index: 0, id: "call_mine_1", type: "function", function: { name: "mine", arguments: "{}" } }]
  })

  it.each([
    ["no preamble", role + call(0, "bmcp_a") + end, role],
    ["no role at all", call(0, "bmcp_a") + end, ""],
    ["a preamble", role + text("Let me see.") + call(0, "bmcp_a") + end, role + text("Let me see.")],
    ["an index that is not 0", role + call(1, "bmcp_a") + end, role],
    ["two at once", role + call(0, "bmcp_a") + call(1, "bmcp_b") + end, role],
    ["the index 0 for both", role + call(0, "bmcp_a") + call(0, "bmcp_b") + end, role],
    ["text behind", role + call(0, "bmcp_a") + text("x") + text("y") + end, role + text("x") + text("y")],
    ["a comment between", `${role + call(0, "bmcp_a")}: hm\n\n${end}`, `${role}: hm\n\n`],
    [
      "the role in the same chunk",
      delta({ role: "assistant", content: null, tool_calls: [{ index: 0, id: "x", function: { name: "bmcp_a" } }] }) +
        end,
      delta({ role: "assistant", content: null })
    ],
    [
      "the role in every chunk",
      role +
        delta({ role: "assistant", content: "", tool_calls: [{ index: 0, id: "x", function: { name: "bmcp_a" } }] }) +
        end,
      role
    ],
    [
      "text in the same chunk",
      role + delta({ content: "x", tool_calls: [{ index: 0, id: "x", function: { name: "bmcp_a" } }] }) + end,
      role + delta({ content: "x" })
    ],
    [
      "id and name in every piece",
      [1, 2, 3]
        .map((at) => delta({ tool_calls: [{ index: 0, id: "x", function: { name: "bmcp_a", arguments: `${at}` } }] }))
        .join("") + end,
      ""
    ],
    [
      "all of a turn in one chunk",
      delta(
        { role: "assistant", content: "x", tool_calls: [{ index: 0, id: "x", function: { name: "bmcp_a" } }] },
        "tool_calls"
      ) + done,
      delta({ role: "assistant", content: "x" })
    ],
    [
      "a name that comes late, and text behind it",
      role +
        delta({ tool_calls: [{ index: 0, id: "x", function: { name: null, arguments: "" } }] }) +
        text("late") +
        delta({ tool_calls: [{ index: 0, function: { name: "", arguments: "{" } }] }) +
        delta({ tool_calls: [{ index: 0, function: { name: "bmcp_a", arguments: "}" } }] }) +
        end,
      role + text("late")
    ],
    [
      "data in several lines",
      `${role}data: {"choices":[{"index":0,\ndata: "delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"bmcp_a"}}]}}]}\n\n${end}`,
      role
    ]
  ])("leave no trace, and hold the end: %s", (_name, stream, live) => {
    const seen = read(stream)
    expect(bytesOf(seen.live)).toBe(live)
    expect(seen.holding).toBe(true)
    expect(seen.held.length).toBeGreaterThan(0)
    expect(seen.shown).not.toContain("bmcp_")
    expect(seen.reader.holding).toBe(false)
    expect(seen.summary.toolCalls.every((one) => one.runner === "gateway")).toBe(true)
  })

  it("hold the finish, the usage and [DONE] as they came", () => {
    expect(bytesOf(read(role + call(0, "bmcp_a") + end).held)).toBe(end)
    const inOne = delta({ tool_calls: [{ index: 0, id: "x", function: { name: "bmcp_a" } }] }, "stop")
    expect(bytesOf(read(inOne + done).held)).toBe(delta({}, "stop") + done)
  })

  it("hold a usage that comes with the last text, which goes on at once", () => {
    const last = chunk({
      choices: [{ index: 0, delta: { content: "x" }, finish_reason: "tool_calls" }],
      usage: usage(1, 2)
    })
    const { live, held } = read(call(0, "bmcp_a") + last + done)
    expect(bytesOf(live)).toBe(chunk({ choices: [{ index: 0, delta: { content: "x" }, finish_reason: null }] }))
    expect(bytesOf(held)).toBe(
      chunk({ choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }], usage: usage(1, 2) }) + done
    )
  })

  it.each(["stop", "tool_calls", "function_call", "end_turn"])("hold what ends with %s", (reason) => {
    expect(read(call(0, "bmcp_a") + finish(reason) + done).holding).toBe(true)
  })

  it.each(["length", "content_filter"])("hold nothing that ends with %s", (reason) => {
    const { live, held, holding, summary } = read(role + call(0, "bmcp_a") + finish(reason) + usageChunk(1, 2) + done)
    expect(bytesOf(live)).toBe(role + finish(reason) + usageChunk(1, 2) + done)
    expect([held, holding, summary.outcome]).toEqual([[], false, "incomplete"])
  })

  it("hold nothing behind an error, whenever it comes", () => {
    const error = 'data: {"error":{"message":"no"}}\n\n'
    const early = read(role + call(0, "bmcp_a") + error)
    expect([bytesOf(early.live), early.holding]).toEqual([role + error, false])
    const late = read(role + call(0, "bmcp_a") + finish("tool_calls") + error)
    expect([bytesOf(late.live), late.holding]).toEqual([role + finish("tool_calls") + error, false])
  })

  it("are held from the finish on, before the turn has ended and where [DONE] never comes", () => {
    const reader = openAiChat.turn({ asked, injected })
    const out: Array<Frame> = []
    const seen = [call(0, "bmcp_a"), finish("tool_calls"), usageChunk(1, 2)].map((stream) => {
      for (const frame of framesOf(stream)) reader.push(frame, out)
      return [reader.outcome, reader.ended, reader.holding]
    })
    expect(seen).toEqual([
      [null, false, false],
      ["completed", false, true],
      ["completed", false, true]
    ])
    reader.end(false, out)
    expect([reader.holding, out]).toEqual([true, []])
  })

  it("are not shown where the stream is cut", () => {
    const whole = role + text("x") + call(0, "bmcp_a")
    for (let at = 0; at <= whole.length; at++) {
      const { shown, holding } = read(whole.slice(0, at), { isCut: true })
      expect(shown).not.toMatch(/tool_calls|bmcp/)
      expect(holding).toBe(false)
    }
  })

  it("may be what a call without a name is when the stream is cut, so only what stands behind it is shown", () => {
    const nameless = delta({ tool_calls: [{ index: 0, id: "x", function: { arguments: "{" } }] })
    expect(read(role + nameless + text("b"), { isCut: true }).shown).toBe(role + text("b"))
  })

  it("take the indexes below the client's calls with them", () => {
    expect(read(role + own + end).shown).toBe(role + own + end)
    const seen = read(role + call(0, "bmcp_a") + call(1, "mine", "{}", 1) + end)
    expect(piecesIn(seen.shown).map((piece) => piece.index)).toEqual([0, 0])
    expect(seen.summary.toolCalls.map((one) => [one.name, one.runner])).toEqual([
      ["bmcp_a", "gateway"],
      ["mine", "client"]
    ])
  })

  it("in one chunk with the client's are taken out of it alone", () => {
    const both = (index: number) => [
      { index, id: "a", type: "function", function: { name: "bmcp_a", arguments: "{}" } },
      { index: index + 1, id: "b", type: "function", function: { name: "mine", arguments: "{}" } }
    ]
    const { shown } = read(delta({ role: "assistant", tool_calls: both(0) }, "tool_calls") + done)
    const left = [{ index: 0, id: "b", type: "function", function: { name: "mine", arguments: "{}" } }]
    expect(shown).toBe(delta({ role: "assistant", tool_calls: left }) + delta({}, "tool_calls") + done)
  })

  it("that share their index with one of the client's leave the indexes behind it alone", () => {
    const stream = call(0, "bmcp_a", "{}", 1) + call(0, "mine", "{}", 1) + call(1, "yours", "{}", 1)
    expect(piecesIn(read(stream + end).shown).map((piece) => piece.index)).toEqual([0, 0, 1, 1])
  })

  it("whose name comes late keep back text that came before and goes on, in its order", () => {
    const nameless = delta({ tool_calls: [{ index: 0, id: "x", function: { arguments: "" } }] })
    const named = delta({ tool_calls: [{ index: 0, function: { name: "mine" } }] })
    const stream = role + text("a") + text("b") + nameless + text("c") + named + text("d") + end
    expect(read(stream).shown).toBe(stream)
  })

  it("do not change the index of a call that was shown before", () => {
    const late = call(2, "mine", "{}", 1) + call(1, "bmcp_a") + call(3, "yours", "{}", 1)
    const more = delta({ tool_calls: [{ index: 2, function: { arguments: " " } }] })
    expect(piecesIn(read(late + more + end).shown).map((piece) => piece.index)).toEqual([2, 2, 3, 3, 2])
  })

  const orders = [..."01234567"].flatMap((_, bits) =>
    [2, 3].map((count) => Array.from({ length: count }, (_, at) => ((bits >> at) & 1 ? "mine" : "bmcp_a")))
  )
  it.each(orders.map((names) => [names]))(
    "mixed with the client's leave a stream that SDKs can read: %j",
    async (names) => {
      const args = (at: number) => JSON.stringify({ at, text: 'é😀"\\' })
      const stream = role + text("x") + names.map((name, at) => call(at, name, args(at), 3)).join("") + end
      const { shown, holding } = read(stream)
      expect(holding).toBe(names.includes("bmcp_a"))
      expect(shown).not.toContain("bmcp_")
      const mine = names.map((name, at) => ({ name, arguments: args(at) })).filter(({ name }) => name === "mine")
      const message = (await accumulate(shown)).choices[0]!.message
      expect(message.content).toBe("x")
      expect((message.tool_calls ?? []).map((one) => (one.type === "function" ? one.function : null))).toMatchObject(
        mine
      )
      expect(message.tool_calls?.length ?? 0).toBe(mine.length)
    }
  )

  it("are read the same however their arguments are cut", () => {
    const args = JSON.stringify({ a: 'é😀"\\ {}[],:', b: [1, 2, { c: null }] })
    const all = read(role + call(0, "bmcp_a", args, 1) + call(1, "mine", args, 1) + end)
    for (let count = 2; count <= args.length; count++) {
      const { summary, shown } = read(role + call(0, "bmcp_a", args, count) + call(1, "mine", args, 1) + end)
      expect(summary.toolCalls).toEqual(all.summary.toolCalls)
      expect(shown).toBe(all.shown)
    }
  })

  it("are read the same however the bytes are cut", () => {
    const stream = `${role}: hm\n\n${text("é😀")}${call(0, "bmcp_a", '{"é":"😀"}')}${call(1, "mine")}${call(2, "bmcp_b")}${end}`
    const all = read(stream)
    for (let at = 1; at < Buffer.byteLength(stream); at += 3) {
      const cut = (bytes: Buffer) => [bytes.subarray(0, at), bytes.subarray(at)]
      expect(read(stream, { cut }).shown).toBe(all.shown)
    }
    for (let seed = 0; seed < 100; seed++) {
      const seen = read(stream, { cut: (bytes) => new Random(seed).cut(bytes, 40) })
      expect([seen.shown, seen.holding, bytesOf(seen.held)]).toEqual([all.shown, true, bytesOf(all.held)])
      expect(seen.summary).toEqual(all.summary)
    }
  })

  it("close the last event where the upstream did not", () => {
    const last = delta(
      { content: "x", tool_calls: [{ index: 0, id: "x", function: { name: "bmcp_a" } }] },
      "stop"
    ).trimEnd()
    const { live, held, holding } = read(role + last)
    expect(bytesOf(live)).toBe(role + delta({ content: "x" }))
    expect([bytesOf(held), holding]).toEqual([delta({}, "stop"), true])
  })
})

describe("a body", () => {
  const tool = (name: string, id = `call_${name}`) => ({ id, type: "function", function: { name, arguments: "{}" } })
  const body = (message: object, reason = "tool_calls") =>
    JSON.stringify(
      { id: "c", created: 1, model: "m", choices: [{ index: 0, message, finish_reason: reason }], usage: usage(1, 2) },
      null,
      1
    )

  it.each([
    ["only injected calls", ["bmcp_a", "bmcp_b"], []],
    ["injected and client's", ["bmcp_a", "mine", "bmcp_b"], ["mine"]],
    ["the client's at both ends", ["mine", "bmcp_a", "yours"], ["mine", "yours"]]
  ])("is held without the injected calls: %s", (_name, names, left) => {
    const message = { role: "assistant", content: "x", tool_calls: names.map((name) => tool(name)) }
    const { live, held, holding, shown } = read(body(message))
    expect([live, holding, held.length]).toEqual([[], true, 1])
    const calls = left.length === 0 ? {} : { tool_calls: left.map((name) => tool(name)) }
    expect(JSON.parse(shown)).toEqual(JSON.parse(body({ role: "assistant", content: "x", ...calls })))
    expect(shown).toContain('\n "usage": {\n')
    expect(held[0]!.terminal).toBe(true)
  })

  it("that is incomplete is not held, and does not show them either", () => {
    const { live, holding, shown } = read(
      body({ role: "assistant", content: null, tool_calls: [tool("bmcp_a")] }, "length")
    )
    expect([live.length, holding]).toEqual([1, false])
    expect(JSON.parse(shown).choices[0].message).toEqual({ role: "assistant", content: null })
  })

  it("gives the client's calls the index they have without the injected, where they have one", () => {
    const message = {
      tool_calls: [
        { index: 0, ...tool("bmcp_a") },
        { index: 1, ...tool("mine") }
      ]
    }
    expect(JSON.parse(read(body(message)).shown).choices[0].message.tool_calls).toEqual([{ index: 0, ...tool("mine") }])
  })
})

describe("calls without an id", () => {
  it("get one that no other has, but for the client's, who sees none", () => {
    const nameless = (index: number, name: string, id?: string) =>
      delta({ tool_calls: [{ index, ...(id === undefined ? {} : { id }), function: { name, arguments: "{}" } }] })
    const { summary } = read(nameless(0, "bmcp_a") + nameless(1, "mine") + nameless(2, "bmcp_b") + end)
    expect(summary.toolCalls.map((one) => one.callId)).toEqual(["call_0", "", "call_2"])
    const taken = read(nameless(0, "bmcp_a") + nameless(1, "bmcp_b", "call_0") + end)
    expect(taken.summary.toolCalls.map((one) => one.callId)).toEqual(["call_0_2", "call_0"])
  })
})

it("a reader without injected tools withholds nothing", () => {
  const stream = role + call(0, "bmcp_a") + end
  expect(read(stream, { names: new Set() }).shown).toBe(stream)
  expect(injected.size).toBe(2)
})

describe("calls that share an id", () => {
  it("are answered by ids of their own, under which they go back upstream", () => {
    const { summary, frames } = read(
      role + call(0, "bmcp_a", "{}", 1, "x") + call(1, "bmcp_b", "{}", 1, "x") + call(2, "bmcp_a", "{}", 1, "x") + end
    )
    expect(summary.toolCalls.map((one) => one.callId)).toEqual(["x", "x_2", "x_3"])
    const message = JSON.parse(openAiChat.output(frames)![0]!) as { tool_calls: Array<{ id: string }> }
    expect(message.tool_calls.map((one) => one.id)).toEqual(["x", "x_2", "x_3"])
  })

  it("are so in a body too", () => {
    const made = ["x", "x_2", "x"].map((id) => ({
      id,
      type: "function",
      function: { name: "bmcp_a", arguments: "{}" }
    }))
    const { summary, frames } = read(
      JSON.stringify({ choices: [{ message: { role: "assistant", tool_calls: made } }] })
    )
    expect(summary.toolCalls.map((one) => one.callId)).toEqual(["x", "x_2", "x_3"])
    const message = JSON.parse(openAiChat.output(frames)![0]!) as { tool_calls: Array<{ id: string }> }
    expect(message.tool_calls.map((one) => one.id)).toEqual(["x", "x_2", "x_3"])
  })
})

describe("a choice that nobody asked for", () => {
  const aside = (piece: object) => chunk({ choices: [{ index: 1, delta: { tool_calls: [{ index: 0, ...piece }] } }] })

  it("does not show its injected calls, which are not run", () => {
    const made =
      aside({ id: "x", function: { name: "bmcp_a", arguments: "" } }) + aside({ function: { arguments: "{}" } })
    const stop = chunk({ choices: [{ index: 1, delta: {}, finish_reason: "tool_calls" }] })
    const { shown, summary, holding } = read(role + text("a") + made + finish("stop") + stop + done)
    expect(shown).toBe(role + text("a") + finish("stop") + stop + done)
    expect(summary.toolCalls).toEqual([])
    expect(holding).toBe(false)
  })

  it("is waited for until its call has a name", () => {
    const made = aside({ id: "x", function: { arguments: "" } }) + text("b") + aside({ function: { name: "bmcp_a" } })
    expect(read(role + made).shown).toBe(role + text("b"))
  })
})

describe("what is kept back", () => {
  const nameless = delta({ tool_calls: [{ index: 0, id: "x", function: { arguments: "{" } }] })

  it("is at most a thousand frames behind a call without a name, which is then the client's", () => {
    const source = role + nameless + text("a").repeat(998)
    const waiting = read(source)
    expect(bytesOf(waiting.live.slice(0, 1))).toBe(role)
    const reader = openAiChat.turn({ asked, injected })
    const out: Array<Frame> = []
    for (const frame of framesOf(source)) reader.push(frame, out)
    expect(bytesOf(out)).toBe(role)
    for (const frame of framesOf(text("b").repeat(2))) reader.push(frame, out)
    expect(bytesOf(out)).toBe(source + text("b").repeat(2))
  })

  it("is at most a mebibyte of them", () => {
    const reader = openAiChat.turn({ asked, injected })
    const out: Array<Frame> = []
    const large = text("y".repeat(400_000))
    for (const frame of framesOf(role + nameless + large + large)) reader.push(frame, out)
    expect(out).toHaveLength(1)
    for (const frame of framesOf(large + text("b"))) reader.push(frame, out)
    expect(bytesOf(out)).toBe(role + nameless + large + large + large + text("b"))
  })

  it("is at most a thousand frames of an end: a turn with more is broken", () => {
    const { reader } = read(role + call(0, "bmcp_a") + finish("tool_calls") + usageChunk(1, 1).repeat(999))
    expect(reader.malformed).toBe(null)
    reader.push(framesOf(usageChunk(1, 1))[0]!, [])
    expect(reader.malformed).toBe("it does not end behind its end")
  })

  it("holds no part of a chunk too large to read: behind an injected call the turn is broken with it", () => {
    const { reader } = read(role + text("a"))
    const out: Array<Frame> = []
    const bytes = Buffer.from("data: {")
    const part = new Frame(bytes, 0, bytes.length, "part", "", 0, 0, 0)
    reader.push(part, out)
    expect(out).toEqual([part])
    for (const frame of framesOf(call(0, "bmcp_a"))) reader.push(frame, out)
    reader.push(part, out)
    expect(out).toEqual([part])
    expect(reader.malformed).toBe("a chunk of it is too large to be read")
  })
})

it.each(["mine", "bmcp_a"])("a turn of very many calls of %s is read in linear time", (name) => {
  const count = 30_000
  const frames = framesOf(Array.from({ length: count }, (_, at) => call(at, name, "{}", 1, `id_${at}`)).join("") + end)
  const begun = process.cpuUsage()
  const reader = openAiChat.turn({ asked, injected })
  const out: Array<Frame> = []
  for (const frame of frames) reader.push(frame, out)
  expect(reader.summary().toolCalls).toHaveLength(count)
  openAiChat.output(frames)
  const { user } = process.cpuUsage(begun)
  expect(user / 1e6).toBeLessThan(4)
})
