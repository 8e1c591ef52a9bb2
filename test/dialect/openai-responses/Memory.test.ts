import { describe, expect, it } from "vitest"
import { memory } from "../../../src/dialect/openai-responses/Memory.ts"
import { continueWith } from "../../../src/dialect/openai-responses/Tools.ts"
import type { HiddenTurn } from "../../../src/dialect/ToolMemory.ts"
import { Random } from "../../wire/Random.ts"
import { expectForgotten, expectUntouched, goneOn, hiding, json, Kept, recalled, staysAsItIs } from "../Kept.ts"

type Item = Readonly<Record<string, unknown>>
type Turn = ReadonlyArray<Item>

const message = (text: string): Item => ({
  id: `msg_${text.length}_${text.trim().replace(/\W+/g, "_")}`,
  type: "message",
  role: "assistant",
  status: "completed",
  content: [{ type: "output_text", text, annotations: [] }]
})
const reasoning = (name: string): Item => ({
  id: `rs_${name}`,
  type: "reasoning",
  summary: [{ type: "summary_text", text: `thought ${name}` }],
  encrypted_content: `sealed ${name}`
})
const call = (id: string, name: string, given: unknown = {}): Item => ({
  id: `fc_${id}`,
  type: "function_call",
  call_id: id,
  name,
  arguments: JSON.stringify(given),
  status: "completed"
})
const hidden = (id: string): Item => call(id, "bmcp_docs_search", { q: id })
const isHidden = ({ name }: Item) => typeof name === "string" && name.startsWith("bmcp_")
const resultItem = (item: Item) => ({
  type: "function_call_output",
  call_id: item.call_id,
  output: `result of ${item.call_id}`
})
const user = (text: string): Item => ({ type: "message", role: "user", content: [{ type: "input_text", text }] })
const answerTo = (id: string): Item => ({ type: "function_call_output", call_id: id, output: "text" })

const turnsOf = (turns: ReadonlyArray<Turn>): ReadonlyArray<HiddenTurn> =>
  turns.map((turn, index) => ({
    ...hiding(
      turn.map((item) => JSON.stringify(item)),
      turn.filter(isHidden).map(({ call_id }) => String(call_id))
    ),
    responseId: `resp_${index}`
  }))

/** The items that the client sees of an answer, and sends back. */
const shown = (turns: ReadonlyArray<Turn>): ReadonlyArray<Item> => turns.flat().filter((item) => !isHidden(item))

/** The items that the upstream has seen, up to the end of the answer. */
const history = (input: ReadonlyArray<unknown>, turns: ReadonlyArray<Turn>): Array<Item> => {
  const body = goneOn(continueWith, { input }, turnsOf(turns)) as { input: Array<Item> }
  return body.input
}

const without =
  (...names: ReadonlyArray<string>) =>
  (item: Item): Item =>
    isHidden(item) ? item : Object.fromEntries(Object.entries(item).filter(([name]) => !names.includes(name)))

const prompt = user("How does it work?")
const thanks = user("Thanks. And now?")
const plain: ReadonlyArray<Turn> = [
  [reasoning("one"), message("I look it up.\n\n"), hidden("call_h1a2b3c4d5"), hidden("call_h2a2b3c4d5")],
  [hidden("call_h3a2b3c4d5")],
  [reasoning("two"), message("It works.")]
]
const readFile = call("call_c1a2b3c4d5", "read_file", { path: "a.txt", lines: [1, 2] })
const fileRead = answerTo("call_c1a2b3c4d5")
const mixed: ReadonlyArray<Turn> = [
  [reasoning("one"), message("First "), hidden("call_m1a2b3c4d5")],
  [message("this."), hidden("call_m2a2b3c4d5"), readFile, hidden("call_m3a2b3c4d5")]
]
const first = { input: [prompt] }

describe("memory of Responses", () => {
  it("puts hidden calls and their results back between the items of an answer", () => {
    const later = { model: "m", input: [prompt, ...shown(plain), thanks] }
    expect(recalled(memory, first, turnsOf(plain), later)).toEqual({
      model: "m",
      input: [...history([prompt], plain), thanks]
    })
  })

  it("puts hidden calls back beside the client's, and their results before the client's", () => {
    const later = { input: [prompt, ...shown(mixed), fileRead] }
    expect(recalled(memory, first, turnsOf(mixed), later)).toEqual({ input: [...history([prompt], mixed), fileRead] })
  })

  it("knows an answer to a prompt that was a string", () => {
    const later = { input: [{ role: "user", content: "How does it work?" }, ...shown(plain), thanks] }
    expect(recalled(memory, { input: "How does it work?" }, turnsOf(plain), later)).toEqual({
      input: [later.input[0], ...history([], plain), thanks]
    })
  })

  it.each<readonly [string, (item: Item) => Item]>([
    ["without ids, as opencode", without("id", "status")],
    ["as Codex, with content of null", (item) => (item.type === "reasoning" ? { ...item, content: null } : item)],
    ["without what was encrypted", without("encrypted_content")],
    ["with nothing of thoughts but their summary", without("encrypted_content", "id", "status")],
    [
      "with content that is a string",
      (item) =>
        item.type === "message"
          ? { role: "assistant", content: (item.content as ReadonlyArray<Item>)[0]!.text as string }
          : item
    ],
    ["with text that is trimmed", (item) => (item.type === "message" ? trimmed(item) : item)],
    ["with references to thoughts, as the AI SDK", (item) => (item.type === "reasoning" ? referenceTo(item) : item)],
    ["with references to all but calls", (item) => (item.type === "function_call" ? item : referenceTo(item))],
    ["with references to all", referenceTo]
  ])("knows an answer again %s", (_, change) => {
    for (const [turns, next] of [
      [plain, thanks],
      [mixed, fileRead]
    ] as const) {
      const later = { input: [prompt, ...shown(turns).map(change), next] }
      const isOwn = (item: Item) => item !== prompt && !isHidden(item) && item.type !== "function_call_output"
      const expected = [prompt, ...history([], turns).map((item) => (isOwn(item) ? change(item) : item))]
      expect(recalled(memory, first, turnsOf(turns), later)).toEqual({ input: [...expected, next] })
    }
  })

  it("puts thoughts back that a client left out before a hidden call, where the upstream can read them", () => {
    const sealed = plain.map((turn) => turn.filter(({ type }) => type !== "reasoning"))
    const input = [prompt, ...shown(sealed), thanks]
    const expected = history([prompt], plain).filter(({ id }) => id !== "rs_two")
    expect(recalled(memory, first, turnsOf(plain), { input, store: false })).toEqual({
      input: [...expected, thanks],
      store: false
    })
    const open = plain.map((turn) => turn.map(without("encrypted_content")))
    const readable = expected.map(without("encrypted_content"))
    expect(recalled(memory, first, turnsOf(open), { input })).toEqual({ input: [...readable, thanks] })
    expect(recalled(memory, first, turnsOf(open), { input, store: false })).toEqual({
      input: [...readable.filter(({ type }) => type !== "reasoning"), thanks],
      store: false
    })
  })

  it.each<readonly [string, unknown, unknown]>([
    ["a string", "I look it up.\n\nIt works.", "It works."],
    [
      "one part",
      [{ type: "output_text", text: "I look it up.\n\nIt works." }],
      [{ type: "output_text", text: "It works." }]
    ],
    [
      "one message",
      [
        { type: "output_text", text: "I look it up.\n\n" },
        { type: "output_text", text: "It works." }
      ],
      [{ type: "output_text", text: "It works." }]
    ]
  ])("cuts text apart that a client has joined to %s", (_, content, rest) => {
    const quiet = plain.map((turn) => turn.filter(({ type }) => type !== "reasoning"))
    const later = { input: [prompt, { role: "assistant", content }, thanks] }
    const [said, ...others] = history([], quiet).slice(0, -1)
    const cut = { type: "message", role: "assistant", content: [{ type: "output_text", text: "I look it up.\n\n" }] }
    expect(said!.type).toBe("message")
    expect(recalled(memory, first, turnsOf(quiet), later)).toEqual({
      input: [prompt, cut, ...others, { role: "assistant", content: rest }, thanks]
    })
  })

  it("knows an answer again where the client has put results between its calls", () => {
    const other = call("call_c2a2b3c4d5", "read_file", { path: "b.txt" })
    const turns: ReadonlyArray<Turn> = [[message("So."), readFile, hidden("call_m2a2b3c4d5"), other]]
    const later = { input: [prompt, message("So."), readFile, fileRead, other, answerTo("call_c2a2b3c4d5")] }
    const [secret] = turns[0]!.filter(isHidden)
    expect(recalled(memory, first, turnsOf(turns), later)).toEqual({
      input: [...later.input.slice(0, 3), secret, ...later.input.slice(3, 5), resultItem(secret!), later.input[5]]
    })
  })

  it("knows an answer again with an instruction in it", () => {
    const note = { role: "developer", content: "now" }
    const later = { input: [prompt, ...shown(mixed).toSpliced(2, 0, note), fileRead] }
    const { input } = recalled(memory, first, turnsOf(mixed), later) as { input: ReadonlyArray<unknown> }
    expect(input).toContainEqual(note)
    expect(input.filter((item) => (item as Item).role !== "developer")).toEqual([...history([prompt], mixed), fileRead])
  })

  it("leaves an answer alone that ends with more text than it had", () => {
    const turns: ReadonlyArray<Turn> = [[hidden("call_m2a2b3c4d5"), readFile, message("So.")]]
    const input = [prompt, readFile, message("So. And more."), fileRead]
    expect(staysAsItIs(memory, first, turnsOf(turns), { input })).toBe(true)
  })

  it("knows calls of custom tools and shells again", () => {
    const patch = { type: "custom_tool_call", call_id: "call_c1a2b3c4d5", name: "apply_patch", input: "*** Begin" }
    const shell = { type: "local_shell_call", call_id: "call_s1a2b3c4d5", id: "lsh_1", action: { command: ["ls"] } }
    for (const own of [patch, shell]) {
      const turns: ReadonlyArray<Turn> = [[{ ...own, status: "completed" }, hidden("call_m2a2b3c4d5")]]
      const output = { type: `${own.type}_output`, call_id: own.call_id, output: "done" }
      expect(recalled(memory, first, turnsOf(turns), { input: [prompt, own, output] })).toEqual({
        input: [prompt, own, ...history([], turns).slice(1), output]
      })
    }
  })

  it("knows items of tools that the provider ran, also where a client leaves them out", () => {
    const search = { type: "web_search_call", id: "ws_1", status: "completed", action: { type: "search", query: "x" } }
    const turns: ReadonlyArray<Turn> = [[search, hidden("call_h1a2b3c4d5")], [message("So.")]]
    for (const [kept, sent] of [
      [turns, shown(turns)],
      [turns.map((turn) => turn.filter((item) => item !== search)), [message("So.")]]
    ] as const)
      expect(recalled(memory, first, turnsOf(turns), { input: [prompt, ...sent, thanks] })).toEqual({
        input: [...history([prompt], kept), thanks]
      })
  })

  it.each<readonly [string, object]>([
    ["the first response", { previous_response_id: "resp_0" }],
    ["the last response", { previous_response_id: "resp_1" }],
    ["a conversation", { conversation: "conv_1" }],
    ["a conversation in an object", { conversation: { id: "conv_1" } }]
  ])("adds the results of hidden calls to those of the client's that go on from %s", (_, holder) => {
    const results = mixed[1]!.filter(isHidden).map(resultItem)
    const asked = { ...first, conversation: "conv_1" }
    expect(recalled(memory, asked, turnsOf(mixed), { ...holder, input: [fileRead, thanks] })).toEqual({
      ...holder,
      input: [...results, fileRead, thanks]
    })
  })

  it("owes the results of a turn that ended on calls of both sides", () => {
    const entries = memory.remember(json(first), turnsOf(mixed))
    expect(entries.length).toBeGreaterThan(1)
    expect(entries.every(({ owed }) => owed)).toBe(true)
  })

  it("adds results where an upstream holds calls that it counts anew", () => {
    const turns: ReadonlyArray<Turn> = [[hidden("call_0"), call("call_1", "read_file")]]
    const later = { previous_response_id: "resp_0", input: [answerTo("call_1")] }
    expect(recalled(memory, first, turnsOf(turns), later)).toEqual({
      ...later,
      input: [resultItem(hidden("call_0")), answerTo("call_1")]
    })
    expect(staysAsItIs(memory, first, turnsOf(turns), { ...later, previous_response_id: "resp_other" })).toBe(true)
    // Another answer to the same prompt has taken its place.
    const again = turnsOf(turns).map((turn) => ({ ...turn, responseId: "resp_again" }))
    const kept = new Kept().keep(memory.remember(json(first), turnsOf(turns)))
    const body = json(later)
    expect(memory.recall(body, kept.keep(memory.remember(json(first), again)).find)).toBe(body)
  })

  it("adds no result twice to what the upstream holds", () => {
    const holder = { previous_response_id: "resp_1" }
    const known = resultItem(hidden("call_m2a2b3c4d5"))
    expect(staysAsItIs(memory, first, turnsOf(mixed), { ...holder, input: [known, fileRead] })).toBe(true)
    expect(staysAsItIs(memory, first, turnsOf(mixed), { input: [fileRead] })).toBe(true)
    const twice = { ...holder, input: [fileRead, fileRead] }
    expect(recalled(memory, first, turnsOf(mixed), twice)).toEqual({
      ...holder,
      input: [...mixed[1]!.filter(isHidden).map(resultItem), fileRead, fileRead]
    })
    const named = { conversation: "conv_1", input: [prompt, ...shown(mixed).map(referenceTo), fileRead] }
    expect(recalled(memory, { ...first, conversation: "conv_1" }, turnsOf(mixed), named)).toEqual({
      conversation: "conv_1",
      input: [
        prompt,
        ...history([], mixed).map((item) =>
          isHidden(item) || item.type === "function_call_output" ? item : referenceTo(item)
        ),
        fileRead
      ]
    })
    const whole = { ...holder, input: [prompt, ...shown(mixed), fileRead] }
    expect(recalled(memory, first, turnsOf(mixed), whole)).toEqual({
      ...holder,
      input: [...history([prompt], mixed), fileRead]
    })
    const other = { ...holder, input: [{ ...readFile, arguments: "{}" }, fileRead] }
    expect(staysAsItIs(memory, first, turnsOf(mixed), other)).toBe(true)
  })

  it("puts several answers of one request back, and passes over one that was broken off", () => {
    const kept = new Kept()
      .keep(memory.remember(json(first), turnsOf(mixed)))
      .keep(memory.remember(json({ input: [prompt, ...shown(mixed), fileRead] }), turnsOf(plain)))
    const broken = [reasoning("broken"), message("I star")]
    const later = { input: [prompt, ...shown(mixed), fileRead, ...shown(plain), ...broken] }
    const expected = [...history([...history([prompt], mixed), fileRead], plain)]
    // What follows at once may be part of the answer: it is another then.
    const sent = (input: ReadonlyArray<unknown>) =>
      JSON.parse(memory.recall(json({ input }), kept.find).toString()).input
    expect(sent([...later.input.slice(0, -2), thanks, ...broken])).toEqual([...expected, thanks, ...broken])
    expect(sent(later.input)).toEqual([...history([prompt], mixed), fileRead, ...shown(plain), ...broken])
  })

  it("leaves every byte outside of what it puts in", () => {
    const text = (items: string) => `{ "n" : 1.0e0,\n "input": [ ${items} ], "unknown":"\\u0061" }`
    const [one, ...others] = shown(mixed).map((item) => JSON.stringify(item))
    const kept = new Kept().keep(memory.remember(json(first), turnsOf(mixed)))
    const body = text([JSON.stringify(prompt), one, ...others, JSON.stringify(fileRead)].join(" ,\n"))
    let sent = memory.recall(Buffer.from(body), kept.find).toString()
    for (const item of mixed.flat().filter(isHidden)) {
      for (const added of [item, resultItem(item)]) {
        expect(sent).toContain(`${JSON.stringify(added)},`)
        sent = sent.replace(`${JSON.stringify(added)},`, "")
      }
    }
    expect(sent).toBe(body)
  })

  it.each<readonly [string, (items: ReadonlyArray<Item>) => ReadonlyArray<unknown>]>([
    ["with other arguments", (items) => items.with(-1, { ...readFile, arguments: '{"path":"b.txt"}' })],
    ["of another tool", (items) => items.with(-1, { ...readFile, name: "write_file" })],
    ["of a tool in a namespace", (items) => items.with(-1, { ...readFile, namespace: "mcp__files" })],
    ["with another id", (items) => items.with(-1, { ...readFile, call_id: "call_other123" })],
    ["with a call before it", (items) => [call("call_more12345", "read_file"), ...items]],
    ["with other text", (items) => items.with(1, message("Second "))],
    ["with other text of the same length", (items) => items.with(1, message("Third "))],
    ["without a text", (items) => items.toSpliced(1, 1)],
    ["with a thought that is another", (items) => items.with(0, reasoning("three"))],
    ["that has a hidden call", (items) => [...items, hidden("call_m2a2b3c4d5")]],
    ["with a prompt in it", (items) => items.toSpliced(2, 0, thanks)],
    ["with something that is no item", (items) => items.toSpliced(2, 0, null as unknown as Item)]
  ])("leaves an answer alone %s", (_, change) => {
    const input = [prompt, ...change(shown(mixed)), fileRead]
    expect(staysAsItIs(memory, first, turnsOf(mixed), { input })).toBe(true)
  })

  it("finds text only behind the prompt that it answered", () => {
    const later = { input: [user("Something else?"), ...shown(plain), thanks] }
    expect(staysAsItIs(memory, first, turnsOf(plain), later)).toBe(true)
  })

  it("keeps nothing of answers that hide nothing, could not be found, or lack a result", () => {
    expectForgotten(memory, first, turnsOf(plain), [
      turnsOf([[message("Hi"), readFile]]),
      turnsOf([[hidden("call_1")], [reasoning("one")]])
    ])
  })

  it("stands values that are not its own, and requests that are none", () => {
    const later = { previous_response_id: "r", input: [prompt, ...shown(plain), thanks, null, fileRead] }
    expectUntouched(memory, later, ['{"input":"hi"}', '{"input":[[]]}'])
  })

  it("puts back what any conversation had hidden", () => {
    for (let seed = 0; seed < 150; seed++) {
      const random = new Random(seed)
      const some = (most: number) => random.below(most + 1)
      let count = 0
      const id = () => `call_${seed}x${count++}9z8y7x6w`
      const said = (): ReadonlyArray<Item> =>
        Array.from({ length: some(2) }, () =>
          some(1) === 0 ? reasoning(`t${count++}`) : message(["Hm. ", "So:\n"][some(1)]!)
        )
      const change = [(item: Item) => item, without("id", "status"), without("encrypted_content")][some(2)]!
      const kept = new Kept()
      let upstream: Array<Item> = []
      const client: Array<Item> = []
      for (let answers = some(3) + 1; answers > 0; answers--) {
        if (client.at(-1)?.type !== "function_call_output") {
          const asked = user(`prompt ${count++}`)
          upstream.push(asked)
          client.push(asked)
        }
        const turns: Array<Turn> = Array.from({ length: some(3) }, () => [
          ...said(),
          ...Array.from({ length: some(2) + 1 }, () => hidden(id()))
        ])
        const own = Array.from({ length: some(2) }, () => call(id(), "read_file", { n: some(9) }))
        const beside = own.length === 0 ? [] : Array.from({ length: some(2) }, () => hidden(id()))
        const end = own.length === 0 ? [message(`done ${count++}`)] : [...own, ...beside].sort(() => some(1) - 0.5)
        turns.push([...said(), ...end])
        kept.keep(memory.remember(json({ input: client }), turnsOf(turns)))
        const results = own.map(({ call_id }) => answerTo(String(call_id)))
        upstream = [
          ...history(
            upstream,
            turns.map((turn) => turn.map(change))
          ),
          ...results
        ]
        client.push(...shown(turns).map(change), ...results)
      }
      const sent = memory.recall(json({ input: client }), kept.find)
      expect(JSON.parse(sent.toString()).input, `seed ${seed}`).toEqual(upstream)
    }
  })
})

const trimmed = (item: Item): Item => ({
  ...item,
  content: (item.content as ReadonlyArray<Item>).map((part) => ({ ...part, text: String(part.text).trim() }))
})

const referenceTo = ({ id }: Item): Item => ({ type: "item_reference", id })
