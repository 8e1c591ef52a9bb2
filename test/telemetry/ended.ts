import type { Ended } from "../../src/interception/Observer.ts"
import type { InterceptionClose, Turn, Usage } from "../../src/recorder/Records.ts"
import { interception, start, turn, usage } from "../recorder/rows.ts"

/** An interception that has ended, by default after one turn that went well and 1.5 seconds. */
export const ended = (change: {
  readonly row?: Parameters<typeof interception>[1]
  readonly close?: Partial<InterceptionClose>
  readonly turns?: ReadonlyArray<Partial<Turn>>
  readonly usage?: ReadonlyArray<Partial<Usage>>
  readonly toolCalls?: number
}): Ended => ({
  interception: interception("i1", change.row),
  close: {
    id: "i1",
    endedAt: start + 1500,
    status: "completed",
    error: null,
    servedModel: "gpt-4.1-mini-2025-04-14",
    transport: "sse",
    ...change.close
  },
  turns: (change.turns ?? [{}]).map((one, index) => turn("i1", index, one)),
  usage: (change.usage ?? [{}]).map((one, index) =>
    usage("i1", index, { input: 10, output: 20, cacheRead: 30, cacheWrite: 0, reasoning: 5, ...one })
  ),
  toolCalls: change.toolCalls ?? 0
})
