import { describe, expect, it } from "vitest"
import { sessionIdOf } from "../../src/sessions/SessionId.ts"

const uuid = "3f0e3a52-5a1b-4b57-9d0b-2f6a6c1f2a11"
const nothing = { userId: null, cacheKey: null }
const hash = "0123456789abcdef".repeat(4)

describe("sessionIdOf", () => {
  it("takes the first there is, the surest first", () => {
    const headers: { [name: string]: string } = {
      "session-id": "1",
      "thread-id": "2",
      "x-claude-code-session-id": "3",
      "x-session-affinity": "5",
      session_id: "6"
    }
    const said = { userId: JSON.stringify({ session_id: "4" }), cacheKey: "7" }
    const found: Array<string | null> = []
    const drop = ["session-id", "thread-id", "x-claude-code-session-id", null, "x-session-affinity", "session_id"]
    let left: { userId: string | null; cacheKey: string | null } = said
    for (const name of drop) {
      found.push(sessionIdOf(headers, left))
      if (name === null) left = { ...left, userId: null }
      else delete headers[name]
    }
    found.push(sessionIdOf(headers, left), sessionIdOf(headers, nothing))
    expect(found).toEqual(["1", "2", "3", "4", "5", "6", "7", null])
  })

  it("reads both forms in which Claude Code puts its session into the user", () => {
    const of = (userId: string) => sessionIdOf({}, { userId, cacheKey: null })
    expect(of(`user_${hash}_account_${uuid}_session_${uuid}`)).toBe(uuid)
    expect(of(`user_${hash}_account__session_${uuid}`)).toBe(uuid)
    expect(of(JSON.stringify({ device_id: hash, account_uuid: uuid, session_id: uuid }))).toBe(uuid)
    expect(of(`{"session_id": "s1", "device_id": 1}`)).toBe("s1")
  })

  it.each([
    "alice",
    uuid,
    `session_${uuid}`,
    `user_1_session_${uuid}x`,
    "user_1_session_alice",
    "{",
    "{}",
    "{not json",
    '{"session_id":7}',
    '{"session_id":""}',
    `{"session_id":"${"s".repeat(101)}"}`,
    '{"session_id":"a\\u0000b"}',
    `{"session_id":"s","pad":"${"x".repeat(5000)}"}`
  ])("finds no session in the user %j", (userId) => {
    expect(sessionIdOf({}, { userId, cacheKey: null })).toBeNull()
  })

  it.each([
    "",
    "   ",
    ".",
    "..",
    "////",
    "a\u0000b",
    "a\nb",
    "a\u001b[31mb",
    "ü",
    "\ud800",
    "s".repeat(101),
    `${"s".repeat(90)}${" ".repeat(1000)}`
  ])("passes over %j, and takes what comes next", (value) => {
    expect(sessionIdOf({ "session-id": value, "thread-id": "next" }, nothing)).toBe("next")
    expect(sessionIdOf({}, { userId: null, cacheKey: value })).toBeNull()
  })

  it("takes what is printable, without the space around it", () => {
    expect(sessionIdOf({ "session-id": " qwen-code:1/2 %2F " }, nothing)).toBe("qwen-code:1/2 %2F")
    expect(sessionIdOf({ "session-id": "s".repeat(100) }, nothing)).toBe("s".repeat(100))
    expect(sessionIdOf({ "session-id": ["a", "b"] }, nothing)).toBeNull()
  })
})
