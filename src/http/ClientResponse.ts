import type { ServerResponse } from "node:http"
import { Effect, Pull } from "effect"
import type { Answer } from "../interception/Answer.ts"
import type { IdleTimers, Watched } from "../upstream/Upstream.ts"
import type { Frame } from "../wire/Frame.ts"

/** What a response needs to know of the configuration, in milliseconds. */
export interface ResponseLimits {
  readonly keepAlive: number
  readonly write: number
}

/**
 * Sends an answer to a client: the head at once and by itself, then its frames as they come, at the pace the client
 * reads them. Done when the last byte is handed to the connection. A client that leaves interrupts the fiber.
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
    response.flushHeaders()
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

/** How many times an interval is divided for looking whether something was written. */
const looks = 8

/** The client's end of a stream: backpressure, keep-alives and the write deadline. */
class Sink implements Watched {
  private readonly response: ServerResponse
  private readonly answer: Answer
  private readonly timers: IdleTimers["Service"]
  private readonly limits: ResponseLimits
  private writes = 0
  private writesSeen = 0
  private lastWrite: number
  /** Since when the client does not take what was written; 0 while it does. */
  private blockedSince = 0

  constructor(response: ServerResponse, answer: Answer, timers: IdleTimers["Service"], limits: ResponseLimits) {
    this.response = response
    this.answer = answer
    this.timers = timers
    this.limits = limits
    this.lastWrite = timers.now()
  }

  /** Writes frames, neighbours of one network chunk in one piece; waits while the client is slower than they come. */
  write(frames: ReadonlyArray<Frame>): Effect.Effect<void> {
    const { response } = this
    this.writes++
    const first = frames[0]!
    let { source, start, end } = first
    let flowing = true
    let corked = false
    for (let i = 1; i < frames.length; i++) {
      const frame = frames[i]!
      if (frame.source === source && frame.start === end) {
        end = frame.end
        continue
      }
      if (!corked) {
        corked = true
        response.cork()
      }
      response.write(source.subarray(start, end))
      source = frame.source
      start = frame.start
      end = frame.end
    }
    flowing = response.write(start === 0 && end === source.length ? source : source.subarray(start, end))
    if (corked) response.uncork()
    return flowing ? Effect.void : this.drained
  }

  private readonly drained: Effect.Effect<void> = Effect.callback<void>((resume) => {
    const { response } = this
    // The runtime may let others run between the write and this, and the drain come meanwhile.
    if (!response.writableNeedDrain) return resume(Effect.void)
    this.blockedSince = this.timers.now()
    const onDrain = () => {
      this.blockedSince = 0
      resume(Effect.void)
    }
    response.once("drain", onDrain)
    return Effect.sync(() => {
      response.off("drain", onDrain)
    })
  })

  due(): number {
    const now = this.timers.now()
    if (this.blockedSince !== 0) return Math.min(this.blockedSince + this.limits.write, now + this.limits.keepAlive)
    if (this.writes !== this.writesSeen) {
      this.writesSeen = this.writes
      this.lastWrite = now
    }
    return Math.min(this.lastWrite + this.limits.keepAlive, now + this.limits.keepAlive / looks)
  }

  expire(): "again" | "done" {
    if (this.response.destroyed || this.response.writableEnded) return "done"
    const now = this.timers.now()
    if (this.blockedSince !== 0) {
      if (now < this.blockedSince + this.limits.write) return "again"
      // It holds a connection, an upstream and memory, and takes nothing.
      this.response.destroy()
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
