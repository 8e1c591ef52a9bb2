import type { Edit } from "../wire/JsonSpan.ts"
import type { DialectName } from "./Dialect.ts"
import { isObject, type JsonObject, objectsOf, parsed } from "./Json.ts"
import {
  align,
  callName,
  editWithin,
  entriesOf,
  Finder,
  type KeptAnswer,
  type KnownCall,
  type Piece,
  type ReadTurn,
  readTurns,
  textOf,
  type Unit
} from "./Recall.ts"
import { Said } from "./Said.ts"
import { type HiddenTurn, recallRoom, type ToolMemory } from "./ToolMemory.ts"

/** An answer that was found in a request. */
export interface FoundMessage {
  /** Where its message stands among the others. */
  readonly at: number
  readonly message: JsonObject
  readonly kept: KeptAnswer
  /** The turns of the answer in the units of the message. */
  readonly turns: ReadonlyArray<ReadonlyArray<Piece>>
}

/** A dialect whose requests are a list of `messages`, and whose answer is one message of the assistant for its client. */
export interface MessageDialect<Found> {
  readonly name: DialectName
  readonly readTurn: (turn: HiddenTurn) => ReadTurn | null
  /** Tells what a message says that is not the assistant's. */
  readonly tell: (said: Said, message: JsonObject) => void
  /** The calls in a message of the assistant's. */
  readonly callsOf: (message: JsonObject) => ReadonlyArray<KnownCall>
  /** The units of a message of the assistant's; `null` for one that is not of the answer. */
  readonly unitsOf: (message: JsonObject) => ReadonlyArray<Unit | null>
  /** Whether what a client has left out of a turn with hidden calls is put back. */
  readonly restores: (request: JsonObject) => boolean
  /** What there is to know of an answer for `edits`; `null` where its hidden part has no place in the request. */
  readonly place: (found: FoundMessage, messages: ReadonlyArray<unknown>) => Found | null
  /** What puts the hidden parts of answers back, at least one. */
  readonly edits: (body: Buffer, found: ReadonlyArray<Found>) => ReadonlyArray<Edit>
}

/** Remembers the hidden calls of a dialect with messages. */
export const messageMemory = <Found>(dialect: MessageDialect<Found>): ToolMemory => {
  const { callsOf, name, place, readTurn, restores, unitsOf } = dialect

  const tell = (said: Said, message: unknown): void => {
    if (!isObject(message)) return
    if (message.role === "assistant") {
      const ids = callsOf(message).map(({ id }) => id)
      said.byAssistant(textOf(message.content), ids)
    } else dialect.tell(said, message)
  }

  const callsIn = (messages: ReadonlyArray<unknown>): Iterable<string> =>
    objectsOf(messages).flatMap((message) => callsOf(message).map((call) => callName(call.id, call.name)))

  return {
    remember: (body, turns, session = null) => {
      const read = readTurns(turns, readTurn)
      const request = read === null ? null : requestOf(body)
      if (read === null || request === null) return []
      const before = () => {
        const said = new Said(session)
        for (const message of request.messages) tell(said, message)
        return said.stand()
      }
      return entriesOf(name, read, { before, references: [], holders: [] })
    },
    recall: (body, find, room = recallRoom, session = null) => {
      const request = requestOf(body)
      if (request === null) return body
      const { messages } = request
      const restored = restores(request)
      const finder = new Finder(name, find, () => callsIn(messages))
      const said = new Said(session)
      const all: Array<Found> = []
      for (const [at, message] of messages.entries()) {
        if (!isObject(message) || message.role !== "assistant") {
          tell(said, message)
          continue
        }
        const before = said.stand()
        tell(said, message)
        const [call = null] = callsOf(message)
        const kept = finder.answer({ text: textOf(message.content), call, before: () => before, references: [] })
        if (kept === null) continue
        const units = unitsOf(message)
        const unitAt = (unit: number) => units[unit]
        const aligned = align(kept, unitAt, 0, () => restored)
        if (aligned === null || aligned.end !== units.length) continue
        const found = place({ at, message, kept, turns: aligned.turns }, messages)
        if (found === null) continue
        finder.use(kept)
        all.push(found)
      }
      return all.length === 0 ? body : editWithin(body, dialect.edits(body, all), room)
    }
  }
}

/** A request that has messages; `null` for any other. */
const requestOf = (body: Buffer): (JsonObject & { readonly messages: ReadonlyArray<unknown> }) | null => {
  const request = parsed(body.toString())
  return isObject(request) && hasMessages(request) ? request : null
}

const hasMessages = (request: JsonObject): request is JsonObject & { readonly messages: ReadonlyArray<unknown> } =>
  Array.isArray(request.messages)
