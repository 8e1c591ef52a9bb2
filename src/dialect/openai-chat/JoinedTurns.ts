import type { Frame } from "../../wire/Frame.ts"
import { type Edit, edit, elements, type JsonPath, locate } from "../../wire/JsonSpan.ts"
import { MemberReplacer } from "../../wire/MemberReplacer.ts"
import { combinedUsage, type UsageMembers } from "../CombinedUsage.ts"
import type { ClientUsage } from "../Dialect.ts"
import { isObject, type JsonObject, jsonText } from "../Json.ts"
import { latest } from "../Usage.ts"
import { choiceAt, deltasOf, isEmpty, isEnd, placeOfFirst } from "./Chunk.ts"

/** Reference: https://platform.openai.com/docs/api-reference/chat/object */
const usageMembers: UsageMembers = {
  // `prompt_cache_hit_tokens` and its counterpart are DeepSeek's.
  input: new Set(["prompt_tokens", "prompt_tokens_details", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens"]),
  total: { key: "total_tokens", of: ["prompt_tokens", "completion_tokens"] }
}

/** Members of a message that a client puts together from pieces. */
const texts = ["content", "refusal", "reasoning_content", "reasoning"]

/** Lists of what each token was probably, beside a message: as many as there are kinds of text. */
const probabilities = ["content", "refusal"]

/** In how many frames the answer's id is looked for: Azure's first has none, other servers never send one. */
const looks = 4

/**
 * Several turns as one answer: what the first turn shows is left as it is, later frames get its `id` and `created`, the
 * role is said once, and usage is that of all turns. Of bodies only the last is shown, with what all of them say.
 */
export class JoinedTurns {
  private readonly how: ClientUsage
  private id: MemberReplacer | null = null
  private created: MemberReplacer | null = null
  private looksLeft = looks
  private begun = false
  /** The usage of each turn that has ended. */
  private readonly usages: Array<JsonObject> = []
  /** The usage of the turn that goes on. */
  private usage: JsonObject | null = null
  /** The messages of the bodies that are not shown. */
  private readonly messages: Array<JsonObject> = []
  /** The elements of their lists of probabilities as they stand. */
  private readonly elements: { readonly [list: string]: Array<string> } = { content: [], refusal: [] }

  constructor(how: ClientUsage) {
    this.how = how
  }

  /** The frame as the client sees it; `null` where it sees nothing. The same frame in the first turn. */
  apply(frame: Frame, turn: number): Frame | null {
    // A frame with usage was parsed by the turn's reader.
    this.observe(frame.peek)
    if (turn === 0) {
      this.learn(frame)
      this.begun = true
      return frame
    }
    const edits = frame.kind === "body" ? this.bodyEdits(frame.json) : this.chunkEdits(frame)
    if (edits === null) return null
    const shown = edited(frame, edits)
    const named = this.id === null ? shown : this.id.apply(shown)
    return this.created === null ? named : this.created.apply(named)
  }

  /** A turn has ended with `frames`, of which nothing is shown. */
  end(frames: ReadonlyArray<Frame>): void {
    for (const frame of frames) {
      if (frame.kind === "comment" || frame.kind === "part") continue
      const chunk = frame.json
      this.observe(chunk)
      this.learn(frame)
      if (frame.kind !== "body" || !isObject(chunk)) continue
      const place = placeOfFirst(chunk)
      const message = choiceAt(chunk, place)?.message
      if (isObject(message)) this.messages.push(message)
      const body = frame.dataBytes
      for (const key of probabilities) {
        const list = locate(body, ["choices", place, "logprobs", key])
        for (const { start, end } of (list && elements(body, list)) ?? [])
          this.elements[key]!.push(body.toString("utf8", start, end))
      }
    }
    if (this.usage !== null) this.usages.push(this.usage)
    this.usage = null
  }

  private observe(chunk: unknown): void {
    if (isObject(chunk) && isObject(chunk.usage)) this.usage = latest(this.usage, chunk.usage)
  }

  private learn(frame: Frame): void {
    if (this.id !== null || this.looksLeft === 0) return
    this.looksLeft--
    const chunk = frame.json
    if (!isObject(chunk) || typeof chunk.id !== "string" || chunk.id === "") return
    this.id = new MemberReplacer("id", JSON.stringify(chunk.id))
    if (typeof chunk.created === "number") this.created = new MemberReplacer("created", JSON.stringify(chunk.created))
  }

  /** `null` where nothing but the role is said once more. */
  private chunkEdits(frame: Frame): ReadonlyArray<Edit> | null {
    const edits: Array<Edit> = [...this.usageEdits(frame.peek)]
    const mayHaveRole = this.begun && frame.source.subarray(frame.dataStart, frame.dataEnd).includes('"role"')
    const chunk = mayHaveRole ? frame.json : undefined
    if (!isObject(chunk)) return edits
    const deltas = deltasOf(chunk)
    for (const [at, delta] of deltas.entries())
      if (delta !== null && "role" in delta) edits.push({ op: "remove", path: ["choices", at, "delta", "role"] })
    const isSilent = deltas.every(
      (delta) => delta === null || Object.keys(delta).every((key) => key === "role" || isEmpty(delta[key]))
    )
    return isSilent && !isEnd(chunk) && deltas.some((delta) => delta !== null && "role" in delta) ? null : edits
  }

  private usageEdits(chunk: unknown): ReadonlyArray<Edit> {
    if (!isObject(chunk) || !isObject(chunk.usage) || this.usage === null || this.usages.length === 0) return []
    const raw = jsonText(combinedUsage([...this.usages, this.usage], this.how, usageMembers))
    return raw === null ? [] : [{ op: "replace", path: ["usage"], raw }]
  }

  private bodyEdits(body: unknown): ReadonlyArray<Edit> {
    const edits: Array<Edit> = [...this.usageEdits(body)]
    const place = isObject(body) ? placeOfFirst(body) : -1
    const choice = isObject(body) ? choiceAt(body, place) : null
    if (choice === null || !isObject(choice.message)) return edits
    const { message } = choice
    for (const key of texts) {
      const last = message[key] ?? ""
      const before = this.messages.map((earlier) => (typeof earlier[key] === "string" ? earlier[key] : "")).join("")
      if (typeof last !== "string" || before === "") continue
      edits.push({ op: "set", path: ["choices", place, "message", key], raw: JSON.stringify(before + last) })
    }
    return [...edits, ...this.probabilityEdits(choice.logprobs, ["choices", place, "logprobs"])]
  }

  private probabilityEdits(last: unknown, path: JsonPath): ReadonlyArray<Edit> {
    const before = probabilities.filter((key) => this.elements[key]!.length > 0)
    if (before.length === 0) return []
    const raw = (key: string) => this.elements[key]!.join(",")
    if (!isObject(last))
      return [{ op: "set", path, raw: `{${before.map((key) => `"${key}":[${raw(key)}]`).join(",")}}` }]
    return before.map((key) =>
      Array.isArray(last[key])
        ? { op: "insert", path: [...path, key], at: "first", raw: raw(key) }
        : { op: "set", path: [...path, key], raw: `[${raw(key)}]` }
    )
  }
}

const edited = (frame: Frame, edits: ReadonlyArray<Edit>): Frame => {
  const data = edits.length === 0 ? null : edit(frame.dataBytes, edits)
  return data === null ? frame : frame.withData(data)
}
