/**
 * The floor: the least that a proxy on this runtime can do. Request in, `http.request` with a keep-alive agent,
 * `response.pipe(reply)`, no parsing. Its one argument is the upstream's port.
 */
import { Agent, createServer, request } from "node:http"
import type { AddressInfo } from "node:net"

const port = Number(process.argv[2])
const agent = new Agent({ keepAlive: true })

const server = createServer((incoming, reply) => {
  const outgoing = request(
    { host: "127.0.0.1", port, agent, method: incoming.method, path: incoming.url, headers: incoming.headers },
    (response) => {
      reply.writeHead(response.statusCode ?? 502, response.headers)
      response.pipe(reply)
    }
  )
  outgoing.on("error", () => reply.destroy())
  reply.on("close", () => {
    if (!reply.writableFinished) outgoing.destroy()
  })
  incoming.pipe(outgoing)
})

server.listen(0, "127.0.0.1", 4096, () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
