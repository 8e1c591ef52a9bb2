import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { install, langChain } from "./Client.ts"
import { faulty } from "./Faults.ts"
import { makeScene, recordsOf, statusesOf } from "./Scene.ts"

/** As much of LangChain as is used here; its types are not installed. */
interface ChatModel {
  readonly invoke: (prompt: string) => Promise<{ readonly text: string }>
  readonly stream: (prompt: string) => Promise<AsyncIterable<{ readonly text: string }>>
}

type ModelClass = new (options: object) => ChatModel

let classes: { readonly ChatOpenAI: ModelClass; readonly ChatAnthropic: ModelClass }
beforeAll(async () => {
  const entry = await Effect.runPromise(install(langChain))
  const load = (path: string) => import(pathToFileURL(path).href)
  const { ChatOpenAI } = await load(entry)
  const { ChatAnthropic } = await load(join(entry, "../../../anthropic/dist/index.js"))
  classes = { ChatOpenAI, ChatAnthropic }
})

const common = { model: "mock-model", apiKey: "sk-test", maxRetries: 0, maxTokens: 1_000 }

const models: ReadonlyArray<readonly [name: string, make: (url: string) => ChatModel]> = [
  ["chat", (url) => new classes.ChatOpenAI({ ...common, configuration: { baseURL: `${url}/openai/v1` } })],
  [
    "responses",
    (url) =>
      new classes.ChatOpenAI({ ...common, useResponsesApi: true, configuration: { baseURL: `${url}/openai/v1` } })
  ],
  ["messages", (url) => new classes.ChatAnthropic({ ...common, anthropicApiUrl: `${url}/anthropic` })]
]

const collect = async (model: ChatModel, prompt: string): Promise<string> => {
  let text = ""
  for await (const chunk of await model.stream(prompt)) text += chunk.text
  return text
}

describe("LangChain", () => {
  for (const [name, make] of models) {
    it.live(`gets answers over ${name}, and an error where one is cut`, () =>
      Effect.gen(function* () {
        const { gateway, upstream } = yield* makeScene(faulty())
        const model = make(gateway.url)
        const whole = yield* Effect.promise(() => model.invoke("say hi"))
        assert.strictEqual(whole.text, "Heard: say hi")
        assert.strictEqual(yield* Effect.promise(() => collect(model, "say ho")), "Heard: say ho")
        // Without a gateway it takes a clean end without a terminal event for the whole answer.
        for (const ending of ["reset", "fin", "eof"]) {
          const error = yield* Effect.promise(() =>
            collect(model, `fault ${ending} 18`).then(
              (text) => assert.fail(`took this for the whole: ${text}`),
              (thrown: unknown) => thrown
            )
          )
          assert.instanceOf(error, Error)
        }
        const failed = ["failed", "upstream_cut"]
        const done = ["completed", undefined]
        assert.deepStrictEqual(statusesOf(yield* recordsOf(gateway)), [done, done, failed, failed, failed])
        assert.strictEqual(upstream.requests.length, 5)
      })
    )
  }
})
