import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { dialectOf } from "../../src/dialect/Dialects.ts"
import { decode } from "../../src/interception/stages/Decode.ts"
import { Read } from "../../src/interception/stages/Read.ts"
import { compose } from "../../src/interception/stages/Stage.ts"
import { write } from "../../src/interception/stages/Write.ts"
import type { Frame } from "../../src/wire/Frame.ts"
import { Random } from "../wire/Random.ts"
import type { DialectCase, Reply } from "./DialectCase.ts"
import { dialects } from "./Dialects.ts"
import { type EngineOptions, engine } from "./Engine.ts"
import { awkward, disguise, inLines } from "./Noise.ts"
import { settingOf } from "./WayOut.ts"

/** The strings that clients call models by, those that need escapes among them. */
const models = ["fast", 'the "fast" one', "schnell\\für 👋"]

const texts = (random: Random): ReadonlyArray<string> =>
  Array.from({ length: random.below(6) }, () => random.pick(awkward) + random.pick(awkward))

const replyOf = (random: Random): Reply => ({
  text: texts(random),
  ...(random.chance(40) ? { thoughts: texts(random) } : {}),
  ...(random.chance(40)
    ? {
        calls: [0, 1].map((n) => ({
          id: `call_${n}`,
          name: "f",
          arguments: JSON.stringify({ x: random.pick(awkward) })
        }))
      }
    : {}),
  ...(random.chance(80)
    ? { usage: { input: random.below(99), cacheRead: random.below(9), output: random.below(99), reasoning: 1 } }
    : {}),
  ending: random.pick(["stop", "length", "tools"])
})

/**
 * A stream by its seed. Only what `change` says differs between two of the same seed; `inLines` is how many in a hundred
 * events have their data in several lines.
 */
const streamOf = (
  dialect: DialectCase,
  seed: number,
  change: { model?: string; withoutAfter?: boolean; inLines?: number } = {}
): Buffer => {
  const random = new Random(seed)
  const reply = replyOf(random)
  const crlf = random.chance(30)
  const mark = random.chance(20) ? "\ufeff" : ""
  const { body, finish, after, end } = dialect.events(
    change.model === undefined ? reply : { ...reply, model: change.model }
  )
  const usage = body.length + finish.length
  const events = [...body, ...finish, ...after, end].map((event, n) => {
    const own = new Random(seed * 1000 + n)
    const disguised = disguise(own, event, n >= usage && n < usage + after.length)
    return own.chance(change.inLines ?? 5) ? inLines(event) : disguised
  })
  if (change.withoutAfter === true) events.splice(usage, after.length)
  const text = events.join("")
  return Buffer.from(mark + (crlf ? text.replaceAll("\n", "\r\n") : text))
}

const stagesOf = (dialect: DialectCase, options: { model?: string; usageAdded?: boolean } = {}) => {
  const { answer, terminalEvents, turn, view } = dialectOf(dialect.name)
  const asked = view(Buffer.from(dialect.request(true)))
  assert(asked._tag === "RequestView")
  const reader = turn({ asked })
  const read = new Read(reader)
  const writer = answer({ asked, model: options.model ?? null, usageAdded: options.usageAdded === true })
  const stages = compose(compose(decode("sse", 1 << 20, terminalEvents), read), write(writer, 0))
  return (chunks: ReadonlyArray<Buffer>) => {
    const out: Array<Frame> = []
    for (const chunk of chunks) stages.push([chunk], out)
    stages.end(out)
    const bytes = Buffer.concat(out.map((frame) => frame.bytes)).toString("utf8")
    return { bytes, frames: read.frames, malformed: reader.malformed, summary: reader.summary() }
  }
}

const seeds = Array.from({ length: 400 }, (_, n) => n + 1)

describe.each(dialects)("the bytes of $name", (dialect) => {
  it("are delivered as they were sent, and read alike, however they are cut", () => {
    for (const seed of seeds) {
      const sent = streamOf(dialect, seed)
      const whole = stagesOf(dialect)([sent])
      assert.strictEqual(whole.bytes, sent.toString("utf8"), `seed ${seed}`)
      assert.isNull(whole.malformed)
      assert.isNotNull(whole.summary.outcome)
      for (const longest of [1, 7, 200]) {
        const cut = stagesOf(dialect)(new Random(seed + longest).cut(sent, longest))
        assert.deepStrictEqual(cut, whole, `seed ${seed}, chunks up to ${longest}`)
      }
    }
  })

  it.each(models)("differ in the value of the model alone where the client calls it %s", (model) => {
    for (const seed of seeds) {
      const chunks = new Random(seed).cut(streamOf(dialect, seed, { inLines: 0 }), 150)
      const { bytes, summary } = stagesOf(dialect, { model })(chunks)
      assert.strictEqual(bytes, streamOf(dialect, seed, { model, inLines: 0 }).toString("utf8"), `seed ${seed}`)
      assert.strictEqual(summary.model, "test-model-2025")
    }
  })

  // A frame whose data stands in several lines is written anew, with one space behind each `data:` and LF.
  it("differ in the value of the model alone where data stands in several lines", () => {
    const sent = streamOf(dialect, 1, { inLines: 100 })
    const { bytes } = stagesOf(dialect, { model: "fast" })([sent])
    assert.strictEqual(bytes, streamOf(dialect, 1, { model: "fast", inLines: 100 }).toString("utf8"))
  })

  it("lack exactly the frames that only Sluice asked for", () => {
    for (const seed of seeds) {
      const chunks = new Random(seed).cut(streamOf(dialect, seed), 150)
      const asked = stagesOf(dialect)(chunks)
      const { bytes, summary } = stagesOf(dialect, { usageAdded: true })(chunks)
      assert.strictEqual(bytes, streamOf(dialect, seed, { withoutAfter: true }).toString("utf8"), `seed ${seed}`)
      assert.deepStrictEqual(summary, asked.summary)
    }
  })

  it.effect("leave the same records through the whole engine, however they are cut", () =>
    Effect.gen(function* () {
      const setting = settingOf(dialect, "sse")
      for (const seed of seeds.slice(0, 25)) {
        const sent = streamOf(dialect, seed)
        const records: Array<unknown> = []
        for (const chunks of [[sent], new Random(seed).cut(sent, 3), new Random(seed).cut(sent, 300)]) {
          const { call, ledger } = yield* engine(dialect, [setting.turn(chunks)])
          const client = yield* call(dialect.request(true))
          yield* client.ended
          assert.strictEqual(client.text, sent.toString("utf8"))
          const { batch, turn, usage } = ledger.settled()
          const anonymous = { id: "", interceptionId: "", turnId: "" }
          const rows = [...(batch.toolCalls ?? []), ...(batch.thoughts ?? []), ...(batch.prompts ?? []), turn, usage]
          records.push(rows.map((row) => ({ ...row, ...anonymous })))
        }
        assert.deepStrictEqual(records[1], records[0])
        assert.deepStrictEqual(records[2], records[0])
      }
    })
  )

  it.effect("of a body differ in the value of the model alone", () =>
    Effect.gen(function* () {
      const setting = settingOf(dialect, "json")
      const aliased: EngineOptions = { config: { models: { fast: "up/test-model" } } }
      for (const seed of seeds.slice(0, 40)) {
        const reply = replyOf(new Random(seed))
        const chunks = new Random(seed).cut(Buffer.from(dialect.body(reply)), 40)
        const { call, ledger } = yield* engine(dialect, [setting.turn(chunks)], aliased)
        const client = yield* call(dialect.request(false, { model: "fast" }), true)
        yield* client.ended
        assert.strictEqual(client.text, dialect.body({ ...reply, model: "fast" }))
        assert.strictEqual(ledger.settled().turn.servedModel, "test-model-2025")
      }
    })
  )
})

/** Members as an object, with white space where JSON allows some. */
const written = (random: Random, members: ReadonlyArray<readonly [string, string]>): string => {
  const space = () => (random.chance(40) ? random.pick([" ", "\n  ", "\t", "\r\n", "  "]) : "")
  const text = members.map(([key, value]) => `${space()}${key}${space()}:${space()}${value}${space()}`).join(",")
  return `${space()}{${text}}${space()}`
}

const shuffled = <A>(random: Random, all: ReadonlyArray<A>): ReadonlyArray<A> => {
  const rest = [...all]
  return Array.from(all, () => rest.splice(random.below(rest.length), 1)[0]!)
}

describe.each(dialects)("a request in $name", (dialect) => {
  const setting = settingOf(dialect, "json")
  const sent = (options: EngineOptions, request: string, unified: boolean) =>
    Effect.gen(function* () {
      const { call, upstream } = yield* engine(dialect, [setting.turn(setting.body)], options)
      const client = yield* call(request, unified)
      yield* client.ended
      assert.isNull(client.refused, client.refused?.message)
      return upstream.requests[0]!.body!.toString("utf8")
    })

  it.effect("reaches the upstream as it was sent", () =>
    Effect.gen(function* () {
      for (const seed of seeds.slice(0, 60)) {
        const members = shuffled(new Random(seed), [['"model"', '"test-model"'] as const, ...dialect.members])
        const request = written(new Random(seed), members)
        assert.strictEqual(yield* sent({}, request, false), request)
      }
    })
  )

  it.effect("reaches the upstream with another model and every other byte as it was", () =>
    Effect.gen(function* () {
      const options: EngineOptions = { config: { models: { 'the "fast" one': "up/test-model" } } }
      const alias = ['"the \\"fast\\" one"', '"the \\u0022f\\u0061st\\" one"']
      for (const seed of seeds.slice(0, 60)) {
        const random = new Random(seed)
        const key = random.pick(['"model"', '"mod\\u0065l"', '"\\u006dodel"'])
        // Twice at times: every parser has to find the same.
        const models = Array.from({ length: 1 + random.below(2) }, () => [key, random.pick(alias)] as const)
        const members = shuffled(random, [...models, ...dialect.members])
        const renamed = members.map((member) => (member[0] === key ? ([key, '"test-model"'] as const) : member))
        const got = yield* sent(options, written(new Random(seed), members), true)
        assert.strictEqual(got, written(new Random(seed), renamed), `seed ${seed}`)
      }
    })
  )

  it.effect("reaches the upstream with a prefix taken off its model", () =>
    Effect.gen(function* () {
      const request = dialect.request(false, { model: "up/test-model" })
      assert.strictEqual(yield* sent({}, request, true), dialect.request(false))
    })
  )

  it.effect.each(dialect.requests.map((row) => ({ ...row, title: row.name })))("asks for usage: $title", (row) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* sent({}, row.sent, false), row.received)
      assert.strictEqual(yield* sent({ provider: { ask_usage: false } }, row.sent, false), row.sent)
    })
  )
})
