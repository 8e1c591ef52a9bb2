import { Clock, Context, Effect, Latch, Layer } from "effect"

/** Something that has to happen if nothing else happens before. */
export interface Watched {
  /** The epoch millisecond at which it would be due, by what is known now; moves on with every sign of life. */
  due(): number
  /** It is due. It is forgotten then, unless it answers that it wants to be watched on. */
  expire(): "again" | "done"
}

/** How exact the timers are, in milliseconds. */
const grain = 25

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
    /** The clock's epoch milliseconds, which `due` answers in. */
    readonly now: () => number
    /** How many are watched. */
    readonly size: () => number
  }
>()("sluice/upstream/IdleTimers") {
  static readonly layer: Layer.Layer<IdleTimers> = Layer.effect(
    IdleTimers,
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const now = () => clock.currentTimeMillisUnsafe()
      const slots = new Map<number, Set<Watched>>()
      const places = new Map<Watched, number>()
      const order: Array<number> = []
      const wake = Latch.makeUnsafe()
      let sleepingUntil = Number.POSITIVE_INFINITY

      const place = (watched: Watched): void => {
        const slot = Math.ceil(watched.due() / grain)
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

      const expireDue = (): void => {
        const current = now()
        while (order.length > 0 && order[0]! * grain <= current) {
          const slot = order.shift()!
          const set = slots.get(slot)
          slots.delete(slot)
          if (set === undefined) continue
          for (const watched of set) {
            places.delete(watched)
            if (watched.due() > current || watched.expire() === "again") place(watched)
          }
        }
      }

      const loop = Effect.gen(function* () {
        while (true) {
          wake.closeUnsafe()
          expireDue()
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
        watch: place,
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
