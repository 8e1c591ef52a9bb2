import { describe, expect, it } from "vitest"
import { cut, printable, table } from "../../src/cli/Table.ts"

const esc = "\u001b"

describe("table", () => {
  const columns = [{ title: "NAME", shrink: true }, { title: "N", align: "right" as const }, { title: "ID" }]

  it("aligns columns to their widest text, numbers at the right, full-width characters as two", () => {
    expect(
      table(columns, [
        ["a", "1", "x"],
        ["模型", "1000", "y"],
        ["longer", "20", ""]
      ])
    ).toBe(["NAME       N  ID", "a          1  x", "模型    1000  y", "longer    20"].join("\n"))
  })

  it("cuts only columns that may shrink, and only as far as the terminal asks for", () => {
    const row = ["a-rather-long-name", "1", "0123456789"]
    expect(table(columns, [row], 24).split("\n")[1]).toBe("a-rather…  1  0123456789")
    expect(table(columns, [row], 5).split("\n")[1]).toBe("a-rat…  1  0123456789")
    expect(table(columns, [row], 0).split("\n")[1]).toBe("a-rather-long-name  1  0123456789")
  })

  it("lets nothing through that a terminal would obey", () => {
    expect(table(columns, [[`a${esc}[2J\r\nb`, "1", "\u202ex"]])).toBe("NAME     N  ID\na [2J b  1   x")
    expect(printable("tab\tand\u009bmore")).toBe("tab and more")
  })
})

describe("cut", () => {
  it("never splits a character and never is wider than asked for", () => {
    expect(cut("模型模型", 5)).toBe("模型…")
    expect(cut("模型模型", 4)).toBe("模…")
    expect(cut("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", 4)).toBe("👨‍👩‍👧…")
    expect(cut("short", 5)).toBe("short")
  })
})
