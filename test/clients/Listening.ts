import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { Gateway } from "../support/Gateway.ts"
import { everythingOverHttp } from "../support/McpEverything.ts"
import type { RunResult } from "./Client.ts"
import { conversationOf } from "./Conversation.ts"
import { type Asked, assistant, say } from "./Model.ts"
import type { ModelAnswer, ModelCall } from "./ModelAnswer.ts"
import { type Home, makeScene, recordsOf, toolsReady } from "./Scene.ts"

/** What the client is told to say: the model takes the hidden tool and the client's one after the other, or at once. */
export const inTurn = "in turn: read hello.txt"
export const atOnce = "at once: read hello.txt"
export const behind = "and behind it"

const wishes = [inTurn, atOnce, behind]

const hidden: ModelCall = { name: "bmcp_everything_echo", arguments: { message: "hidden words" } }

/** A model that listens to a tool which the client does not know of, and reads a file with one that it has. */
const listener = (asked: Asked, turn: number): Omit<ModelAnswer, "model"> => {
  const lines = conversationOf(asked)
  const begun = lines.findLastIndex((line) => line.startsWith("user: ") && wishes.some((wish) => line.includes(wish)))
  const wish = wishes.find((one) => lines[begun]?.includes(one))
  const results = lines.slice(begun + 1).filter((line) => line.startsWith("result "))
  const done = { turn, text: `Heard: ${wish === behind ? behind : "the file says ahoy"}` }
  if (wish === undefined || wish === behind) return done
  const reading = assistant({ ...asked, prompt: wish, results: null }, turn)
  if (results.length === 0) {
    const calls = wish === atOnce ? [hidden, ...(reading.calls ?? [])] : [hidden]
    return { turn, thought: "A tool can say this.", text: "I listen.", calls }
  }
  return results.some((line) => line.includes("ahoy")) ? done : reading
}

/** A model as `listener`, and the conversations that it is asked with, each line by what it is about. */
export interface Listening {
  readonly answer: typeof listener
  readonly conversations: Array<ReadonlyArray<string>>
}

export const listening = (): Listening => {
  const conversations: Array<ReadonlyArray<string>> = []
  const answer: typeof listener = (asked, turn) => {
    const lines = conversationOf(asked).map(aboutOf)
    conversations.push(lines.filter((about) => about !== "text"))
    return listener(asked, turn)
  }
  return { answer, conversations }
}

/** A scene with the reference MCP server, connected. */
export const makeListeningScene = Effect.gen(function* () {
  const everything = yield* everythingOverHttp
  const model = listening()
  const { gateway } = yield* makeScene((asked, turn) => say(asked, model.answer(asked, turn)), {
    mcp: { servers: { everything } }
  })
  yield* toolsReady(gateway)
  return { gateway, model }
})

/** A line of a conversation by what it is about: agents put what they know of a command around its output. */
const aboutOf = (line: string): string => {
  if (line.startsWith("call bmcp_")) return "hidden call"
  if (line.startsWith("call ")) return "own call"
  if (line === "result Echo: hidden words") return "hidden result"
  if (/^result .*the file says ahoy/s.test(line)) return "own result"
  return line.startsWith("result ") ? line : "text"
}

/** What of the hidden tool nobody may see. */
const traces = ["bmcp_", "Echo: hidden", "hidden words"]

const filesOf = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))

/** Checks that neither what a client has said nor what it has kept, such as its transcripts, shows the hidden tool. */
export const checkUnseen = ({ output }: RunResult, home: Home): ReadonlyArray<string> => {
  const kept = filesOf(home.home).map((file) => readFileSync(file, "latin1"))
  for (const text of [output, ...kept]) for (const trace of traces) assert.notInclude(text, trace)
  return kept
}

/** What the model is asked with when the client comes back with the results of a turn with calls of both sides. */
export const mixed: ReadonlyArray<string> = ["hidden call", "own call", "hidden result", "own result"]

/**
 * Checks what became of three runs in one session, `inTurn`, `atOnce` and `behind`: the client ran its tool, nothing of
 * it shows the hidden one, and the upstream had the hidden exchanges in every later request.
 */
export const checkListening = Effect.fnUntraced(function* (
  { gateway, model }: { readonly gateway: Gateway; readonly model: Listening },
  home: Home,
  client: string,
  runs: ReadonlyArray<RunResult>
) {
  for (const [place, said] of ["the file says ahoy", "the file says ahoy", behind].entries()) {
    const { code, output, stdout } = runs[place]!
    assert.strictEqual(code, 0, output)
    assert.include(stdout, `Heard: ${said}`, output)
    const kept = checkUnseen(runs[place]!, home)
    assert.isTrue(kept.some((text) => text.includes("I listen.")))
  }

  const first = ["hidden call", "hidden result", "own call", "own result"]
  assert.deepStrictEqual(model.conversations, [
    [],
    first.slice(0, 2),
    first,
    first,
    [...first, ...mixed],
    [...first, ...mixed]
  ])

  const records = (yield* recordsOf(gateway)).filter(({ interception }) => interception.dialect !== null)
  for (const { interception } of records) assert.deepInclude(interception, { client, status: "completed" })
  assert.deepStrictEqual(
    records
      .filter(({ toolCalls }) => toolCalls.length > 0)
      .map(({ toolCalls, turns }) => [turns.length, toolCalls.map(({ injected }) => injected).toSorted()]),
    [
      [2, [false, true]],
      [1, [false, true]]
    ]
  )
})
