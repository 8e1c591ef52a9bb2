import { answerIds } from "../CallIds.ts"
import { CollectedText, TextRoom } from "../CollectedText.ts"
import type { ToolRunner } from "../Dialect.ts"
import { isObject, type JsonObject, jsonText } from "../Json.ts"

/** A tool call while its pieces come in. */
export interface OpenCall {
  readonly choice: number
  /** The index that its pieces give it, or its place among all calls where they give none; -1 for a `function_call`. */
  readonly index: number
  callId: string
  name: string
  json: boolean
  readonly arguments: CollectedText
  /** Who runs it: `null` as long as its name has not come. */
  runner: Exclude<ToolRunner, "provider"> | null
  /** Whether the client is shown nothing of it. */
  withheld: boolean
}

/** The calls of one choice, by what their pieces are known by. */
class ChoiceCalls {
  /** The first call of each id. */
  readonly byId = new Map<string, OpenCall>()
  /** The latest call at each index. */
  readonly byIndex = new Map<number, OpenCall>()
  /** The calls that had no id when they were last looked at. */
  readonly withoutId: Array<OpenCall> = []
  last: OpenCall | null = null
  /** The indexes at which calls are withheld, in ascending order. */
  readonly withheld: Array<number> = []
}

/** The tool calls of one turn, put together from their pieces. */
export class ToolCalls {
  readonly all: Array<OpenCall> = []
  /** Whether an injected tool is called in the answer that was asked for. */
  injected = false
  /** How many calls have no name yet by which it is known who runs them. */
  unnamed = 0
  private readonly choices = new Map<number, ChoiceCalls>()
  private readonly names: ReadonlySet<string> | null
  private readonly room: TextRoom

  /**
   * @param injected the names of the tools that Sluice added, if any
   * @param room what there is for their arguments
   */
  constructor(injected: ReadonlySet<string> | null = null, room = new TextRoom()) {
    this.names = injected
    this.room = room
  }

  /**
   * Adds an element of `tool_calls`. Answers the call it is a piece of.
   *
   * @param isWhole whether it is a call of its own, as in a body, and not a piece of one
   */
  add(choice: number, piece: JsonObject, isWhole = false): OpenCall {
    const body = isObject(piece.function) ? piece.function : isObject(piece.custom) ? piece.custom : {}
    const id = typeof piece.id === "string" ? this.room.label(piece.id) : ""
    const index = typeof piece.index === "number" ? piece.index : null
    const call = (isWhole ? null : this.knownFor(choice, index, id)) ?? this.open(choice, index, id)
    if (call.callId === "" && id !== "") this.identify(call, id)
    if (isObject(piece.custom)) call.json = false
    if (call.name === "" && typeof body.name === "string" && body.name !== "")
      this.named(call, this.room.label(body.name))
    const said = body.arguments ?? body.input
    if (typeof said === "string") call.arguments.add(said)
    else if (isObject(said)) call.arguments.add(jsonText(said) ?? "")
    return call
  }

  /** The ids by which the calls of the answer that was asked for are answered. */
  answerIds(): ReadonlyMap<OpenCall, string> {
    const calls = this.all.filter((call) => call.choice === 0)
    const ids = answerIds(calls.map((call) => call.callId))
    return new Map(calls.map((call, place) => [call, ids[place]!]))
  }

  /** No name comes any more: whatever is called, it is no tool of Sluice's. */
  decide(): void {
    for (const call of this.takeUnnamed()) call.runner = "client"
  }

  /** No name comes any more, and the turn is broken: what was called is shown to nobody. */
  drop(): void {
    for (const call of this.takeUnnamed()) this.withhold(call)
  }

  /** How many indexes below that of a call are those of calls that are withheld. */
  withheldBelow(call: OpenCall): number {
    const { withheld } = this.choiceOf(call.choice)
    let from = 0
    let to = withheld.length
    while (from < to) {
      const middle = (from + to) >>> 1
      if (withheld[middle]! < call.index) from = middle + 1
      else to = middle
    }
    return from
  }

  private takeUnnamed(): ReadonlyArray<OpenCall> {
    if (this.unnamed === 0) return []
    this.unnamed = 0
    return this.all.filter((call) => call.runner === null && !call.withheld && call.index >= 0)
  }

  private named(call: OpenCall, name: string): void {
    call.name = name
    // What was decided without a name has been shown.
    if (call.runner !== null || call.withheld) return
    // Injected tools are not called by the old `function_call`.
    const injected = call.index >= 0 && this.names?.has(name) === true
    call.runner = injected ? "gateway" : "client"
    if (call.index >= 0) this.unnamed--
    if (!injected) return
    this.withhold(call)
    if (call.choice === 0) this.injected = true
  }

  private withhold(call: OpenCall): void {
    call.withheld = true
    const { withheld } = this.choiceOf(call.choice)
    const at = this.withheldBelow(call)
    if (withheld[at] !== call.index) withheld.splice(at, 0, call.index)
  }

  private choiceOf(choice: number): ChoiceCalls {
    let calls = this.choices.get(choice)
    if (calls === undefined) {
      calls = new ChoiceCalls()
      this.choices.set(choice, calls)
    }
    return calls
  }

  private identify(call: OpenCall, id: string): void {
    call.callId = id
    const { byId } = this.choiceOf(call.choice)
    if (!byId.has(id)) byId.set(id, call)
  }

  /**
   * The call that a piece goes on with: the latest one at its index, unless the piece brings another id, for some providers
   * give every parallel call the index 0. Without an index the id decides, and without both the latest call.
   */
  private knownFor(choice: number, index: number | null, id: string): OpenCall | null {
    const { byId, byIndex, last, withoutId } = this.choiceOf(choice)
    const known = id === "" ? undefined : byId.get(id)
    if (known !== undefined && (index === null || known.index === index)) return known
    if (index !== null) {
      const latest = byIndex.get(index)
      return latest === undefined || (id !== "" && latest.callId !== "" && latest.callId !== id) ? null : latest
    }
    if (id === "") return last
    while (withoutId.length > 0 && withoutId.at(-1)!.callId !== "") withoutId.pop()
    return withoutId.at(-1) ?? null
  }

  private open(choice: number, index: number | null, id: string): OpenCall {
    const call: OpenCall = {
      choice,
      index: index ?? this.all.length,
      callId: "",
      name: "",
      json: true,
      arguments: new CollectedText(this.room),
      runner: null,
      withheld: false
    }
    this.all.push(call)
    const calls = this.choiceOf(choice)
    calls.byIndex.set(call.index, call)
    calls.last = call
    if (id === "") calls.withoutId.push(call)
    else this.identify(call, id)
    if (call.index >= 0) this.unnamed++
    return call
  }
}
