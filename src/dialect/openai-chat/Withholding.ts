import { type Frame, sse } from "../../wire/Frame.ts"
import { type Edit, edit } from "../../wire/JsonSpan.ts"
import { isDone } from "../Done.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { choicesOf, deltasOf, isEmpty, isEnd, isFinish } from "./Chunk.ts"
import type { OpenCall, ToolCalls } from "./ToolCalls.ts"
import { Waiting } from "../Waiting.ts"

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
 * not come may be either, so from it on all is kept back, in order, until the name comes; where that is long in coming, it
 * is taken for the client's. The end of a turn with injected calls is held, for another turn may follow.
 */
export class Withholding {
  /** What makes the turn unreadable. */
  malformed: string | null = null
  private readonly calls: ToolCalls
  /** What came since a call without a name did. */
  private queue: Array<Entry> = []
  /** The frames of the turn's end. */
  private held: Array<Frame> = []
  private readonly waiting = new Waiting()
  private roleShown = false
  /** The index under which the client sees each call of its own. */
  private readonly shown = new Map<OpenCall, number>()
  /** By choice and the index that is shown, the index of the call that has it. */
  private readonly taken = new Map<number, Map<number, number>>()

  constructor(calls: ToolCalls) {
    this.calls = calls
  }

  get holding(): boolean {
    return this.held.length > 0
  }

  /** Takes a frame that holds a piece of text and nothing else. */
  pushText(frame: Frame, out: Array<Frame>): void {
    if (this.queue.length === 0) out.push(frame)
    else this.wait({ frame, pieces: none }, out)
  }

  /**
   * Takes any other frame.
   *
   * @param pieces the pieces of tool calls in it, in order; `null` where there is none
   * @param phase how far the turn has come with this frame
   */
  push(frame: Frame, pieces: ReadonlyArray<Piece> | null, phase: Phase, out: Array<Frame>): void {
    const entry = { frame, pieces: pieces ?? none }
    if (this.calls.unnamed > 0) {
      if (phase === "open") {
        this.wait(entry, out)
        return
      }
      // A name that has not come before the end does not come.
      if (phase === "failed") this.calls.drop()
      else this.calls.decide()
    }
    if (phase === "failed") this.release(out)
    this.flush(out)
    this.show(entry, phase, out)
  }

  /** Nothing more comes: what is kept back goes on, but for calls that may be injected ones. */
  end(out: Array<Frame>): void {
    this.calls.drop()
    this.flush(out)
  }

  private wait(entry: Entry, out: Array<Frame>): void {
    this.queue.push(entry)
    if (this.waiting.fits(entry.frame)) return
    this.calls.decide()
    this.flush(out)
  }

  private flush(out: Array<Frame>): void {
    const queue = this.queue
    if (queue.length === 0) return
    this.queue = []
    this.waiting.clear()
    for (const entry of queue) this.show(entry, "open", out)
  }

  /** Lets the held end go on. */
  release(out: Array<Frame>): void {
    for (const frame of this.held) out.push(frame)
    this.held = []
  }

  private show({ frame, pieces }: Entry, phase: Phase, out: Array<Frame>): void {
    if (frame.kind === "comment" || frame.kind === "part") {
      // Nobody can say whose it is, and so it is not the client's.
      if (frame.kind === "part" && this.calls.injected) this.malformed = "a chunk of it is too large to be read"
      else out.push(frame)
      return
    }
    const ending = phase === "completed" && this.calls.injected
    // That `[DONE]` is no JSON is dear to find out.
    const chunk = isDone(frame) ? undefined : frame.json
    const edits = pieces.length === 0 || !isObject(chunk) ? [] : this.editsOf(chunk, pieces)
    if (!isObject(chunk) || frame.kind === "body") {
      const shown = edited(frame, edits) ?? frame
      if (ending) this.hold(shown, frame.kind !== "body")
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
      if (end !== null) this.hold(end)
    } else if (isEnd(chunk)) {
      this.forward(edited(frame, [...edits, ...withoutEnd(chunk)]), chunk, out)
      const end = edited(frame, onlyEnd(chunk))
      if (end !== null) this.hold(end)
    } else {
      this.forward(edited(frame, edits), chunk, out)
    }
  }

  private hold(frame: Frame, isCounted = true): void {
    this.held.push(frame)
    if (isCounted && !this.waiting.fits(frame)) this.malformed = "it does not end behind its end"
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
      if (!call.withheld) {
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
    let taken = this.taken.get(call.choice)
    if (taken === undefined) {
      taken = new Map()
      this.taken.set(call.choice, taken)
    }
    let index = call.index - this.calls.withheldBelow(call)
    while ((taken.get(index) ?? call.index) !== call.index) index++
    taken.set(index, call.index)
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

/** How many elements of a choice's `tool_calls` stay. */
const staying = (chunk: JsonObject, choice: number, pieces: ReadonlyArray<Piece>): number => {
  const one = choicesOf(chunk)[choice]
  const said = !isObject(one) ? null : isObject(one.delta) ? one.delta : one.message
  if (!isObject(said) || !Array.isArray(said.tool_calls)) return 0
  return said.tool_calls.length - pieces.filter((piece) => piece.choice === choice && piece.call.withheld).length
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
