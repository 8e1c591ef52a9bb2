import { Context, Effect, type Fiber, Layer, References, type Scope } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { make } from "../../src/config/Load.ts"
import { Connection } from "../../src/interception/Connection.ts"
import { Interception } from "../../src/interception/Interception.ts"
import type { Recorder } from "../../src/recorder/Recorder.ts"
import * as Sluice from "../../src/Sluice.ts"
import { Scripted, type Turn } from "../../src/testing/index.ts"
import type { Exchanger } from "../../src/upstream/Exchange.ts"
import { Exchangers } from "../../src/upstream/Providers.ts"
import { IdleTimers, Upstream, type UpstreamError } from "../../src/upstream/Upstream.ts"
import { type LinkedPeer, linkedPeers } from "../support/LinkedPeers.ts"
import { settleDown } from "./Engine.ts"
import { Ledger } from "./Ledger.ts"
import { openAiResponsesCase } from "./OpenAiResponsesCase.ts"

/** Whose WebSocket the responses of a connection go over: the upstream's own, or none. */
export type Way = "native" | "bridged"

export const ways = ["native", "bridged"] as const

export interface SocketOptions {
  readonly way: Way
  /** What an upstream without a WebSocket answers. */
  readonly turns?: ReadonlyArray<Turn>
  readonly config?: Omit<SluiceConfigInput, "providers" | "models">
  readonly models?: NonNullable<SluiceConfigInput["models"]>
  readonly headers?: { readonly [name: string]: string }
  /** Each response picks its provider by its model, and a WebSocket to that is opened then. */
  readonly unified?: boolean
  /** In place of a WebSocket that opens: how the dial to it fails, by the number of the dial. */
  readonly dialFails?: (dial: number) => UpstreamError | null
  readonly exchanger?: Exchanger
  readonly recorder?: Layer.Layer<Recorder>
}

/** A connection in process, between a client and an upstream of the test's. */
export interface SocketSetup {
  readonly client: LinkedPeer
  /** The gateway's end of the client's connection. */
  readonly atGateway: LinkedPeer
  /** The upstream's end of its WebSocket; the last that was dialled. */
  readonly upstream: () => LinkedPeer
  /** The gateway's end of it. */
  readonly toUpstream: () => LinkedPeer
  readonly dials: () => number
  /** Whether there is any WebSocket to an upstream. */
  readonly isDialled: () => boolean
  readonly scripted: Scripted
  readonly ledger: Ledger
  readonly connection: Connection
  readonly running: Fiber.Fiber<void>
  readonly interception: Interception["Service"]
  readonly timers: IdleTimers["Service"]
  /** The types of what the client was told. */
  readonly types: () => ReadonlyArray<unknown>
  /** How the interceptions ended, in the order that they did. */
  readonly closes: () => ReadonlyArray<string>
}

/** Opens a connection; it goes with the test's scope. */
export const socketSetup: (options: SocketOptions) => Effect.Effect<SocketSetup, never, Scope.Scope> =
  Effect.fnUntraced(function* (options: SocketOptions) {
    const scripted = yield* Scripted.make(options.turns ?? [])
    const ledger = new Ledger()
    const provider = { type: "openai-compatible", base_url: "http://up.test/v1" } as const
    const config: SluiceConfigInput = {
      retries: { times: 0 },
      ...options.config,
      ...(options.models === undefined ? {} : { models: options.models }),
      providers: {
        up: { ...provider, dialects: ["openai-responses"], websocket: options.way === "native" },
        other: { ...provider, dialects: ["openai-responses"], websocket: false }
      }
    }
    const services = yield* Effect.orDie(
      Layer.build(
        Sluice.layer(config).pipe(
          Layer.provide(Layer.succeed(Exchangers, () => Effect.succeed(() => options.exchanger ?? scripted.exchanger))),
          Layer.provide(options.recorder ?? ledger.layer)
        )
      ).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
    )
    const [client, atGateway] = linkedPeers()
    const dialled: Array<readonly [LinkedPeer, LinkedPeer]> = []
    const dial = () => {
      const pair = linkedPeers()
      dialled.push(pair)
      return { peer: pair[1], headers: {}, secrets: ["sk-secret-key"] }
    }
    let dials = 0
    const upstream = Context.get(services, Upstream)
    const unified = options.unified === true
    const connection = new Connection(
      {
        client: atGateway,
        request: {
          provider: unified ? null : "up",
          path: "/v1/responses",
          query: "",
          headers: options.headers ?? {},
          credential: null,
          actor: () => "me"
        },
        dialled: options.way === "native" && !unified ? dial() : null,
        settings: yield* Effect.orDie(make(config)),
        interception: Context.get(services, Interception),
        upstream: Upstream.of({
          ...upstream,
          connect: () =>
            Effect.suspend(() => {
              const error = options.dialFails?.(dials) ?? null
              dials++
              return error === null ? Effect.sync(dial) : Effect.fail(error)
            })
        }),
        timers: Context.get(services, IdleTimers)
      },
      yield* Effect.scope
    )
    const running = yield* Effect.forkChild(connection.run, { startImmediately: true }).pipe(
      Effect.provideService(References.MinimumLogLevel, "None")
    )
    return {
      client,
      atGateway,
      upstream: () => dialled.at(-1)![0],
      toUpstream: () => dialled.at(-1)![1],
      dials: () => dials,
      isDialled: () => dialled.length > 0,
      scripted,
      ledger,
      connection,
      running,
      interception: Context.get(services, Interception),
      timers: Context.get(services, IdleTimers),
      types: () => client.events.map((event) => event["type"]),
      closes: () => ledger.settlements.map((batch) => batch.closes![0]!.status)
    } satisfies SocketSetup
  })

export const create = (more: object = {}) => ({ type: "response.create", model: "m", input: "hello", ...more })

/** The events of a response, as a stream has them. */
export const eventsOf = (id: string, text: string, model?: string): ReadonlyArray<string> => {
  const usage = { input: 8, cacheRead: 4, output: 7, reasoning: 2 }
  const named = model === undefined ? {} : { model }
  const { body, finish, after, end } = openAiResponsesCase.events({ id, text: [text], usage, ...named })
  return [...body, ...finish, ...after, end]
}

/** The data of the events in a text, each a message. */
export const messagesIn = (text: string): ReadonlyArray<string> =>
  text
    .split("\n\n")
    .map((event) => /^data: ?(.*)$/m.exec(event)?.[1] ?? "")
    .filter((data) => data !== "" && data !== "[DONE]")

/** The messages of a response, on a lane. */
export const messagesOf = (id: string, text: string, lane: string | null = null, model?: string) =>
  messagesIn(eventsOf(id, text, model).join("")).map((message) => onLane(message, lane))

export const onLane = (message: string, lane: string | null): string =>
  lane === null ? message : `${message.slice(0, -1)},"stream_id":${JSON.stringify(lane)}}`

/** Waits until so many interceptions have ended, and everything about them is done. */
export const settled = (setup: SocketSetup, count: number): Effect.Effect<void> =>
  Effect.andThen(
    settleDown(() => setup.ledger.settlements.length >= count),
    settleDown()
  )

/** Waits until the upstream was asked so often, and answers what it was asked last. */
export const asked = (setup: SocketSetup, count: number): Effect.Effect<string> =>
  Effect.map(
    settleDown(() => setup.upstream().received.length >= count),
    () => setup.upstream().received[count - 1]!
  )
