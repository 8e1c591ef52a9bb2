import { assert } from "@effect/vitest"
import type { JsonObject } from "../../../src/dialect/Json.ts"
import type { Counts } from "../DialectCase.ts"
import { openAiResponsesCase } from "../OpenAiResponsesCase.ts"
import { type Data, event, numbered, response, usageOf } from "../OpenAiResponsesParts.ts"
import { addedTo, count, inPieces, list, object, readEvents, readResult, text } from "./Events.ts"
import { clientTool, hiddenNames } from "./Names.ts"
import type { CallPart, LoopTurn, Part, Seen, ToolLoopCase } from "./ToolLoopCase.ts"

const toolOf = (name: string) => ({ type: "function", name, parameters: { type: "object" }, strict: false })

/** What an upstream repeats of the tools it was given. */
const echoed = [clientTool, ...hiddenNames].map(toolOf)

type Item = Data & { readonly id: string }

const itemOf = (turn: LoopTurn, part: Part, at: number): Item => {
  const id = `${turn.id}_${at}`
  switch (part.type) {
    case "text": {
      const content = [{ type: "output_text", annotations: [], logprobs: [], text: part.text }]
      return { id: `msg_${id}`, type: "message", status: "completed", content, role: "assistant" }
    }
    case "thought": {
      const summary = [{ type: "summary_text", text: part.text }]
      return { id: `rs_${id}`, type: "reasoning", summary, encrypted_content: part.sealed }
    }
    case "call":
      return {
        id: `fc_${id}`,
        type: "function_call",
        status: "completed",
        arguments: part.arguments,
        call_id: part.id,
        name: part.name
      }
  }
}

const callEvents = (turn: LoopTurn, item: Item, call: CallPart, output_index: number): ReadonlyArray<Data> => {
  const about = { item_id: item.id, output_index }
  const { name, ...unnamed } = item
  const announced = { ...unnamed, status: "in_progress", arguments: "" }
  const pieces = (turn.pieces ?? inPieces)(call.arguments)
  return [
    {
      type: "response.output_item.added",
      output_index,
      item: turn.lateName === true ? announced : { ...announced, name }
    },
    ...pieces.map((delta) => ({ type: "response.function_call_arguments.delta", ...about, delta })),
    { type: "response.function_call_arguments.done", ...about, arguments: call.arguments },
    { type: "response.output_item.done", output_index, item }
  ]
}

const itemEvents = (turn: LoopTurn, part: Part, at: number): ReadonlyArray<Data> => {
  const item = itemOf(turn, part, at)
  if (part.type === "call") return callEvents(turn, item, part, at)
  const isText = part.type === "text"
  const place = { item_id: item.id, output_index: at, ...(isText ? { content_index: 0 } : { summary_index: 0 }) }
  const empty = isText
    ? { type: "output_text", annotations: [], logprobs: [], text: "" }
    : { type: "summary_text", text: "" }
  const begun = isText ? { ...item, status: "in_progress", content: [] } : { ...item, summary: [] }
  const [opened, said] = isText
    ? ["response.content_part", "response.output_text"]
    : ["response.reasoning_summary_part", "response.reasoning_summary_text"]
  return [
    { type: "response.output_item.added", output_index: at, item: begun },
    { type: `${opened}.added`, ...place, part: empty },
    ...inPieces(part.text).map((delta) => ({ type: `${said}.delta`, ...place, delta })),
    { type: `${said}.done`, ...place, text: part.text },
    { type: `${opened}.done`, ...place, part: { ...empty, text: part.text } },
    { type: "response.output_item.done", output_index: at, item }
  ]
}

const responseOf = (turn: LoopTurn, more: object) =>
  response({ id: turn.id, tool_choice: "auto", tools: echoed, ...more })

const finished = (turn: LoopTurn) =>
  responseOf(turn, {
    ...(turn.stop === "length"
      ? { status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }
      : { status: "completed" }),
    output: turn.parts.map((part, at) => itemOf(turn, part, at)),
    usage: turn.usage === null ? null : usageOf(turn.usage)
  })

const stream = (turn: LoopTurn): ReadonlyArray<string> => {
  const begun = responseOf(turn, { status: "in_progress" })
  const whole = finished(turn)
  return numbered([
    { type: "response.created", response: begun },
    { type: "response.in_progress", response: begun },
    ...turn.parts.flatMap((part, at) => itemEvents(turn, part, at)),
    { type: `response.${whole.status}`, response: whole }
  ]).map(event)
}

const countsOf = (value: unknown): Counts | null => {
  if (value === null) return null
  const usage = object(value, "usage")
  const cacheRead = count(object(usage.input_tokens_details, "details").cached_tokens, "cached_tokens")
  const input = count(usage.input_tokens, "input_tokens")
  const output = count(usage.output_tokens, "output_tokens")
  assert.strictEqual(usage.total_tokens, input + output, "total_tokens")
  const reasoning = count(object(usage.output_tokens_details, "details").reasoning_tokens, "reasoning_tokens")
  return { input: input - cacheRead, cacheRead, output, reasoning }
}

const partOf = (value: unknown): Part => {
  const item = object(value, "item")
  const only = (parts: unknown): string => {
    const known = list(parts, "parts")
    assert.strictEqual(known.length, 1)
    return text(object(known[0], "part").text, "text")
  }
  switch (item.type) {
    case "message":
      return { type: "text", text: only(item.content) }
    case "reasoning":
      return { type: "thought", text: only(item.summary), sealed: text(item.encrypted_content, "encrypted_content") }
    case "function_call":
      return {
        type: "call",
        id: text(item.call_id, "call_id"),
        name: text(item.name, "name"),
        arguments: text(item.arguments, "arguments")
      }
  }
  return assert.fail(`an unknown item: ${JSON.stringify(item)}`)
}

/** That a response lacks the tools that the client does not know of, and has all others. */
const checkTools = (value: JsonObject): void => {
  assert.deepStrictEqual(value.tools, [toolOf(clientTool)], "tools")
  assert.strictEqual(value.tool_choice, "auto", "tool_choice")
}

const readResponse = (value: JsonObject): Seen => {
  const parts = list(value.output, "output").map(partOf)
  checkTools(value)
  const called = parts.some((part) => part.type === "call")
  assert.include(["completed", "incomplete"], value.status)
  return {
    id: text(value.id, "id"),
    model: text(value.model, "model"),
    parts,
    stop: value.status === "incomplete" ? "length" : called ? "tools" : "stop",
    usage: countsOf(value.usage),
    ended: true,
    error: null,
    keepAlives: 0
  }
}

/** Reads a stream as OpenAI's SDKs do, and minds what they do not. */
class Reading {
  private readonly events: Array<string> = []
  private begun: JsonObject | null = null
  private readonly items: Array<JsonObject> = []
  /** What is put together of the item under way, by the name of what holds it. */
  private open: { item: JsonObject; said: string; isDone: boolean } | null = null
  private end: Seen | null = null
  private sequence = -1
  keepAlives = 0
  error: Seen["error"] = null

  event(value: JsonObject): void {
    assert.isNull(this.end, "something behind the end")
    assert.isNull(this.error, "something behind an error")
    const type = text(value.type, "type")
    if (type === "keepalive") {
      assert.strictEqual(value.sequence_number, Math.max(0, this.sequence), "the number of a keep-alive")
      this.keepAlives++
      return
    }
    this.sequence++
    assert.strictEqual(value.sequence_number, this.sequence, `sequence_number of ${type}`)
    if (type === "error") {
      this.error = openAiResponsesCase.readErrorEvent(`event: error\ndata: ${JSON.stringify(value)}\n\n`)
      assert.isNotNull(this.error, `no error: ${JSON.stringify(value)}`)
      return
    }
    this.events.push(type)
    if (type === "response.created" || type === "response.in_progress") {
      assert.strictEqual(this.events.length, type === "response.created" ? 1 : 2, `${type} is out of place`)
      const begun = object(value.response, "response")
      checkTools(begun)
      this.begun ??= begun
      assert.deepStrictEqual(begun, this.begun)
      return
    }
    assert.isAtLeast(this.events.length, 2, `${type} before response.created`)
    if (type === "response.completed" || type === "response.incomplete") this.finish(type, value)
    else this.item(type, value)
  }

  private finish(type: string, value: JsonObject): void {
    assert.isNull(this.open, "the end inside an item")
    const whole = object(value.response, "response")
    assert.strictEqual(type, `response.${text(whole.status, "status")}`)
    const { created_at, id, model } = this.begun!
    assert.deepStrictEqual([whole.created_at, whole.id, whole.model], [created_at, id, model])
    assert.deepStrictEqual(whole.output, this.items, "the output at the end is that of the events")
    this.end = readResponse(whole)
  }

  private item(type: string, value: JsonObject): void {
    assert.strictEqual(value.output_index, this.items.length, `output_index of ${type}`)
    if (type === "response.output_item.added") {
      assert.isNull(this.open, "an item inside an item")
      this.open = { item: object(value.item, "item"), said: "", isDone: false }
      return
    }
    const { open } = this
    if (open === null) assert.fail(`${type} outside of any item`)
    if (type === "response.output_item.done") {
      const item = object(value.item, "item")
      assert.strictEqual(item.id, open.item.id)
      assert.strictEqual(item.type, open.item.type)
      const part = partOf(item)
      assert.strictEqual(part.type === "call" ? part.arguments : part.text, open.said, "what the deltas said")
      this.items.push(item)
      this.open = null
      return
    }
    assert.strictEqual(value.item_id, open.item.id, `item_id of ${type}`)
    if (type.endsWith(".delta")) open.said += text(value.delta, "delta")
    else if (type.endsWith("_text.done")) assert.strictEqual(value.text, open.said)
    else if (type.endsWith("arguments.done")) assert.strictEqual(value.arguments, open.said)
    else assert.match(type, /_part\.(added|done)$/)
  }

  get seen(): Seen {
    if (this.end !== null) return { ...this.end, keepAlives: this.keepAlives }
    const parts = this.items.map(partOf)
    const half = this.open
    if (half !== null && half.item.type === "message" && half.said !== "") parts.push({ type: "text", text: half.said })
    return {
      id: this.begun === null ? null : text(this.begun.id, "id"),
      model: this.begun === null ? null : text(this.begun.model, "model"),
      parts,
      stop: null,
      usage: null,
      ended: false,
      error: this.error,
      keepAlives: this.keepAlives
    }
  }
}

const readStream = (source: string): Seen => {
  const reading = new Reading()
  for (const read of readEvents(source)) {
    if (read === "comment") {
      reading.keepAlives++
      continue
    }
    const value = object(JSON.parse(read.data), "event")
    assert.strictEqual(read.name, value.type)
    reading.event(value)
  }
  return reading.seen
}

/** The input as a list, which it may be as a text. */
const itemsOf = (input: unknown): ReadonlyArray<unknown> =>
  typeof input === "string" ? [{ role: "user", content: input }] : list(input, "input")

/** The tool loop over Responses. */
export const openAiResponsesToolLoop: ToolLoopCase = {
  stream,
  body: (turn) => JSON.stringify(finished(turn)),
  endEvents: 1,
  readStream,
  readBody: (source) => readResponse(object(JSON.parse(source), "body")),
  shape: (parts) => parts,
  textArguments: true,
  goesOn: (before, after) => {
    const added = addedTo(before, after, "input", itemsOf)
    const isResult = (item: JsonObject) => item.type === "function_call_output"
    const first = added.findIndex(isResult)
    return {
      parts: added.slice(0, first).map(partOf),
      results: added.slice(first).map((item) => {
        assert.isTrue(isResult(item), JSON.stringify(item))
        const { output } = item
        const said =
          typeof output === "string"
            ? output
            : list(output, "output")
                .map((part) => text(object(part, "part").text, "text"))
                .join("\n")
        return readResult(text(item.call_id, "call_id"), said)
      })
    }
  },
  clientTools: (names) => ({ tools: names.map(toolOf) }),
  offered: (request) => {
    const { tools } = request as JsonObject
    return list(tools ?? [], "tools").map((tool) => text(object(tool, "tool").name, "name"))
  },
  clientFirst: true,
  forbids: (request) => (request as JsonObject).tool_choice === "none",
  closed: [
    { name: "tool_choice none", members: { tool_choice: "none", tools: [toolOf("mine")] } },
    { name: "background", members: { background: true } },
    { name: "generate: false", members: { generate: false } }
  ]
}
