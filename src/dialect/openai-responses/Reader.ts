import type { Frame } from "../../wire/Frame.ts"
import type { JsonPath } from "../../wire/JsonSpan.ts"
import { rawValue } from "../../wire/RawValue.ts"
import { answerIds } from "../CallIds.ts"
import { TextRoom } from "../CollectedText.ts"
import type { RequestView, SeenToolCall, TurnOutcome, TurnReader, TurnSummary } from "../Dialect.ts"
import { isDone } from "../Done.ts"
import { isObject, type JsonObject, jsonText } from "../Json.ts"
import { SeenUsage } from "../SeenUsage.ts"
import { fromResponses } from "../Usage.ts"
import { isAboutResponse, nameOf, terminals } from "./Events.ts"
import { readItem, type SeenItem } from "./Items.ts"
import { mayBeCall } from "./FrameEdit.ts"
import { isNamedCall, outputIndex } from "./Tools.ts"
import { Withholding } from "./Withholding.ts"

/**
 * Reads one turn of Responses: the events of a stream, or one whole response.
 *
 * Of a stream three kinds of events are looked into: the first about the response (its id), every finished output item
 * (so that a stream that is cut leaves behind what was whole), and the last, which holds everything once more. All
 * others are told by their names and go on unread. Where tools were injected, `Withholding` looks into a few more.
 */
export class ResponsesReader implements TurnReader {
  malformed: string | null = null
  outcome: TurnOutcome | null = null
  ended = false
  private responseId: string | null = null
  private model: string | null = null
  private finishReason: string | null = null
  private readonly usage = new SeenUsage(fromResponses)
  private error: string | null = null
  /** Finished items by their place in the output. */
  private items = new Map<number, SeenItem>()
  private room = new TextRoom()
  /** The first place behind them all. */
  private behind = 0

  /** Whether the response is made in the background. */
  private readonly background: boolean
  /** Whether the upstream ended inside an event. */
  private broken = false
  private readonly injected: ReadonlySet<string> | undefined
  private readonly withholding: Withholding | null
  /** Where tools were injected: the calls that were announced and are not finished, by their place in the output. */
  private readonly announced = new Map<number, JsonObject>()
  /** The events that hold the arguments of such calls. */
  private givenArguments: Array<Frame> = []
  /** Whether the turn is at a good end with injected calls in it. */
  private runs = false

  constructor(
    options: { readonly asked?: Pick<RequestView, "background">; readonly injected?: ReadonlySet<string> } = {}
  ) {
    const { asked, injected } = options
    this.background = asked?.background === true
    this.injected = injected
    this.withholding = injected === undefined || injected.size === 0 ? null : new Withholding(injected)
  }

  push(frame: Frame, out: Array<Frame>): void {
    if (this.malformed !== null) return
    if (frame.unterminated) {
      this.pushRest(frame, out)
      return
    }
    let name = ""
    if (frame.kind === "body") this.readBody(frame)
    else if (frame.kind === "event" || frame.kind === "message") {
      name = nameOf(frame)
      // Nearly every event is one of these, and says nothing that is recorded.
      if (name === textDelta && (this.withholding === null || this.withholding.isIdle)) {
        out.push(frame)
        return
      }
      this.readEvent(frame, name)
    } else if (frame.terminal) this.endUnread(frame)
    if (this.malformed === null) this.pass(frame, name, out)
  }

  end(cut: boolean, out: Array<Frame>): void {
    // A response that is made in the background goes on without the stream that followed it.
    if (!cut && !this.broken && this.background && this.responseId !== null) this.outcome ??= "incomplete"
    this.withholding?.end(cut || this.outcome === null, this.runs, out)
  }

  get holding(): boolean {
    return this.withholding?.holding === true
  }

  release(out: Array<Frame>): void {
    this.withholding?.release(out)
  }

  private pass(frame: Frame, name: string, out: Array<Frame>): void {
    if (this.withholding === null) out.push(frame)
    else {
      this.withholding.push(frame, name, this.runs, out)
      this.malformed = this.withholding.malformed
    }
  }

  /**
   * The upstream ended inside an event, which may be whole but for its blank line. It goes on if the turn is at its end
   * with it; else the turn was cut, and behind half an event no client could read the error event.
   */
  private pushRest(frame: Frame, out: Array<Frame>): void {
    const name = nameOf(frame)
    if (frame.kind === "event" && isObject(frame.json)) this.readEvent(frame, name)
    if (this.outcome !== null) this.pass(frame, name, out)
    else this.broken = true
  }

  /** The end of an event that is too large to read; of a body that is, only its end is known. */
  private endUnread(frame: Frame): void {
    const outcome = terminals.get(frame.event)
    if (outcome === undefined) return
    this.ended = true
    this.outcome ??= outcome
  }

  private readEvent(frame: Frame, name: string): void {
    const terminal = terminals.get(name)
    if (this.withholding !== null) this.follow(frame, name)
    const wanted =
      terminal !== undefined ||
      name === itemDone ||
      name === "error" ||
      name === "" ||
      (this.responseId === null && isAboutResponse(name))
    if (!wanted) return
    const data = frame.json
    if (!isObject(data)) {
      const saysNothing = name === "" && (frame.dataStart === frame.dataEnd || isDone(frame))
      if (!saysNothing) this.malformed = "an event is not a JSON object"
      return
    }
    if (name === itemDone) {
      const at = typeof data.output_index === "number" ? data.output_index : this.behind
      this.behind = Math.max(this.behind, at + 1)
      this.items.set(at, this.readItem(data.item, frame, ["item"]))
      if (this.announced.delete(at) && this.announced.size === 0) this.givenArguments = []
    } else if (name === "error") {
      this.fail(isObject(data.error) ? data.error : data)
      // In a stream `response.failed`, or the end, still follows; over WebSocket nothing does.
      if (frame.kind === "message") this.ended = true
    } else if (isObject(data.response)) this.readResponse(data.response, frame, ["response"])
    // Some servers report an error in the form of Chat Completions, and clients read it so.
    else if (name === "" && isObject(data.error)) this.fail(data.error)
    if (terminal !== undefined)
      this.conclude(terminal, isObject(data.response) ? data.response : {}, frame, ["response"])
  }

  /** Remembers what calls are made of that an upstream may announce and never finish. */
  private follow(frame: Frame, name: string): void {
    if (name === itemAdded) {
      if (!mayBeCall(frame)) return
      const data = frame.json
      const at = isObject(data) ? outputIndex(data) : null
      if (isObject(data) && isObject(data.item) && at !== null && isNamedCall(data.item))
        this.announced.set(at, data.item)
    } else if (this.givenArguments.length < this.announced.size && name === argumentsDone)
      this.givenArguments.push(frame)
  }

  /** Reads the calls that were not finished, but whose arguments have come. */
  private readAnnounced(): void {
    for (const frame of this.givenArguments) {
      const data = frame.json
      const at = isObject(data) ? outputIndex(data) : null
      const item = at === null ? undefined : this.announced.get(at)
      const given = isObject(data) ? data.arguments : undefined
      if (at !== null && item !== undefined && typeof given === "string")
        this.items.set(at, this.readItem({ ...item, arguments: given }, frame, []))
    }
  }

  private readBody(frame: Frame): void {
    const body = frame.json
    if (!isObject(body)) {
      this.malformed = "the body is not a JSON object"
      return
    }
    if (ofResponses.every((member) => body[member] === undefined || body[member] === null)) {
      this.malformed = "the body is not a response"
      return
    }
    this.readResponse(body, frame, [])
    this.conclude(outcomeOf(body), body, frame, [])
  }

  private readResponse(response: JsonObject, frame: Frame, path: JsonPath): void {
    if (typeof response.id === "string" && response.id !== "") this.responseId ??= response.id
    if (typeof response.model === "string" && response.model !== "") this.model = response.model
    this.usage.see(response.usage, frame, [...path, "usage"])
  }

  /** The response is at its end, or, where it is made in the background, at the end of what this call shows of it. */
  private conclude(outcome: TurnOutcome, response: JsonObject, frame: Frame, path: JsonPath): void {
    this.ended = true
    const { incomplete_details: details, output, status } = response
    const reason = isObject(details) ? details.reason : undefined
    this.finishReason = textOr(reason) ?? textOr(status) ?? outcome
    this.readAnnounced()
    // A response that failed, or comes from a server that stores nothing, may not repeat its items.
    if (Array.isArray(output) && output.length >= this.items.size) {
      this.room = new TextRoom()
      this.items = new Map(output.map((item, index) => [index, this.readItem(item, frame, [...path, "output", index])]))
    }
    if (outcome === "failed") this.fail(response.error)
    else this.outcome ??= outcome
    if (this.outcome !== "completed" || this.withholding === null) return
    const runners = new Set([...this.items.values()].map(({ call }) => call?.runner))
    this.runs = runners.has("gateway")
    if (this.withholding.begun && !this.runs && !runners.has("client"))
      this.malformed = "it announced a tool call and never made it"
  }

  /** What is recorded of an item, as far as there is room. */
  private readItem(item: unknown, frame: Frame, path: JsonPath): SeenItem {
    const { room } = this
    const { call, thoughts } = readItem(item, this.injected, () => rawValue(frame, path))
    return {
      call:
        call === null
          ? null
          : {
              ...call,
              callId: room.label(call.callId),
              name: room.label(call.name),
              arguments: room.whole(call.arguments)
            },
      thoughts: thoughts.map((thought) => ({ ...thought, text: room.whole(thought.text) }))
    }
  }

  private fail(error: unknown): void {
    this.outcome = "failed"
    const message = isObject(error) ? error.message : error
    if (typeof message === "string") this.error ??= message
    else if (isObject(error)) this.error ??= jsonText(error) ?? ""
  }

  summary(): TurnSummary {
    const items = [...this.items.entries()].sort((a, b) => a[0] - b[0]).map((entry) => entry[1])
    const toolCalls = items.map((item) => item.call).filter((call): call is SeenToolCall => call !== null)
    return {
      responseId: this.responseId,
      model: this.model,
      finishReason: this.finishReason,
      outcome: this.outcome,
      ended: this.ended,
      usage: this.usage.summary,
      toolCalls: this.runs ? answered(toolCalls) : toolCalls,
      thoughts: items.flatMap((item) => item.thoughts),
      error: this.error
    }
  }
}

const textDelta = "response.output_text.delta"
const itemAdded = "response.output_item.added"
const itemDone = "response.output_item.done"
const argumentsDone = "response.function_call_arguments.done"

/** The calls of a turn, those that Sluice answers by the ids that it answers them by. */
const answered = (calls: ReadonlyArray<SeenToolCall>): ReadonlyArray<SeenToolCall> => {
  const waiting = calls.filter((call) => call.runner !== "provider")
  const ids = answerIds(waiting.map((call) => call.callId))
  const byCall = new Map(waiting.map((call, place) => [call, ids[place]!]))
  return calls.map((call) => (call.runner === "gateway" ? { ...call, callId: byCall.get(call)! } : call))
}

/** Members of which a response has at least one, if it is one at all or an error. */
const ofResponses = ["id", "status", "output", "content", "error"] as const

const textOr = (value: unknown): string | null => (typeof value === "string" && value !== "" ? value : null)

/** How a response that came as one body ended. One that is queued or still in progress goes on without this call. */
const outcomeOf = ({ error, status }: JsonObject): TurnOutcome => {
  if (status === "completed") return "completed"
  if (status === "failed" || (typeof status !== "string" && isObject(error))) return "failed"
  return typeof status === "string" ? "incomplete" : "completed"
}
