import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Pull, Scope } from "effect"
import { make as makeConfig } from "../../src/config/Load.ts"
import * as Providers from "../../src/upstream/Providers.ts"
import { IdleTimers, type OpenedTurn, Upstream } from "../../src/upstream/Upstream.ts"
import { eventually } from "../support/Eventually.ts"
import { turnRequest } from "../support/Exchanges.ts"
import { WebSocketUpstream } from "../support/WebSocketUpstream.ts"

const textOf = ({ body }: OpenedTurn) => {
  const chunks: Array<Buffer> = []
  return Effect.forever(Effect.map(body.pull, (more) => chunks.push(...more))).pipe(
    Pull.catchDone(() => Effect.sync(() => Buffer.concat(chunks).toString()))
  )
}

const message = (text: string) => ({ type: "message", role: "assistant", content: [{ type: "output_text", text }] })

describe("a pool over real sockets", () => {
  it.live("carries a conversation over one connection, loses one with a client, and leaves none behind", () =>
    Effect.gen(function* () {
      let responses = 0
      const upstream = yield* WebSocketUpstream.make({
        onConnection: (socket) => {
          socket.webSocket.on("message", (data: Buffer) => {
            const id = `resp_${++responses}`
            socket.send({ type: "response.created", response: { id } })
            if (JSON.parse(data.toString()).model === "slow") return
            socket.send({ type: "response.output_text.delta", delta: "x".repeat(300_000) })
            socket.send({ type: "response.completed", response: { id, output: [message("Hi")] } })
          })
        }
      })
      const scope = yield* Scope.make()
      const layer = Layer.unwrap(
        Effect.map(
          makeConfig({
            providers: { up: { type: "openai", base_url: `${upstream.url}/v1`, api_key: "k", websocket_pool: true } }
          }),
          Providers.layer
        )
      ).pipe(Layer.provideMerge(IdleTimers.layer), Layer.orDie)
      const services = yield* Layer.build(layer).pipe(Scope.provide(scope))
      const { open } = Context.get(services, Upstream)
      const ask = (input: ReadonlyArray<object>, model = "m") =>
        open(turnRequest(Buffer.from(JSON.stringify({ model, stream: true, store: false, input }))))
      const hello = { role: "user", content: "hello ".repeat(10_000) }
      const first = yield* Effect.scoped(Effect.flatMap(ask([hello]), textOf))
      assert.match(
        first,
        /^event: response.created\n.*\n\nevent: response.output_text.delta\n.*\n\nevent: response.completed\n.*\n\n$/
      )
      yield* Effect.scoped(Effect.flatMap(ask([hello, message("Hi"), { role: "user", content: "more" }]), textOf))
      const [connection] = upstream.connections
      const [full, delta] = connection!.messages
      assert.isAbove(full!.length, 60_000)
      assert.isBelow(delta!.length, 200)
      assert.strictEqual(connection!.request.headers.authorization, "Bearer k")

      const call = yield* Scope.make()
      yield* ask([hello], "slow").pipe(Scope.provide(call))
      assert.strictEqual(upstream.connections.length, 2)
      yield* Scope.close(call, Exit.void)
      const { code } = yield* upstream.connections[1]!.closed
      assert.strictEqual(code, 1000)
      assert.strictEqual(upstream.openSockets(), 1)

      yield* Scope.close(scope, Exit.void)
      yield* eventually(() => upstream.openSockets() === 0)
      assert.strictEqual(Context.get(services, IdleTimers).size(), 0)
    })
  )
})
