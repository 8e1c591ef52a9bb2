import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { tooOld } from "../../src/cli/NodeVersion.ts"

describe("the version of Node", () => {
  it.each(["20.20.2", "22.18.99", "18.0.0", "8.0.0"])("%s is told that it is too old", (version) => {
    expect(tooOld(version)).toBe(`Sluice needs Node 22.19 or newer; this is ${version}.`)
  })

  it.each(["22.19.0", "22.20.1", "23.0.0", "24.21.0", "100.0.0-nightly", process.versions.node])(
    "%s will do",
    (version) => {
      expect(tooOld(version)).toBeNull()
    }
  )

  it("that is needed is the one package.json names", () => {
    const { engines } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
      engines: { node: string }
    }
    const oldest = engines.node.replace(">=", "")
    expect([tooOld(`${oldest}.0`), tooOld("1.0.0")]).toEqual([null, expect.stringContaining(`Node ${oldest} `)])
  })
})
