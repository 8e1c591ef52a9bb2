import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { codex, install } from "./Client.ts"
import { execCodex, providerSettings, settleCodex } from "./CodexHome.ts"
import { assistant, say } from "./Model.ts"
import { makeHome, makeScene, recordsOf } from "./Scene.ts"
import { makeSocketModel, messages } from "./WebSocketModel.ts"
import { Gateway } from "../support/Gateway.ts"

let script = ""
beforeAll(async () => {
  script = await Effect.runPromise(install(codex))
})

describe("Codex over WebSockets", () => {
  it.live("native trial", () =>
    Effect.gen(function* () {
      const model = yield* makeSocketModel((asked, turn) => messages(asked, assistant(asked, turn)))
      const gateway = yield* Gateway.start({
        config: { providers: { openai: { type: "openai", base_url: `${model.url}/v1` } }, retries: { times: 0 } }
      })
      const home = yield* makeHome
      yield* settleCodex(home, providerSettings(`${gateway.url}/openai/v1`, true))
      for (const args of [["say hi"], ["resume", "--last", "read hello.txt"], ["resume", "--last", "turn three"]]) {
        const said = yield* execCodex(script, home, args)
        console.log(said.output.slice(0, 3000))
      }
      for (const one of model.creates) console.log(one.connection, one.items, Object.keys(one.body), one.body.previous_response_id, one.body.generate)
      for (const h of model.handshakes) console.log(h.url, h.headers)
      for (const r of yield* recordsOf(gateway)) console.log(r.interception, r.turns, r.usage)
      console.log(gateway.stderr())
    })
  )
  it.live("bridged trial", () =>
    Effect.gen(function* () {
      const scene = yield* makeScene((asked, turn) => say(asked, assistant(asked, turn)))
      const gateway = yield* Gateway.start({
        config: { providers: { openai: { type: "openai", base_url: `${scene.upstream.url}/v1`, websocket: false } }, retries: { times: 0 } }
      })
      const home = yield* makeHome
      yield* settleCodex(home, providerSettings(`${gateway.url}/openai/v1`, true))
      for (const args of [["say hi"], ["resume", "--last", "read hello.txt"], ["resume", "--last", "turn three"]]) {
        const said = yield* execCodex(script, home, args)
        console.log(said.output.slice(0, 3000))
      }
      for (const r of scene.upstream.requests) console.log(r.url, Object.keys(JSON.parse(r.text)), JSON.parse(r.text).input.length)
      for (const r of yield* recordsOf(gateway)) console.log(r.interception, r.turns, r.usage)
      console.log(gateway.stderr())
    })
  )
})
