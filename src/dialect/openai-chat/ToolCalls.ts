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
}

/** The tool calls of one turn, put together from their pieces. */
export class ToolCalls {
  readonly all: Array<OpenCall> = []
  /** Whether one of the injected tools is called. */
  injected = false
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
    if (call.callId === "") call.callId = id
    if (isObject(piece.custom)) call.json = false
    if (call.name === "" && typeof body.name === "string" && body.name !== "")
      this.named(call, this.room.label(body.name))
    const said = body.arguments ?? body.input
    if (typeof said === "string") call.arguments.add(said)
    else if (isObject(said)) call.arguments.add(jsonText(said) ?? "")
    return call
  }

  /**
   * The id by which a call is answered: the provider's own, or where it gave none one that no other call of the turn
   * has, the same whoever has seen the same pieces.
   */
  idOf(call: OpenCall): string {
    if (call.callId !== "") return call.callId
    const others = this.all.filter((other) => other.choice === call.choice)
    let id = `call_${others.indexOf(call)}`
    while (others.some((other) => other.callId === id)) id += "_"
    return id
  }

  private named(call: OpenCall, name: string): void {
    call.name = name
    // Only one choice is asked for where tools are added, and they are not called by the old `function_call`.
    const injected = call.choice === 0 && call.index >= 0 && this.names?.has(name) === true
    call.runner = injected ? "gateway" : "client"
    if (injected) this.injected = true
  }

  /**
   * The call that a piece goes on with: the latest one at its index, unless the piece brings another id, for some providers
   * give every parallel call the index 0. Without an index the id decides, and without both the latest call.
   */
  private knownFor(choice: number, index: number | null, id: string): OpenCall | null {
    const known = id === "" ? undefined : this.all.find((call) => call.callId === id && call.choice === choice)
    if (known !== undefined && (index === null || known.index === index)) return known
    for (let i = this.all.length - 1; i >= 0; i--) {
      const call = this.all[i]!
      if (call.choice !== choice) continue
      if (index !== null && call.index !== index) continue
      if (id !== "" && call.callId !== "" && call.callId !== id) {
        if (index !== null) break
        continue
      }
      return call
    }
    return null
  }

  private open(choice: number, index: number | null, id: string): OpenCall {
    const call: OpenCall = {
      choice,
      index: index ?? this.all.length,
      callId: id,
      name: "",
      json: true,
      arguments: new CollectedText(this.room),
      runner: null
    }
    this.all.push(call)
    return call
  }
}
