import { beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { everythingOverHttp } from "../support/McpEverything.ts"
import { codex, install } from "./Client.ts"
import { execCodex, providerSettings, settleCodex } from "./CodexHome.ts"
import { atOnce, behind, checkListening, inTurn, listening } from "./Listening.ts"
import { makeHome, toolsReady } from "./Scene.ts"
import { makeSocketScene, messages } from "./WebSocketModel.ts"

let script = ""
beforeAll(async () => {
  script = await Effect.runPromise(install(codex))
})

describe.each(["native", "bridged"] as const)("Codex over WebSockets, %s, with injected tools", (bridging) => {
  it.live("sees nothing of tools that the gateway runs, whose answers the model still knows in a resumed session", () =>
    Effect.gen(function* () {
      const everything = yield* everythingOverHttp
      const model = listening()
      const { baseUrl, gateway } = yield* makeSocketScene(
        bridging,
        (asked, turn) => messages(asked, model.answer(asked, turn)),
        { mcp: { servers: { everything } } }
      )
      yield* toolsReady(gateway)
      const home = yield* makeHome
      yield* settleCodex(home, providerSettings(baseUrl, true))
      const exec = (...args: ReadonlyArray<string>) => execCodex(script, home, args)
      const runs = [
        yield* exec(inTurn),
        yield* exec("resume", "--last", atOnce),
        yield* exec("resume", "--last", behind)
      ]
      yield* checkListening({ gateway, model }, home, "codex", runs)
    })
  )
})
