import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { dialects } from "./Dialects.ts"
import { rawTurn, sockets } from "./Sockets.ts"
import { settingOf } from "./WayOut.ts"

/** In milliseconds. The timers are exact to 25. */
const interval = 100

const options = { config: { limits: { keep_alive: `${interval} millis`, event_bytes: 1024 } } } as const

describe.each(dialects)("keep-alives in $name", (dialect) => {
  const { keepAlive } = dialect
  const setting = settingOf(dialect, "sse")
  const { body, finish, after, end } = setting.events
  const rest = [...body.slice(1), ...finish, ...after]
  const frames = 1 + rest.length + 1
  /** The text without what filled its silences. */
  const spoken = (text: string) =>
    Array.from({ length: frames }, (_, n) => keepAlive(n)).reduce((left, one) => left.replaceAll(one, ""), text)

  it.live("fill a silence between whole frames, from the head on, and are not counted", () =>
    Effect.gen(function* () {
      const steps = [
        { wait: 3.5 * interval },
        body[0]!,
        { wait: 3.5 * interval },
        // Half an event is not shown, so that the silence goes on for the client.
        rest[0]!.slice(0, 20),
        { wait: 2.5 * interval },
        rest[0]!.slice(20),
        ...rest.slice(1),
        end
      ]
      const { call, ledger } = yield* sockets(dialect, [rawTurn("sse", steps, [{ wait: 2 * interval }])], options)
      const answer = yield* call(dialect.request(true))
      const started = performance.now()
      assert.strictEqual(answer.text(), "", "something came before the upstream's head")
      assert.strictEqual(yield* answer.ended, "clean")
      const text = answer.text()
      assert.strictEqual(spoken(text), setting.stream)
      const intervals = (performance.now() - started) / interval
      const [silent, behind] = text.split(body[0]!) as [string, string]
      const filled = behind.split(rest[0]!)[0]!
      const [atStart, between] = [silent.length / keepAlive(0).length, filled.length / keepAlive(1).length]
      assert.strictEqual(silent, keepAlive(0).repeat(atStart))
      assert.strictEqual(filled, keepAlive(1).repeat(between))
      // A busy machine is late, never early.
      assert.isAtLeast(atStart, 1)
      assert.isAtLeast(between, 2)
      assert.isAtMost(atStart + between, intervals)
      const { turn } = ledger.settled()
      assert.deepStrictEqual([turn.framesIn, turn.framesOut], [frames, frames])
    })
  )

  it.live("stay away while the upstream speaks", () =>
    Effect.gen(function* () {
      const steps = [...body, ...body, ...body, ...finish, ...after].flatMap((event) => [event, { wait: 30 }])
      const { call } = yield* sockets(dialect, [rawTurn("sse", [...steps, end])], options)
      const answer = yield* call(dialect.request(true))
      yield* answer.ended
      assert.isAbove(answer.times.at(-1)!, 3 * interval)
      assert.strictEqual(answer.text(), [...body, ...body, ...body, ...finish, ...after, end].join(""))
    })
  )

  it.live("stay out of an event that flows on unread", () =>
    Effect.gen(function* () {
      const large = dialect.largeEvent(5000)
      const steps = [body[0]!, large.slice(0, 3000), { wait: 4 * interval }, large.slice(3000), ...finish, end]
      const { call } = yield* sockets(dialect, [rawTurn("sse", steps)], options)
      const answer = yield* call(dialect.request(true))
      yield* answer.ended
      assert.isAbove(answer.times.at(-1)!, 3 * interval)
      assert.strictEqual(answer.text(), [body[0], large, ...finish, end].join(""))
    })
  )

  it.live("fill the wait for the records, before the terminal frame", () =>
    Effect.gen(function* () {
      const { call, ledger } = yield* sockets(dialect, [rawTurn("sse", [setting.stream])], options)
      ledger.hold()
      const answer = yield* call(dialect.request(true))
      yield* Effect.sleep(3.5 * interval)
      ledger.release()
      yield* answer.ended
      const shown = answer.text()
      assert.isTrue(shown.endsWith(keepAlive(frames - 1) + end), shown.slice(-100))
      assert.strictEqual(spoken(shown), setting.stream)
    })
  )

  it.live("are not sent for a body", () =>
    Effect.gen(function* () {
      const whole = settingOf(dialect, "json").body
      const steps = [{ wait: 2 * interval }, whole.slice(0, 50), { wait: 3 * interval }, whole.slice(50)]
      const { call } = yield* sockets(dialect, [rawTurn("json", steps)], options)
      const answer = yield* call(dialect.request(false))
      yield* answer.ended
      assert.strictEqual(answer.text(), whole)
    })
  )

  it.live("are not sent for a body that flows on unread", () =>
    Effect.gen(function* () {
      const spaces = " ".repeat(2000)
      const steps = ["{", { wait: 20 }, spaces, { wait: 20 }, spaces, { wait: 3 * interval }, "}"]
      const { call } = yield* sockets(dialect, [rawTurn("json", steps)], options)
      const answer = yield* call(dialect.request(false))
      yield* answer.ended
      assert.strictEqual(answer.text(), `{${spaces}${spaces}}`)
    })
  )
})
