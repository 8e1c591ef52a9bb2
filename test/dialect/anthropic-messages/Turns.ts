import { MessagesReader } from "../../../src/dialect/anthropic-messages/Reader.ts"
import { MessagesWriter } from "../../../src/dialect/anthropic-messages/Writer.ts"
import type { ClientUsage } from "../../../src/dialect/Dialect.ts"
import { type Frame, whole } from "../../../src/wire/Frame.ts"
import { SseDecoder } from "../../../src/wire/SseDecoder.ts"
import { joined, passed } from "../Joined.ts"

export interface Block {
  readonly type: string
  readonly [name: string]: unknown
}

/** One turn of an upstream, to be written as a stream or as a body. */
export interface Turn {
  readonly id?: string
  readonly blocks: ReadonlyArray<Block>
  readonly stop?: string | null
  readonly usage?: object
  /** What the end of a stream says of usage; all of `usage` if left out. */
  readonly endUsage?: object
}

export const say = (text: string): Block => ({ type: "text", text })
export const think = (thinking: string, signature: string): Block => ({ type: "thinking", thinking, signature })
export const call = (id: string, name: string, input: unknown = {}): Block => ({ type: "tool_use", id, name, input })

/** The tools that Sluice added. */
export const injected: ReadonlySet<string> = new Set(["bmcp_a_one", "bmcp_a_two"])

export const framesOf = (text: string): Array<Frame> => {
  const frames: Array<Frame> = []
  const decoder = new SseDecoder({ maxEventBytes: 1 << 20, terminalEvents: new Set(["message_stop"]) })
  decoder.push(Buffer.from(text), frames)
  decoder.end(frames)
  return frames
}

export const event = (value: { readonly type: string; readonly [name: string]: unknown }) =>
  `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

export const delta = (index: number, said: object) => event({ type: "content_block_delta", index, delta: said })

export const begin = (index: number, block: object) =>
  event({ type: "content_block_start", index, content_block: block })

export const close = (index: number) => event({ type: "content_block_stop", index })

/** A text in pieces of one to three characters. */
const pieces = (text: string): ReadonlyArray<string> => text.match(/.{1,3}/gsu) ?? []

export const blockEvents = (block: Block, index: number): string => {
  if (block.type === "text") {
    const said = pieces(String(block.text)).map((text) => delta(index, { type: "text_delta", text }))
    return begin(index, { ...block, text: "" }) + said.join("") + close(index)
  }
  if (block.type === "thinking") {
    const said = pieces(String(block.thinking)).map((thinking) => delta(index, { type: "thinking_delta", thinking }))
    const signed = delta(index, { type: "signature_delta", signature: block.signature })
    return begin(index, { ...block, thinking: "", signature: "" }) + said.join("") + signed + close(index)
  }
  if (block.input !== undefined) {
    const said = pieces(JSON.stringify(block.input)).map((partial_json) =>
      delta(index, { type: "input_json_delta", partial_json })
    )
    const empty = delta(index, { type: "input_json_delta", partial_json: "" })
    return begin(index, { ...block, input: {} }) + empty + said.join("") + close(index)
  }
  return begin(index, block) + close(index)
}

const idOf = (turn: Turn, place: number): string => turn.id ?? `msg_${place}`

const stopOf = ({ blocks, stop }: Turn): string | null =>
  stop === undefined ? (blocks.some((block) => block.type === "tool_use") ? "tool_use" : "end_turn") : stop

const usual = { input_tokens: 10, output_tokens: 5 }

/** The turn as a stream. */
export const streamOf = (turn: Turn, place = 0): string => {
  const usage = turn.usage ?? usual
  const message = {
    id: idOf(turn, place),
    type: "message",
    role: "assistant",
    model: "claude",
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { ...usage, output_tokens: 1 }
  }
  const end = { type: "message_delta", delta: { stop_reason: stopOf(turn), stop_sequence: null } }
  return [
    event({ type: "message_start", message }),
    ...turn.blocks.map(blockEvents),
    event({ ...end, usage: turn.endUsage ?? usage }),
    event({ type: "message_stop" })
  ].join("")
}

/** The turn as a body. */
export const bodyOf = (turn: Turn, place = 0): string =>
  JSON.stringify({
    id: idOf(turn, place),
    type: "message",
    role: "assistant",
    model: "claude",
    content: turn.blocks,
    stop_reason: stopOf(turn),
    stop_sequence: null,
    usage: turn.usage ?? usual
  })

export const read = (frames: ReadonlyArray<Frame>, names: ReadonlySet<string> | undefined = injected) => {
  const reader = new MessagesReader(names === undefined ? {} : { injected: names })
  return { reader, out: passed(reader, frames) }
}

export const textOf = (frames: ReadonlyArray<Frame>): string =>
  Buffer.concat(frames.map((frame) => frame.bytes)).toString()

/** Shows turns as one answer, as the engine does. */
export const answered = (
  turns: ReadonlyArray<ReadonlyArray<Frame>>,
  options: { readonly model?: string; readonly usage?: ClientUsage } = {}
): ReadonlyArray<Frame> => {
  const writer = new MessagesWriter({ model: null, injected: true, ...options })
  const { shown } = joined(writer, () => new MessagesReader({ injected }), turns)
  writer.finish()
  return shown
}

export const streamed = (turns: ReadonlyArray<Turn>) => turns.map((turn, place) => framesOf(streamOf(turn, place)))

export const bodies = (turns: ReadonlyArray<Turn>) =>
  turns.map((turn, place) => [whole("body", Buffer.from(bodyOf(turn, place)))])
