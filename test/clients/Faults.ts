import type { RawStep } from "../support/UpstreamServer.ts"
import { assistant, refuse, say, stream, streamed } from "./Model.ts"
import { bodyOf, errorEventOf } from "./ModelAnswer.ts"
import type { ModelScript } from "./Scene.ts"

/** What it says where its answer is to be disturbed: about thirty events. */
export const whole = "It heard the whole of it. ".repeat(8)

/**
 * A model that does what it is told at the end of the prompt; without that it answers.
 *
 * | told | what it does |
 * |---|---|
 * | `fault status N` | an error of this status |
 * | `fault once N` | the same for the first request, with `retry-after: 1` |
 * | `fault mute 0` | no head, ever |
 * | `fault hang N` | nothing more behind N events |
 * | `fault silence N` | silence of N milliseconds in the middle of the events |
 * | `fault reset N`, `fault fin N`, `fault eof N` | behind N events the connection breaks, closes, or the body ends cleanly |
 * | `fault middle N` | behind N events half an event, and the connection closes |
 * | `fault reset N`, `fault fin N`, not streamed | the same behind N characters of the body |
 * | `fault error N` | an error event behind N events, and nothing else |
 */
export const faulty = (): ModelScript => {
  const seen = new Set<string>()
  return (asked, turn) => {
    const answer = assistant(asked, turn)
    const told = /fault (\w+) (\d+)$/.exec(asked.prompt)
    if (told === null) return say(asked, answer)
    const [prompt, fault] = told
    const number = Number(told[2])
    if (fault === "status") return refuse(asked.dialect, number)
    if (fault === "once") {
      if (seen.has(asked.prompt)) return say(asked, { ...answer, text: `Heard: ${prompt}` })
      seen.add(asked.prompt)
      return refuse(asked.dialect, number, { "retry-after": "1" })
    }
    if (fault === "mute") return { before: [{ hang: true }] }
    if (!asked.stream) {
      const body = bodyOf(asked.dialect, { ...answer, model: asked.model }, asked.body)
      const broken: RawStep = fault === "reset" ? { reset: true } : { fin: true }
      // A length that is not kept is how a connection that closes can be told from the end of a body.
      const headers = { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) }
      return { headers, steps: [body.slice(0, number), { wait: 20 }, broken] }
    }
    const events = streamed(asked, { ...answer, text: whole })
    const begun: ReadonlyArray<string> = events.slice(0, number)
    const ending = (...steps: ReadonlyArray<RawStep>) => stream([...begun, { wait: 20 }, ...steps])
    switch (fault) {
      case "hang":
        return ending({ hang: true })
      case "silence": {
        const middle = Math.floor(events.length / 2)
        return stream([...events.slice(0, middle), { wait: number }, ...events.slice(middle)])
      }
      case "reset":
        return ending({ reset: true })
      case "fin":
        return ending({ fin: true })
      case "eof":
        return ending("")
      case "middle":
        return ending((events[number] ?? "").slice(0, -20), { wait: 20 }, { fin: true })
      case "error":
        return ending(errorEventOf(asked.dialect))
    }
    throw new Error(`unknown fault ${fault}`)
  }
}
