import { describe, expect, it } from "vitest"
import { ResponsesReader } from "../../../src/dialect/openai-responses/Reader.ts"
import { output } from "../../../src/dialect/openai-responses/Tools.ts"
import { comment, Frame, sse, whole } from "../../../src/wire/Frame.ts"
import {
  call,
  type Carrier,
  type Event,
  eventsOf,
  framesOf,
  injected,
  injectedName,
  isInjected,
  type Item,
  message,
  reasoning,
  released,
  responseOf,
  textOf,
  type Turn
} from "./Turns.ts"

const carriers: ReadonlyArray<Carrier> = ["sse", "ws", "json"]

const makers = [call, (id: string) => call(id, "client_tool"), message, reasoning]

/** All turns of up to `length` items: injected calls, client calls, messages and reasoning in every order. */
const everyOrder = (length: number): ReadonlyArray<ReadonlyArray<Item>> => {
  const found: Array<ReadonlyArray<Item>> = [[]]
  for (let from = 0, size = 1; size <= length; size++) {
    const to = found.length
    for (; from < to; from++)
      for (const make of makers) found.push([...found[from]!, make(String(found[from]!.length))])
  }
  return found
}

const without = (turn: Turn): Turn => ({
  ...turn,
  items: turn.items.filter((item) => !isInjected(item)),
  tools: (turn.tools ?? []).filter((tool) => !injected.has((tool as { name: string }).name))
})

const isOf = (event: Event, index: number) => event.output_index === index

const fn = (name: string) => ({ type: "function", name, parameters: { type: "object" }, strict: false })
const echo = { type: "function", name: injectedName, parameters: { type: "object" }, strict: false }

describe("what is released of a turn", () => {
  it.each(carriers)("is, byte for byte, the turn in which the injected calls were not made: %s", (carrier) => {
    for (const outcome of ["completed", "incomplete", "failed"] as const) {
      for (const items of everyOrder(4)) {
        const turn: Turn = {
          id: "resp_1",
          items,
          outcome,
          tools: [fn("client_tool"), echo],
          usage: { input_tokens: 1 }
        }
        const { held, out, reader } = released(framesOf(turn, carrier))
        expect(textOf(out)).toBe(textOf(framesOf(without(turn), carrier)))
        expect(held).toBe(outcome === "completed" && items.some(isInjected))
        expect(reader.summary().toolCalls.map((seen) => [seen.callId, seen.runner])).toEqual(
          items
            .filter((item) => item.type === "function_call")
            .map((item) => [item.call_id, isInjected(item) ? "gateway" : "client"])
        )
      }
    }
  })

  it.each([
    ["names come late", { lateName: true }],
    ["calls are not announced", { unannounced: true }],
    ["the response at the end repeats nothing", { emptyOutput: true }],
    ["names come late and the end repeats nothing", { lateName: true, emptyOutput: true }]
  ] as const)("is the same where %s", (_, more) => {
    for (const carrier of ["sse", "ws"] as const) {
      for (const items of everyOrder(4)) {
        const turn: Turn = { id: "resp_1", items, ...more }
        const { held, out } = released(framesOf(turn, carrier))
        expect(textOf(out)).toBe(textOf(framesOf(without(turn), carrier)))
        expect(held).toBe(items.some(isInjected))
      }
    }
  })

  it("is the same wherever arguments are cut, and they are whole in the summary", () => {
    const given = '{"text":"\\"é👋","n":1e2}'
    for (let split = 0; split <= Buffer.byteLength(given); split++) {
      for (const lateName of [false, true]) {
        const items = [message("a"), call("b", injectedName, given), call("c", "client_tool", given)]
        const turn: Turn = { id: "resp_1", items, split, lateName }
        const { out, reader } = released(framesOf(turn))
        expect(textOf(out)).toBe(textOf(framesOf(without(turn))))
        expect(reader.summary().toolCalls.map((seen) => seen.arguments)).toEqual([given, given])
      }
    }
  })

  it("goes out as it comes, but for calls without a name and the end", () => {
    const reader = new ResponsesReader({ injected })
    const out: Array<Frame> = []
    const counts = framesOf({ id: "r", items: [message("a"), call("b"), message("c")] }).map((frame) => {
      out.length = 0
      reader.push(frame, out)
      return out.length
    })
    const shown = Array<number>(7).fill(1)
    expect(counts).toEqual([1, 1, ...shown, 0, 0, 0, 0, 0, ...shown, 0])
  })

  it("waits in order for a name, comments too, and goes on with it", () => {
    const frames = framesOf({ id: "r", items: [call("a", "client_tool")], lateName: true })
    const reader = new ResponsesReader({ injected })
    const out: Array<Frame> = []
    for (const frame of [...frames.slice(0, 4), comment("ping"), ...frames.slice(4, 6)]) reader.push(frame, out)
    expect(out).toEqual(frames.slice(0, 2))
    reader.push(frames[6]!, out)
    expect(textOf(out)).toBe(textOf([...frames.slice(0, 4), comment("ping"), ...frames.slice(4, 7)]))
  })

  it("takes a name from the response at the end, where it came in nothing before", () => {
    const items = [call("a"), call("b", "client_tool")]
    const turn: Turn = { id: "r", items, lateName: true }
    const isDone = (frame: Frame) => frame.event === "response.output_item.done"
    const { out, held } = released(framesOf(turn).filter((frame) => !isDone(frame)))
    expect(held).toBe(true)
    const types = out.map((frame) => [frame.event, (frame.json as { output_index?: number }).output_index ?? null])
    expect(types).toEqual([
      ["response.created", null],
      ["response.in_progress", null],
      ["response.output_item.added", 0],
      ["response.function_call_arguments.delta", 0],
      ["response.function_call_arguments.delta", 0],
      ["response.function_call_arguments.done", 0],
      ["response.completed", null]
    ])
  })

  it("leaves out a call whose name never came, where the turn was cut", () => {
    const events = eventsOf({ id: "r", items: [call("a"), message("b")], lateName: true })
    const named = new Set(["response.function_call_arguments.done", "response.output_item.done"])
    const cut = events.filter(
      (event) => event.type !== "response.completed" && !(named.has(event.type) && isOf(event, 0))
    )
    const numbered = cut.map((event, sequence_number) => sse(event.type, JSON.stringify({ ...event, sequence_number })))
    const { held, out } = released(numbered)
    expect(held).toBe(false)
    expect(textOf(out)).toBe(textOf(framesOf({ id: "r", items: [message("b")] }).slice(0, -1)))
  })

  it("holds all behind the end with it", () => {
    const done = sse("", "[DONE]")
    const { heldFrames } = released([...framesOf({ id: "r", items: [call("a")] }), comment("x"), done])
    expect(heldFrames).toHaveLength(3)
    expect(heldFrames[2]).toBe(done)
  })

  it("goes on behind a held end that was released", () => {
    const { out, reader } = released(framesOf({ id: "r", items: [call("a"), call("b", "client_tool")] }))
    const done = sse("", "[DONE]")
    reader.push(done, out)
    expect(out.at(-1)).toBe(done)
    expect(reader.holding).toBe(false)
  })

  it("is also lowered in frames that nothing else is known of", () => {
    const frames = framesOf({ id: "r", items: [call("a")] })
    const later = [
      sse("response.from_the_future", '{ "sequence_number" : 9, "output_index":1 , "x": 1e2}'),
      whole("message", Buffer.from('{"type":"response.x.delta","output_index":7}')),
      sse("error", '{"type":"error","sequence_number":9,"message":"no"}')
    ]
    const { out } = released([...frames.slice(0, -1), ...later])
    expect(textOf(out.slice(2))).toBe(
      'event: response.from_the_future\ndata: { "sequence_number" : 4, "output_index":0 , "x": 1e2}\n\n' +
        '{"type":"response.x.delta","output_index":6}\n' +
        'event: error\ndata: {"type":"error","sequence_number":4,"message":"no"}\n\n'
    )
  })

  it("stays where it is in frames about items before the calls", () => {
    const frames = framesOf({ id: "r", items: [message("a"), call("b")] })
    const later = sse("response.x.delta", '{"sequence_number":14,"output_index":0}')
    expect(textOf(released([...frames.slice(0, -1), later]).out.slice(-1))).toBe(
      'event: response.x.delta\ndata: {"sequence_number":9,"output_index":0}\n\n'
    )
  })

  it("is not held behind an error that the upstream reported", () => {
    const frames = framesOf({ id: "r", items: [call("a")] })
    const { held } = released([...frames.slice(0, -1), sse("error", '{"type":"error","message":"no"}'), frames.at(-1)!])
    expect(held).toBe(false)
  })

  it("keeps lines of events in several", () => {
    const frames = framesOf({ id: "r", items: [call("a")] })
    const text = 'event: response.x.delta\r\ndata:{"output_index":1,\r\n: note\r\ndata: "sequence_number":7}\r\n\r\n'
    const source = Buffer.from(text)
    const start = text.indexOf("{")
    const event = new Frame(source, 0, source.length, "event", "response.x.delta", start, text.indexOf("}") + 1, 2)
    const { out } = released([...frames.slice(0, -1), event])
    expect(textOf(out.slice(2))).toBe(text.replace('x":1', 'x":0').replace(":7", ":2"))
  })
})

describe("a turn that calls no injected tool", () => {
  const tools = [fn("client_tool"), { type: "web_search" }, { ...echo, type: "custom" }]

  it.each(carriers)("is the upstream's own but for the tools it repeats: %s", (carrier) => {
    const items = [
      reasoning("a"),
      message("b"),
      call("c", "client_tool"),
      call("d", injectedName, "{}", { namespace: "n" })
    ]
    const plain: Turn = { id: "r", items, tools }
    const configured: Turn = { id: "r", items, tools: [...tools, echo, fn("bmcp_s_sum")] }
    expect(textOf(released(framesOf(configured, carrier)).out)).toBe(textOf(framesOf(plain, carrier)))
    const frames = framesOf(plain, carrier)
    const { held, out } = released(frames)
    expect(held).toBe(false)
    expect(out).toHaveLength(frames.length)
    for (const [i, frame] of frames.entries()) expect(out[i]).toBe(frame)
  })

  it("cuts exactly these tools, whatever stands around them", () => {
    const text = (list: string) => `{ "id":"r", "tools" : [${list}] ,"n":1e2,"output":[]}`
    const body = (list: string) => whole("body", Buffer.from(text(list)))
    const ours = `{"type":"function", "name":"${injectedName}"}`
    for (const [sent, shown] of [
      [`{"a":1} , ${ours}`, '{"a":1}'],
      [` ${ours} `, "  "],
      [`${ours},{"a":1}`, '{"a":1}'],
      [`{"a":1},${ours}, {"b":2}`, '{"a":1},{"b":2}']
    ] as const) {
      expect(textOf(released([body(sent)]).out)).toBe(text(shown))
    }
  })

  it("is parsed for the tools that it repeats only the first time", () => {
    const ours = [fn("client_tool"), echo, fn("bmcp_s_sum")]
    for (const [list, left] of [
      [ours, ours.slice(0, 1)],
      [ours.slice(1), []]
    ] as const) {
      const frames = framesOf({ id: "r", items: [message("b")], tools: list })
      const { out } = released(frames)
      expect(textOf(out)).toBe(textOf(framesOf({ id: "r", items: [message("b")], tools: left })))
      expect(frames[1]!.peek).toBeUndefined()
    }
  })

  it("is cut anew where an event repeats other tools, or the same twice", () => {
    const created = framesOf({ id: "r", items: [], tools: [echo] })[0]!
    const about = (response: object) => sse("response.x", JSON.stringify({ type: "response.x", response }))
    for (const [sent, left] of [
      [{ tools: [echo, fn("a")] }, { tools: [fn("a")] }],
      [{ tools: [fn("a"), echo] }, { tools: [fn("a")] }],
      [
        { tools: [echo], n: { tools: [echo] } },
        { tools: [], n: { tools: [echo] } }
      ],
      [{ tools: [fn("bmcp_s_sum")] }, { tools: [] }]
    ] as const) {
      expect(textOf(released([created, about(sent)]).out.slice(1))).toBe(textOf([about(left)]))
    }
  })

  it("has its deltas passed on unread", () => {
    const frames = framesOf({ id: "r", items: [message("b"), call("c", "client_tool")] })
    released(frames)
    for (const frame of frames) {
      if (/delta|part|text|arguments/.test(frame.event)) expect(frame.peek).toBeUndefined()
    }
  })
})

describe("a call that is announced and not finished", () => {
  const unfinished = (items: ReadonlyArray<Item>, left: ReadonlyArray<Item>, given = true): ReadonlyArray<Frame> =>
    eventsOf({ id: "r", items })
      .filter((event) => event.type !== "response.output_item.done" || (event.item as Item).type !== "function_call")
      .filter((event) => given || event.type !== "response.function_call_arguments.done")
      .map((event) =>
        event.type === "response.completed" ? { ...event, response: responseOf({ id: "r", items: left }) } : event
      )
      .map((event) => sse(event.type, JSON.stringify(event)))

  it("is run where its arguments have come, and goes back upstream as it was made", () => {
    const items = [message("m"), call("a"), call("b", "client_tool")]
    const frames = unfinished(items, [])
    const { held, reader } = released(frames)
    expect(held).toBe(true)
    const { toolCalls } = reader.summary()
    expect(toolCalls.map(({ callId, runner }) => [callId, runner])).toEqual([
      ["call_a", "gateway"],
      ["call_b", "client"]
    ])
    expect(toolCalls[0]!.arguments).toBe(call("a").arguments)
    expect(output(frames)!.map((item) => JSON.parse(item))).toEqual(items)
  })

  it("breaks the turn where nothing else was called: it is no clean finish", () => {
    const { held, reader, heldFrames } = released(unfinished([call("a")], [], false))
    expect(held).toBe(false)
    expect(heldFrames).toEqual([])
    expect(reader.malformed).toBe("it announced a tool call and never made it")
  })

  it("leaves the client its own calls", () => {
    const mine = call("b", "client_tool")
    const { held, reader, out } = released(unfinished([call("a"), mine], [mine], false))
    expect([held, reader.malformed]).toEqual([false, null])
    expect(out.at(-1)!.json).toMatchObject({ response: { output: [mine] } })
  })
})

describe("the ids that calls are answered by", () => {
  it.each(carriers)("are each another one, and go back upstream with the calls: %s", (carrier) => {
    const same = { call_id: "x" }
    const { call_id: _, ...without } = call("d")
    const items = [
      call("a", injectedName, "{}", same),
      call("b", injectedName, "{}", same),
      call("c", injectedName, "{}", { call_id: "" }),
      without as Item
    ]
    const frames = framesOf({ id: "r", items }, carrier)
    const ids = released(frames)
      .reader.summary()
      .toolCalls.map((seen) => seen.callId)
    expect(ids).toEqual(["x", "x_2", "call_2", "fc_d"])
    expect(output(frames)!.map((item) => (JSON.parse(item) as Item).call_id)).toEqual(ids)
  })

  it("are the client's own for its calls", () => {
    const items = [call("a", injectedName, "{}", { call_id: "x" }), call("b", "client_tool", "{}", { call_id: "x" })]
    const seen = released(framesOf({ id: "r", items })).reader.summary().toolCalls
    expect(seen.map(({ callId }) => callId)).toEqual(["x", "x"])
  })
})

describe("what waits for a name", () => {
  const [created, inProgress, added] = framesOf({ id: "r", items: [call("a", "client_tool")], lateName: true })
  const text = sse("response.output_text.delta", '{"type":"response.output_text.delta","output_index":1,"delta":"x"}')

  it("is at most a thousand frames: the call is then taken for the client's", () => {
    const reader = new ResponsesReader({ injected })
    const out: Array<Frame> = []
    for (const frame of [created!, inProgress!, added!]) reader.push(frame, out)
    for (let i = 1; i < 1000; i++) reader.push(text, out)
    expect(out).toHaveLength(2)
    reader.push(text, out)
    expect(out).toHaveLength(1003)
    reader.push(text, out)
    expect(out).toHaveLength(1004)
  })

  it("is at most a mebibyte, and of the next call without a name as much", () => {
    const large = sse(
      "response.output_text.delta",
      `{"type":"response.output_text.delta","delta":"${"y".repeat(6e5)}"}`
    )
    const another = sse(added!.event, added!.data.replace('index":0', 'index":5'))
    const reader = new ResponsesReader({ injected })
    const counts = [created!, inProgress!, added!, large, large, large, another].map((frame) => {
      const out: Array<Frame> = []
      reader.push(frame, out)
      return out.length
    })
    expect(counts).toEqual([1, 1, 0, 0, 3, 1, 0])
  })
})

describe("a part of an event too large to read", () => {
  const bytes = Buffer.from("event: response.function_call_arguments.done\ndata: {")
  const part = new Frame(bytes, 0, bytes.length, "part", "", 0, 0, 0)

  it("goes on as long as no injected call was made", () => {
    const { out, reader } = released([...framesOf({ id: "r", items: [message("a")] }).slice(0, -1), part])
    expect(out.at(-1)).toBe(part)
    expect(reader.malformed).toBe(null)
  })

  it("breaks the turn behind one: it may hold what no client may see", () => {
    const { out, reader } = released([...framesOf({ id: "r", items: [call("a")] }).slice(0, 4), part, part])
    expect(out).toHaveLength(2)
    expect(reader.malformed).toBe("an event of it is too large to be read")
  })
})
