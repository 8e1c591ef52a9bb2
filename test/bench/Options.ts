import { parseArgs } from "node:util"
import type { Gateway } from "./Contender.ts"
import { dialects, type DialectName } from "./Dialect.ts"

/** `none` records nothing; `sqlite` commits before the terminal frame goes out. */
export type Recording = "none" | "sqlite"
export type Figure = "cpu" | "json" | "ttfb" | "memory"

export interface Options {
  readonly gateways: ReadonlyArray<Gateway>
  /** Each is measured by itself, with processes of its own. */
  readonly dialects: ReadonlyArray<DialectName>
  readonly figures: ReadonlySet<Figure>
  readonly recordings: ReadonlyArray<Recording>
  readonly rounds: number
  /** Streams of each contender in a round; JSON calls are as many. */
  readonly streams: number
  /** Calls of each contender before anything is measured: Effect's code is optimised later than Node's own. */
  readonly warmUp: number
  /** Milliseconds between two writes of the upstream's streams. */
  readonly pace: number
  /** Samples of each contender for the time to first byte. */
  readonly samples: number
  /** Idle streams; the growth check opens four times as many. */
  readonly idle: number
  /** How many functions a profile shows; 0 for no profile. */
  readonly profile: number
  /** Measures Sluice also with tools that no model calls. */
  readonly tools: boolean
  /** Measures pooled WebSockets instead, and nothing else. */
  readonly pool: boolean
  readonly json: string | null
  /** Milliseconds after which the run gives up. */
  readonly limit: number
}

export const usage = `npm run bench -- [options]

  --dialect NAME                chat, responses or messages, or all: one after the other, a table for each (chat)
  --only cpu|json|ttfb|memory   one figure; may be repeated
  --recorder none|sqlite        one way of recording instead of both
  --rounds N                    rounds of the CPU figures (5)
  --streams N                   streams of each contender in a round (2000)
  --pace MS                     milliseconds between two writes of a stream (0: one turn of the event loop)
  --samples N                   samples of each contender for the time to first byte (1000)
  --idle N                      idle streams held open for the memory figure (1000)
  --quick                       less of everything: about a minute for a dialect
  --dist                        measure dist/main.js instead of src/main.ts
  --gateway COMMAND             measure this command instead; "serve --config FILE --port 0" is appended
  --against [NAME=]COMMAND      measure this gateway as well; may be repeated
  --profile N                   show the N functions that took most time of their own, per contender
  --tools                       measure this gateway also with the 13 tools of the MCP reference server, none of them called
  --pool                        only what pooled WebSockets save in conversations of Responses; --rounds says how many (5)
  --json FILE                   write the raw numbers
`

const figures: ReadonlyArray<Figure> = ["cpu", "json", "ttfb", "memory"]
const recordings: ReadonlyArray<Recording> = ["none", "sqlite"]
const dialectNames = dialects.map(({ name }) => name)

const integer = (name: string, text: string | undefined, otherwise: number): number => {
  const value = text === undefined ? otherwise : Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number above 0`)
  return value
}

const choose = <A extends string>(name: string, values: ReadonlyArray<string> | undefined, all: ReadonlyArray<A>) =>
  values === undefined
    ? all
    : values.map((value) => {
        const found = all.find((one) => one === value)
        if (found === undefined) throw new Error(`--${name} must be one of ${all.join(", ")}`)
        return found
      })

const words = (command: string): ReadonlyArray<string> => command.trim().split(/\s+/)

/** Reads the command line; throws where it is wrong. `null` asks for the help text. */
export const readOptions = (args: ReadonlyArray<string>): Options | null => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      dialect: { type: "string", default: "chat" },
      only: { type: "string", multiple: true },
      recorder: { type: "string", multiple: true },
      rounds: { type: "string" },
      streams: { type: "string" },
      pace: { type: "string" },
      samples: { type: "string" },
      idle: { type: "string" },
      quick: { type: "boolean", default: false },
      dist: { type: "boolean", default: false },
      gateway: { type: "string" },
      against: { type: "string", multiple: true },
      profile: { type: "string" },
      tools: { type: "boolean", default: false },
      pool: { type: "boolean", default: false },
      json: { type: "string" },
      help: { type: "boolean", short: "h", default: false }
    }
  })
  if (values.help) return null
  const { quick } = values
  const main = new URL(values.dist ? "../../dist/main.js" : "../../src/main.ts", import.meta.url).pathname
  const sluice = [process.execPath, "--disable-warning=ExperimentalWarning", main]
  const others = (values.against ?? []).map((text, i): Gateway => {
    const [, name = `other ${i + 1}`, command = ""] = /^(?:([^=/\s]+)=)?(.*)$/s.exec(text) ?? []
    return { name, command: words(command) }
  })
  const chosen = choose("dialect", [values.dialect], [...dialectNames, "all" as const])
  const measured = dialectNames.filter((name) => chosen.includes(name) || chosen.includes("all"))
  const streams = integer("streams", values.streams, quick ? 600 : 2000)
  return {
    gateways: [{ name: "sluice", command: values.gateway === undefined ? sluice : words(values.gateway) }, ...others],
    dialects: measured,
    figures: new Set(choose("only", values.only, figures)),
    recordings: choose("recorder", values.recorder, recordings),
    rounds: integer("rounds", values.rounds, quick ? 3 : 5),
    streams,
    warmUp: quick ? 2000 : 12_000,
    pace: values.pace === undefined ? 0 : integer("pace", values.pace, 0),
    samples: integer("samples", values.samples, quick ? 300 : 1000),
    idle: integer("idle", values.idle, quick ? 500 : 1000),
    profile: values.profile === undefined ? 0 : integer("profile", values.profile, 0),
    tools: values.tools,
    pool: values.pool,
    json: values.json ?? null,
    limit: (quick ? 120_000 : 300_000) * measured.length
  }
}
