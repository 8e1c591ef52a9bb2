import { assert, describe, it } from "vitest"
import type { Frame } from "../../src/wire/Frame.ts"
import { SseDecoder, type SseDecoderOptions } from "../../src/wire/SseDecoder.ts"
import { Random } from "./Random.ts"

const unbounded: SseDecoderOptions = { maxEventBytes: 1 << 20 }

const decode = (chunks: ReadonlyArray<Buffer | string>, options = unbounded) => {
  const decoder = new SseDecoder(options)
  const frames: Array<Frame> = []
  for (const chunk of chunks) decoder.push(Buffer.from(chunk), frames)
  decoder.end(frames)
  return { decoder, frames }
}

const show = (frame: Frame) => ({
  bytes: frame.bytes.toString("latin1"),
  kind: frame.kind,
  event: frame.event,
  data: frame.kind === "part" ? null : frame.data,
  lines: frame.lines,
  terminal: frame.terminal,
  unterminated: frame.unterminated
})

type Shown = ReturnType<typeof show>

/** The frames with neighbouring parts put together: where a part ends is the one thing that follows the chunks. */
const shown = (frames: ReadonlyArray<Frame>): Array<Shown> => {
  const all: Array<Shown> = []
  for (const frame of frames.map(show)) {
    const last = all.at(-1)
    if (last?.kind === "part" && frame.kind === "part" && !last.terminal && !frame.terminal) {
      all[all.length - 1] = { ...last, bytes: last.bytes + frame.bytes }
    } else all.push(frame)
  }
  return all
}

const bytesOf = (frames: ReadonlyArray<Frame>): Buffer => Buffer.concat(frames.map((frame) => frame.bytes))

/** What a browser would dispatch: the algorithm of WHATWG HTML 9.2.6, line by line. */
const dispatched = (stream: Buffer): Array<[string, string]> => {
  const text = stream.toString("utf8").replace(/^\ufeff/, "")
  const lines = text.split(/\r\n|\n|\r/)
  lines.pop()
  const events: Array<[string, string]> = []
  let event = ""
  let data: Array<string> = []
  for (const line of lines) {
    if (line === "") {
      if (data.length > 0) events.push([event, data.join("\n")])
      event = ""
      data = []
      continue
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line)!
    if (field === "data") data.push(value!)
    else if (field === "event") event = value!
  }
  return events
}

const oddities = [
  "data: {}\n\n",
  "data: {}\r\n\r\n",
  "data: {}\r\r",
  "\n",
  "\r",
  "\r\n",
  "data:x\n",
  "data: zwölf Boxkämpfer 🥊 jagen\n",
  "data\n",
  "data:\r\n",
  "data: \r",
  "event: responsé\n",
  "event:done\r\n",
  "event: done\r",
  "event\n",
  ": comment\n\n",
  ":\n",
  "id: 7\n",
  "retry: 10\r\n",
  "unknown: x\n",
  "dataset: no\n",
  "events: no\n",
  "  data: no\n",
  "data",
  "eve",
  ":",
  "\ufeff",
  "é"
]

const randomStream = (random: Random): Buffer => {
  let text = random.chance(20) ? "\ufeff" : ""
  for (let n = random.below(14); n >= 0; n--) text += random.pick(oddities)
  return Buffer.from(text)
}

const recorded = Buffer.from(
  [
    "\ufeff: hello\n\n",
    'event: response.created\ndata: {"type":"response.created"}\n\n',
    'data: {"choices":[{"delta":{"content":"Grüße, 世界 👋🏽"}}]}\r\n\r\n',
    'id: 5\nretry: 3000\ndata: {\ndata:   "a": "ü"\ndata: }\n\n',
    "event: ping\n\n\n\n",
    "data: one\rdata: two\r\r",
    "data: [DONE]\n\n"
  ].join("")
)

describe("SseDecoder", () => {
  it("gives the same frames and bytes wherever the stream is cut in two, or in three", () => {
    const whole = shown(decode([recorded]).frames)
    assert.strictEqual(whole.length, 7)
    for (let first = 0; first <= recorded.length; first++) {
      for (let second = first; second <= Math.min(first + 3, recorded.length); second++) {
        const { frames } = decode([
          recorded.subarray(0, first),
          recorded.subarray(first, second),
          recorded.subarray(second)
        ])
        assert.deepStrictEqual(shown(frames), whole, `cut at ${first} and ${second}`)
      }
    }
  })

  it("gives the same frames for random streams and chunkings, loses no byte, and reads what a browser reads", () => {
    for (let seed = 1; seed <= 1500; seed++) {
      const random = new Random(seed)
      const stream = randomStream(random)
      const whole = decode([stream]).frames
      assert.deepStrictEqual(bytesOf(whole), stream, `seed ${seed}`)
      const events = whole.filter((frame) => frame.kind === "event" && !frame.unterminated)
      assert.deepStrictEqual(
        events.map((frame) => [frame.event, frame.data]),
        dispatched(stream),
        `seed ${seed}`
      )
      const wholeShown = JSON.stringify(shown(whole))
      for (const longest of [1, 2, 7, 40]) {
        assert.strictEqual(
          JSON.stringify(shown(decode(random.cut(stream, longest)).frames)),
          wholeShown,
          `seed ${seed}, chunks up to ${longest}`
        )
      }
      for (let cut = 1; cut < stream.length; cut++) {
        const { frames } = decode([stream.subarray(0, cut), stream.subarray(cut)])
        assert.strictEqual(JSON.stringify(shown(frames)), wholeShown, `seed ${seed}, cut at ${cut}`)
      }
    }
  })

  it("decides the same way which events are too large, however the stream is cut", () => {
    for (let seed = 1; seed <= 800; seed++) {
      const random = new Random(seed)
      const stream = randomStream(random)
      const options = { maxEventBytes: 1 + random.below(40), terminalEvents: new Set(["done", "responsé"]) }
      const whole = decode([stream], options)
      const large = decode([stream]).frames.filter((frame) => frame.length > options.maxEventBytes)
      assert.deepStrictEqual(bytesOf(whole.frames), stream, `seed ${seed}`)
      assert.strictEqual(whole.decoder.overflowed, large.length > 0, `seed ${seed}`)
      const ending = large.filter((frame) => options.terminalEvents.has(frame.event) && !frame.unterminated)
      assert.strictEqual(whole.frames.filter((frame) => frame.terminal).length, ending.length, `seed ${seed}`)
      for (let round = 0; round < 6; round++) {
        const { frames, decoder } = decode(random.cut(stream, 1 + random.below(20)), options)
        assert.deepStrictEqual(shown(frames), shown(whole.frames), `seed ${seed}`)
        assert.strictEqual(decoder.overflowed, whole.decoder.overflowed, `seed ${seed}`)
        assert.strictEqual(decoder.midEvent, whole.decoder.midEvent, `seed ${seed}`)
      }
    }
  })

  const table: ReadonlyArray<[string, string, ReadonlyArray<[kind: string, event: string, data: string]>]> = [
    ["data without a space", "data:x\n\n", [["event", "", "x"]]],
    ["only one space taken off", "data:  x\n\n", [["event", "", " x"]]],
    ["several data lines", "data: a\ndata:b\n\n", [["event", "", "a\nb"]]],
    ["several data lines with others between", "data: a\nid: 1\r\n: c\rdata\ndata: b\n\n", [["event", "", "a\n\nb"]]],
    ["an empty data line", "data:\n\n", [["event", "", ""]]],
    ["data without a colon", "data\n\n", [["event", "", ""]]],
    ["an event line and no data", "event: ping\n\n", [["comment", "ping", ""]]],
    ["an event line behind the data", "data: x\nevent: late\n\n", [["event", "late", "x"]]],
    ["two event lines, the last counts", "event: a\nevent: b\ndata: x\n\n", [["event", "b", "x"]]],
    ["an event name beyond ASCII", "event: grüße\ndata: x\n\n", [["event", "grüße", "x"]]],
    ["a comment", ": keep-alive\n\n", [["comment", "", ""]]],
    ["id, retry and unknown fields", "id: 1\nretry: 5\nfoo: bar\ndata: x\n\n", [["event", "", "x"]]],
    ["a byte order mark before data", "\ufeffdata: x\n\n", [["event", "", "x"]]],
    ["a byte order mark before an event line", "\ufeffevent: e\ndata: x\n\n", [["event", "e", "x"]]],
    [
      "a byte order mark only at the very start",
      "data: x\n\n\ufeffdata: y\n\n",
      [
        ["event", "", "x"],
        ["comment", "", ""]
      ]
    ],
    ["blank lines before an event", "\n\r\n\rdata: x\n\n", [["event", "", "x"]]],
    [
      "blank lines between events",
      "data: x\n\n\n\ndata: y\n\n",
      [
        ["event", "", "x"],
        ["event", "", "y"]
      ]
    ],
    [
      "blank lines at the end",
      "data: x\n\n\n",
      [
        ["event", "", "x"],
        ["comment", "", ""]
      ]
    ],
    [
      "lines ending in CR",
      "data: x\r\rdata: y\r\r",
      [
        ["event", "", "x"],
        ["event", "", "y"]
      ]
    ],
    ["mixed line ends", "event: e\rdata: x\r\ndata: y\n\r\n", [["event", "e", "x\ny"]]]
  ]
  for (const [name, stream, expected] of table) {
    it(`reads ${name}`, () => {
      const { frames } = decode([stream])
      assert.deepStrictEqual(
        frames.map((frame) => [frame.kind, frame.event, frame.data]),
        expected.map((row) => [...row])
      )
      assert.strictEqual(bytesOf(frames).toString(), stream)
      assert.isFalse(frames.some((frame) => frame.unterminated))
    })
  }

  it("keeps the LF of a CRLF that is split over chunks in the frame that it closes", () => {
    const { frames } = decode(["data: x\r\n\r", "\ndata: y\r\n\r\n"])
    assert.deepStrictEqual(
      frames.map((frame) => frame.bytes.toString()),
      ["data: x\r\n\r\n", "data: y\r\n\r\n"]
    )
  })

  it("gives an event whose lines end in a bare CR at once, without waiting for more", () => {
    const decoder = new SseDecoder(unbounded)
    const frames: Array<Frame> = []
    decoder.push(Buffer.from("data: x\r\r"), frames)
    assert.deepStrictEqual(
      frames.map((frame) => frame.data),
      ["x"]
    )
  })

  it("shares the chunk's memory, and copies only an event that crosses chunks", () => {
    const decoder = new SseDecoder(unbounded)
    const frames: Array<Frame> = []
    const first = Buffer.from("data: a\n\nevent: e\ndata: b\n\ndata: c")
    const second = Buffer.from("c\n\ndata: d\n\n")
    decoder.push(first, frames)
    decoder.push(second, frames)
    assert.deepStrictEqual(
      frames.map((frame) => frame.data),
      ["a", "b", "cc", "d"]
    )
    assert.strictEqual(frames[0]!.source, first)
    assert.strictEqual(frames[1]!.source, first)
    assert.notStrictEqual(frames[2]!.source, first)
    assert.strictEqual(frames[3]!.source, second)
  })

  it("does not change a frame it gave when more arrives", () => {
    const decoder = new SseDecoder(unbounded)
    const frames: Array<Frame> = []
    for (const chunk of ["da", "ta", ": on", "e\n", "\nda", "ta: t", "wo", "\n\n"])
      decoder.push(Buffer.from(chunk), frames)
    assert.deepStrictEqual(
      frames.map((frame) => frame.bytes.toString()),
      ["data: one\n\n", "data: two\n\n"]
    )
  })

  describe("at the end of the input", () => {
    const rests: ReadonlyArray<[rest: string, kind: string, event: string, data: string]> = [
      ["data: [DONE]", "event", "", "[DONE]"],
      ["data: [DONE]\n", "event", "", "[DONE]"],
      ["data: [DONE]\r\n", "event", "", "[DONE]"],
      ["event: message_stop\ndata: {}\r", "event", "message_stop", "{}"],
      ["event: message_st", "comment", "message_st", ""],
      [": comm", "comment", "", ""],
      ["\ufeff", "comment", "", ""]
    ]
    for (const [rest, kind, event, data] of rests) {
      it(`gives the rest ${JSON.stringify(rest)} as an unterminated frame`, () => {
        for (const chunks of [[rest], [...Buffer.from(rest)].map((byte) => Buffer.from([byte]))]) {
          const { frames } = decode(chunks)
          assert.deepStrictEqual(shown(frames), [
            {
              bytes: Buffer.from(rest).toString("latin1"),
              kind: kind as "event",
              event,
              data,
              lines: kind === "event" ? 1 : 0,
              terminal: false,
              unterminated: true
            }
          ])
        }
      })
    }

    it("takes a blank line of one CR for whole, and spare blank lines for a comment", () => {
      assert.isFalse(decode(["data: x\n\r"]).frames[0]!.unterminated)
      const { frames } = decode(["data: x\n\n", "\r\n"])
      assert.deepStrictEqual([frames[1]!.kind, frames[1]!.unterminated], ["comment", false])
    })

    it("gives nothing more when nothing is open, or when asked twice", () => {
      assert.strictEqual(decode([]).frames.length, 0)
      const { decoder, frames } = decode(["data: x"])
      decoder.end(frames)
      assert.strictEqual(frames.length, 1)
    })
  })

  describe("an event larger than the limit", () => {
    const options = { maxEventBytes: 64, terminalEvents: new Set(["response.completed"]) }
    const body = "y".repeat(100)

    it("flows on as it comes, and the events around it are read", () => {
      const decoder = new SseDecoder(options)
      const frames: Array<Frame> = []
      decoder.push(Buffer.from("data: a\n\ndata: "), frames)
      assert.isFalse(decoder.midEvent)
      decoder.push(Buffer.from(body), frames)
      assert.isTrue(decoder.midEvent)
      assert.isTrue(decoder.overflowed)
      assert.strictEqual(bytesOf(frames).toString(), `data: a\n\ndata: ${body}`)
      decoder.push(Buffer.from("z\n\ndata: b\n\n"), frames)
      assert.isFalse(decoder.midEvent)
      assert.isTrue(decoder.overflowed)
      assert.deepStrictEqual(
        frames.map((frame) => frame.kind),
        ["event", "part", "part", "part", "event"]
      )
      assert.isFalse(frames.some((frame) => frame.terminal))
    })

    it("is held up to the limit exactly", () => {
      const exact = `data: ${"x".repeat(56)}\n\n`
      assert.deepStrictEqual(
        [exact, `x${exact}`].map((stream) => decode([stream], options).decoder.overflowed),
        [false, true]
      )
    })

    for (const newline of ["\n", "\r\n", "\r"]) {
      it(`has its closing blank line apart and terminal if its name says so, lines ending in ${JSON.stringify(newline)}`, () => {
        const text = `event: response.completed${newline}data: ${body}${newline}`
        const stream = Buffer.from(`${text}${newline}`)
        for (let cut = 0; cut <= stream.length; cut++) {
          const { frames, decoder } = decode([stream.subarray(0, cut), stream.subarray(cut)], options)
          const last = frames.at(-1)!
          assert.deepStrictEqual(
            [last.kind, last.terminal, last.bytes.toString(), last.event],
            ["part", true, newline, "response.completed"],
            `cut at ${cut}`
          )
          assert.strictEqual(bytesOf(frames.slice(0, -1)).toString(), text, `cut at ${cut}`)
          assert.isFalse(frames.slice(0, -1).some((frame) => frame.terminal))
          assert.isFalse(decoder.midEvent)
        }
      })
    }

    it("is still open, and says so, when the input ends inside it", () => {
      const { decoder, frames } = decode([`event: response.completed\ndata: ${body}\n`], options)
      assert.isTrue(decoder.midEvent)
      assert.isFalse(frames.some((frame) => frame.terminal || frame.unterminated))
    })
  })

  it("reads a large event in many small chunks without copying it again for each", () => {
    // Copying what came so far for every chunk would move 500 GB here, and run into the time limit of any test.
    const decoder = new SseDecoder({ maxEventBytes: 1 << 24 })
    const frames: Array<Frame> = []
    const piece = Buffer.alloc(64, "é")
    const size = 1 << 23
    decoder.push(Buffer.from("data: "), frames)
    for (let sent = 0; sent < size; sent += piece.length) decoder.push(piece, frames)
    decoder.push(Buffer.from("\n\n"), frames)
    assert.strictEqual(frames.length, 1)
    assert.strictEqual(frames[0]!.length, size + 8)
    assert.strictEqual(frames[0]!.data, "é".repeat(size / 2))
  })
})
