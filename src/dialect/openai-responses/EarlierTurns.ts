import type { Frame } from "../../wire/Frame.ts"
import { type Edit, type JsonPath, locateAll } from "../../wire/JsonSpan.ts"
import { combinedUsage, type UsageMembers } from "../CombinedUsage.ts"
import type { ClientUsage } from "../Dialect.ts"
import { isObject, type JsonObject } from "../Json.ts"
import { nameOf, terminals } from "./Events.ts"
import { outputIndex, outputItems } from "./Tools.ts"

/** https://platform.openai.com/docs/api-reference/responses/object#responses/object-usage */
const usageMembers: UsageMembers = {
  input: new Set(["input_tokens", "input_tokens_details"]),
  total: { key: "total_tokens", of: ["input_tokens", "output_tokens"] }
}

/** Members of a response that all turns show as the first had them: the last one may run with other tools. */
const ofFirst = ["id", "created_at", "tool_choice"] as const

/** What was shown of the turns before the present one, as far as the end of the whole answer has to repeat it. */
export class EarlierTurns {
  /** How many places in the output are taken. */
  places = 0
  private readonly how: ClientUsage
  /** JSON texts by the member's name. */
  private readonly first = new Map<string, string>()
  private readonly output: Array<string> = []
  private readonly usage: Array<JsonObject> = []
  /** The text that some servers add to a response, joined. */
  private text = ""

  constructor(how: ClientUsage) {
    this.how = how
  }

  /** The first turn's id as JSON text; `null` where it had none. */
  get id(): string | null {
    return this.first.get("id") ?? null
  }

  /**
   * Adds a turn that has ended.
   *
   * @param end the frames of its end
   * @param finished its events that finished items
   */
  add(end: ReadonlyArray<Frame>, finished: ReadonlyArray<Frame>): void {
    const last = end.find((frame) => frame.kind === "body" || terminals.has(nameOf(frame)))
    if (last === undefined) return
    const at = responsePath(last)
    const data = last.dataBytes
    if (this.usage.length === 0 && this.first.size === 0) {
      const spans = locateAll(
        data,
        ofFirst.map((member) => [...at, member])
      )
      for (const [i, member] of ofFirst.entries()) {
        const span = spans[i]
        if (span) this.first.set(member, data.toString("utf8", span.start, span.end))
      }
    }
    const items = outputItems(last, finished)
    this.output.push(...items)
    this.places += Math.max(items.length, ...finished.map(placeBehind))
    const response = responseOf(last)
    if (isObject(response?.usage)) this.usage.push(response.usage)
    if (typeof response?.output_text === "string") this.text += response.output_text
  }

  /**
   * What makes of the last frame of a later turn the last one of the whole answer: it has the first turn's id, the output
   * of all turns, and what they used together.
   *
   * @param finished the events of the present turn that finished items
   */
  editsOf(last: Frame, finished: ReadonlyArray<Frame>): ReadonlyArray<Edit> {
    const response = responseOf(last)
    // An error in the place of a response has no output to add to.
    if (response === null || !("id" in response)) return []
    const at = responsePath(last)
    const edits: Array<Edit> = []
    for (const [member, raw] of this.first) {
      if (member in response) edits.push({ op: "replace", path: [...at, member], raw })
    }
    edits.push(...this.outputEdits(last, response, at, finished))
    const usage = isObject(response.usage) ? [...this.usage, response.usage] : this.usage
    if (this.usage.length > 0) {
      const raw = JSON.stringify(combinedUsage(usage, this.how, usageMembers))
      edits.push({ op: "set", path: [...at, "usage"], raw })
    }
    if (typeof response.output_text === "string") {
      const raw = JSON.stringify(this.text + response.output_text)
      edits.push({ op: "replace", path: [...at, "output_text"], raw })
    }
    return edits
  }

  private outputEdits(
    last: Frame,
    response: JsonObject,
    at: JsonPath,
    finished: ReadonlyArray<Frame>
  ): ReadonlyArray<Edit> {
    if (this.output.length === 0) return []
    const path = [...at, "output"]
    const own = outputItems(last, finished)
    // What the response repeats of its own stays as it stands there.
    if (Array.isArray(response.output) && response.output.length === own.length)
      return [{ op: "insert", path, at: "first", raw: this.output.join(",") }]
    return [{ op: "set", path, raw: `[${[...this.output, ...own].join(",")}]` }]
  }
}

const responsePath = (last: Frame): JsonPath => (last.kind === "body" ? [] : ["response"])

const responseOf = (last: Frame): JsonObject | null => {
  const data = last.json
  const response = last.kind === "body" || !isObject(data) ? data : data.response
  return isObject(response) ? response : null
}

/** The first place behind the item that an event finished. */
const placeBehind = (finished: Frame): number => {
  const data = finished.json
  return ((isObject(data) ? outputIndex(data) : null) ?? -1) + 1
}
