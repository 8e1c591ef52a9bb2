import { StringDecoder } from "node:string_decoder"
import {
  ClientCredentialsProvider,
  type FetchLike,
  type JSONRPCMessage,
  StreamableHTTPClientTransport,
  type StreamableHTTPClientTransportOptions
} from "@modelcontextprotocol/client"
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio"
import { Redacted } from "effect"
import type { McpServerConfig } from "../config/Config.ts"
import { longestMessage } from "./McpFetch.ts"
import { maskOf } from "./Secrets.ts"

/** How much of a program's standard error is kept, in characters: it says why it ended. */
const keptStandardError = 2_000

/** What JSON-RPC leaves to implementations (specification §5.1). */
const connectionLost = -32_000

type SendOptions = NonNullable<Parameters<StreamableHTTPClientTransport["send"]>[1]>

/**
 * Streamable HTTP, with two things that the client leaves open: a request whose stream ends without an answer fails
 * at once instead of waiting for its timeout, and the stream of one that was cancelled is closed.
 */
export class HttpTransport extends StreamableHTTPClientTransport {
  private readonly pending = new Map<string | number, AbortController>()

  constructor(url: URL, options: StreamableHTTPClientTransportOptions) {
    super(url, options)
    // The client calls this before its own handler.
    this.onmessage = (message) => {
      if (!("method" in message) && message.id !== undefined) this.pending.delete(message.id)
    }
  }

  override send(message: JSONRPCMessage, options?: SendOptions): Promise<void> {
    if (!("method" in message)) return super.send(message, options)
    if (!("id" in message)) {
      const cancelled = message.method === "notifications/cancelled" ? message.params?.["requestId"] : undefined
      const sent = super.send(message, options)
      if (typeof cancelled !== "string" && typeof cancelled !== "number") return sent
      return sent.finally(() => this.abandon(cancelled))
    }
    const { id } = message
    const abort = new AbortController()
    this.pending.set(id, abort)
    const given = options?.requestSignal
    return super.send(message, {
      ...options,
      requestSignal: given === undefined ? abort.signal : AbortSignal.any([given, abort.signal]),
      onRequestStreamEnd: () => {
        options?.onRequestStreamEnd?.()
        if (!this.pending.delete(id)) return
        const error = { code: connectionLost, message: "the connection ended before the answer" }
        this.onmessage?.({ jsonrpc: "2.0", id, error })
      }
    })
  }

  private abandon(id: string | number): void {
    const abort = this.pending.get(id)
    this.pending.delete(id)
    abort?.abort()
  }
}

/** A way to one server, and what is known of it besides its messages. */
export interface McpTransport {
  readonly transport: HttpTransport | StdioClientTransport
  /** Credentials that were given out for it since it was opened. */
  readonly issued: () => ReadonlyArray<string>
  /** What its program wrote to standard error last. */
  readonly standardError: () => string
}

const nothing = () => ""
const none = () => []

const overHttp = (server: McpServerConfig, url: string, fetch: FetchLike): McpTransport => {
  const headers = Object.fromEntries(
    Object.entries(server.headers).map(([name, value]) => [name, Redacted.value(value)])
  )
  const { oauth } = server
  const provider =
    oauth === undefined
      ? undefined
      : new ClientCredentialsProvider({
          clientId: oauth.client_id,
          clientSecret: Redacted.value(oauth.client_secret),
          clientName: "sluice",
          ...(oauth.scope === undefined ? {} : { scope: oauth.scope }),
          ...(oauth.issuer === undefined ? {} : { expectedIssuer: oauth.issuer })
        })
  const transport = new HttpTransport(new URL(url), {
    requestInit: { headers },
    fetch,
    // A server that is gone is found out by asking it, not by counting.
    reconnectionOptions: {
      initialReconnectionDelay: 500,
      maxReconnectionDelay: 30_000,
      reconnectionDelayGrowFactor: 2,
      maxRetries: Number.POSITIVE_INFINITY
    },
    // A client that authenticates as itself gets no more by asking again.
    onInsufficientScope: "throw",
    ...(provider === undefined ? {} : { authProvider: provider })
  })
  const issued = () => {
    const token = provider?.tokens()?.access_token
    return token === undefined ? [] : [token]
  }
  return { transport, issued, standardError: nothing }
}

/** What a program needs of Sluice's environment to reach a network, besides what the client library hands on to run it. */
const networkVariables = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"].flatMap(
  (name) => [name, name.toLowerCase()]
)

const networkOf = (environment: NodeJS.ProcessEnv): { [name: string]: string } =>
  Object.fromEntries(
    networkVariables.flatMap((name) => {
      const value = environment[name]
      return value === undefined ? [] : [[name, value]]
    })
  )

const overStdio = (server: McpServerConfig, command: string): McpTransport => {
  const transport = new StdioClientTransport({
    command,
    args: [...server.args],
    env: {
      ...networkOf(process.env),
      ...Object.fromEntries(Object.entries(server.env).map(([name, value]) => [name, Redacted.value(value)]))
    },
    stderr: "pipe",
    maxBufferSize: longestMessage
  })
  const { inErrors, longest } = maskOf(server, none)
  let said = ""
  const decoder = new StringDecoder("utf8")
  transport.stderr?.on("data", (chunk: Buffer) => {
    // What is cut off must not be the beginning of a credential, whose end would not be known for what it is.
    said = inErrors(said + decoder.write(chunk)).slice(-keptStandardError - longest)
  })
  return { transport, issued: none, standardError: () => said }
}

/** Makes the transport of a server of the config; it is opened by the client. */
export const makeTransport = (server: McpServerConfig, fetch: FetchLike): McpTransport =>
  server.url === undefined ? overStdio(server, server.command ?? "") : overHttp(server, server.url, fetch)

/** How long a server may take to hear that a session is over, in milliseconds. */
const farewell = 1_000
/** When a program whose input was closed is told to end, and when it is ended, in milliseconds. */
const ends = [
  [500, "SIGTERM"],
  [1_500, "SIGKILL"]
] as const

/** Tells an HTTP server that a session is over, so that it can forget it; it is not waited for much longer. */
export const leave = (transport: HttpTransport): Promise<void> => {
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, farewell)
  return Promise.race([transport.terminateSession(), late]).finally(() => clearTimeout(timer))
}

/** Closes a transport; a program has ended then, by itself or not. */
export const close = (transport: McpTransport["transport"]): Promise<void> => {
  const pid = transport instanceof StdioClientTransport ? transport.pid : null
  if (pid === null) return transport.close()
  // The client would wait for longer, which is time that stopping Sluice takes.
  const timers = ends.map(([after, signal]) =>
    setTimeout(() => {
      try {
        process.kill(pid, signal)
      } catch {
        // It has ended.
      }
    }, after)
  )
  return transport.close().finally(() => {
    for (const timer of timers) clearTimeout(timer)
  })
}
