import { describe, expect, it } from "vitest"
import { check, importsOf } from "../../.ci/rules.ts"

const packages = { dependencies: ["effect", "@effect/platform-node"], devDependencies: ["vitest", "@effect/vitest"] }
const checkOne = (path: string, text: string) => check([{ path, text }], packages)

describe("importsOf", () => {
  it("finds every form of import and where it stands", () => {
    const text = `// import "commented"
import "./a.ts"
import type { B } from "./b.ts"
import {
  c,
  type D
} from "./c.ts"
export * from "./e.ts"
export type { F } from './f.ts'
const g = await import("./g.ts")
export const h = "x" // from "./h.ts"
  import "indented text of a template"
`
    expect(importsOf(text).map(({ line, target, typeOnly }) => `${line} ${target} ${typeOnly}`)).toEqual([
      "2 ./a.ts false",
      "3 ./b.ts true",
      "4 ./c.ts false",
      "8 ./e.ts false",
      "9 ./f.ts true",
      "10 ./g.ts false"
    ])
  })
})

describe("the direction of imports", () => {
  it.each([
    ["src/wire/A.ts", "../dialect/B.ts"],
    ["src/dialect/x/A.ts", "../../interception/B.ts"],
    ["src/interception/A.ts", "../http/B.ts"],
    ["src/interception/A.ts", "../recorder/Sqlite.ts"],
    ["src/interception/A.ts", "../upstream/Exchange.ts"],
    ["src/recorder/A.ts", "../upstream/Upstream.ts"],
    ["src/upstream/A.ts", "../config/Config.ts"],
    ["src/http/A.ts", "../Sluice.ts"],
    ["src/http/A.ts", "../cli/B.ts"],
    ["src/Sluice.ts", "./cli/B.ts"],
    ["src/Sluice.ts", "./main.ts"],
    ["src/Sluice.ts", "./testing/B.ts"],
    ["src/strange/A.ts", "../wire/B.ts"],
    ["src/Sluice.ts", "../test/B.ts"],
    ["src/wire/A.ts", "effect"],
    ["src/wire/A.ts", "node:fs"],
    ["src/Sluice.ts", "vitest"],
    ["src/Sluice.ts", "left-pad"],
    ["src/Sluice.ts", "fs"],
    ["src/Sluice.ts", "./wire/B"],
    ["test/A.test.ts", "left-pad"]
  ])("fails when %s imports %s", (path, target) => {
    expect(checkOne(path, `import { x } from "${target}"\n`)).toHaveLength(1)
  })

  it.each([
    ["src/wire/A.ts", "node:buffer"],
    ["src/dialect/x/A.ts", "../../wire/B.ts"],
    ["src/interception/stages/A.ts", "../../recorder/Recorder.ts"],
    ["src/upstream/A.ts", "../dialect/B.ts"],
    ["src/http/A.ts", "../interception/B.ts"],
    ["src/http/A.ts", "effect/http"],
    ["src/main.ts", "./cli/B.ts"],
    ["src/main.ts", "@effect/platform-node"],
    ["src/testing/A.ts", "../recorder/Sqlite.ts"],
    ["test/A.test.ts", "sluice/testing"],
    ["test/A.test.ts", "@effect/vitest"]
  ])("allows %s to import %s", (path, target) => {
    expect(checkOne(path, `import { x } from "${target}"\n`)).toEqual([])
  })

  it("lets services import the types of the config and nothing else of it", () => {
    expect(checkOne("src/upstream/A.ts", 'import type { X } from "../config/Config.ts"\n')).toEqual([])
  })

  it("takes no circle of types for one", () => {
    const files = [
      { path: "src/wire/A.ts", text: 'import "./B.ts"\n' },
      { path: "src/wire/B.ts", text: 'import type { A } from "./A.ts"\n' }
    ]
    expect(check(files, packages)).toEqual([])
  })

  it("finds circles, with the way round", () => {
    const file = (name: string, target: string) => ({
      path: `src/wire/${name}.ts`,
      text: `import "./${target}.ts"\n`
    })
    expect(check([file("A", "B"), file("B", "C"), file("C", "B")], packages)).toEqual([
      "src/wire/B.ts:1: imports itself: src/wire/B.ts → src/wire/C.ts → src/wire/B.ts"
    ])
  })
})

describe("what may stand in a file", () => {
  it.each([
    ["test/A.test.ts", `it.${"only"}("x", f)`],
    ["test/A.test.ts", `it.effect.${"skip"}("x", f)`],
    ["src/A.ts", `// ${"TO"}DO later`],
    ["src/A.ts", `// @ts-${"ignore"}`],
    ["src/A.ts", `const path = "${"/home"}/me"`],
    ["src/A.ts", 'new Worker(new URL("./B.ts", import.meta.url))'],
    ["src/lower.ts", "export const a = 1"],
    ["src/A.ts", "\n".repeat(501)]
  ])("fails for %s with %j", (path, text) => {
    expect(checkOne(path, text)).toHaveLength(1)
  })

  it("names the file and the line", () => {
    expect(checkOne("src/A.ts", `\n\nimport "./B"\n`)).toEqual([
      "src/A.ts:3: the import of ./B lacks its extension .ts"
    ])
  })

  it("counts 500 lines as not too long", () => {
    expect(checkOne("src/A.ts", "\n".repeat(500))).toEqual([])
  })
})
