import type { Frame } from "../../wire/Frame.ts"
import { type JsonPath, locateAll } from "../../wire/JsonSpan.ts"
import { rawValue } from "../../wire/RawValue.ts"
import { Shape } from "../../wire/Shape.ts"
import { SharedText } from "../../wire/SharedText.ts"
import { answerIds } from "../CallIds.ts"
import { CollectedText, TextRoom } from "../CollectedText.ts"
import type { SeenThought, SeenToolCall, ToolRunner, TurnOutcome, TurnReader, TurnSummary } from "../Dialect.ts"
import { isDone } from "../Done.ts"
import { isObject, type JsonObject, jsonText } from "../Json.ts"
import { SeenUsage } from "../SeenUsage.ts"
import { fromMessages } from "../Usage.ts"
import { isError } from "./Events.ts"
import { Withholding } from "./Withholding.ts"

/** A content block that is recorded, while its pieces come in. */
interface Block {
  readonly kind: "thinking" | "tool"
  readonly callId: string
  readonly name: string
  /** Who runs a tool; of a thought it says nothing. */
  readonly runner: ToolRunner
  /** What stood in the block when it began. */
  readonly whole: string
  readonly said: CollectedText
}

/**
 * Reads one turn of Messages: the events of a stream, or one whole `message`.
 *
 * An event is an error if its `event:` line says so; any other is what its JSON says it is. Clients read it so, but that
 * the official SDK passes over events without a name.
 */
export class MessagesReader implements TurnReader {
  malformed: string | null = null
  /** Set by `message_stop`, and not before: for the clients a stream without it is broken, whatever it said. */
  outcome: TurnOutcome | null = null
  private readonly quiet: Array<Shape> = [...usualShapes]
  private readonly texts = new SharedText()
  ended = false
  private responseId: string | null = null
  private model: string | null = null
  private stopReason: string | null = null
  private readonly usage = new SeenUsage(fromMessages)
  private error: string | null = null
  private readonly room = new TextRoom()
  private readonly blocks: Array<Block> = []
  /** The recorded blocks that their indexes mean now. */
  private readonly open = new Map<unknown, Block>()

  /** `null` where no tools were injected. */
  private readonly withholding: Withholding | null

  constructor({ injected }: { readonly injected?: ReadonlySet<string> } = {}) {
    this.withholding = injected === undefined || injected.size === 0 ? null : new Withholding(injected)
  }

  push(frame: Frame, out: Array<Frame>): void {
    if (this.malformed !== null) return
    if (frame.unterminated) {
      this.pushRest(frame, out)
      return
    }
    if (isReadable(frame) && (this.withholding?.begun === true || !this.isQuiet(frame))) {
      this.read(frame)
      if (this.malformed !== null) return
      if (this.withholding !== null) {
        this.withhold(this.withholding, frame, out)
        return
      }
    }
    if (frame.kind === "part" && this.withholding !== null) {
      this.withholding.pushPart(frame, out)
      this.malformed = this.withholding.malformed
    } else out.push(frame)
  }

  /** Without its last frame the turn is broken: the beginning of an end is held for nothing. */
  end(_cut: boolean, out: Array<Frame>): void {
    if (this.outcome === null) this.release(out)
  }

  /**
   * From the `message_delta` that says why the message ended. Until `message_stop` the turn may still fail, which
   * releases what was held.
   */
  get holding(): boolean {
    return this.withholding?.holding === true && this.runs
  }

  release(out: Array<Frame>): void {
    this.withholding?.release(out)
  }

  private withhold(withholding: Withholding, frame: Frame, out: Array<Frame>): void {
    if (frame.kind === "body") {
      withholding.pushBody(frame, this.runs, out)
      return
    }
    withholding.push(frame, out)
    this.malformed = withholding.malformed
    if (this.outcome !== null && !this.runs) withholding.release(out)
    else if (this.stopReason !== null && unrun.has(this.stopReason)) withholding.release(out)
  }

  /** Whether the message is at such an end that the calls in it are to be run. */
  private get runs(): boolean {
    if (this.outcome !== null && this.outcome !== "completed") return false
    if (this.stopReason === null) return this.outcome !== null
    return !unrun.has(this.stopReason)
  }

  /**
   * The upstream ended inside an event, which may be whole but for its blank line. It goes on if the turn is at its end
   * with it; else the turn was cut, and behind half an event no client could read the error event.
   */
  private pushRest(frame: Frame, out: Array<Frame>): void {
    if (isReadable(frame)) {
      if (!isObject(frame.json)) return
      this.read(frame)
    }
    if (this.outcome === null) return
    if (this.withholding === null) out.push(frame)
    else this.withhold(this.withholding, frame, out)
  }

  /** Whether the frame is one more like one that was read, of a kind in which there is nothing to see. */
  private isQuiet(frame: Frame): boolean {
    if (frame.kind !== "event" || frame.lines !== 1 || isError(frame)) return false
    const text = this.texts.of(frame)
    const end = insideEnd(text, frame.dataEnd)
    if (end === -1) return false
    const { quiet } = this
    for (let i = 0; i < quiet.length; i++) if (quiet[i]!.matches(text, frame.dataStart, end)) return true
    return false
  }

  private read(frame: Frame): void {
    const event = frame.json
    if (isError(frame)) {
      this.fail(isObject(event) ? (event.error ?? event) : frame.data)
      return
    }
    if (frame.kind === "body") {
      if (isObject(event)) this.readBody(event, frame)
      else this.malformed = "the body is not a JSON object"
      return
    }
    if (!isObject(event)) {
      if (frame.dataStart !== frame.dataEnd && !isDone(frame)) this.malformed = "an event is not a JSON object"
      return
    }
    switch (event.type) {
      case "message_start":
        if (isObject(event.message)) this.readMessage(event.message, frame, ["message"])
        break
      case "content_block_start":
        if (isObject(event.content_block)) this.begin(event.index, event.content_block, frame, ["content_block"])
        break
      case "content_block_delta":
        if (isObject(event.delta)) this.readDelta(event.index, event.delta)
        this.learn(frame, event)
        break
      case "content_block_stop":
        this.learn(frame, event)
        break
      case "message_delta":
        if (isObject(event.delta) && typeof event.delta.stop_reason === "string") {
          this.stopReason = event.delta.stop_reason
        }
        this.usage.see(event.usage, frame, ["usage"])
        break
      case "message_stop":
        this.conclude()
        break
      case "error":
        this.fail(event.error)
    }
  }

  private readMessage(message: JsonObject, frame: Frame, path: JsonPath): void {
    if (typeof message.id === "string" && message.id !== "" && this.responseId === null) this.responseId = message.id
    if (typeof message.model === "string" && message.model !== "" && this.model === null) this.model = message.model
    this.usage.see(message.usage, frame, [...path, "usage"])
  }

  private readBody(body: JsonObject, frame: Frame): void {
    if (body.type === "error" || (body.type === undefined && body.error !== undefined)) {
      this.fail(body.error)
      return
    }
    if (ofMessages.every((member) => body[member] === undefined || body[member] === null)) {
      this.malformed = "the body is not a message"
      return
    }
    this.readMessage(body, frame, [])
    if (typeof body.stop_reason === "string") this.stopReason = body.stop_reason
    if (Array.isArray(body.content)) {
      for (const [index, block] of body.content.entries())
        if (isObject(block)) this.begin(index, block, frame, ["content", index])
    }
    this.conclude()
  }

  /** A content block begins, or stands there whole. */
  private begin(index: unknown, block: JsonObject, frame: Frame, path: JsonPath): void {
    const text = (value: unknown): string => (typeof value === "string" ? value : "")
    const label = (value: unknown): string => this.room.label(text(value))
    // A second block at an index is another one: what comes for it then is not the first one's.
    this.open.delete(index)
    if (block.type === "thinking") {
      this.add(index, { kind: "thinking", callId: "", name: "", runner: "provider" }, text(block.thinking))
    } else if (isToolUse(block.type)) {
      const { input } = block
      const raw = () => rawValue(frame, [...path, "input"])?.toString() ?? ""
      const whole = typeof input === "string" ? input : (jsonText(input) ?? raw())
      const runner = this.runnerOf(block)
      this.add(index, { kind: "tool", callId: label(block.id), name: label(block.name), runner }, whole)
    }
  }

  private runnerOf(block: JsonObject): ToolRunner {
    if (block.type !== "tool_use") return "provider"
    return this.withholding?.isInjected(block) === true ? "gateway" : "client"
  }

  private add(index: unknown, begun: Omit<Block, "whole" | "said">, whole: string): void {
    const block: Block = { ...begun, whole: this.room.whole(whole), said: new CollectedText(this.room) }
    this.blocks.push(block)
    this.open.set(index, block)
  }

  private readDelta(index: unknown, delta: JsonObject): void {
    const block = this.open.get(index)
    if (block === undefined) return
    const piece = block.kind === "tool" ? delta.partial_json : delta.thinking
    if (typeof piece === "string") block.said.add(piece)
  }

  /** Remembers what a quiet event looks like that is written otherwise than Anthropic writes it. */
  private learn(frame: Frame, event: JsonObject): void {
    if (this.quiet.length >= mostShapes) return
    const shape = quietShape(frame, event)
    if (shape !== null) this.quiet.unshift(shape)
  }

  private fail(error: unknown): void {
    this.outcome = "failed"
    const message = isObject(error) ? error.message : error
    this.error = typeof message === "string" ? message : (jsonText(error) ?? "")
  }

  private conclude(): void {
    this.ended = true
    if (this.outcome === "failed") return
    this.outcome = this.stopReason !== null && incompletes.has(this.stopReason) ? "incomplete" : "completed"
  }

  summary(): TurnSummary {
    const uses = this.blocks.filter((block) => block.kind === "tool" && block.runner !== "provider")
    const ids = uses.some((block) => block.runner === "gateway") ? answerIds(uses.map((block) => block.callId)) : null
    const answered = new Map(uses.map((block, place) => [block, ids?.[place]]))
    const toolCalls: Array<SeenToolCall> = []
    const thoughts: Array<SeenThought> = []
    for (const block of this.blocks) {
      const { text } = block.said
      if (block.kind === "tool") {
        const written = text === "" ? block.whole : text
        const { name, runner } = block
        const callId = (runner === "gateway" ? answered.get(block) : undefined) ?? block.callId
        toolCalls.push({ callId, name, arguments: written === "" ? "{}" : written, json: true, runner })
      } else if (block.whole !== "" || text !== "") {
        thoughts.push({ text: block.whole + text, source: "thinking" })
      }
    }
    return {
      responseId: this.responseId,
      model: this.model,
      finishReason: this.stopReason,
      outcome: this.outcome,
      ended: this.ended,
      usage: this.usage.summary,
      toolCalls,
      thoughts,
      error: this.error
    }
  }
}

/** Members of which a message has at least one, if it is one at all. */
const ofMessages = ["id", "type", "content"] as const

/** Why a message is not all that the model had to say. */
const incompletes = new Set(["max_tokens", "model_context_window_exceeded"])

/** Why a message ends in which calls may be unfinished, or are not wanted any more. */
const unrun = new Set([...incompletes, "refusal"])

const isToolUse = (type: unknown): boolean =>
  type === "tool_use" || type === "server_tool_use" || type === "mcp_tool_use"

const isReadable = (frame: Frame): boolean =>
  (frame.kind === "event" || frame.kind === "body" || frame.kind === "message") && frame.event !== "ping"

/** How many ways of writing quiet events are remembered in a turn. */
const mostShapes = 8

/** The member of each delta that nobody reads. */
const unreadDeltas: { readonly [type: string]: string } = { text_delta: "text", signature_delta: "signature" }

const hasOnly = (object: JsonObject, keys: ReadonlyArray<string>): boolean =>
  Object.keys(object).every((key) => keys.includes(key))

/** Where the inside of an event ends, whose closing brace Anthropic puts a changing number of spaces before; -1 for none. */
const insideEnd = (text: string, end: number): number => {
  let at = end - 1
  if (text.charCodeAt(at) !== 0x7d) return -1
  while (text.charCodeAt(at - 1) === 0x20) at--
  return at
}

/** The shape of an event in which there is nothing to see; `null` where there is, or may be. */
const quietShape = (frame: Frame, event: JsonObject): Shape | null => {
  if (frame.kind !== "event" || frame.lines !== 1 || !hasOnly(event, ["type", "index", "delta"])) return null
  const { delta } = event
  const paths = [["index"]]
  if (isObject(delta)) {
    const member = unreadDeltas[String(delta.type)]
    if (member === undefined || typeof delta[member] !== "string" || !hasOnly(delta, ["type", member])) return null
    paths.push(["delta", member])
  }
  const data = frame.source.subarray(frame.dataStart, frame.dataEnd)
  const spans = locateAll(data, paths).filter((span) => span !== null)
  const text = data.toString("latin1")
  const end = insideEnd(text, text.length)
  spans.sort((a, b) => a.start - b.start)
  return spans.length < paths.length || end === -1 ? null : Shape.of(text.slice(0, end), spans)
}

/** The shape of a quiet event as Anthropic writes it, all but its closing brace; the values that may differ stand apart. */
const usual = (...pieces: ReadonlyArray<string>): Shape => {
  const spans: Array<{ start: number; end: number }> = []
  let text = ""
  pieces.forEach((piece, place) => {
    if (place % 2 === 1) spans.push({ start: text.length, end: text.length + piece.length })
    text += piece
  })
  return Shape.of(text, spans)!
}

const usualDelta = (type: string, member: string): Shape =>
  usual('{"type":"content_block_delta","index":', "0", `,"delta":{"type":"${type}","${member}":`, '"…"', "}")

const usualShapes: ReadonlyArray<Shape> = [
  usualDelta("text_delta", "text"),
  usual('{"type":"content_block_stop","index":', "0", ""),
  usualDelta("signature_delta", "signature")
]
