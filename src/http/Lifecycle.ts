import { Context, Layer } from "effect"
import { type Member, Roster } from "../upstream/Upstream.ts"

/** Whether Sluice takes calls, lets the running ones finish, or ends them. */
export type Phase = "serving" | "draining" | "closing"

/** A call that was noted as open. */
export interface OpenCall {
  /** The rest of its request is waited for: it is broken off where the service begins to drain, or has begun to. */
  readonly arriving: () => void
  /** Its whole request is there: it may go on while the service drains. */
  readonly arrived: () => void
  /** It has ended, on both sides. */
  readonly leave: () => void
}

/** Where the service stands between its start and its end, and how many calls it has open. */
export class Lifecycle extends Context.Service<
  Lifecycle,
  {
    readonly phase: () => Phase
    /** Enters the next phase. Calls whose requests are still on their way are broken off where it is not `serving`. */
    readonly become: (phase: Phase) => void
    /**
     * Notes a call that has begun.
     *
     * @param end breaks the call off
     */
    readonly enter: (end: () => void) => OpenCall
    /** Breaks off every call that is open. */
    readonly endAll: () => void
    /** How many calls are open. */
    readonly open: () => number
  }
>()("sluice/http/Lifecycle") {
  static readonly layer: Layer.Layer<Lifecycle> = Layer.sync(Lifecycle, () => {
    let phase: Phase = "serving"
    const open = new Roster<() => void>()
    const arriving = new Roster<() => void>()
    return Lifecycle.of({
      phase: () => phase,
      become: (next) => {
        phase = next
        if (phase === "serving") return
        for (const end of arriving) end()
      },
      enter: (end) => {
        const opened = open.add(end)
        let sending: Member<() => void> | undefined
        return {
          arriving: () => {
            sending?.leave()
            sending = arriving.add(end)
            if (phase !== "serving") end()
          },
          arrived: () => sending?.leave(),
          leave: () => {
            sending?.leave()
            opened.leave()
          }
        }
      },
      endAll: () => {
        for (const end of open) end()
      },
      open: () => open.size
    })
  })
}
