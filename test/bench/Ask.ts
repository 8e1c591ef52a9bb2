/**
 * Questions and answers between the runner and its child processes, over Node's IPC channel.
 *
 * A child registers what it can be asked; the runner awaits the answer. A child whose runner has gone ends itself, so
 * that a killed benchmark leaves nothing behind.
 */

import { isMainThread } from "node:worker_threads"

interface Question {
  readonly ask: string
  readonly id: number
  readonly input: unknown
}

interface Reply {
  readonly id: number
  readonly answer?: unknown
  readonly error?: string
}

const handlers = new Map<string, (input: never) => unknown>()

/** Registers what this process answers when it is asked `name`. */
export const answer = <In>(name: string, handler: (input: In) => unknown): void => {
  if (handlers.size === 0 && isMainThread) listen()
  handlers.set(name, handler)
}

const listen = (): void => {
  process.on("message", (question: Question) => {
    const handler = handlers.get(question.ask)
    if (handler === undefined) return
    const reply = (message: Reply) => process.connected && process.send?.(message)
    Promise.resolve()
      .then(() => handler(question.input as never))
      .then(
        (value) => reply({ id: question.id, answer: value ?? null }),
        (error: unknown) => reply({ id: question.id, error: String(error) })
      )
  })
  process.once("disconnect", () => process.exit(1))
  // The gateway under test must be able to end by itself; whoever needs the channel to stay alive says so.
  process.channel?.unref()
}

/** The side of the channel that asks. */
export class Asker {
  private readonly send: (question: Question) => void
  private readonly waiting = new Map<number, (reply: Reply) => void>()
  private last = 0

  constructor(send: (question: Question) => void) {
    this.send = send
  }

  /** Hands in what came over the channel. */
  receive(reply: Reply): void {
    const settle = this.waiting.get(reply.id)
    this.waiting.delete(reply.id)
    settle?.(reply)
  }

  /** Asks, and fails after `timeout` milliseconds or once the process ended. */
  ask<Out>(name: string, input: unknown, timeout: number): Promise<Out> {
    const id = ++this.last
    return new Promise<Out>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(id)
        reject(new Error(`no answer to ${name} within ${timeout} ms`))
      }, timeout)
      this.waiting.set(id, (reply) => {
        clearTimeout(timer)
        if (reply.error === undefined) resolve(reply.answer as Out)
        else reject(new Error(reply.error))
      })
      this.send({ ask: name, id, input })
    })
  }

  /** Fails everything that still waits. */
  end(reason: string): void {
    for (const [id, settle] of this.waiting) settle({ id, error: reason })
    this.waiting.clear()
  }
}
