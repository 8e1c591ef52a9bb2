import { existsSync, readFileSync } from "node:fs"
import { createServer, request as send } from "node:http"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { temporaryDirectory } from "../support/Gateway.ts"
import { listen } from "../support/LocalServer.ts"
import { everythingOverHttp, everythingOverStdio } from "../support/McpEverything.ts"

/** The reference server with somebody who listens to what it is told. */
export interface RecordedMcp {
  /** For an MCP server's config. */
  readonly config: { readonly url: string } | { readonly command: string; readonly args: Array<string> }
  /** The messages that it was sent so far. */
  readonly told: () => ReadonlyArray<ToldMessage>
}

/** A message of JSON-RPC. */
export interface ToldMessage {
  readonly method: string
  readonly id?: string | number
  readonly params?: { readonly [name: string]: unknown }
}

/** Lines as messages; the last may be under way. */
const messagesOf = (told: string): ReadonlyArray<ToldMessage> =>
  told
    .split("\n")
    .slice(0, -1)
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as ToldMessage)

/** Over streamable HTTP, through a proxy that notes the bodies. */
export const recordedOverHttp: Effect.Effect<RecordedMcp, never, Scope.Scope> = Effect.gen(function* () {
  const { url } = yield* everythingOverHttp
  let told = ""
  const server = createServer((incoming, response) => {
    const { headers, method } = incoming
    const outgoing = send(url, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      response.flushHeaders()
      answer.pipe(response)
      answer.on("error", () => response.destroy())
    })
    outgoing.on("error", () => response.destroy())
    response.on("close", () => outgoing.destroy())
    incoming.on("data", (part: Buffer) => {
      told += part.toString()
    })
    incoming.on("end", () => {
      told += "\n"
    })
    incoming.pipe(outgoing)
  })
  const proxy = yield* listen(server)
  return { config: { url: `${proxy.url}/mcp` }, told: () => messagesOf(told) }
})

/** Notes what comes in, and becomes the program itself, so that who ends this ends that. */
const noting = 'mkfifo "$0.pipe"; exec 3<&0; tee "$0" <&3 >"$0.pipe" & exec "$@" <"$0.pipe" 3<&-'

/** Over standard input and output, by way of `tee`. */
export const recordedOverStdio: Effect.Effect<RecordedMcp, never, Scope.Scope> = Effect.map(
  temporaryDirectory,
  (folder) => {
    const file = join(folder, "told")
    const { args, command } = everythingOverStdio
    return {
      config: { command: "/bin/sh", args: ["-c", noting, file, command, ...args] },
      told: () => messagesOf(existsSync(file) ? readFileSync(file, "utf8") : "")
    }
  }
)
