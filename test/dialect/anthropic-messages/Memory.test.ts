import { describe, expect, it } from "vitest"
import { memory } from "../../../src/dialect/anthropic-messages/Memory.ts"
import { continueWith } from "../../../src/dialect/anthropic-messages/Tools.ts"
import type { HiddenTurn } from "../../../src/dialect/ToolMemory.ts"
import { Random } from "../../wire/Random.ts"
import { expectForgotten, expectUntouched, goneOn, hiding, json, Kept, recalled, staysAsItIs } from "../Kept.ts"

type Block = Readonly<Record<string, unknown>>
type Turn = ReadonlyArray<Block>

const text = (said: string): Block => ({ type: "text", text: said })
const thinking = (said: string): Block => ({ type: "thinking", thinking: said, signature: `signed ${said}` })
const use = (id: string, name: string, input: unknown = {}): Block => ({ type: "tool_use", id, name, input })
const hidden = (id: string): Block => use(id, "bmcp_docs_search", { q: id })
const isUse = ({ type }: Block) => type === "tool_use"
const isHidden = ({ name }: Block) => typeof name === "string" && name.startsWith("bmcp_")

const assistant = (content: unknown) => ({ role: "assistant", content })
const user = (content: unknown) => ({ role: "user", content })
const answerTo = (id: string): Block => ({ type: "tool_result", tool_use_id: id, content: "text" })

const turnsOf = (turns: ReadonlyArray<Turn>): ReadonlyArray<HiddenTurn> =>
  turns.map((turn) =>
    hiding(
      [JSON.stringify(assistant(turn))],
      turn.filter(isHidden).map(({ id }) => String(id))
    )
  )

/** The blocks that the client sees of an answer, and sends back. */
const shown = (turns: ReadonlyArray<Turn>): Array<Block> => turns.flat().filter((block) => !isHidden(block))

/** The messages that the upstream has seen, up to the end of the answer. */
const history = (
  messages: ReadonlyArray<unknown>,
  turns: ReadonlyArray<Turn>
): Array<{ role: string; content: unknown }> => {
  const body = goneOn(continueWith, { messages }, turnsOf(turns)) as {
    messages: Array<{ role: string; content: unknown }>
  }
  return body.messages
}

/** The same with what the client answers beside the results of the last turn. */
const historyWith = (messages: ReadonlyArray<unknown>, turns: ReadonlyArray<Turn>, own: ReadonlyArray<Block>) => {
  const all = history(messages, turns)
  if (all.at(-1)!.role !== "user") return [...all, user(own)]
  return [...all.slice(0, -1), user([...(all.at(-1)!.content as ReadonlyArray<Block>), ...own])]
}

const prompt = user("How does it work?")
const thanks = user("Thanks. And now?")
const thought = thinking("I should look it up")
const plain: ReadonlyArray<Turn> = [
  [thought, text("I look it up.\n\n"), hidden("toolu_h1a2b3c4d5"), hidden("toolu_h2a2b3c4d5")],
  [hidden("toolu_h3a2b3c4d5")],
  [thinking("found"), text("It works.")]
]
const readFile = use("toolu_c1a2b3c4d5", "Read", { path: "a.txt", lines: [1, 2] })
const fileRead = answerTo("toolu_c1a2b3c4d5")
const mixed: ReadonlyArray<Turn> = [
  [thought, text("First "), hidden("toolu_m1a2b3c4d5")],
  [text("this."), hidden("toolu_m2a2b3c4d5"), readFile, hidden("toolu_m3a2b3c4d5")]
]
const first = { messages: [prompt] }
const cached = { cache_control: { type: "ephemeral" } }

describe("memory of Messages", () => {
  it("cuts an answer into the messages of its turns, with hidden calls and results in them", () => {
    const later = { messages: [prompt, assistant(shown(plain)), thanks] }
    expect(recalled(memory, first, turnsOf(plain), later)).toEqual({ messages: [...history([prompt], plain), thanks] })
  })

  it("puts the results of hidden calls before those of the client's, in one message", () => {
    const later = { messages: [prompt, assistant(shown(mixed)), user([fileRead, text("Go on")])], max_tokens: 9 }
    expect(recalled(memory, first, turnsOf(mixed), later)).toEqual({
      messages: historyWith([prompt], mixed, [fileRead, text("Go on")]),
      max_tokens: 9
    })
  })

  it("keeps the marks for caches where Claude Code moves them, and passes over its instructions", () => {
    const blocks = shown(mixed).map((block) => (isUse(block) ? { ...block, ...cached } : block))
    const note = { role: "system", content: "now", output_config: { effort: "low" } }
    const asked = user([{ ...text("How does it work?"), ...cached }])
    const later = { messages: [asked, note, assistant(blocks), note, user([{ ...fileRead, ...cached }])] }
    const [, said, answers, own, results] = historyWith([prompt], mixed, [{ ...fileRead, ...cached }])
    const marked = (own!.content as ReadonlyArray<Block>).map((block) =>
      block.id === readFile.id ? { ...block, ...cached } : block
    )
    expect(recalled(memory, first, turnsOf(mixed), later)).toEqual({
      messages: [asked, note, said, answers, assistant(marked), note, results]
    })
  })

  it.each<readonly [string, unknown]>([
    ["a string", "I look it up.\n\nIt works."],
    ["a string without white space around it", "\nI look it up.\n\nIt works."],
    ["one block", [text("I look it up.\n\nIt works.")]]
  ])("cuts text apart that a client has joined to %s", (_, content) => {
    const withoutThoughts = plain.map((turn) => turn.filter(({ type }) => type !== "thinking"))
    const { messages } = recalled(memory, first, turnsOf(plain), {
      messages: [prompt, assistant(content), thanks]
    }) as { messages: ReadonlyArray<unknown> }
    const leading = typeof content === "string" && content.startsWith("\n") ? "\n" : ""
    const expected = history([prompt], withoutThoughts)
    const [said, ...others] = expected[1]!.content as ReadonlyArray<Block>
    expected[1] = assistant([text(leading + String(said!.text)), ...others])
    expect(messages).toEqual([...expected, thanks])
  })

  it("keeps what is said of a block that was joined at the end of the block", () => {
    const block = { ...text("I look it up. It works."), ...cached }
    const { messages } = recalled(memory, first, turnsOf(plain), {
      messages: [prompt, assistant([block]), thanks]
    }) as { messages: ReadonlyArray<{ content: unknown }> }
    expect(messages[5]!.content).toEqual([{ ...text("It works."), ...cached }])
    expect((messages[1]!.content as ReadonlyArray<Block>)[0]).toEqual(text("I look it up. "))
  })

  it("puts thoughts back that a client left out, where the model thinks and the turn has hidden calls", () => {
    const blocks = shown(plain).filter(({ type }) => type !== "thinking")
    const later = { thinking: { type: "enabled", budget_tokens: 1024 }, messages: [prompt, assistant(blocks), thanks] }
    const expected = history([prompt], plain)
    expected[5] = assistant([text("It works.")])
    expect(recalled(memory, first, turnsOf(plain), later)).toEqual({ ...later, messages: [...expected, thanks] })
    const off = { ...later, thinking: { type: "disabled" } }
    expected[1] = assistant((expected[1]!.content as ReadonlyArray<Block>).slice(1))
    expect(recalled(memory, first, turnsOf(plain), off)).toEqual({ ...off, messages: [...expected, thanks] })
  })

  it("keeps every byte of a client's blocks", () => {
    const signed =
      '{"thinking":"I should look it \\u0075p" , "signature":"signed I should look it up","type":"thinking"}'
    const said = '{ "text":"I look it \\u0075p.", "n":1.0e0,"type":"text"}'
    const body = `{"messages":[${JSON.stringify(prompt)},{"content":[ ${signed}, ${said} ,${JSON.stringify(
      thinking("found")
    )},{"type":"text","text":"It works."}],"role":"assistant"},${JSON.stringify(thanks)}],"z":"\\u0061"}`
    const kept = new Kept().keep(memory.remember(json(first), turnsOf(plain)))
    const sent = memory.recall(Buffer.from(body), kept.find).toString()
    expect(sent).toContain(`{"role":"assistant","content":[${signed},${said},{"type":"tool_use"`)
    expect(sent.endsWith(`"role":"assistant"},${JSON.stringify(thanks)}],"z":"\\u0061"}`)).toBe(true)
  })

  it("knows blocks of tools that the provider ran, also where a client leaves them out", () => {
    const search = { type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: { query: "x" } }
    const found = { type: "web_search_tool_result", tool_use_id: "srvtoolu_1", content: [] }
    const turns: ReadonlyArray<Turn> = [[search, found, text("A"), hidden("toolu_h1a2b3c4d5")], [text("B")]]
    const later = { messages: [prompt, assistant(shown(turns)), thanks] }
    expect(recalled(memory, first, turnsOf(turns), later)).toEqual({ messages: [...history([prompt], turns), thanks] })
    const less = turns.map((turn) => turn.filter((block) => block !== search && block !== found))
    expect(recalled(memory, first, turnsOf(turns), { messages: [prompt, assistant(shown(less)), thanks] })).toEqual({
      messages: [...history([prompt], less), thanks]
    })
  })

  it("leaves out a last turn that came to nothing", () => {
    const turns: ReadonlyArray<Turn> = [[text("All said."), hidden("toolu_h1a2b3c4d5")], []]
    expect(recalled(memory, first, turnsOf(turns), { messages: [prompt, assistant(shown(turns)), thanks] })).toEqual({
      messages: [...history([prompt], turns.slice(0, 1)), thanks]
    })
  })

  it("puts several answers of one request back", () => {
    const kept = new Kept()
      .keep(memory.remember(json(first), turnsOf(mixed)))
      .keep(memory.remember(json({ messages: [prompt, assistant(shown(mixed)), user([fileRead])] }), turnsOf(plain)))
    const later = {
      messages: [prompt, assistant(shown(mixed)), user([fileRead]), assistant(shown(plain)), thanks]
    }
    const expected = [...history(historyWith([prompt], mixed, [fileRead]), plain), thanks]
    expect(JSON.parse(memory.recall(json(later), kept.find).toString())).toEqual({ messages: expected })
  })

  it.each<readonly [string, (blocks: Array<Block>) => ReadonlyArray<unknown>]>([
    ["with other arguments", (blocks) => [...blocks.slice(0, -1), { ...readFile, input: { path: "b.txt" } }]],
    ["of another tool", (blocks) => [...blocks.slice(0, -1), { ...readFile, name: "Write" }]],
    ["with another id", (blocks) => [...blocks.slice(0, -1), { ...readFile, id: "toolu_other123" }]],
    ["with more calls", (blocks) => [...blocks, use("toolu_more1234", "Read")]],
    ["with a call before it", (blocks) => [use("toolu_more1234", "Read"), ...blocks]],
    ["with other text", (blocks) => blocks.with(1, text("Second "))],
    ["with other text of the same length", (blocks) => blocks.with(1, text("Third "))],
    ["without a text", (blocks) => blocks.toSpliced(1, 1)],
    ["with a thought that is another", (blocks) => blocks.with(0, thinking("something else"))],
    ["that has a hidden call", (blocks) => [...blocks, hidden("toolu_m2a2b3c4d5")]],
    ["with something that is no block", (blocks) => [...blocks, null]]
  ])("leaves an answer alone %s", (_, change) => {
    const messages = [prompt, assistant(change(shown(mixed))), user([fileRead])]
    expect(staysAsItIs(memory, first, turnsOf(mixed), { messages })).toBe(true)
  })

  it("leaves an answer alone whose hidden calls the client has sent itself", () => {
    const known = history([], [[hidden("toolu_m2a2b3c4d5")]])
    const messages = [...known, prompt, assistant(shown(mixed)), user([fileRead])]
    expect(staysAsItIs(memory, first, turnsOf(mixed), { messages })).toBe(true)
  })

  it("leaves an answer alone whose calls the client has not answered", () => {
    for (const next of [[], [user("Stop")], [assistant("Hm"), user([fileRead])], [user([answerTo("toolu_other")])]])
      expect(staysAsItIs(memory, first, turnsOf(mixed), { messages: [prompt, assistant(shown(mixed)), ...next] })).toBe(
        true
      )
  })

  it("finds text only behind the prompt that it answered", () => {
    const later = { messages: [user("Something else?"), assistant(shown(plain)), thanks] }
    expect(staysAsItIs(memory, first, turnsOf(plain), later)).toBe(true)
  })

  it("keeps nothing of answers that hide nothing, could not be found, or lack a result", () => {
    expectForgotten(memory, first, turnsOf(plain), [
      turnsOf([[text("Hi"), readFile]]),
      turnsOf([[hidden("toolu_1")], [thinking("hm")]])
    ])
  })

  it("stands values that are not its own, and requests that are none", () => {
    const later = { messages: [prompt, assistant(shown(plain)), thanks, null, { role: "assistant" }] }
    expectUntouched(memory, later, ['{"messages":{}}', '{"messages":[[]]}'])
  })

  it("puts back what any conversation had hidden", () => {
    for (let seed = 0; seed < 150; seed++) {
      const random = new Random(seed)
      const some = (most: number) => random.below(most + 1)
      let count = 0
      const id = () => `toolu_${seed}x${count++}9z8y7x6w`
      const said = (): ReadonlyArray<Block> =>
        Array.from({ length: some(2) }, () =>
          some(3) === 0 ? thinking(`t${count++}`) : text(["Hm. ", "So:\n"][some(1)]!)
        )
      const kept = new Kept()
      let upstream: Array<unknown> = []
      const client: Array<unknown> = []
      let asked: unknown = user("begin")
      for (let answers = some(3) + 1; answers > 0; answers--) {
        if (asked !== null) {
          upstream.push(asked)
          client.push(asked)
        }
        const turns: Array<Turn> = Array.from({ length: some(3) }, () => [
          ...said(),
          ...Array.from({ length: some(2) + 1 }, () => hidden(id()))
        ])
        const own = Array.from({ length: some(2) }, () => use(id(), "Read", { n: some(9) }))
        const beside = own.length === 0 ? [] : Array.from({ length: some(2) }, () => hidden(id()))
        const end = own.length === 0 ? [text(`done ${count++}`)] : [...own, ...beside].sort(() => some(1) - 0.5)
        turns.push([...said(), ...end])
        kept.keep(memory.remember(json({ messages: client }), turnsOf(turns)))
        client.push(assistant(shown(turns)))
        const results = own.map((block) => answerTo(String(block.id)))
        asked = own.length === 0 ? user(`prompt ${count++}`) : null
        upstream = own.length === 0 ? history(upstream, turns) : historyWith(upstream, turns, results)
        if (own.length > 0) client.push(user(results))
      }
      const sent = memory.recall(json({ messages: client }), kept.find)
      expect(JSON.parse(sent.toString()).messages, `seed ${seed}`).toEqual(upstream)
    }
  })
})
