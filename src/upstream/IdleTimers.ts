import { Cause, Clock, Context, Effect, Latch, Layer, Result } from "effect"
import { type Member, Roster } from "./Roster.ts"

/** Something that has to happen if nothing else happens before. */
export interface Watched {
  /** The millisecond of `IdleTimers.now` at which it would be due, by what is known now; moves on with every sign of life. */
  due(): number
  /** It is due. It is forgotten then, unless it answers that it wants to be watched on. */
  expire(): "again" | "done"
  /** Where it is watched, if it is. `IdleTimers` alone looks at it. */
  watch?: Member<Watched> | undefined
}

/** What is to be asked at the same time. */
interface Slot {
  /** When, in grains. */
  readonly at: number
  readonly watched: Roster<Watched>
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
      // Sorted.
      const slots: Array<Slot> = []
      const wake = Latch.makeUnsafe()
      let sleepingUntil = Number.POSITIVE_INFINITY
      let size = 0

      const slotAt = (at: number): Slot => {
        let low = 0
        let high = slots.length
        while (low < high) {
          const middle = (low + high) >>> 1
          if (slots[middle]!.at < at) low = middle + 1
          else high = middle
        }
        const found = slots[low]
        if (found?.at === at) return found
        const slot = { at, watched: new Roster<Watched>() }
        slots.splice(low, 0, slot)
        return slot
      }

      /** @param earliest a slot that is still to come, where those before it are being gone through */
      const place = (watched: Watched, earliest = 0): void => {
        remove(watched)
        const slot = slotAt(Math.max(Math.ceil(watched.due() / grain), earliest))
        watched.watch = slot.watched.add(watched)
        size++
        if (slot.at * grain < sleepingUntil) wake.openUnsafe()
      }

      const remove = (watched: Watched): void => {
        const { watch } = watched
        if (watch === undefined) return
        watched.watch = undefined
        watch.leave()
        size--
      }

      /** Asks what may be due. One that fails is forgotten, and the others are asked all the same; answers the failures. */
      const expireDue = (): ReadonlyArray<unknown> => {
        const current = now()
        const next = Math.floor(current / grain) + 1
        const failures: Array<unknown> = []
        while (slots.length > 0 && slots[0]!.at * grain <= current) {
          for (const watch of slots.shift()!.watched.takeAll()) {
            const watched = watch.value
            // Another's expiring may have ended this one's watch, or begun it anew.
            if (watched.watch !== watch) continue
            remove(watched)
            const tried = Result.try(() => {
              if (watched.due() > current || watched.expire() === "again") place(watched, next)
            })
            if (tried._tag === "Failure") failures.push(tried.failure)
          }
        }
        return failures
      }

      const loop = Effect.gen(function* () {
        while (true) {
          wake.closeUnsafe()
          for (const failure of expireDue()) yield* Effect.logError("a timer failed", Cause.die(failure))
          const next = slots[0]
          if (next === undefined) {
            sleepingUntil = Number.POSITIVE_INFINITY
            yield* wake.await
          } else {
            sleepingUntil = next.at * grain
            yield* Effect.raceFirst(Effect.sleep(Math.max(1, sleepingUntil - now())), wake.await)
          }
        }
      })
      yield* Effect.forkScoped(loop)

      return IdleTimers.of({
        watch: (watched) => place(watched),
        unwatch: (watched) => {
          remove(watched)
          // An empty slot costs one waking; taking it out would cost every stream.
          if (size === 0) slots.length = 0
        },
        now,
        size: () => size
      })
    })
  )
}
