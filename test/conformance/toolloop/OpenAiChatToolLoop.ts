import { assert } from "@effect/vitest"
import type { JsonObject } from "../../../src/dialect/Json.ts"
import type { Counts } from "../DialectCase.ts"
import { chatUsage, done, event, openAiChatCase } from "../OpenAiChatCase.ts"
import { addedTo, count, inPieces, list, object, readEvents, readResult, text } from "./Events.ts"
import type { CallPart, LoopTurn, Part, Seen, Stop, ToolLoopCase } from "./ToolLoopCase.ts"

const reasons = { stop: "stop", length: "length", tools: "tool_calls" } as const

const stopOf = (reason: unknown): Stop => {
  const found = Object.entries(reasons).find(([, word]) => word === reason)
  assert.isDefined(found, `no finish_reason: ${JSON.stringify(reason)}`)
  return found![0] as Stop
}

const model = "test-model-2025"

const chunk = (turn: LoopTurn, more: object): string =>
  event({ id: turn.id, object: "chat.completion.chunk", created: createdOf(turn), model, ...more })

/** Turns were not all created in the same second. */
const createdOf = (turn: LoopTurn): number => 1_700_000_000 + turn.id.length + (turn.id.at(-1) ?? "").charCodeAt(0)

const choice = (turn: LoopTurn, delta: object, finish: string | null = null): string =>
  chunk(turn, { choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }], usage: null })

const callsOf = (parts: ReadonlyArray<Part>): ReadonlyArray<CallPart> => parts.filter((part) => part.type === "call")

const callEvents = (turn: LoopTurn, call: CallPart): ReadonlyArray<string> => {
  const index = callsOf(turn.parts).indexOf(call) + (turn.firstIndex ?? 0)
  const pieces = (turn.pieces ?? inPieces)(call.arguments)
  const of = (more: object) => choice(turn, { tool_calls: [{ index, ...more }] })
  const named = turn.lateName === true ? [of({ function: { name: call.name } })] : []
  const first = turn.lateName === true ? { arguments: "" } : { name: call.name, arguments: "" }
  return [
    of({ id: call.id, type: "function", function: first }),
    ...pieces.map((piece) => of({ function: { arguments: piece } })),
    ...named
  ]
}

/** One event of each list after the other. */
const inTurns = (lists: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> =>
  Array.from({ length: Math.max(0, ...lists.map((one) => one.length)) }, (_, at) =>
    lists.flatMap((one) => one.slice(at, at + 1))
  ).flat()

/** The role, in a chunk of its own or beside the first text. */
const begun = (turn: LoopTurn, said: ReadonlyArray<string>): ReadonlyArray<string> => {
  const [first = "", ...rest] = said
  if (turn.roleBeside === true && first.includes('"delta":{"content"'))
    return [first.replace('"delta":{', '"delta":{"role":"assistant",'), ...rest]
  return [choice(turn, { role: "assistant", content: "" }), ...said]
}

const stream = (turn: LoopTurn): ReadonlyArray<string> => {
  const said = turn.parts.map((part): ReadonlyArray<string> => {
    if (part.type === "text") return inPieces(part.text).map((content) => choice(turn, { content }))
    if (part.type === "thought")
      return inPieces(part.text).map((reasoning_content) => choice(turn, { reasoning_content }))
    return turn.interleaved === true ? [] : callEvents(turn, part)
  })
  return [
    ...begun(turn, said.flat()),
    ...(turn.interleaved === true ? inTurns(callsOf(turn.parts).map((call) => callEvents(turn, call))) : []),
    choice(turn, {}, reasons[turn.stop]),
    ...(turn.usage === null ? [] : [chunk(turn, { choices: [], usage: chatUsage(turn.usage) })]),
    done
  ]
}

const joined = (parts: ReadonlyArray<Part>, type: "text" | "thought"): string =>
  parts.map((part) => (part.type === type ? part.text : "")).join("")

const body = (turn: LoopTurn): string => {
  const calls = callsOf(turn.parts)
  const [said, thought] = [joined(turn.parts, "text"), joined(turn.parts, "thought")]
  return JSON.stringify({
    id: turn.id,
    object: "chat.completion",
    created: createdOf(turn),
    model,
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: said === "" ? null : said,
          ...(thought === "" ? {} : { reasoning_content: thought }),
          ...(calls.length === 0
            ? {}
            : {
                tool_calls: calls.map(({ id, name, arguments: written }) => ({
                  id,
                  type: "function",
                  function: { name, arguments: written }
                }))
              })
        },
        logprobs: null,
        finish_reason: reasons[turn.stop]
      }
    ],
    ...(turn.usage === null ? {} : { usage: chatUsage(turn.usage) })
  })
}

const shape = (parts: ReadonlyArray<Part>): ReadonlyArray<Part> => {
  const [said, thought] = [joined(parts, "text"), joined(parts, "thought")]
  return [
    ...(thought === "" ? [] : [{ type: "thought", text: thought, sealed: "" } as const]),
    ...(said === "" ? [] : [{ type: "text", text: said } as const]),
    ...callsOf(parts)
  ]
}

const countsOf = (value: unknown): Counts => {
  const usage = object(value, "usage")
  const cacheRead = count(object(usage.prompt_tokens_details, "details").cached_tokens, "cached_tokens")
  const input = count(usage.prompt_tokens, "prompt_tokens")
  const output = count(usage.completion_tokens, "completion_tokens")
  assert.strictEqual(usage.total_tokens, input + output, "total_tokens")
  const reasoning = count(object(usage.completion_tokens_details, "details").reasoning_tokens, "reasoning_tokens")
  return { input: input - cacheRead, cacheRead, output, reasoning }
}

const partsOf = (message: JsonObject): ReadonlyArray<Part> => {
  const thought = message.reasoning_content ?? ""
  const calls = message.tool_calls === undefined ? [] : list(message.tool_calls, "tool_calls")
  if (message.tool_calls !== undefined) assert.isAbove(calls.length, 0, "an empty list of calls")
  return shape([
    { type: "thought", text: text(thought, "reasoning_content"), sealed: "" },
    { type: "text", text: text(message.content ?? "", "content") },
    ...calls.map((one): Part => {
      const call = object(one, "call")
      assert.strictEqual(call.type, "function")
      const named = object(call.function, "function")
      return {
        type: "call",
        id: text(call.id, "id"),
        name: text(named.name, "name"),
        arguments: text(named.arguments, "arguments")
      }
    })
  ])
}

const readBody = (source: string): Seen => {
  const value = object(JSON.parse(source), "body")
  const choices = list(value.choices, "choices")
  assert.strictEqual(choices.length, 1)
  const { finish_reason, index, message } = object(choices[0], "choice")
  assert.strictEqual(index, 0)
  const said = object(message, "message")
  assert.strictEqual(said.role, "assistant")
  return {
    id: text(value.id, "id"),
    model: text(value.model, "model"),
    parts: partsOf(said),
    stop: stopOf(finish_reason),
    usage: value.usage === undefined ? null : countsOf(value.usage),
    ended: true,
    error: null,
    keepAlives: 0
  }
}

/** Reads a stream as OpenAI's SDKs do, and minds what they do not. */
class Reading {
  id: string | null = null
  created: unknown = null
  model: string | null = null
  content = ""
  thought = ""
  readonly calls: Array<{ id: string; name: string; arguments: string }> = []
  roles = 0
  stop: Stop | null = null
  usage: Counts | null = null
  ended = false
  keepAlives = 0

  chunk(value: JsonObject): void {
    assert.isFalse(this.ended, "a chunk behind [DONE]")
    assert.strictEqual(value.object, "chat.completion.chunk")
    this.id ??= text(value.id, "id")
    this.created ??= value.created
    this.model ??= text(value.model, "model")
    assert.deepStrictEqual([value.id, value.created, value.model], [this.id, this.created, this.model])
    const choices = list(value.choices, "choices")
    if (choices.length === 0) {
      assert.isNotNull(this.stop, "usage before the finish")
      assert.isNull(this.usage, "usage twice")
      this.usage = countsOf(value.usage)
      return
    }
    assert.isTrue(value.usage === null || value.usage === undefined, "usage beside a choice")
    assert.strictEqual(choices.length, 1)
    this.choice(object(choices[0], "choice"))
  }

  private choice({ delta, finish_reason, index }: JsonObject): void {
    assert.strictEqual(index, 0, "index of the choice")
    assert.isNull(this.stop, "something behind the finish")
    const said = object(delta, "delta")
    if (said.role !== undefined) {
      assert.strictEqual(said.role, "assistant")
      this.roles++
    }
    assert.strictEqual(this.roles, 1, "the role is said once, at first")
    this.content += text(said.content ?? "", "content")
    this.thought += text(said.reasoning_content ?? "", "reasoning_content")
    if (said.tool_calls !== undefined) {
      const pieces = list(said.tool_calls, "tool_calls")
      assert.isAbove(pieces.length, 0, "an empty list of calls")
      for (const piece of pieces) this.piece(object(piece, "call"))
    }
    if (finish_reason !== null) this.stop = stopOf(finish_reason)
  }

  private piece(piece: JsonObject): void {
    const at = count(piece.index, "index")
    const known = this.calls[at]
    const more = object(piece.function, "function")
    if (known === undefined) {
      assert.strictEqual(at, this.calls.length, "the index of a new call")
      assert.strictEqual(piece.type, "function")
      this.calls.push({ id: text(piece.id, "id"), name: "", arguments: "" })
    } else {
      assert.isTrue(piece.id === undefined || piece.id === known.id, "a call with another id at the same index")
    }
    const call = this.calls[at]!
    if (more.name !== undefined) {
      assert.strictEqual(call.name, "", "a second name")
      call.name = text(more.name, "name")
    }
    call.arguments += text(more.arguments ?? "", "arguments")
  }
}

const readStream = (source: string): Seen => {
  const reading = new Reading()
  let error: Seen["error"] = null
  for (const read of readEvents(source)) {
    assert.isNull(error, "something behind the error")
    if (read === "comment") reading.keepAlives++
    else if (read.data === "[DONE]") {
      assert.isNotNull(reading.stop, "[DONE] before the finish")
      assert.isFalse(reading.ended, "[DONE] twice")
      reading.ended = true
    } else {
      assert.strictEqual(read.name, "")
      const value = object(JSON.parse(read.data), "chunk")
      if (value.error === undefined) reading.chunk(value)
      else {
        assert.isFalse(reading.ended, "an error behind the end")
        error = openAiChatCase.readErrorEvent(`data: ${read.data}\n\n`)
        assert.isNotNull(error, `no error: ${read.data}`)
      }
    }
  }
  const { calls, content, ended, id, keepAlives, stop, thought, usage } = reading
  return {
    id,
    model: reading.model,
    parts: shape([
      { type: "thought", text: thought, sealed: "" },
      { type: "text", text: content },
      ...calls.map((call): Part => ({ type: "call", ...call }))
    ]),
    stop,
    usage,
    ended,
    error,
    keepAlives
  }
}

const contentText = (content: unknown): string =>
  typeof content === "string"
    ? content
    : list(content, "content")
        .map((part) => text(object(part, "part").text, "text"))
        .join("\n")

const toolOf = (name: string) => ({ type: "function", function: { name, parameters: { type: "object" } } })

/** The tool loop over Chat Completions. */
export const openAiChatToolLoop: ToolLoopCase = {
  stream,
  body,
  endEvents: 3,
  readStream,
  readBody,
  shape,
  textArguments: true,
  goesOn: (before, after) => {
    const [message, ...results] = addedTo(before, after, "messages")
    assert.strictEqual(message!.role, "assistant")
    return {
      parts: partsOf(message!),
      results: results.map((result) => {
        assert.strictEqual(result.role, "tool")
        return readResult(text(result.tool_call_id, "tool_call_id"), contentText(result.content))
      })
    }
  },
  clientTools: (names) => ({ tools: names.map(toolOf) }),
  offered: (request) => {
    const { tools } = request as JsonObject
    return list(tools ?? [], "tools").map((tool) =>
      text(object(object(tool, "tool").function, "function").name, "name")
    )
  },
  clientFirst: true,
  forbids: (request) => (request as JsonObject).tool_choice === "none",
  closed: [
    { name: "tool_choice none", members: { tool_choice: "none", tools: [toolOf("mine")] } },
    { name: "n over 1", members: { n: 2 } },
    { name: "functions as they were before tools", members: { functions: [{ name: "mine", parameters: {} }] } }
  ]
}
