import { ChatCompletionStream } from "openai/lib/ChatCompletionStream"
import type { ClientUsage } from "../../../src/dialect/Dialect.ts"
import { openAiChat } from "../../../src/dialect/openai-chat/OpenAiChat.ts"
import type { Frame } from "../../../src/wire/Frame.ts"
import { whole } from "../../../src/wire/Frame.ts"
import { SseDecoder } from "../../../src/wire/SseDecoder.ts"
import { joined, passed } from "../Joined.ts"

/** The tools that Sluice adds in these tests. */
export const injected = new Set(["bmcp_a", "bmcp_b"])

export const done = "data: [DONE]\n\n"

/** One chunk as an event. */
export const chunk = (more: object, id = "chatcmpl-1"): string =>
  `data: ${JSON.stringify({ id, object: "chat.completion.chunk", created: 1700000000, model: "m-1", ...more })}\n\n`

export const delta = (said: object, finish: string | null = null, id?: string): string =>
  chunk({ choices: [{ index: 0, delta: said, logprobs: null, finish_reason: finish }] }, id)

export const usage = (input: number, output: number, cached = 0) => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: input + output,
  prompt_tokens_details: { cached_tokens: cached },
  completion_tokens_details: { reasoning_tokens: 1 }
})

export const role = delta({ role: "assistant", content: null, refusal: null })
export const text = (content: string, id?: string): string => delta({ content }, null, id)
export const finish = (reason: string, id?: string): string => delta({}, reason, id)
export const usageChunk = (input: number, output: number, id?: string): string =>
  chunk({ choices: [], usage: usage(input, output) }, id)

/** A call in `count` pieces as OpenAI sends them: the name first, then its arguments. */
export const call = (
  index: number,
  name: string,
  args = '{"a":1}',
  count = 2,
  id = `call_${name}_${index}`
): string => {
  const size = Math.ceil(args.length / count)
  const pieces = Array.from({ length: count }, (_, at) => args.slice(at * size, (at + 1) * size))
  return [
    delta({ tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }] }),
    ...pieces.map((piece) => delta({ tool_calls: [{ index, function: { arguments: piece } }] }))
  ].join("")
}

export const asked = (() => {
  const view = openAiChat.view(Buffer.from('{"model":"m","messages":[],"stream":true}'))
  if (view._tag === "BadRequest") throw new Error(view.message)
  return view
})()

/** The frames of a stream, or the one of a body where it begins with a brace. */
export const framesOf = (
  source: string,
  cut: (bytes: Buffer) => ReadonlyArray<Buffer> = (bytes) => [bytes]
): Array<Frame> => {
  const bytes = Buffer.from(source)
  if (source.startsWith("{")) return [whole("body", bytes)]
  const decoder = new SseDecoder({ maxEventBytes: 1 << 20, terminalEvents: new Set() })
  const frames: Array<Frame> = []
  for (const piece of cut(bytes)) decoder.push(piece, frames)
  decoder.end(frames)
  return frames
}

export const bytesOf = (frames: ReadonlyArray<Frame>): string =>
  Buffer.concat(frames.map((frame) => frame.bytes)).toString()

/** What a turn's reader shows at once, and what behind its tools. */
export const read = (
  source: string,
  options: {
    readonly names?: ReadonlySet<string>
    readonly cut?: Parameters<typeof framesOf>[1]
    readonly isCut?: boolean
  } = {}
) => {
  const frames = framesOf(source, options.cut)
  const reader = openAiChat.turn({ asked, injected: options.names ?? injected })
  const live = passed(reader, frames, options.isCut)
  const holding = reader.holding
  const held: Array<Frame> = []
  reader.release(held)
  return { frames, holding, live, held, reader, summary: reader.summary(), shown: bytesOf([...live, ...held]) }
}

/** What a client sees of several turns, as the engine joins them; the last is the first that is not to be gone on from. */
export const answer = (
  sources: ReadonlyArray<string>,
  options: {
    readonly usage?: ClientUsage
    readonly usageAdded?: boolean
    readonly model?: string | null
    readonly cut?: Parameters<typeof framesOf>[1]
  } = {}
) => {
  const writer = openAiChat.answer({
    asked,
    model: options.model ?? null,
    usageAdded: options.usageAdded ?? false,
    injected: true,
    ...(options.usage === undefined ? {} : { usage: options.usage })
  })
  const turns = sources.map((source) => framesOf(source, options.cut))
  const { shown: out, summaries } = joined(writer, () => openAiChat.turn({ asked, injected }), turns)
  writer.finish(out)
  return { out, shown: bytesOf(out), summaries }
}

/** The JSON of every chunk in a stream, `[DONE]` left out. */
export const chunksOf = (stream: string): ReadonlyArray<Record<string, unknown>> =>
  framesOf(stream)
    .filter((frame) => frame.kind === "event" && frame.data !== "[DONE]")
    .map((frame) => JSON.parse(frame.data) as Record<string, unknown>)

/** What OpenAI's own SDK makes of a stream. */
export const accumulate = async (stream: string) => {
  const lines = chunksOf(stream).map((value) => `${JSON.stringify(value)}\n`)
  const readable = new ReadableStream({
    start(controller) {
      for (const line of lines) controller.enqueue(new TextEncoder().encode(line))
      controller.close()
    }
  })
  return ChatCompletionStream.fromReadableStream(readable).finalChatCompletion()
}
