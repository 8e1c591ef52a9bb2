import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, FileSystem, PlatformError, Redacted } from "effect"
import { ConfigError } from "../../src/config/ConfigError.ts"
import { type ConfigFlags, load, make } from "../../src/config/Load.ts"

const files = (contents: { readonly [path: string]: string }) =>
  FileSystem.layerNoop({
    exists: (path) => Effect.succeed(Object.hasOwn(contents, path)),
    readFileString: (path) =>
      Object.hasOwn(contents, path)
        ? Effect.succeed(contents[path]!)
        : Effect.fail(
            PlatformError.systemError({
              _tag: "NotFound",
              module: "FileSystem",
              method: "readFileString",
              pathOrDescriptor: path
            })
          )
  })

const loadYaml = (yaml: string | null, env: { readonly [name: string]: string } = {}, flags: ConfigFlags = {}) =>
  load({ env, flags }).pipe(Effect.provide(files(yaml === null ? {} : { "sluice.yaml": yaml })))

const problemsOf = <A, R>(effect: Effect.Effect<A, ConfigError, R>) =>
  effect.pipe(
    Effect.flip,
    Effect.map((error) =>
      error.problems.map(({ path, line, value, expected }) => `${line} ${path} ${value} ${expected}`)
    )
  )

describe("without a file", () => {
  it.effect("every setting has the default of the documentation", () =>
    Effect.gen(function* () {
      const { config, file, warnings } = yield* loadYaml(null)
      assert.isNull(file)
      assert.deepStrictEqual(warnings, [])
      assert.deepStrictEqual(config.server, {
        host: "127.0.0.1",
        port: 4141,
        hosts: [],
        origins: [],
        allow_open: false
      })
      assert.deepStrictEqual(config.recorder, {
        url: "sqlite:./sluice.db",
        on_failure: "refuse",
        spool: "./sluice.spool",
        commit_timeout: Duration.seconds(2),
        sync: "process",
        content: "all"
      })
      assert.deepStrictEqual(config.tools, {
        max_turns: 16,
        call_timeout: Duration.seconds(60),
        concurrency: 8,
        max_result_bytes: 1048576,
        strict: false,
        memory: true,
        memory_ttl: Duration.hours(24),
        client_usage: "auto"
      })
      assert.deepStrictEqual(config.access, { mode: "open" })
      assert.deepStrictEqual(config.limits, {
        body_bytes: 33554432,
        event_bytes: 33554432,
        connect: Duration.seconds(5),
        first_frame: Duration.seconds(600),
        idle: Duration.seconds(300),
        write: Duration.seconds(120),
        keep_alive: Duration.seconds(10),
        drain: Duration.seconds(30)
      })
      assert.deepStrictEqual(config.retries, { times: 2, max_wait: Duration.seconds(5) })
      assert.deepStrictEqual(config.websocket, {
        enabled: true,
        max_frame_bytes: 67108864,
        max_age: Duration.minutes(55),
        max_queued: 64
      })
      assert.strictEqual(config.on_client_gone, "cancel")
      assert.deepStrictEqual(Object.keys(config.providers), ["openai", "anthropic", "sim"])
      assert.strictEqual(config.providers["openai"]?.base_url, "https://api.openai.com/v1")
      assert.strictEqual(config.providers["anthropic"]?.base_url, "https://api.anthropic.com")
      assert.isUndefined(config.providers["sim"]?.base_url)
      assert.isUndefined(config.providers["openai"]?.api_key)
    })
  )

  it.effect("the default providers take their keys from the environment, and nothing else of an SDK counts", () =>
    Effect.gen(function* () {
      const { config } = yield* loadYaml(null, {
        OPENAI_API_KEY: "sk-one\n",
        ANTHROPIC_API_KEY: "",
        OPENAI_BASE_URL: "http://evil.example",
        ANTHROPIC_BASE_URL: "http://evil.example",
        OPENAI_ORG_ID: "org",
        SLUICE_ADMIN_TOKEN: "letmein"
      })
      assert.strictEqual(Redacted.value(config.providers["openai"]!.api_key!), "sk-one")
      assert.isUndefined(config.providers["anthropic"]!.api_key)
      assert.strictEqual(Redacted.value(config.server.admin_token!), "letmein")
      assert.notInclude(JSON.stringify(config), "evil")
    })
  )

  it.effect("a named file that is not there is an error", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(loadYaml(null, {}, { config: "other.yaml" }))
      assert.strictEqual(error.message, "other.yaml is not valid:\n  there is no such file")
    })
  )
})

describe("precedence", () => {
  const yaml = "server: { host: 127.0.0.2, port: 1 }\nrecorder: { url: 'sqlite:a.db' }"
  const env = { SLUICE_HOST: "127.0.0.3", SLUICE_PORT: "2", SLUICE_DATABASE_URL: "sqlite:b.db" }
  const settings = Effect.map(({ config }: Effect.Success<ReturnType<typeof loadYaml>>) => [
    config.server.host,
    config.server.port,
    config.recorder.url
  ])

  it.effect("flags win over the environment, that over the file", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* settings(loadYaml(yaml)), ["127.0.0.2", 1, "sqlite:a.db"])
      assert.deepStrictEqual(yield* settings(loadYaml(yaml, env)), ["127.0.0.3", 2, "sqlite:b.db"])
      const flags = { host: "::1", port: 0, database: "memory:" }
      assert.deepStrictEqual(yield* settings(loadYaml(yaml, env, flags)), ["::1", 0, "memory:"])
    })
  )

  it.effect("an error names the variable or flag it came from", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf(
        loadYaml(yaml, { SLUICE_PORT: "http" }, { database: "postgres://me:hunter2@db/sluice" })
      )
      assert.deepStrictEqual(problems, [
        'null SLUICE_PORT "http" expected a whole number from 0 to 65535',
        'null --database "postgres://***@db/sluice" expected "sqlite:<path>", such as "sqlite:./sluice.db", or "memory:"; "postgres://" is not built yet'
      ])
      assert.match((yield* problemsOf(loadYaml(null, { OPENAI_API_KEY: "a b" })))[0]!, /^null OPENAI_API_KEY /)
    })
  )
})

describe("${ENV} in a file", () => {
  it.effect("a value that is nothing but an unset variable leaves its key out", () =>
    Effect.gen(function* () {
      const { config } = yield* loadYaml(
        'providers: { local: { type: openai-compatible, base_url: "http://${HOST}:8000/v1", api_key: "${NO_KEY}" } }\nserver: { port: "${PORT}", hosts: ["${A}", "${B}"] }\n',
        { HOST: "localhost", B: "b.example" }
      )
      assert.isFalse(Object.hasOwn(config.providers["local"]!, "api_key"))
      assert.strictEqual(config.providers["local"]!.base_url, "http://localhost:8000/v1")
      assert.strictEqual(config.server.port, 4141)
      assert.deepStrictEqual(config.server.hosts, ["b.example"])
    })
  )

  it.effect("a variable may hold a number or a yes or no", () =>
    Effect.gen(function* () {
      const { config } = yield* loadYaml('server: { port: "${PORT}", allow_open: "${OPEN}" }', {
        PORT: "81",
        OPEN: "true"
      })
      assert.deepStrictEqual([config.server.port, config.server.allow_open], [81, true])
    })
  )

  it.effect("an unset one inside text is an error; $${ is an escape; values are not looked into again", () =>
    Effect.gen(function* () {
      const yaml = 'providers:\n  a: { type: openai, base_url: "http://${GONE}/v1" }\n'
      assert.include(
        yield* problemsOf(loadYaml(yaml)),
        '2 providers.a.base_url "http://${GONE}/v1" the environment variable GONE is not set'
      )
      const { config } = yield* loadYaml('recorder: { spool: "$${X}-${Y}" }', { Y: "${X}" })
      assert.strictEqual(config.recorder.spool, "${X}-${X}")
    })
  )

  it.effect("what looks like a reference and is none is an error", () =>
    Effect.gen(function* () {
      const expected = "expected ${NAME} for a variable of the environment, or $${ for the characters ${"
      assert.deepStrictEqual(
        yield* problemsOf(loadYaml('recorder: { spool: "${A:-b}" }\nserver:\n  hosts: ["${A"]\n')),
        [`1 recorder.spool "${"$"}{A:-b}" ${expected}`, `3 server.hosts.0 "${"$"}{A" ${expected}`]
      )
    })
  )

  it.effect("a value of the environment is never shown", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        loadYaml('providers: { a: { type: openai, base_url: "${SECRET}" } }', { SECRET: "canary-1234" })
      )
      assert.notInclude(error.message, "canary")
      assert.include(error.message, '"${SECRET}"')
    })
  )
})

describe("a file that is wrong", () => {
  it.effect("has every problem listed, with line, path, value and expectation", () =>
    Effect.gen(function* () {
      const yaml = `server:
  prot: 4141
  port: "http"
providers:
  local:
    type: openai-compatible
    base_url: localhost:8000
  v1: { type: openai }
  Bad Name: { type: openai }
  bare: { type: openai-compatible, dialects: [] }
  other: { type: opanai }
models:
  fast: "nobody/gpt"
  slow: 3
access: { mode: keys }
recorder: { url: "postgres://db" }
limits: { idle: 5, connect: "-1 seconds" }
limit: {}
mcpServers: { docs: { url: "http://h/mcp" } }
mcp: { servers: { one: { allow: ["("] } } }
`
      assert.deepStrictEqual(yield* problemsOf(loadYaml(yaml)), [
        "2 server.prot null unknown key; did you mean port?",
        '3 server.port "http" expected a whole number from 0 to 65535',
        '7 providers.local.base_url "localhost:8000" expected an http or https address without user name and fragment, such as "http://127.0.0.1:8000/v1"',
        "8 providers.v1 a map a provider cannot be called v1: the path /v1 is Sluice's own",
        "9 providers.Bad Name a map expected a provider name of lower-case letters, digits, - and _, starting with a letter or digit",
        "10 providers.bare.dialects.0 null expected a list of at least one",
        '10 providers.bare.base_url null missing: type openai-compatible needs one, such as "http://127.0.0.1:8000/v1"',
        '11 providers.other.type "opanai" expected one of openai, anthropic, openai-compatible, simulated',
        '13 models.fast "nobody/gpt" there is no provider nobody; there are local, v1, Bad Name, bare, other',
        "14 models.slow 3 expected a map",
        '15 access.mode "keys" expected open; "keys" (virtual keys) is not built yet',
        '16 recorder.url "postgres://db" expected "sqlite:<path>", such as "sqlite:./sluice.db", or "memory:"; "postgres://" is not built yet',
        '17 limits.connect "-1 seconds" expected a duration such as "5 seconds" or "2 minutes", at least 1ms and at most 24 days',
        '17 limits.idle 5 expected a duration such as "5 seconds" or "2 minutes", at least 1ms and at most 24 days',
        "18 limit null unknown key; did you mean limits?",
        "19 mcpServers null unknown key; did you mean mcp.servers?",
        '20 mcp.servers.one.allow.0 "(" expected a regular expression, such as "search_.*": Unterminated group',
        "20 mcp.servers.one null has neither url nor command"
      ])
    })
  )

  it.effect("shows no secret, wherever it stands", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        loadYaml(`server: { admin_token: "canary one", adminToken: canary2 }
providers:
  a: { type: openai, api_key: "canary 3", apikey: canary4, base_url: "http://me:canary5@host" }
  b: { type: openai, base_url: sk-canary678, auth: canary9 }
  c: canary10
  d: { type: openai, base_url: "http://host:x/?code=canary11", dialects: canary12 }
mcp: { servers: { s: { url: "http://x", headers: { authorization: [canary7] }, env: { A: { b: canary8 } } } } }
`)
      )
      assert.notInclude(error.message, "canary")
      assert.isAtLeast(error.problems.length, 11)
    })
  )

  it.effect("says what is wrong with MCP servers", () =>
    Effect.gen(function* () {
      const yaml = `providers: { a: { type: openai, mcp: [none] } }
models: { fast: { to: a/b, mcp: [none, "a.b"] } }
mcp:
  servers:
    address: { url: "localhost:3001/mcp" }
    file: { url: "file:///mcp" }
    neither: { allow: [a] }
    both: { url: "http://h/mcp", command: run }
    patterns: { command: run, allow: ["["], deny: ["(?<"] }
    a.b: { command: run, headers: { "bad name": x } }
    a b: { command: run }
    empty:
    numbers: { command: run, args: [-p, 3000], env: { PORT: 3000, DEBUG: true, A: "a\\nb" }, headers: { x-v: 1.10 } }
tools: { max_turns: 0, call_timeout: never, client_usage: some }
`
      assert.deepStrictEqual(yield* problemsOf(loadYaml(yaml)), [
        '1 providers.a.mcp.0 "none" there is no MCP server of this name in mcp.servers',
        '2 models.fast.mcp.0 "none" there is no MCP server of this name in mcp.servers',
        '5 mcp.servers.address.url "localhost:3001/mcp" expected an http or https address without user name and fragment, such as "http://127.0.0.1:3001/mcp"',
        '6 mcp.servers.file.url "file:///mcp" expected an http or https address without user name and fragment, such as "http://127.0.0.1:3001/mcp"',
        "7 mcp.servers.neither null has neither url nor command",
        "8 mcp.servers.both null has both url and command",
        '9 mcp.servers.patterns.allow.0 "[" expected a regular expression, such as "search_.*": Unterminated character class',
        '9 mcp.servers.patterns.deny.0 "(?<" expected a regular expression, such as "search_.*": Invalid capture group name',
        "10 mcp.servers.a.b.headers.bad name *** expected the name of a header",
        "11 mcp.servers.a b a map its tools would be called bmcp_a_b_…, as those of a.b are: rename one of them",
        "12 mcp.servers.empty empty has neither url nor command",
        "13 mcp.servers.numbers.headers.x-v *** expected text without line breaks: put the number in quotes",
        "13 mcp.servers.numbers.args.1 *** expected text: put the number in quotes",
        "13 mcp.servers.numbers.env.PORT *** expected text without line breaks: put the number in quotes",
        "13 mcp.servers.numbers.env.DEBUG *** expected text without line breaks: put the word in quotes",
        "13 mcp.servers.numbers.env.A *** expected text without line breaks",
        "14 tools.max_turns 0 expected a whole number of at least 1",
        '14 tools.call_timeout "never" expected a duration such as "5 seconds" or "2 minutes", at least 1ms and at most 24 days',
        '14 tools.client_usage "some" expected one of auto, sum, context'
      ])
      assert.deepStrictEqual(
        yield* problemsOf(
          loadYaml('mcp: { servers: { s: { url: "http://h", oauth: { client_id: a, clientsecret: b } } } }')
        ),
        [
          "1 mcp.servers.s.oauth.clientsecret null unknown key; did you mean client_secret?",
          "1 mcp.servers.s.oauth.client_secret null missing, and there is no default for it"
        ]
      )
      assert.deepStrictEqual(yield* problemsOf(loadYaml('mcp: { servers: { s: { ulr: "http://h/mcp" } } }')), [
        "1 mcp.servers.s.ulr null unknown key; did you mean url?"
      ])
      assert.deepStrictEqual(
        yield* problemsOf(loadYaml("mcp:\n  servers:\n    a: { command: x }\n    a: { command: y }\n")),
        ["4 mcp.servers.a null this key is there already"]
      )
      assert.deepStrictEqual(yield* problemsOf(loadYaml("a:\n  - b: 1\n  - b: 1\n    c: { d: 1, d: 2 }\n")), [
        "4 a.1.c.d null this key is there already"
      ])
    })
  )

  it.effect("is not quoted when it is not YAML", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        loadYaml('providers:\n  a: { type: openai, api_key: "canary" canary: }\n b: *canary')
      )
      assert.notInclude(error.message, "canary")
      assert.include(error.message, "not valid YAML")
      assert.isTrue(error.problems.every((problem) => problem.line !== null))
      assert.deepStrictEqual(yield* problemsOf(loadYaml("a: 1\na: 2")), ["2 a null this key is there already"])
      assert.match((yield* problemsOf(loadYaml("server: *gone")))[0]!, /not valid YAML/)
    })
  )

  it.effect("may be empty or hold empty sections, but must be a map", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* loadYaml("")).config.server.port, 4141)
      assert.strictEqual((yield* loadYaml("server:\n  # port: 1\nproviders:\n")).config.server.port, 4141)
      assert.deepStrictEqual(yield* problemsOf(loadYaml("- a")), ["null  a list expected a map"])
      assert.deepStrictEqual(yield* problemsOf(loadYaml("tools: []")), ["1 tools a list expected a map"])
    })
  )
})

describe("a file that is right", () => {
  it.effect("replaces the default providers as a whole, and a type decides what is left out", () =>
    Effect.gen(function* () {
      const { config } = yield* loadYaml(
        'providers:\n  local: { type: openai-compatible, base_url: "http://127.0.0.1:8000/v1/" }\nmodels:\n  fast: local/small\n',
        { OPENAI_API_KEY: "sk-x" }
      )
      assert.deepStrictEqual(Object.keys(config.providers), ["local"])
      assert.deepStrictEqual(config.providers["local"], {
        type: "openai-compatible",
        base_url: "http://127.0.0.1:8000/v1",
        dialects: ["openai-chat"],
        ask_usage: true,
        forward_headers: [],
        credentials: "central",
        websocket: false,
        websocket_pool: false,
        models: []
      })
      assert.deepStrictEqual(config.models["fast"], { to: "local/small" })
      assert.isUndefined(config.models["constructor"])
      assert.isUndefined(config.providers["toString"])
    })
  )

  it.effect("is warned about where it asks for something in vain", () =>
    Effect.gen(function* () {
      const { warnings } = yield* loadYaml(`
server: { host: 0.0.0.0, allow_open: true }
providers:
  a: { type: openai, credentials: client-first, forward_headers: [Cookie, x-team], websocket_pool: true }
  sim: { type: simulated, api_key: x, websocket_pool: true }
  chat: { type: openai-compatible, base_url: "http://127.0.0.1:1", websocket: true }
models: { agent: { to: a/b, mcp: [m] } }
mcp:
  servers:
    m: { url: "http://127.0.0.1:1/mcp", args: [a], env: { A: b } }
    n: { command: run, headers: { a: b }, oauth: { client_id: a, client_secret: b } }
`)
      const about = (text: string) =>
        assert.isTrue(
          warnings.some((warning) => warning.startsWith(text)),
          text
        )
      about("providers.a.credentials does nothing without api_key")
      about("providers.a.forward_headers: cookie never goes on")
      about("providers.sim.websocket_pool does nothing: it goes with websocket: true")
      about("providers.sim.api_key does nothing")
      about("providers.chat.websocket does nothing: it goes with openai-responses in dialects")
      about("mcp.servers.m.args does nothing: it goes with command")
      about("mcp.servers.m.env does nothing: it goes with command")
      about("mcp.servers.n.headers does nothing: it goes with url")
      about("mcp.servers.n.oauth does nothing: it goes with url")
      about("without server.admin_token /api answers 403")
      assert.strictEqual(warnings.length, 10)
    })
  )
})

describe("MCP servers", () => {
  it.effect("apply to an alias or a provider by name: left out all do, with an empty list none", () =>
    Effect.gen(function* () {
      const { config, warnings } = yield* loadYaml(`providers: { a: { type: openai, mcp: [] }, b: { type: openai } }
models: { x: a/b, y: { to: a/b, mcp: [s] } }
mcp: { servers: { s: { url: "http://127.0.0.1:1/mcp/?k=v" }, t: { command: run, args: ["--x", ""], env: { A: "" } } } }
`)
      assert.deepStrictEqual(
        [
          config.providers["a"]?.mcp,
          config.providers["b"]?.mcp,
          config.models["x"]?.mcp,
          config.models["y"]?.mcp,
          config.mcp.servers["s"]?.url,
          config.mcp.servers["s"]?.allow,
          config.mcp.servers["t"]?.args
        ],
        [[], undefined, undefined, ["s"], "http://127.0.0.1:1/mcp/?k=v", [".*"], ["--x", ""]]
      )
      assert.deepStrictEqual(warnings, [])
    })
  )
})

describe("make", () => {
  it.effect("takes a plain object, with secrets and durations in either form, and fills in the defaults", () =>
    Effect.gen(function* () {
      const config = yield* make({
        providers: {
          a: { type: "openai", api_key: Redacted.make("k") },
          b: { type: "openai", api_key: "k" }
        },
        limits: { idle: Duration.seconds(1), connect: "1 second" }
      })
      assert.strictEqual(Redacted.value(config.providers["a"]!.api_key!), "k")
      assert.strictEqual(Redacted.value(config.providers["b"]!.api_key!), "k")
      assert.deepStrictEqual(config.limits.idle, config.limits.connect)
      assert.strictEqual(config.retries.times, 2)
      assert.notInclude(String(JSON.stringify(config)), '"k"')
    })
  )

  it.effect("lists problems, without showing a secret", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(make({ providers: { a: { type: "openai", api_key: Redacted.make("a b") } } }))
      assert.instanceOf(error, ConfigError)
      assert.strictEqual(
        error.message,
        "The config is not valid:\n  providers.a.api_key is ***: expected a secret of printable characters without white space"
      )
    })
  )

  it.effect("warns of keys that a file takes from variables which are not set", () =>
    Effect.gen(function* () {
      const text = `
server: { admin_token: "\${NOPE}" }
providers:
  up: { type: openai, api_key: "\${OPENAI_KYE}" }
  set: { type: openai, api_key: "\${KEY}" }
`
      const { warnings } = yield* loadYaml(text, { KEY: "k" })
      assert.deepStrictEqual(warnings, [
        "providers.up.api_key is left out, since ${OPENAI_KYE} is not set: clients bring their own keys",
        "server.admin_token is left out, since ${NOPE} is not set: /api answers without a token on loopback"
      ])
    })
  )
})
