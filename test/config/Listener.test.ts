import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { isLoopback, listenerError } from "../../src/config/Listener.ts"
import { make } from "../../src/config/Load.ts"

describe("isLoopback", () => {
  it.each([
    "127.0.0.1",
    "127.255.0.9",
    "::1",
    "0:0:0:0:0:0:0:1",
    "[::1]",
    "localhost",
    "LOCALHOST",
    "::ffff:127.0.0.1"
  ])("%s is this machine only", (host) => assert.isTrue(isLoopback(host)))
  it.each(["0.0.0.0", "::", "128.0.0.1", "10.0.0.1", "::2", "localhost.example.com", "127.0.0.1.nip.io", "127.1", ""])(
    "%j is not",
    (host) => assert.isFalse(isLoopback(host))
  )
})

describe("an open listener", () => {
  it.effect("is refused off loopback, with a word on how to allow it", () =>
    Effect.gen(function* () {
      const refused = listenerError(yield* make({ server: { host: "0.0.0.0" } }))
      assert.include(refused?.message, 'server.host is "0.0.0.0"')
      assert.include(refused?.message, "server.allow_open: true")
      assert.isNull(listenerError(yield* make({ server: { host: "0.0.0.0", allow_open: true } })))
      assert.isNull(listenerError(yield* make({ server: { host: "[::1]" } })))
      assert.isNull(listenerError(yield* make()))
    })
  )
})
