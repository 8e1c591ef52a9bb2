import type { Frame } from "../../wire/Frame.ts"
import { type Edit, edit } from "../../wire/JsonSpan.ts"
import { replaceValue } from "../../wire/ReplaceValue.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { Waiting } from "../Waiting.ts"

/**
 * Keeps the blocks of injected calls out of a turn, and holds its end where they can be run.
 *
 * The blocks that remain are numbered as if the others had never been: nothing is edited before one was kept out.
 */
export class Withholding {
  /** Whether a block was kept out: from then on no frame may pass unread. */
  begun = false
  /** What makes the turn unreadable. */
  malformed: string | null = null
  private readonly injected: ReadonlySet<string>
  /** By the index that the upstream means them by: the index a block is shown at, or -1 where it is not. */
  private readonly shownAt = new Map<unknown, number>()
  /** The index of the next block that is shown, if one was kept out before it. */
  private next = 0
  /** The frames of the end. A body stands here as it came. */
  private held: Array<Frame> = []
  private readonly waiting = new Waiting()

  constructor(injected: ReadonlySet<string>) {
    this.injected = injected
  }

  isInjected(block: JsonObject): boolean {
    return block.type === "tool_use" && typeof block.name === "string" && this.injected.has(block.name)
  }

  /** Whether the end of the turn is held. */
  get holding(): boolean {
    return this.held.length > 0
  }

  /** Passes on what a client may see of an event that has been read. */
  push(frame: Frame, out: Array<Frame>): void {
    const event = frame.json
    if (!isObject(event)) this.pass(frame, out)
    else if (event.type === "content_block_start") this.start(frame, event, out)
    else if (!this.begun) out.push(frame)
    else if (event.type === "message_delta") this.hold(frame)
    else if (event.type === "ping") out.push(frame)
    else if (typeof event.type === "string" && event.type.startsWith("content_block")) {
      const index = this.shownAt.get(event.index)
      if (index !== -1) this.pass(index === undefined ? frame : renumbered(frame, event.index, index), out)
    } else this.pass(frame, out)
  }

  /** Passes on a body without the injected calls, or holds it as one that has some. */
  pushBody(frame: Frame, hold: boolean, out: Array<Frame>): void {
    if (this.callsOf(frame).length === 0) out.push(frame)
    else if (hold) this.held.push(frame)
    else out.push(this.cut(frame))
  }

  /** The end of the turn goes on, or what was thought to be one. */
  release(out: Array<Frame>): void {
    const { held } = this
    this.held = []
    for (const frame of held) out.push(frame.kind === "body" ? this.cut(frame) : frame)
  }

  /** Passes on a piece of an event too large to read. */
  pushPart(frame: Frame, out: Array<Frame>): void {
    // Nobody can say which block it is of, and so it is not one that is shown.
    if (this.begun) this.malformed = "an event of it is too large to be read"
    else out.push(frame)
  }

  /** What comes behind a frame that is held is held too. */
  private pass(frame: Frame, out: Array<Frame>): void {
    if (this.held.length > 0) this.hold(frame)
    else out.push(frame)
  }

  private hold(frame: Frame): void {
    this.held.push(frame)
    if (!this.waiting.fits(frame)) this.malformed = "it does not end behind its end"
  }

  private start(frame: Frame, event: JsonObject, out: Array<Frame>): void {
    const { content_block: block, index } = event
    if (isObject(block) && this.isInjected(block)) {
      this.begun = true
      this.shownAt.set(index, -1)
      return
    }
    const shown = this.begun || typeof index !== "number" ? this.next : index
    this.shownAt.set(index, shown)
    this.next = Math.max(this.next, shown + 1)
    const renamed = this.begun ? renumbered(frame, index, shown) : frame
    // The writer counts the blocks by what was read before it.
    if (renamed !== frame) void renamed.json
    this.pass(renamed, out)
  }

  private callsOf(frame: Frame): ReadonlyArray<number> {
    const body = frame.json
    if (!isObject(body) || !Array.isArray(body.content)) return []
    const calls: Array<number> = []
    for (const [index, block] of body.content.entries())
      if (isObject(block) && this.isInjected(block)) calls.push(index)
    return calls
  }

  private cut(frame: Frame): Frame {
    const edits = this.callsOf(frame).map((index): Edit => ({ op: "remove", path: ["content", index] }))
    const data = edit(frame.dataBytes, edits)
    return data === null ? frame : frame.withData(data)
  }
}

const renumbered = (frame: Frame, index: unknown, shown: number): Frame =>
  index === shown || typeof index !== "number" ? frame : replaceValue(frame, ["index"], String(shown))
