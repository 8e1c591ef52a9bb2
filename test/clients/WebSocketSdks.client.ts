import { pathToFileURL } from "node:url"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type OpenAI from "openai"
import { type ClientPackage, install } from "./Client.ts"
import { whole } from "./Faults.ts"
import { assistant } from "./Model.ts"
import { openOpenAiSocket } from "./OpenAiSocket.ts"
import { readFile, readFileTool } from "./ReadFile.ts"
import { recordsOf, statusesOf } from "./Scene.ts"
import { type Bridging, errorMessage, makeSocketScene, messages, type SocketScript } from "./WebSocketModel.ts"

const agentsSdk: ClientPackage = {
  packages: [["@openai/agents", "0.20.0"]],
  program: "@openai/agents/dist/index.mjs"
}

/** As much of the agents SDK as is used here; its types are not installed. */
interface AgentsSdk {
  readonly Agent: new (options: object) => object
  readonly tool: (options: object) => object
  readonly setTracingDisabled: (disabled: boolean) => void
  readonly withResponsesWebSocketSession: <A>(
    use: (session: {
      readonly run: (agent: object, prompt: string) => Promise<{ readonly finalOutput: A }>
    }) => Promise<A>,
    options: object
  ) => Promise<A>
}

let agents: AgentsSdk
beforeAll(async () => {
  const entry = await Effect.runPromise(install(agentsSdk))
  agents = await import(pathToFileURL(entry).href)
})

const tools: Array<OpenAI.Responses.FunctionTool> = [{ type: "function", ...readFileTool, strict: true }]

const answering: SocketScript = (asked, turn) => messages(asked, assistant(asked, turn))

const bridgings: ReadonlyArray<Bridging> = ["native", "bridged"]

const done = ["completed", undefined]

describe.each(bridgings)("the OpenAI SDK's WebSocket, %s", (bridging) => {
  it.live("gets text, and goes on behind a tool with what is new alone", () =>
    Effect.gen(function* () {
      const { asked, baseUrl, gateway } = yield* makeSocketScene(bridging, answering)
      const said = yield* Effect.promise(async () => {
        const { ask, close } = openOpenAiSocket(baseUrl, "m")
        const text = await ask({ input: "say hi" })
        const called = await ask({ input: "read a.txt", tools })
        const call = called.response.output.find((item) => item.type === "function_call")!
        const output = readFile(JSON.parse(call.arguments))
        const result = await ask({
          previous_response_id: called.response.id,
          input: [{ type: "function_call_output", call_id: call.call_id, output }],
          tools
        })
        close()
        return [text.text, result.text]
      })
      assert.deepStrictEqual(said, ["Heard: say hi", "Heard: the file a.txt says ahoy"])
      // By HTTP nobody remembers what was said, so the gateway says it again: prompt, thought, text, call, result.
      assert.deepStrictEqual(
        asked().map(({ items }) => items),
        bridging === "native" ? [1, 1, 1] : [1, 1, 5]
      )
      const records = yield* recordsOf(gateway)
      assert.deepStrictEqual(statusesOf(records), [done, done, done])
      for (const { interception } of records) {
        assert.deepInclude(interception, { transport: "ws", client: "openai-sdk" })
      }
    })
  )

  it.live("throws what an error says, and is answered on the same connection then", () =>
    Effect.gen(function* () {
      const { baseUrl, gateway } = yield* makeSocketScene(bridging, (asked, turn) =>
        turn === 0 ? [errorMessage(400, "context_length_exceeded")] : answering(asked, turn)
      )
      const [error, text] = yield* Effect.promise(async () => {
        const { ask, close } = openOpenAiSocket(baseUrl, "m")
        const thrown = await ask({ input: "say hi" }).catch((error: unknown) => error)
        const { text } = await ask({ input: "say hi" })
        close()
        return [thrown, text]
      })
      assert.instanceOf(error, Error)
      assert.include(String(error), "context_length_exceeded")
      assert.strictEqual(text, "Heard: say hi")
      assert.deepStrictEqual(statusesOf(yield* recordsOf(gateway)), [["failed", "upstream_status"], done])
    })
  )

  it.live("waits through 15 seconds of silence, which the gateway fills with keep-alives", () =>
    Effect.gen(function* () {
      const { baseUrl, gateway } = yield* makeSocketScene(
        bridging,
        (asked, turn) => {
          const said = messages(asked, { turn, text: whole })
          return [...said.slice(0, 12), { wait: 15_000 }, ...said.slice(12)]
        },
        { limits: { keep_alive: "1 second" } }
      )
      const { seen, text } = yield* Effect.promise(async () => {
        const { ask, close } = openOpenAiSocket(baseUrl, "m")
        const answer = await ask({ input: "say hi" })
        close()
        return answer
      })
      assert.strictEqual(text, whole)
      assert.isAtLeast(seen.filter((type) => type === "keepalive").length, 10)
      assert.deepStrictEqual(statusesOf(yield* recordsOf(gateway)), [done])
    })
  )
})

describe.each(bridgings)("the agents SDK's WebSocket session, %s", (bridging) => {
  it.live("gets text, and runs a tool", () =>
    Effect.gen(function* () {
      const { asked, baseUrl, gateway } = yield* makeSocketScene(bridging, answering)
      const said = yield* Effect.promise(async () => {
        agents.setTracingDisabled(true)
        const read = agents.tool({
          ...readFileTool,
          strict: true,
          execute: async (args: unknown) => readFile(args)
        })
        const agent = new agents.Agent({ name: "Reader", model: "m", instructions: "Read.", tools: [read] })
        return await agents.withResponsesWebSocketSession<ReadonlyArray<unknown>>(
          async ({ run }) => [(await run(agent, "say hi")).finalOutput, (await run(agent, "read a.txt")).finalOutput],
          { providerOptions: { apiKey: "sk-test", baseURL: baseUrl } }
        )
      })
      assert.deepStrictEqual(said, ["Heard: say hi", "Heard: the file a.txt says ahoy"])
      assert.strictEqual(asked().length, 3)
      const records = yield* recordsOf(gateway)
      assert.deepStrictEqual(statusesOf(records), [done, done, done])
      for (const { interception } of records) assert.strictEqual(interception.transport, "ws")
    })
  )
})
