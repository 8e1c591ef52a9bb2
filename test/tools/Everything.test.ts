import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { make } from "../../src/config/Load.ts"
import { layer } from "../../src/tools/McpServers.ts"
import { type ToolAnswer, ToolCatalog } from "../../src/tools/ToolCatalog.ts"
import { everythingOverHttp, everythingOverStdio } from "../support/McpEverything.ts"

type Server = NonNullable<NonNullable<SluiceConfigInput["mcp"]>["servers"]>[string]

const catalogue = Effect.fnUntraced(function* (server: Server, tools: SluiceConfigInput["tools"] = {}) {
  const config = yield* make({ mcp: { servers: { every: server } }, tools })
  const context = yield* Layer.build(layer(config))
  return yield* Effect.provide(ToolCatalog, context)
})

const textOf = (answer: ToolAnswer) =>
  answer.content.map((part) => (part.type === "text" ? part.text : `[${part.type}]`)).join("\n")

const caller = (catalog: ToolCatalog["Service"]) => (tool: string, input: unknown) => {
  const found = catalog.tools(null).find(({ name }) => name === `bmcp_every_${tool}`)
  assert.isDefined(found, tool)
  return catalog.call(found!, typeof input === "string" ? input : JSON.stringify(input))
}

describe.each(["streamable HTTP", "stdio"])("the reference server over %s", (transport) => {
  const server = transport === "stdio" ? Effect.succeed(everythingOverStdio) : everythingOverHttp

  it.live("offers its tools and answers with text, images, structure and errors", () =>
    Effect.gen(function* () {
      const catalog = yield* catalogue(yield* server)
      const call = caller(catalog)
      const names = catalog.tools(null).map(({ name }) => name)
      assert.deepStrictEqual(names, names.toSorted())

      assert.deepStrictEqual(yield* call("echo", { message: "hi" }), {
        content: [{ type: "text", text: "Echo: hi" }],
        error: null
      })
      const sum = yield* call("get-sum", { a: 1, b: "two" })
      const image = yield* call("get-tiny-image", "")
      const structured = yield* call("get-structured-content", { location: "New York" })
      const long = yield* Effect.forkChild(call("trigger-long-running-operation", { duration: 30, steps: 10 }))
      yield* Effect.sleep("100 millis")
      yield* Fiber.interrupt(long)
    })
  )
})
