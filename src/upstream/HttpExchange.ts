import { Duration, Effect, Scope } from "effect"
import { Agent, type Dispatcher, EnvHttpProxyAgent } from "undici"
import { ChunkQueue } from "./ChunkQueue.ts"
import { Cut, type Exchange, type Exchanger, Malformed, TimedOut, Unreachable, UpstreamError } from "./Exchange.ts"

/** The error an exchange is aborted with when its scope closes; nobody is left to read it. */
const abandoned = new Error("the exchange was abandoned")

/**
 * Exchanges over HTTP/1.1, one pool of connections for all providers. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are
 * honoured, in either case of letters; `NODE_EXTRA_CA_CERTS` is by Node itself.
 *
 * Bodies are fed from the dispatcher's callbacks into the queue: wrapping them as Node or web streams costs more than
 * everything else together (DESIGN §9).
 *
 * @param connect how long connecting may take
 */
export const httpExchange = (options: {
  readonly connect: Duration.Duration
}): Effect.Effect<(provider: string) => Exchanger, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => makeAgent(options.connect)),
      (agent) => Effect.promise(() => agent.destroy(abandoned))
    ),
    (agent) => (provider) => (request) =>
      Effect.flatMap(Effect.scope, (scope) => {
        const handler = new ExchangeHandler(provider)
        return Effect.andThen(
          // `Effect.addFinalizer` would copy all services of the program to hand them to it.
          Scope.addFinalizer(
            scope,
            Effect.sync(() => handler.abandon())
          ),
          Effect.callback<Exchange, UpstreamError>((resume) => {
            handler.resume = resume
            request.giveUp?.onGiveUp((error) => handler.giveUp(error))
            agent.dispatch(
              {
                origin: request.origin,
                path: request.target,
                method: request.method as Dispatcher.HttpMethod,
                headers: request.headers,
                body: request.body
              },
              handler
            )
          })
        )
      })
  )

/** The largest head of an answer, in bytes: providers send long rate limit and trace headers. */
const maxHeaderSize = 65_536

const makeAgent = (connect: Duration.Duration): Dispatcher => {
  // Silence is timed by Sluice itself, which knows when it paused an upstream. HTTP/2 would put all streams of a
  // provider on one connection, whose loss ends them all.
  const options: Agent.Options = {
    connect: { timeout: Duration.toMillis(connect) },
    headersTimeout: 0,
    bodyTimeout: 0,
    allowH2: false,
    maxHeaderSize
  }
  const proxied = ["https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"].some(
    (name) => (process.env[name] ?? "") !== ""
  )
  return proxied ? new EnvHttpProxyAgent(options) : new Agent(options)
}

/** Turns the dispatcher's callbacks into a head and a queue. */
class ExchangeHandler implements Dispatcher.DispatchHandler {
  private readonly provider: string
  resume: (exchange: Effect.Effect<Exchange, UpstreamError>) => void = () => {}
  private controller: Dispatcher.DispatchController | undefined
  private queue: ChunkQueue<UpstreamError> | undefined
  private over = false

  constructor(provider: string) {
    this.provider = provider
  }

  /** Nobody waits any more: closes the connection, which cannot be used again with an answer half read. */
  abandon(): void {
    if (this.over) return
    this.over = true
    this.controller?.abort(abandoned)
  }

  /** Whoever waits for the head is told that it does not come. */
  giveUp(error: UpstreamError): void {
    if (this.over || this.queue !== undefined) return
    this.abandon()
    this.resume(Effect.fail(error))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.over) controller.abort(abandoned)
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: { [name: string]: string | Array<string> | undefined }
  ): void {
    if (status < 200 || this.over) return
    const queue = new ChunkQueue<UpstreamError>()
    this.queue = queue
    queue.connect(controller)
    this.resume(Effect.succeed({ status, headers, body: queue }))
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.queue?.offer(chunk)
  }

  onResponseEnd(): void {
    this.over = true
    this.queue?.end()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.over) return
    this.over = true
    const provider = this.provider
    if (this.queue !== undefined) {
      this.queue.fail(new UpstreamError({ provider, reason: new Cut({ detail: describe(error) }) }))
      return
    }
    const reason = this.reasonOf(error)
    this.resume(Effect.fail(new UpstreamError({ provider, reason })))
  }

  /** Why no head came. Behind the start of the request the provider has got it, or a part of it. */
  private reasonOf(error: Error): UpstreamError["reason"] {
    const { code } = error as NodeJS.ErrnoException
    if (code === "UND_ERR_CONNECT_TIMEOUT") return new TimedOut({ limit: "connect" })
    const detail = describe(error)
    if (code === "UND_ERR_HEADERS_OVERFLOW" || isUnreadable(error)) return new Malformed({ detail })
    return this.controller === undefined ? new Unreachable({ detail }) : new Unreachable({ detail, sent: true })
  }
}

/**
 * Whether an answer came that is no HTTP. The parser's errors have a name only; a `100 Continue` that nobody expected
 * (RFC 9110, section 10.1.1) closes the socket with no more than a message.
 */
const isUnreadable = ({ message, name }: Error): boolean =>
  name === "HTTPParserError" || (name === "SocketError" && message === "bad response")

/** What a socket error says, its code first: that is what people search for. */
export const describe = (error: Error): string => {
  const code = (error as NodeJS.ErrnoException).code
  // A host with several addresses fails with one error for each.
  const inner = error instanceof AggregateError ? (error.errors[0] as Error | undefined) : undefined
  const message = error.message !== "" ? error.message : (inner?.message ?? error.name)
  return code === undefined || message.includes(code) ? message : `${code}: ${message}`
}
