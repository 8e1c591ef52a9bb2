import { describe, expect, it } from "vitest"
import { Answer } from "./Answer.ts"

const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const events = 'data: {"a":1}\n\n'
const done = "data: [DONE]\n\n"
const whole = `${head}${chunk(events)}${chunk(events + done)}0\r\n\r\n`

const readIn = (text: string, size: number): Answer => {
  const answer = new Answer()
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += size) answer.push(bytes.subarray(at, at + size))
  return answer
}

describe("Answer", () => {
  it("reads the same from pieces of any size", () => {
    for (let size = 1; size <= whole.length; size++) {
      const answer = readIn(whole, size)
      expect([answer.status, answer.bytes, answer.chunks, answer.done, answer.endsWithEvent(done)]).toEqual([
        200,
        events.length * 2 + done.length,
        2,
        true,
        true
      ])
    }
  })

  it("is not done at any byte before the last", () => {
    for (let end = 1; end < whole.length; end++) expect(readIn(whole.slice(0, end), 7).done).toBe(false)
  })

  it("sees a stream that ends without [DONE]", () => {
    const answer = readIn(`${head}${chunk(done)}${chunk(events)}0\r\n\r\n`, 5)
    expect([answer.done, answer.endsWithEvent(done)]).toEqual([true, false])
  })

  it("finds the last event where it was cut by a chunk boundary", () => {
    const answer = readIn(`${head}${chunk("data: [DO")}${chunk("NE]\n\n")}0\r\n\r\n`, 64)
    expect(answer.endsWithEvent(done)).toBe(true)
  })

  it("finds a last event of several thousand bytes behind a long stream, and none that is not whole", () => {
    const last = (end: string) => `event: end\ndata: "${"x".repeat(8000)}"${end}`
    const read = (end: string) => readIn(`${head}${chunk(events.repeat(2000))}${chunk(last(end))}0\r\n\r\n`, 1000)
    expect(read("\n\n").endsWithEvent("event: end\n")).toBe(true)
    expect(read("\n\n").endsWithEvent("data: ")).toBe(false)
    expect(read("\n").endsWithEvent("event: end\n")).toBe(false)
  })

  it("counts a body with a length", () => {
    const answer = readIn("HTTP/1.1 502 Bad\r\nContent-Length: 2\r\n\r\n{}", 3)
    expect([answer.status, answer.bytes, answer.chunks, answer.done]).toEqual([502, 2, 0, true])
  })

  it("refuses bytes behind the end and what is no chunk", () => {
    expect(() => readIn(`${whole}x`, 1000)).toThrow("behind")
    expect(() => readIn(`${head}zz\r\n`, 1000)).toThrow("chunk size")
    expect(() => readIn("HTTP/1.1 200 OK\r\n\r\n", 1000)).toThrow("neither")
  })
})
