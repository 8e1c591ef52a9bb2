import { describe, expect, it } from "vitest"
import { anthropicMessages } from "../../src/dialect/anthropic-messages/AnthropicMessages.ts"
import { CollectedText, TextRoom } from "../../src/dialect/CollectedText.ts"
import { openAiChat } from "../../src/dialect/openai-chat/OpenAiChat.ts"
import { openAiResponses } from "../../src/dialect/openai-responses/OpenAiResponses.ts"
import type { Dialect, TurnSummary } from "../../src/dialect/Dialect.ts"
import { type Frame, sse } from "../../src/wire/Frame.ts"

describe("collected text", () => {
  it("is whole where there is room", () => {
    const text = new CollectedText(new TextRoom(10_000))
    for (let i = 0; i < 3_000; i++) text.add(String(i % 10))
    expect(text.text).toBe("0123456789".repeat(300))
  })

  it("is cut, and marked so, where its turn's room ends", () => {
    const room = new TextRoom(10)
    const [first, second, third] = [new CollectedText(room), new CollectedText(room), new CollectedText(room)]
    first.add("abcdef")
    second.add("{}")
    first.add("ghij")
    first.add("klm")
    second.add("more")
    expect(first.text).toBe("abcdefgh…")
    expect(second.text).toBe("{}…")
    expect(third.text).toBe("")
    expect([room.whole(""), room.whole("x"), room.label("id"), room.label("x".repeat(2000))]).toEqual([
      "",
      "…",
      "id",
      "…"
    ])
  })

  it("does not hold its pieces one by one", () => {
    const pieces = Array.from({ length: 300_000 }, (_, i) => `${i % 7}ab`)
    const text = new CollectedText(new TextRoom())
    for (const piece of pieces) text.add(piece)
    expect(text.text).toBe(pieces.join(""))
  })
})

const megabyte = "x".repeat(1 << 20)

const event = (value: { readonly type?: string; readonly [name: string]: unknown }): Frame =>
  sse(value.type ?? "", JSON.stringify(value))

/** What is known of a turn in which some frames come forty times each. */
const summaryOf = (
  dialect: Dialect,
  begin: ReadonlyArray<Frame>,
  often: ReadonlyArray<Frame>,
  end: Frame
): TurnSummary => {
  const asked = dialect.view(Buffer.from('{"model":"m","input":"","messages":[],"max_tokens":1}'))
  if (asked._tag === "BadRequest") throw new Error(asked.message)
  const reader = dialect.turn({ asked })
  const out: Array<Frame> = []
  for (const frame of begin) reader.push(frame, out)
  for (let i = 0; i < 40; i++) for (const frame of often) reader.push(frame, out)
  reader.push(end, out)
  expect(reader.malformed).toBeNull()
  return reader.summary()
}

const lengthOf = ({ thoughts, toolCalls }: TurnSummary): number =>
  [...thoughts.map((thought) => thought.text), ...toolCalls.map((call) => call.arguments)].join("").length

describe("what is recorded of a turn that does not stop", () => {
  const most = 32 * (1 << 20)
  const chunk = (delta: object, more: object = {}) => event({ id: "c", choices: [{ index: 0, delta, ...more }] })
  const callChunk = (name: string | undefined, given: string) =>
    chunk({ tool_calls: [{ index: 0, id: "call_1", function: { name, arguments: given } }] })
  const begin = (index: number, content_block: object) => event({ type: "content_block_start", index, content_block })
  const delta = (index: number, said: object) => event({ type: "content_block_delta", index, delta: said })

  it.each([
    [
      "openai-chat",
      openAiChat,
      [callChunk("f", "")],
      [callChunk(undefined, megabyte), chunk({ reasoning: megabyte })],
      event({
        choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }],
        usage: { prompt_tokens: 3, completion_tokens: 4 }
      })
    ],
    [
      "anthropic-messages",
      anthropicMessages,
      [
        event({ type: "message_start", message: { id: "c", usage: { input_tokens: 3 } } }),
        begin(0, { type: "thinking", thinking: "" }),
        begin(1, { type: "tool_use", id: "call_1", name: "f", input: {} })
      ],
      [
        delta(0, { type: "thinking_delta", thinking: megabyte }),
        delta(1, { type: "input_json_delta", partial_json: megabyte })
      ],
      event({ type: "message_delta", delta: { stop_reason: "tool_calls" }, usage: { output_tokens: 4 } })
    ],
    [
      "openai-responses",
      openAiResponses,
      [event({ type: "response.created", response: { id: "c" } })],
      [
        event({
          type: "response.output_item.done",
          item: { type: "function_call", call_id: "call_1", name: "f", arguments: megabyte }
        }),
        event({
          type: "response.output_item.done",
          item: { type: "reasoning", summary: [{ type: "summary_text", text: megabyte }] }
        })
      ],
      event({
        type: "response.incomplete",
        response: {
          id: "c",
          incomplete_details: { reason: "tool_calls" },
          usage: { input_tokens: 3, output_tokens: 4 }
        }
      })
    ]
  ])("is bounded, but for its usage, ids and finish: %s", (_name, dialect, first, often, end) => {
    const summary = summaryOf(dialect, first, often, end)
    expect(lengthOf(summary)).toBeGreaterThanOrEqual(most)
    expect(lengthOf(summary)).toBeLessThan(most + 100)
    expect(summary).toMatchObject({ responseId: "c", finishReason: "tool_calls", usage: { input: 3, output: 4 } })
    expect(summary.toolCalls[0]).toMatchObject({ callId: "call_1", name: "f" })
    expect(summary.toolCalls.at(-1)!.arguments.endsWith("…")).toBe(true)
  })
})
