import { MessageStream } from "@anthropic-ai/sdk/lib/MessageStream"
import { describe, expect, it } from "vitest"
import { anthropicMessages } from "../../src/dialect/anthropic-messages/AnthropicMessages.ts"
import type { Dialect } from "../../src/dialect/Dialect.ts"
import { isObject } from "../../src/dialect/Json.ts"
import { openAiChat } from "../../src/dialect/openai-chat/OpenAiChat.ts"
import { openAiResponses } from "../../src/dialect/openai-responses/OpenAiResponses.ts"
import type { HiddenTurn } from "../../src/dialect/ToolMemory.ts"
import type { Frame } from "../../src/wire/Frame.ts"
import * as messages from "./anthropic-messages/Turns.ts"
import { json, Kept } from "./Kept.ts"
import * as chat from "./openai-chat/Turns.ts"
import * as responses from "./openai-responses/Turns.ts"

/** A turn as the engine hands it over, read from its frames. */
const hiddenTurn = (
  dialect: Dialect,
  body: Buffer,
  frames: ReadonlyArray<Frame>,
  injected: ReadonlySet<string>
): HiddenTurn => {
  const asked = dialect.view(body)
  if (asked._tag === "BadRequest") throw new Error(asked.message)
  const reader = dialect.turn({ asked, injected })
  for (const frame of frames) reader.push(frame, [])
  reader.end(false, [])
  const { responseId, toolCalls } = reader.summary()
  const ids = toolCalls.filter(({ runner }) => runner === "gateway").map(({ callId }) => callId)
  return {
    output: dialect.output(frames)!,
    injected: new Set(ids),
    results: ids.map((callId) => ({ callId, content: [{ type: "text", text: `of ${callId}` }], isError: false })),
    responseId
  }
}

/** The request that the upstream should get, and the one that it gets. */
const compared = (
  dialect: Dialect,
  request: { readonly [name: string]: unknown },
  list: "messages" | "input",
  turns: ReadonlyArray<ReadonlyArray<Frame>>,
  injected: ReadonlySet<string>,
  repeated: ReadonlyArray<unknown>
) => {
  const body = json(request)
  const hidden = turns.map((frames) => hiddenTurn(dialect, body, frames, injected))
  let upstream = body
  for (const { output, results } of hidden) upstream = dialect.edit.continueWith(upstream, output, results)!
  const later = json({ ...request, [list]: [...(request[list] as ReadonlyArray<unknown>), ...repeated] })
  const kept = new Kept().keep(dialect.memory!.remember(body, hidden))
  const sent = dialect.memory!.recall(later, kept.find)
  expect(sent).not.toBe(later)
  return { expected: JSON.parse(upstream.toString())[list], sent: JSON.parse(sent.toString())[list] }
}

/** The member of a message without those that say nothing. */
const spoken = (message: unknown): unknown =>
  isObject(message)
    ? Object.fromEntries(Object.entries(message).filter(([name, value]) => name === "content" || value !== null))
    : message

describe("what OpenAI's SDK makes of a chat completion", () => {
  const { call, done, finish, role, text } = chat
  const request = { model: "m", messages: [{ role: "user", content: "Go" }], stream: true }
  const first = role + text("One.\n") + call(0, "bmcp_a") + call(1, "bmcp_b") + finish("tool_calls") + done

  it.each<readonly [string, string]>([
    ["text", role + text("Two.") + finish("stop") + done],
    ["calls of both", role + text("Two.") + call(0, "bmcp_b") + call(1, "mine") + finish("tool_calls") + done],
    ["a call of the client's", role + call(0, "mine") + finish("tool_calls") + done]
  ])("is put back where an answer ends with %s", async (_, last) => {
    const completion = await chat.accumulate(chat.answer([first, last]).shown)
    const turns = [first, last].map((source) => chat.framesOf(source))
    const { expected, sent } = compared(openAiChat, request, "messages", turns, chat.injected, [
      completion.choices[0]!.message
    ])
    expect(sent.map(spoken)).toEqual(expected.map(spoken))
  })
})

describe("what Anthropic's SDK makes of a message", () => {
  const { call, say, think } = messages
  const request = { model: "m", max_tokens: 9, messages: [{ role: "user", content: "Go" }] }
  const first = { blocks: [think("Hm", "c2ln"), say("One. "), call("toolu_0", "bmcp_a_one", { x: 1 })] }

  it.each<readonly [string, messages.Turn]>([
    ["text", { blocks: [think("So", "c2lnMg"), say("Two.")] }],
    ["calls of both", { blocks: [say("Two."), call("toolu_1", "bmcp_a_two"), call("toolu_2", "mine", { y: [1] })] }],
    ["a call of the client's", { blocks: [call("toolu_2", "mine", { y: [1] })] }]
  ])("is put back where an answer ends with %s", async (_, last) => {
    for (const turns of [messages.streamed([first, last]), messages.bodies([first, last])]) {
      const shown = messages.answered(turns)
      const body = shown.find(({ kind }) => kind === "body")
      const lines = shown.flatMap((frame) => (frame.kind === "event" ? [`${frame.data}\n`] : []))
      const encoded = lines.map((line) => new TextEncoder().encode(line))
      const { content } =
        body === undefined
          ? await MessageStream.fromReadableStream(ReadableStream.from(encoded)).finalMessage()
          : (body.json as { readonly content: ReadonlyArray<object> })
      const ends = last.blocks.some(({ name }) => name === "mine")
      const results = ends ? [{ type: "tool_result", tool_use_id: "toolu_2", content: "done" }] : []
      const back = [{ role: "assistant", content }, ...(ends ? [{ role: "user", content: results }] : [])]
      const { expected, sent } = compared(anthropicMessages, request, "messages", turns, messages.injected, back)
      const ending = expected.at(-1)
      if (ending.role === "user") ending.content.push(...results)
      else if (ends) expected.push({ role: "user", content: results })
      expect(sent).toEqual(expected)
    }
  })
})

describe("the output of a response", () => {
  const { call, message, reasoning } = responses
  const request = { model: "m", input: [{ role: "user", content: "Go" }] }
  const first: responses.Turn = { id: "resp_0", items: [reasoning("a"), message("a"), call("0"), call("1")] }

  it.each<readonly [string, ReadonlyArray<responses.Item>]>([
    ["text", [reasoning("b"), message("b")]],
    ["calls of both", [message("b"), call("2"), call("3", "mine")]],
    ["a call of the client's", [call("3", "mine")]]
  ])("is put back where an answer ends with %s", (_, items) => {
    for (const carrier of ["sse", "ws", "json"] as const) {
      const turns = [first, { id: "resp_1", items }].map((turn) => responses.framesOf(turn, carrier))
      const last = responses.answerOf(turns).shown.at(-1)!.json as { response?: { output: [] }; output: [] }
      const { output } = last.response ?? last
      const { expected, sent } = compared(openAiResponses, request, "input", turns, responses.injected, output)
      expect(sent).toEqual(expected)
    }
  })
})
