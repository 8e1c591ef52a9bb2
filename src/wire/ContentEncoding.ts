import { constants as bufferConstants } from "node:buffer"
import {
  brotliDecompress,
  constants,
  gunzip,
  type InputType,
  inflate,
  inflateRaw,
  type ZlibOptions,
  type ZstdOptions,
  zstdDecompress
} from "node:zlib"

/**
 * Content codings of request bodies (RFC 9110, section 8.4): gzip, br, zstd and deflate, also several over each other.
 * Decoding runs on zlib's threads, beside the event loop.
 */

/** What became of an encoded body. `detail` is for people and holds nothing of the body. */
export type DecodeResult =
  | { readonly ok: true; readonly bytes: Buffer }
  | { readonly ok: false; readonly reason: DecodeFailure; readonly detail: string }

/**
 * `unsupported`: a coding that is not known, or too many of them. `malformed`: broken, cut short, or with something behind its
 * end. `too_large`: decodes to more than the limit, or asks for more memory than that.
 */
export type DecodeFailure = "unsupported" | "malformed" | "too_large"

/** The codings that `decodeBody` knows, as an `accept-encoding` header lists them (RFC 9110, section 15.5.16). */
export const supportedCodings = "gzip, br, zstd, deflate"

/** More layers than this are nobody's body. */
const maxCodings = 4

/** More zstd frames than this behind each other are nobody's body, and each costs a call. */
const maxFrames = 1024

/**
 * Decodes a body.
 *
 * @param coding The value of `content-encoding`, a list in the order the codings were applied; `undefined` for none.
 * @param limit The most bytes the decoded body may have. What a bomb unpacks to is not allocated beyond it.
 * @returns Never rejects. A body without a coding comes back as it is, held to the same limit.
 */
export const decodeBody = async (coding: string | undefined, bytes: Buffer, limit: number): Promise<DecodeResult> => {
  const codings = (coding ?? "")
    .split(",")
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "" && name !== "identity")
  const layers: Array<Layer> = []
  for (const name of codings) {
    const layer = layerOf(name)
    if (layer === undefined) return failure("unsupported", "the content-encoding is none of gzip, br, zstd, deflate")
    layers.push(layer)
  }
  if (layers.length > maxCodings) return failure("unsupported", `more than ${maxCodings} content-encodings`)
  let result: DecodeResult = { ok: true, bytes }
  while (result.ok) {
    const layer = layers.pop()
    if (layer === undefined) break
    // A coding makes what it cannot compress a little longer, so an inner one may come out above the limit.
    const room = layers.length === 0 ? limit : limit + Math.ceil(limit / 64) + 1024
    result = await layer(result.bytes, room)
  }
  return result.ok && result.bytes.length > limit ? tooLarge(limit) : result
}

/** Takes one coding off. */
type Layer = (bytes: Buffer, limit: number) => Promise<DecodeResult>

const failure = (reason: DecodeFailure, detail: string): DecodeResult => ({ ok: false, reason, detail })

const tooLarge = (limit: number): DecodeResult => failure("too_large", `the body decodes to more than ${limit} bytes`)

const layerOf = (name: string): Layer | undefined => {
  switch (name) {
    case "gzip":
    case "x-gzip":
      return (bytes, limit) => whole("gzip", gunzip, bytes, limit)
    case "br":
      return (bytes, limit) => whole("br", brotliDecompress, bytes, limit)
    case "deflate":
      return (bytes, limit) => whole("deflate", hasZlibHeader(bytes) ? inflate : inflateRaw, bytes, limit)
    case "zstd":
      return zstdFrames
    default:
      return undefined
  }
}

/**
 * Whether bytes called `deflate` begin with the zlib header that RFC 9110, section 8.4.1.2, asks for (RFC 1950, section
 * 2.2). Many senders leave it out.
 */
const hasZlibHeader = (bytes: Buffer): boolean =>
  bytes.length >= 2 && (bytes[0]! & 0x0f) === 8 && bytes[0]! >> 4 <= 7 && bytes.readUInt16BE(0) % 31 === 0

type Decompress<Options> = (
  bytes: InputType,
  options: Options,
  done: (error: Error | null, result: Buffer) => void
) => void

/** What zlib made of the first stream in a body, and how many of the body's bytes that took. */
type Decompressed = { readonly ok: true; readonly bytes: Buffer; readonly consumed: number }

/** A body that must be one stream, up to its last byte: zlib itself passes over what comes behind it. */
const whole = async (
  name: string,
  decompress: Decompress<ZlibOptions>,
  bytes: Buffer,
  limit: number
): Promise<DecodeResult> => {
  const result = await run(name, decompress, bytes, limit, {})
  return result.ok && result.consumed < bytes.length ? trailing(name) : result
}

const trailing = (name: string): DecodeResult =>
  failure("malformed", `there are bytes behind the end of the ${name} body`)

/** A zstd body may be several frames, of which zlib reads the first (RFC 8878, section 3.1). */
const zstdFrames: Layer = async (bytes, limit) => {
  // RFC 9659 lets a sender use windows up to 8 MiB. A frame in one segment has a window as large as its content.
  const windowLog = Math.min(Math.max(23, Math.ceil(Math.log2(Math.max(limit, 1)))), 27)
  const params = { [constants.ZSTD_d_windowLogMax]: windowLog }
  const decoded: Array<Buffer> = []
  let size = 0
  let rest = bytes
  for (let frames = 0; frames === 0 || rest.length > 0; frames++) {
    if (frames === maxFrames) return failure("malformed", `more than ${maxFrames} zstd frames`)
    const result = await run("zstd", zstdDecompress, rest, limit - size, { params })
    if (!result.ok) {
      // Nothing went wrong with the frames before, so what does not begin like one is no frame.
      return frames > 0 && result.reason === "malformed" ? trailing("zstd") : result
    }
    decoded.push(result.bytes)
    size += result.bytes.length
    if (size > limit) return tooLarge(limit)
    if (result.consumed === 0) return trailing("zstd")
    rest = rest.subarray(result.consumed)
  }
  return { ok: true, bytes: decoded.length === 1 ? decoded[0]! : Buffer.concat(decoded) }
}

const run = <Options extends ZlibOptions | ZstdOptions>(
  name: string,
  decompress: Decompress<Options>,
  bytes: Buffer,
  limit: number,
  options: Options
): Promise<Decompressed | (DecodeResult & { ok: false })> =>
  new Promise((resolve) => {
    const bounds = {
      maxOutputLength: Math.min(Math.max(limit, 1), bufferConstants.MAX_LENGTH),
      chunkSize: 64 * 1024,
      info: true
    }
    decompress(bytes, { ...options, ...bounds }, (error, result: unknown) => {
      // With `info` the result comes with the engine that made it, whose types leave that out.
      if (error === null && isInfo(result)) {
        resolve({ ok: true, bytes: result.buffer, consumed: result.engine.bytesWritten })
        return
      }
      const code = error !== null && "code" in error ? error.code : undefined
      if (code === "ERR_BUFFER_TOO_LARGE" || code === "ZSTD_error_frameParameter_windowTooLarge") {
        resolve({ ok: false, reason: "too_large", detail: `the ${name} body decodes to more than is allowed` })
      } else {
        const what = code === "Z_BUF_ERROR" ? "is cut short" : "is not valid"
        resolve({ ok: false, reason: "malformed", detail: `the ${name} body ${what}` })
      }
    })
  })

interface Info {
  readonly buffer: Buffer
  readonly engine: { readonly bytesWritten: number }
}

const isInfo = (result: unknown): result is Info =>
  typeof result === "object" && result !== null && "buffer" in result && "engine" in result
