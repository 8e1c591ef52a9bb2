import type { Frame } from "../wire/Frame.ts"
import type { JsonPath } from "../wire/JsonSpan.ts"
import { rawValue } from "../wire/RawValue.ts"
import { isObject, type JsonObject, jsonText } from "./Json.ts"
import { latest, type TokenUsage } from "./Usage.ts"

/** What a turn has said of its usage so far. */
export class SeenUsage {
  private readonly read: (usage: JsonObject) => TokenUsage
  private all: JsonObject | null = null
  private last: JsonObject | null = null
  /** Where the last one stands; `null` once its text has been read. */
  private place: { readonly frame: Frame; readonly path: JsonPath } | null = null
  private lastText: string | null = null

  /** @param read what the usage objects of a dialect mean */
  constructor(read: (usage: JsonObject) => TokenUsage) {
    this.read = read
  }

  /** Takes what stands in the place of a usage object at `path` of a frame. */
  see(usage: unknown, frame: Frame, path: JsonPath): void {
    if (!isObject(usage)) return
    this.all = latest(this.all, usage)
    this.last = usage
    this.place = { frame, path }
  }

  /** The latest of each count, and the provider's own text where one object says all of it. */
  get summary(): TokenUsage | null {
    if (this.all === null) return null
    const usage = this.read(this.all)
    return usage.raw === jsonText(this.last) ? { ...usage, raw: this.text ?? usage.raw } : usage
  }

  private get text(): string | null {
    const { place } = this
    this.place = null
    if (place !== null) this.lastText = rawValue(place.frame, place.path)?.toString() ?? null
    return this.lastText
  }
}
