import { Effect, Predicate } from "effect"
import { isAnthropicCaller } from "../dialect/ModelList.ts"
import {
  type Exchanger,
  type ExchangeRequest,
  type HeaderMap,
  orGivenUp,
  Unreachable,
  UpstreamError
} from "./Exchange.ts"
import { chatCompletions } from "./simulated/ChatCompletions.ts"
import {
  type Failure,
  invalid,
  type JsonObject,
  type Manner,
  openAi,
  type SimulatedDialect
} from "./simulated/Dialect.ts"
import { type Directives, none, readDirectives, type Unreadable, vocabulary } from "./simulated/Directives.ts"
import { embeddings } from "./simulated/Embeddings.ts"
import { messages } from "./simulated/Messages.ts"
import { modelBody, modelsBody } from "./simulated/Models.ts"
import { playback, type Step } from "./simulated/Playback.ts"
import { makeRandom } from "./simulated/Random.ts"
import { responses } from "./simulated/Responses.ts"
import { answer } from "./simulated/Script.ts"

/** The protocols it speaks; one value each. */
const dialects: ReadonlyArray<SimulatedDialect> = [chatCompletions, responses, messages]

/** What is sent before any fault: status, headers and the pieces of the body, each whole in its transport. */
interface Reply {
  readonly status: number
  readonly headers: HeaderMap
  readonly pieces: ReadonlyArray<string>
}

const json = (status: number, body: string, headers: HeaderMap = {}): Reply => ({
  status,
  headers: { "content-type": "application/json", ...headers },
  pieces: [body]
})

/** How a call is answered in the manner of its vendor. */
interface Voice extends Manner {
  readonly requestId: string
}

const refuse = (voice: Voice, failure: Failure, headers: HeaderMap = {}): Reply =>
  json(failure.status, voice.failure(failure, voice.requestId), headers)

const unreadable = ({ message, where }: Unreadable, model: string): Failure => {
  const known = `The simulated provider knows: ${vocabulary.join(", ")}.`
  return where === "model"
    ? invalid(
        `The model \`${model}\` does not exist: ${message}. ${known} A model is \`sim-\` and directives joined by +, with - for =; any other name is a plain model.`,
        null,
        "model_not_found",
        404
      )
    : invalid(`The prompt's [[sim: …]] cannot be read: ${message}. ${known}`, "messages", "invalid_directive")
}

/** The error of a status that was asked for, as OpenAI words it. */
const failureOf = (status: number, quota: boolean): Failure => {
  const failure = (message: string, type: string, code: string | null): Failure => ({
    status,
    message,
    type,
    param: null,
    code
  })
  if (quota) {
    const message = "You exceeded your current quota, please check your plan and billing details."
    return failure(message, "insufficient_quota", "insufficient_quota")
  }
  switch (status) {
    case 401:
      return failure("Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
    case 404:
      return failure(
        "The model does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found"
      )
    case 429:
      return failure("Rate limit reached for requests. Please try again in 1s.", "requests", "rate_limit_exceeded")
    case 503:
      return failure("The engine is currently overloaded, please try again later.", "server_error", null)
  }
  return status < 500
    ? failure(`The simulated provider was asked for status ${status}.`, "invalid_request_error", null)
    : failure("The server had an error while processing your request. Sorry about that!", "server_error", null)
}

const inStreamFailure: Failure = {
  status: 500,
  message: "The server had an error while processing your request. Sorry about that!",
  type: "server_error",
  param: null,
  code: null
}

/** Breaks the JSON of an event, or of a body, in its middle and keeps what closes it. */
const malform = (piece: string): string => {
  const closing = /\n+$/.exec(piece)?.[0] ?? ""
  const data = /^(?:event: .*\n)?data: /.exec(piece)?.[0].length ?? 0
  return piece.slice(0, data + Math.max(1, Math.floor((piece.length - data - closing.length) / 2))) + closing
}

/** The events of a stream with the faults that change events. */
const faultyEvents = (
  dialect: SimulatedDialect,
  events: ReadonlyArray<string>,
  directives: Directives
): ReadonlyArray<string> => {
  let out = directives.done ? events : events.filter((event) => !dialect.isDone(event))
  if (directives.malformed !== undefined) {
    const at = Math.min(directives.malformed, out.length) - 1
    out = out.map((event, index) => (index === at ? malform(event) : event))
  }
  if (directives.error !== undefined) {
    const before = out.slice(0, directives.error)
    out = [...before, dialect.failureEvent(inStreamFailure, before.length)]
  }
  if (directives.comments) out = out.flatMap((event) => [": SIMULATED PROCESSING\n\n", event])
  return directives.crlf ? out.map((event) => event.replaceAll("\n", "\r\n")) : out
}

const parse = (body: Buffer | null): JsonObject | undefined => {
  try {
    const value: unknown = JSON.parse(body?.toString("utf8") ?? "")
    return Predicate.isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** The first text of an embeddings request, which may carry directives as a prompt does. */
const firstInput = (input: unknown): string => {
  const first: unknown = Array.isArray(input) ? input[0] : input
  return typeof first === "string" ? first : ""
}

/** What a request is answered with, and the directives for sending it. */
interface Plan {
  readonly reply: Reply
  readonly directives: Directives
}

const plain = (reply: Reply): Plan => ({ reply, directives: none })

const failedByStatus = (voice: Voice, directives: Directives, status: number): Plan => {
  const retryAfter = directives.retryAfter ?? (status === 429 && !directives.quota ? 1 : undefined)
  const headers: HeaderMap = retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }
  return { directives, reply: refuse(voice, failureOf(status, directives.quota), headers) }
}

const converse = (
  dialect: SimulatedDialect,
  beside: string | undefined,
  body: JsonObject,
  seed: number,
  voice: Voice
): Plan => {
  const conversation = dialect.read(body)
  if ("status" in conversation) return plain(refuse(voice, conversation))
  const read = readDirectives(conversation.model, conversation.prompt)
  if ("where" in read) return plain(refuse(voice, unreadable(read, conversation.model)))
  const { directives, prompt } = read
  if (directives.status !== undefined) return failedByStatus(voice, directives, directives.status)
  const call = beside === undefined ? undefined : dialect.beside?.get(beside)
  if (call !== undefined) return { directives, reply: json(200, call(conversation, directives)) }
  const said = answer(conversation, directives, prompt, seed)
  const streamed = directives.as === undefined ? conversation.stream : directives.as === "sse"
  if (!streamed) {
    const whole = dialect.whole(said, directives, body)
    return { directives, reply: json(200, directives.malformed === undefined ? whole : malform(whole)) }
  }
  const pieces = faultyEvents(dialect, dialect.stream(said, directives, body), directives)
  return { directives, reply: { status: 200, headers: { "content-type": "text/event-stream; charset=utf-8" }, pieces } }
}

const embed = (body: JsonObject, seed: number, voice: Voice): Plan => {
  const model = typeof body.model === "string" ? body.model : ""
  const read = readDirectives(model, firstInput(body.input))
  if ("where" in read) return plain(refuse(voice, unreadable(read, model)))
  if (read.directives.status !== undefined) return failedByStatus(voice, read.directives, read.directives.status)
  const made = embeddings(body, seed)
  return { directives: read.directives, reply: typeof made === "string" ? json(200, made) : refuse(voice, made) }
}

/** The path of a request, without its query. */
const pathOf = (request: ExchangeRequest): string => request.target.replace(/\?.*$/s, "")

/** The dialect that a path is of, and the call beside its main one that the path means, if any. */
const callAt = (path: string) => {
  for (const dialect of dialects) {
    if (path.endsWith(dialect.path)) return { dialect, beside: undefined }
    const beside = [...(dialect.beside?.keys() ?? [])].find((one) => path.endsWith(one))
    if (beside !== undefined) return { dialect, beside }
  }
  return { dialect: undefined, beside: undefined }
}

const plan = (request: ExchangeRequest, seed: number, requestId: string): Plan & { readonly voice: Voice } => {
  const path = pathOf(request).replace(/\/+$/, "")
  const { beside, dialect } = callAt(path)
  // Calls of no protocol are answered in the manner of whoever's clients make them.
  const voice = { ...(dialect ?? (isAnthropicCaller(request.headers) ? messages : openAi)), requestId }
  return { ...planFor(request, path, seed, voice, dialect, beside), voice }
}

const planFor = (
  request: ExchangeRequest,
  path: string,
  seed: number,
  voice: Voice,
  dialect: SimulatedDialect | undefined,
  beside: string | undefined
): Plan => {
  const refused = (failure: Failure) => plain(refuse(voice, failure))
  const notAllowed = () =>
    refused(invalid(`Not allowed to ${request.method} on ${path}`, null, "method_not_supported", 405))
  if (dialect !== undefined || path.endsWith("/embeddings")) {
    if (request.method !== "POST") return notAllowed()
    const body = parse(request.body)
    if (body === undefined) {
      return refused(invalid("We could not parse the JSON body of your request: expected an object.", null, null))
    }
    return dialect === undefined ? embed(body, seed, voice) : converse(dialect, beside, body, seed, voice)
  }
  const model = /\/models(?:\/([^/]+))?$/.exec(path)
  if (model === null) {
    return refused(invalid(`Invalid URL (${request.method} ${path})`, null, "unknown_url", 404))
  }
  if (request.method !== "GET") return notAllowed()
  const isAnthropic = isAnthropicCaller(request.headers)
  if (model[1] === undefined)
    return plain(json(200, modelsBody(request.target.slice(pathOf(request).length), isAnthropic)))
  // Unlike decodeURIComponent this leaves a broken escape as it is.
  const id = new URLSearchParams(`id=${model[1].replaceAll("+", "%2B")}`).get("id") ?? ""
  const read = readDirectives(id, "")
  return "where" in read ? refused(unreadable(read, id)) : plain(json(200, modelBody(id, isAnthropic)))
}

/** The pieces of a body as network chunks: of so many events, or cut at so many bytes. */
const chunksOf = (pieces: ReadonlyArray<string>, { bytes, events }: Directives): ReadonlyArray<Buffer> => {
  const chunks: Array<Buffer> = []
  if (bytes !== undefined) {
    const whole = Buffer.from(pieces.join(""))
    for (let at = 0; at < whole.length; at += bytes) chunks.push(whole.subarray(at, at + bytes))
    return chunks
  }
  for (let at = 0; at < pieces.length; at += events) {
    chunks.push(Buffer.from(pieces.slice(at, at + events).join("")))
  }
  return chunks
}

/** The chunks up to a number of bytes. */
const limit = (chunks: ReadonlyArray<Buffer>, most: number | "half"): ReadonlyArray<Buffer> => {
  let left = most === "half" ? Math.floor(chunks.reduce((sum, chunk) => sum + chunk.length, 0) / 2) : most
  const kept: Array<Buffer> = []
  for (const chunk of chunks) {
    if (left <= 0) break
    kept.push(chunk.subarray(0, left))
    left -= chunk.length
  }
  return kept
}

/** How the body goes out: its chunks, the silences between them, and how it ends. */
const stepsOf = (pieces: ReadonlyArray<string>, directives: Directives): ReadonlyArray<Step> => {
  const { cut, delay, eof, first, stall } = directives
  let chunks = chunksOf(stall !== undefined && pieces.length > 1 ? pieces.slice(0, stall) : pieces, directives)
  // A JSON body is one piece: it stalls in its middle.
  if (stall !== undefined && pieces.length === 1) chunks = stall === 0 ? [] : limit(chunks, "half")
  if (cut !== undefined) chunks = limit(chunks, cut)
  if (eof !== undefined) chunks = limit(chunks, eof)
  const steps: Array<Step> = []
  chunks.forEach((chunk, index) => {
    const silence = index === 0 ? first : delay
    if (silence !== undefined && silence > 0) steps.push({ wait: silence })
    steps.push(chunk)
  })
  if (cut !== undefined) steps.push({ cut: true })
  else if (stall !== undefined) steps.push({ hang: true })
  return steps
}

/**
 * Makes a deterministic imitation of a provider, for demonstrations, tests and documentation. It needs no network and
 * no key, and asks for neither.
 *
 * It answers `POST …/chat/completions` and `POST …/responses` in the bytes of OpenAI's API and `POST …/messages` in those
 * of Anthropic's, streamed and not; `POST …/responses/input_tokens`; `POST …/messages/count_tokens`; `POST …/embeddings`;
 * `GET …/models` and `GET …/models/{id}`, to callers with Anthropic's headers in Anthropic's shape. Anything else is a 404.
 *
 * **Deterministic.** The same seed and conversation give the same bytes. Ids, `created` (a second of the year 2026) and
 * every random word come from a hash of the seed and the messages (with the request's own `seed`), never from the
 * clock; the model's name and the options of the stream are left out of the hash, so that a request which a gateway
 * has edited is told the same. Times pass by the Effect clock.
 *
 * **What it says.** A short sentence that quotes the prompt. It calls a declared tool when `tool_choice` demands it or
 * the prompt names the tool, or what its name is about ("weather" for `get_weather`), with arguments made from the
 * tool's JSON Schema; once there are results it answers from them. `n`, `max_tokens` and `response_format` are obeyed.
 *
 * **Directives** stand in the prompt, `[[sim: tool=get_weather, delay=20ms]]` anywhere in the last message of the user,
 * or in the model's name, `sim-tool-get_weather+delay-20ms`. An unknown one is answered with 400 in the prompt, with 404
 * in the model's name, and a list of what there is. A name that does not begin with `sim-` is a plain model.
 *
 * | directive | what it does |
 * |---|---|
 * | `words=N` | says N words, some of letters with several bytes |
 * | `reasoning`, `reasoning=reasoning` | thinks first, in `reasoning_content` or in `reasoning` |
 * | `refusal` | refuses, in `refusal` |
 * | `failed` | the answer ends as failed, without usage, where its protocol has that: `response.failed` |
 * | `finish=stop\|length\|tool_calls\|content_filter` | the finish reason, whatever was said; every protocol has its own words for it |
 * | `tool=NAME` | calls this tool, declared or not, also by what its name ends in; several of them are called at once |
 * | `parallel=N` | calls each tool N times at once |
 * | `rounds=N` | calls tools in N rounds before it answers (1) |
 * | `args=JSON` | these arguments, as they stand |
 * | `preamble` | says a sentence before the call |
 * | `usage=last` | usage in a chunk of its own before the end, asked for or not; by default only when asked for |
 * | `usage=finish` | usage on the chunk with the finish reason |
 * | `usage=every-chunk` | running totals on every chunk |
 * | `usage=none` | no usage, asked for or not, in JSON neither |
 * | `input=N`, `output=N`, `cached=N` | these counts; `cached` may be more than the input |
 * | `cache-write=N`, `cache-write-1h=N` | of the input, what was written to a cache for five minutes, and for an hour |
 * | `wait=TIME` | silence before the head; a time is `20ms`, `1.5s`, `2m` or milliseconds |
 * | `first=TIME` | silence between the head and the first chunk |
 * | `delay=TIME` | silence between chunks |
 * | `slow` | `first=500ms, delay=100ms` |
 * | `events=N` | N events in one network chunk (1) |
 * | `bytes=N` | network chunks of N bytes, wherever that cuts |
 * | `crlf`, `comments`, `obfuscation` | lines end in CRLF; a comment before every event; OpenAI's padding field |
 * | `as=sse\|json` | this transport, whatever `stream` says |
 * | `no-done` | the stream ends without `[DONE]`, `response.completed`, `message_stop` |
 * | `429`, `500`, …, `status=N` | an error of this status; 429 carries `retry-after: 1` |
 * | `retry-after=SECONDS` | the header of such an error |
 * | `quota` | 429 with `insufficient_quota` and without `retry-after` |
 * | `refused` | the connection is refused |
 * | `hang` | no head, ever |
 * | `stall=N` | silence without end after N events (3); a JSON body stalls in its middle |
 * | `cut=N` | the connection breaks at byte N, or where a shorter body ends; without N in the middle |
 * | `eof=N` | the body ends cleanly at byte N; without N in its middle |
 * | `malformed=N` | the Nth event (2) is not JSON, or the JSON body is not |
 * | `error=N` | an error event after N events (3), and nothing behind it |
 *
 * @param options.seed Changes every id, time and random word. 0 unless given.
 * @param options.provider The name that errors carry. `simulated` unless given.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { simulated } from "sluice/testing"
 *
 * const program = Effect.gen(function* () {
 *   const exchange = yield* simulated({ seed: 7 })({
 *     method: "POST",
 *     origin: "http://sim",
 *     target: "/v1/chat/completions",
 *     headers: { "content-type": "application/json" },
 *     body: Buffer.from(JSON.stringify({ model: "sim", messages: [{ role: "user", content: "Hi" }] }))
 *   })
 *   return yield* Stream.fromPull(Effect.succeed(exchange.body.pull)).pipe(Stream.decodeText, Stream.mkString)
 * }).pipe(Effect.scoped)
 * ```
 */
export const simulated = (options: { readonly seed?: number; readonly provider?: string } = {}): Exchanger => {
  const { provider = "simulated", seed = 0 } = options
  return Effect.fnUntraced(
    function* (request) {
      const id = makeRandom(seed, request.method, pathOf(request), request.body?.toString("latin1") ?? "").id(32)
      const { directives, reply, voice } = plan(request, seed, `req_${id.toLowerCase()}`)
      if (directives.refused) {
        const detail = `connect ECONNREFUSED ${request.origin}`
        return yield* new UpstreamError({ provider, reason: new Unreachable({ detail }) })
      }
      if (directives.wait !== undefined) yield* Effect.sleep(directives.wait)
      if (directives.hang) return yield* Effect.never
      const headers: HeaderMap = { ...reply.headers, ...voice.headers(voice.requestId) }
      return yield* playback(provider, { status: reply.status, headers }, stepsOf(reply.pieces, directives))
    },
    (exchange, request) => orGivenUp(exchange, request.giveUp)
  )
}
