import { Cause, Clock, Deferred, Duration, Effect, Latch, Queue, Random, type Scope } from "effect"
import type { McpServerConfig } from "../config/Config.ts"
import { type Arguments, connect, type McpConnection } from "./McpConnection.ts"
import { McpError } from "./McpError.ts"
import { type Mask, maskOf } from "./Secrets.ts"
import { type ToolServer, listed } from "./ToolCatalog.ts"
import { longestName } from "./ToolName.ts"
import { inputSchemaText } from "./ToolSchema.ts"

/** A tool as a server offers it. */
export interface OfferedTool {
  readonly tool: string
  readonly description: string | null
  readonly inputSchema: string
}

/** One MCP server of the config: connected to as long as the scope is open, and called. */
export interface McpServer {
  readonly name: string
  /** Where it is, without credentials: its address without the query, or its program. */
  readonly url: string
  /** What it offers after `allow` and `deny`, by name; what was known last while it is away. */
  readonly tools: () => ReadonlyArray<OfferedTool>
  readonly status: () => ToolServer
  /** Why calls of it fail at the moment; `null` while it is connected. */
  readonly away: () => McpError | null
  /** The result of `tools/call`. Where it is away, it is waited for a little. */
  readonly call: (tool: string, args: Arguments) => Effect.Effect<unknown, McpError>
  /** Hides its credentials in what tools answer. */
  readonly mask: Mask
  /** Waits until the first attempt to connect is over. */
  readonly attempted: Effect.Effect<void>
}

/** The shortest and the longest wait before connecting again, in milliseconds. */
const backoff = { first: 500, longest: 30_000 }
/** How long a session has to last, in milliseconds, for the wait after it to begin anew. */
const steady = 10_000
/** How long to wait after listing tools before listing them again, in milliseconds, however often they change. */
const betweenLists = 1_000
/** How much of what is wrong with a tool is told, in characters. */
const longestProblem = 200
/** How long a call waits for a server that is away, in milliseconds. */
const patience = 5_000

/**
 * What `allow` and `deny` say of a tool. Patterns have to match its whole name; `deny` wins.
 */
export const isOffered = (server: McpServerConfig): ((tool: string) => boolean) => {
  const whole = (patterns: ReadonlyArray<string>) => patterns.map((pattern) => new RegExp(`^(?:${pattern})$`))
  const allow = whole(server.allow)
  const deny = whole(server.deny)
  return (tool) => allow.some((pattern) => pattern.test(tool)) && !deny.some((pattern) => pattern.test(tool))
}

const urlOf = (server: McpServerConfig): string => {
  if (server.url === undefined) return server.command ?? ""
  const { origin, pathname } = new URL(server.url)
  return `${origin}${pathname}`
}

const byName = (a: OfferedTool, b: OfferedTool) => (a.tool < b.tool ? -1 : a.tool > b.tool ? 1 : 0)

/** What a server sent as its tools: those that can be offered, in order, and why others cannot. */
const read = (
  sent: ReadonlyArray<unknown>,
  offered: (tool: string) => boolean,
  mask: Mask
): { readonly tools: ReadonlyArray<OfferedTool>; readonly leftOut: ReadonlyArray<string> } => {
  const tools = new Map<string, OfferedTool>()
  // Hidden before it is cut, so that no beginning of a credential is left; a terminal is not to be told what to do.
  const shown = (text: string, longest: number) =>
    mask
      .inErrors(text)
      .replace(/\p{Cc}/gu, " ")
      .slice(0, longest)
  const leftOut: Array<string> = []
  for (const entry of sent) {
    const { description, inputSchema, name } = (entry ?? {}) as { readonly [key: string]: unknown }
    if (typeof name !== "string" || name === "") leftOut.push("a tool without a name")
    else if (offered(name) && !tools.has(name)) {
      const schema = inputSchemaText(inputSchema)
      if (typeof schema !== "string")
        leftOut.push(`${shown(name, longestName)}: ${shown(schema.problem, longestProblem)}`)
      else {
        const text = typeof description === "string" ? description : null
        tools.set(name, { tool: name, description: text, inputSchema: schema })
      }
    }
  }
  return { tools: [...tools.values()].toSorted(byName), leftOut }
}

const sameTools = (a: ReadonlyArray<OfferedTool>, b: ReadonlyArray<OfferedTool>): boolean =>
  JSON.stringify(a) === JSON.stringify(b)

/**
 * Connects to a server in the background and again whenever it is lost, sooner where a call asks for it.
 *
 * @param onTools what happens when its tools have changed
 */
export const makeServer = Effect.fnUntraced(function* (
  name: string,
  config: McpServerConfig,
  onTools: () => Effect.Effect<void>
): Effect.fn.Return<McpServer, never, Scope.Scope> {
  const offered = isOffered(config)
  const attempted = yield* Deferred.make<void>()
  const connected = Latch.makeUnsafe(false)
  const wanted = yield* Queue.dropping<void>(1)
  let connection: McpConnection | null = null
  let tools: ReadonlyArray<OfferedTool> = []
  let status: ToolServer["status"] = "connecting"
  let error: string | null = null
  let connectedAt = 0
  let leftOut: ReadonlyArray<string> = []
  let mask = maskOf(config, () => [])

  const refresh = Effect.fnUntraced(function* (session: McpConnection) {
    const found = read(yield* session.tools, offered, session.mask)
    const before = listed(leftOut, "; ")
    leftOut = found.leftOut
    const now = listed(leftOut, "; ")
    if (now !== before && now !== "") yield* Effect.logWarning(`tools of the MCP server ${name} are left out: ${now}`)
    if (!sameTools(tools, found.tools)) {
      tools = found.tools
      yield* onTools()
    }
  })

  /** One session, until it is lost. */
  const session: Effect.Effect<never, McpError> = Effect.scoped(
    Effect.gen(function* () {
      // One doubt at a time: asking the server answers all that came before.
      const doubts = yield* Queue.dropping<"doubt">(1)
      const failed = yield* Queue.dropping<void>(1)
      const closed = yield* Deferred.make<never, McpError>()
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          connection = null
          connected.closeUnsafe()
        })
      )
      const opened = yield* connect(config, {
        onDoubt: () => Queue.offerUnsafe(doubts, "doubt"),
        onClosed: () =>
          Deferred.doneUnsafe(
            closed,
            Effect.fail(new McpError({ kind: "lost", detail: "the server closed the connection" }))
          )
      })
      mask = opened.mask
      const watched: McpConnection = {
        ...opened,
        call: (tool, args) =>
          Effect.tapError(opened.call(tool, args), (failure) =>
            failure.kind === "refused"
              ? Effect.void
              : Effect.andThen(Queue.offer(doubts, "doubt"), Queue.offer(failed, undefined))
          )
      }
      yield* refresh(watched)
      const recovered = error !== null
      connection = watched
      connectedAt = yield* Clock.currentTimeMillis
      status = "connected"
      error = null
      connected.openUnsafe()
      yield* Deferred.succeed(attempted, undefined)
      yield* Effect.logInfo(`the MCP server ${name} is ${recovered ? "back" : "connected"}, tools: ${tools.length}`)
      const ask = Effect.andThen(
        Queue.take(doubts),
        refresh(watched).pipe(
          Effect.catchIf(
            (failure) => failure.kind === "refused",
            (failure) => Effect.logWarning(`the MCP server ${name} does not list its tools: ${failure.detail}`)
          )
        )
      )
      // What comes in the meantime is one doubt. Only a call that fails does not wait: the server may be lost.
      const pause = Effect.timeoutOption(Queue.take(failed), betweenLists)
      return yield* Effect.raceFirst(Deferred.await(closed), Effect.forever(Effect.andThen(ask, pause)))
    })
  )

  const run = Effect.gen(function* () {
    let attempts = 0
    while (true) {
      const failure = yield* Effect.flip(session).pipe(
        // A defect of the client must not be the end of all attempts.
        Effect.catchCauseIf(
          (cause) => !Cause.hasInterruptsOnly(cause),
          (cause) =>
            Effect.succeed(new McpError({ kind: "lost", detail: mask.inErrors(Cause.pretty(cause)).split("\n")[0]! }))
        )
      )
      const lost = status === "connected"
      if (lost && (yield* Clock.currentTimeMillis) - connectedAt >= steady) attempts = 0
      const repeated = error === failure.detail
      status = "failed"
      error = failure.detail
      yield* Deferred.succeed(attempted, undefined)
      if (!repeated) {
        yield* Effect.logWarning(`the MCP server ${name} is ${lost ? "lost" : "not connected"}: ${failure.detail}`)
      }
      const longest = Math.min(backoff.longest, backoff.first * 2 ** Math.min(attempts, 10))
      // A session that was lost is tried again at once: a server that was restarted is there.
      const wait = lost && attempts === 0 ? 0 : longest * (0.5 + (yield* Random.next) / 2)
      attempts++
      yield* Effect.timeoutOption(Queue.take(wanted), wait)
    }
  })
  yield* Effect.forkScoped(run)

  const unavailable = () =>
    new McpError({ kind: "lost", detail: error === null ? "it is not connected" : `it is not connected: ${error}` })

  /** The session, or the next one, other than `not`. */
  const current = (not: McpConnection | null): Effect.Effect<McpConnection, McpError> =>
    Effect.suspend(() => {
      if (connection !== null && connection !== not) return Effect.succeed(connection)
      const next = Effect.gen(function* () {
        if (connection === null) yield* Queue.offer(wanted, undefined)
        // The session that was lost may not know it yet.
        while (connection === null || connection === not) {
          yield* connection === null ? connected.await : Effect.sleep(10)
        }
        return connection
      })
      return Effect.timeoutOrElse(next, {
        duration: Duration.millis(patience),
        orElse: () => Effect.fail(unavailable())
      })
    })

  const call = Effect.fnUntraced(function* (tool: string, args: Arguments) {
    const first = yield* current(null)
    return yield* Effect.catchIf(
      first.call(tool, args),
      // The server forgot the session, so it has not done anything yet.
      (failure) => failure.kind === "session",
      (failure) =>
        current(first).pipe(
          Effect.mapError(() => failure),
          Effect.flatMap((next) => next.call(tool, args))
        )
    )
  })

  return {
    name,
    url: urlOf(config),
    tools: () => tools,
    status: () => ({ name, status, tools: tools.length, error, leftOut }),
    away: () => (connection === null ? unavailable() : null),
    call,
    mask: {
      inErrors: (text) => mask.inErrors(text),
      inAnswers: (text) => mask.inAnswers(text),
      longest: mask.longest
    },
    attempted: Deferred.await(attempted)
  }
})
