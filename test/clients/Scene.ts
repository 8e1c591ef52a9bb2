import { mkdirSync } from "node:fs"
import { createServer } from "node:http"
import { dirname, join } from "node:path"
import { Effect, Schedule, type Scope } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import type { InterceptionDetail } from "../../src/recorder/Records.ts"
import { Gateway, type NotListening, temporaryDirectory } from "../support/Gateway.ts"
import { listen } from "../support/LocalServer.ts"
import { type RawTurn, type ServedRequest, UpstreamServer } from "../support/UpstreamServer.ts"
import { run, type RunResult } from "./Client.ts"
import { type Asked, dialectOf, elsewhere, read } from "./Model.ts"

/** What the model answers, by the request and its number among those of the model, from 0. */
export type ModelScript = (asked: Asked, turn: number) => RawTurn

/** An upstream that imitates the APIs: the script's answers, counts of tokens, and 404. */
export const makeUpstream = (script: ModelScript) => {
  let turns = 0
  return UpstreamServer.make((request) => {
    const dialect = dialectOf(request)
    return dialect === undefined ? elsewhere(request) : script(read(dialect, request), turns++)
  })
}

/** The calls of the model among the requests that an upstream got. */
export const callsOf = (upstream: UpstreamServer): ReadonlyArray<ServedRequest> =>
  upstream.requests.filter((request) => dialectOf(request) !== undefined)

/** A proxy that lets nothing through: whatever does not go to the loopback ends here, and is named. */
const trap: Effect.Effect<{ readonly url: string; readonly wanted: ReadonlyArray<string> }, never, Scope.Scope> =
  Effect.gen(function* () {
    const wanted: Array<string> = []
    const server = createServer((request, response) => {
      wanted.push(request.url ?? "")
      response.writeHead(403).end()
    })
    server.on("connect", (request, socket) => {
      wanted.push(request.url ?? "")
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n")
    })
    const { url } = yield* listen(server)
    return { url, wanted }
  })

/** A folder for a client to live in, and the way to start it there. */
export interface Home {
  /** `HOME` of the client. */
  readonly home: string
  /** Where it is started. */
  readonly cwd: string
  /** Hosts that it tried to reach beyond the loopback. */
  readonly strangers: ReadonlyArray<string>
  /** Runs a program, scripts on this Node, with an environment of `PATH`, `HOME`, the trap as proxy, and what is given. */
  readonly run: (
    program: string,
    args: ReadonlyArray<string>,
    env: { readonly [name: string]: string },
    timeout?: number
  ) => Effect.Effect<RunResult>
}

const isScript = (program: string): boolean => /\.c?js$/.test(program)

export const makeHome: Effect.Effect<Home, never, Scope.Scope> = Effect.gen(function* () {
  const folder = yield* temporaryDirectory
  const { url, wanted } = yield* trap
  const home = join(folder, "home")
  const cwd = join(folder, "project")
  for (const path of [home, cwd]) mkdirSync(path)
  const searchPath = [dirname(process.execPath), "/usr/local/bin", "/usr/bin", "/bin"].join(":")
  return {
    home,
    cwd,
    strangers: wanted,
    run: (program, args, env, timeout = 60_000) =>
      run({
        command: isScript(program) ? process.execPath : program,
        args: isScript(program) ? [program, ...args] : args,
        cwd,
        env: {
          PATH: searchPath,
          HOME: home,
          HTTP_PROXY: url,
          HTTPS_PROXY: url,
          NO_PROXY: "127.0.0.1",
          DO_NOT_TRACK: "1",
          ...env
        },
        timeout
      }).pipe(Effect.scoped)
  }
})

type Detail = typeof InterceptionDetail.Encoded

const readJson = async <A>(url: string): Promise<A> =>
  (await fetch(url, { headers: { connection: "close" } })).json() as Promise<A>

const fetchJson = <A>(url: string) => Effect.promise(() => readJson<A>(url))

/** What a gateway has recorded under an id, once it is closed. */
export const recordOf = (gateway: Gateway, id: string): Effect.Effect<Detail> =>
  fetchJson<Detail>(`${gateway.url}/api/interceptions/${id}`).pipe(
    Effect.repeat({
      schedule: Schedule.spaced("20 millis"),
      times: 500,
      until: ({ interception }) => interception.status !== null
    })
  )

/** All that a gateway has recorded, the oldest first, once it is closed. */
export const recordsOf = (gateway: Gateway): Effect.Effect<ReadonlyArray<Detail>> =>
  fetchJson<{ readonly interceptions: ReadonlyArray<Detail["interception"]> }>(
    `${gateway.url}/api/interceptions?limit=500`
  ).pipe(
    Effect.flatMap(({ interceptions }) => Effect.forEach(interceptions.toReversed(), ({ id }) => recordOf(gateway, id)))
  )

/** How the calls of the model ended: the status of each, and the code of its error. */
export const statusesOf = (records: ReadonlyArray<Detail>): ReadonlyArray<ReadonlyArray<string | null | undefined>> =>
  records
    .filter(({ interception }) => interception.dialect !== null)
    .map(({ interception }) => [interception.status, interception.error?.code])

/** Waits until a gateway is connected to all of its MCP servers. */
export const toolsReady = (gateway: Gateway): Effect.Effect<void> =>
  fetchJson<{ readonly mcp?: { readonly servers: ReadonlyArray<{ readonly status: string }> } }>(
    `${gateway.url}/readyz`
  ).pipe(
    Effect.repeat({
      schedule: Schedule.spaced("20 millis"),
      times: 500,
      until: ({ mcp }) => mcp?.servers.every(({ status }) => status === "connected") === true
    }),
    Effect.asVoid
  )

/** A session as the management API lists it. */
export interface ListedSession {
  readonly id: string
  readonly client: string
  readonly interceptions: number
}

/** The sessions that a gateway shows. */
export const sessionsOf = (gateway: Gateway): Effect.Effect<ReadonlyArray<ListedSession>> =>
  Effect.map(
    fetchJson<{ readonly sessions: ReadonlyArray<ListedSession> }>(`${gateway.url}/api/sessions`),
    ({ sessions }) => sessions
  )

/** An upstream as the provider of every protocol. */
export const providersAt = ({ url }: UpstreamServer) =>
  ({
    openai: { type: "openai", base_url: `${url}/v1` },
    anthropic: { type: "anthropic", base_url: url },
    compatible: { type: "openai-compatible", base_url: `${url}/v1` }
  }) as const

/** A gateway in front of a scripted upstream, which stands there as `openai` and as `anthropic`. */
export interface Scene {
  readonly gateway: Gateway
  readonly upstream: UpstreamServer
}

/**
 * Starts both. The clients bring their own keys, and the gateway does not retry.
 *
 * @param more added to the gateway's config
 */
export const makeScene = (
  script: ModelScript,
  more: Partial<SluiceConfigInput> = {}
): Effect.Effect<Scene, NotListening, Scope.Scope> =>
  Effect.gen(function* () {
    const upstream = yield* makeUpstream(script)
    const gateway = yield* Gateway.start({
      config: {
        providers: providersAt(upstream),
        retries: { times: 0 },
        ...more
      }
    })
    return { gateway, upstream }
  })
