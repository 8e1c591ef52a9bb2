/**
 * What pooled WebSockets save (`websocket_pool`): a long conversation over the same gateway with and without them, to one
 * upstream that speaks both, on loopback and without TLS. Bytes are those that came out of the upstream's sockets.
 */
import { writeFileSync } from "node:fs"
import { Agent, createServer, request } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { WebSocketServer } from "ws"
import { Child, type Cores } from "./Child.ts"
import type { Gateway } from "./Contender.ts"
import { median, table } from "./Table.ts"

const turns = 20
const historyBytes = 100_000

/** What one way of asking cost, a conversation at a time. */
export interface PoolResult {
  readonly name: string
  /** Bytes to the upstream in one conversation. */
  readonly upload: ReadonlyArray<number>
  /** CPU time of the gateway in one conversation, in milliseconds. */
  readonly cpu: ReadonlyArray<number>
  /** Milliseconds to the first byte of the body, of first turns and of all others. */
  readonly first: ReadonlyArray<number>
  readonly later: ReadonlyArray<number>
}

const said = {
  type: "message",
  id: "msg_1",
  status: "completed",
  role: "assistant",
  content: [{ type: "output_text", text: "An answer of a few words.", annotations: [] }]
}

const events = (id: string) => [
  { type: "response.created", sequence_number: 0, response: { id, status: "in_progress", output: [] } },
  { type: "response.output_text.delta", sequence_number: 1, item_id: "msg_1", output_index: 0, delta: "An answer" },
  { type: "response.output_item.done", sequence_number: 2, output_index: 0, item: said },
  { type: "response.completed", sequence_number: 3, response: { id, status: "completed", output: [said], usage: null } }
]

/** One turn of the event loop: models do not say all in one write. */
const apart = () => new Promise<void>((resolve) => setImmediate(resolve))

/** An upstream that answers at once whatever it is asked, once it has all of the question. */
const startUpstream = async () => {
  let responses = 0
  let closed = 0
  const sockets = new Set<Socket>()
  const server = createServer((incoming, reply) => {
    incoming.resume().once("end", async () => {
      reply.writeHead(200, { "content-type": "text/event-stream" })
      for (const event of events(`resp_${++responses}`)) {
        reply.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
        await apart()
      }
      reply.end()
    })
  })
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.once("close", () => {
      sockets.delete(socket)
      closed += socket.bytesRead
    })
  })
  const acceptor = new WebSocketServer({ server, maxPayload: 2 ** 30 })
  acceptor.on("connection", (webSocket) => {
    webSocket.on("message", async () => {
      for (const event of events(`resp_${++responses}`)) {
        webSocket.send(JSON.stringify(event))
        await apart()
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    port: (server.address() as AddressInfo).port,
    received: () => [...sockets].reduce((sum, socket) => sum + socket.bytesRead, closed),
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    }
  }
}

/** Asks for a stream; answers the milliseconds to its first byte, once it is over. */
const ask = (port: number, agent: Agent, body: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) }
    const begun = performance.now()
    const sent = request({ port, agent, method: "POST", path: "/up/v1/responses", headers }, (reply) => {
      let first = 0
      let text = ""
      reply.setEncoding("utf8").on("data", (chunk: string) => {
        if (first === 0) first = performance.now() - begun
        text += chunk
      })
      reply.once("end", () => {
        if (text.includes("response.completed")) resolve(first)
        else reject(new Error(`the gateway answered ${reply.statusCode}: ${text.slice(0, 200)}`))
      })
    })
    sent.once("error", reject).end(body)
  })

/** Holds one conversation; every turn brings all that was said before, as clients do that let nothing be stored. */
const converse = async (port: number, agent: Agent, seed: number): Promise<ReadonlyArray<number>> => {
  const history = `conversation ${seed}. ${"All that was said and read so far. ".repeat(historyBytes / 35)}`
  const input: Array<object> = [{ role: "user", content: history }]
  const times: Array<number> = []
  for (let turn = 0; turn < turns; turn++) {
    const body = { model: "m", stream: true, store: false, input }
    times.push(await ask(port, agent, JSON.stringify(body)))
    input.push(said, { role: "user", content: `And what of number ${turn}?` })
  }
  return times
}

/** Measures both ways in turn, so that whatever else the machine does meets both. */
export const measurePool = async (options: {
  readonly cores: Cores | null
  readonly directory: string
  readonly gateway: Gateway
  readonly rounds: number
  readonly progress: (text: string) => void
}): Promise<ReadonlyArray<PoolResult>> => {
  const { cores, directory, gateway, progress, rounds } = options
  const upstream = await startUpstream()
  const agent = new Agent({ keepAlive: true })
  const ways = []
  for (const pool of [false, true]) {
    const config = join(directory, `pool-${pool}.yaml`)
    const base = `http://127.0.0.1:${upstream.port}/v1`
    writeFileSync(
      config,
      `recorder: { url: "none:", spool: ${JSON.stringify(join(directory, "spool"))} }\n` +
        `providers: { up: { type: openai, base_url: "${base}", api_key: "bench", websocket_pool: ${pool} } }\n`
    )
    const [command = "", ...args] = gateway.command
    const name = pool ? "pooled WebSockets" : "HTTP"
    const child = await Child.start({
      name,
      command,
      args: [...args, "serve", "--config", config, "--port", "0"],
      core: cores?.gateway,
      ready: /listening on http:\/\/[^:\s]+:(\d+)/
    })
    const result = {
      name,
      upload: [] as Array<number>,
      cpu: [] as Array<number>,
      first: [] as Array<number>,
      later: [] as Array<number>
    }
    ways.push({ child, result })
  }
  // Two conversations of each before anything is measured.
  for (let round = -2; round < rounds; round++) {
    progress(`pool: round ${round + 1} of ${rounds}`)
    for (const { child, result } of ways) {
      const [bytes, cpu] = [upstream.received(), await child.cpu()]
      const [first, ...later] = await converse(child.port, agent, round)
      if (round < 0) continue
      result.upload.push(upstream.received() - bytes)
      result.cpu.push(((await child.cpu()) - cpu) / 1000)
      result.first.push(first!)
      result.later.push(...later)
    }
  }
  agent.destroy()
  for (const { child } of ways) await child.end()
  upstream.close()
  return ways.map(({ result }) => result)
}

export const reportPool = (results: ReadonlyArray<PoolResult>): string => {
  const figures = results.map(({ cpu, first, later, upload }) => [
    median(upload) / 1024,
    median(first),
    median(later),
    median(cpu)
  ])
  const floor = figures[0]!
  const rows = results.map(({ name }, way) => [
    name,
    ...figures[way]!.flatMap((figure, at) => [
      figure.toFixed(at === 0 ? 0 : 2),
      way === 0 ? "" : `${(figure / floor[at]!).toFixed(3)}×`
    ])
  ])
  const title = `A conversation of ${turns} turns with ${historyBytes / 1000} KB of history, medians, and over those of HTTP`
  return `${title}\n\n${table([["", "upload KB", "", "first turn ms", "", "later turns ms", "", "CPU ms", ""], ...rows])}`
}
