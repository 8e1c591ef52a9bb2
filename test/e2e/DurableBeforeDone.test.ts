import { Agent, request as httpRequest } from "node:http"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Gateway, type GatewayOptions, temporaryDirectory } from "../support/Gateway.ts"
import { times } from "../support/Soak.ts"

const rounds = times(20, 4)
const clients = 50

/** In each fourth round somebody else holds the database, so that what is committed goes to the spool. */
const isLocked = (round: number): boolean => round % 4 === 3

const config: GatewayOptions["config"] = {
  providers: { sim: { type: "simulated" } },
  recorder: { commit_timeout: "50 millis", on_failure: "continue" }
}

/** How an answer ends, and so what tells its client that it is complete. */
type Kind = "done, usage shown" | "done, usage hidden" | "no [DONE]" | "json"
const kinds: ReadonlyArray<Kind> = ["done, usage shown", "done, usage hidden", "no [DONE]", "json"]

interface Tokens {
  readonly input: number
  readonly cacheRead: number
  readonly output: number
}

/** One call, as its client saw it. */
interface Call {
  readonly kind: Kind
  readonly prompt: string
  readonly used: Tokens
  /** The interception's id, once the head was seen. */
  id: string | null
  status: number
  text: string
  /** Whether the client could take the answer for whole. */
  complete: boolean
}

const integer = (least: number, most: number): number => least + Math.floor(Math.random() * (most - least + 1))

const makeCall = (round: number, number: number): Call => {
  const kind = kinds[number % kinds.length]!
  const cacheRead = integer(0, 50)
  const used = { input: integer(1, 5_000), cacheRead, output: integer(1, 5_000) }
  const directives = [
    `input=${used.input + cacheRead}, cached=${cacheRead}, output=${used.output}`,
    `words=${integer(1, 8)}, first=${integer(0, 30)}ms, delay=${integer(0, 8)}ms`,
    ...(kind === "no [DONE]" ? ["no-done"] : [])
  ]
  const prompt = `Round ${round}, call ${number} [[sim: ${directives.join(", ")}]]`
  return { kind, prompt, used, id: null, status: 0, text: "", complete: false }
}

/** Makes a call and follows its answer to its end, or to the end of the gateway. */
const carryOut = (url: string, call: Call, agent: Agent): Promise<void> =>
  new Promise((resolve) => {
    const body = JSON.stringify({
      model: "sim",
      messages: [{ role: "user", content: call.prompt }],
      stream: call.kind !== "json",
      ...(call.kind === "done, usage shown" ? { stream_options: { include_usage: true } } : {})
    })
    const request = httpRequest(`${url}/sim/v1/chat/completions`, {
      method: "POST",
      agent,
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) }
    })
    request.on("response", (response) => {
      call.status = response.statusCode ?? 0
      call.id = String(response.headers["x-sluice-interception-id"])
      response.setEncoding("utf8").on("data", (text: string) => {
        call.text += text
        if (call.kind.startsWith("done") && call.text.endsWith("data: [DONE]\n\n")) call.complete = true
      })
      response.on("end", () => {
        call.complete = true
      })
      response.on("error", () => {})
      response.on("close", resolve)
    })
    request.on("error", () => resolve())
    request.end(body)
  })

/** The usage that the client itself was told, in the form of the records. */
const toldUsage = (call: Call): Tokens | null => {
  const line = call.kind === "json" ? call.text : /^data: (.*"usage":\{.*)$/m.exec(call.text)?.[1]
  if (line === undefined) return null
  const { usage } = JSON.parse(line) as {
    usage: { prompt_tokens: number; completion_tokens: number; prompt_tokens_details: { cached_tokens: number } }
  }
  const cacheRead = usage.prompt_tokens_details.cached_tokens
  return { input: usage.prompt_tokens - cacheRead, cacheRead, output: usage.completion_tokens }
}

/** Keeps 50 calls running, kills the gateway at a random moment, and answers all calls that were made. */
const callAndKill = async (
  gateway: { readonly url: string; readonly dir: string; readonly kill: (signal: NodeJS.Signals) => void },
  round: number
): Promise<ReadonlyArray<Call>> => {
  const calls: Array<Call> = []
  const agent = new Agent({ keepAlive: true, maxSockets: clients })
  let running = true
  let other: DatabaseSync | undefined
  const kill = () => {
    gateway.kill("SIGKILL")
    running = false
  }
  const client = async () => {
    while (running) {
      const call = makeCall(round, calls.length)
      calls.push(call)
      await carryOut(gateway.url, call, agent)
      if (!call.complete || calls.length < clients || timer !== undefined) continue
      timer = setTimeout(kill, integer(0, 400))
      if (!isLocked(round)) continue
      other = new DatabaseSync(join(gateway.dir, "sluice.db"), { timeout: 1_000 })
      other.exec("BEGIN IMMEDIATE")
    }
  }
  let timer: NodeJS.Timeout | undefined
  await Promise.all(Array.from({ length: clients }, client))
  agent.destroy()
  other?.close()
  return calls
}

interface Row {
  readonly status: string | null
  readonly error_code: string | null
  readonly ended_at: number | null
  readonly turns: number
  readonly turn_status: string | null
  readonly usages: number
  readonly input: number | null
  readonly cache_read: number | null
  readonly output: number | null
  readonly provenance: string | null
}

/** What is recorded of each interception, by its id. */
const readRows = (database: DatabaseSync): Map<string, Row> => {
  const rows = database
    .prepare(
      `SELECT i.id, i.status, i.error_code, i.ended_at,
         (SELECT count(*) FROM turns t WHERE t.interception_id = i.id) AS turns,
         (SELECT max(t.status) FROM turns t WHERE t.interception_id = i.id) AS turn_status,
         (SELECT count(*) FROM usage u WHERE u.interception_id = i.id) AS usages,
         u.input, u.cache_read, u.output, u.provenance
       FROM interceptions i LEFT JOIN usage u ON u.interception_id = i.id`
    )
    .all() as unknown as ReadonlyArray<Row & { readonly id: string }>
  return new Map(rows.map((row) => [row.id, row]))
}

/** Everything that is wrong with what was recorded of the calls of a round. */
const faultsOf = (database: DatabaseSync, calls: ReadonlyArray<Call>): ReadonlyArray<string> => {
  const rows = readRows(database)
  const faults: Array<string> = []
  for (const call of calls) {
    const fault = (what: string) => faults.push(`${what}: ${call.kind}, ${call.id}, ${call.prompt}`)
    if (call.id === null) continue
    const row = rows.get(call.id)
    if (call.status !== 200) fault(`answered ${call.status}`)
    else if (row === undefined) fault("not recorded")
    else if (row.ended_at === null) fault("left open")
    else if (call.complete) {
      const used = { input: row.input, cacheRead: row.cache_read, output: row.output }
      if (row.status !== "completed" || row.turn_status !== "completed") fault(`lost, recorded as ${row.status}`)
      else if (row.turns !== 1 || row.usages !== 1) fault(`${row.turns} turns and ${row.usages} usages`)
      else if (row.provenance !== "provider") fault(`usage known as ${row.provenance}`)
      else if (JSON.stringify(used) !== JSON.stringify(call.used)) fault(`usage ${JSON.stringify(used)}`)
      const told = toldUsage(call)
      if (told !== null && JSON.stringify(told) !== JSON.stringify(call.used)) fault(`told ${JSON.stringify(told)}`)
    }
  }
  for (const [id, row] of rows) {
    if (row.status === "completed" && row.turns === 1 && row.usages === 1) continue
    if (row.status === "failed" && row.error_code === "process_ended" && row.turns === 0 && row.usages === 0) continue
    faults.push(`${id} is ${row.status} (${row.error_code}) with ${row.turns} turns and ${row.usages} usages`)
  }
  const doubled = database.prepare("SELECT text FROM prompts GROUP BY text HAVING count(*) > 1").all()
  for (const { text } of doubled) faults.push(`recorded twice: ${String(text)}`)
  return faults
}

describe("durable before done (law 3)", () => {
  it.live(
    `what a client saw complete survives kill -9: ${rounds} rounds of ${clients} streams`,
    () =>
      Effect.gen(function* () {
        const dir = yield* temporaryDirectory
        const began = performance.now()
        let complete = 0
        let cutOff = 0
        let faults: ReadonlyArray<string> = []
        let gateway = yield* Gateway.start({ dir, config })
        for (let round = 0; round < rounds; round++) {
          const killed = gateway
          const calls = yield* Effect.promise(() => callAndKill(killed, round))
          assert.strictEqual((yield* killed.exit).signal, "SIGKILL")
          // Every round is restarted on the same database, and so each start also has all earlier rounds before it.
          gateway = yield* Gateway.start({ dir, config })
          const database = new DatabaseSync(join(dir, "sluice.db"), { readOnly: true })
          faults = [...faults, ...faultsOf(database, calls)]
          database.close()
          complete += calls.filter((call) => call.complete).length
          cutOff += calls.filter((call) => call.id !== null && !call.complete).length
        }
        const seconds = Math.round((performance.now() - began) / 100) / 10
        yield* Effect.sync(() =>
          process.stdout.write(
            `durable before done: ${rounds} rounds, ${complete} seen complete, ${cutOff} cut off, ${faults.length} lost or wrong, ${seconds} s\n`
          )
        )
        assert.deepStrictEqual(faults, [])
        // The rounds showed something: answers that were whole, and answers that the kill cut off.
        assert.isAbove(complete, rounds * 5)
        assert.isAbove(cutOff, rounds * 5)
      }),
    240_000
  )
})
