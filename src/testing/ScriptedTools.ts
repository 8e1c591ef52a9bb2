import { Clock, Context, Deferred, Effect, Exit, Layer } from "effect"
import type { ToolContent } from "../dialect/InjectedTools.ts"
import { type InjectedTool, type ToolAnswer, ToolCatalog, type ToolServer } from "../tools/ToolCatalog.ts"
import { toolNames } from "../tools/ToolName.ts"

/** What a tool's function may answer: text, content parts, or a whole answer with its error. */
export type ScriptedAnswer = string | ReadonlyArray<ToolContent> | ToolAnswer

/** A tool made of a function. */
export interface ScriptedTool {
  /** What its server calls it; it is injected as `bmcp_<server>_<name>`. */
  readonly name: string
  /** `scripted` unless given. */
  readonly server?: string
  readonly description?: string
  /** Its JSON Schema, as a value or as text that goes out as it stands; any object unless given. */
  readonly inputSchema?: string | { readonly [key: string]: unknown }
  /**
   * What a call comes to: an answer, an effect of one (`Effect.delay` for a slow tool, `Effect.never` for one that
   * hangs, `latch.await` for one that waits for the test), or a function of its arguments. A failure is an error result.
   */
  readonly answer: Scripted | ((args: { readonly [key: string]: unknown }, call: ReceivedCall) => Scripted)
}

type Scripted = ScriptedAnswer | Effect.Effect<ScriptedAnswer, Error | string>

/** How a call was over: its answer was there, or nobody waited any more. */
export type CallOutcome = "answered" | "interrupted"

/** A call as a scripted tool received it. */
export interface ReceivedCall {
  readonly tool: InjectedTool
  /** The arguments as the model wrote them. */
  readonly input: string
  /** The arguments as JSON; `undefined` where they are not JSON. */
  readonly args: unknown
  /** Which call it is of all, from 0. */
  readonly index: number
  /** When it came, in milliseconds of the Effect clock. */
  readonly receivedAt: number
  /** How it was over; `undefined` while it runs. */
  readonly outcome: CallOutcome | undefined
  /** When it was over, in milliseconds of the Effect clock. */
  readonly endedAt: number | undefined
  /** Waits until it is over. */
  readonly ended: Effect.Effect<CallOutcome>
}

class Received implements ReceivedCall {
  readonly tool: InjectedTool
  readonly input: string
  readonly args: unknown
  readonly index: number
  readonly receivedAt: number
  outcome: CallOutcome | undefined
  endedAt: number | undefined
  private readonly over = Deferred.makeUnsafe<CallOutcome>()
  readonly ended = Deferred.await(this.over)

  constructor(tool: InjectedTool, input: string, index: number, receivedAt: number) {
    this.tool = tool
    this.input = input
    this.args = parse(input)
    this.index = index
    this.receivedAt = receivedAt
  }

  end(outcome: CallOutcome, now: number): void {
    this.outcome = outcome
    this.endedAt = now
    Deferred.doneUnsafe(this.over, Effect.succeed(outcome))
  }
}

const parse = (input: string): unknown => {
  if (input.trim() === "") return {}
  try {
    return JSON.parse(input)
  } catch {
    return undefined
  }
}

const isObject = (value: unknown): value is { readonly [key: string]: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const failed = (message: string): ToolAnswer => ({ content: [{ type: "text", text: message }], error: message })

const isAnswer = (value: ScriptedAnswer): value is ToolAnswer => typeof value === "object" && "content" in value

const toAnswer = (value: ScriptedAnswer): ToolAnswer => {
  if (typeof value === "string") return { content: [{ type: "text", text: value }], error: null }
  return isAnswer(value) ? value : { content: value, error: null }
}

const define = (script: ReadonlyArray<ScriptedTool>): ReadonlyArray<InjectedTool> => {
  const identified = script.map(({ name, server = "scripted" }) => ({ server, tool: name }))
  const names = toolNames(identified)
  return script.map((tool, index) => {
    const { server } = identified[index]!
    const schema = tool.inputSchema ?? { type: "object", properties: {} }
    return {
      name: names[index]!,
      description: tool.description ?? null,
      inputSchema: typeof schema === "string" ? schema : JSON.stringify(schema),
      server,
      serverUrl: `http://${server}.test/mcp`,
      tool: tool.name
    }
  })
}

/**
 * A tool catalogue made of functions, in the place of the MCP servers of a gateway.
 *
 * @example
 * ```ts
 * const tools = ScriptedTools.layer([
 *   { name: "time", description: "The time now", answer: "12:00" },
 *   { name: "add", answer: ({ a, b }) => String(Number(a) + Number(b)) },
 *   { name: "slow", answer: Effect.delay(Effect.succeed("done"), "5 seconds") },
 *   { name: "broken", answer: { content: [{ type: "text", text: "out of order" }], error: "out of order" } },
 *   { name: "hanging", answer: Effect.never }
 * ])
 * ```
 */
export class ScriptedTools extends Context.Service<
  ScriptedTools,
  {
    /** The tools as they are injected, in the script's order. */
    readonly tools: ReadonlyArray<InjectedTool>
    /** What was called so far, in order. Grows; the entries of running calls change. */
    readonly calls: ReadonlyArray<ReceivedCall>
    /** Waits until so many calls were received. */
    readonly received: (count: number) => Effect.Effect<ReadonlyArray<ReceivedCall>>
    /** Changes what is offered from now on, as a server does with `tools/list_changed`. */
    readonly offer: (tools: ReadonlyArray<ScriptedTool>) => Effect.Effect<void>
  }
>()("sluice/testing/ScriptedTools") {
  /** Offers these tools; see `ScriptedTool`. What was called is seen in `ScriptedTools`. */
  static layer(script: ReadonlyArray<ScriptedTool>): Layer.Layer<ToolCatalog | ScriptedTools> {
    return Layer.effectContext(
      Effect.sync(() => {
        const scripted = make(script)
        return Context.make(ScriptedTools, scripted.service).pipe(Context.add(ToolCatalog, scripted.catalog))
      })
    )
  }
}

const make = (
  script: ReadonlyArray<ScriptedTool>
): { readonly service: ScriptedTools["Service"]; readonly catalog: ToolCatalog["Service"] } => {
  const calls: Array<Received> = []
  const waiting: Array<{ readonly count: number; readonly reached: Deferred.Deferred<void> }> = []
  let offered = script
  let defined = define(script)
  let selections = new Map<string, ReadonlyArray<InjectedTool>>()

  const tools = (servers: ReadonlyArray<string> | null): ReadonlyArray<InjectedTool> => {
    if (servers === null) return defined
    const key = JSON.stringify(servers)
    const known = selections.get(key)
    if (known !== undefined) return known
    const selected = defined.filter(({ server }) => servers.includes(server))
    selections.set(key, selected)
    return selected
  }

  const run = (received: Received): Effect.Effect<ToolAnswer> => {
    const tool = offered[defined.findIndex(({ name }) => name === received.tool.name)]
    if (tool === undefined) return Effect.succeed(failed(`There is no tool ${received.tool.name}.`))
    if (!isObject(received.args)) return Effect.succeed(failed("The arguments are not a JSON object."))
    const answer = typeof tool.answer === "function" ? tool.answer(received.args, received) : tool.answer
    if (!Effect.isEffect(answer)) return Effect.succeed(toAnswer(answer))
    return Effect.matchEager(answer, {
      onFailure: (error) => failed(typeof error === "string" ? error : error.message),
      onSuccess: toAnswer
    })
  }

  const call = Effect.fnUntraced(function* (tool: InjectedTool, input: string) {
    const received = new Received(tool, input, calls.length, yield* Clock.currentTimeMillis)
    calls.push(received)
    for (const { count, reached } of waiting) {
      if (calls.length >= count) Deferred.doneUnsafe(reached, Effect.void)
    }
    return yield* Effect.onExit(
      Effect.suspend(() => run(received)),
      (exit) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          received.end(Exit.isSuccess(exit) ? "answered" : "interrupted", now)
        })
    )
  })

  const servers = (): ReadonlyArray<ToolServer> =>
    [...new Set(defined.map(({ server }) => server))].map((name) => ({
      name,
      status: "connected",
      tools: defined.filter(({ server }) => server === name).length,
      error: null
    }))

  return {
    catalog: { tools, call, servers },
    service: {
      get tools() {
        return defined
      },
      calls,
      received: (count) =>
        Effect.suspend(() => {
          if (calls.length >= count) return Effect.succeed(calls)
          const reached = Deferred.makeUnsafe<void>()
          waiting.push({ count, reached })
          return Effect.as(Deferred.await(reached), calls)
        }),
      offer: (next) =>
        Effect.sync(() => {
          offered = next
          defined = define(next)
          selections = new Map()
        })
    }
  }
}
