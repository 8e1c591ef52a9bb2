import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse
} from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { Effect, type Scope } from "effect"

/** What a tool of a scripted MCP server may do with a call. */
export interface Reply {
  readonly result: (result: unknown) => void
  readonly error: (code: number, message: string) => void
  /** An HTTP error in the place of an answer. */
  readonly status: (status: number, body: string) => void
  /** Writes so many bytes as they are, a megabyte after the other, until nobody reads them any more. */
  readonly flood: (type: string, head: string, piece: string, bytes: number) => void
  /** Ends the stream without an answer. */
  readonly end: () => void
  /** Resets the connection. */
  readonly cut: () => void
}

export interface ReceivedMessage {
  readonly method: string
  readonly params: { readonly [key: string]: unknown }
  readonly headers: IncomingHttpHeaders
  readonly id: unknown
}

interface ServerTool {
  readonly name: string
  readonly description?: string
  readonly inputSchema?: unknown
}

/** A streamable HTTP MCP server in this process that does what real ones should not. */
export class McpServer {
  tools: ReadonlyArray<ServerTool> = [{ name: "echo", inputSchema: { type: "object" } }]
  /** How many tools a page of the list has. */
  pageSize = 100
  /** Whether the list never ends, with the same page again and again. */
  endless = false
  /** Whether answers are plain JSON and not streams. */
  json = false
  /** Whether it speaks 2026-07-28, which has no sessions, and nothing older. */
  modern = false
  /** What every request is refused with. */
  refuse: { readonly status: number; readonly body: string } | null = null
  /** The bearer token that every request needs, and the authorization server that gives it out. */
  bearer: { readonly token: string; readonly issuer: string } | null = null
  onCall: (reply: Reply, call: { readonly name: string; readonly arguments: unknown }) => void = (reply, call) =>
    reply.result({ content: [{ type: "text", text: JSON.stringify(call.arguments) }] })
  readonly received: Array<ReceivedMessage> = []
  /** Calls whose connection was closed before they were answered. */
  abandoned = 0
  /** How many bytes `Reply.flood` has written. */
  flooded = 0
  /** Requests other than POST, by method. */
  readonly others: Array<string> = []
  port = 0

  private server: Server | undefined
  private readonly sockets = new Set<Socket>()
  private readonly streams = new Set<ServerResponse>()
  private sessions = new Set<string>()
  private sessionCount = 0

  get url(): string {
    return `http://127.0.0.1:${this.port}/mcp`
  }

  count(method: string): number {
    return this.received.filter((message) => message.method === method).length
  }

  start(): Promise<void> {
    const server = createServer((request, response) => this.answer(request, response))
    server.on("connection", (socket) => {
      this.sockets.add(socket)
      socket.on("close", () => this.sockets.delete(socket))
    })
    this.server = server
    return new Promise((resolve) => {
      server.listen(this.port, "127.0.0.1", () => {
        this.port = (server.address() as AddressInfo).port
        resolve()
      })
    })
  }

  /** Dies: nothing is answered, connections are reset, sessions are forgotten. */
  stop(): Promise<void> {
    this.sessions.clear()
    for (const socket of this.sockets) socket.resetAndDestroy()
    this.streams.clear()
    return new Promise((resolve) => this.server?.close(() => resolve()))
  }

  /** Forgets its sessions, as one does that was replaced behind a load balancer. */
  forget(): void {
    this.sessions.clear()
  }

  openConnections(): number {
    return this.sockets.size
  }

  notify(method: string): void {
    for (const stream of this.streams) stream.write(`data: ${JSON.stringify({ jsonrpc: "2.0", method })}\n\n`)
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    if (this.refuse !== null) {
      response.writeHead(this.refuse.status).end(this.refuse.body)
      return
    }
    const { bearer } = this
    if (bearer !== null && request.url?.startsWith("/.well-known/oauth-protected-resource")) {
      const metadata = { resource: this.url, authorization_servers: [bearer.issuer] }
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(metadata))
      return
    }
    if (bearer !== null && request.headers.authorization !== `Bearer ${bearer.token}`) {
      const metadata = new URL("/.well-known/oauth-protected-resource/mcp", this.url)
      response.writeHead(401, { "www-authenticate": `Bearer resource_metadata="${metadata}"` }).end()
      return
    }
    if (request.method !== "POST") {
      this.others.push(request.method ?? "")
      if (request.method === "GET") {
        response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders()
        this.streams.add(response)
        response.on("close", () => this.streams.delete(response))
      } else response.writeHead(200).end()
      return
    }
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => this.handle(JSON.parse(Buffer.concat(chunks).toString()), request.headers, response))
  }

  private handle(message: ReceivedMessage, headers: IncomingHttpHeaders, response: ServerResponse): void {
    const { id, method, params = {} } = message
    this.received.push({ method, params, headers, id })
    const send = (answer: object, extra: { readonly [name: string]: string } = {}) => {
      const text = JSON.stringify({ jsonrpc: "2.0", id, ...answer })
      if (response.headersSent) response.end(`data: ${text}\n\n`)
      else if (this.json) response.writeHead(200, { "content-type": "application/json", ...extra }).end(text)
      else response.writeHead(200, { "content-type": "text/event-stream", ...extra }).end(`data: ${text}\n\n`)
    }
    if (method === "initialize" && !this.modern) {
      const session = `session-${++this.sessionCount}`
      this.sessions.add(session)
      const result = {
        protocolVersion: params["protocolVersion"],
        capabilities: { tools: { listChanged: true } },
        serverInfo: { name: "scripted", version: "1" }
      }
      send({ result }, { "mcp-session-id": session })
    } else if (method === "server/discover" && this.modern) {
      const capabilities = { tools: {} }
      send({
        result: {
          resultType: "complete",
          supportedVersions: ["2026-07-28"],
          capabilities,
          ttlMs: 0,
          cacheScope: "private"
        }
      })
    } else if (method === "server/discover") {
      response.writeHead(400).end("not known")
    } else if (!this.modern && !this.sessions.has(String(headers["mcp-session-id"]))) {
      response.writeHead(404).end("no such session")
    } else if (id === undefined) {
      response.writeHead(202).end()
    } else if (method === "tools/list") {
      const start = Number(params["cursor"] ?? 0)
      const end = start + this.pageSize
      const next = end < this.tools.length || this.endless ? { nextCursor: String(end) } : {}
      const modern = this.modern ? { resultType: "complete", ttlMs: 0, cacheScope: "private" } : {}
      send({ result: { ...modern, tools: this.endless ? this.tools : this.tools.slice(start, end), ...next } })
    } else if (method === "tools/call") {
      response.on("close", () => {
        if (!response.writableEnded) this.abandoned++
      })
      this.onCall(
        {
          result: (result) => send({ result }),
          error: (code, text) => send({ error: { code, message: text } }),
          status: (status, body) => response.writeHead(status).end(body),
          flood: (type, head, piece, bytes) => {
            response.writeHead(200, { "content-type": type }).write(head)
            const megabyte = piece.repeat(Math.ceil(1_000_000 / piece.length))
            const write = () => {
              this.flooded += megabyte.length
              if (response.destroyed || this.flooded > bytes) response.end()
              else if (response.write(megabyte)) setImmediate(write)
              else response.once("drain", write)
            }
            write()
          },
          end: () => {
            if (!response.headersSent) response.writeHead(200, { "content-type": "text/event-stream" })
            response.end()
          },
          cut: () => {
            response.writeHead(200, { "content-type": "text/event-stream" }).write(": soon\n\n")
            setImmediate(() => response.socket?.resetAndDestroy())
          }
        },
        params as { readonly name: string; readonly arguments: unknown }
      )
    } else send({ error: { code: -32_601, message: "method not found" } })
  }
}

/** Runs a scripted MCP server until the scope closes. */
export const mcpServer: Effect.Effect<McpServer, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = new McpServer()
    await server.start()
    return server
  }),
  (server) => Effect.promise(() => server.stop())
)
