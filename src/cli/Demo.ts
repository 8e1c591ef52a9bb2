import { Console, Data, Effect, Option } from "effect"
import { HttpBody, HttpClient, HttpClientRequest, type HttpClientResponse } from "effect/http"
import { type LoadedConfig, defaultFile } from "../config/Load.ts"
import { storeOf } from "../config/Store.ts"
import { Recorder } from "../recorder/Recorder.ts"
import { renderInterceptions } from "./Records.ts"
import { table } from "./Table.ts"

/** The demonstration could not do what it set out to. */
export class DemoFailed extends Data.TaggedError("DemoFailed")<{ readonly detail: string }> {
  override get message() {
    return `the demo failed: ${this.detail}`
  }
}

/** One call of the demonstration. */
interface DemoCall {
  readonly title: string
  /** Chat Completions unless given. */
  readonly path?: string
  readonly model: string
  readonly body: object
}

const said = (content: string) => [{ role: "user", content }]

const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
  }
}

const calls: ReadonlyArray<DemoCall> = [
  { title: "a streamed answer", model: "sim", body: { stream: true, messages: said("Say hello to Sluice.") } },
  { title: "the same as JSON", model: "sim", body: { messages: said("Say hello to Sluice.") } },
  {
    title: "the same in Responses",
    path: "/v1/responses",
    model: "sim",
    body: { stream: true, input: "Say hello to Sluice." }
  },
  {
    title: "the same in Messages",
    path: "/v1/messages",
    model: "sim",
    body: { stream: true, max_tokens: 100, messages: said("Say hello to Sluice.") }
  },
  {
    title: "two tool calls at once",
    model: "sim-tool-get_weather+parallel-2",
    body: { stream: true, tools: [weather], messages: said("How is the weather in Lisbon and in Oslo?") }
  },
  {
    title: "an answer with reasoning",
    model: "sim-reasoning",
    body: { stream: true, messages: said("Why is the sky blue?") }
  },
  {
    title: "an answer cut short by max_tokens",
    model: "sim",
    body: { stream: true, max_tokens: 5, messages: said("Tell me a long story.") }
  },
  { title: "a provider that is overloaded", model: "sim-500", body: { messages: said("Are you there?") } },
  {
    title: "a stream that breaks in the middle",
    model: "sim-cut",
    body: { stream: true, messages: said("Count to a hundred.") }
  },
  { title: "a model that is not configured", model: "no-such-model", body: { messages: said("Anybody?") } }
]

/** What a person would want to know of an answer. */
const outcome = (status: number, text: string): string => {
  if (status !== 200) return `${status}: ${messageOf(text)}`
  const error = /^data: (\{"error":.*)$/m.exec(text)?.[1]
  if (error !== undefined) return `broke off: ${messageOf(error)}`
  const events = text.split("\n").filter((line) => line.startsWith("data:")).length
  const last = text.trimEnd().split("\n\n").at(-1)?.split("\n")[0]
  return events === 0 ? "200, a JSON body" : `200, ${events} events, the last one ${last}`
}

const errorMessage = (text: string): string | undefined => {
  const found = /"message":\s*"((?:[^"\\]|\\.)*)"/.exec(text)?.[1]
  return found?.replaceAll('\\"', '"')
}

const messageOf = (text: string): string => errorMessage(text) ?? text.slice(0, 80)

/** Text as one word of a shell. */
const word = (text: string): string => (/^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`)

/**
 * Commands by which people look again at what the demonstration recorded, as far as something is left of it, with the
 * flags that lead there.
 *
 * @param command what people type to run Sluice
 */
export const placesToLook = (
  command: string,
  { config, file }: LoadedConfig
): ReadonlyArray<readonly [what: string, how: string]> => {
  const { url } = config.recorder
  const named = file === null || file === defaultFile ? "" : ` --config ${word(file)}`
  // Whether the file says so, or a flag or the environment did, cannot be told any more.
  const database = file === null && url === defaultDatabase ? "" : ` --database ${word(url)}`
  const kept = [
    ["these records again", `${command} records${named}${database}`],
    ["all about one of them", `${command} records${named}${database} --id <ID>`],
    ["where they are kept", url]
  ] as const
  return [...(storeOf(url)?.kind === "sqlite" ? kept : []), ["serve the gateway", `${command} serve${named}`]]
}

/** What `recorder.url` is by default. */
const defaultDatabase = "sqlite:./sluice.db"

/**
 * Makes a few calls to a gateway's simulated provider, saying what comes of each, and prints what was recorded.
 *
 * @param options.url where the gateway listens
 * @param options.provider the name of its simulated provider
 * @param options.width the terminal's width in cells; 0 without one
 * @param options.look commands by which people look again later
 */
export const demo = Effect.fn("Demo.demo")(function* (options: {
  readonly url: string
  readonly provider: string
  readonly width: number
  readonly look: ReadonlyArray<readonly [string, string]>
}) {
  const recorder = yield* Recorder
  const client = yield* HttpClient.HttpClient
  yield* Console.log(`Calling ${options.url}, as clients of OpenAI and Anthropic do:\n`)
  const ids: Array<string> = []
  for (const call of calls) {
    const model = call.model.startsWith("sim") ? `${options.provider}/${call.model}` : call.model
    const { response, text } = yield* send(client, `${options.url}${call.path ?? "/v1/chat/completions"}`, {
      model,
      ...call.body
    })
    const id = response.headers["x-sluice-interception-id"]
    if (id === undefined) return yield* new DemoFailed({ detail: `${call.title}: the answer carries no id` })
    ids.push(id)
    yield* Console.log(`  ${`${call.title} `.padEnd(38, ".")} ${outcome(response.status, text)}`)
  }
  yield* recorder.flush
  const details = yield* Effect.forEach(ids, (id) => recorder.interception(id))
  yield* Console.log(`\nWhat was recorded of these calls:\n`)
  yield* Console.log(
    renderInterceptions(
      details.flatMap((detail) => Option.toArray(detail)),
      options.width
    )
  )
  const columns = [{ title: "" }, { title: "" }]
  yield* Console.log(
    `\nWhere to look next:\n${table(
      columns,
      options.look.map(([what, how]) => [`  ${what}`, how])
    )}`
  )
})

const send = (client: HttpClient.HttpClient, url: string, body: object) =>
  client
    .execute(
      HttpClientRequest.post(url, {
        headers: { "user-agent": "sluice-demo" },
        body: HttpBody.text(JSON.stringify(body), "application/json")
      })
    )
    .pipe(
      Effect.flatMap((response) =>
        Effect.map(response.text, (text): { response: HttpClientResponse.HttpClientResponse; text: string } => ({
          response,
          text
        }))
      ),
      Effect.mapError((error) => new DemoFailed({ detail: error.message }))
    )
