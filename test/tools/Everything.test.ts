import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { make } from "../../src/config/Load.ts"
import { layer } from "../../src/tools/McpServers.ts"
import { ToolCatalog } from "../../src/tools/ToolCatalog.ts"
import { everythingOverHttp, everythingOverStdio } from "../support/McpEverything.ts"

type Server = NonNullable<NonNullable<SluiceConfigInput["mcp"]>["servers"]>[string]

const catalogue = Effect.fnUntraced(function* (server: Server, tools: SluiceConfigInput["tools"] = {}) {
  const config = yield* make({ mcp: { servers: { every: server } }, tools })
  const context = yield* Layer.build(layer(config))
  return yield* Effect.provide(ToolCatalog, context)
})

const caller = (catalog: ToolCatalog["Service"]) => (tool: string, input: unknown) => {
  const found = catalog.tools(null).find(({ name }) => name === `bmcp_every_${tool}`)
  assert.isDefined(found, tool)
  return catalog.call(found!, typeof input === "string" ? input : JSON.stringify(input))
}

const path = process.env["PATH"]

beforeAll(() => {
  process.env["SLUICE_TEST_SECRET"] = "canary"
})
afterAll(() => {
  delete process.env["SLUICE_TEST_SECRET"]
})

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
      assert.match((yield* call("get-sum", { a: 1, b: "two" })).error ?? "", /expected number/)
      assert.deepStrictEqual((yield* call("get-sum", { a: 1, b: 2 })).content, [
        { type: "text", text: "The sum of 1 and 2 is 3." }
      ])
      const image = yield* call("get-tiny-image", "")
      assert.deepStrictEqual(
        image.content.map((part) => part.type),
        ["text", "image", "text"]
      )
      assert.isTrue(image.content[1]?.type === "image" && image.content[1].mimeType === "image/png")
      // It sends its structured content as text, too, and that is enough.
      const structured = yield* call("get-structured-content", { location: "New York" })
      assert.deepStrictEqual(
        structured.content.map((part) => (part.type === "text" ? Object.keys(JSON.parse(part.text)) : part.type)),
        [["temperature", "conditions", "humidity"]]
      )
      const schema = JSON.parse(catalog.tools(null).find(({ tool }) => tool === "echo")!.inputSchema)
      assert.deepStrictEqual(
        [schema.type, Object.keys(schema.properties), schema.required],
        ["object", ["message"], ["message"]]
      )
    })
  )

  it.live("ends a long operation when its time is up, or when nobody waits for it any more", () =>
    Effect.gen(function* () {
      const catalog = yield* catalogue(yield* server, { call_timeout: "300 millis" })
      const call = caller(catalog)
      const operation = { duration: 20, steps: 40 }
      const late = yield* call("trigger-long-running-operation", operation)
      assert.strictEqual(late.error, "The tool trigger-long-running-operation of every did not answer within 300ms.")
      const abandoned = yield* Effect.forkChild(call("trigger-long-running-operation", operation))
      yield* Effect.sleep("50 millis")
      yield* Fiber.interrupt(abandoned)
      assert.strictEqual((yield* call("echo", { message: "still here" })).error, null)
      const [duration, done] = yield* Effect.timed(call("trigger-long-running-operation", { duration: 0.1, steps: 2 }))
      assert.strictEqual(done.error, null)
      assert.isBelow(Number(Duration.toMillis(duration)), 300)
    })
  )
})

it.live("gives a program of the config no more of the environment than programs need", () =>
  Effect.gen(function* () {
    const catalog = yield* catalogue({ ...everythingOverStdio, env: { GIVEN: "given" } })
    const { content } = yield* caller(catalog)("get-env", "{}")
    const env = JSON.parse(content[0]?.type === "text" ? content[0].text : "{}")
    assert.strictEqual(env["GIVEN"], "given")
    assert.strictEqual(env["PATH"], path)
    assert.isUndefined(env["SLUICE_TEST_SECRET"])
  })
)
