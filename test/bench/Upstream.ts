/**
 * The provider of the benchmark, a process of its own: `POST …/chat/completions` as OpenAI would answer it.
 *
 * A stream is 100 chat chunks of about 170 bytes, four to a network write, then usage if it was asked for, then
 * `[DONE]`. Between two writes lies one turn of the event loop, or as many milliseconds as the argument says. The model `idle` sends its first write and is then silent until its client leaves.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { answer } from "./Ask.ts"

const chunksPerStream = 100
const chunksPerWrite = 4
/** Milliseconds between two writes of a stream; 0 for the next turn of the event loop. */
const pace = Number(process.argv[2] ?? 0)
/** How long a JSON answer takes, in milliseconds. */
const jsonDelay = 2

const head = { id: "chatcmpl-bench0001", object: "chat.completion.chunk", created: 1767225600, model: "bench" }
const event = (value: object) => `data: ${JSON.stringify(value)}\n\n`

const chunk = (index: number): string => {
  const last = index === chunksPerStream - 1
  const delta = last ? {} : index === 0 ? { role: "assistant", content: "" } : { content: ` word${index}` }
  return event({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason: last ? "stop" : null }] })
}

const usage = { prompt_tokens: 42, completion_tokens: 98, total_tokens: 140 }
const writes: Array<Buffer> = []
for (let first = 0; first < chunksPerStream; first += chunksPerWrite) {
  writes.push(Buffer.from(Array.from({ length: chunksPerWrite }, (_, i) => chunk(first + i)).join("")))
}
const usageAndDone = Buffer.from(`${event({ ...head, choices: [], usage })}data: [DONE]\n\n`)
const onlyDone = Buffer.from("data: [DONE]\n\n")
const jsonBody = Buffer.from(
  JSON.stringify({
    ...head,
    object: "chat.completion",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: "A sentence of an answer. ".repeat(68) },
        logprobs: null,
        finish_reason: "stop"
      }
    ],
    usage
  })
)

let silent = 0

const stream = (reply: ServerResponse, withUsage: boolean): void => {
  let next = 0
  const step = () => {
    if (reply.destroyed) return
    if (next < writes.length) {
      reply.write(writes[next++]!)
      // Not at once: this write shall be on the network before the next one is made.
      if (pace > 0) setTimeout(step, pace)
      else setImmediate(step)
    } else reply.end(withUsage ? usageAndDone : onlyDone)
  }
  setImmediate(step)
}

interface Asked {
  readonly model: string
  readonly stream?: boolean
  readonly stream_options?: { readonly include_usage?: boolean }
}

const read = (body: Buffer): Asked | null => {
  try {
    return JSON.parse(body.toString()) as Asked
  } catch {
    return null
  }
}

const respond = (body: Buffer, reply: ServerResponse): void => {
  const asked = read(body)
  if (asked === null) {
    reply.writeHead(400).end()
    return
  }
  if (asked.stream !== true) {
    setTimeout(() => {
      reply.writeHead(200, { "content-type": "application/json", "content-length": jsonBody.length })
      reply.end(jsonBody)
    }, jsonDelay)
    return
  }
  reply.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" })
  reply.flushHeaders()
  if (asked.model === "idle") {
    silent++
    reply.once("close", () => silent--)
    reply.write(writes[0]!)
  } else stream(reply, asked.stream_options?.include_usage === true)
}

const server = createServer({ keepAliveTimeout: 120_000 }, (request: IncomingMessage, reply) => {
  const parts: Array<Buffer> = []
  request.on("data", (part: Buffer) => parts.push(part))
  request.on("end", () => {
    if (request.method === "POST" && request.url?.endsWith("/chat/completions")) respond(Buffer.concat(parts), reply)
    else reply.writeHead(404).end()
  })
})

/** How many silent streams are open. */
answer("silent", () => silent)

server.listen(0, "127.0.0.1", 4096, () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
