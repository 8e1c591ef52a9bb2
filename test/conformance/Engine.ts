import { assert } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, References, Scope, Stream } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { type Head, inboundRequest, type Refused } from "../../src/interception/InboundRequest.ts"
import type { Answer } from "../../src/interception/Answer.ts"
import { Interception } from "../../src/interception/Interception.ts"
import type { Recorder } from "../../src/recorder/Recorder.ts"
import * as Sluice from "../../src/Sluice.ts"
import { Scripted, type Turn } from "../../src/testing/index.ts"
import type { Exchanger } from "../../src/upstream/Exchange.ts"
import { Exchangers } from "../../src/upstream/Providers.ts"
import type { DialectCase } from "./DialectCase.ts"
import { Ledger } from "./Ledger.ts"

/** How an answer ended for whoever read it. */
export type Ending = "open" | "clean" | "broken" | "left"

/** One call in process, read as fast as it comes. */
export class Call {
  answer: Answer | null = null
  refused: Refused | null = null
  ending: Ending = "open"
  readonly chunks: Array<Buffer> = []
  private readonly scope = Scope.makeUnsafe()
  private fiber: Fiber.Fiber<void> | undefined

  get head(): Head | null {
    return this.answer?.head ?? null
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString("utf8")
  }

  start(interception: Interception["Service"], request: Parameters<typeof inboundRequest>[0]) {
    const reading = interception.open(inboundRequest(request)).pipe(
      Effect.flatMap((answer) => {
        this.answer = answer
        return Stream.runForEachArray(answer.frames, (frames) =>
          Effect.sync(() => {
            for (const frame of frames) this.chunks.push(frame.bytes)
          })
        )
      }),
      Effect.matchCauseEffect({
        onSuccess: () => this.end("clean"),
        onFailure: (cause) => {
          const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
          if (error?._tag === "Refused") this.refused = error
          return this.end("broken")
        }
      }),
      Scope.provide(this.scope)
    )
    return Effect.map(Effect.forkChild(reading, { startImmediately: true }), (fiber) => {
      this.fiber = fiber
      return this
    })
  }

  private end(ending: Ending): Effect.Effect<void> {
    this.ending = ending
    return Scope.close(this.scope, Exit.void)
  }

  /** Goes away, as a server does with a call whose client has gone. Done when everything about the call is. */
  readonly leave: Effect.Effect<void> = Effect.suspend(() => {
    this.ending = "left"
    return Effect.andThen(Fiber.interrupt(this.fiber!), Scope.close(this.scope, Exit.void))
  })

  /** Waits for the end. */
  readonly ended: Effect.Effect<void> = Effect.suspend(() => Effect.asVoid(Fiber.await(this.fiber!)))

  /** Waits until exactly this was read. */
  readonly saw = (text: string): Effect.Effect<void> =>
    Effect.andThen(
      settleDown(() => this.text.length >= text.length),
      Effect.sync(() => assert.strictEqual(this.text, text))
    )
}

/** Lets every fiber run that can without the clock, at most until something holds. */
export const settleDown = (ready: () => boolean = () => false): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let i = 0; i < 100 && !ready(); i++) yield* Effect.yieldNow
  })

/** The gateway in process over a scripted upstream, under the clock of the test. */
export interface Engine {
  readonly dialect: DialectCase
  readonly interception: Interception["Service"]
  readonly upstream: Scripted
  readonly ledger: Ledger
  /** Makes a call of the one provider, or with `unified` one whose model picks the provider. */
  readonly call: (request: string, unified?: boolean) => Effect.Effect<Call>
  readonly shutdown: Effect.Effect<void>
}

export interface EngineOptions {
  readonly config?: Omit<SluiceConfigInput, "providers">
  /** Settings of the one provider there is. */
  readonly provider?: { readonly ask_usage?: boolean; readonly api_key?: string }
  /** In place of a recorder that keeps batches as they are handed over. */
  readonly recorder?: Layer.Layer<Recorder>
  readonly exchanger?: Exchanger
}

/** A config with one provider of every dialect, no second attempts, and what a test adds. */
export const configOf = (options: EngineOptions, baseUrl: string): SluiceConfigInput => ({
  retries: { times: 0 },
  ...options.config,
  providers: {
    up: {
      type: "openai-compatible",
      base_url: baseUrl,
      dialects: ["openai-chat", "openai-responses", "anthropic-messages"],
      ...options.provider
    }
  }
})

/**
 * Builds the gateway for a test; it goes with the test's scope.
 *
 * @param turns what the upstream answers, in order
 */
export const engine = Effect.fnUntraced(function* (
  dialect: DialectCase,
  turns: ReadonlyArray<Turn>,
  options: EngineOptions = {}
) {
  const upstream = yield* Scripted.make(turns)
  const ledger = new Ledger()
  const exchanger = options.exchanger ?? upstream.exchanger
  const services = yield* Layer.build(
    Sluice.layer(configOf(options, "http://upstream.test/v1")).pipe(
      Layer.provide(Layer.succeed(Exchangers, () => Effect.succeed(() => exchanger))),
      Layer.provide(options.recorder ?? ledger.layer)
    )
  ).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  const interception = Context.get(services, Interception)
  const made: Engine = {
    dialect,
    interception,
    upstream,
    ledger,
    call: (request, unified = false) =>
      new Call()
        .start(interception, { dialect: dialect.name, ...(unified ? {} : { provider: "up" }), body: request })
        .pipe(Effect.provideService(References.MinimumLogLevel, "None")),
    shutdown: interception.shutdown
  }
  return made
})
