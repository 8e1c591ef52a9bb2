import { assert } from "@effect/vitest"
import type { JsonObject } from "../../../src/dialect/Json.ts"
import { anthropicMessagesCase, event } from "../AnthropicMessagesCase.ts"
import type { Counts } from "../DialectCase.ts"
import { addedTo, count, inPieces, list, object, readEvents, text } from "./Events.ts"
import type { LoopTurn, Part, Seen, Stop, ToolLoopCase } from "./ToolLoopCase.ts"

const reasons = { stop: "end_turn", length: "max_tokens", tools: "tool_use" } as const

const stopOf = (reason: unknown): Stop => {
  const found = Object.entries(reasons).find(([, word]) => word === reason)
  assert.isDefined(found, `no stop_reason: ${JSON.stringify(reason)}`)
  return found![0] as Stop
}

const early = ({ input, cacheRead }: Counts) => ({
  input_tokens: input,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: cacheRead
})

const late = ({ output, reasoning }: Counts) => ({
  output_tokens: output,
  output_tokens_details: { thinking_tokens: reasoning }
})

const message = (turn: LoopTurn, more: object) => ({
  model: "test-model-2025",
  id: turn.id,
  type: "message",
  role: "assistant",
  ...more
})

const blockEvents = (turn: LoopTurn, part: Part, index: number): ReadonlyArray<string> => {
  const start = (content_block: object) => event({ type: "content_block_start", index, content_block })
  const delta = (said: object) => event({ type: "content_block_delta", index, delta: said })
  const stop = event({ type: "content_block_stop", index })
  switch (part.type) {
    case "text": {
      const pieces = inPieces(part.text).map((said) => delta({ type: "text_delta", text: said }))
      return [start({ type: "text", text: "" }), ...pieces, stop]
    }
    case "thought": {
      const pieces = inPieces(part.text).map((thinking) => delta({ type: "thinking_delta", thinking }))
      const signed = delta({ type: "signature_delta", signature: part.sealed })
      return [start({ type: "thinking", thinking: "", signature: "" }), ...pieces, signed, stop]
    }
    case "call": {
      const pieces = ["", ...(turn.pieces ?? inPieces)(part.arguments)]
      const written = pieces.map((partial_json) => delta({ type: "input_json_delta", partial_json }))
      return [start({ type: "tool_use", id: part.id, name: part.name, input: {} }), ...written, stop]
    }
  }
}

const stream = (turn: LoopTurn): ReadonlyArray<string> => [
  event({
    type: "message_start",
    message: message(turn, {
      content: [],
      stop_reason: null,
      stop_sequence: null,
      ...(turn.usage === null ? {} : { usage: { ...early(turn.usage), output_tokens: 1 } })
    })
  }),
  ...turn.parts.flatMap((part, index) => blockEvents(turn, part, index)),
  event({
    type: "message_delta",
    delta: { stop_reason: reasons[turn.stop], stop_sequence: null },
    ...(turn.usage === null ? {} : { usage: late(turn.usage) })
  }),
  event({ type: "message_stop" })
]

const blockOf = (part: Part) => {
  switch (part.type) {
    case "text":
      return { type: "text", text: part.text }
    case "thought":
      return { type: "thinking", thinking: part.text, signature: part.sealed }
    case "call":
      return { type: "tool_use", id: part.id, name: part.name, input: JSON.parse(part.arguments) as unknown }
  }
}

const body = (turn: LoopTurn): string =>
  JSON.stringify(
    message(turn, {
      content: turn.parts.map(blockOf),
      stop_reason: reasons[turn.stop],
      stop_sequence: null,
      ...(turn.usage === null ? {} : { usage: { ...early(turn.usage), ...late(turn.usage) } })
    })
  )

const countsOf = (usage: JsonObject): Counts => ({
  input: count(usage.input_tokens, "input_tokens"),
  cacheRead: count(usage.cache_read_input_tokens, "cache_read_input_tokens"),
  output: count(usage.output_tokens, "output_tokens"),
  reasoning: count(object(usage.output_tokens_details, "details").thinking_tokens, "thinking_tokens")
})

const partOf = (value: unknown): Part => {
  const block = object(value, "block")
  switch (block.type) {
    case "text":
      return { type: "text", text: text(block.text, "text") }
    case "thinking":
      return { type: "thought", text: text(block.thinking, "thinking"), sealed: text(block.signature, "signature") }
    case "tool_use": {
      const input = JSON.stringify(object(block.input, "input"))
      return { type: "call", id: text(block.id, "id"), name: text(block.name, "name"), arguments: input }
    }
  }
  return assert.fail(`an unknown block: ${JSON.stringify(block)}`)
}

const readBody = (source: string): Seen => {
  const value = object(JSON.parse(source), "body")
  assert.strictEqual(value.role, "assistant")
  return {
    id: text(value.id, "id"),
    model: text(value.model, "model"),
    parts: list(value.content, "content").map(partOf),
    stop: stopOf(value.stop_reason),
    usage: value.usage === undefined ? null : countsOf(object(value.usage, "usage")),
    ended: true,
    error: null,
    keepAlives: 0
  }
}

/** Reads a stream as Anthropic's SDKs do, and minds what they do not. */
class Reading {
  start: JsonObject | null = null
  readonly parts: Array<Part> = []
  private open = false
  stop: Stop | null = null
  usage: JsonObject | null = null
  ended = false
  keepAlives = 0

  event(value: JsonObject): void {
    assert.isFalse(this.ended, "something behind message_stop")
    if (value.type === "ping") {
      this.keepAlives++
      return
    }
    if (value.type === "message_start") {
      assert.isNull(this.start, "a second message_start")
      this.start = object(value.message, "message")
      assert.deepStrictEqual(this.start.content, [])
      assert.isNull(this.start.stop_reason)
      if (this.start.usage !== undefined) this.usage = object(this.start.usage, "usage")
      return
    }
    assert.isNotNull(this.start, "something before message_start")
    if (value.type === "message_delta") {
      assert.isNull(this.stop, "a second message_delta")
      assert.isFalse(this.open, "message_delta inside a block")
      this.stop = stopOf(object(value.delta, "delta").stop_reason)
      if (value.usage !== undefined) this.usage = { ...this.usage, ...object(value.usage, "usage") }
      return
    }
    if (value.type === "message_stop") {
      assert.isNotNull(this.stop, "message_stop before message_delta")
      this.ended = true
      return
    }
    assert.isNull(this.stop, "a block behind message_delta")
    this.block(value)
  }

  private block(value: JsonObject): void {
    const begins = value.type === "content_block_start"
    assert.strictEqual(this.open, !begins, `${JSON.stringify(value)} where a block is ${this.open ? "open" : "closed"}`)
    assert.strictEqual(value.index, begins ? this.parts.length : this.parts.length - 1, "index of a block")
    if (begins) {
      this.open = true
      const part = partOf(value.content_block)
      this.parts.push(part.type === "call" ? { ...part, arguments: "" } : part)
      return
    }
    const at = this.parts.length - 1
    const part = this.parts[at]!
    if (value.type === "content_block_stop") {
      this.open = false
      if (part.type === "call" && part.arguments === "") this.parts[at] = { ...part, arguments: "{}" }
      return
    }
    assert.strictEqual(value.type, "content_block_delta")
    const delta = object(value.delta, "delta")
    const said = (name: string) => text(delta[name], name)
    if (delta.type === "text_delta" && part.type === "text")
      this.parts[at] = { ...part, text: part.text + said("text") }
    else if (delta.type === "thinking_delta" && part.type === "thought")
      this.parts[at] = { ...part, text: part.text + said("thinking") }
    else if (delta.type === "signature_delta" && part.type === "thought")
      this.parts[at] = { ...part, sealed: said("signature") }
    else if (delta.type === "input_json_delta" && part.type === "call")
      this.parts[at] = { ...part, arguments: part.arguments + said("partial_json") }
    else assert.fail(`a delta in a ${part.type}: ${JSON.stringify(delta)}`)
  }
}

const readStream = (source: string): Seen => {
  const reading = new Reading()
  let error: Seen["error"] = null
  for (const read of readEvents(source)) {
    assert.isNull(error, "something behind the error")
    if (read === "comment") assert.fail("a comment")
    const value = object(JSON.parse(read.data), "event")
    assert.strictEqual(read.name, value.type)
    if (value.type === "error") {
      assert.isFalse(reading.ended, "an error behind the end")
      error = anthropicMessagesCase.readErrorEvent(`event: error\ndata: ${read.data}\n\n`)
      assert.isNotNull(error, `no error: ${read.data}`)
    } else reading.event(value)
  }
  const { ended, keepAlives, parts, start, stop, usage } = reading
  return {
    id: start === null ? null : text(start.id, "id"),
    model: start === null ? null : text(start.model, "model"),
    parts,
    stop,
    usage: usage === null || stop === null ? null : countsOf(usage),
    ended,
    error,
    keepAlives
  }
}

const toolOf = (name: string) => ({ name, input_schema: { type: "object" } })

/** The tool loop over Messages. */
export const anthropicMessagesToolLoop: ToolLoopCase = {
  stream,
  body,
  endEvents: 2,
  readStream,
  readBody,
  shape: (parts) => parts,
  textArguments: false,
  goesOn: (before, after) => {
    const [said, answered, ...more] = addedTo(before, after, "messages")
    assert.deepStrictEqual([said!.role, answered!.role, more], ["assistant", "user", []])
    return {
      parts: list(said!.content, "content").map(partOf),
      results: list(answered!.content, "content").map((one) => {
        const result = object(one, "result")
        assert.strictEqual(result.type, "tool_result")
        const { content } = result
        const parts = typeof content === "string" ? [{ text: content }] : list(content, "content")
        return {
          callId: text(result.tool_use_id, "tool_use_id"),
          text: parts.map((part) => text(object(part, "part").text, "text")).join("\n"),
          isError: result.is_error === true
        }
      })
    }
  },
  clientTools: (names) => ({ tools: names.map(toolOf) }),
  offered: (request) => {
    const { tools } = request as JsonObject
    return list(tools ?? [], "tools").map((tool) => text(object(tool, "tool").name, "name"))
  },
  clientFirst: false,
  forbids: (request) => {
    const { tool_choice } = request as JsonObject
    return tool_choice !== undefined && object(tool_choice, "tool_choice").type === "none"
  },
  closed: [{ name: "tool_choice none", members: { tool_choice: { type: "none" }, tools: [toolOf("mine")] } }]
}
