import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI, { APIError } from "openai"
import type { ResponseStreamEvent } from "openai/resources/responses/responses"
import { RawClient } from "../support/RawClient.ts"
import type { RawTurn } from "../support/UpstreamServer.ts"
import { type Gateway, startGateway } from "./InProcessGateway.ts"

const client = ({ url }: Gateway, base = "/v1") =>
  new OpenAI({ baseURL: `${url}${base}`, apiKey: "none", maxRetries: 0 })

const simulated = () =>
  startGateway({ config: () => ({ providers: { sim: { type: "simulated" } }, models: { fast: "sim/sim" } }) })

const tools = [
  {
    type: "function" as const,
    name: "get_weather",
    strict: false,
    parameters: { type: "object", properties: { location: { type: "string" } }, required: ["location"] }
  }
]

const failure = (promise: Promise<unknown>): Effect.Effect<unknown> =>
  Effect.promise(() =>
    promise.then(
      () => assert.fail("it did not fail"),
      (error: unknown) => error
    )
  )

const event = (value: { readonly type: string; readonly [key: string]: unknown }): string =>
  `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

const response = (more: object = {}) => ({
  id: "resp_1",
  object: "response",
  created_at: 1_800_000_000,
  status: "in_progress",
  model: "m-1",
  output: [],
  error: null,
  incomplete_details: null,
  usage: null,
  ...more
})

const message = {
  id: "msg_1",
  type: "message",
  role: "assistant",
  status: "in_progress",
  content: [] as Array<unknown>
}
const text = (said: string) => ({ type: "output_text", text: said, annotations: [], logprobs: [] })
const place = { item_id: "msg_1", output_index: 0, content_index: 0 }

const begun = [
  event({ type: "response.created", sequence_number: 0, response: response() }),
  event({ type: "response.output_item.added", sequence_number: 1, output_index: 0, item: message }),
  event({ type: "response.content_part.added", sequence_number: 2, ...place, part: text("") }),
  event({ type: "response.output_text.delta", sequence_number: 3, ...place, delta: "Hi", logprobs: [] })
].join("")

const completed = (more: object) =>
  event({ type: "response.completed", sequence_number: 4, response: response({ status: "completed", ...more }) })

const whole = { ...message, status: "completed", content: [text("Hi")] }

describe("the OpenAI SDK's Responses through the gateway", () => {
  it.live("are called by the client's name for the model, and recorded with what they said and called", () =>
    Effect.gen(function* () {
      const gateway = yield* simulated()
      const given = { model: "fast", input: "[[sim: preamble, reasoning]] The weather in Lisbon?", tools }
      const openai = client(gateway)
      const [folded, body, models] = yield* Effect.promise(async () => {
        const events: Array<ResponseStreamEvent> = []
        const stream = openai.responses.stream(given).on("event", (one) => events.push(one))
        const folded = await stream.finalResponse()
        const models = events.flatMap((one) => ("response" in one ? [one.response.model] : []))
        return [folded, await openai.responses.create(given), models] as const
      })
      assert.deepStrictEqual(models, ["fast", "fast", "fast"])
      assert.deepStrictEqual([folded.model, body.model, folded.id], ["fast", "fast", body.id])
      const [streamed, sent] = yield* gateway.recordings.closed(2)
      for (const [record, transport] of [[streamed!, "sse"] as const, [sent!, "json"] as const]) {
        const { interception, prompts, thoughts, toolCalls, turns, usage } = record
        assert.include(interception, {
          dialect: "openai-responses",
          transport,
          requestedModel: "fast",
          servedModel: "sim"
        })
        assert.include(turns[0]!, { upstreamResponseId: body.id, finishReason: "completed", status: "completed" })
        assert.strictEqual(prompts[0]!.text, given.input)
        assert.deepStrictEqual(
          thoughts.map(({ source }) => source),
          ["reasoning_summary", "commentary"]
        )
        assert.deepStrictEqual(
          toolCalls.map(({ name, arguments: made }) => ({ name, made })),
          [{ name: "get_weather", made: '{"location":"Lisbon"}' }]
        )
        assert.include(usage[0]!, {
          input: body.usage!.input_tokens,
          output: body.usage!.output_tokens,
          reasoning: body.usage!.output_tokens_details.reasoning_tokens,
          provenance: "provider"
        })
      }
    })
  )

  it.live("throw where the upstream breaks off, whatever was said by then", () =>
    Effect.gen(function* () {
      const cut = (...steps: NonNullable<RawTurn["steps"]>): RawTurn => ({ steps: [begun, { wait: 20 }, ...steps] })
      const gateway = yield* startGateway({ turns: [cut({ reset: true }), cut(), cut({ fin: true })] })
      const openai = client(gateway, "/up/v1")
      for (let n = 0; n < 3; n++) {
        const error = yield* failure(openai.responses.stream({ model: "m", input: "x" }).finalResponse())
        assert.instanceOf(error, APIError)
        assert.strictEqual((error as APIError).code, "upstream_cut")
      }
      const records = yield* gateway.recordings.closed(3)
      assert.deepStrictEqual(
        records.map(({ interception }) => interception.error?.code),
        ["upstream_cut", "upstream_cut", "upstream_cut"]
      )
    })
  )

  it.live("wait through a silence that is filled with keep-alives", () =>
    Effect.gen(function* () {
      const end = completed({ output: [whole] })
      const gateway = yield* startGateway({
        turns: [{ steps: [{ wait: 350 }, begun, { wait: 350 }, end] }],
        config: (url) => ({
          providers: { up: { type: "openai", base_url: `${url}/v1`, api_key: "k" } },
          limits: { keep_alive: "100 millis" }
        })
      })
      const said = yield* Effect.promise(() =>
        client(gateway, "/up/v1").responses.stream({ model: "m", input: "x" }).finalResponse()
      )
      assert.strictEqual(said.output_text, "Hi")
      assert.strictEqual(said.status, "completed")
    })
  )
})

const post = (gateway: Gateway, body: object, path = "/up/v1/responses") =>
  Effect.gen(function* () {
    const request = {
      url: `${gateway.url}${path}`,
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" }
    }
    const answer = yield* RawClient.send(request)
    yield* answer.ended
    return answer
  })

const json = (body: object): RawTurn => ({
  headers: { "content-type": "application/json" },
  steps: [JSON.stringify(body)]
})

describe("Responses at the gateway", () => {
  it.live("need a model only where nothing else tells whose they are", () =>
    Effect.gen(function* () {
      const gateway = yield* startGateway({ turns: [json(response({ status: "completed" }))] })
      const body = { prompt: { id: "pmpt_1" } }
      assert.strictEqual((yield* post(gateway, body)).status, 200)
      assert.strictEqual(gateway.upstream.requests[0]!.text, JSON.stringify(body))
      const refused = yield* post(gateway, body, "/v1/responses")
      assert.strictEqual(refused.status, 400)
      const { error } = JSON.parse(refused.text()) as { error: { type: string; param: string } }
      assert.include(error, { type: "invalid_request_error", param: "model" })
      assert.strictEqual(gateway.upstream.requests.length, 1)
      const [served, rejected] = yield* gateway.recordings.closed(2)
      assert.include(served!.interception, { requestedModel: null, servedModel: "m-1", status: "completed" })
      assert.include(rejected!.interception, { status: "rejected" })
    })
  )

  it.live("that are made in the background settle once, as incomplete, with nothing known of their usage", () =>
    Effect.gen(function* () {
      const queued = response({ status: "queued", background: true })
      const gateway = yield* startGateway({ turns: [json(queued)] })
      const answer = yield* post(gateway, { model: "m", input: "x", background: true })
      assert.strictEqual(answer.text(), JSON.stringify(queued))
      const [{ interception, turns, usage }] = (yield* gateway.recordings.closed(1)) as [never]
      assert.include(interception, { status: "incomplete", error: null })
      assert.include(turns[0]!, { status: "incomplete", finishReason: "queued", upstreamResponseId: "resp_1" })
      assert.include(usage[0]!, { provenance: "unknown", input: null, output: null })
    })
  )

  it.live("are compacted unread, and what that used is recorded", () =>
    Effect.gen(function* () {
      const compacted = { id: "cmp_1", output: [], usage: { input_tokens: 9, output_tokens: 4, total_tokens: 13 } }
      const gateway = yield* startGateway({ turns: [json(compacted)] })
      yield* post(gateway, { model: "m", input: [] }, "/up/v1/responses/compact")
      const [record] = yield* gateway.recordings.closed(1)
      assert.isNull(record!.interception.dialect)
      assert.include(record!.usage[0]!, { input: 9, output: 4, provenance: "provider" })
    })
  )

  it.live("of 3 MB of arguments in pieces and 10 MB in one last event come through, and are recorded", () =>
    Effect.gen(function* () {
      const given = JSON.stringify({ text: 'a "quoted" \\ 👋\n'.repeat(150_000) })
      const call = { id: "fc_1", type: "function_call", call_id: "call_1", name: "write", arguments: given }
      const large = { ...message, content: [text("word\n".repeat(1_200_000))] }
      const pieces = given.match(/.{1,100}/gsu)!
      const sent = [
        event({ type: "response.created", sequence_number: 0, response: response() }),
        ...pieces.map((delta, n) =>
          event({ type: "response.function_call_arguments.delta", sequence_number: n + 1, item_id: "fc_1", delta })
        ),
        event({ type: "response.output_item.done", output_index: 0, item: call }),
        completed({ output: [call, large], usage: { input_tokens: 7, output_tokens: 8 } })
      ].join("")
      const bytes = Buffer.from(sent)
      assert.isAbove(bytes.length, 15_000_000)
      const chunks = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, n) =>
        bytes.subarray(n * 65_536, (n + 1) * 65_536)
      )
      const gateway = yield* startGateway({ turns: [{ steps: chunks }] })
      const answer = yield* post(gateway, { model: "m", input: "x", stream: true })
      assert.isTrue(Buffer.concat(answer.chunks).equals(bytes), "other bytes")
      const [record] = yield* gateway.recordings.closed(1)
      assert.include(record!.turns[0]!, { status: "completed", finishReason: "completed" })
      assert.strictEqual(record!.toolCalls.length, 1)
      assert.isTrue(record!.toolCalls[0]!.arguments === given, "other arguments")
      assert.include(record!.usage[0]!, { input: 7, output: 8, provenance: "provider" })
    })
  )
})
