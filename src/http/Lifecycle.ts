import { Context, Layer } from "effect"

/** Whether Sluice takes calls, lets the running ones finish, or ends them. */
export type Phase = "serving" | "draining" | "closing"

/** Where the service stands between its start and its end, and how many calls it has open. */
export class Lifecycle extends Context.Service<
  Lifecycle,
  {
    readonly phase: () => Phase
    readonly become: (phase: Phase) => void
    /**
     * Notes a call that has begun; what it answers notes that it has ended.
     *
     * @param end breaks the call off
     */
    readonly enter: (end: () => void) => () => void
    /** Breaks off every call that is open. */
    readonly endAll: () => void
    /** How many calls are open. */
    readonly open: () => number
  }
>()("sluice/http/Lifecycle") {
  static readonly layer: Layer.Layer<Lifecycle> = Layer.sync(Lifecycle, () => {
    let phase: Phase = "serving"
    const open = new Set<() => void>()
    return Lifecycle.of({
      phase: () => phase,
      become: (next) => {
        phase = next
      },
      enter: (end) => {
        open.add(end)
        return () => {
          open.delete(end)
        }
      },
      endAll: () => {
        for (const end of open) end()
      },
      open: () => open.size
    })
  })
}
