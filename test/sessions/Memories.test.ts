import { assert, describe, it } from "vitest"
import { Memories } from "../../src/sessions/Memories.ts"
import type { Memory } from "../../src/sessions/Sessions.ts"

const memory = (key: string, change: Partial<Memory> = {}): Memory => ({
  actor: "alice",
  key,
  value: key.repeat(2),
  expiresAt: 1_000,
  ...change
})

/** What an entry of this file takes. */
const size = 2 * 3 + 256

describe("what is kept in the process", () => {
  it("is found by actor and key until it expires", () => {
    const memories = new Memories(10 * size)
    assert.isFalse(memories.has("alice"))
    memories.add(memory("a"), 0)
    memories.add(memory("a", { actor: "bob", value: "B" }), 0)
    assert.strictEqual(memories.find("alice", "a", 999), "aa")
    assert.strictEqual(memories.find("bob", "a", 999), "B")
    assert.isNull(memories.find("carol", "a", 0))
    assert.isNull(memories.find("alice", "b", 0))
    assert.isNull(memories.find("alice", "a", 1_000))
    memories.add(memory("a", { value: "new" }), 0)
    assert.strictEqual(memories.find("alice", "a", 0), "new")
  })

  it("is bounded: the oldest goes first, and so does what has expired", () => {
    const memories = new Memories(3 * size)
    for (const key of ["a", "b", "c"]) memories.add(memory(key), 0)
    assert.strictEqual(memories.bytes, 3 * size)
    // What is replaced is new again.
    memories.add(memory("a"), 0)
    memories.add(memory("d"), 0)
    assert.isNull(memories.find("alice", "b", 0))
    for (const key of ["c", "a", "d"]) assert.isNotNull(memories.find("alice", key, 0), key)
    assert.strictEqual(memories.bytes, 3 * size)
    memories.add(memory("e", { actor: "bob", expiresAt: 3_000 }), 2_000)
    assert.isFalse(memories.has("alice"), "nothing of hers is left")
    assert.strictEqual(memories.bytes, size)
  })

  it("is not pushed out by what is larger than all the room", () => {
    const memories = new Memories(3 * size)
    memories.add(memory("a"), 0)
    memories.add(memory("b", { value: "x".repeat(3 * size) }), 0)
    assert.strictEqual(memories.find("alice", "a", 0), "aa")
    assert.isNull(memories.find("alice", "b", 0))
    memories.add(memory("a", { value: "x".repeat(3 * size) }), 0)
    assert.isNull(memories.find("alice", "a", 0), "the older one is no longer true")
    assert.strictEqual(memories.bytes, 0)
  })

  it("takes what is older as far as there is room, and forgets that first", () => {
    const memories = new Memories(4 * size)
    memories.add(memory("a", { value: "A2" }), 0)
    const stored = [memory("a"), memory("x", { expiresAt: 5 }), memory("b"), memory("c"), memory("d"), memory("e")]
    assert.isTrue(memories.addOlder(stored.slice(0, 2), 5), "there may be room for more")
    assert.isFalse(memories.addOlder(stored.slice(2), 5))
    assert.strictEqual(memories.find("alice", "a", 5), "A2", "not the older one")
    assert.isNull(memories.find("alice", "x", 4), "it had expired")
    assert.isNotNull(memories.find("alice", "d", 5))
    assert.isNull(memories.find("alice", "e", 5))
    memories.add(memory("f"), 5)
    assert.isNull(memories.find("alice", "d", 5))
    memories.add(memory("g"), 5)
    assert.isNull(memories.find("alice", "c", 5))
    for (const key of ["a", "b", "f", "g"]) assert.isNotNull(memories.find("alice", key, 5), key)
  })

  it("takes room from who has the most: nobody pushes out what is kept for others", () => {
    const memories = new Memories(4 * size)
    memories.add(memory("v", { actor: "victim" }), 0)
    for (const key of ["a", "b", "c", "d", "e", "f"]) memories.add(memory(key), 0)
    assert.isNotNull(memories.find("victim", "v", 0))
    for (const key of ["d", "e", "f"]) assert.isNotNull(memories.find("alice", key, 0), key)
    assert.isNull(memories.find("alice", "c", 0))
    assert.strictEqual(memories.bytes, 4 * size)
  })

  it("passes over what is older and larger than all the room", () => {
    const memories = new Memories(4 * size)
    const large = memory("l", { value: "x".repeat(4 * size) })
    assert.isTrue(memories.addOlder([large, memory("a")], 0))
    assert.isNotNull(memories.find("alice", "a", 0))
    assert.isFalse(memories.add(large, 0), "it is not kept")
    assert.isTrue(memories.add(memory("b"), 0))
  })

  it("takes no more room however often it is replaced", () => {
    const memories = new Memories(1_000 * size)
    for (let n = 0; n < 100_000; n++) memories.add(memory(n % 3 === 0 ? "a" : "b"), 0)
    assert.strictEqual(memories.bytes, 2 * size)
    assert.isBelow((memories as unknown as { order: ReadonlyArray<unknown> }).order.length, 200)
  })

  it("costs each entry the same, however many there are", () => {
    const memories = new Memories(50_000 * size)
    const started = performance.now()
    for (let n = 0; n < 200_000; n++) memories.add(memory("abc", { key: `${n}`.padStart(6, "0").slice(3) + n }), 0)
    assert.isBelow(performance.now() - started, 3_000)
    assert.isAtMost(memories.bytes, 50_000 * size)
  })
})
