import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib"
import { assert, describe, it } from "vitest"
import { decodeBody } from "../../src/wire/ContentEncoding.ts"

const limit = 1 << 20
const body = Buffer.from(JSON.stringify({ model: "m", text: "Grüße, 世界 👋🏽 ".repeat(500) }))

const zeros = Buffer.alloc(48 << 20)

const codings: ReadonlyArray<[name: string, coding: string, encode: (bytes: Buffer) => Buffer]> = [
  ["gzip", "gzip", gzipSync],
  ["x-gzip", "X-Gzip", gzipSync],
  ["br", "br", (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } })],
  ["zstd", "zstd", zstdCompressSync],
  ["deflate with a zlib header", "deflate", deflateSync],
  ["deflate without one", "deflate", deflateRawSync]
]

const failure = async (coding: string, bytes: Buffer, most = limit): Promise<string> => {
  const result = await decodeBody(coding, bytes, most)
  return result.ok ? `decoded ${result.bytes.length} bytes` : result.reason
}

const decoded = async (coding: string | undefined, bytes: Buffer, most = limit): Promise<Buffer> => {
  const result = await decodeBody(coding, bytes, most)
  if (!result.ok) assert.fail(`${result.reason}: ${result.detail}`)
  return result.bytes
}

describe("decodeBody", () => {
  for (const [name, coding, encode] of codings) {
    describe(name, () => {
      it("decodes a body, an empty one too, up to the limit exactly", async () => {
        assert.deepStrictEqual(await decoded(coding, encode(body)), body)
        assert.deepStrictEqual(await decoded(coding, encode(Buffer.alloc(0))), Buffer.alloc(0))
        assert.deepStrictEqual(await decoded(coding, encode(body), body.length), body)
        assert.strictEqual(await failure(coding, encode(body), body.length - 1), "too_large")
        assert.strictEqual(await failure(coding, encode(Buffer.from("x")), 0), "too_large")
      })

      it("calls a body cut short at any byte malformed", async () => {
        const encoded = encode(body)
        for (let end = 0; end < encoded.length; end++) {
          assert.strictEqual(await failure(coding, encoded.subarray(0, end)), "malformed", `cut at ${end}`)
        }
      })

      it("calls bytes behind the end malformed", async () => {
        for (const tail of [
          Buffer.from("x"),
          Buffer.alloc(1),
          Buffer.from("garbage".repeat(20_000)),
          Buffer.alloc(70_000)
        ]) {
          assert.strictEqual(await failure(coding, Buffer.concat([encode(body), tail])), "malformed")
        }
      })

      it("calls what is something else malformed", async () => {
        assert.strictEqual(await failure(coding, Buffer.from('{"model":"m"}')), "malformed")
        assert.strictEqual(await failure(coding, Buffer.alloc(100, 0xff)), "malformed")
      })

      it("stops at the limit of a bomb instead of unpacking it", async () => {
        const bomb = encode(zeros)
        const before = process.memoryUsage.rss()
        assert.strictEqual(await failure(coding, bomb), "too_large")
        assert.isBelow(process.memoryUsage.rss() - before, 24 << 20)
      })
    })
  }

  it("hands on a body without a coding, held to the limit", async () => {
    for (const coding of [undefined, "", "identity", " Identity , "]) {
      assert.strictEqual(await decoded(coding, body), body)
      assert.strictEqual(await failure(coding ?? "", body, body.length - 1), "too_large")
    }
  })

  it("takes several codings off in the reverse order", async () => {
    assert.deepStrictEqual(await decoded("gzip, br", brotliCompressSync(gzipSync(body))), body)
    assert.deepStrictEqual(await decoded("identity,,deflate , zstd", zstdCompressSync(deflateSync(body))), body)
    assert.strictEqual(await failure("br, gzip", brotliCompressSync(gzipSync(body))), "malformed")
    assert.strictEqual(await failure("gzip, br", brotliCompressSync(gzipSync(Buffer.alloc(2 * limit)))), "too_large")
    assert.strictEqual(await failure("gzip, br", brotliCompressSync(Buffer.alloc(2 * limit))), "too_large")
  })

  it("refuses a coding that it does not know, and a pile of them", async () => {
    for (const coding of ["compress", "gzip, nope", "gzip;q=1", "*", "gzip,gzip,gzip,gzip,gzip"]) {
      assert.strictEqual(await failure(coding, gzipSync(body)), "unsupported", coding)
    }
  })

  it("decodes a gzip body of several members", async () => {
    const bytes = Buffer.concat([gzipSync(body), gzipSync(body)])
    assert.deepStrictEqual(await decoded("gzip", bytes), Buffer.concat([body, body]))
    assert.strictEqual(await failure("gzip", bytes.subarray(0, -1)), "malformed")
  })

  it("decodes a zstd body of several frames, held to one limit", async () => {
    const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7])
    const bytes = Buffer.concat([skippable, zstdCompressSync(body), zstdCompressSync(body), skippable])
    assert.deepStrictEqual(await decoded("zstd", bytes), Buffer.concat([body, body]))
    assert.deepStrictEqual(await decoded("zstd", bytes, 2 * body.length), Buffer.concat([body, body]))
    assert.strictEqual(await failure("zstd", bytes, 2 * body.length - 1), "too_large")
    assert.strictEqual(await failure("zstd", bytes.subarray(0, -1)), "malformed")
    assert.strictEqual(await failure("zstd", Buffer.concat(Array.from({ length: 2000 }, () => skippable))), "malformed")
  })

  it("does not let a small zstd body ask for a window larger than the limit", async () => {
    // A frame header with a window of 2 to the power of `log`, and one raw block of one byte (RFC 8878, section 3.1.1).
    const frame = (log: number) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 9, 0, 0, 0x78])
    assert.strictEqual((await decoded("zstd", frame(23))).toString(), "x")
    assert.strictEqual(await failure("zstd", frame(27)), "too_large")
    const params = { [constants.ZSTD_c_windowLog]: 27 }
    const large = zstdCompressSync(zeros.subarray(0, 20 << 20), { params })
    assert.strictEqual((await decoded("zstd", large, 32 << 20)).length, 20 << 20)
  })

  it("never says anything of the body in its detail", async () => {
    const result = await decodeBody("gzip", Buffer.from("secret-canary"), limit)
    assert.notInclude(JSON.stringify(result), "canary")
    assert.notInclude(JSON.stringify(await decodeBody("canary", body, limit)), "canary")
  })

  it("does not reject on an odd limit", async () => {
    assert.deepStrictEqual(await decoded("gzip", gzipSync(body), Number.POSITIVE_INFINITY), body)
  })
})
