import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schedule } from "effect"
import OpenAI from "openai"
import { conversationOf } from "../clients/Conversation.ts"
import { type Asked, dialectOf, elsewhere, read, say } from "../clients/Model.ts"
import type { DialectName, ModelAnswer, ModelCall } from "../clients/ModelAnswer.ts"
import { providersAt, recordOf, toolsReady } from "../clients/Scene.ts"
import { Gateway } from "../support/Gateway.ts"
import { RawClient } from "../support/RawClient.ts"
import { UpstreamServer } from "../support/UpstreamServer.ts"
import { type RecordedMcp, recordedOverHttp, recordedOverStdio, type ToldMessage } from "./RecordedMcp.ts"
import { type ToolSdk, toolSdks } from "./ToolSdks.ts"

/** What the model says to one prompt, turn by turn, and what it was asked. */
interface Play {
  readonly turns: ReadonlyArray<Omit<ModelAnswer, "model" | "turn">>
  readonly asked: Array<Asked>
  /** Of its turns among all of the upstream's: their ids are made of these. */
  readonly numbers: Array<number>
}

/** One gateway, one upstream and the reference server twice: `everything` over HTTP and `local` over stdio. */
class Running extends Context.Service<
  Running,
  {
    readonly gateway: Gateway
    readonly upstream: UpstreamServer
    readonly servers: { readonly everything: RecordedMcp; readonly local: RecordedMcp }
    /** Makes the model play to a prompt that is its own. */
    readonly begin: (turns: Play["turns"]) => Play & { readonly prompt: string }
  }
>()("test/e2e/InjectedTools/Running") {
  static readonly layer = Layer.effect(
    Running,
    Effect.gen(function* () {
      const plays: Array<Play> = []
      const upstream = yield* UpstreamServer.make((request, turn) => {
        const dialect = dialectOf(request)
        if (dialect === undefined) return elsewhere(request)
        const asked = read(dialect, request)
        const { metadata } = asked.body as { readonly metadata?: { readonly play?: string } }
        const play = plays[Number(/^play (\d+)/.exec(metadata?.play ?? asked.prompt)?.[1])]!
        // A number that grows by one makes ids of calls of which one is another's beginning.
        play.numbers.push(1_000 + turn)
        return say(asked, { turn: 1_000 + turn, ...play.turns[play.asked.push(asked) - 1]! })
      })
      const [everything, local] = yield* Effect.all([recordedOverHttp, recordedOverStdio], { concurrency: 2 })
      const gateway = yield* Gateway.start({
        config: {
          providers: providersAt(upstream),
          retries: { times: 0 },
          limits: { keep_alive: "100 millis" },
          mcp: { servers: { everything: everything.config, local: local.config } },
          tools: { client_usage: "sum" }
        }
      })
      // Nobody else would end the program that it runs.
      yield* Effect.addFinalizer(() => {
        gateway.kill("SIGTERM")
        return gateway.exit
      })
      yield* toolsReady(gateway)
      return {
        gateway,
        upstream,
        servers: { everything, local },
        begin: (turns) => {
          const play: Play = { turns, asked: [], numbers: [] }
          return { ...play, prompt: `play ${plays.push(play) - 1}` }
        }
      }
    })
  )
}

const echo = (message: string, server = "everything"): ModelCall => ({
  name: `bmcp_${server}_echo`,
  arguments: { message }
})

const readFile = (path: string): ModelCall => ({ name: "read_file", arguments: { path } })

/** Has the model play to an SDK, and gathers what everybody saw of it. */
const perform = Effect.fnUntraced(function* (
  sdk: ToolSdk,
  stream: boolean,
  turns: Play["turns"],
  more: ReadonlyArray<string> = []
) {
  const { begin, gateway } = yield* Running
  const { asked, prompt } = begin(turns)
  const ids: Array<string> = []
  const bodies: Array<Promise<string>> = []
  const noting: typeof fetch = async (input, init) => {
    const response = await fetch(input, init)
    ids.push(response.headers.get("x-sluice-interception-id") ?? "")
    bodies.push(response.clone().text())
    return response
  }
  const prompts = [prompt, ...more.map((text) => `${prompt} ${text}`)]
  const answers = yield* Effect.promise(() => sdk.talk({ url: gateway.url, prompts, fetch: noting, stream }))
  const records = yield* Effect.forEach(ids, (id) => recordOf(gateway, id))
  for (const body of yield* Effect.promise(() => Promise.all(bodies))) {
    assert.notInclude(body, "bmcp_")
    assert.notInclude(body, "Echo: ")
  }
  assert.strictEqual(asked.length, turns.length, "turns")
  // What the client's usage adds up to is what is on record, turn by turn.
  assert.strictEqual(records.length, answers.length)
  for (const [place, { interception, turns: recorded, usage }] of records.entries()) {
    assert.deepInclude(interception, { status: "completed", dialect: sdk.dialect, transport: stream ? "sse" : "json" })
    assert.deepStrictEqual(
      usage.map(({ turnId }) => turnId),
      recorded.map(({ id }) => id)
    )
    const total = { input: 0, output: 0 }
    for (const row of usage) {
      assert.strictEqual(row.provenance, "provider")
      total.input += (row.input ?? 0) + (row.cacheRead ?? 0)
      total.output += row.output ?? 0
    }
    assert.deepStrictEqual(answers[place]!.usage, total)
    assert.strictEqual(answers[place]!.id, recorded[0]!.upstreamResponseId)
  }
  return { answers, asked, records, prompt }
})

const bothWays = Effect.fnUntraced(function* (sdk: ToolSdk, turns: Play["turns"], more: ReadonlyArray<string> = []) {
  const streamed = yield* perform(sdk, true, turns, more)
  const whole = yield* perform(sdk, false, turns, more)
  const withoutIds = ({ answers }: typeof streamed) => answers.map(({ id: _, ...answer }) => answer)
  assert.deepStrictEqual(withoutIds(streamed), withoutIds(whole), "streamed and whole")
  return [streamed, whole] as const
})

const answerId = (number: number | undefined): string => `resp_${String(number).padStart(24, "0")}`

/** The conversation of a request, each item as it was sent. */
const itemsOf = ({ body }: Asked): ReadonlyArray<string> =>
  ((body["messages"] ?? body["input"]) as ReadonlyArray<unknown>).map((item) =>
    // OpenAI's accumulator adds this to texts, which come back with it.
    JSON.stringify(item).replaceAll(',"parsed":null', "")
  )

/** What a turn's calls were recorded as. */
const callsOf = ({ toolCalls }: Effect.Success<ReturnType<typeof perform>>["records"][number]) =>
  toolCalls.map(({ arguments: args, error, injected, name, turnId }) => ({ name, args, injected, error, turnId }))

/** What the dialects have of their own. */
interface Form {
  readonly path: string
  /** A streamed request. */
  readonly request: (prompt: string) => object
  readonly keepAlive: string
  /** A PNG image of a result; `null` where results are text. */
  readonly image: ((data: string) => object) | null
  /** What says that a result is an error, besides its text. */
  readonly error: string
}

const asMessages = (prompt: string) => ({
  model: "test-model",
  max_tokens: 1_000,
  stream: true,
  messages: [{ role: "user", content: prompt }]
})

const forms: { readonly [name in DialectName]: Form } = {
  "openai-chat": {
    path: "/openai/v1/chat/completions",
    request: asMessages,
    keepAlive: ": keep-alive\n",
    image: null,
    error: ""
  },
  "openai-responses": {
    path: "/openai/v1/responses",
    request: (prompt) => ({ model: "test-model", stream: true, input: prompt }),
    keepAlive: "event: keepalive\n",
    image: (data) => ({ type: "input_image", image_url: `data:image/png;base64,${data}` }),
    error: ""
  },
  "anthropic-messages": {
    path: "/anthropic/v1/messages",
    request: asMessages,
    keepAlive: "event: ping\n",
    image: (data) => ({ type: "image", source: { type: "base64", media_type: "image/png", data } }),
    error: '"is_error":true'
  }
}

const dialects = Object.keys(forms) as ReadonlyArray<DialectName>

const serverNames = ["everything", "local"] as const

type ServerName = (typeof serverNames)[number]

const idHeader = "x-sluice-interception-id"

/** Begins a call in which the model calls a tool that takes so many seconds, and says nothing before it. */
const operate = Effect.fnUntraced(function* (dialect: DialectName, server: ServerName, duration: number) {
  const { begin, gateway } = yield* Running
  const name = `bmcp_${server}_trigger-long-running-operation`
  const { prompt } = begin([{ calls: [{ name, arguments: { duration, steps: 3 } }] }, { text: "Done." }])
  const { path, request } = forms[dialect]
  return yield* RawClient.send({
    url: `${gateway.url}${path}`,
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": "sk-test", authorization: "Bearer sk-test" },
    body: JSON.stringify(request(prompt))
  })
})

/** Waits until something is there. */
const eventually = <A>(look: () => A | undefined): Effect.Effect<A> =>
  Effect.repeat(Effect.sync(look), {
    schedule: Schedule.spaced("10 millis"),
    times: 500,
    until: (found) => found !== undefined
  }).pipe(Effect.map((found) => found ?? assert.fail("it never came")))

const durationOf = (params: ToldMessage["params"]): unknown => Reflect.get(Object(params?.["arguments"]), "duration")

layer(Running.layer, { excludeTestServices: true, timeout: "90 seconds" })("injected tools", (it) => {
  for (const sdk of toolSdks) {
    describe.concurrent(sdk.name, () => {
      it.effect("reads a preamble, a hidden call and the text behind it as one answer", () =>
        Effect.gen(function* () {
          const turns = [
            { thought: "A tool can say this.", text: "I listen. ", calls: [echo("grüß 🌊")] },
            { text: "It said grüß." }
          ]
          for (const { answers, asked, prompt, records } of yield* bothWays(sdk, turns)) {
            assert.deepStrictEqual(
              answers.map(({ calls, stoppedOnCalls, text }) => [text, calls, stoppedOnCalls]),
              [["I listen. It said grüß.", [], false]]
            )
            assert.deepStrictEqual(conversationOf(asked[1]!), [
              `user: ${prompt}`,
              "assistant: I listen. ",
              'call bmcp_everything_echo {"message":"grüß 🌊"}',
              "result Echo: grüß 🌊"
            ])
            assert.deepStrictEqual(callsOf(records[0]!), [
              {
                name: "bmcp_everything_echo",
                args: { message: "grüß 🌊" },
                injected: true,
                error: null,
                turnId: records[0]!.turns[0]!.id
              }
            ])
            assert.match(records[0]!.toolCalls[0]!.serverUrl ?? "", /^http:\/\/127\.0\.0\.1:\d+\/mcp$/)
            assert.isAtLeast(records[0]!.toolCalls[0]!.durationMs ?? -1, 0)
          }
        })
      )

      it.effect("reads nothing of parallel hidden calls", () =>
        Effect.gen(function* () {
          const sum: ModelCall = { name: "bmcp_local_get-sum", arguments: { a: 19, b: 23 } }
          const turns = [{ calls: [echo("one"), sum, echo("two", "local")] }, { text: "One, 42, two." }]
          for (const { answers, asked, prompt, records } of yield* bothWays(sdk, turns)) {
            assert.deepStrictEqual(
              answers.map(({ calls, text }) => [text, calls]),
              [["One, 42, two.", []]]
            )
            assert.deepStrictEqual(conversationOf(asked[1]!), [
              `user: ${prompt}`,
              'call bmcp_everything_echo {"message":"one"}',
              'call bmcp_local_get-sum {"a":19,"b":23}',
              'call bmcp_local_echo {"message":"two"}',
              "result Echo: one",
              "result The sum of 19 and 23 is 42.",
              "result Echo: two"
            ])
            assert.deepStrictEqual(
              callsOf(records[0]!).map(({ error, injected, name }) => [name, injected, error]),
              [
                ["bmcp_everything_echo", true, null],
                ["bmcp_local_get-sum", true, null],
                ["bmcp_local_echo", true, null]
              ]
            )
          }
        })
      )

      it.effect("answers its own calls of a turn that has hidden ones, too, which are put back then", () =>
        Effect.gen(function* () {
          const turns = [
            { text: "Both. ", calls: [readFile("a.txt"), echo("hidden"), echo("more", "local"), readFile("b.txt")] },
            { text: "Both have spoken." }
          ]
          for (const { answers, asked, prompt, records } of yield* bothWays(sdk, turns)) {
            assert.deepStrictEqual(
              answers.map(({ calls, stoppedOnCalls, text }) => [text, calls, stoppedOnCalls]),
              [
                ["Both. ", [readFile("a.txt"), readFile("b.txt")], true],
                ["Both have spoken.", [], false]
              ]
            )
            assert.deepStrictEqual(conversationOf(asked[1]!), [
              `user: ${prompt}`,
              sdk.refers === true ? "reference" : "assistant: Both. ",
              'call read_file {"path":"a.txt"}',
              'call bmcp_everything_echo {"message":"hidden"}',
              'call bmcp_local_echo {"message":"more"}',
              'call read_file {"path":"b.txt"}',
              "result Echo: hidden",
              "result Echo: more",
              "result the file a.txt says ahoy",
              "result the file b.txt says ahoy"
            ])
            assert.deepStrictEqual(
              records.map((record) => callsOf(record).map(({ injected, name }) => [name, injected])),
              [
                // The client's are on record with their turn, the hidden ones when they have run.
                [
                  ["read_file", false],
                  ["read_file", false],
                  ["bmcp_everything_echo", true],
                  ["bmcp_local_echo", true]
                ],
                []
              ]
            )
            assert.strictEqual(records[1]!.interception.parentId, records[0]!.interception.id)
          }
        })
      )

      it.effect("talks on with a model that still knows what hidden tools have told it", () =>
        Effect.gen(function* () {
          const turns = [
            { thought: "A tool can say this.", text: "I listen. ", calls: [echo("first")] },
            { thought: "And the other.", calls: [readFile("a.txt"), echo("second", "local")] },
            { text: "All is said." },
            { text: "Once more. ", calls: [echo("third")] },
            { text: "It is the same." },
            { text: "Goodbye." }
          ]
          for (const { answers, asked, prompt } of yield* bothWays(sdk, turns, ["again", "and goodbye"])) {
            assert.deepStrictEqual(
              answers.map(({ calls, text }) => [text, calls.length]),
              [
                ["I listen. ", 1],
                ["All is said.", 0],
                ["Once more. It is the same.", 0],
                ["Goodbye.", 0]
              ]
            )
            const shown = (text: string) => (sdk.refers === true ? "reference" : `assistant: ${text}`)
            assert.deepStrictEqual(conversationOf(asked[5]!), [
              `user: ${prompt}`,
              shown("I listen. "),
              'call bmcp_everything_echo {"message":"first"}',
              "result Echo: first",
              'call read_file {"path":"a.txt"}',
              'call bmcp_local_echo {"message":"second"}',
              "result Echo: second",
              "result the file a.txt says ahoy",
              shown("All is said."),
              `user: ${prompt} again`,
              shown("Once more. "),
              'call bmcp_everything_echo {"message":"third"}',
              "result Echo: third",
              shown("It is the same."),
              `user: ${prompt} and goodbye`
            ])
            // What a prompt cache has of one request is there in the next. References are of the SDK's making.
            if (sdk.refers === true) continue
            const said = asked.map(itemsOf)
            for (const [place, items] of said.slice(1).entries()) {
              assert.deepStrictEqual(items.slice(0, said[place]!.length), said[place])
            }
          }
        })
      )

      it.effect("reads ten turns as one answer", () =>
        Effect.gen(function* () {
          const turns = [
            ...Array.from({ length: 9 }, (_, turn) => ({
              ...(turn % 2 === 0 ? { text: `${turn}. ` } : {}),
              calls: [echo(`call ${turn}`, turn % 3 === 0 ? "local" : "everything")]
            })),
            { text: "Ten." }
          ]
          for (const { answers, asked, records } of yield* bothWays(sdk, turns)) {
            assert.deepStrictEqual(
              answers.map(({ calls, text }) => [text, calls]),
              [["0. 2. 4. 6. 8. Ten.", []]]
            )
            assert.deepStrictEqual(
              conversationOf(asked[9]!).filter((line) => line.startsWith("result ")),
              Array.from({ length: 9 }, (_, turn) => `result Echo: call ${turn}`)
            )
            const [{ toolCalls, turns: recorded }] = records as [(typeof records)[0]]
            assert.strictEqual(recorded.length, 10)
            assert.deepStrictEqual(
              toolCalls.map(({ turnId }) => turnId),
              recorded.slice(0, 9).map(({ id }) => id)
            )
          }
        })
      )
    })
  }

  for (const dialect of dialects) {
    describe.concurrent(dialect, () => {
      const form = forms[dialect]
      const sdk = toolSdks.find((one) => one.dialect === dialect)!
      for (const server of serverNames) {
        it.effect(`tells the model what tools of ${server} say, in the form that it can read`, () =>
          Effect.gen(function* () {
            const tool = (name: string, args: object): ModelCall => ({
              name: `bmcp_${server}_${name}`,
              arguments: args
            })
            const turns = [
              {
                calls: [
                  tool("get-sum", { a: 1, b: "two" }),
                  tool("get-tiny-image", {}),
                  tool("get-structured-content", { location: "Chicago" })
                ]
              },
              { text: "An error, an image and the weather." }
            ]
            const { answers, asked, records } = yield* perform(sdk, true, turns)
            assert.strictEqual(answers[0]!.text, "An error, an image and the weather.")
            const [sum, image, weather] = conversationOf(asked[1]!).filter((line) => line.startsWith("result "))
            assert.match(sum!, /expected number/)
            const body = JSON.stringify(asked[1]!.body)
            assert.include(body, form.error)
            const [png] = /iVBORw0KGgo[\w+/=]+/.exec(body) ?? []
            assert.strictEqual(png !== undefined, form.image !== null, "bytes of the image")
            if (form.image === null) assert.match(image!, /image\/png/)
            else assert.include(body, JSON.stringify(form.image(png!)))
            assert.deepStrictEqual(Object.keys(JSON.parse(weather!.slice("result ".length))), [
              "temperature",
              "conditions",
              "humidity"
            ])
            assert.deepStrictEqual(
              records[0]!.toolCalls.map(({ error }) => error?.code),
              ["upstream_status", undefined, undefined]
            )
          })
        )
      }
    })
  }

  for (const store of ["previous_response_id", "conversation"] as const) {
    for (const stream of [true, false]) {
      it.effect(`goes on from a stored answer by its ${store}, ${stream ? "streamed" : "whole"}`, () =>
        Effect.gen(function* () {
          const { begin, gateway } = yield* Running
          const { asked, numbers, prompt } = begin([
            { text: "I listen. ", calls: [echo("first")] },
            { text: "And read. ", calls: [readFile("a.txt"), echo("second")] },
            { text: "Once more. ", calls: [echo("third")] },
            { text: "Goodbye." },
            { text: "It is over." }
          ])
          const { responses } = new OpenAI({ baseURL: `${gateway.url}/openai/v1`, apiKey: "sk-test", maxRetries: 0 })
          const answer = (input: OpenAI.Responses.ResponseInput, before?: OpenAI.Responses.Response) =>
            Effect.promise((): Promise<OpenAI.Responses.Response> => {
              const given = {
                model: "test-model",
                input,
                ...(store === "conversation" ? { conversation: "conv_1" } : {}),
                ...(store === "conversation" || before === undefined ? {} : { previous_response_id: before.id }),
                metadata: { play: prompt }
              }
              return stream ? responses.stream(given).finalResponse() : responses.create(given)
            })
          const first = yield* answer([{ role: "user", content: prompt }])
          const calls = first.output.filter((item) => item.type === "function_call")
          assert.deepStrictEqual(
            calls.map(({ name }) => name),
            ["read_file"]
          )
          const output = [{ type: "function_call_output" as const, call_id: calls[0]!.call_id, output: "ahoy" }]
          const second = yield* answer(output, first)
          assert.strictEqual(second.output_text, "Once more. Goodbye.")
          const third = yield* answer([{ role: "user", content: `${prompt} again` }], second)
          assert.strictEqual(third.output_text, "It is over.")
          const goOn = [
            [`user: ${prompt}`],
            ["assistant: I listen. ", 'call bmcp_everything_echo {"message":"first"}', "result Echo: first"],
            ["result Echo: second", "result ahoy"],
            ["assistant: Once more. ", 'call bmcp_everything_echo {"message":"third"}', "result Echo: third"],
            [`user: ${prompt} again`]
          ]
          const resultsOnly = goOn.map((lines) => lines.filter((line) => /^(user|result)/.test(line)))
          assert.deepStrictEqual(
            asked.map(conversationOf),
            store === "conversation"
              ? resultsOnly
              : [goOn[0]!, goOn.slice(0, 2).flat(), goOn[2]!, goOn.slice(2, 4).flat(), goOn[4]!]
          )
          // The client knows an answer by the id of its first turn, and goes on from its last.
          assert.deepStrictEqual(
            [first.id, second.id],
            [0, 2].map((place) => answerId(numbers[place]))
          )
          assert.deepStrictEqual(
            asked.map(({ body }) => body["previous_response_id"]),
            store === "conversation"
              ? Array.from({ length: 5 }, () => undefined)
              : [undefined, undefined, ...[1, 1, 3].map((place) => answerId(numbers[place]))]
          )
        })
      )
    }
  }

  it.effect("keeps clients alive while tools run, and closes everything where they leave", () =>
    Effect.gen(function* () {
      const { gateway, servers, upstream } = yield* Running
      const inAll = <A, E, R>(
        run: (dialect: DialectName, server: ServerName, place: number) => Effect.Effect<A, E, R>
      ) =>
        Effect.forEach(
          dialects.flatMap((dialect) => serverNames.map((server) => [dialect, server] as const)),
          ([dialect, server], place) => run(dialect, server, place),
          { concurrency: "unbounded", discard: true }
        )

      yield* inAll((dialect, server) =>
        Effect.gen(function* () {
          const answer = yield* operate(dialect, server, 0.6)
          assert.strictEqual(yield* answer.ended, "clean")
          const text = answer.text()
          assert.isAtLeast(text.split(forms[dialect].keepAlive).length - 1, 3, text)
          assert.include(text, "Done.")
          assert.notInclude(text, "bmcp_")
          const { interception, toolCalls } = yield* recordOf(gateway, String(answer.headers[idHeader]))
          assert.strictEqual(interception.status, "completed")
          assert.isAtLeast(toolCalls[0]!.durationMs ?? 0, 550)
        })
      )
      const sockets = gateway.sockets()

      yield* inAll((dialect, server, place) =>
        Effect.gen(function* () {
          const duration = 20 + place
          const answer = yield* operate(dialect, server, duration)
          const { told } = servers[server]
          const called = yield* eventually(() =>
            told().find(({ method, params }) => method === "tools/call" && durationOf(params) === duration)
          )
          yield* eventually(() => answer.text().includes(forms[dialect].keepAlive) || undefined)
          const left = performance.now()
          answer.abort()
          yield* eventually(() =>
            told().find(
              ({ method, params }) => method === "notifications/cancelled" && params?.["requestId"] === called.id
            )
          )
          const { interception, toolCalls, turns, usage } = yield* recordOf(gateway, String(answer.headers[idHeader]))
          assert.isBelow(performance.now() - left, 1_000)
          assert.deepInclude(interception, { status: "cancelled" })
          assert.deepStrictEqual(
            turns.map(({ status }) => status),
            ["completed"]
          )
          assert.strictEqual(usage[0]!.provenance, "provider")
          assert.deepStrictEqual(
            toolCalls.map(({ error, injected }) => [injected, error?.code]),
            [[true, "client_gone"]]
          )
        })
      )
      yield* eventually(() => gateway.sockets() <= sockets || undefined)
      const served = upstream.requests.filter(({ text }) => text.includes("long-running"))
      for (const request of served) assert.strictEqual(yield* request.over, "sent")
    })
  )
})
