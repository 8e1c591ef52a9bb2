import { createServer } from "node:http"
import { Effect, Exit, type Scope, Stream } from "effect"
import type { Exchanger } from "../../src/upstream/Exchange.ts"
import { listen } from "./LocalServer.ts"

/**
 * Puts an exchanger behind a real HTTP server on a free port of 127.0.0.1, so that a real client can talk to it. An
 * answer that breaks off breaks the connection; no answer does too. Real time and real sockets.
 *
 * @returns The server's address, without a slash behind it.
 */
export const serveExchanger = (exchanger: Exchanger): Effect.Effect<string, never, Scope.Scope> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<never>()
    const server = createServer((incoming, outgoing) => {
      const parts: Array<Buffer> = []
      incoming.on("data", (part: Buffer) => parts.push(part))
      incoming.on("end", () => {
        const answer = Effect.gen(function* () {
          const exchange = yield* exchanger({
            method: incoming.method ?? "GET",
            origin: "http://127.0.0.1",
            target: incoming.url ?? "/",
            headers: Object.fromEntries(
              Object.entries(incoming.headers).filter(
                (header): header is [string, string] => typeof header[1] === "string"
              )
            ),
            body: parts.length === 0 ? null : Buffer.concat(parts)
          })
          for (const [name, value] of Object.entries(exchange.headers)) {
            if (value !== undefined) outgoing.setHeader(name, value as string | Array<string>)
          }
          outgoing.writeHead(exchange.status)
          outgoing.flushHeaders()
          yield* Stream.fromPull(Effect.succeed(exchange.body.pull)).pipe(
            Stream.runForEach((chunk) =>
              Effect.callback<void>((resume) => {
                outgoing.write(chunk, () => resume(Effect.void))
              })
            )
          )
        }).pipe(Effect.scoped)
        const fiber = Effect.runForkWith(context)(answer)
        fiber.addObserver((exit) => {
          if (Exit.isSuccess(exit)) outgoing.end()
          else outgoing.destroy()
        })
        outgoing.on("close", () => fiber.interruptUnsafe())
      })
    })
    return (yield* listen(server)).url
  })
