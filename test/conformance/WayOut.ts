import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { Turn } from "../../src/testing/index.ts"
import type { DialectCase, Events, Expected } from "./DialectCase.ts"
import { reply } from "./Dialects.ts"
import { type Call, type Engine, type EngineOptions, engine } from "./Engine.ts"

/** What a client saw of an answer. */
export type Saw =
  /** Exactly these bytes, and this end. */
  | { readonly text: string; readonly ending: "clean" | "broken" | "left" }
  /** Exactly these bytes, then one error event and nothing more. */
  | { readonly text: string; readonly errorEvent: string }
  /** No answer but an error body, with a status and a code. */
  | { readonly refused: number; readonly code: string }

/** What a row of the table is written with. */
export interface Setting {
  readonly dialect: DialectCase
  readonly transport: "sse" | "json"
  /** The reply as events, and all of them. */
  readonly events: Events
  readonly stream: string
  readonly body: string
  /** A turn with the transport's content type. */
  readonly turn: (steps: NonNullable<Turn["body"]>, opening?: Turn["opening"]) => Turn
}

/** What a row may do with its call, over whatever that goes. */
export type RunningCall = Pick<Call, "saw" | "leave" | "ended" | "ending" | "head">

/** One way out of a call, and what has to be left behind on it. */
export interface WayOut {
  readonly name: string
  /** Both unless given. */
  readonly transport?: "sse" | "json"
  readonly turns: (setting: Setting) => ReadonlyArray<Turn>
  readonly options?: EngineOptions
  /** What happens while the call runs; without it the call runs to its end. */
  readonly meanwhile?: (
    call: RunningCall,
    engine: Pick<Engine, "ledger" | "shutdown">,
    setting: Setting
  ) => Effect.Effect<void>
  readonly expected: Expected | ((setting: Setting) => Expected)
  readonly saw: (setting: Setting) => Saw
  readonly request?: { readonly [name: string]: unknown }
}

export const settingOf = (dialect: DialectCase, transport: "sse" | "json"): Setting => {
  const events = dialect.events(reply)
  return {
    dialect,
    transport,
    events,
    stream: [...events.body, ...events.finish, ...events.after, events.end].join(""),
    body: dialect.body(reply),
    turn: (body, opening = []) => ({
      headers: { "content-type": transport === "sse" ? "text/event-stream" : "application/json" },
      opening,
      body
    })
  }
}

/** What an error of the dialect says in place of a code. */
export const wordOf = (dialect: DialectCase, code: string, place: "event" | "body"): string =>
  dialect.errorWord?.(code, place) ?? code

export const assertSaw = (dialect: DialectCase, call: Call, saw: Saw): void => {
  if ("refused" in saw) {
    assert.isNotNull(call.refused, `not refused but ${call.ending} after ${call.text}`)
    assert.strictEqual(call.refused!.status, saw.refused)
    assert.strictEqual(call.refused!.code, saw.code)
    assert.strictEqual(dialect.readErrorBody(call.refused!.body)?.code, wordOf(dialect, saw.code, "body"))
    assert.strictEqual(call.text, "")
    assert.isNull(call.answer)
    return
  }
  assert.isNull(call.refused, call.refused?.message)
  if ("errorEvent" in saw) {
    assert.strictEqual(call.text.slice(0, saw.text.length), saw.text)
    const rest = call.text.slice(saw.text.length)
    const word = wordOf(dialect, saw.errorEvent, "event")
    assert.strictEqual(dialect.readErrorEvent(rest)?.code, word, `no such error event: ${rest}`)
    assert.strictEqual(call.ending, "clean")
    return
  }
  assert.strictEqual(call.text, saw.text)
  assert.strictEqual(call.ending, saw.ending)
}

/** Goes one way out and looks at what is left behind. */
export const goOut = Effect.fnUntraced(function* (dialect: DialectCase, transport: "sse" | "json", way: WayOut) {
  const setting = settingOf(dialect, transport)
  const made = yield* engine(dialect, way.turns(setting), way.options)
  const call = yield* made.call(dialect.request(transport === "sse", way.request))
  if (way.meanwhile !== undefined) yield* way.meanwhile(call, made, setting)
  else yield* call.ended
  assertSaw(dialect, call, way.saw(setting))
  made.ledger.expect(typeof way.expected === "function" ? way.expected(setting) : way.expected)
  for (const request of made.upstream.requests) assert.isDefined(request.outcome, "an exchange was left open")
})
