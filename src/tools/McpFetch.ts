import type { FetchLike } from "@modelcontextprotocol/client"
import { Agent, EnvHttpProxyAgent, Response, fetch as undiciFetch } from "undici"

/** How long connecting to a server may take, in milliseconds. */
const connectTimeout = 5_000

/** The most that a server may send as one message, in bytes. */
export const longestMessage = 64 * 1024 * 1024

/** An answer that is larger than `longestMessage`, or has an event that is. */
export class TooLargeError extends Error {
  constructor() {
    super(`the answer is larger than ${longestMessage / 1024 / 1024} MiB`)
  }
}

const lineFeed = 0x0a
const carriageReturn = 0x0d

/**
 * Counts the bytes of an event stream's event that is not over yet. Lines that end in CR alone, which nobody sends,
 * are not seen as lines.
 */
const eventCounter = (): ((chunk: Uint8Array) => number) => {
  let count = 0
  // A line's length without its end, as far as telling empty ones goes.
  let line = 0
  return (chunk) => {
    let start = 0
    for (let end = chunk.indexOf(lineFeed); end !== -1; end = chunk.indexOf(lineFeed, start)) {
      const onlyReturn = end > start && chunk[end - 1] === carriageReturn ? 1 : 0
      const length = line + end - start - onlyReturn
      count = length === 0 ? 0 : count + end + 1 - start
      line = 0
      start = end + 1
    }
    const rest = chunk.length - start
    // The CR of an end that is parted between chunks is no line.
    line += rest === 1 && line === 0 && chunk[start] === carriageReturn ? 0 : rest
    count += rest
    return count
  }
}

const wholeCounter = (): ((chunk: Uint8Array) => number) => {
  let count = 0
  return (chunk) => (count += chunk.length)
}

/** The response with a body that fails where a message of it is larger than may be; nothing more is read then. */
const bounded = (response: Response): Response => {
  const { body, headers, status, statusText, url } = response
  if (body === null) return response
  const isStream = /^\s*text\/event-stream\b/i.test(headers.get("content-type") ?? "")
  const count = isStream ? eventCounter() : wholeCounter()
  const counted = body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        if (count(chunk) > longestMessage) controller.error(new TooLargeError())
        else controller.enqueue(chunk)
      }
    })
  )
  // Where redirects led to is only known to the one that was fetched.
  return Object.defineProperty(new Response(counted, { headers, status, statusText }), "url", { value: url })
}

/**
 * Requests over connections of their own, through proxies where the environment names some. Streams may be silent for
 * as long as they like: how long calls may take is known to those who make them. No message is larger than
 * `longestMessage`.
 */
export const makeFetch = (): { readonly fetch: FetchLike; readonly close: () => Promise<void> } => {
  const options: Agent.Options = {
    connect: { timeout: connectTimeout },
    headersTimeout: 0,
    bodyTimeout: 0,
    allowH2: false
  }
  const proxied = ["https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"].some(
    (name) => (process.env[name] ?? "") !== ""
  )
  const dispatcher = proxied ? new EnvHttpProxyAgent(options) : new Agent(options)
  const fetch = (url: string | URL, init?: RequestInit) =>
    undiciFetch(url, { ...init, dispatcher } as NonNullable<Parameters<typeof undiciFetch>[1]>).then(bounded)
  return { fetch: fetch as unknown as FetchLike, close: () => dispatcher.destroy() }
}
