import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { DialectName } from "../../src/dialect/Dialect.ts"
import { Gateway } from "../support/Gateway.ts"
import { RawClient } from "../support/RawClient.ts"
import { UpstreamServer } from "../support/UpstreamServer.ts"

/**
 * By how many bytes the gateway's peak resident memory may exceed what it held when it had only started. Measured on
 * two busy cores: 60 to 120 MB for these answers, and 1 MB for small ones. After a full collection nothing of it is
 * left on the heap; the margin is for V8, which collects late where memory is plentiful.
 */
const bound = 180_000_000

/** How many bytes the upstream puts into one write. */
const writeSize = 65_536

/** How many characters of the arguments one event carries. */
const pieceSize = 100

const event = (value: { readonly type: string; readonly [name: string]: unknown }): string =>
  `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

const nameless = (value: object): string => `data: ${JSON.stringify(value)}\n\n`

/** Text of about so many bytes that is different at every place, and needs escapes in JSON and several bytes in UTF-8. */
const textOf = (bytes: number): string => {
  const lines: Array<string> = []
  for (let size = 0, n = 0; size < bytes; n++) {
    const line = `${n}: "größer" \\ ${n * 7919} — ✓\n`
    size += Buffer.byteLength(JSON.stringify(line)) - 2
    lines.push(line)
  }
  return lines.join("")
}

const argumentsOf = { path: "notes/größe.md", content: textOf(3_000_000) }
const argumentsText = JSON.stringify(argumentsOf)

const pieces = Array.from({ length: Math.ceil(argumentsText.length / pieceSize) }, (_, i) =>
  argumentsText.slice(i * pieceSize, (i + 1) * pieceSize)
)

interface Usage {
  readonly input: number
  readonly cacheRead: number
  readonly output: number
}

interface Case {
  readonly name: string
  readonly dialect: DialectName
  readonly path: string
  readonly request: object
  readonly answer: string
  readonly call: { readonly callId: string; readonly name: string; readonly arguments: unknown }
}

const question = [{ role: "user", content: "Write it down." }]
const usage: Usage = { input: 1_000, cacheRead: 500, output: 900_000 }
const writeFile = { callId: "call_1", name: "write_file", arguments: argumentsOf }

const responsesUsage = {
  input_tokens: 1_500,
  input_tokens_details: { cached_tokens: 500 },
  output_tokens: 900_000,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 901_500
}

const response = (status: string, output: ReadonlyArray<object>, counted: object | null) => ({
  type: status === "completed" ? "response.completed" : "response.created",
  response: { id: "resp_1", object: "response", status, error: null, model: "m", output, usage: counted }
})

const callItem = (given: string) => ({
  id: "fc_1",
  type: "function_call",
  status: "completed",
  arguments: given,
  call_id: "call_1",
  name: "write_file"
})

const completedOfTenMegabytes = (): string => {
  const message = (text: string) => ({
    id: "msg_1",
    type: "message",
    status: "completed",
    role: "assistant",
    content: [{ type: "output_text", annotations: [], logprobs: [], text }]
  })
  return [
    event(response("in_progress", [], null)),
    event(response("completed", [message(textOf(10_000_000)), callItem('{"path":"a"}')], responsesUsage))
  ].join("")
}

/** The arguments come four times: in pieces, and whole in each of the three events that say what was made of them. */
const responsesArguments = (): string => {
  const place = { item_id: "fc_1", output_index: 0 }
  return [
    event(response("in_progress", [], null)),
    event({ type: "response.output_item.added", output_index: 0, item: { ...callItem(""), status: "in_progress" } }),
    ...pieces.map((delta) => event({ type: "response.function_call_arguments.delta", ...place, delta })),
    event({ type: "response.function_call_arguments.done", ...place, arguments: argumentsText }),
    event({ type: "response.output_item.done", output_index: 0, item: callItem(argumentsText) }),
    event(response("completed", [callItem(argumentsText)], responsesUsage))
  ].join("")
}

const chatArguments = (): string => {
  const chunk = (choices: ReadonlyArray<object>, counted: object | null = null) =>
    nameless({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices, usage: counted })
  const delta = (value: object, finish_reason: string | null = null) =>
    chunk([{ index: 0, delta: value, finish_reason }])
  const call = (more: object) => delta({ tool_calls: [{ index: 0, ...more }] })
  return [
    call({ id: "call_1", type: "function", function: { name: "write_file", arguments: "" } }),
    ...pieces.map((piece) => call({ function: { arguments: piece } })),
    delta({}, "tool_calls"),
    chunk([], { prompt_tokens: 1_500, prompt_tokens_details: { cached_tokens: 500 }, completion_tokens: 900_000 }),
    "data: [DONE]\n\n"
  ].join("")
}

const messagesArguments = (): string => {
  const counts = { input_tokens: 1_000, cache_creation_input_tokens: 0, cache_read_input_tokens: 500 }
  const head = { id: "msg_1", type: "message", role: "assistant", model: "m", content: [], stop_reason: null }
  const tool = { type: "tool_use", id: "call_1", name: "write_file", input: {} }
  return [
    event({ type: "message_start", message: { ...head, usage: { ...counts, output_tokens: 1 } } }),
    event({ type: "content_block_start", index: 0, content_block: tool }),
    ...pieces.map((partial_json) =>
      event({ type: "content_block_delta", index: 0, delta: { type: "input_json_delta", partial_json } })
    ),
    event({ type: "content_block_stop", index: 0 }),
    event({ type: "message_delta", delta: { stop_reason: "tool_use" }, usage: { output_tokens: 900_000 } }),
    event({ type: "message_stop" })
  ].join("")
}

const cases: ReadonlyArray<Case> = [
  {
    name: "a response.completed event of 10 MB",
    dialect: "openai-responses",
    path: "/v1/responses",
    request: { input: question },
    answer: completedOfTenMegabytes(),
    call: { ...writeFile, arguments: { path: "a" } }
  },
  {
    name: "tool arguments of 3 MB over Chat Completions",
    dialect: "openai-chat",
    path: "/v1/chat/completions",
    request: { messages: question, stream_options: { include_usage: true } },
    answer: chatArguments(),
    call: writeFile
  },
  {
    name: "tool arguments of 3 MB over Responses",
    dialect: "openai-responses",
    path: "/v1/responses",
    request: { input: question },
    answer: responsesArguments(),
    call: writeFile
  },
  {
    name: "tool arguments of 3 MB over Messages",
    dialect: "anthropic-messages",
    path: "/v1/messages",
    request: { max_tokens: 1_000_000, messages: question },
    answer: messagesArguments(),
    call: writeFile
  }
]

/** A process's resident memory in bytes, as it is now or as it was at its highest (proc_pid_status(5)). */
const memory = (pid: number, what: "VmRSS" | "VmHWM"): number => {
  const status = readFileSync(`/proc/${pid}/status`, "latin1")
  return Number(new RegExp(`^${what}:\\s*(\\d+) kB$`, "m").exec(status)?.[1]) * 1024
}

/** What is read back of an interception. */
interface Detail {
  readonly interception: { readonly dialect: string; readonly status: string }
  readonly usage: ReadonlyArray<Usage & { readonly provenance: string }>
  readonly toolCalls: ReadonlyArray<Case["call"]>
}

// Memory is read in /proc.
describe.skipIf(process.platform !== "linux")("large answers", { timeout: 20_000 }, () => {
  for (const { name, dialect, path, request, answer, call } of cases) {
    it.live(`${name}: every byte, the records, and no more than ${bound / 1e6} MB of memory`, () =>
      Effect.gen(function* () {
        const bytes = Buffer.from(answer)
        const steps = Array.from({ length: Math.ceil(bytes.length / writeSize) }, (_, i) =>
          bytes.subarray(i * writeSize, (i + 1) * writeSize)
        )
        const upstream = yield* UpstreamServer.make([{ steps }])
        const gateway = yield* Gateway.start({
          config: { providers: { up: { type: "openai-compatible", base_url: upstream.url, dialects: [dialect] } } }
        })
        const idle = memory(gateway.pid, "VmRSS")

        const received = yield* RawClient.post(`${gateway.url}/up${path}`, { model: "m", stream: true, ...request })
        assert.deepStrictEqual([yield* received.ended, received.status], ["clean", 200])
        const grown = memory(gateway.pid, "VmHWM") - idle
        // Not compared by an assertion: what it would print of a difference is of no use.
        assert.isTrue(received.body().equals(bytes), "the client got other bytes than the upstream sent")
        assert.isBelow(grown, bound)

        const id = String(received.headers["x-sluice-interception-id"])
        const read = yield* RawClient.send({ url: `${gateway.url}/api/interceptions/${id}` })
        assert.deepStrictEqual([yield* read.ended, read.status], ["clean", 200])
        const { interception, usage: used, toolCalls } = JSON.parse(read.text()) as Detail
        assert.deepInclude(interception, { dialect, status: "completed" })
        assert.deepStrictEqual(
          used.map(({ input, cacheRead, output, provenance }) => ({ input, cacheRead, output, provenance })),
          [{ ...usage, provenance: "provider" }]
        )
        assert.deepStrictEqual(
          toolCalls.map((one) => [one.callId, one.name]),
          [[call.callId, call.name]]
        )
        const recorded = JSON.stringify(toolCalls[0]?.arguments)
        assert.isTrue(recorded === JSON.stringify(call.arguments), "the recorded arguments are not those that came")
      })
    )
  }
})
