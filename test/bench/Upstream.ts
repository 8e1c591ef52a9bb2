/**
 * The provider of the benchmark, a process of its own: it answers `POST …/chat/completions`, `…/responses` and
 * `…/messages` as `Dialect.ts` says.
 *
 * Between two writes of a stream lies one turn of the event loop, or as many milliseconds as the argument says.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { answer } from "./Ask.ts"
import { type Answering, dialects, idleModel } from "./Dialect.ts"

/** Milliseconds between two writes of a stream; 0 for the next turn of the event loop. */
const pace = Number(process.argv[2] ?? 0)
/** How long a JSON answer takes, in milliseconds. */
const jsonDelay = 2

let silent = 0

const stream = (reply: ServerResponse, { writes, last }: Answering, usageAsked: boolean): void => {
  let next = 0
  const step = () => {
    if (reply.destroyed) return
    if (next < writes.length) {
      reply.write(writes[next++]!)
      // Not at once: this write shall be on the network before the next one is made.
      if (pace > 0) setTimeout(step, pace)
      else setImmediate(step)
    } else reply.end(last(usageAsked))
  }
  setImmediate(step)
}

interface Asked {
  readonly model: string
  readonly stream?: boolean
  readonly stream_options?: { readonly include_usage?: boolean }
}

/** The bodies that came, of which each contender sends few, and what they ask. `null` for what is no JSON. */
const known: Array<{ readonly body: Buffer; readonly asked: Asked | null }> = []

const read = (body: Buffer): Asked | null => {
  const found = known.find((one) => one.body.equals(body))
  if (found !== undefined) return found.asked
  let asked: Asked | null = null
  try {
    asked = JSON.parse(body.toString()) as Asked
  } catch {
    // It is answered with 400.
  }
  known.push({ body, asked })
  return asked
}

const respond = (body: Buffer, reply: ServerResponse, answering: Answering): void => {
  const asked = read(body)
  if (asked === null) {
    reply.writeHead(400).end()
    return
  }
  if (asked.stream !== true) {
    const { json } = answering
    setTimeout(() => {
      reply.writeHead(200, { "content-type": "application/json", "content-length": json.length })
      reply.end(json)
    }, jsonDelay)
    return
  }
  reply.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" })
  reply.flushHeaders()
  if (asked.model === idleModel) {
    silent++
    reply.once("close", () => silent--)
    reply.write(answering.writes[0]!)
  } else stream(reply, answering, asked.stream_options?.include_usage === true)
}

const server = createServer({ keepAliveTimeout: 120_000 }, (request: IncomingMessage, reply) => {
  const parts: Array<Buffer> = []
  request.on("data", (part: Buffer) => parts.push(part))
  request.on("end", () => {
    const dialect = dialects.find(({ path }) => request.url?.endsWith(path))
    if (request.method === "POST" && dialect !== undefined) respond(Buffer.concat(parts), reply, dialect.answering)
    else reply.writeHead(404).end()
  })
})

/** How many silent streams are open. */
answer("silent", () => silent)

server.listen(0, "127.0.0.1", 4096, () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
