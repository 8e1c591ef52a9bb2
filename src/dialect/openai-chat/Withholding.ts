import { type Frame, sse } from "../../wire/Frame.ts"
import { type Edit, edit } from "../../wire/JsonSpan.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { choicesOf, deltasOf, isEmpty, isEnd, isFinish } from "./Chunk.ts"
import type { OpenCall, ToolCalls } from "./ToolCalls.ts"

/** Where in a chunk or body a piece of a tool call stands, and which call it belongs to. */
export interface Piece {
  /** The place of the choice in `choices`. */
  readonly choice: number
  readonly said: "delta" | "message"
  /** The place of the piece in `tool_calls`. */
  readonly at: number
  /** Whether the piece has a number as its `index`. */
  readonly indexed: boolean
  readonly call: OpenCall
}

/** How far a turn has come with a frame. */
export type Phase = "open" | "completed" | "incomplete" | "failed"

interface Entry {
  readonly frame: Frame
  readonly pieces: ReadonlyArray<Piece>
}

/** No piece of any call. */
const none: ReadonlyArray<Piece> = []

/**
 * Keeps the injected calls of a turn from its client: of each frame goes on what it says besides. A call whose name has
 * not come may be either, so from it on all is kept back, in order, until the name comes. The end of a turn with
 * injected calls is held, for another turn may follow.
 */
export class Withholding {
  private readonly calls: ToolCalls
  /** What came since a call without a name did. */
  private queue: Array<Entry> = []
  /** The frames of the turn's end. */
  private held: Array<Frame> = []
  private roleShown = false
  /** The index under which the client sees each call of its own. */
  private readonly shown = new Map<OpenCall, number>()

  constructor(calls: ToolCalls) {
    this.calls = calls
  }

  get holding(): boolean {
    return this.held.length > 0
  }

  /** Takes a frame that holds a piece of text and nothing else. */
  pushText(frame: Frame, out: Array<Frame>): void {
    if (this.queue.length === 0) out.push(frame)
    else this.queue.push({ frame, pieces: none })
  }

  /**
   * Takes any other frame.
   *
   * @param pieces the pieces of tool calls in it, in order; `null` where there is none
   * @param phase how far the turn has come with this frame
   */
  push(frame: Frame, pieces: ReadonlyArray<Piece> | null, phase: Phase, out: Array<Frame>): void {
    const entry = { frame, pieces: pieces ?? none }
    // A name that has not come before the end does not come: whatever is called, it is no tool of Sluice's.
    if (phase === "completed" || phase === "incomplete") this.decide()
    const waits = phase !== "failed" && this.calls.all.some((call) => call.runner === null && isTool(call))
    if (waits) {
      this.queue.push(entry)
      return
    }
    if (phase === "failed") this.release(out)
    this.flush(out)
    this.show(entry, phase, out)
  }

  /** Nothing more comes: what is kept back goes on, but for calls that may be injected ones. */
  flush(out: Array<Frame>): void {
    const queue = this.queue
    if (queue.length === 0) return
    this.queue = []
    for (const entry of queue) this.show(entry, "open", out)
  }

  /** Lets the held end go on. */
  release(out: Array<Frame>): void {
    for (const frame of this.held) out.push(frame)
    this.held = []
  }

  private decide(): void {
    for (const call of this.calls.all) call.runner ??= "client"
  }

  private show({ frame, pieces }: Entry, phase: Phase, out: Array<Frame>): void {
    if (frame.kind === "comment" || frame.kind === "part") {
      out.push(frame)
      return
    }
    const ending = phase === "completed" && this.calls.injected
    const chunk = frame.json
    const edits = pieces.length === 0 || !isObject(chunk) ? [] : this.editsOf(chunk, pieces)
    if (!isObject(chunk) || frame.kind === "body") {
      const shown = edited(frame, edits) ?? frame
      if (ending) this.held.push(shown)
      else out.push(shown)
      return
    }
    if (ending) {
      this.showEnd(frame, chunk, edits, pieces, out)
      return
    }
    if (edits.length === 0 || isEnd(chunk) || this.says(chunk, pieces)) this.forward(edited(frame, edits), chunk, out)
  }

  /** A frame of the end of a turn with injected calls: what it says goes on at once, its end is held. */
  private showEnd(
    frame: Frame,
    chunk: JsonObject,
    edits: ReadonlyArray<Edit>,
    pieces: ReadonlyArray<Piece>,
    out: Array<Frame>
  ): void {
    if (!this.says(chunk, pieces)) {
      const end = edited(frame, edits)
      if (end !== null) this.held.push(end)
    } else if (isEnd(chunk)) {
      this.forward(edited(frame, [...edits, ...withoutEnd(chunk)]), chunk, out)
      const end = edited(frame, onlyEnd(chunk))
      if (end !== null) this.held.push(end)
    } else {
      this.forward(edited(frame, edits), chunk, out)
    }
  }

  private forward(frame: Frame | null, chunk: JsonObject, out: Array<Frame>): void {
    if (frame === null) return
    if (!this.roleShown) this.roleShown = deltasOf(chunk).some((delta) => typeof delta?.role === "string")
    out.push(frame)
  }

  /** What takes the withheld pieces out of a frame, and gives those behind them the index they have without them. */
  private editsOf(chunk: JsonObject, pieces: ReadonlyArray<Piece>): ReadonlyArray<Edit> {
    const edits: Array<Edit> = []
    const left = deltasOf(chunk).map((_, choice) => staying(chunk, choice, pieces))
    for (const { choice, said, at, indexed, call } of pieces) {
      const path = ["choices", choice, said, "tool_calls"]
      if (!isWithheld(call)) {
        const index = this.indexOf(call)
        if (indexed && index !== call.index)
          edits.push({ op: "replace", path: [...path, at, "index"], raw: `${index}` })
      } else if (left[choice]! > 0) {
        edits.push({ op: "remove", path: [...path, at] })
      } else if (!edits.some((change) => change.op === "remove" && change.path[1] === choice)) {
        edits.push({ op: "remove", path })
      }
    }
    return edits
  }

  /**
   * The index under which the client sees a call of its own: less by one for every index below it that an injected call
   * has, as far as no other call of the client's is shown there. It stays what it was when the call was first shown.
   */
  private indexOf(call: OpenCall): number {
    const known = this.shown.get(call)
    if (known !== undefined) return known
    const below = new Set<number>()
    const others = this.calls.all.filter((other) => other.choice === call.choice && isTool(other))
    for (const other of others) if (other.index < call.index && isWithheld(other)) below.add(other.index)
    let index = call.index - below.size
    while (others.some((other) => other.index !== call.index && this.shown.get(other) === index)) index++
    this.shown.set(call, index)
    return index
  }

  /** Whether the client is told anything by what is left of a chunk, its end left aside. */
  private says(chunk: JsonObject, pieces: ReadonlyArray<Piece>): boolean {
    return deltasOf(chunk).some((delta, choice) => {
      if (delta === null) return false
      if (typeof delta.role === "string" && !this.roleShown) return true
      return Object.keys(delta).some((key) => {
        if (key === "role") return false
        return key === "tool_calls" ? staying(chunk, choice, pieces) > 0 : !isEmpty(delta[key])
      })
    })
  }
}

const isTool = (call: OpenCall): boolean => call.choice === 0 && call.index >= 0

/** Whether nothing of a call is shown: one that is injected, or may be for all that is known. */
const isWithheld = (call: OpenCall): boolean => call.runner === "gateway" || (call.runner === null && isTool(call))

/** How many elements of a choice's `tool_calls` stay. */
const staying = (chunk: JsonObject, choice: number, pieces: ReadonlyArray<Piece>): number => {
  const one = choicesOf(chunk)[choice]
  const said = !isObject(one) ? null : isObject(one.delta) ? one.delta : one.message
  if (!isObject(said) || !Array.isArray(said.tool_calls)) return 0
  return said.tool_calls.length - pieces.filter((piece) => piece.choice === choice && isWithheld(piece.call)).length
}

const withoutEnd = (chunk: JsonObject): ReadonlyArray<Edit> => {
  const edits: Array<Edit> = []
  for (const [at, choice] of choicesOf(chunk).entries())
    if (isFinish(choice)) edits.push({ op: "replace", path: ["choices", at, "finish_reason"], raw: "null" })
  if (isObject(chunk.usage)) edits.push({ op: "remove", path: ["usage"] })
  return edits
}

const onlyEnd = (chunk: JsonObject): ReadonlyArray<Edit> => {
  const edits: Array<Edit> = []
  for (const [at, choice] of choicesOf(chunk).entries()) {
    if (!isObject(choice)) continue
    if (isObject(choice.delta)) edits.push({ op: "replace", path: ["choices", at, "delta"], raw: "{}" })
    if (isObject(choice.logprobs)) edits.push({ op: "replace", path: ["choices", at, "logprobs"], raw: "null" })
  }
  return edits
}

/** The frame with `edits` made; `null` where they cannot be. */
const edited = (frame: Frame, edits: ReadonlyArray<Edit>): Frame | null => {
  if (edits.length === 0) return frame
  const data = edit(frame.dataBytes, edits)
  if (data === null) return null
  // Behind an event that is not closed no other could be read.
  const shown = frame.unterminated ? sse(frame.event, data.toString().replace(/[\r\n]+/g, " ")) : frame.withData(data)
  // Who writes the answer looks for usage in what was parsed.
  if (isObject(frame.json) && isObject(frame.json.usage)) void shown.json
  return shown
}
