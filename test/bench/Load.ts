/**
 * The clients of the benchmark, a process of its own: keep-alive connections on bare sockets, so that the clients cost
 * little beside what they measure.
 */
import { connect, type Socket } from "node:net"
import { performance } from "node:perf_hooks"
import { Answer } from "./Answer.ts"
import { answer } from "./Ask.ts"

/** Whom to call, and with what. */
export interface Call {
  readonly port: number
  readonly path: string
  readonly body: string
  /** How the last event of the answer must begin, if the answer is to be a stream; null for JSON. */
  readonly end: string | null
}

/** Calls made back to back by several clients. */
export interface RunInput extends Call {
  readonly clients: number
  readonly count: number
}

export interface RunOutput {
  /** Bytes of each body; the same for every answer, else the run fails. */
  readonly bytes: number
  /** HTTP chunks per answer. */
  readonly chunks: number
  readonly milliseconds: number
}

/** Calls made one after the other by one client, with a pause after each. */
export interface SampleInput extends Call {
  readonly count: number
  readonly pause: number
}

/** Milliseconds from the request's write to the first byte of the answer, and of its body. */
export interface SampleOutput {
  readonly head: ReadonlyArray<number>
  readonly body: ReadonlyArray<number>
}

/** Milliseconds without a byte after which a call has failed. */
const patience = 10_000
/** Milliseconds for which an unused connection is surely still open; Node's servers close them after five seconds. */
const freshness = 2_000

const requestOf = (call: Call): Buffer =>
  Buffer.from(
    `POST ${call.path} HTTP/1.1\r\nhost: 127.0.0.1:${call.port}\r\ncontent-type: application/json\r\n` +
      `accept: ${call.end !== null ? "text/event-stream" : "application/json"}\r\nauthorization: Bearer bench-client\r\n` +
      `content-length: ${Buffer.byteLength(call.body)}\r\n\r\n${call.body}`
  )

/** One connection, which carries one call at a time. */
class Client {
  private readonly socket: Socket
  private current: { answer: Answer; resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined
  private waitFor: "end" | "begin" = "end"
  firstByte = 0
  firstOfBody = 0
  /** When its last call ended. */
  lastUsed = 0

  constructor(port: number) {
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true })
    this.socket.setTimeout(patience, () => this.fail(new Error("the answer stalled")))
    this.socket.on("error", (error) => this.fail(error))
    this.socket.on("close", () => this.fail(new Error("the connection was closed before the answer's end")))
    this.socket.on("data", (bytes) => this.receive(bytes))
  }

  call(request: Buffer): Promise<Answer> {
    this.firstByte = 0
    this.firstOfBody = 0
    return new Promise((resolve, reject) => {
      this.current = { answer: new Answer(), resolve, reject }
      this.socket.write(request)
    })
  }

  /** Opens a stream and keeps it open once its first bytes have come. */
  async hold(request: Buffer): Promise<void> {
    this.waitFor = "begin"
    const answer = await this.call(request)
    if (answer.status !== 200) throw new Error(`status ${answer.status}`)
    this.socket.setTimeout(0)
  }

  get usable(): boolean {
    return !this.socket.destroyed && performance.now() - this.lastUsed < freshness
  }

  close(): void {
    this.current = undefined
    this.socket.destroy()
  }

  private receive(bytes: Buffer): void {
    const current = this.current
    if (current === undefined) return
    if (this.firstByte === 0) this.firstByte = performance.now()
    try {
      current.answer.push(bytes)
    } catch (error) {
      this.fail(error as Error)
      return
    }
    if (this.firstOfBody === 0 && current.answer.begun) this.firstOfBody = performance.now()
    if (current.answer.done || (this.waitFor === "begin" && current.answer.begun)) {
      this.current = undefined
      this.lastUsed = performance.now()
      current.resolve(current.answer)
    }
  }

  private fail(error: Error): void {
    const current = this.current
    this.current = undefined
    current?.reject(error)
    this.socket.destroy()
  }
}

const check = (answer: Answer, end: string | null): void => {
  if (answer.status !== 200) throw new Error(`status ${answer.status}`)
  if (end !== null && !answer.endsWithEvent(end)) throw new Error(`a stream ended without ${end.trimEnd()}`)
}

/** The connections of the last run to each port. */
const kept = new Map<number, Array<Client>>()

const clientsOf = (port: number, count: number): Array<Client> => {
  const old = kept.get(port) ?? []
  kept.delete(port)
  const usable = old.filter((client) => client.usable).slice(0, count)
  for (const client of old) if (!usable.includes(client)) client.close()
  return [...usable, ...Array.from({ length: count - usable.length }, () => new Client(port))]
}

const run = async (input: RunInput): Promise<RunOutput> => {
  const request = requestOf(input)
  const clients = clientsOf(input.port, input.clients)
  const started = performance.now()
  let left = input.count
  let chunks = 0
  let bytes = -1
  try {
    await Promise.all(
      clients.map(async (client) => {
        while (left > 0) {
          left--
          const answer = await client.call(request)
          check(answer, input.end)
          if (bytes !== -1 && bytes !== answer.bytes) throw new Error(`bodies of ${bytes} and ${answer.bytes} bytes`)
          bytes = answer.bytes
          chunks += answer.chunks
        }
      })
    )
    kept.set(input.port, clients)
    return { bytes, chunks: chunks / input.count, milliseconds: performance.now() - started }
  } catch (error) {
    for (const client of clients) client.close()
    throw error
  }
}

const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

const sample = async (input: SampleInput): Promise<SampleOutput> => {
  const request = requestOf(input)
  const client = new Client(input.port)
  const head: Array<number> = []
  const body: Array<number> = []
  try {
    // The first call pays for the connection and is not counted.
    for (let i = -1; i < input.count; i++) {
      const start = performance.now()
      check(await client.call(request), input.end)
      if (i >= 0) {
        head.push(client.firstByte - start)
        body.push(client.firstOfBody - start)
      }
      await sleep(input.pause)
    }
    return { head, body }
  } finally {
    client.close()
  }
}

const held: Array<Client> = []

const hold = async (input: Call & { readonly count: number }): Promise<void> => {
  const request = requestOf(input)
  let left = input.count
  await Promise.all(
    Array.from({ length: Math.min(32, input.count) }, async () => {
      while (left > 0) {
        left--
        const client = new Client(input.port)
        held.push(client)
        await client.hold(request)
      }
    })
  )
}

answer("run", run)
answer("sample", sample)
answer("hold", hold)
answer("release", () => {
  for (const client of held) client.close()
  held.length = 0
})
process.channel?.ref()
console.log("ready")
