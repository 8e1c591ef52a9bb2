import { Effect, type Scope } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { Gateway, type NotListening } from "../support/Gateway.ts"
import type { RawStep, RawTurn, ServedRequest } from "../support/UpstreamServer.ts"
import { type UpstreamSocket, WebSocketUpstream, type WebSocketUpstreamOptions } from "../support/WebSocketUpstream.ts"
import { type Asked, read, streamed } from "./Model.ts"
import type { ModelAnswer } from "./ModelAnswer.ts"
import { makeUpstream } from "./Scene.ts"

type Json = { readonly [name: string]: unknown }

/**
 * One step of an answer: an event as JSON text, silence for so many milliseconds, or the end of the connection, by a
 * reset or by a close frame with a code.
 */
export type SocketStep = string | { readonly wait: number } | { readonly reset: true } | { readonly close: number }

/** What the model answers, by the request and its number among those of the model, from 0. Warm-ups do not count. */
export type SocketScript = (asked: Asked, turn: number) => ReadonlyArray<SocketStep>

/** A `response.create` as it came in. */
export interface Create {
  /** The connection it came over, numbered from 0. */
  readonly connection: number
  readonly body: Json
  /** How many items its own input has. */
  readonly items: number
  /** `performance.now()` when it came. */
  readonly receivedAt: number
}

/** A model that is asked over WebSockets, and remembers what it said on each. */
export interface SocketModel extends WebSocketUpstream {
  readonly creates: ReadonlyArray<Create>
}

/** The events of an answer as messages. */
export const messages = (asked: Asked, answer: Omit<ModelAnswer, "model">): ReadonlyArray<string> =>
  streamed(asked, answer).map((event) => /^data: (.*)$/m.exec(event)![1]!)

/** An error as a message: with the headers that it would have had as an answer by HTTP. */
export const errorMessage = (status: number, code: string, headers?: { readonly [name: string]: string }): string =>
  JSON.stringify({
    type: "error",
    status,
    error: { type: status === 429 ? "rate_limit_error" : "invalid_request_error", code, message: `error ${code}` },
    ...(headers === undefined ? {} : { headers })
  })

const itemsOf = ({ input }: Json): ReadonlyArray<unknown> =>
  typeof input === "string" ? [{ role: "user", content: input }] : Array.isArray(input) ? input : []

/** As much of a request as is read of one. */
const served = (body: Json, connection: number): ServedRequest => {
  const text = JSON.stringify(body)
  return {
    method: "POST",
    url: "/v1/responses",
    headers: {},
    rawHeaders: [],
    body: Buffer.from(text),
    text,
    connection,
    receivedAt: performance.now(),
    abortedAt: undefined,
    over: Effect.succeed("sent")
  }
}

const sleep = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds))

/** Plays an answer; says whether the connection lives on. */
const play = async (socket: UpstreamSocket, steps: ReadonlyArray<SocketStep>): Promise<boolean> => {
  for (const step of steps) {
    if (typeof step === "string") socket.send(step)
    else if ("wait" in step) await sleep(step.wait)
    else {
      // What was sent is to arrive before the end does.
      await sleep(20)
      if ("reset" in step) socket.drop("reset")
      else socket.close(step.close)
      return false
    }
  }
  return true
}

/**
 * Starts a model that speaks Responses over WebSockets alone. A response may be continued on its connection, whatever
 * `store` says; warm-ups (`generate: false`) are answered without the script.
 *
 * @param options how handshakes are answered
 */
export const makeSocketModel = (
  script: SocketScript,
  options: Omit<WebSocketUpstreamOptions, "onConnection"> = {}
): Effect.Effect<SocketModel, never, Scope.Scope> =>
  Effect.gen(function* () {
    const creates: Array<Create> = []
    let connections = 0
    let turns = 0
    let warmUps = 0

    const serve = (socket: UpstreamSocket) => {
      const connection = connections++
      const memory = new Map<unknown, ReadonlyArray<unknown>>()
      let previous = Promise.resolve(true)

      const answer = (create: Json): Promise<boolean> => {
        const known = memory.get(create["previous_response_id"])
        if (typeof create["previous_response_id"] === "string" && known === undefined) {
          return play(socket, [errorMessage(400, "previous_response_not_found")])
        }
        const input = [...(known ?? []), ...itemsOf(create)]
        const asked = read("openai-responses", served({ ...create, input }, connection))
        const remembered = (message: string) => {
          const { response, type } = JSON.parse(message) as { readonly type: string; readonly response?: Json }
          if (type !== "response.completed" || response === undefined) return
          memory.set(response["id"], [...input, ...itemsOf({ input: response["output"] })])
        }
        const warm = { id: `resp_warm_${warmUps}`, object: "response", model: asked.model, output: [], error: null }
        const steps =
          create["generate"] === false
            ? [
                JSON.stringify({ type: "response.created", sequence_number: 0, response: warm }),
                JSON.stringify({
                  type: "response.completed",
                  sequence_number: 1,
                  response: { ...warm, usage: { input_tokens: 7, output_tokens: 0, total_tokens: 7 } }
                })
              ]
            : script(asked, turns++)
        if (create["generate"] === false) warmUps++
        for (const step of steps) if (typeof step === "string") remembered(step)
        return play(socket, steps)
      }

      socket.webSocket.on("message", (data: Buffer) => {
        const body = JSON.parse(data.toString()) as Json
        if (body["type"] !== "response.create") return
        creates.push({ connection, body, items: itemsOf(body).length, receivedAt: performance.now() })
        previous = previous.then((lives) => lives && answer(body))
      })
    }
    const upstream = yield* WebSocketUpstream.make({ ...options, onConnection: serve })
    return { ...upstream, creates }
  })

/** The same answer by HTTP: an error that comes first is the answer, and a connection that is closed breaks off. */
const byHttp = ([first, ...rest]: ReadonlyArray<SocketStep>): RawTurn => {
  if (typeof first === "string") {
    const { error, headers, status } = JSON.parse(first) as {
      readonly status?: number
      readonly error?: Json
      readonly headers?: { readonly [name: string]: string }
    }
    if (status !== undefined) {
      return { status, headers: { "content-type": "application/json", ...headers }, steps: [JSON.stringify({ error })] }
    }
  }
  const steps = (first === undefined ? [] : [first, ...rest]).map((step): RawStep => {
    if (typeof step !== "string") return "close" in step ? { fin: true } : step
    return `event: ${(JSON.parse(step) as { readonly type: string }).type}\ndata: ${step}\n\n`
  })
  return { steps }
}

/** How a gateway gets at the model: over a WebSocket, too, or by HTTP. */
export type Bridging = "native" | "bridged"

/** A gateway for WebSocket clients in front of a scripted model. */
export interface SocketScene {
  readonly gateway: Gateway
  /** What a client is given as its base URL: the provider's, with the version. */
  readonly baseUrl: string
  /** What the model was asked, in order, warm-ups among it where it was told of them. */
  readonly asked: () => ReadonlyArray<Create>
}

/**
 * Starts both. The clients bring their own keys, and the gateway does not retry.
 *
 * @param more added to the gateway's config
 */
export const makeSocketScene = (
  bridging: Bridging,
  script: SocketScript,
  more: Partial<SluiceConfigInput> = {}
): Effect.Effect<SocketScene, NotListening, Scope.Scope> =>
  Effect.gen(function* () {
    const { asked, url } = bridging === "native" ? yield* makeNative(script) : yield* makeByHttp(script)
    const gateway = yield* Gateway.start({
      config: {
        providers: { openai: { type: "openai", base_url: `${url}/v1`, websocket: bridging === "native" } },
        retries: { times: 0 },
        ...more
      }
    })
    return { gateway, baseUrl: `${gateway.url}/openai/v1`, asked }
  })

const makeNative = (script: SocketScript) =>
  Effect.map(makeSocketModel(script), ({ creates, url }) => ({ url, asked: () => creates }))

const makeByHttp = (script: SocketScript) =>
  Effect.map(
    makeUpstream((asked, turn) => byHttp(script(asked, turn))),
    ({ requests, url }) => ({
      url,
      asked: () =>
        requests.map((request): Create => {
          const body = JSON.parse(request.text) as Json
          return { connection: request.connection, body, items: itemsOf(body).length, receivedAt: request.receivedAt }
        })
    })
  )
