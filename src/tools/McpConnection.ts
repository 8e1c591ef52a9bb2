import { readFileSync } from "node:fs"
import { Client, ProtocolError, SdkError, SdkErrorCode, SdkHttpError, type Tool } from "@modelcontextprotocol/client"
import { Effect, Exit, type Scope } from "effect"
import type { McpServerConfig } from "../config/Config.ts"
import { McpError } from "./McpError.ts"
import { makeFetch, TooLargeError } from "./McpFetch.ts"
import { close, HttpTransport, leave, makeTransport } from "./McpTransports.ts"
import { type Mask, maskOf } from "./Secrets.ts"

/** A session with one MCP server. */
export interface McpConnection {
  /** All its tools as the server sent them, over all pages. */
  readonly tools: Effect.Effect<ReadonlyArray<unknown>, McpError>
  /** The result of `tools/call`, whatever it says. Interrupting it cancels the call at the server. */
  readonly call: (tool: string, args: Arguments) => Effect.Effect<unknown, McpError>
  readonly mask: Mask
}

/** The arguments of a tool call. */
export type Arguments = { readonly [name: string]: unknown }

/** What a session tells of itself. */
export interface Listener {
  /**
   * The tools may have changed, or something went wrong and the server should be asked whether it is still there. As
   * often as the server likes.
   */
  readonly onDoubt: () => void
  /** The session is over. */
  readonly onClosed: () => void
}

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly version: string
}

/** How long the greeting may take, in milliseconds. A program may have to be installed first (`npx`). */
const greeting = { url: 15_000, command: 120_000 }
/** How long listing a page of tools may take, in milliseconds. */
const listing = 15_000
/** Longer than any call may take: its time is kept by whoever makes it. */
const noTimeout = 2_147_483_647

/** How long listing all of them may take, in milliseconds. */
const listingAll = 60_000
/** Where listing ends, whatever more there is: a server may page for ever. */
const maxPages = 100
const maxTools = 5_000

/** Results are taken as they came: what is not known to this client may be known to the model. */
const asItIs = {
  "~standard": { version: 1, vendor: "sluice", validate: (value: unknown) => ({ value }) }
} as const

const longestDetail = 300

const shortened = (text: string): string => {
  const line = text.replace(/\s+/g, " ").trim()
  return line.length > longestDetail ? `${line.slice(0, longestDetail - 1)}…` : line
}

/** What the client library puts before what went wrong while it finds out which protocol a server speaks. */
const probing = /^Version negotiation (?:probe )?failed: /
/** What `fetch` says whatever went wrong; the cause says what. */
const fetchFailed = "fetch failed"

/** What an error says, and what it is caused by: `fetch failed` alone helps nobody. */
const describe = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const { code } = error as NodeJS.ErrnoException
  const coded = typeof code === "string" && /^E[A-Z]+$/.test(code) && !error.message.includes(code)
  const message = error.message.replace(probing, "")
  const own = coded ? `${code}: ${message}` : message
  // A host with several addresses fails with one error for each.
  const cause = error instanceof AggregateError ? error.errors[0] : error.cause
  const why = cause === undefined ? "" : describe(cause)
  // Some errors repeat their cause.
  const repeated = cause instanceof Error && cause.message !== "" && own.endsWith(cause.message)
  if (why === "") return own
  if (own === fetchFailed) return why
  return repeated ? `${own.slice(0, -cause.message.length)}${why}` : `${own}: ${why}`
}

/** A program that the operating system does not find. */
const isMissingProgram = (error: unknown): boolean => {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException
  return code === "ENOENT" && syscall?.startsWith("spawn") === true
}

/** Why a session could not be opened. */
const notOpened = (server: McpServerConfig, error: unknown): string => {
  const { command } = server
  if (error instanceof Error && error.message.replace(probing, "") === fetchFailed) {
    return `could not be reached: ${describe(error)}`
  }
  if (command === undefined || !isMissingProgram(error)) return describe(error)
  // A whole command line may hold credentials, which only `args` are searched for.
  return /\s/.test(command)
    ? "there is no such program (ENOENT): what follows its name in command belongs in args"
    : `there is no program ${command} (ENOENT)`
}

const kindOf = (error: unknown): McpError["kind"] => {
  if (error instanceof TooLargeError) return "refused"
  if (error instanceof ProtocolError) return error.code === -32_000 ? "lost" : "refused"
  if (error instanceof SdkHttpError) {
    const gone = error.status === 404 || (error.status === 400 && /session/i.test(error.message))
    return gone ? "session" : "refused"
  }
  if (error instanceof SdkError) {
    return error.code === SdkErrorCode.ConnectionClosed || error.code === SdkErrorCode.NotConnected ? "lost" : "refused"
  }
  return "lost"
}

const isObject = (value: unknown): value is { readonly [key: string]: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const isDefinition = (value: unknown): value is Tool =>
  isObject(value) && typeof value["name"] === "string" && isObject(value["inputSchema"])

/**
 * Opens a session with a server; it ends with the scope, a program with it: its input is closed, and if that does not
 * end it, it gets SIGTERM and then SIGKILL.
 */
export const connect = Effect.fnUntraced(function* (
  server: McpServerConfig,
  listener: Listener
): Effect.fn.Return<McpConnection, McpError, Scope.Scope> {
  const http = yield* Effect.acquireRelease(Effect.sync(makeFetch), ({ close }) => Effect.promise(() => close()))
  const { issued, standardError, transport } = makeTransport(server, http.fetch)
  const mask = maskOf(server, issued)
  const errorBy = (describing: (error: unknown) => string) => (error: unknown) =>
    new McpError({ kind: kindOf(error), detail: shortened(mask.inErrors(describing(error))) })
  const errorOf = errorBy(describe)

  const client = new Client(
    { name: "sluice", version },
    {
      // A program is not started twice to find out what it speaks: those of today all know the older greeting.
      versionNegotiation: { mode: server.url === undefined ? "legacy" : "auto" },
      listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged: () => listener.onDoubt() } }
    }
  )
  let greeted = false
  transport.onerror = () => {
    // Finding out which protocol the server speaks has errors of its own.
    if (greeted) listener.onDoubt()
  }
  client.onclose = () => listener.onClosed()

  yield* Effect.addFinalizer((exit) => {
    // A server that is lost is not told anything.
    const goodbye =
      transport instanceof HttpTransport && !Exit.hasFails(exit)
        ? Effect.ignore(Effect.tryPromise(() => leave(transport)))
        : Effect.void
    return Effect.andThen(goodbye, Effect.ignore(Effect.tryPromise(() => close(transport))))
  })

  const timeout = server.url === undefined ? greeting.command : greeting.url
  yield* Effect.tryPromise({
    try: (signal) => client.connect(transport, { timeout, signal }),
    catch: errorBy((error) => notOpened(server, error))
  }).pipe(
    Effect.timeoutOrElse({
      duration: timeout,
      orElse: () => Effect.fail(new McpError({ kind: "lost", detail: `no greeting within ${timeout / 1000} seconds` }))
    }),
    Effect.mapError((error) => {
      const said = shortened(mask.inErrors(standardError()))
      return said === "" ? error : new McpError({ kind: error.kind, detail: `${error.detail}: ${said}` })
    })
  )

  greeted = true

  const page = (cursor: string | undefined) =>
    Effect.tryPromise({
      try: (signal) =>
        client.request({ method: "tools/list", ...(cursor === undefined ? {} : { params: { cursor } }) }, asItIs, {
          signal,
          timeout: listing
        }),
      catch: errorOf
    })

  // Since 2026-07-28 a server may want arguments repeated in headers, which the client reads from a tool's definition.
  let definitions = new Map<string, Tool>()

  const tools = Effect.gen(function* () {
    if (client.getServerCapabilities()?.tools === undefined) return []
    const found: Array<unknown> = []
    const seen = new Set<string>()
    let cursor: string | undefined
    do {
      const result = yield* page(cursor)
      if (isObject(result) && Array.isArray(result["tools"])) found.push(...result["tools"].slice(0, maxTools))
      const next = isObject(result) ? result["nextCursor"] : undefined
      cursor = typeof next === "string" && !seen.has(next) ? next : undefined
      if (cursor !== undefined) seen.add(cursor)
    } while (cursor !== undefined && seen.size < maxPages && found.length < maxTools)
    found.length = Math.min(found.length, maxTools)
    definitions = new Map(found.filter(isDefinition).map(({ inputSchema, name }) => [name, { name, inputSchema }]))
    return found
  }).pipe(
    Effect.timeoutOrElse({
      duration: listingAll,
      orElse: () =>
        Effect.fail(new McpError({ kind: "refused", detail: `no list of tools within ${listingAll / 1000} seconds` }))
    })
  )

  const call = (tool: string, args: Arguments) =>
    Effect.tryPromise({
      try: (signal): Promise<unknown> => {
        const params = { name: tool, arguments: args }
        const options = { signal, timeout: noTimeout }
        const definition = definitions.get(tool)
        return client.getProtocolEra() === "modern"
          ? client.callTool(params, definition === undefined ? options : { ...options, toolDefinition: definition })
          : client.request({ method: "tools/call", params }, asItIs, options)
      },
      catch: errorOf
    })

  return { tools, call, mask }
})
