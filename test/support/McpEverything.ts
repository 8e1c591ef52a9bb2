import { type ChildProcess, spawn } from "node:child_process"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"
import { Effect, type Scope } from "effect"

const program = fileURLToPath(
  new URL("../../node_modules/@modelcontextprotocol/server-everything/dist/index.js", import.meta.url)
)

const path = process.env["PATH"] ?? ""

/** The reference server as a program that talks over its standard input and output, for an MCP server's config. */
export const everythingOverStdio = { command: process.execPath, args: [program, "stdio"] }

/** A port that nobody listens on: the reference server cannot choose one by itself. */
const freePort = Effect.promise(
  () =>
    new Promise<number>((resolve, reject) => {
      const server = createServer()
      server.once("error", reject)
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
      })
    })
)

const listening = (child: ChildProcess) =>
  new Promise<void>((resolve, reject) => {
    let said = ""
    child.stderr?.on("data", (chunk: Buffer) => {
      said += chunk.toString()
      if (/listening on port/i.test(said)) resolve()
    })
    child.once("exit", () => reject(new Error(`the reference server ended: ${said}`)))
  })

/** Runs the reference server over streamable HTTP until the scope closes. */
export const everythingOverHttp: Effect.Effect<{ readonly url: string }, never, Scope.Scope> = Effect.gen(function* () {
  const port = yield* freePort
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [program, "streamableHttp"], {
        env: { PATH: path, PORT: String(port) },
        stdio: ["ignore", "ignore", "pipe"]
      })
    ),
    (running) => Effect.sync(() => running.kill("SIGKILL"))
  )
  yield* Effect.promise(() => listening(child))
  return { url: `http://127.0.0.1:${port}/mcp` }
})
