import { describe, expect, it } from "vitest"
import { memory } from "../../../src/dialect/openai-chat/Memory.ts"
import { continueWith } from "../../../src/dialect/openai-chat/Tools.ts"
import { Random } from "../../wire/Random.ts"
import { expectForgotten, expectUntouched, goneOn, hiding, json, Kept, recalled, staysAsItIs } from "../Kept.ts"

interface Call {
  readonly id: string
  readonly name: string
  readonly given: unknown
}

const call = (id: string, name: string, given: unknown = {}): Call => ({ id, name, given })
const hiddenCall = (id: string, given: unknown = { q: id }) => call(id, "bmcp_docs_search", given)
const isHidden = ({ name }: Call) => name.startsWith("bmcp_")
const callJson = ({ given, id, name }: Call) => ({
  id,
  type: "function",
  function: { name, arguments: JSON.stringify(given) }
})

interface Turn {
  readonly text: string
  readonly calls: ReadonlyArray<Call>
  readonly more?: object
}

const message = ({ calls, more, text }: Turn) => ({
  role: "assistant",
  content: text === "" ? (calls.length > 0 ? null : "") : text,
  ...more,
  ...(calls.length > 0 ? { tool_calls: calls.map(callJson) } : {})
})

const turnsOf = (turns: ReadonlyArray<Turn>) =>
  turns.map((turn) =>
    hiding(
      [JSON.stringify(message(turn))],
      turn.calls.filter(isHidden).map(({ id }) => id)
    )
  )

/** What the client sees of an answer, and sends back. */
const shown = (turns: ReadonlyArray<Turn>) =>
  message({
    text: turns.map(({ text }) => text).join(""),
    calls: turns.flatMap(({ calls }) => calls.filter((one) => !isHidden(one)))
  })

/** The messages that the upstream has seen, up to the end of the answer. */
const history = (messages: ReadonlyArray<unknown>, turns: ReadonlyArray<Turn>): ReadonlyArray<unknown> => {
  const body = goneOn(continueWith, { messages }, turnsOf(turns)) as { messages: ReadonlyArray<unknown> }
  return body.messages
}

const prompt = { role: "user", content: "How does it work?" }
const thanks = { role: "user", content: "Thanks. And now?" }
const plain: ReadonlyArray<Turn> = [
  { text: "I look it up.\n\n", calls: [hiddenCall("call_h1a2b3c4d5"), hiddenCall("call_h2a2b3c4d5")] },
  { text: "", calls: [hiddenCall("call_h3a2b3c4d5")] },
  { text: "It works.", calls: [] }
]
const readFile = call("call_c1a2b3c4d5", "read_file", { path: "a.txt", lines: [1, 2] })
const mixed: ReadonlyArray<Turn> = [
  { text: "First ", calls: [hiddenCall("call_m1a2b3c4d5")] },
  { text: "this.", calls: [hiddenCall("call_m2a2b3c4d5"), readFile, hiddenCall("call_m3a2b3c4d5")] }
]
const fileRead = { role: "tool", tool_call_id: readFile.id, content: "text" }
const first = { messages: [prompt] }

describe("memory of Chat Completions", () => {
  it("puts whole hidden exchanges back before the end of the answer", () => {
    const later = { messages: [prompt, shown(plain), thanks] }
    expect(recalled(memory, first, turnsOf(plain), later)).toEqual({
      messages: [...history([prompt], plain), thanks]
    })
  })

  it("puts hidden calls back beside the client's, and their results behind the message", () => {
    const later = { model: "m", messages: [prompt, shown(mixed), fileRead], stream: true }
    expect(recalled(memory, first, turnsOf(mixed), later)).toEqual({
      model: "m",
      messages: [...history([prompt], mixed), fileRead],
      stream: true
    })
  })

  it("puts hidden calls back into a turn that said nothing", () => {
    const turns = [{ text: "", calls: [hiddenCall("call_m2a2b3c4d5"), readFile] }]
    const later = { messages: [prompt, { ...shown(turns), content: "" }, fileRead] }
    const expected = [prompt, { ...(history([], turns)[0] as object), content: "" }, history([], turns)[1], fileRead]
    expect(recalled(memory, first, turnsOf(turns), later)).toEqual({ messages: expected })
  })

  it.each<readonly [string, (text: string) => unknown]>([
    ["in a list", (text) => [{ type: "text", text }]],
    ["with a mark for a cache", (text) => [{ type: "text", text, cache_control: { type: "ephemeral" } }]],
    ["without the white space around it", (text) => ` ${text.trim()}\n`],
    [
      "cut into parts",
      () => [
        { type: "text", text: "I look it up." },
        { type: "text", text: "It works." }
      ]
    ]
  ])("knows text again %s", (_, changed) => {
    const answer = shown(plain)
    const later = { messages: [prompt, { ...answer, content: changed(String(answer.content)) }, thanks] }
    const { messages } = recalled(memory, first, turnsOf(plain), later) as { messages: Array<{ content: unknown }> }
    const expected = history([prompt], plain)
    expect(messages.slice(0, 6)).toEqual(expected.slice(0, 6))
    expect(JSON.stringify(messages[6]!.content)).toContain("It works.")
    expect(JSON.stringify(messages[6]!.content)).not.toContain("look")
    expect(messages[7]).toEqual(thanks)
  })

  it("knows an answer again behind instructions, and a prompt that was cut into parts", () => {
    const parts = [
      { type: "text", text: "How does " },
      { type: "text", text: "it work?" }
    ]
    const note = { role: "system", content: "now" }
    const later = { messages: [note, { role: "user", content: parts }, note, shown(plain), note, thanks] }
    const { messages } = recalled(memory, first, turnsOf(plain), later) as { messages: ReadonlyArray<unknown> }
    expect(messages).toEqual([...later.messages.slice(0, 3), ...history([], plain), note, thanks])
  })

  it("leaves thoughts with the turn they belong to", () => {
    const turns: ReadonlyArray<Turn> = [
      {
        text: "A",
        calls: [hiddenCall("call_h1a2b3c4d5")],
        more: { reasoning_content: "hm", reasoning_details: [{ s: 1 }] }
      },
      { text: "B", calls: [], more: { reasoning_content: "ah", reasoning_details: [{ s: 2 }] } }
    ]
    const answer = { ...shown(turns), reasoning_content: "hmah", reasoning_details: [{ s: 1 }, { s: 2 }] }
    expect(recalled(memory, first, turnsOf(turns), { messages: [prompt, answer, thanks] })).toEqual({
      messages: [...history([prompt], turns), thanks]
    })
  })

  it("leaves a message out that has nothing of its own any more", () => {
    const turns: ReadonlyArray<Turn> = [
      { text: "All said.", calls: [hiddenCall("call_h1a2b3c4d5")] },
      { text: "", calls: [] }
    ]
    expect(recalled(memory, first, turnsOf(turns), { messages: [prompt, shown(turns), thanks] })).toEqual({
      messages: [...history([prompt], turns.slice(0, 1)), thanks]
    })
  })

  it("puts several answers of one request back", () => {
    const kept = new Kept()
      .keep(memory.remember(json(first), turnsOf(mixed)))
      .keep(memory.remember(json({ messages: [prompt, shown(mixed), fileRead] }), turnsOf(plain)))
    const later = { messages: [prompt, shown(mixed), fileRead, shown(plain), thanks] }
    const expected = [...history([...history([prompt], mixed), fileRead], plain), thanks]
    expect(JSON.parse(memory.recall(json(later), kept.find).toString())).toEqual({ messages: expected })
  })

  it("leaves every byte outside of the answer as it stands", () => {
    const text = (messages: string) => `{ "n" : 1.0e0,\n "messages": [ ${messages} ], "unknown":"\\u0061" }`
    const said = JSON.stringify(shown(mixed))
    const asked = '{"content":"How does it \\u0077ork?" , "role":"user"}'
    const kept = new Kept().keep(memory.remember(Buffer.from(text(asked)), turnsOf(mixed)))
    const body = memory.recall(Buffer.from(text(`${asked} , ${said}, ${JSON.stringify(fileRead)}`)), kept.find)
    expect(body.toString().startsWith(`{ "n" : 1.0e0,\n "messages": [ ${asked} , `)).toBe(true)
    expect(body.toString().endsWith(`${JSON.stringify(fileRead)} ], "unknown":"\\u0061" }`)).toBe(true)
  })

  it.each<readonly [string, (later: Array<Record<string, unknown>>) => void]>([
    [
      "with other arguments",
      ([, answer]) => {
        answer!.tool_calls = [callJson({ ...readFile, given: { path: "b.txt" } })]
      }
    ],
    [
      "of another tool",
      ([, answer]) => {
        answer!.tool_calls = [callJson({ ...readFile, name: "write_file" })]
      }
    ],
    [
      "with another id",
      ([, answer]) => {
        answer!.tool_calls = [callJson({ ...readFile, id: "call_other12345" })]
      }
    ],
    [
      "with more calls",
      ([, answer]) => {
        answer!.tool_calls = [callJson(readFile), callJson(call("call_x", "read_file"))]
      }
    ],
    [
      "with other text",
      ([, answer]) => {
        answer!.content = "Something else."
      }
    ],
    [
      "with other text of the same length",
      ([, answer]) => {
        answer!.content = "Third this."
      }
    ],
    [
      "with more text",
      ([, answer]) => {
        answer!.content = "First this. And that."
      }
    ],
    [
      "that has its hidden calls",
      (messages) => {
        messages.unshift(message({ text: "", calls: [hiddenCall("call_m2a2b3c4d5")] }))
      }
    ]
  ])("leaves an answer alone %s", (_, change) => {
    const messages = structuredClone([prompt, shown(mixed), fileRead]) as Array<Record<string, unknown>>
    change(messages)
    expect(staysAsItIs(memory, first, turnsOf(mixed), { messages })).toBe(true)
  })

  it("finds text only behind the prompt that it answered", () => {
    const later = { messages: [{ role: "user", content: "Something else?" }, shown(plain), thanks] }
    expect(staysAsItIs(memory, first, turnsOf(plain), later)).toBe(true)
  })

  it("finds a call that servers count anew only behind the prompt that it answered", () => {
    const turns = [{ text: "", calls: [hiddenCall("call_0"), call("call_1", "read_file")] }]
    const answers = [shown(turns), { role: "tool", tool_call_id: "call_1", content: "text" }]
    expect(staysAsItIs(memory, first, turnsOf(turns), { messages: [thanks, ...answers] })).toBe(true)
    expect(recalled(memory, first, turnsOf(turns), { messages: [prompt, ...answers] })).toEqual({
      messages: [...history([prompt], turns), answers[1]]
    })
  })

  it("keeps nothing of answers that hide nothing, could not be found, or lack a result", () => {
    expectForgotten(memory, first, turnsOf(plain), [
      turnsOf([{ text: "Hi", calls: [readFile] }]),
      turnsOf([
        { text: "", calls: [hiddenCall("call_1")] },
        { text: " ", calls: [] }
      ])
    ])
  })

  it("keeps under keys that fit a store", () => {
    for (const { key } of memory.remember(json(first), turnsOf(plain))) expect(key).toMatch(/^[\w-]{1,64}$/)
  })

  it("stands values that are not its own, and requests that are none", () => {
    const later = { messages: [prompt, shown(plain), thanks, null, { role: "assistant" }] }
    expectUntouched(memory, later, ['{"messages":{}}', '{"messages":[[]]}'])
  })

  it("puts back what any conversation had hidden", () => {
    for (let seed = 0; seed < 150; seed++) {
      const random = new Random(seed)
      const some = (most: number) => random.below(most + 1)
      let count = 0
      const id = () => `call_${seed}x${count++}9z8y7x6w`
      const text = () => ["", "Hm. ", "So:\n\n", "word ", "Hm. "][some(4)]!
      const kept = new Kept()
      const upstream: Array<unknown> = []
      const client: Array<unknown> = []
      for (let answers = some(3) + 1; answers > 0; answers--) {
        const asked = { role: "user", content: `prompt ${count++}` }
        upstream.push(asked)
        client.push(asked)
        const turns: Array<Turn> = Array.from({ length: some(3) }, () => ({
          text: text(),
          calls: Array.from({ length: some(2) + 1 }, () => hiddenCall(id()))
        }))
        const own = Array.from({ length: some(2) }, () => call(id(), "read_file", { n: some(9) }))
        const beside = own.length === 0 ? [] : Array.from({ length: some(2) }, () => hiddenCall(id()))
        const calls = [...own, ...beside].sort(() => some(1) - 0.5)
        turns.push({ text: own.length > 0 ? text() : `${text()}done ${count++}`, calls })
        kept.keep(memory.remember(json({ messages: client }), turnsOf(turns)))
        upstream.splice(0, upstream.length, ...history(upstream, turns))
        client.push(shown(turns))
        const results = calls
          .filter((one) => !isHidden(one))
          .map((one) => ({ role: "tool", tool_call_id: one.id, content: "ok" }))
        upstream.push(...results)
        client.push(...results)
      }
      expect(
        JSON.parse(memory.recall(json({ messages: client }), kept.find).toString()).messages,
        `seed ${seed}`
      ).toEqual(upstream)
    }
  })

  it("takes time in proportion to the history", () => {
    const bodyOf = (answers: number) => {
      const kept = new Kept()
      const messages: Array<unknown> = []
      for (let i = 0; i < answers; i++) {
        const turns = plain.map((turn) => ({
          ...turn,
          text: turn.text.repeat(40),
          calls: turn.calls.map((one) => ({ ...one, id: `${one.id}${i}` }))
        }))
        const asked = { role: "user", content: `prompt ${i}` }
        kept.keep(memory.remember(json({ messages: [asked] }), turnsOf(turns)))
        messages.push(asked, shown(turns))
      }
      return { body: json({ messages }), kept }
    }
    const time = (answers: number) => {
      const { body, kept } = bodyOf(answers)
      let best = Number.POSITIVE_INFINITY
      for (let i = 0; i < 3; i++) {
        const begun = performance.now()
        expect(memory.recall(body, kept.find).length).toBeGreaterThan(body.length)
        best = Math.min(best, performance.now() - begun)
      }
      return best
    }
    expect(time(400)).toBeLessThan(20 * time(100) + 20)
  })
})
