import { describe, expect, it } from "vitest"
import { toolAnswer } from "../../src/tools/ToolContents.ts"

const same = (text: string) => text
const asItIs = { inAnswers: same, inErrors: same }

const answer = (content: ReadonlyArray<unknown>, more: object = {}, bytes = 1_000_000) =>
  toolAnswer({ content, ...more }, bytes, asItIs)

const text = (value: string) => ({ type: "text", text: value })

describe("what a tool answered", () => {
  it("is carried part by part", () => {
    const blob = (mimeType?: string, uri = "file:///a/report.pdf?v=1") => ({
      type: "resource",
      resource: { uri, blob: "QUJD", ...(mimeType === undefined ? {} : { mimeType }) }
    })
    expect(
      answer([
        { type: "text", text: "one", annotations: { audience: ["user"] } },
        { type: "image", mimeType: "image/png", data: "QQ==" },
        { type: "audio", mimeType: "audio/wav", data: "Qg==" },
        { type: "resource", resource: { uri: "note://1", mimeType: "text/plain", text: "a note" } },
        blob("image/jpeg"),
        blob("application/pdf"),
        blob(undefined, "blob:"),
        { type: "resource_link", uri: "file:///x", name: "x", description: "an x", mimeType: "text/x" },
        { type: "resource_link", uri: "file:///y" }
      ])
    ).toEqual({
      error: null,
      content: [
        text("one"),
        { type: "image", mimeType: "image/png", data: "QQ==" },
        { type: "audio", mimeType: "audio/wav", data: "Qg==" },
        text("note://1\na note"),
        { type: "image", mimeType: "image/jpeg", data: "QUJD" },
        { type: "file", mimeType: "application/pdf", data: "QUJD", name: "report.pdf" },
        { type: "file", mimeType: "application/octet-stream", data: "QUJD", name: "blob:" },
        text("x: file:///x (text/x, an x)"),
        text("file:///y")
      ]
    })
  })

  it.each([
    { type: "hologram", data: { a: 1 } },
    { type: "image", data: "QQ==" },
    { type: "text" },
    { type: "resource", resource: { uri: "x" } },
    { type: "resource_link" },
    "no block",
    null
  ])("is given as its JSON where it is not known: %j", (block) => {
    expect(answer([block]).content).toEqual([text(JSON.stringify(block))])
  })

  it("holds structured content once", () => {
    const structuredContent = { a: 1, b: [{ c: null }] }
    expect(answer([text('{ "b": [{"c": null}], "a": 1.0 }')], { structuredContent }).content).toHaveLength(1)
    expect(answer([text("a is 1")], { structuredContent }).content[1]).toEqual(text(JSON.stringify(structuredContent)))
    expect(answer([text('{"a":1}')], { structuredContent }).content).toHaveLength(2)
    expect(answer([text('{"a":1,"b":[]}')], { structuredContent }).content).toHaveLength(2)
    expect(answer([], { structuredContent }).content).toHaveLength(1)
    expect(toolAnswer({ structuredContent }, 1000, asItIs).content).toHaveLength(1)
  })

  it("is an error where the server says so", () => {
    expect(answer([text("no"), text("way")], { isError: true }).error).toBe("no\nway")
    expect(answer([], { isError: true }).error).toBe("the tool failed")
    expect(answer([text("x".repeat(9000))], { isError: true }).error).toHaveLength(500)
    expect(answer([text("fine")], { isError: "true" }).error).toBeNull()
  })

  it.each([undefined, null, "text", []])("is an error where it is no result: %j", (result) => {
    expect(toolAnswer(result, 1000, asItIs).error).not.toBeNull()
  })

  it("is kept within its bytes, whole characters only", () => {
    const note = (left: number, of: number, max: number) =>
      `\n[${left} of ${of} bytes are left out: the result is larger than ${max} bytes]`
    expect(answer([text("häh")], {}, 4).content).toEqual([text("häh")])
    expect(answer([text("häh")], {}, 3).content).toEqual([text(`hä${note(1, 4, 3)}`)])
    expect(answer([text("häh")], {}, 2).content).toEqual([text(`h${note(3, 4, 2)}`)])
    expect(answer([text("😀")], {}, 3).content).toEqual([text(note(4, 4, 3))])
    expect(answer([text("abc"), text("defg"), text("h")], {}, 5).content).toEqual([
      text("abc"),
      text(`de${note(2, 4, 5)}`),
      text(note(1, 1, 5))
    ])
  })

  it("describes a binary part that does not fit, and goes on with what does", () => {
    const image = { type: "image", mimeType: "image/png", data: "QUJDREVG" }
    expect(answer([image, text("small")], {}, 5).content).toEqual([
      text("[image, image/png, 6 bytes: too large to be shown]"),
      text("small")
    ])
    expect(answer([image], {}, 6).content).toEqual([image])
  })
})
