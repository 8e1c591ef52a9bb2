import { Console, Effect, type FileSystem, type Layer, Option, Runtime, Schema, type Scope, Terminal } from "effect"
import { CliConfig, type CliError, Command, Flag, GlobalFlag } from "effect/cli"
import type { SluiceConfig } from "../config/Config.ts"
import type { ConfigError } from "../config/ConfigError.ts"
import type { Environment } from "../config/Interpolation.ts"
import { type ConfigFlags, type LoadedConfig, load } from "../config/Load.ts"
import type { Recorder } from "../recorder/Recorder.ts"
import type { Exchanger } from "../upstream/Exchange.ts"
import type { ToolCatalog } from "../tools/ToolCatalog.ts"
import { check } from "./Check.ts"
import { records } from "./Records.ts"

/** What the commands need of the rest of Sluice. */
export interface CliParts<E, R> {
  /** The environment, usually `process.env`. */
  readonly env: Environment
  /** The body of `sluice serve`: runs until it is interrupted. */
  readonly serve: (loaded: LoadedConfig) => Effect.Effect<void, E, R>
  /** The body of `sluice demo`. */
  readonly demo: (loaded: LoadedConfig) => Effect.Effect<void, E, R>
  /** The recorder of a config, for `sluice records`. */
  readonly recorder: (config: SluiceConfig) => Layer.Layer<Recorder, E, R>
  /** Connections to providers, for `sluice check`. */
  readonly exchange: (config: SluiceConfig) => Effect.Effect<(provider: string) => Exchanger, never, Scope.Scope>
  /** Connections to MCP servers, for `sluice check`. */
  readonly tools: (config: SluiceConfig) => Layer.Layer<ToolCatalog>
}

/** A command that failed after it said why: all that is left is the exit code. */
export class CommandFailed extends Schema.TaggedError<CommandFailed>()("CommandFailed", {
  /** 1 where the command failed, 2 where it was not understood. */
  exitCode: Schema.Literals([1, 2])
}) {
  override readonly [Runtime.errorExitCode] = this.exitCode
  override readonly [Runtime.errorReported] = false
  override get message() {
    return `the command failed (exit code ${this.exitCode})`
  }
}

const configFlags = {
  config: Flag.String("config").pipe(
    Flag.withAlias("c"),
    Flag.withMetavar("FILE"),
    Flag.withDescription("The config file (default: sluice.yaml in the working directory, if it is there)"),
    Flag.optional
  ),
  host: Flag.String("host").pipe(
    Flag.withMetavar("ADDRESS"),
    Flag.withDescription("The address to listen on (server.host, SLUICE_HOST)"),
    Flag.optional
  ),
  port: Flag.Int("port").pipe(
    Flag.withAlias("p"),
    Flag.withMetavar("PORT"),
    Flag.withDescription("The port to listen on; 0 for any free one (server.port, SLUICE_PORT)"),
    Flag.optional
  ),
  database: Flag.String("database").pipe(
    Flag.withMetavar("URL"),
    Flag.withDescription("Where records are kept: sqlite:<path> or memory: (recorder.url, SLUICE_DATABASE_URL)"),
    Flag.optional
  )
}

type Given = { readonly [Name in keyof ConfigFlags]-?: Option.Option<NonNullable<ConfigFlags[Name]>> }

const flagsOf = (given: Given): ConfigFlags => ({
  config: Option.getOrUndefined(given.config),
  host: Option.getOrUndefined(given.host),
  port: Option.getOrUndefined(given.port),
  database: Option.getOrUndefined(given.database)
})

const recordsFlags = {
  limit: Flag.Int("limit").pipe(
    Flag.withAlias("n"),
    Flag.withDescription("How many to print at most, from 1 to 1000"),
    Flag.withDefault(20)
  ),
  model: Flag.String("model").pipe(
    Flag.withDescription("Only those that asked for, or were served by, this model"),
    Flag.optional
  ),
  id: Flag.String("id").pipe(Flag.withDescription("One interception with all that was recorded of it"), Flag.optional),
  json: Flag.Boolean("json").pipe(Flag.withDescription("Print the JSON of the management API"), Flag.withDefault(false))
}

const failUnless = (ok: boolean) => (ok ? Effect.void : Effect.fail(new CommandFailed({ exitCode: 1 })))

/**
 * The commands of `sluice`, `serve` being what happens without one.
 *
 * @param parts - the bodies and services that stand above the command line
 */
export const makeCommand = <E, R>(parts: CliParts<E, R>) => {
  const root = Command.make("sluice").pipe(Command.withSharedFlags(configFlags))

  const loaded = (given: Given): Effect.Effect<LoadedConfig, ConfigError, FileSystem.FileSystem> =>
    load({ flags: flagsOf(given), env: parts.env })
  const width = Effect.flatMap(Terminal.Terminal, (terminal) => terminal.columns)
  const serveWith = (given: Given) => Effect.flatMap(loaded(given), parts.serve)

  const serve = Command.make("serve", {}, () => Effect.flatMap(root, serveWith)).pipe(
    Command.withDescription("Serve the gateway (the default)")
  )
  const demo = Command.make("demo", {}, () => Effect.flatMap(Effect.flatMap(root, loaded), parts.demo)).pipe(
    Command.withDescription("Serve, make a few calls to the simulated model, and print what was recorded")
  )
  const checkCommand = Command.make("check", {}, () =>
    Effect.gen(function* () {
      const config = yield* loaded(yield* root)
      const ok = yield* check(config, {
        exchange: parts.exchange(config.config),
        tools: parts.tools(config.config),
        width: yield* width
      })
      yield* failUnless(ok)
    })
  ).pipe(Command.withDescription("Validate the config and reach its providers and MCP servers"))
  const recordsCommand = Command.make("records", recordsFlags, (query) =>
    Effect.gen(function* () {
      // Said here in one line: for a flag of the wrong kind the whole help would be printed.
      if (query.limit < 1 || query.limit > 1000) {
        yield* Console.error("sluice: --limit takes a whole number from 1 to 1000")
        return yield* new CommandFailed({ exitCode: 2 })
      }
      const { config } = yield* loaded(yield* root)
      const found = yield* records({
        limit: query.limit,
        model: Option.getOrUndefined(query.model),
        id: Option.getOrUndefined(query.id),
        json: query.json,
        width: yield* width
      }).pipe(Effect.provide(parts.recorder(config)))
      yield* failUnless(found)
    })
  ).pipe(
    Command.withDescription("Print the recorded interceptions"),
    Command.withExamples([
      { command: "sluice records --limit 5", description: "The last five" },
      { command: "sluice records --id 0199… --json", description: "All about one, as JSON" }
    ])
  )

  return root.pipe(
    Command.withHandler(serveWith),
    Command.withDescription("Sluice, an AI gateway: a gate on the stream between AI tools and the models they call"),
    Command.withSubcommands([serve, demo, checkCommand, recordsCommand]),
    Command.withExamples([
      { command: "sluice", description: "Serve on 127.0.0.1:4141, with sluice.yaml if it is there" },
      { command: "sluice --port 0 --database memory:", description: "Any free port, nothing kept" },
      { command: "sluice check --config gateway.yaml", description: "Is the config right, are the providers there?" }
    ])
  )
}

const isUsageError = (error: unknown): error is CliError.ShowHelp =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "ShowHelp"

const describe = (error: unknown): string =>
  error instanceof Error && error.message !== "" ? error.message : String(error)

/**
 * Runs `sluice` with the arguments behind its name. An error of a command is printed as its message, without a stack;
 * a `CommandFailed` is left over, which carries the exit code: 1, or 2 for arguments that are not understood.
 */
export const run = <E, R>(parts: CliParts<E, R>, options: { readonly version: string }) => {
  const runCommand = Command.runWith(makeCommand(parts), options)
  return (args: ReadonlyArray<string>) =>
    runCommand(args).pipe(
      Effect.catch((error): Effect.Effect<void, CommandFailed> => {
        if (error instanceof CommandFailed) return Effect.fail(error)
        if (isUsageError(error)) {
          return error.errors.length === 0 ? Effect.void : Effect.fail(new CommandFailed({ exitCode: 2 }))
        }
        return Effect.andThen(
          Console.error(`sluice: ${describe(error)}`),
          Effect.fail(new CommandFailed({ exitCode: 1 }))
        )
      }),
      Effect.provideService(CliConfig.CliConfig, CliConfig.make({ builtIns: builtIns }))
    )
}

/** The wizard that `effect/cli` brings is left out: four commands do not need one. */
const builtIns = GlobalFlag.BuiltIns.filter((flag) => flag !== GlobalFlag.Wizard)
