/**
 * An upstream in a process of its own, for tests that kill it: it speaks Responses over WebSockets and by HTTP, says its
 * port, and begins answers that it never ends.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { WebSocketServer } from "ws"

const begun = [
  { type: "response.created", sequence_number: 0, response: { id: "resp_1", status: "in_progress", output: [] } },
  {
    type: "response.output_text.delta",
    sequence_number: 1,
    item_id: "m",
    output_index: 0,
    content_index: 0,
    delta: "Hel"
  }
].map((event) => JSON.stringify(event))

const server = createServer((_request, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" })
  for (const event of begun) response.write(`data: ${event}\n\n`)
})
new WebSocketServer({ server }).on("connection", (socket) => {
  socket.on("message", () => {
    for (const event of begun) socket.send(event)
  })
})
server.listen(0, "127.0.0.1", () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))
