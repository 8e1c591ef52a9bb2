import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, Scope } from "effect"
import type { SluiceConfigInput } from "../../src/config/Config.ts"
import { make } from "../../src/config/Load.ts"
import { layer } from "../../src/tools/McpServers.ts"
import { type ToolAnswer, ToolCatalog } from "../../src/tools/ToolCatalog.ts"
import { isRunning, mcpProgram } from "../support/McpProgram.ts"
import { oauthServer } from "../support/OAuthServer.ts"
import { mcpServer } from "../support/McpServer.ts"

type Servers = NonNullable<NonNullable<SluiceConfigInput["mcp"]>["servers"]>

const logs: Array<string> = []
const collected = Logger.layer([Logger.make(({ message }) => void logs.push(String(message)))])

const catalogue = Effect.fnUntraced(function* (servers: Servers, rest: SluiceConfigInput = {}) {
  const config = yield* make({ mcp: { servers }, ...rest })
  const context = yield* Layer.build(layer(config).pipe(Layer.provideMerge(collected)))
  return yield* Effect.provide(ToolCatalog, context)
})

const names = (catalog: ToolCatalog["Service"], servers: ReadonlyArray<string> | null = null) =>
  catalog.tools(servers).map(({ name }) => name)

const call = (catalog: ToolCatalog["Service"], tool = "echo", input = "{}") =>
  catalog.call(
    { name: `bmcp_s_${tool}`, description: null, inputSchema: "{}", server: "s", serverUrl: "", tool },
    input
  )

const textOf = (answer: ToolAnswer): string =>
  answer.content.map((part) => (part.type === "text" ? part.text : `[${part.type}]`)).join("|")

const until = (condition: () => boolean) =>
  Effect.sleep("10 millis").pipe(
    Effect.repeat({ until: condition }),
    Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => Effect.die(new Error(`never: ${condition}`)) })
  )

describe("the tools of a server", () => {
  it.live("come over all pages, by name, as allow and deny say of whole names", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      server.pageSize = 2
      server.tools = ["z", "search", "search_all", "search_secret", "a", "b"].map((name) => ({ name }))
      const catalog = yield* catalogue({
        s: { url: server.url, allow: ["search.*", "[az]"], deny: ["search_s", ".*secret"] },
        all: { url: server.url },
        none: { url: server.url, allow: [] }
      })
      assert.deepStrictEqual(names(catalog, ["s"]), ["bmcp_s_a", "bmcp_s_search", "bmcp_s_search_all", "bmcp_s_z"])
      assert.strictEqual(names(catalog, ["all"]).length, 6)
      assert.deepStrictEqual(names(catalog, ["none"]), [])
      assert.strictEqual(names(catalog).length, 10)
      assert.strictEqual(names(catalog)[0], "bmcp_s_a")
      assert.deepStrictEqual(
        catalog.servers().map(({ tools }) => tools),
        [4, 6, 0]
      )
    })
  )

  it.live("keep their schema; one with a schema that cannot be used is left out with a warning", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      server.tools = [
        {
          name: "kept",
          inputSchema: { zeta: 1, type: "object", properties: { b: {}, a: { $ref: "#/$defs/x" } }, $defs: {} }
        },
        { name: "bare" },
        { name: "list", inputSchema: [] },
        { name: "text", inputSchema: { type: "string" } },
        { name: "typo", inputSchema: { type: "object", properties: { a: { type: "strin" } } } },
        { name: `${"x".repeat(57)}canary\u001b[31m`, inputSchema: [] },
        { name: `${"x".repeat(60)}canary`, inputSchema: [] }
      ]
      const catalog = yield* catalogue({ s: { url: server.url, headers: { "x-note": "canary" } } })
      assert.deepStrictEqual(
        catalog.tools(null).map(({ inputSchema, tool }) => [tool, inputSchema]),
        [
          ["bare", '{"type":"object","properties":{}}'],
          ["kept", JSON.stringify(server.tools[0]!.inputSchema)]
        ]
      )
      const warning = logs.find((line) => line.includes("are left out") && line.includes("typo"))
      assert.match(warning ?? "", /list: .*text: .*typo: /)
      const { leftOut } = catalog.servers()[0]!
      assert.strictEqual(warning?.endsWith(`are left out: ${leftOut?.join("; ")}`), true)
      assert.strictEqual(leftOut?.length, 5)
      assert.strictEqual(leftOut?.at(-2), `${"x".repeat(57)}*** [31: its schema is no object`)
      assert.strictEqual(leftOut?.at(-1), `${"x".repeat(60)}***: its schema is no object`)
    })
  )

  it.live("are at most 128, and a warning names the others", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      server.tools = Array.from({ length: 130 }, (_, index) => ({ name: `t${String(index).padStart(3, "0")}` }))
      const catalog = yield* catalogue({ s: { url: server.url } })
      assert.strictEqual(catalog.tools(null).length, 128)
      assert.isTrue(logs.some((line) => line.includes("2 of MCP servers are left out: bmcp_s_t128, bmcp_s_t129")))
      server.tools = Array.from({ length: 500 }, (_, index) => ({ name: `u${String(index).padStart(3, "0")}` }))
      const many = yield* catalogue({ s: { url: server.url } })
      assert.strictEqual(many.tools(null).length, 128)
      const warning = logs.find((line) => line.includes("372 of MCP servers are left out"))
      assert.match(warning ?? "", /: bmcp_s_u128, .*bmcp_s_u147 and 352 more$/)
    })
  )

  it.live("come to an end though their list does not", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      server.endless = true
      const catalog = yield* catalogue({ s: { url: server.url } })
      yield* until(() => names(catalog).length > 0)
      assert.deepStrictEqual(names(catalog), ["bmcp_s_echo"])
      assert.strictEqual(server.count("tools/list"), 100)
      server.tools = Array.from({ length: 4000 }, (_, index) => ({ name: `u${index}` }))
      const many = yield* catalogue({ s: { url: server.url } })
      yield* until(() => names(many).length > 0)
      assert.strictEqual(server.count("tools/list"), 102)
    })
  )

  it.live("are read again while a server says without end that they change, but not as often", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const catalog = yield* catalogue({ s: { url: server.url } })
      yield* until(() => server.others.includes("GET"))
      const flood = Effect.forever(
        Effect.andThen(
          Effect.sync(() => server.notify("notifications/tools/list_changed")),
          Effect.sleep("10 millis")
        )
      )
      yield* Effect.forkChild(flood)
      yield* Effect.sleep("100 millis")
      server.tools = [{ name: "fresh" }]
      yield* until(() => names(catalog)[0] === "bmcp_s_fresh")
      yield* Effect.sleep("500 millis")
      assert.isAtLeast(server.count("tools/list"), 3)
      assert.isAtMost(server.count("tools/list"), 4)
      // A call that finds the server lost does not wait for that.
      yield* Effect.promise(() => server.stop())
      yield* Effect.timeout(call(catalog), "800 millis")
      yield* Effect.timeout(
        until(() => catalog.servers()[0]?.status === "failed"),
        "400 millis"
      )
    })
  )

  it.live("are read again when they change, and stay the same array while they do not", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const other = yield* mcpServer
      const catalog = yield* catalogue({ s: { url: server.url }, other: { url: other.url } })
      const [all, ours, others] = [catalog.tools(null), catalog.tools(["s"]), catalog.tools(["other"])]
      assert.strictEqual(catalog.tools(null), all)
      yield* until(() => server.others.includes("GET"))
      server.notify("notifications/tools/list_changed")
      yield* until(() => server.count("tools/list") === 2)
      assert.strictEqual(catalog.tools(null), all)
      server.tools = [...server.tools, { name: "more" }]
      server.notify("notifications/tools/list_changed")
      yield* until(() => catalog.tools(null) !== all)
      assert.deepStrictEqual(names(catalog), ["bmcp_s_echo", "bmcp_s_more", "bmcp_other_echo"])
      assert.notStrictEqual(catalog.tools(["s"]), ours)
      assert.strictEqual(catalog.tools(["other"]), others)
      assert.strictEqual(catalog.tools(null)[0], all[0])
    })
  )
})

describe("a call", () => {
  it.live("reaches the server with its arguments, over a stream or as plain JSON", () =>
    Effect.gen(function* () {
      for (const json of [false, true]) {
        const server = yield* mcpServer
        server.json = json
        const catalog = yield* catalogue({ s: { url: server.url } })
        assert.strictEqual(textOf(yield* call(catalog, "echo", ' {"b":1,"a":[null]} ')), '{"b":1,"a":[null]}')
        assert.strictEqual(textOf(yield* call(catalog, "echo", "")), "{}")
        for (const input of ['{"a":', "[1]", "null", '"text"']) {
          const answer = yield* call(catalog, "echo", input)
          assert.match(answer.error ?? "", /^The arguments are not .*not called/)
          assert.strictEqual(textOf(answer), answer.error)
        }
        for (const input of [`{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, "[".repeat(100_000)]) {
          const answer = yield* call(catalog, "echo", input)
          assert.strictEqual(
            answer.error,
            "The arguments are nested too deep (more than 500 levels). The tool was not called."
          )
          assert.strictEqual(answer.kind, "bad_request")
        }
        assert.strictEqual(server.count("tools/call"), 2)
        const deep = `{"a":${"[".repeat(499)}${"]".repeat(499)}}`
        assert.strictEqual(textOf(yield* call(catalog, "echo", deep)), deep)
      }
    })
  )

  it.live("that the server refuses or fails is an answer", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const catalog = yield* catalogue({ s: { url: server.url } })
      server.onCall = (reply) => reply.error(-32_602, "no such tool")
      assert.match((yield* call(catalog)).error ?? "", /The tool echo of s failed: .*no such tool/)
      server.onCall = (reply) => reply.status(500, "out of order")
      assert.match((yield* call(catalog)).error ?? "", /out of order/)
      server.onCall = (reply) => reply.result({ content: [{ type: "text", text: "bad" }], isError: true })
      assert.deepStrictEqual(yield* call(catalog), { content: [{ type: "text", text: "bad" }], error: "bad" })
      server.onCall = (reply) => reply.result({ content: [{ type: "hologram", data: 1 }] })
      assert.strictEqual(textOf(yield* call(catalog)), '{"type":"hologram","data":1}')
      server.onCall = (reply) => reply.result("nothing that is a result")
      assert.isNotNull((yield* call(catalog)).error)
      assert.strictEqual(server.count("initialize"), 1)
    })
  )

  it.live("whose connection breaks has an answer at once, and the next one is served", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const catalog = yield* catalogue({ s: { url: server.url } })
      const echo = server.onCall
      for (const break_ of ["end", "cut"] as const) {
        server.onCall = (reply) => reply[break_]()
        const answer = yield* Effect.timeout(call(catalog), "2 seconds")
        assert.isNotNull(answer.error)
        server.onCall = echo
        assert.strictEqual(textOf(yield* call(catalog)), "{}")
      }
    })
  )

  it.live("ends with an answer when the server dies, and works again when it is back", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const catalog = yield* catalogue({ s: { url: server.url } })
      const echo = server.onCall
      server.onCall = () => {}
      const waiting = yield* Effect.forkChild(call(catalog))
      yield* until(() => server.count("tools/call") === 1)
      yield* Effect.promise(() => server.stop())
      assert.isNotNull((yield* Effect.timeout(Fiber.join(waiting), "2 seconds")).error)
      yield* until(() => catalog.servers()[0]?.status === "failed")
      assert.match(catalog.servers()[0]?.error ?? "", /ECONNREFUSED/)
      // What it offered is offered still: a list that comes and goes would cost prompt caches.
      assert.deepStrictEqual(names(catalog), ["bmcp_s_echo"])
      server.onCall = echo
      yield* Effect.promise(() => server.start())
      assert.strictEqual(textOf(yield* call(catalog)), "{}")
      assert.strictEqual(catalog.servers()[0]?.status, "connected")
    })
  )

  it.live("that could not be made within tools.call_timeout says so, and not that the tool took too long", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const catalog = yield* catalogue({ s: { url: server.url } }, { tools: { call_timeout: "100 millis" } })
      yield* Effect.promise(() => server.stop())
      yield* until(() => catalog.servers()[0]?.status === "failed")
      const answer = yield* call(catalog)
      assert.match(answer.error ?? "", /^The tool echo of s failed: it is not connected: .*ECONNREFUSED/)
      assert.strictEqual(answer.kind, "upstream_unreachable")
    })
  )

  it.live("is made again where the server has forgotten the session", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const catalog = yield* catalogue({ s: { url: server.url } })
      server.forget()
      assert.strictEqual(textOf(yield* call(catalog)), "{}")
      assert.strictEqual(server.count("initialize"), 2)
    })
  )

  it.live("is cancelled at the server when it takes too long or nobody waits, and its connection is closed", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const catalog = yield* catalogue({ s: { url: server.url } }, { tools: { call_timeout: "100 millis" } })
      yield* until(() => server.others.includes("GET"))
      server.onCall = (reply) => setTimeout(() => reply.end(), 10_000).unref()
      assert.strictEqual((yield* call(catalog)).error, "The tool echo of s did not answer within 100ms.")
      const abandoned = yield* Effect.forkChild(call(catalog))
      yield* until(() => server.count("tools/call") === 2)
      yield* Fiber.interrupt(abandoned)
      yield* until(() => server.count("notifications/cancelled") === 2)
      const ids = (method: string, id: (message: (typeof server.received)[number]) => unknown) =>
        server.received.filter((message) => message.method === method).map(id)
      assert.deepStrictEqual(
        ids("notifications/cancelled", ({ params }) => params["requestId"]),
        ids("tools/call", ({ id }) => id)
      )
      yield* until(() => server.abandoned === 2)
    })
  )

  it.live("that answers with megabytes is cut at tools.max_result_bytes", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const catalog = yield* catalogue({ s: { url: server.url } }, { tools: { max_result_bytes: 1000 } })
      server.onCall = (reply) => reply.result({ content: [{ type: "text", text: "ä".repeat(2_500_000) }] })
      const text = textOf(yield* call(catalog))
      assert.match(text, /^ä{500}\n\[4999000 of 5000000 bytes are left out/)
    })
  )
})

describe("an answer that is larger than 64 MiB", () => {
  it.live.each([
    { type: "application/json", head: '{"jsonrpc":"2.0","a":"', piece: "x", error: /larger than 64 MiB/ },
    { type: "text/event-stream", head: "data: {", piece: "x", error: /ended before the answer/ },
    { type: "text/event-stream", head: "", piece: "data: x\r\n", error: /ended before the answer/ }
  ])("is not read on, and is an error: $type $piece", ({ error, head, piece, type }) =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const catalog = yield* catalogue({ s: { url: server.url } })
      const echo = server.onCall
      server.onCall = (reply) => reply.flood(type, head, piece, 200_000_000)
      assert.match((yield* call(catalog)).error ?? "", error)
      yield* until(() => server.abandoned === 1)
      assert.isBelow(server.flooded, 100_000_000)
      server.onCall = echo
      assert.strictEqual(textOf(yield* call(catalog)), "{}")
      assert.strictEqual(server.count("initialize"), 1)
    })
  )

  it.live.each(["\n", "\r\n"])("is not a stream of many messages that are not (%j)", (end) =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const catalog = yield* catalogue({ s: { url: server.url } }, { tools: { call_timeout: "20 seconds" } })
      const note = JSON.stringify({
        jsonrpc: "2.0",
        method: "notifications/message",
        params: { data: "x".repeat(9e5) }
      })
      server.onCall = (reply) => reply.flood("text/event-stream", "", `data: ${note}${end}${end}`, 70_000_000)
      assert.match((yield* call(catalog)).error ?? "", /ended before the answer/)
      assert.isAbove(server.flooded, 70_000_000)
      assert.strictEqual(server.abandoned, 0)
    })
  )
})

describe("a server", () => {
  it.live("is given its headers, and nothing shows them", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const url = `${server.url}?code=canary-query`
      const catalog = yield* catalogue({
        s: { url, headers: { Authorization: "Bearer canary-token-1", "x-other": "canary-other" } }
      })
      assert.isTrue(server.received.every(({ headers }) => headers.authorization === "Bearer canary-token-1"))
      assert.strictEqual(catalog.tools(null)[0]?.serverUrl, server.url)
      server.onCall = (reply) => reply.result({ content: [{ type: "text", text: "you sent canary-token-1" }] })
      assert.strictEqual(textOf(yield* call(catalog)), "you sent ***")
      server.onCall = (reply) => reply.error(-1, "Bearer canary-token-1 canary-query canary-other")
      const error = yield* call(catalog)
      server.refuse = { status: 403, body: "canary-token-1 may not" }
      const refused = yield* call(catalog)
      yield* Effect.promise(() => server.stop())
      yield* until(() => catalog.servers()[0]?.status === "failed")
      assert.notInclude(JSON.stringify([error, refused, catalog.servers(), logs]), "canary")
      server.refuse = null
    })
  )

  it.live("has its credentials hidden before anything is cut, so that no beginning of one is left", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const token = "canary-token-0123456789abcdef"
      const headers = { Authorization: `Bearer ${token}` }
      const catalog = yield* catalogue({ s: { url: server.url, headers } }, { tools: { max_result_bytes: 1000 } })
      for (const length of [470, 480, 490, 970, 980, 990]) {
        const text = `${"e".repeat(length)} ${token}`
        for (const isError of [true, false]) {
          server.onCall = (reply) => reply.result({ content: [{ type: "text", text }], isError })
          assert.notInclude(JSON.stringify(yield* call(catalog)), "canary")
        }
        server.onCall = (reply) => reply.error(-1, text.slice(200))
        assert.notInclude(JSON.stringify(yield* call(catalog)), "canary")
      }
      server.onCall = (reply) =>
        reply.result({
          content: [
            { type: "resource", resource: { uri: `file:///${token}`, mimeType: `a/${token}`, blob: "QQ==" } },
            { type: "image", mimeType: `image/${token}`, data: "QQ==" }
          ],
          structuredContent: { [token]: token }
        })
      assert.notInclude(JSON.stringify(yield* call(catalog)), "canary")
    })
  )

  it.live("that fails takes neither others nor the start with it", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const absent = yield* mcpServer
      yield* Effect.promise(() => absent.stop())
      const catalog = yield* catalogue({
        gone: { url: absent.url },
        missing: { command: "no-such-program-anywhere" },
        line: { command: "no-such-program --token canary" },
        broken: { command: process.execPath, args: ["-e", "console.error('it says why'); process.exit(3)"] },
        s: { url: server.url }
      })
      assert.deepStrictEqual(
        catalog.servers().map(({ name, status }) => `${name} ${status}`),
        ["gone failed", "missing failed", "line failed", "broken failed", "s connected"]
      )
      const [gone, missing, line, broken] = catalog.servers().map(({ error }) => error ?? "")
      assert.match(gone!, /^could not be reached: connect ECONNREFUSED 127\.0\.0\.1:\d+$/)
      assert.strictEqual(missing, "there is no program no-such-program-anywhere (ENOENT)")
      assert.strictEqual(line, "there is no such program (ENOENT): what follows its name in command belongs in args")
      assert.isFalse(logs.some((text) => text.includes("canary")))
      assert.match(broken!, /it says why/)
      assert.deepStrictEqual(names(catalog), ["bmcp_s_echo"])
      assert.strictEqual(textOf(yield* call(catalog)), "{}")
    })
  )

  it.live("is left with its session ended and no connection open", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const scope = yield* Scope.make()
      const catalog = yield* Scope.provide(catalogue({ s: { url: server.url } }), scope)
      yield* call(catalog)
      yield* Scope.close(scope, Exit.void)
      assert.include(server.others, "DELETE")
      yield* until(() => server.openConnections() === 0)
    })
  )

  it.live("of the protocol of 2026-07-28 is spoken to in it", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      server.modern = true
      const properties = { city: { type: "string", "x-mcp-header": "City" } }
      server.tools = [{ name: "echo", inputSchema: { type: "object", properties } }]
      server.onCall = (reply, { arguments: args }) =>
        reply.result({ resultType: "complete", content: [{ type: "text", text: JSON.stringify(args) }] })
      const catalog = yield* catalogue({ s: { url: server.url } }, { tools: { call_timeout: "100 millis" } })
      assert.deepStrictEqual(names(catalog), ["bmcp_s_echo"])
      assert.strictEqual(textOf(yield* call(catalog, "echo", '{"city":"Bern"}')), '{"city":"Bern"}')
      const sent = server.received.find(({ method }) => method === "tools/call")
      assert.strictEqual(sent?.headers["mcp-param-city"], "Bern")
      server.onCall = () => {}
      assert.match((yield* call(catalog)).error ?? "", /did not answer/)
      // Closing its stream is how a call is cancelled there.
      yield* until(() => server.abandoned === 1)
    })
  )

  it.live("that wants OAuth is given a token for the client's credentials, which nothing shows", () =>
    Effect.gen(function* () {
      const server = yield* mcpServer
      const authorization = yield* oauthServer("canary-access-token")
      server.bearer = { token: "canary-access-token", issuer: authorization.issuer }
      const oauth = { client_id: "sluice-test", client_secret: "canary-secret", scope: "tools" }
      const catalog = yield* catalogue({
        s: { url: server.url, oauth: { ...oauth, issuer: authorization.issuer } },
        elsewhere: { url: server.url, oauth: { ...oauth, issuer: "https://auth.example" } }
      })
      assert.strictEqual(textOf(yield* call(catalog)), "{}")
      const basic = `Basic ${Buffer.from("sluice-test:canary-secret").toString("base64")}`
      assert.deepStrictEqual(
        authorization.requests.map((request) => [
          request.authorization,
          request.form["grant_type"],
          request.form["scope"]
        ]),
        [[basic, "client_credentials", "tools"]]
      )
      // The server names another authorization server than the one the credentials are for.
      assert.strictEqual(catalog.servers()[1]?.status, "failed")
      server.onCall = (reply) => reply.error(-1, "canary-access-token canary-secret")
      assert.notInclude(JSON.stringify([yield* call(catalog), catalog.servers(), logs]), "canary")
    })
  )
})

describe("a program", () => {
  const pidOf = (catalog: ToolCatalog["Service"]) =>
    Effect.map(call(catalog, "pid"), (answer) => Number(textOf(answer)))

  it.live("has what its environment and its arguments name as credentials hidden in what it answers", () =>
    Effect.gen(function* () {
      const program = mcpProgram()
      const catalog = yield* catalogue({
        s: {
          command: program.command,
          args: [...program.args, "--api-key", "canary-arg-1", "--token=canary-arg-2", "X-Auth: Bearer canary-arg-3"],
          env: {
            API_KEY: 'canary-"env"-1',
            DATABASE_URL: "postgres://me:canary-env-2@db/x",
            REGION: "eu-central-1",
            SECRET: "short"
          }
        }
      })
      const answer = yield* call(catalog, "tell")
      assert.notInclude(JSON.stringify(answer), "canary")
      assert.include(textOf(answer), "eu-central-1")
      assert.include(textOf(answer), "short")
      const error = yield* call(catalog, "fail")
      assert.isNotNull(error.error)
      assert.notInclude(JSON.stringify(error), "canary")
      // The records have no use for it, and who can tell what it is.
      assert.notInclude(error.error, "eu-central-1")
    })
  )

  it.live("shows no end of a credential that is cut off at the beginning of its standard error", () =>
    Effect.gen(function* () {
      const source = `
        const say = (text) => require("node:fs").writeSync(2, text)
        say("x".repeat(100) + process.env.API_KEY.slice(0, 9))
        setTimeout(() => { say(process.env.API_KEY.slice(9) + " " + "y".repeat(1985)); process.exit(1) }, 100)
      `
      const env = { API_KEY: "0123456789-canary-env-1" }
      const catalog = yield* catalogue({ s: { command: process.execPath, args: ["-e", source], env } })
      assert.match(catalog.servers()[0]?.error ?? "", /yyy/)
      assert.notInclude(JSON.stringify([catalog.servers(), logs]), "canary")
    })
  )

  it.live("that dies ends its calls and is started again", () =>
    Effect.gen(function* () {
      const catalog = yield* catalogue({ s: mcpProgram() })
      const pid = yield* pidOf(catalog)
      const waiting = yield* Effect.forkChild(call(catalog, "wait"))
      assert.isNotNull((yield* Effect.timeout(call(catalog, "die"), "2 seconds")).error)
      assert.isNotNull((yield* Effect.timeout(Fiber.join(waiting), "2 seconds")).error)
      const next = yield* pidOf(catalog)
      assert.isAbove(next, 0)
      assert.notStrictEqual(next, pid)
      assert.isFalse(isRunning(pid))
    })
  )

  it.live.each([false, true])("ends with Sluice (stubborn: %s)", (stubborn) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const catalog = yield* Scope.provide(catalogue({ s: mcpProgram(stubborn) }), scope)
      const pid = yield* pidOf(catalog)
      assert.isTrue(isRunning(pid))
      yield* Effect.timeout(Scope.close(scope, Exit.void), "3 seconds")
      assert.isFalse(isRunning(pid))
    })
  )
})
