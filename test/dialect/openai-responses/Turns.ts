import type { ClientUsage } from "../../../src/dialect/Dialect.ts"
import { openAiResponses } from "../../../src/dialect/openai-responses/OpenAiResponses.ts"
import { ResponsesReader } from "../../../src/dialect/openai-responses/Reader.ts"
import { ResponsesWriter } from "../../../src/dialect/openai-responses/Writer.ts"
import { type Frame, sse, whole } from "../../../src/wire/Frame.ts"
import { joined, passed } from "../Joined.ts"

/** Turns of Responses as an upstream sends them, and as a client sees them. */

export type Item = { readonly type: string; readonly id: string; readonly [key: string]: unknown }
export type Event = { readonly type: string; readonly [key: string]: unknown }
export type Carrier = "sse" | "ws" | "json"

/** The tool that Sluice added. */
export const injectedName = "bmcp_s_echo"
export const injected: ReadonlySet<string> = new Set([injectedName, "bmcp_s_sum"])

export const call = (id: string, name = injectedName, given = '{"x":"é👋"}', more: object = {}): Item => ({
  id: `fc_${id}`,
  type: "function_call",
  status: "completed",
  arguments: given,
  call_id: `call_${id}`,
  name,
  ...more
})

export const message = (id: string): Item => ({
  id: `msg_${id}`,
  type: "message",
  status: "completed",
  content: [{ type: "output_text", annotations: [], logprobs: [], text: `text of ${id}` }],
  role: "assistant"
})

export const reasoning = (id: string, more: object = { encrypted_content: `gAAA${id}` }): Item => ({
  id: `rs_${id}`,
  type: "reasoning",
  summary: [{ type: "summary_text", text: `thought ${id}` }],
  ...more
})

export const isInjected = (item: Item): boolean =>
  item.type === "function_call" && injected.has(item.name as string) && item.namespace === undefined

/** An upstream's turn. */
export interface Turn {
  readonly id: string
  readonly items: ReadonlyArray<Item>
  readonly usage?: object | null
  readonly createdAt?: number
  readonly toolChoice?: string
  /** The tools that the response repeats. */
  readonly tools?: ReadonlyArray<object>
  readonly outcome?: "completed" | "incomplete" | "failed"
  /** Whether the response at the end leaves out its items. */
  readonly emptyOutput?: boolean
  /** Whether calls are announced without a name. */
  readonly lateName?: boolean
  /** Whether calls are not announced. */
  readonly unannounced?: boolean
  /** Where arguments are cut in two. */
  readonly split?: number
}

export const responseOf = (turn: Turn, status: string = turn.outcome ?? "completed", output = turn.items) => ({
  id: turn.id,
  object: "response",
  created_at: turn.createdAt ?? 1700000000,
  status,
  error: null,
  incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
  model: "m-1",
  output: turn.emptyOutput === true ? [] : output,
  parallel_tool_calls: true,
  tool_choice: turn.toolChoice ?? "auto",
  tools: turn.tools ?? [],
  usage: status === "in_progress" ? null : (turn.usage ?? null)
})

const eventsOfItem = (turn: Turn, item: Item, output_index: number): ReadonlyArray<Event> => {
  const about = { item_id: item.id, output_index }
  if (item.type === "message") {
    const text = `text of ${item.id.slice(4)}`
    const at = { ...about, content_index: 0 }
    const empty = { type: "output_text", annotations: [], logprobs: [], text: "" }
    return [
      { type: "response.output_item.added", output_index, item: { ...item, status: "in_progress", content: [] } },
      { type: "response.content_part.added", ...at, part: empty },
      { type: "response.output_text.delta", ...at, delta: text.slice(0, 4), logprobs: [] },
      { type: "response.output_text.delta", ...at, delta: text.slice(4), logprobs: [] },
      { type: "response.output_text.done", ...at, text, logprobs: [] },
      { type: "response.content_part.done", ...at, part: { ...empty, text } },
      { type: "response.output_item.done", output_index, item }
    ]
  }
  if (item.type === "function_call") {
    const given = Buffer.from(item.arguments as string)
    const cut = turn.split ?? 0
    const pieces = [given.subarray(0, cut), given.subarray(cut)].map((piece) => piece.toString("latin1"))
    const { name, ...unnamed } = item
    const named = turn.lateName === true ? unnamed : { ...unnamed, name }
    const announced: Event = {
      type: "response.output_item.added",
      output_index,
      item: { ...named, status: "in_progress", arguments: "" }
    }
    return [
      ...(turn.unannounced === true ? [] : [announced]),
      ...pieces.map((delta) => ({ type: "response.function_call_arguments.delta", ...about, delta })),
      { type: "response.function_call_arguments.done", ...about, arguments: item.arguments },
      { type: "response.output_item.done", output_index, item }
    ]
  }
  return [
    { type: "response.output_item.added", output_index, item: { ...item, summary: [] } },
    { type: "response.output_item.done", output_index, item }
  ]
}

/** A turn as the events of a stream. */
export const eventsOf = (turn: Turn): ReadonlyArray<Event> => {
  const events: Array<Event> = [
    { type: "response.created", response: responseOf(turn, "in_progress", []) },
    { type: "response.in_progress", response: responseOf(turn, "in_progress", []) }
  ]
  for (const [i, item] of turn.items.entries()) events.push(...eventsOfItem(turn, item, i))
  events.push({ type: `response.${turn.outcome ?? "completed"}`, response: responseOf(turn) })
  return events.map(({ type, ...rest }, sequence_number) => ({ type, sequence_number, ...rest }))
}

export const framesOf = (turn: Turn, carrier: Carrier = "sse"): ReadonlyArray<Frame> => {
  if (carrier === "json") return [whole("body", Buffer.from(JSON.stringify(responseOf(turn))))]
  const encode = (event: Event) =>
    carrier === "sse" ? sse(event.type, JSON.stringify(event)) : whole("message", Buffer.from(JSON.stringify(event)))
  return eventsOf(turn).map(encode)
}

export const textOf = (frames: ReadonlyArray<Frame>): string =>
  frames.map((frame) => frame.bytes.toString("utf8") + (frame.kind === "message" ? "\n" : "")).join("")

/** What a reader releases of a turn, the frames of its end included. */
export const released = (frames: ReadonlyArray<Frame>, names: ReadonlySet<string> = injected) => {
  const reader = new ResponsesReader({ injected: names })
  const out = passed(reader, frames)
  const before = out.length
  const held = reader.holding
  reader.release(out)
  return { reader, out, held, heldFrames: out.slice(before) }
}

/** What the client sees of several turns, the engine's part played as DESIGN §2 has it. */
export const answerOf = (
  turns: ReadonlyArray<ReadonlyArray<Frame>>,
  options: { readonly usage?: ClientUsage; readonly model?: string } = {}
) => {
  const writer = new ResponsesWriter({ model: options.model ?? null, injected: true, usage: options.usage ?? "sum" })
  const { goneOn, shown } = joined(writer, () => new ResponsesReader({ injected }), turns)
  return { shown, writer, continued: goneOn.map((frames) => openAiResponses.output(frames)) }
}
