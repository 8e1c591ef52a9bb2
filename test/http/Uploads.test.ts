import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { RawClient, type RawRequest } from "../support/RawClient.ts"
import { answers, chat, startGateway, wire } from "./InProcessGateway.ts"

const json = { "content-type": "application/json" }
const good = JSON.stringify(chat)
const chatPath = "/up/v1/chat/completions"

const whole = Effect.fnUntraced(function* (request: RawRequest) {
  const answer = yield* RawClient.send(request)
  yield* answer.ended
  return answer
})

describe("an upload", () => {
  const head = (more = "") =>
    `POST ${chatPath} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${good.length}\r\n${more}\r\n`

  it.live("that waits for 100 Continue is asked to go on once, and answered", () =>
    Effect.gen(function* () {
      const { port, upstream } = yield* startGateway()
      const connection = yield* wire(port)
      connection.write(head("Expect: 100-continue\r\n"))
      yield* connection.until("HTTP/1.1 100 Continue\r\n\r\n")
      assert.strictEqual(upstream.requests.length, 0)
      connection.write(good)
      const text = yield* connection.until('"total_tokens"')
      assert.strictEqual(text.split("100 Continue").length, 2)
      assert.include(text, "HTTP/1.1 200 OK")
      assert.strictEqual(upstream.requests[0]!.text, good)
      assert.isUndefined(upstream.requests[0]!.headers["expect"])
    })
  )

  it.live("that offers a WebSocket besides keeps its body", () =>
    Effect.gen(function* () {
      const { port, upstream } = yield* startGateway()
      const connection = yield* wire(port)
      connection.write(head("Connection: Upgrade\r\nUpgrade: websocket\r\n"))
      yield* Effect.sleep("20 millis")
      connection.write(good)
      const text = yield* connection.until('"total_tokens"')
      assert.include(text, "HTTP/1.1 200 OK")
      assert.strictEqual(upstream.requests[0]!.text, good)
    })
  )

  it.live("may be slow and in any pieces", () =>
    Effect.gen(function* () {
      const { port, upstream } = yield* startGateway()
      const connection = yield* wire(port)
      connection.write(head())
      for (const character of good) {
        yield* Effect.sleep("1 millis")
        connection.write(character)
      }
      yield* connection.until('"total_tokens"')
      assert.strictEqual(upstream.requests[0]!.text, good)
    })
  )

  it.live("that breaks off reaches nobody and leaves no record, and the gateway goes on", () =>
    Effect.gen(function* () {
      const { port, url, upstream, recordings } = yield* startGateway()
      for (const start of [
        head(),
        head("Expect: 100-continue\r\n"),
        head().replace(/Content-Length: \d+/, "Transfer-Encoding: chunked")
      ]) {
        const connection = yield* wire(port)
        connection.write(start)
        if (start.includes("Expect")) yield* connection.until("100 Continue")
        connection.write(start.includes("chunked") ? '5\r\n{"mod\r\n' : good.slice(0, 5))
        yield* Effect.sleep("20 millis")
        connection.leave()
      }
      yield* Effect.sleep("50 millis")
      const answer = yield* whole({ url: url + chatPath, body: good, headers: json })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(upstream.requests.length, 1)
      assert.strictEqual((yield* recordings.rows).opens.length, 1)
    })
  )

  it.live("and others behind it on one connection are answered in their order", () =>
    Effect.gen(function* () {
      const { port, recordings } = yield* startGateway({
        turns: (request) => {
          const { n } = JSON.parse(request.text)
          // The first is the slowest.
          return { ...answers, before: [{ wait: n === 0 ? 80 : 0 }], steps: [`{"n":${n},"choices":[]}`] }
        }
      })
      const connection = yield* wire(port)
      const requests = [0, 1, 2].map((n) => {
        const body = JSON.stringify({ ...chat, n })
        return `POST ${chatPath} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`
      })
      const missing = "GET /nobody HTTP/1.1\r\nHost: localhost\r\n\r\n"
      connection.write(requests.join(missing))
      const text = yield* connection.until('"n":2')
      const order = [...text.matchAll(/HTTP\/1\.1 (\d+)|"n":(\d)/g)].map(([, status, n]) => status ?? n)
      assert.deepStrictEqual(order, ["200", "0", "404", "200", "1", "404", "200", "2"])
      assert.strictEqual((yield* recordings.closed(3)).length, 3)
    })
  )

  it.live("on a connection that was refused something before is as good as any", () =>
    Effect.gen(function* () {
      const { port, upstream } = yield* startGateway()
      const connection = yield* wire(port)
      const bad = "{}"
      connection.write(head().replace(/Content-Length: \d+/, `Content-Length: ${bad.length}`) + bad)
      yield* connection.until('"code":"invalid_request"')
      connection.write(head().replace("Host", "Content-Encoding: lzma\r\nHost") + good)
      yield* connection.until('"code":"unsupported_content_encoding"')
      connection.write(head() + good)
      yield* connection.until('"total_tokens"')
      assert.strictEqual(upstream.requests.length, 1)
    })
  )
})
