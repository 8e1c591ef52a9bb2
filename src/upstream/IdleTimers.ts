import { Cause, Clock, Context, Effect, Latch, Layer, Result } from "effect"

/** Something that has to happen if nothing else happens before. */
export interface Watched {
  /** The millisecond of `IdleTimers.now` at which it would be due, by what is known now; moves on with every sign of life. */
  due(): number
  /** It is due. It is forgotten then, unless it answers that it wants to be watched on. */
  expire(): "again" | "done"
}

/** How exact the timers are, in milliseconds. */
const grain = 25

const nanosPerMilli = 1_000_000n

/**
 * One timer for everything that waits for silence to end: idle limits, keep-alives, write deadlines.
 *
 * A sign of life costs nothing here: whoever sees one remembers when, and is asked only once its old deadline comes.
 * That makes a stream with thousands of chunks cost as much as one with none, and ten thousand idle streams one timer.
 */
export class IdleTimers extends Context.Service<
  IdleTimers,
  {
    /** Watches until `unwatch`, or until it expired. */
    readonly watch: (watched: Watched) => void
    readonly unwatch: (watched: Watched) => void
    /**
     * Milliseconds since some moment, which `due` answers in: for deadlines and durations. They go on evenly where the
     * clock on the wall is set, and say nothing of the time of day.
     */
    readonly now: () => number
    /** How many are watched. */
    readonly size: () => number
  }
>()("sluice/upstream/IdleTimers") {
  static readonly layer: Layer.Layer<IdleTimers> = Layer.effect(
    IdleTimers,
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const now = () => Number(clock.monotonicTimeNanosUnsafe() / nanosPerMilli)
      const slots = new Map<number, Set<Watched>>()
      const places = new Map<Watched, number>()
      const order: Array<number> = []
      const wake = Latch.makeUnsafe()
      let sleepingUntil = Number.POSITIVE_INFINITY

      /** @param earliest a slot that is still to come, where those before it are being gone through */
      const place = (watched: Watched, earliest = 0): void => {
        const slot = Math.max(Math.ceil(watched.due() / grain), earliest)
        let set = slots.get(slot)
        if (set === undefined) {
          set = new Set()
          slots.set(slot, set)
          insertSorted(order, slot)
        }
        set.add(watched)
        places.set(watched, slot)
        if (slot * grain < sleepingUntil) wake.openUnsafe()
      }

      /** Asks what may be due. One that fails is forgotten, and the others are asked all the same; answers the failures. */
      const expireDue = (): ReadonlyArray<unknown> => {
        const current = now()
        const next = Math.floor(current / grain) + 1
        const failures: Array<unknown> = []
        while (order.length > 0 && order[0]! * grain <= current) {
          const slot = order.shift()!
          const set = slots.get(slot)
          slots.delete(slot)
          if (set === undefined) continue
          for (const watched of set) {
            // Another's expiring may have ended this one's watch, or begun it anew.
            if (places.get(watched) !== slot) continue
            places.delete(watched)
            const asked = Result.try(() => {
              if (watched.due() > current || watched.expire() === "again") place(watched, next)
            })
            if (asked._tag === "Failure") failures.push(asked.failure)
          }
        }
        return failures
      }

      const loop = Effect.gen(function* () {
        while (true) {
          wake.closeUnsafe()
          for (const failure of expireDue()) yield* Effect.logError("a timer failed", Cause.die(failure))
          const next = order[0]
          if (next === undefined) {
            sleepingUntil = Number.POSITIVE_INFINITY
            yield* wake.await
          } else {
            sleepingUntil = next * grain
            yield* Effect.raceFirst(Effect.sleep(Math.max(1, sleepingUntil - now())), wake.await)
          }
        }
      })
      yield* Effect.forkScoped(loop)

      return IdleTimers.of({
        watch: (watched) => place(watched),
        unwatch: (watched) => {
          const slot = places.get(watched)
          if (slot === undefined) return
          places.delete(watched)
          slots.get(slot)?.delete(watched)
          // An empty slot costs one waking; looking for its place in the order would cost every stream.
          if (places.size > 0) return
          slots.clear()
          order.length = 0
        },
        now,
        size: () => places.size
      })
    })
  )
}

const insertSorted = (order: Array<number>, slot: number): void => {
  let at = order.length
  while (at > 0 && order[at - 1]! > slot) at--
  order.splice(at, 0, slot)
}
