import type { Frame } from "../../wire/Frame.ts"
import type { Edit, JsonPath } from "../../wire/JsonSpan.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { isAboutResponse, nameOf, terminals } from "./Events.ts"
import { edited, placeOf, type Replacement, renumber, replaced } from "./FrameEdit.ts"
import { isInjectedCall } from "./Items.ts"
import { mayBeCall, mayHold } from "./FrameEdit.ts"
import { outputIndex } from "./Tools.ts"
import { Waiting } from "../Waiting.ts"

const itemAdded = "response.output_item.added"
const itemDone = "response.output_item.done"
const callArguments = "response.function_call_arguments."

/**
 * Keeps the calls of injected tools out of what one turn of Responses releases: the turn goes on as if they had not been
 * made, and the tools themselves had not been there.
 *
 * As long as no such call has come, only events that begin or finish an item, or hold the response, are looked into.
 */
export class Withholding {
  /** Whether the turn's end is held. */
  holding = false
  /** What makes the turn unreadable. */
  malformed: string | null = null
  private readonly injected: ReadonlySet<string>
  private held: Array<Frame> = []
  /** What waits for the name of a call, so that all stays in order. Of it the first `drained` have gone on. */
  private queue: Array<Frame> = []
  private drained = 0
  private readonly waiting = new Waiting()
  /** The item whose name is waited for. */
  private unnamed = -1
  /** Whether all names have come that will. */
  private over = false
  /** Whether a call that never got a name is withheld. */
  private cut = false
  /** By output index, whether an item is withheld, once that is known. */
  private readonly verdicts = new Map<number, boolean>()
  /** What was cut out of an event as the injected tools that it repeated; `null` as long as nothing was. */
  private echo: Buffer | null = null
  private readonly withheldItems = new Set<number>()
  private withheldFrames = 0
  /** Whether the upstream announces calls before it sends their arguments. */
  private announces = false

  constructor(injected: ReadonlySet<string>) {
    this.injected = injected
  }

  /**
   * @param name what the event is called
   * @param runs whether the turn, up to this frame, has come to a good end with injected calls that can be run
   */
  push(frame: Frame, name: string, runs: boolean, out: Array<Frame>): void {
    if (this.holding) this.held.push(frame)
    else if (this.queue.length > 0) {
      this.queue.push(frame)
      const fits = this.waiting.fits(frame)
      if (this.names(frame, name)) this.drain(runs, out)
      else if (!fits) this.stopWaiting(out)
    } else if (!this.route(frame, name, runs, out)) {
      this.queue.push(frame)
      if (!this.waiting.fits(frame)) this.stopWaiting(out)
    }
  }

  /** Whether nothing is withheld, and nothing waits: an event that is not about calls goes on as it is. */
  get isIdle(): boolean {
    return this.withheldItems.size === 0 && this.queue.length === 0 && !this.holding
  }

  /** Whether an injected call was announced, or made. */
  get begun(): boolean {
    return this.withheldItems.size > 0
  }

  /** Too much waits for names: the calls without one so far are taken for the client's. */
  private stopWaiting(out: Array<Frame>): void {
    this.over = true
    this.drain(false, out)
    this.over = false
  }

  /** Nothing more comes. A call that never got a name is no one's, and is left out of a turn that was cut. */
  end(cut: boolean, runs: boolean, out: Array<Frame>): void {
    if (this.queue.length === 0) return
    this.over = true
    this.cut = cut
    this.drain(runs, out)
  }

  release(out: Array<Frame>): void {
    this.holding = false
    for (const frame of this.held) out.push(frame)
    this.held = []
  }

  /** Whether a frame that waits in the queue says what the call at the head of the queue is. */
  private names(frame: Frame, name: string): boolean {
    if (frame.kind === "part" && frame.terminal) this.over = true
    if (terminals.has(name)) {
      const items = itemsOf(isObject(frame.json) ? frame.json.response : null)
      for (const [index, item] of items.entries()) {
        const verdict = isInjectedCall(item, this.injected)
        if (verdict !== null) this.judge(index, verdict)
      }
      this.over = true
    }
    if (name !== itemDone || !isObject(frame.json)) return this.over
    const index = outputIndex(frame.json)
    if (index === null) return false
    this.judge(index, isInjectedCall(frame.json.item, this.injected) === true)
    return index === this.unnamed
  }

  private judge(index: number, withheld: boolean): void {
    if (!this.verdicts.has(index)) this.verdicts.set(index, withheld)
  }

  /** Lets the queue go on, up to the next call whose name has not come. */
  private drain(runs: boolean, out: Array<Frame>): void {
    while (this.drained < this.queue.length) {
      const frame = this.queue[this.drained]!
      if (this.holding) this.held.push(frame)
      else if (!this.route(frame, nameOf(frame), runs, out)) return
      this.drained++
    }
    this.queue = []
    this.drained = 0
    this.waiting.clear()
  }

  /** Lets a frame go on, or withholds it. Answers `false` where neither can be said before a name has come. */
  private route(frame: Frame, name: string, runs: boolean, out: Array<Frame>): boolean {
    if (frame.kind === "part" && this.begun) {
      // Nobody can say whose it is, and so it is not the client's.
      this.malformed = "an event of it is too large to be read"
    } else if (frame.kind === "comment" || frame.kind === "part") out.push(frame)
    else if (frame.kind === "body") this.conclude(frame, frame.json, [], runs, out)
    else if (isAboutResponse(name)) {
      if (terminals.has(name))
        this.conclude(frame, isObject(frame.json) ? frame.json.response : null, ["response"], runs, out)
      else this.pass(this.withoutEchoes(frame), out)
    } else if (name === itemAdded || name === itemDone || (!this.announces && name.startsWith(callArguments))) {
      const known = (name === itemAdded && !mayBeCall(frame)) || this.meet(name, frame.json)
      if (known) this.pass(frame, out)
      return known
    } else this.pass(frame, out)
    return true
  }

  /** Learns what can be learnt of an item. Answers whether it is known by now whether it is withheld. */
  private meet(name: string, data: unknown): boolean {
    const index = isObject(data) ? outputIndex(data) : null
    if (!isObject(data) || index === null) return true
    const { item } = data
    const verdict =
      this.verdicts.get(index) ?? (name.startsWith(callArguments) ? null : isInjectedCall(item, this.injected))
    if (verdict === null && name !== itemDone && !this.over) {
      this.unnamed = index
      return false
    }
    const withheld = verdict ?? this.cut
    this.judge(index, withheld)
    if (withheld) this.withheldItems.add(index)
    if (name === itemAdded && isObject(item) && item.type === "function_call") this.announces = true
    return true
  }

  /** Lets an event go on, unless it is about an item that is withheld. */
  private pass(frame: Frame, out: Array<Frame>): void {
    if (this.withheldItems.size === 0) {
      out.push(frame)
      return
    }
    const { outputIndex: index, sequence } = placeOf(frame)
    if (index !== null && this.withheldItems.has(index.value)) {
      this.withheldFrames++
      return
    }
    const replacements: Array<Replacement> = []
    if (index !== null) renumber(replacements, "output_index", index, index.value - this.withheldBefore(index.value))
    if (sequence !== null) renumber(replacements, "sequence_number", sequence, this.lowered(sequence.value))
    out.push(replaced(frame, replacements))
  }

  private withheldBefore(index: number): number {
    let count = 0
    for (const withheld of this.withheldItems) if (withheld < index) count++
    return count
  }

  private lowered(sequence: number): number {
    return Math.max(0, sequence - this.withheldFrames)
  }

  /** The frame that ends the turn, with what was not to be seen cut out of the response it holds. */
  private conclude(frame: Frame, response: unknown, at: JsonPath, runs: boolean, out: Array<Frame>): void {
    const edits: Array<Edit> = [...this.sequence(frame)]
    for (const [index, item] of itemsOf(response).entries()) {
      if (isInjectedCall(item, this.injected) === true) edits.push({ op: "remove", path: [...at, "output", index] })
    }
    this.holding = runs
    const to = this.holding ? this.held : out
    if (edits.length > 0) to.push(edited(frame, [...this.echoes(response, at), ...edits]))
    else to.push(this.cutLike(frame) ?? this.withoutEcho(frame, this.echoes(response, at)))
  }

  /** An event that holds the response without the injected tools that it repeats. It is parsed only where it has to be. */
  private withoutEchoes(frame: Frame): Frame {
    if (frame.peek === undefined) {
      const like = this.cutLike(frame)
      if (like !== null) return like
      if (!mayHold(frame, '"function"')) return frame
    }
    return this.withoutEcho(frame, this.echoes(isObject(frame.json) ? frame.json.response : null, ["response"]))
  }

  /** The frame with the edits made that take out what it repeats, which is remembered if it is one piece. */
  private withoutEcho(frame: Frame, edits: ReadonlyArray<Edit>): Frame {
    const shown = edited(frame, edits)
    if (shown === frame || frame.lines > 1 || shown.lines > 1) return shown
    const before = frame.dataBytes
    const after = shown.dataBytes
    let start = 0
    while (start < after.length && before[start] === after[start]) start++
    const end = start + before.length - after.length
    if (before.subarray(end).equals(after.subarray(start))) this.echo = Buffer.from(before.subarray(start, end))
    return shown
  }

  /**
   * The frame without the same piece that was taken out of the one before it, if it is there once: all events of a
   * response repeat the same tools. `null` where it is not, or where what is left would be no list.
   */
  private cutLike(frame: Frame): Frame | null {
    const { echo } = this
    if (echo === null || frame.lines > 1) return null
    const { dataEnd, dataStart, source } = frame
    const start = source.indexOf(echo, dataStart)
    const end = start + echo.length
    if (start === -1 || end > dataEnd || source[end] !== closingBracket) return null
    if (echo[0] !== comma && source[start - 1] !== openingBracket) return null
    const again = source.indexOf(echo, end)
    return again !== -1 && again < dataEnd ? null : frame.splice(start, end, nothing)
  }

  /** Takes the injected tools out of those that a response repeats. */
  private echoes(response: unknown, at: JsonPath): ReadonlyArray<Edit> {
    if (!isObject(response) || !Array.isArray(response.tools)) return []
    const edits: Array<Edit> = []
    for (const [index, tool] of response.tools.entries()) {
      if (isObject(tool) && tool.type === "function" && this.injected.has(tool.name as string))
        edits.push({ op: "remove", path: [...at, "tools", index] })
    }
    return edits
  }

  private sequence(frame: Frame): ReadonlyArray<Edit> {
    const data = this.withheldFrames > 0 && frame.kind !== "body" ? frame.json : null
    if (!isObject(data) || typeof data.sequence_number !== "number") return []
    return [{ op: "replace", path: ["sequence_number"], raw: String(this.lowered(data.sequence_number)) }]
  }
}

const comma = 0x2c
const openingBracket = 0x5b
const closingBracket = 0x5d
const nothing = Buffer.alloc(0)

const itemsOf = (response: unknown): ReadonlyArray<unknown> => {
  const items = isObject(response) ? (response as JsonObject).output : null
  return Array.isArray(items) ? items : []
}
