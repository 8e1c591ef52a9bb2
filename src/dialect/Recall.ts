/**
 * Finding an answer that a client repeats, and the places in it where something was hidden from the client: the part of
 * remembering that is the same in every dialect.
 */
import { type Edit, edit } from "../wire/JsonSpan.ts"
import { digestOf } from "./Arguments.ts"
import type { DialectName } from "./Dialect.ts"
import { isObject, objectsOf, parsed } from "./Json.ts"
import { digest, type Marks, mark } from "./Marks.ts"
import { withoutSpace } from "./Said.ts"
import type { HiddenTurn, MemoryEntry } from "./ToolMemory.ts"

/** A part of an answer as a client repeats it: a block, an item, or the text of a message. */
export interface Unit {
  /** `null` for what is not text. */
  readonly text: string | null
  readonly marks: Marks
}

/** A part of a turn as the upstream made it. */
export type Part =
  | { readonly kind: "text"; readonly text: string; readonly marks: Marks }
  | {
      readonly kind: "item"
      readonly marks: Marks
      /** Whether clients may leave it out. */
      readonly optional: boolean
      /** What is put back where a client has left it out of a turn with hidden calls; `null` for nothing. */
      readonly raw: string | null
    }
  | { readonly kind: "hidden"; readonly raw: string }

/** A tool call that a client knows of. */
export interface KnownCall {
  readonly id: string
  readonly name: string
  readonly arguments: unknown
}

/** A turn of an answer, read. */
export interface ReadTurn {
  readonly parts: ReadonlyArray<Part>
  /** The client's calls, in order. */
  readonly calls: ReadonlyArray<KnownCall>
  /** The injected ones. */
  readonly hidden: ReadonlyArray<{ readonly id: string; readonly name: string }>
  /** The results as the dialect writes them. */
  readonly results: ReadonlyArray<string>
  /** The whole output, for a dialect that puts back whole turns. */
  readonly output?: ReadonlyArray<string>
}

/** An answer, as far as it has to be known in order to be found. */
export interface Answer {
  /** All its visible text. */
  readonly text: string
  /** The first of the client's calls in it. */
  readonly call: Pick<KnownCall, "id"> | null
  /** All that was said before it, as `Said` tells it. It is not always asked for. */
  readonly before: () => string
  /** Ids by which a client may refer to it, or to what is in it, instead of repeating it. */
  readonly references: ReadonlyArray<string>
}

type KeptPart =
  | { readonly kind: "text"; readonly text: KeptText; readonly marks: Marks }
  | Exclude<Part, { readonly kind: "text" }>

/** A text by its digest, without the white space around it. */
interface KeptText {
  readonly digest: string
  readonly length: number
  /** How much white space stands behind it. */
  readonly after: number
}

/** A turn as it is kept. */
export interface KeptTurn {
  readonly parts: ReadonlyArray<KeptPart>
  readonly results: ReadonlyArray<string>
  readonly output?: ReadonlyArray<string>
}

/** An answer as it is kept. */
export interface KeptAnswer {
  readonly version: typeof version
  readonly turns: ReadonlyArray<KeptTurn>
  /** The ids of the client's calls in it. */
  readonly calls: ReadonlyArray<string>
  /** The injected calls, each as `callName` writes it. */
  readonly hidden: ReadonlyArray<string>
  /** Ids of responses and conversations in which the upstream holds it. */
  readonly holders: ReadonlyArray<string>
}

/** What is written in another form gets another version: of what an older Sluice kept nothing is guessed. */
const version = 2

/** The mark of a client's call: whoever repeats it must repeat all of it. */
export const callMark = ({ id, name, arguments: given }: KnownCall): string => mark("call", id, name, digestOf(given))

/** A call by what no other call of a conversation has. */
export const callName = (id: string, name: string): string => JSON.stringify([id, name])

/** How much of a text is in its key, from the end: `align` compares all of it. */
const keyLength = 256

/** The end of a text, by which it is looked for. It is taken without white space, as clients trim and join texts. */
const endOf = (text: string): string => withoutSpace(text.trimEnd().slice(-4 * keyLength)).slice(-keyLength)

/** Whether a text says nothing. */
export const isBlank = (text: string): boolean => text.trim() === ""

const keyOf = (dialect: DialectName, ...of: ReadonlyArray<string>): string => mark(dialect, ...of)

/**
 * Some servers count their calls anew in every conversation (`call_0`, `functions.read:1`), and then what stands before
 * the answer has to be the same too. A random id has a longer run of letters and digits with a digit in it.
 */
const isRandom = (id: string): boolean => id.split(/[^0-9A-Za-z]+/).some((run) => run.length >= 8 && /\d/.test(run))

/** The key of an answer: that of its first call or, without one, of its text; `null` where it has neither. */
const answerKey = (dialect: DialectName, { before, call, text }: Answer): string | null => {
  if (call !== null) return idKey(dialect, "call", call.id, before)
  const end = endOf(text)
  return end === "" ? null : keyOf(dialect, "text", end, before())
}

const heldKey = (dialect: DialectName, callId: string, holder: string): string => keyOf(dialect, "held", callId, holder)

const idKey = (dialect: DialectName, kind: "call" | "reference", id: string, before: Answer["before"]): string =>
  keyOf(dialect, kind, id, isRandom(id) ? "" : before())

/**
 * What is kept of an answer: one entry with all of it, and others that name it.
 *
 * @param holders ids under which the upstream holds the answer, so that a request may go on from it without repeating it
 */
export const entriesOf = (
  dialect: DialectName,
  turns: ReadonlyArray<ReadTurn>,
  { before, holders, references }: Pick<Answer, "before" | "references"> & { readonly holders: ReadonlyArray<string> }
): ReadonlyArray<MemoryEntry> => {
  const hidden = turns.flatMap((turn) => turn.hidden)
  const complete = turns.every((turn) => turn.results.length === turn.hidden.length)
  if (hidden.length === 0 || !complete) return []
  const calls = turns.flatMap((turn) => turn.calls)
  const call = calls[0] ?? null
  const texts = turns.flatMap((turn) => turn.parts.map((part) => (part.kind === "text" ? part.text : "")))
  const key = answerKey(dialect, { before, call, references, text: texts.join("") })
  if (key === null) return []
  const kept: KeptAnswer = {
    version,
    turns: turns.map(({ output, parts, results }) => ({
      parts: parts.flatMap(keptPart),
      results,
      ...(output === undefined ? {} : { output })
    })),
    calls: calls.map(({ id }) => id),
    hidden: hidden.map(({ id, name }) => callName(id, name)),
    holders
  }
  const entries: Array<MemoryEntry> = [{ key, value: JSON.stringify(kept) }]
  const value = JSON.stringify({ version, at: key })
  for (const id of references) entries.push({ key: idKey(dialect, "reference", id, before), value })
  if (call !== null) for (const holder of holders) entries.push({ key: heldKey(dialect, call.id, holder), value })
  const owed = call !== null && (turns.at(-1)?.results.length ?? 0) > 0
  return owed ? entries.map((entry) => ({ ...entry, owed })) : entries
}

const keptPart = (part: Part): ReadonlyArray<KeptPart> => {
  if (part.kind !== "text") return [part]
  const { marks, text } = part
  const said = text.trim()
  // Clients leave out blank text, or keep it.
  if (said === "") return marks.length === 0 ? [] : [{ kind: "item", marks, optional: true, raw: null }]
  const after = text.length - text.trimEnd().length
  return [{ kind: "text", marks, text: { digest: digest(said), length: said.length, after } }]
}

/** Looks up what is kept under a key. */
export type Find = (key: string) => string | null

/**
 * What is looked up for one request. However often that repeats an answer, what is kept of it is read once and put back
 * once: at most as much is added to a request as is kept.
 */
export class Finder {
  private readonly dialect: DialectName
  private readonly lookUp: Find
  private readonly read = new Map<string, KeptAnswer | null>()
  /** The calls that stand in the request, by their names; `null` until one is asked for. */
  private names: Set<string> | null = null
  private readonly callsIn: () => Iterable<string>

  /** @param callsIn the names of all calls in the request as it came; asked for where something is found */
  constructor(dialect: DialectName, lookUp: Find, callsIn: () => Iterable<string>) {
    this.dialect = dialect
    this.lookUp = lookUp
    this.callsIn = callsIn
  }

  /** What is kept of an answer that the request repeats; `null` also where the request has one of its calls already. */
  answer(answer: Answer): KeptAnswer | null {
    const kept = findAnswer(this.dialect, answer, this.find)
    return kept === null || this.knows(kept) ? null : kept
  }

  /** What is kept of an answer that the upstream holds; see `findHeld`. */
  held(callId: string, holder: string): KeptAnswer | null {
    return findHeld(this.dialect, callId, holder, this.find)
  }

  /** Notes that an answer was put back. */
  use({ hidden }: KeptAnswer): void {
    for (const name of hidden) this.names?.add(name)
  }

  private knows({ hidden }: KeptAnswer): boolean {
    this.names ??= new Set(this.callsIn())
    return hidden.some((name) => this.names!.has(name))
  }

  private readonly find: FindAnswer = (key) => {
    const known = this.read.get(key)
    if (known !== undefined) return known
    const kept = read(key, this.lookUp)
    if (kept !== null) this.read.set(key, kept)
    return kept
  }
}

type FindAnswer = (key: string) => KeptAnswer | null

/** A request with what was hidden put back; as it came where it would become larger than there is room for. */
export const editWithin = (body: Buffer, edits: ReadonlyArray<Edit>, room: number): Buffer => {
  if (edits.length === 0) return body
  let size = body.length
  for (const one of edits) if (one.op === "insert") size += one.raw.length
  if (size > room) return body
  const edited = edit(body, edits) ?? body
  return edited.length > room ? body : edited
}

/** What is kept of an answer that a request repeats; `null` where that is nothing. */
const findAnswer = (dialect: DialectName, answer: Answer, find: FindAnswer): KeptAnswer | null => {
  const key = answerKey(dialect, answer)
  const kept = key === null ? null : find(key)
  if (kept !== null || answer.call !== null) return kept
  for (const id of answer.references) {
    const named = find(idKey(dialect, "reference", id, answer.before))
    if (named !== null) return named
  }
  return null
}

/** What is kept of an answer that its upstream holds in `holder`, and that ended with the client's call `callId` first. */
const findHeld = (dialect: DialectName, callId: string, holder: string, find: FindAnswer): KeptAnswer | null => {
  const kept = find(heldKey(dialect, callId, holder))
  return kept?.calls[0] === callId && kept.holders.includes(holder) ? kept : null
}

const read = (key: string, find: Find): KeptAnswer | null => {
  const value = parsed(find(key))
  if (!isObject(value) || value.version !== version) return null
  const kept = typeof value.at === "string" ? parsed(find(value.at)) : value
  return isKept(kept) ? kept : null
}

const isKept = (value: unknown): value is KeptAnswer =>
  isObject(value) && value.version === version && Array.isArray(value.turns)

/** A piece of a turn as it is put together again. */
export type Piece =
  /** What a client repeats. */
  | { readonly unit: number; readonly split: Split | null }
  /** What it does not know of, or has left out. */
  | { readonly unit: null; readonly raw: string }

/** A part of a text that a client has joined out of several. */
export interface Split {
  readonly text: string
  /** Whether nothing of the client's text is behind it. */
  readonly last: boolean
}

/** The turns of an answer in what a client repeats, and the first unit that is not of the answer. */
export interface Aligned {
  readonly turns: ReadonlyArray<ReadonlyArray<Piece>>
  readonly end: number
}

/**
 * Finds the turns of an answer in what a client repeats of it, part by part: texts may be joined, and have lost the white
 * space around them; parts that clients may leave out may be missing. `null` where it is another answer.
 *
 * @param unitAt the unit at a place; `null` for what is not of the answer and may stand within it, `undefined` past the end
 * @param from the place of the first unit
 * @param restores whether a part is put back that the client has left out of a turn with hidden calls
 */
export const align = (
  answer: KeptAnswer,
  unitAt: (at: number) => Unit | null | undefined,
  from: number,
  restores: (raw: string) => boolean
): Aligned | null => {
  const turns: Array<Array<Piece>> = []
  const cursor = new Cursor(unitAt, from)
  for (const { parts } of answer.turns) {
    const pieces: Array<Piece> = []
    turns.push(pieces)
    const hides = parts.some((part) => part.kind === "hidden")
    for (const part of parts) {
      if (part.kind === "hidden") pieces.push({ unit: null, raw: part.raw })
      else if (!cursor.take(part, pieces)) {
        if (part.kind === "text" || !part.optional) return null
        if (hides && part.raw !== null && restores(part.raw)) pieces.push({ unit: null, raw: part.raw })
      }
    }
  }
  cursor.passBlanks(turns.at(-1)!)
  return cursor.within ? null : { turns, end: cursor.at }
}

/** How far an alignment has come. */
class Cursor {
  at: number
  private offset = 0
  private readonly unitAt: (at: number) => Unit | null | undefined

  constructor(unitAt: (at: number) => Unit | null | undefined, from: number) {
    this.unitAt = unitAt
    this.at = from
  }

  /** Whether a part of a text is still to come. */
  get within(): boolean {
    return this.offset > 0
  }

  /** Adds the unit that is the part, or the beginning of a text that is. */
  take(part: Exclude<KeptPart, { readonly kind: "hidden" }>, pieces: Array<Piece>): boolean {
    this.passBlanks(pieces)
    const unit = this.unitAt(this.at)
    if (unit === null || unit === undefined) return false
    if (part.kind === "text" && unit.text !== null) return this.takeText(part.text, unit.text, pieces)
    if (this.within || !unit.marks.some((known) => part.marks.includes(known))) return false
    pieces.push({ unit: this.at++, split: null })
    return true
  }

  private takeText(kept: KeptText, text: string, pieces: Array<Piece>): boolean {
    const start = this.offset + spaceBefore(text.slice(this.offset))
    const end = start + kept.length
    if (end > text.length || digest(text.slice(start, end)) !== kept.digest) return false
    const space = spaceBefore(text.slice(end))
    const last = end + space === text.length
    const whole = last && !this.within
    const upTo = last ? text.length : end + Math.min(space, kept.after)
    pieces.push({ unit: this.at, split: whole ? null : { text: text.slice(this.offset, upTo), last } })
    this.offset = last ? 0 : upTo
    if (last) this.at++
    return true
  }

  /** Steps over what is not of the answer, and adds texts that say nothing. */
  passBlanks(pieces: Array<Piece>): void {
    while (!this.within) {
      const unit = this.unitAt(this.at)
      if (unit === undefined) return
      if (unit !== null) {
        if (unit.text === null || !isBlank(unit.text)) return
        pieces.push({ unit: this.at, split: null })
      }
      this.at++
    }
  }
}

const spaceBefore = (text: string): number => text.length - text.trimStart().length

/**
 * Reads all turns of an answer; `null` where one of them cannot be read.
 *
 * @param read what a dialect makes of one
 */
export const readTurns = (
  turns: ReadonlyArray<HiddenTurn>,
  read: (turn: HiddenTurn) => ReadTurn | null
): ReadonlyArray<ReadTurn> | null => {
  // Most answers hide nothing: they need not be read.
  if (!turns.some(({ injected }) => injected.size > 0)) return null
  const all: Array<ReadTurn> = []
  for (const turn of turns) {
    const one = read(turn)
    if (one === null) return null
    all.push(one)
  }
  return all
}

/** The text of a content that is a string or has parts with text. */
export const textOf = (content: unknown): string => {
  if (typeof content === "string") return content
  let text = ""
  for (const part of objectsOf(content)) if (typeof part.text === "string") text += part.text
  return text
}
