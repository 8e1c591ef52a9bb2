import type { DialectCase } from "./DialectCase.ts"
import { transports } from "./Dialects.ts"
import { leavingFinished, leavingUnfinished, otherWaysOut } from "./OtherWaysOut.ts"
import { finishedWaysOut, upstreamWaysOut } from "./UpstreamWaysOut.ts"
import type { WayOut } from "./WayOut.ts"
import { failedEarly, said } from "./WayOutParts.ts"

/** The ways out that every dialect has, and an event each that the dialect calls malformed. */
export const commonWaysOut = ({ malformed }: DialectCase): ReadonlyArray<WayOut> => [
  ...upstreamWaysOut,
  ...otherWaysOut,
  ...malformed.map(
    (one): WayOut => ({
      name: `an event that is ${one.name}`,
      transport: "sse",
      turns: (it) => [it.turn([...it.events.body, one.event, ...it.events.finish, it.events.end])],
      expected: failedEarly("malformed"),
      saw: (it) => ({ text: said(it), errorEvent: "upstream_malformed" })
    })
  )
]

const cutStreams = (dialect: DialectCase): ReadonlyArray<WayOut> =>
  dialect.cutStreams.map((one) => ({
    name: `a stream that ends with ${one.name}`,
    transport: "sse",
    turns: (it) => [it.turn(one.body)],
    expected: {
      status: "failed",
      error: "upstream_cut",
      ...(one.usage === undefined ? { provenance: "unknown" } : { provenance: "partial", usage: one.usage })
    },
    saw: () => ({ text: one.delivered, errorEvent: "upstream_cut" }),
    ...(one.request === undefined ? {} : { request: one.request })
  }))

const waysBehindFinish = ({ events, leftAfterFinish }: DialectCase): ReadonlyArray<WayOut> =>
  events({}).finish.length === 0
    ? []
    : [...finishedWaysOut, ...(leftAfterFinish === "completed" ? leavingFinished : leavingUnfinished)]

/** Every way out of a call over HTTP, once for each transport that has it. */
export const waysOutOf = (dialect: DialectCase) =>
  [...commonWaysOut(dialect), ...cutStreams(dialect), ...waysBehindFinish(dialect)].flatMap((way) =>
    transports
      .filter((transport) => (way.transport ?? transport) === transport)
      .map((transport) => ({ way, transport, title: `${transport}: ${way.name}` }))
  )
