import { Console, DateTime, Effect, Option, Schema } from "effect"
import { Recorder } from "../recorder/Recorder.ts"
import {
  type Interception,
  InterceptionDetail,
  InterceptionPage,
  type RecordError,
  type Usage
} from "../recorder/Records.ts"
import { type Column, printable, table } from "./Table.ts"

/** What `sluice records` is asked for. */
export interface RecordsQuery {
  /** How many interceptions at most, newest first. */
  readonly limit: number
  /** Only those that asked for, or were served by, this model. */
  readonly model?: string | undefined
  /** One interception in detail. */
  readonly id?: string | undefined
  /** Print the JSON of the management API instead of text for people. */
  readonly json: boolean
  /** The terminal's width in cells; 0 without one. */
  readonly width: number
}

const encodePage = Schema.encodeEffect(InterceptionPage)
const encodeDetail = Schema.encodeEffect(InterceptionDetail)

const moment = (millis: number): string =>
  DateTime.formatIso(DateTime.makeUnsafe(millis)).slice(0, 19).replace("T", " ")

const number = (value: number | null | undefined): string => (value === null || value === undefined ? "-" : `${value}`)

type Count = "input" | "cacheRead" | "cacheWrite" | "output" | "reasoning"

const sum = (usage: ReadonlyArray<Usage>, ...fields: ReadonlyArray<Count>): number | null => {
  const known = usage.flatMap((row) => fields.flatMap((field) => row[field] ?? []))
  return known.length === 0 ? null : known.reduce((total, value) => total + value, 0)
}

/** The counts of which no token is in two, named as everywhere else. */
const counts: ReadonlyArray<readonly [title: string, count: Count]> = [
  ["INPUT", "input"],
  ["CACHE READ", "cacheRead"],
  ["CACHE WRITE", "cacheWrite"],
  ["OUTPUT", "output"]
]

const right = (title: string): Column => ({ title, align: "right" })

const duration = ({ startedAt, endedAt }: Interception): string =>
  endedAt === null ? "-" : `${Math.round(endedAt - startedAt)}`

const modelOf = ({ requestedModel, servedModel }: Interception): string =>
  requestedModel !== null && servedModel !== null && requestedModel !== servedModel
    ? `${requestedModel} → ${servedModel}`
    : (requestedModel ?? servedModel ?? "-")

const errorOf = (error: RecordError | null): string => (error === null ? "-" : `${error.code}: ${error.message}`)

/**
 * Interceptions as a table: times are UTC; what a cache did is shown where one did anything, beside the input and not
 * within it.
 */
export const renderInterceptions = (details: ReadonlyArray<InterceptionDetail>, width = 0): string => {
  const shown = counts.filter(
    ([, count]) => !count.startsWith("cache") || details.some(({ usage }) => (sum(usage, count) ?? 0) > 0)
  )
  return table(
    [
      { title: "STARTED (UTC)" },
      { title: "STATUS" },
      { title: "PROVIDER", shrink: true },
      { title: "MODEL", shrink: true },
      ...shown.map(([title]) => right(title)),
      right("TOOLS"),
      right("MS"),
      { title: "CLIENT", shrink: true },
      { title: "ID" }
    ],
    details.map(({ interception, usage, toolCalls }) => [
      moment(interception.startedAt),
      interception.error === null
        ? (interception.status ?? "running")
        : `${interception.status ?? "running"} (${interception.error.code})`,
      interception.provider ?? "-",
      modelOf(interception),
      ...shown.map(([, count]) => number(sum(usage, count))),
      number(toolCalls.length),
      duration(interception),
      interception.client,
      interception.id
    ]),
    width
  )
}

/** What the turns used, and all of them together: the columns before TOTAL add up to it. */
const renderUsage = (turns: InterceptionDetail["turns"], usage: ReadonlyArray<Usage>, width: number): string => {
  const row = (name: string, used: ReadonlyArray<Usage>, source: string): ReadonlyArray<string> => [
    name,
    ...counts.map(([, count]) => number(sum(used, count))),
    number(sum(used, ...counts.map(([, count]) => count))),
    number(sum(used, "reasoning")),
    othersOf(used),
    source
  ]
  const rows = usage.map((used) => {
    const index = turns.find((turn) => turn.id === used.turnId)?.index
    return row(number(index), [used], used.provenance)
  })
  if (usage.length > 1) rows.push(row("all", usage, ""))
  return table(
    [
      right("TURN"),
      ...counts.map(([title]) => right(title)),
      right("TOTAL"),
      right("REASONING"),
      { title: "OTHER", shrink: true },
      { title: "SOURCE" }
    ],
    rows,
    width
  )
}

/** The counts that have no column. */
const othersOf = (usage: ReadonlyArray<Usage>): string => {
  const sums = new Map<string, number>()
  for (const { other } of usage) {
    for (const [name, value] of Object.entries(other)) sums.set(name, (sums.get(name) ?? 0) + value)
  }
  return [...sums].map(([name, value]) => `${name} ${value}`).join(", ") || "-"
}

/** Text of several lines, each moved in, with nothing in it that a terminal would obey. */
const indented = (text: string): string =>
  text
    .split(/\r\n|\r|\n/)
    .map((line) => `  ${printable(line)}`)
    .join("\n")

/** One interception with all that was recorded of it. */
export const renderDetail = (detail: InterceptionDetail, width = 0): string => {
  const { interception, turns, usage, toolCalls, prompts, thoughts } = detail
  const facts: ReadonlyArray<readonly [name: string, value: string | null]> = [
    ["id", interception.id],
    ["status", interception.status ?? "running"],
    ["error", interception.error === null ? null : errorOf(interception.error)],
    ["model", modelOf(interception)],
    ["provider", interception.provider],
    ["dialect", interception.dialect],
    ["transport", interception.transport],
    ["started (UTC)", moment(interception.startedAt)],
    ["milliseconds", duration(interception)],
    ["actor", interception.actor],
    ["credential", [interception.credentialKind, interception.credentialHint ?? ""].join(" ").trim()],
    ["client", interception.client],
    ["user agent", interception.userAgent],
    ["session", interception.sessionId],
    ["parent", interception.parentId]
  ]
  const sections: Array<string> = [
    facts
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name.padEnd(14)}${printable(value ?? "")}`)
      .join("\n")
  ]
  if (turns.length > 0) {
    sections.push(
      `Turns\n${table(
        [
          { title: "TURN", align: "right" },
          { title: "STATUS" },
          { title: "HTTP", align: "right" },
          { title: "FINISH" },
          { title: "FIRST MS", align: "right" },
          { title: "MS", align: "right" },
          { title: "ATTEMPTS", align: "right" },
          { title: "FRAMES", align: "right" },
          { title: "ERROR", shrink: true }
        ],
        turns.map((turn) => [
          number(turn.index),
          turn.status ?? "running",
          number(turn.httpStatus),
          turn.finishReason ?? "-",
          number(turn.timeToFirstFrameMs === null ? null : Math.round(turn.timeToFirstFrameMs)),
          number(turn.durationMs === null ? null : Math.round(turn.durationMs)),
          number(turn.attempts),
          number(turn.framesIn),
          errorOf(turn.error)
        ]),
        width
      )}`
    )
  }
  if (usage.length > 0) {
    sections.push(`Usage in tokens (reasoning is a part of the output)\n${renderUsage(turns, usage, width)}`)
  }
  if (toolCalls.length > 0) {
    sections.push(
      `Tool calls\n${table(
        [
          { title: "NAME" },
          { title: "BY" },
          { title: "CALL" },
          { title: "MS", align: "right" },
          { title: "ERROR" },
          { title: "ARGUMENTS", shrink: true }
        ],
        toolCalls.map((call) => [
          call.name,
          call.injected ? "sluice" : "client",
          call.callId ?? "-",
          number(call.durationMs),
          errorOf(call.error),
          typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments)
        ]),
        width
      )}`
    )
  }
  for (const prompt of prompts) sections.push(`Prompt\n${indented(prompt.text)}`)
  for (const thought of thoughts) sections.push(`Thought (${thought.source})\n${indented(thought.text)}`)
  return sections.join("\n\n")
}

/**
 * The body of `sluice records`: prints what was recorded, newest first.
 *
 * @returns whether there was what was asked for; only a single one that is not there is missed
 */
export const records = Effect.fn("Records.records")(function* (query: RecordsQuery) {
  const recorder = yield* Recorder
  if (query.id !== undefined) {
    const found = yield* recorder.interception(query.id)
    if (Option.isNone(found)) {
      yield* Console.error(`There is no interception ${printable(query.id)}.`)
      return false
    }
    yield* Console.log(
      query.json
        ? JSON.stringify(yield* Effect.orDie(encodeDetail(found.value)), null, 2)
        : renderDetail(found.value, query.width)
    )
    return true
  }
  const page = yield* recorder.interceptions({ limit: query.limit, model: query.model })
  if (query.json) {
    yield* Console.log(JSON.stringify(yield* Effect.orDie(encodePage(page)), null, 2))
    return true
  }
  const details = yield* Effect.forEach(page.interceptions, ({ id }) => recorder.interception(id))
  yield* Console.log(
    page.interceptions.length === 0
      ? query.model === undefined
        ? "Nothing is recorded yet."
        : `Nothing that is recorded asked for the model ${printable(query.model)}, or was served by it.`
      : renderInterceptions(
          details.flatMap((detail) => Option.toArray(detail)),
          query.width
        )
  )
  return true
})
