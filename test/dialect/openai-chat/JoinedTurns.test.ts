import { describe, expect, it } from "vitest"
import { Random } from "../../wire/Random.ts"
import {
  accumulate,
  answer,
  bytesOf,
  call,
  chunk,
  chunksOf,
  delta,
  done,
  finish,
  framesOf,
  role,
  text,
  usage,
  usageChunk
} from "./Turns.ts"

/** The stream of a turn with other ids, as each turn has its own. */
const turn = (at: number, stream: string): string =>
  stream.replaceAll('"chatcmpl-1"', `"chatcmpl-${at}"`).replaceAll("1700000000", `170000000${at - 1}`)

const calling = (at: number, preamble: string, input: number, output: number): string =>
  turn(at, role + text(preamble) + call(0, "bmcp_a") + finish("tool_calls") + usageChunk(input, output) + done)

const first = calling(1, "One. ", 10, 3)
const second = calling(2, "Two. ", 20, 5)
const last = turn(3, role + text("Three.") + finish("stop") + usageChunk(40, 7) + done)

describe("several turns of a stream", () => {
  it("are one answer, with one id, one role and one end", () => {
    expect(answer([first, second, last]).shown).toBe(
      role +
        text("One. ") +
        text("Two. ") +
        text("Three.") +
        finish("stop") +
        chunk({ choices: [], usage: { ...usage(70, 15), completion_tokens_details: { reasoning_tokens: 3 } } }) +
        done
    )
  })

  it("are accepted by OpenAI's SDK, which adds up to what the turns said", async () => {
    const mixed = turn(
      3,
      role +
        text("Three.") +
        call(0, "bmcp_b") +
        call(1, "mine", "{}") +
        finish("tool_calls") +
        usageChunk(40, 7) +
        done
    )
    const completion = await accumulate(answer([first, second, mixed]).shown)
    expect(completion).toMatchObject({
      id: "chatcmpl-1",
      created: 1700000000,
      usage: { prompt_tokens: 70, total_tokens: 85 }
    })
    expect(completion.choices).toMatchObject([
      {
        finish_reason: "tool_calls",
        message: { role: "assistant", content: "One. Two. Three.", tool_calls: [{ function: { name: "mine" } }] }
      }
    ])
  })

  it("tell the context where that is asked for", () => {
    const { shown } = answer([first, second, last], { usage: "context" })
    expect(chunksOf(shown).at(-1)?.usage).toMatchObject({ prompt_tokens: 40, completion_tokens: 15, total_tokens: 55 })
  })

  it("tell no usage to a client that did not ask", () => {
    const { shown, out } = answer([first, last], { usageAdded: true })
    expect(shown).not.toContain('"usage"')
    expect(out.at(-1)?.terminal).toBe(true)
  })

  it("tell usage that comes with the finish", () => {
    const ends = (at: number, said: object, reason: string, input: number) =>
      turn(at, chunk({ choices: [{ index: 0, delta: said, finish_reason: reason }], usage: usage(input, 1) }) + done)
    const named = { tool_calls: [{ index: 0, id: "x", function: { name: "bmcp_a" } }] }
    const { shown } = answer([ends(1, named, "tool_calls", 10), ends(2, { content: "x" }, "stop", 20)])
    expect(chunksOf(shown)).toMatchObject([{ usage: { prompt_tokens: 30, completion_tokens: 2 }, id: "chatcmpl-1" }])
  })

  it("take the latest of a turn's running totals, once", () => {
    const running = (input: number, output: number, said: object) =>
      chunk({ choices: [{ index: 0, delta: said, finish_reason: null }], usage: usage(input, output) })
    const called = { tool_calls: [{ index: 0, id: "x", function: { name: "bmcp_a" } }] }
    const one =
      running(10, 1, { content: "a" }) +
      running(10, 2, { content: "b" }) +
      running(10, 3, called) +
      finish("tool_calls") +
      done
    const two = turn(2, running(20, 1, { content: "c" }) + running(20, 4, { content: "d" }) + finish("stop") + done)
    const totals = chunksOf(answer([one, two]).shown).map(
      (value) => (value.usage as { total_tokens: number } | undefined)?.total_tokens
    )
    expect(totals).toEqual([11, 12, 13, 34, 37, undefined])
  })

  it("count no turn twice where another tells no usage", () => {
    const silent = turn(2, call(0, "bmcp_a") + finish("tool_calls") + done)
    expect(chunksOf(answer([first, silent, last]).shown).at(-1)?.usage).toMatchObject({ prompt_tokens: 50 })
    const untold = answer([first, silent, turn(3, text("x") + finish("stop") + done)])
    expect(untold.shown).not.toContain('"usage"')
  })

  it("say a role that comes with text only once", () => {
    const told = (content: string) => delta({ role: "assistant", content })
    const { shown } = answer([
      told("a") + call(0, "bmcp_a") + finish("tool_calls") + done,
      told("b") + told('"role"') + finish("stop") + done
    ])
    expect(shown).toBe(told("a") + text("b") + text('"role"') + finish("stop") + done)
  })

  it("say a role that the first turn did not", () => {
    expect(answer([call(0, "bmcp_a") + finish("tool_calls") + done, last]).shown.startsWith(role)).toBe(true)
  })

  it("take their id from where the first turn has one: no frame of it may have been shown", () => {
    const silent = turn(1, call(0, "bmcp_a") + finish("tool_calls") + done)
    for (const value of chunksOf(answer([silent, last]).shown))
      expect(value).toMatchObject({ id: "chatcmpl-1", created: 1700000000 })
    const azure = `data: {"choices":[],"created":0,"id":"","model":"","prompt_filter_results":[]}\n\n`
    const { shown } = answer([azure + first, azure + last])
    expect(chunksOf(shown).map((value) => value.id)).toEqual(["", ...Array(6).fill("chatcmpl-1")])
  })

  it("have the name of the model that was asked for", () => {
    for (const value of chunksOf(answer([first, second, last], { model: "mine" }).shown))
      expect(value.model).toBe("mine")
  })

  it("end with what the last turn came to", () => {
    const cut = turn(2, role + text("x") + call(0, "bmcp_a") + finish("length") + done)
    expect(answer([first, cut]).shown).toBe(role + text("One. ") + text("x") + finish("length") + done)
  })

  it("are the same however the bytes are cut", () => {
    const all = answer([first, second, last])
    for (let seed = 0; seed < 50; seed++) {
      const seen = answer([first, second, last], { cut: (bytes) => new Random(seed).cut(bytes, 60) })
      expect(seen.shown).toBe(all.shown)
      expect(seen.summaries).toEqual(all.summaries)
    }
  })
})

describe("one turn", () => {
  it.each([
    ["text", last],
    ["a call of the client's", role + call(0, "mine") + finish("tool_calls") + usageChunk(1, 2) + done],
    ["a body", '{ "id":"x","choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":1} }']
  ])("is shown byte by byte: %s", (_name, source) => {
    for (const how of ["sum", "context"] as const) expect(answer([source], { usage: how }).shown).toBe(source)
  })

  it("parses no more frames of text than without tools", () => {
    const { out } = answer([
      role + Array.from({ length: 20 }, (_, at) => text(`${at}`)).join("") + finish("stop") + done
    ])
    expect(out.filter((frame) => frame.peek !== undefined).length).toBeLessThan(6)
    expect(bytesOf(framesOf(last))).toBe(last)
  })
})

describe("several bodies", () => {
  const tool = (name: string) => ({ id: `call_${name}`, type: "function", function: { name, arguments: "{}" } })
  const body = (at: number, message: object, counts: ReturnType<typeof usage>) =>
    JSON.stringify({
      id: `chatcmpl-${at}`,
      object: "chat.completion",
      created: 1700000000 + at,
      model: "m-1",
      choices: [
        {
          index: 0,
          message: { role: "assistant", ...message },
          finish_reason: "tool_calls" in message ? "tool_calls" : "stop"
        }
      ],
      usage: counts
    })
  const called = { tool_calls: [tool("bmcp_a")] }

  it("are one, with what all of them say", () => {
    const { shown, out } = answer([
      body(1, { content: "One. ", reasoning_content: "hm ", ...called }, usage(10, 3)),
      body(2, { content: null, refusal: "no", ...called }, usage(20, 5)),
      body(3, { content: "Three.", refusal: null, reasoning_content: "so" }, usage(40, 7))
    ])
    expect(out).toHaveLength(1)
    expect(out[0]?.terminal).toBe(true)
    const message = { content: "One. Three.", refusal: "no", reasoning_content: "hm so" }
    const all = { ...usage(70, 15), completion_tokens_details: { reasoning_tokens: 3 } }
    expect(JSON.parse(shown)).toEqual({ ...JSON.parse(body(1, message, all)) })
  })

  it("keep null where nothing is said, and what an earlier one alone says", () => {
    const { shown } = answer([
      body(1, { content: null, reasoning: "hm", ...called }, usage(1, 1)),
      body(2, { content: null, tool_calls: [tool("mine"), tool("bmcp_b")] }, usage(1, 1))
    ])
    expect(JSON.parse(shown).choices[0].message).toEqual({
      role: "assistant",
      content: null,
      tool_calls: [tool("mine")],
      reasoning: "hm"
    })
  })

  it("have the name of the model that was asked for, and the context where that is asked for", () => {
    const { shown } = answer([body(1, called, usage(10, 3, 4)), body(2, { content: "x" }, usage(20, 5, 8))], {
      model: "mine",
      usage: "context",
      usageAdded: true
    })
    expect(JSON.parse(shown)).toMatchObject({
      model: "mine",
      usage: { prompt_tokens: 20, completion_tokens: 8, total_tokens: 28, prompt_tokens_details: { cached_tokens: 8 } }
    })
  })

  it.each<[string, unknown, unknown, unknown]>([
    [
      "in both",
      { content: [{ p: 1 }, { p: 2 }], refusal: null },
      { content: [{ p: 3 }] },
      { content: [{ p: 1 }, { p: 2 }, { p: 3 }] }
    ],
    ["in the last alone", null, { content: [{ p: 3 }] }, { content: [{ p: 3 }] }],
    ["in an earlier one alone", { content: [{ p: 1 }] }, null, { content: [{ p: 1 }] }],
    [
      "of another kind",
      { refusal: [{ p: 1 }] },
      { content: [{ p: 2 }], refusal: null },
      { content: [{ p: 2 }], refusal: [{ p: 1 }] }
    ]
  ])("have the probabilities of all: %s", (_name, earlier, later, expected) => {
    const probable = (source: string, logprobs: unknown) => {
      const value = JSON.parse(source)
      return JSON.stringify({ ...value, choices: [{ ...value.choices[0], logprobs }] })
    }
    const { shown } = answer([
      probable(body(1, called, usage(1, 1)), earlier),
      probable(body(2, { content: "x" }, usage(1, 1)), later)
    ])
    expect(JSON.parse(shown).choices[0].logprobs).toEqual(expected)
  })

  it("are what an SDK puts together from the stream of the same turns", async () => {
    const streamed = await accumulate(answer([first, second, last]).shown)
    const joined = JSON.parse(
      answer([
        body(1, { content: "One. ", ...called }, usage(10, 3)),
        body(2, { content: "Two. ", ...called }, usage(20, 5)),
        body(3, { content: "Three.", refusal: null }, usage(40, 7))
      ]).shown
    )
    expect(joined.choices[0].message).toMatchObject({
      role: "assistant",
      content: streamed.choices[0]!.message.content
    })
    expect(joined.usage).toEqual(streamed.usage)
    expect(joined.id).toBe(streamed.id)
  })
})
