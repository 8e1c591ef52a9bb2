import { describe, expect, it } from "vitest"
import { memory as messages } from "../../src/dialect/anthropic-messages/Memory.ts"
import { memory as chat } from "../../src/dialect/openai-chat/Memory.ts"
import { memory as responses } from "../../src/dialect/openai-responses/Memory.ts"
import type { HiddenTurn, ToolMemory } from "../../src/dialect/ToolMemory.ts"
import { json, Kept } from "./Kept.ts"

interface Form {
  readonly memory: ToolMemory
  readonly list: "messages" | "input"
  /** A turn with a hidden call, and one that says something. */
  readonly call: (id: string) => string
  readonly says: (text: string) => string
}

const item = (id: string) => ({ type: "function_call", call_id: id, name: "bmcp_look", arguments: "{}" })
const said = (content: unknown) => ({ role: "assistant", content })

const forms: ReadonlyArray<readonly [string, Form]> = [
  [
    "Chat Completions",
    {
      memory: chat,
      list: "messages",
      call: (id) =>
        JSON.stringify({
          role: "assistant",
          content: null,
          tool_calls: [{ id, type: "function", function: { name: "bmcp_look", arguments: "{}" } }]
        }),
      says: (text) => JSON.stringify(said(text))
    }
  ],
  [
    "Messages",
    {
      memory: messages,
      list: "messages",
      call: (id) => JSON.stringify(said([{ type: "tool_use", id, name: "bmcp_look", input: {} }])),
      says: (text) => JSON.stringify(said([{ type: "text", text }]))
    }
  ],
  [
    "Responses",
    {
      memory: responses,
      list: "input",
      call: (id) => JSON.stringify(item(id)),
      says: (text) => JSON.stringify({ type: "message", ...said([{ type: "output_text", text }]) })
    }
  ]
]

const user = (content: unknown) => ({ role: "user", content })
const answer = said("All good.")

for (const [name, { call, list, memory, says }] of forms) {
  const turns = (id: string, text = "result"): ReadonlyArray<HiddenTurn> => [
    {
      output: [call(id)],
      injected: new Set([id]),
      results: [{ callId: id, content: [{ type: "text", text }], isError: false }]
    },
    { output: [says("All good.")], injected: new Set(), results: [] }
  ]
  const ask = (...list_: ReadonlyArray<unknown>) => json({ [list]: list_ })
  const first = "call_1a2b3c4d5e"
  const second = "call_2a2b3c4d5e"
  const times = (body: Buffer, id: string) => body.toString().split(`"${id}"`).length - 1

  describe(`answers of ${name} that look alike`, () => {
    it("each get back what was hidden of them, at their own place", () => {
      const kept = new Kept()
        .keep(memory.remember(ask(user("status?")), turns(first)))
        .keep(memory.remember(ask(user("status?"), answer, user("status?")), turns(second)))
      const body = memory.recall(ask(user("status?"), answer, user("status?"), answer, user("why?")), kept.find)
      // The call and its result.
      expect(times(body, first)).toBe(2)
      expect(times(body, second)).toBe(2)
      expect(body.indexOf(first)).toBeLessThan(body.indexOf(second))
    })

    it("get nothing where another conversation or session says the same", () => {
      const kept = new Kept().keep(memory.remember(ask(user("status?")), turns(first), "s1"))
      const elsewhere = ask(user("Hi"), said("Hello."), user("status?"), answer, user("why?"))
      expect(memory.recall(elsewhere, kept.find, undefined, "s1")).toBe(elsewhere)
      const same = ask(user("status?"), answer, user("why?"))
      expect(memory.recall(same, kept.find, undefined, "s2")).toBe(same)
      expect(memory.recall(same, kept.find)).toBe(same)
      expect(times(memory.recall(same, kept.find, undefined, "s1"), first)).toBe(2)
    })

    it("are found again though a client changes its notes, its instructions, and what it says of caches", () => {
      const note = (text: string) => ({ type: "text", text: `<system-reminder>${text}</system-reminder>` })
      const asked = (text: string, more: object) => user([note(text), { type: "text", text: "status?", ...more }])
      const kept = new Kept().keep(
        memory.remember(ask(user(`<system-reminder>0</system-reminder>`), asked("1", {})), turns(first))
      )
      const later = ask(asked("2", { cache_control: { type: "ephemeral" } }), { role: "system", content: "x" }, answer)
      expect(times(memory.recall(later, kept.find), first)).toBe(2)
    })

    it("make a request no larger than what is kept, however often one is repeated", () => {
      const kept = new Kept().keep(memory.remember(ask(user("hi")), turns(first, "x".repeat(100_000))))
      const repeated = Array.from({ length: 500 }, () => [user("hi"), answer]).flat()
      expect(memory.recall(ask(...repeated), kept.find).length).toBeLessThan(200_000)
    })

    it("stay as they are where the request would become larger than there is room for", () => {
      const kept = new Kept().keep(memory.remember(ask(user("hi")), turns(first, "x".repeat(1_000))))
      const body = ask(user("hi"), answer)
      const whole = memory.recall(body, kept.find)
      expect(memory.recall(body, kept.find, whole.length)).toEqual(whole)
      expect(memory.recall(body, kept.find, whole.length - 1)).toBe(body)
    })

    it("owe nothing to the upstream where no turn ended on calls of both sides", () => {
      expect(memory.remember(ask(user("hi")), turns(first)).some(({ owed }) => owed)).toBe(false)
    })

    it.each<readonly [string, ReadonlyArray<unknown>]>([
      ["many short ones", [user("zz"), ...Array.from({ length: 50_000 }, () => said("a"))]],
      ["many behind a long text", [user("z".repeat(2_000_000)), ...Array.from({ length: 2_000 }, () => said("a"))]],
      ["many notes that do not end", [user("<system-reminder>".repeat(100_000)), ...Array(2_000).fill(said("a"))]],
      ["many notes", [user("<system-reminder></system-reminder>".repeat(50_000)), ...Array(2_000).fill(said("a"))]]
    ])("take no long time: %s", (_, all) => {
      const body = ask(...all)
      memory.recall(body, () => null)
      const begun = performance.now()
      expect(memory.recall(body, () => null)).toBe(body)
      expect(performance.now() - begun).toBeLessThan(1_000)
    })
  })
}
