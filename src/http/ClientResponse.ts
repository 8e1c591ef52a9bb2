import type { ServerResponse } from "node:http"
import { Effect, Pull } from "effect"
import type { Answer } from "../interception/Answer.ts"
import type { IdleTimers, Watched } from "../upstream/Upstream.ts"
import { Uptake } from "../upstream/Uptake.ts"
import type { Frame } from "../wire/Frame.ts"
import { joinSmall } from "../wire/JoinSmall.ts"

/** What a response needs to know of the configuration, in milliseconds. */
export interface ResponseLimits {
  readonly keepAlive: number
  /** How long a client may take nothing of what was written for it. */
  readonly write: number
}

/**
 * Sends an answer to a client: the head at once and by itself, then its frames as they come, at the pace the client
 * reads them. Done when the last byte is written, of which the connection may still hold a part: `whenOver` tells when that
 * was taken, and lets a client go that does not take it. A client that leaves interrupts the fiber.
 */
export const send = (
  response: ServerResponse,
  answer: Answer,
  timers: IdleTimers["Service"],
  limits: ResponseLimits
): Effect.Effect<void> => {
  if (answer.length !== null) return sendWhole(response, answer, answer.length)
  return Effect.suspend(() => {
    response.writeHead(answer.head.status, answer.head.headers as { [name: string]: string | Array<string> })
    // As `flushHeaders` does, which writes UTF-8: what an upstream's header has beyond ASCII would come back twice encoded.
    response.write("", "latin1")
    const sink = new Sink(response, answer, timers, limits)
    timers.watch(sink)
    const write = (frames: ReadonlyArray<Frame>) => sink.write(frames)
    return Effect.forever(Effect.flatMap(answer.pull, write), { disableYield: true }).pipe(
      Effect.catchCause((cause) =>
        Effect.sync(() => {
          if (Pull.isDoneCause(cause)) response.end()
          // There is no whole frame left to say it with: a connection that breaks is what the client understands.
          else breakOff(response)
        })
      ),
      Effect.ensuring(Effect.sync(() => timers.unwatch(sink)))
    )
  })
}

/** Ends a connection so that its client cannot take what it has for the whole. */
export const breakOff = (response: ServerResponse): void => {
  const { socket } = response
  if (socket === null) response.destroy()
  else socket.resetAndDestroy()
}

/**
 * Calls back once a response is over: all of it was handed to the operating system, or its connection is gone. Until
 * then its client is watched: one that takes nothing of what is left is let go.
 *
 * @param limit how long it may take nothing, in milliseconds
 */
export const whenOver = (
  response: ServerResponse,
  timers: IdleTimers["Service"],
  limit: number,
  over: () => void
): void => {
  const { req } = response
  if (response.writableFinished || req.socket.destroyed) {
    over()
    return
  }
  const rest = response.writableLength > 0 ? new Rest(response, timers, limit) : null
  let told = false
  const tell = () => {
    if (told) return
    told = true
    if (rest !== null) timers.unwatch(rest)
    over()
  }
  response.once("finish", tell)
  response.once("close", tell)
  // An answer behind another on its connection is not told that the connection is gone; its request is.
  if (response.socket === null) req.once("close", tell)
  if (rest !== null) timers.watch(rest)
}

/** An answer that is there already goes out in one piece. */
const sendWhole = (response: ServerResponse, answer: Answer, length: number): Effect.Effect<void> =>
  Effect.matchCauseEffect(answer.pull, {
    onSuccess: ([body]) => Effect.sync(() => writeWhole(response, answer, body, length)),
    onFailure: () => Effect.sync(() => breakOff(response))
  })

const writeWhole = (response: ServerResponse, answer: Answer, body: Frame, length: number): void => {
  response.writeHead(answer.head.status, {
    ...(answer.head.headers as { [name: string]: string | Array<string> }),
    "content-length": length
  })
  response.end(body.bytes)
}

/** How many times an interval is divided for looking whether something was written, or taken. */
const looks = 8

/** Since when a client is known to have taken nothing of an answer. */
const taken = (uptake: Uptake, { socket, writableLength }: ServerResponse, now: number): number =>
  uptake.look(now, socket, writableLength)

/** What a client has still to take of an answer that is written to its end. */
class Rest implements Watched {
  private readonly response: ServerResponse
  private readonly timers: IdleTimers["Service"]
  private readonly limit: number
  private readonly uptake: Uptake

  constructor(response: ServerResponse, timers: IdleTimers["Service"], limit: number) {
    this.response = response
    this.timers = timers
    this.limit = limit
    this.uptake = new Uptake(timers.now())
  }

  due(): number {
    const now = this.timers.now()
    return Math.min(taken(this.uptake, this.response, now) + this.limit, now + this.limit / looks)
  }

  expire(): "again" | "done" {
    if (!this.response.writableFinished) breakOff(this.response)
    return "done"
  }
}

/** The client's end of a stream: backpressure, keep-alives and the write deadline. */
class Sink implements Watched {
  private readonly response: ServerResponse
  private readonly answer: Answer
  private readonly timers: IdleTimers["Service"]
  private readonly limits: ResponseLimits
  private writes = 0
  private writesSeen = 0
  private lastWrite: number
  private readonly uptake: Uptake

  constructor(response: ServerResponse, answer: Answer, timers: IdleTimers["Service"], limits: ResponseLimits) {
    this.response = response
    this.answer = answer
    this.timers = timers
    this.limits = limits
    this.lastWrite = timers.now()
    this.uptake = new Uptake(this.lastWrite)
  }

  /**
   * Writes frames, without a copy where all are neighbours of one network chunk; waits while the client is slower than they
   * come. `response.cork()` is no way to put several chunks together: it may say that a drain is to come where none will,
   * as it counts what it holds back, and the socket what that has not taken.
   */
  write(frames: ReadonlyArray<Frame>): Effect.Effect<void> {
    this.writes++
    let flowing = true
    for (const piece of joinSmall(runsOf(frames))) flowing = this.response.write(piece)
    return flowing ? Effect.void : this.drained
  }

  private readonly drained: Effect.Effect<void> = Effect.callback<void>((resume) => {
    const { response } = this
    // The runtime may let others run between the write and this, and the drain come meanwhile.
    if (!response.writableNeedDrain) return resume(Effect.void)
    const onDrain = () => resume(Effect.void)
    response.once("drain", onDrain)
    return Effect.sync(() => {
      response.off("drain", onDrain)
    })
  })

  due(): number {
    const now = this.timers.now()
    const { keepAlive, write } = this.limits
    // One that has something to read already needs nothing to keep it.
    if (this.writes !== this.writesSeen || this.response.writableNeedDrain) {
      this.writesSeen = this.writes
      this.lastWrite = now
    }
    return Math.min(
      this.lastWrite + keepAlive,
      taken(this.uptake, this.response, now) + write,
      now + Math.min(keepAlive, write) / looks
    )
  }

  expire(): "again" | "done" {
    if (this.response.destroyed || this.response.writableEnded) return "done"
    const now = this.timers.now()
    if (now >= taken(this.uptake, this.response, now) + this.limits.write) {
      // It holds a connection, an upstream and memory, and takes nothing.
      breakOff(this.response)
      return "done"
    }
    this.due()
    if (now < this.lastWrite + this.limits.keepAlive) return "again"
    this.lastWrite = now
    const frame = this.answer.keepAlive()
    if (frame !== null) this.response.write(frame.bytes)
    return "again"
  }
}

/** The bytes of frames that follow one another, neighbours of one network chunk in one slice of it. */
const runsOf = (frames: ReadonlyArray<Frame>): ReadonlyArray<Buffer> => {
  const runs: Array<Buffer> = []
  let { source, start, end } = frames[0]!
  for (let i = 1; i < frames.length; i++) {
    const frame = frames[i]!
    if (frame.source === source && frame.start === end) {
      end = frame.end
      continue
    }
    runs.push(source.subarray(start, end))
    source = frame.source
    start = frame.start
    end = frame.end
  }
  runs.push(start === 0 && end === source.length ? source : source.subarray(start, end))
  return runs
}
