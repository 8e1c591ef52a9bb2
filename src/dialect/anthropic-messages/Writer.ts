import { type Frame, sse } from "../../wire/Frame.ts"
import { type Edit, edit, locate, locateAll, set } from "../../wire/JsonSpan.ts"
import { replaceValue } from "../../wire/ReplaceValue.ts"
import { combinedUsage, type UsageMembers } from "../CombinedUsage.ts"
import type { AnswerWriter, ClientUsage, TransportName } from "../Dialect.ts"
import type { GatewayError } from "../GatewayError.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { latest } from "../Usage.ts"
import { blocksOf } from "./Blocks.ts"
import { isError } from "./Events.ts"

/** The form of keep-alive that Anthropic itself has. */
const keepAlive = sse("ping", '{"type": "ping"}')

/** The members of a usage object that count what was read. */
const usageMembers: UsageMembers = {
  input: new Set(["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"]),
  total: null
}

/** The input counts that clients take from the end of a stream, if they stand there, before those of its beginning. */
const inputCounts = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]

/** Writes Messages to the client. */
export class MessagesWriter implements AnswerWriter {
  /** The model as JSON text. */
  private readonly model: string | null
  private readonly injected: boolean
  private readonly clientUsage: ClientUsage
  /** The usage of the turns that are over. */
  private readonly usages: Array<JsonObject> = []
  /** That of the turn under way, as last seen. */
  private usage: JsonObject | null = null
  /** How many blocks the client has seen, and how many of them of earlier turns. */
  private shown = 0
  private before = 0
  /** The first body, and the blocks of the bodies that are over, as they stand. */
  private first: Buffer | null = null
  private readonly blocks: Array<string> = []

  constructor(options: {
    readonly model: string | null
    readonly injected?: boolean
    readonly usage?: ClientUsage
  }) {
    this.model = options.model === null ? null : JSON.stringify(options.model)
    this.injected = options.injected === true
    this.clientUsage = options.usage ?? "sum"
  }

  push(frame: Frame, turn: number, out: Array<Frame>): void {
    // The reader has parsed every frame in which there is something to see.
    const said = frame.peek
    const type = isObject(said) ? said.type : undefined
    if (type === "message_stop" || type === "error" || isError(frame)) out.push(frame.asTerminal())
    else if (turn > 0) this.pushLater(frame, out)
    else {
      if (this.injected && isObject(said)) this.observe(said)
      if (this.model === null) out.push(frame)
      else if (frame.kind === "body") out.push(replaceValue(frame, ["model"], this.model))
      else out.push(type === "message_start" ? replaceValue(frame, ["message", "model"], this.model) : frame)
    }
  }

  /** What the end of the answer needs to know of the frames before it. */
  private observe(event: JsonObject): void {
    if (event.type === "message_start" && isObject(event.message)) this.use(event.message.usage)
    else if (event.type === "message_delta") this.use(event.usage)
    else if (event.type === "content_block_start" && typeof event.index === "number")
      this.shown = Math.max(this.shown, this.before + event.index + 1)
  }

  private use(usage: unknown): void {
    if (isObject(usage)) this.usage = latest(this.usage, usage)
  }

  /** A frame of a turn that is not the first goes on in the message that the first has begun. */
  private pushLater(frame: Frame, out: Array<Frame>): void {
    if (frame.kind === "body") {
      out.push(this.joined(frame))
      return
    }
    if (frame.kind === "comment" || frame.kind === "part" || frame.event === "ping") {
      out.push(frame)
      return
    }
    const event = frame.peek
    if (isObject(event)) {
      this.observe(event)
      if (event.type === "message_start") return
      if (event.type === "message_delta") {
        out.push(withUsage(frame, this.combined()))
        return
      }
      if (typeof event.type !== "string" || !event.type.startsWith("content_block")) {
        out.push(frame)
        return
      }
    }
    // What nobody has parsed is a piece of a block, or its end.
    out.push(this.before === 0 ? frame : raised(frame, this.before))
  }

  next(end: ReadonlyArray<Frame>): void {
    for (const frame of end) {
      const event = frame.json
      if (!isObject(event)) continue
      if (frame.kind === "body") {
        const data = frame.dataBytes
        this.use(event.usage)
        this.first ??= data
        this.blocks.push(...(blocksOf(data) ?? []))
      } else this.observe(event)
    }
    if (this.usage !== null) this.usages.push(this.usage)
    this.usage = null
    this.before = this.shown
  }

  /** The usage of all turns, every count of the input in it that any of them has. */
  private combined(): JsonObject | null {
    const turns = this.usage === null ? this.usages : [...this.usages, this.usage]
    if (turns.length === 0) return null
    const usage: { [name: string]: unknown } = { ...combinedUsage(turns, this.clientUsage, usageMembers) }
    for (const name of inputCounts) {
      if (typeof usage[name] !== "number" && turns.some((turn) => typeof turn[name] === "number")) usage[name] = 0
    }
    return usage
  }

  /** The last body with what the bodies before it showed: the message that a client would make of the stream. */
  private joined(frame: Frame): Frame {
    const body = frame.json
    if (!isObject(body) || !Array.isArray(body.content)) return frame
    this.use(body.usage)
    const edits: Array<Edit> = []
    const { first } = this
    const [id, model] = first === null ? [] : locateAll(first, [["id"], ["model"]])
    if (first !== null && id) edits.push({ op: "set", path: ["id"], raw: first.subarray(id.start, id.end) })
    if (this.model !== null) edits.push({ op: "set", path: ["model"], raw: this.model })
    else if (first !== null && model)
      edits.push({ op: "set", path: ["model"], raw: first.subarray(model.start, model.end) })
    if (this.blocks.length > 0) edits.push({ op: "insert", path: ["content"], at: "first", raw: this.blocks.join(",") })
    const usage = this.combined()
    if (usage !== null) edits.push({ op: "set", path: ["usage"], raw: JSON.stringify(usage) })
    const data = edit(frame.dataBytes, edits)
    return data === null ? frame : frame.withData(data)
  }

  finish(): void {}

  keepAlive(transport: TransportName): Frame | null {
    return transport === "sse" ? keepAlive : null
  }

  /**
   * An upstream that broke off is worded as an overloaded one: behind any other error Claude Code asks again without a
   * stream, where nothing fills the silence.
   */
  fail(error: GatewayError, transport: TransportName, out: Array<Frame>): void {
    if (transport === "sse") {
      const type = error.status === 502 || error.status === 504 ? "overloaded_error" : errorType(error.status)
      out.push(sse("error", JSON.stringify({ type: "error", error: { type, message: error.message } }), true))
    }
  }
}

const withUsage = (frame: Frame, usage: JsonObject | null): Frame => {
  const data = usage === null ? null : set(frame.dataBytes, ["usage"], JSON.stringify(usage))
  return data === null ? frame : frame.withData(data)
}

/** An event of a block with its index raised. It is scanned for it, not parsed. */
const raised = (frame: Frame, by: number): Frame => {
  const data = frame.dataBytes
  const span = locate(data, ["index"])
  const index = span === null ? Number.NaN : Number(data.toString("latin1", span.start, span.end))
  return Number.isSafeInteger(index) ? replaceValue(frame, ["index"], String(index + by)) : frame
}

/** The `type` of Anthropic's errors of a status: https://docs.anthropic.com/en/api/errors */
const errorType = (status: number): string => {
  switch (status) {
    case 401:
      return "authentication_error"
    case 402:
      return "billing_error"
    case 403:
      return "permission_error"
    case 404:
      return "not_found_error"
    case 413:
      return "request_too_large"
    case 429:
      return "rate_limit_error"
    case 503:
    case 529:
      return "overloaded_error"
    case 504:
      return "timeout_error"
  }
  return status >= 500 ? "api_error" : "invalid_request_error"
}

const errorObject = (error: GatewayError) => ({ type: errorType(error.status), message: error.message })

/** An error in Anthropic's form. */
export const errorBody = (error: GatewayError, requestId: string): string =>
  JSON.stringify({ type: "error", error: errorObject(error), request_id: requestId })
