import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { dialectOf } from "../../src/dialect/Dialects.ts"
import { decode } from "../../src/interception/stages/Decode.ts"
import { Read } from "../../src/interception/stages/Read.ts"
import { compose } from "../../src/interception/stages/Stage.ts"
import { write } from "../../src/interception/stages/Write.ts"
import type { Turn } from "../../src/testing/index.ts"
import type { Frame } from "../../src/wire/Frame.ts"
import type { Answer, DialectCase } from "./DialectCase.ts"
import { dialects } from "./Dialects.ts"
import { engine } from "./Engine.ts"

const turnOf = (answer: Answer, body: ReadonlyArray<Buffer>): Turn => ({
  headers: { "content-type": answer.transport === "sse" ? "text/event-stream" : "application/json" },
  body
})

/** The stages alone: what a client gets of these chunks, and what is known of the turn at their end. */
const throughStages = (dialect: DialectCase, answer: Answer, chunks: ReadonlyArray<Buffer>) => {
  const { answer: writer, terminalEvents, turn, view } = dialectOf(dialect.name)
  const asked = view(Buffer.from(dialect.request(answer.transport === "sse", answer.request)))
  assert(asked._tag === "RequestView")
  const reader = turn({ asked })
  const first = compose(decode(answer.transport, 1 << 20, terminalEvents), new Read(reader))
  const stages = compose(first, write(writer({ asked, model: null, usageAdded: false }), 0))
  const out: Array<Frame> = []
  // In one array a chunk, as the network brings them.
  for (const chunk of chunks) stages.push([chunk], out)
  stages.end(out)
  return { text: Buffer.concat(out.map((frame) => frame.bytes)).toString("utf8"), summary: reader.summary() }
}

describe.each(dialects)("answers in $name", (dialect) => {
  const answers = dialect.answers.map((answer) => ({ ...answer, title: `${answer.transport}: ${answer.name}` }))

  it.effect.each(answers)("$title", (answer) =>
    Effect.gen(function* () {
      const body = Buffer.from(answer.body)
      const bytewise = Array.from(body, (_, at) => body.subarray(at, at + 1))
      for (const chunks of [[body], bytewise]) {
        const { call, ledger } = yield* engine(dialect, [turnOf(answer, chunks)])
        const client = yield* call(dialect.request(answer.transport === "sse", answer.request))
        yield* client.ended
        assert.strictEqual(client.text, answer.body)
        assert.strictEqual(client.ending, "clean")
        ledger.expect({ attempts: 1, httpStatus: 200, toolCalls: [], thoughts: [], ...answer.expected })
      }
    })
  )

  it.each(answers)("$title, cut in two at every byte", (answer) => {
    const body = Buffer.from(answer.body)
    const whole = throughStages(dialect, answer, [body])
    for (let at = 1; at < body.length; at++) {
      const cut = throughStages(dialect, answer, [body.subarray(0, at), body.subarray(at)])
      assert.deepStrictEqual(cut, whole, `cut at byte ${at}`)
    }
    assert.strictEqual(whole.text, answer.body)
  })
})
