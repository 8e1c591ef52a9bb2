import { assert, describe, it } from "vitest"
import {
  type Edit,
  edit,
  elements,
  extend,
  insert,
  type JsonPath,
  locate,
  locateAll,
  members,
  remove,
  replace,
  set
} from "../../src/wire/JsonSpan.ts"
import { Random } from "./Random.ts"

type Json = null | boolean | number | string | Array<Json> | { [key: string]: Json }

const keys = ["a", "b", "model", "ключ", "x y", "", 'q"uote', "back\\slash", "é", "__proto__x"]
const scalars = [
  "null",
  "true",
  "false",
  "0",
  "-1",
  "1e2",
  "1E+2",
  "-0.50",
  "9007199254740993",
  '""',
  '"\\""',
  '"a\\\\"',
  '"\\u00e9\\ud83d\\ude00"',
  '"日本語 👋🏽 {[,:]}"',
  '"a long string that no near look at its bytes can end, with \\"quotes\\" and \\\\ in it, {\\"a\\":1}, far far behind"'
]

const space = (random: Random): string => (random.chance(60) ? "" : random.pick([" ", "  ", "\n", "\t", "\r\n  "]))

/** A key as JSON text, some of its characters escaped for no reason. */
const keyText = (random: Random, key: string): string => {
  if (random.chance(70)) return JSON.stringify(key)
  let text = '"'
  for (let i = 0; i < key.length; i++) {
    const unit = key[i]!
    const escaped = random.chance(50) || unit === '"' || unit === "\\"
    text += escaped ? `\\u${key.charCodeAt(i).toString(16).padStart(4, "0")}` : unit
  }
  return `${text}"`
}

/** JSON text with odd spacing, odd escapes and, in objects, duplicate keys. */
const randomJson = (random: Random, depth: number): string => {
  const kind = depth === 0 ? 2 : random.below(3)
  if (kind === 2) return random.pick(scalars)
  const count = random.below(5)
  const items: Array<string> = []
  for (let i = 0; i < count; i++) {
    const value = `${space(random)}${randomJson(random, depth - 1)}${space(random)}`
    items.push(kind === 0 ? value : `${space(random)}${keyText(random, random.pick(keys))}${space(random)}:${value}`)
  }
  const inner = items.length === 0 ? space(random) : items.join(",")
  return kind === 0 ? `[${inner}]` : `{${inner}}`
}

const document = (random: Random): string => `${space(random)}${randomJson(random, 4)}${space(random)}`

const isObject = (value: Json | undefined): value is { [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const at = (value: Json, path: JsonPath): Json | undefined => {
  let here: Json | undefined = value
  for (const step of path) {
    if (typeof step === "number") here = Array.isArray(here) ? here[step] : undefined
    else here = isObject(here) && Object.hasOwn(here, step) ? here[step] : undefined
  }
  return here
}

const everyPath = (value: Json, path: JsonPath = []): Array<JsonPath> => {
  const below = Array.isArray(value)
    ? value.map((item, index): [number, Json] => [index, item])
    : isObject(value)
      ? Object.entries(value)
      : []
  return [path, ...below.flatMap(([step, item]) => everyPath(item, [...path, step]))]
}

const text = (json: Buffer | null): string => {
  assert.isNotNull(json)
  return json!.toString()
}

/** The value, parsed, with the edit done by other means. */
const expected = (source: string, change: Edit): Json => {
  const root: Json = JSON.parse(source)
  const holder: { root: Json } = { root }
  const full: JsonPath = ["root", ...change.path]
  if (change.op === "insert") {
    const container = at(holder as unknown as Json, full)
    const value: Json = JSON.parse(String(change.raw))
    if (Array.isArray(container)) {
      const index = change.at === "first" ? 0 : typeof change.at === "number" ? change.at : container.length
      container.splice(index, 0, value)
    } else if (isObject(container)) container[change.key!] = value
    return holder.root
  }
  const container = at(holder as unknown as Json, full.slice(0, -1))
  const step = full.at(-1)!
  if (change.op === "remove") {
    if (Array.isArray(container)) container.splice(Number(step), 1)
    else if (isObject(container)) delete container[String(step)]
  } else if (Array.isArray(container)) container[Number(step)] = JSON.parse(String(change.raw))
  else if (isObject(container)) container[String(step)] = JSON.parse(String(change.raw))
  return holder.root
}

const randomEdit = (random: Random, value: Json): Edit | null => {
  const path = random.pick(everyPath(value))
  const raw = randomJson(random, 1)
  const target = at(value, path)
  switch (random.below(4)) {
    case 0:
      return { op: "replace", path, raw }
    case 1:
      return path.length === 0 ? null : { op: "remove", path }
    case 2:
      if (Array.isArray(target)) {
        return { op: "insert", path, at: random.pick(["first", "last", random.below(target.length + 1)] as const), raw }
      }
      if (!isObject(target)) return null
      return { op: "insert", path, key: `new ${random.below(9)} "é`, at: random.pick(["first", "last"] as const), raw }
    default:
      return isObject(target) ? { op: "set", path: [...path, random.pick(keys)], raw } : null
  }
}

/** How many bytes two buffers share at their ends. */
const shared = (before: Buffer, after: Buffer): number => {
  let head = 0
  while (head < before.length && head < after.length && before[head] === after[head]) head++
  let tail = 0
  const most = Math.min(before.length, after.length) - head
  while (tail < most && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++
  return head + tail
}

/** Every number, string and literal with its place in the order, so that a re-encoded one would show. */
const tokens = (json: string): Array<string> => json.match(/"(?:[^"\\]|\\.)*"|[^\s"[\]{},:]+/g) ?? []

describe("JsonSpan", () => {
  it("finds every value that JSON.parse finds, and nothing else", () => {
    for (let seed = 1; seed <= 1500; seed++) {
      const source = document(new Random(seed))
      const json = Buffer.from(source)
      const value: Json = JSON.parse(source)
      const paths = everyPath(value)
      const spans = locateAll(json, paths)
      for (const [i, path] of paths.entries()) {
        const span = locate(json, path)
        assert.isNotNull(span, `seed ${seed}, ${JSON.stringify(path)}`)
        assert.deepStrictEqual(
          JSON.parse(json.toString("utf8", span!.start, span!.end)),
          at(value, path),
          `seed ${seed}`
        )
        assert.deepStrictEqual(spans[i], span, `seed ${seed}`)
        assert.isNull(locate(json, [...path, "not there"]))
        assert.isNull(locate(json, [...path, 99]))
      }
    }
  })

  it("lists the members of every object and the elements of every array", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const source = document(new Random(seed))
      const json = Buffer.from(source)
      const value: Json = JSON.parse(source)
      for (const path of everyPath(value)) {
        const span = locate(json, path)!
        const target = at(value, path)
        const parse = (part: { start: number; end: number }): Json =>
          JSON.parse(json.toString("utf8", part.start, part.end))
        const listed = elements(json, span)
        assert.deepStrictEqual(listed === null ? null : listed.map(parse), Array.isArray(target) ? target : null)
        const found = members(json, span)
        if (!isObject(target)) {
          assert.isNull(found)
          continue
        }
        for (const member of found!) assert.strictEqual(parse(member.keySpan), member.key)
        assert.deepStrictEqual(Object.fromEntries(found!.map((member) => [member.key, parse(member.span)])), target)
      }
    }
  })

  it("does to the text what the edit does to the value, and touches no other byte", () => {
    let done = 0
    for (let seed = 1; seed <= 6000; seed++) {
      const random = new Random(seed)
      const source = document(random)
      const json = Buffer.from(source)
      const change = randomEdit(random, JSON.parse(source))
      if (change === null) continue
      const after = edit(json, [change])
      assert.isNotNull(after, `seed ${seed}`)
      const where = `seed ${seed}: ${source} -> ${JSON.stringify(change)} -> ${after}`
      assert.deepStrictEqual(JSON.parse(after!.toString()), expected(source, change), where)
      assert.strictEqual(json.toString(), source, "the original is not written to")
      if (change.op === "remove") {
        // What is left is the original without some of its tokens.
        let next = 0
        const before = tokens(source)
        for (const token of tokens(after!.toString())) {
          while (next < before.length && before[next] !== token) next++
          assert.isBelow(next++, before.length, where)
        }
      } else if (!hasDuplicate(source)) {
        const span = locate(json, change.path)
        const gone = change.op === "insert" || span === null ? 0 : span.end - span.start
        assert.isAtLeast(shared(json, after!), json.length - gone, where)
      }
      done++
    }
    assert.isAbove(done, 3000)
  })

  it("makes several edits at once as if one after the other", () => {
    let done = 0
    for (let seed = 1; seed <= 4000; seed++) {
      const random = new Random(seed)
      const members = Array.from(
        { length: random.below(6) },
        (_, i) => `${space(random)}"k${i}"${space(random)}:${space(random)}${i}`
      )
      const source = `{"list":[${space(random)}1${space(random)},2,${space(random)}3],"in":{${members.join(",")}${space(random)}}}`
      const edits: Array<Edit> = []
      const value = JSON.parse(source)
      for (const key of Object.keys(value.in)) {
        const choice = random.below(4)
        if (choice === 0) {
          edits.push({ op: "remove", path: ["in", key] })
          delete value.in[key]
        } else if (choice === 1) {
          edits.push({ op: random.pick(["replace", "set"] as const), path: ["in", key], raw: '"r"' })
          value.in[key] = "r"
        }
      }
      if (random.chance(50)) {
        edits.push({ op: "insert", path: ["in"], key: "first", at: "first", raw: "[ 1 ]" })
        value.in.first = [1]
      }
      if (random.chance(50)) {
        edits.push(
          { op: "set", path: ["in", "added"], raw: "null" },
          { op: "insert", path: ["in"], key: "last", raw: "7" }
        )
        value.in.added = null
        value.in.last = 7
      }
      const list: Array<number> = []
      for (let i = 0; i <= 3; i++) {
        if (random.chance(40)) {
          edits.push({ op: "insert", path: ["list"], at: i, raw: `${10 + i}` })
          list.push(10 + i)
        }
        if (i === 3) break
        if (random.chance(40)) edits.push({ op: "remove", path: ["list", i] })
        else list.push(i + 1)
      }
      value.list = list
      // The order in which edits are named does not matter where they stand at different places.
      if (random.chance(50)) edits.reverse()
      const after = text(edit(Buffer.from(source), edits))
      assert.deepStrictEqual(
        JSON.parse(after),
        value,
        `seed ${seed}: ${source} -> ${JSON.stringify(edits)} -> ${after}`
      )
      done++
    }
    assert.strictEqual(done, 4000)
  })

  /** The edits made one level deeper, where nothing is taken a shorter way. */
  const general = (source: string, change: Edit): string | null => {
    const [head, tail] = ['{"deeper":', "}"]
    const deeper = edit(Buffer.from(head + source + tail), [{ ...change, path: ["deeper", ...change.path] }])
    return deeper === null ? null : deeper.toString().slice(head.length, -tail.length)
  }

  /** A document whose root has one key or another several times, and lists of nothing, of one and of more. */
  const listing = (random: Random): string => {
    const value = (): string => {
      const items = Array.from({ length: random.below(4) }, () => space(random) + randomJson(random, 2) + space(random))
      const list = `[${items.length === 0 ? space(random) : items.join(",")}]`
      return random.pick([list, list, "null", randomJson(random, 2)])
    }
    const member = (): string =>
      `${space(random)}${keyText(random, random.pick(["tools", "tools", "tool", 'q"uote', "é"]))}${space(random)}:` +
      `${space(random)}${value()}${space(random)}`
    const all = Array.from({ length: random.below(5) }, member)
    const root = `{${all.length === 0 ? space(random) : all.join(",")}}`
    return space(random) + (random.chance(95) ? root : value()) + space(random)
  }

  it("edits a member of the root as it edits one of any other object", () => {
    const seen = new Map<string, number>()
    for (let seed = 1; seed <= 20_000; seed++) {
      const random = new Random(seed)
      const source = random.chance(80) ? listing(random) : document(random)
      const path = [random.pick(["tools", "tools", "tools", 'q"uote', "é", "a"])]
      const raw = randomJson(random, 1)
      const at = random.pick(["first", "last", undefined, random.below(3)] as const)
      const change: Edit = random.pick([
        { op: "set", path, raw },
        { op: "replace", path, raw },
        { op: "remove", path },
        { op: "insert", path, raw, ...(at === undefined ? {} : { at }) },
        { op: "insert", path, raw, key: "k", ...(random.chance(50) ? {} : { at: "first" as const }) }
      ])
      const mark = random.chance(20) ? "\ufeff" : ""
      const expected = general(source, change)
      const after = edit(Buffer.from(mark + source), [change])
      const where = `seed ${seed}: ${JSON.stringify(change)} of ${source}`
      assert.strictEqual(after?.toString() ?? null, expected === null ? null : mark + expected, where)
      const kind = `${change.op} ${expected === null ? "nowhere" : "somewhere"}`
      seen.set(kind, (seen.get(kind) ?? 0) + 1)
    }
    assert.lengthOf(
      [...seen.values()].filter((count) => count > 500),
      8,
      JSON.stringify([...seen])
    )
  })

  it("extends a list as if it was edited, and makes one where there is none", () => {
    const seen = new Map<string, number>()
    for (let seed = 1; seed <= 20_000; seed++) {
      const random = new Random(seed)
      const source = random.chance(90) ? listing(random) : document(random)
      const json = Buffer.from(source)
      const key = random.pick(["tools", "tools", "tools", 'q"uote', "é", "a"])
      const raw = Array.from({ length: 1 + random.below(2) }, () => randomJson(random, 1)).join(",")
      const at = random.pick(["first", "last"] as const)
      const span = locate(json, [key])
      const is = span === null ? "missing" : json.toString("utf8", span.start, span.end)
      const expected = is.startsWith("[")
        ? general(source, { op: "insert", path: [key], at, raw })
        : is === "missing" || is === "null"
          ? general(source, { op: "set", path: [key], raw: `[${raw}]` })
          : null
      const mark = random.chance(20) ? "\ufeff" : ""
      const where = `seed ${seed}: ${raw} to ${JSON.stringify(key)} of ${source}`
      const after = extend(Buffer.from(mark + source), key, Buffer.from(raw), at)
      assert.strictEqual(after?.toString() ?? null, expected === null ? null : mark + expected, where)
      const kind = expected === null ? "nothing" : is.startsWith("[") ? "list" : is
      seen.set(kind, (seen.get(kind) ?? 0) + 1)
    }
    assert.lengthOf(
      [...seen.values()].filter((count) => count > 1000),
      4,
      JSON.stringify([...seen])
    )
  })

  const table: ReadonlyArray<[name: string, before: string, change: Edit, after: string | null]> = [
    [
      "replaces a value under an escaped key",
      '{"mod\\u0065l" : "a"}',
      { op: "replace", path: ["model"], raw: '"b"' },
      '{"mod\\u0065l" : "b"}'
    ],
    [
      "replaces every duplicate, escaped or not",
      '{"model":"a", "x":1e2,"mod\\u0065l":"c" }',
      { op: "replace", path: ["model"], raw: '"b"' },
      '{"model":"b", "x":1e2,"mod\\u0065l":"b" }'
    ],
    [
      "reaches into every duplicate of an object on the way",
      '{"o":{"u":false},"o":{"u":null}}',
      { op: "set", path: ["o", "u"], raw: "true" },
      '{"o":{"u":true},"o":{"u":true}}'
    ],
    [
      "does not take an earlier duplicate for the value",
      '{"o":{"u":1},"o":{}}',
      { op: "replace", path: ["o", "u"], raw: "2" },
      null
    ],
    ["adds a last member", '{"a" : 1 \n}', { op: "insert", path: [], key: "b", raw: "2" }, '{"a" : 1,"b":2 \n}'],
    ["adds a first member", '{ "a":1}', { op: "insert", path: [], key: "b", at: "first", raw: "2" }, '{ "b":2,"a":1}'],
    ["adds to an empty object", "{ }", { op: "insert", path: [], key: "b", raw: "2" }, '{"b":2 }'],
    ["adds to an empty array", "[ ]", { op: "insert", path: [], raw: "2" }, "[2 ]"],
    ["adds an element in the middle", "[1 , 2]", { op: "insert", path: [], at: 1, raw: "9" }, "[1 , 9,2]"],
    ["removes the first member", '{ "a":1 , "b":2}', { op: "remove", path: ["a"] }, '{ "b":2}'],
    ["removes the last member", '{"a":1 , "b":2 }', { op: "remove", path: ["b"] }, '{"a":1 }'],
    ["removes the only member", '{ "a":1 }', { op: "remove", path: ["a"] }, "{  }"],
    ["removes every duplicate", '{"a":1,"b":2,"a":3}', { op: "remove", path: ["a"] }, '{"b":2}'],
    ["removes a middle element", "[1, 2, 3]", { op: "remove", path: [1] }, "[1, 3]"],
    ["replaces the whole document", " {} ", { op: "replace", path: [], raw: "[]" }, " [] "],
    ["has nothing to replace", '{"a":1}', { op: "replace", path: ["b"], raw: "2" }, null],
    ["has nothing to remove", '{"a":1}', { op: "remove", path: ["a", "b"] }, null],
    ["cannot add a member to an array", "[]", { op: "insert", path: [], key: "a", raw: "2" }, null],
    ["cannot add an element to an object", "{}", { op: "insert", path: [], raw: "2" }, null],
    ["cannot add past the end", "[1]", { op: "insert", path: [], at: 2, raw: "2" }, null],
    ["cannot set a member of a number", '{"a":1}', { op: "set", path: ["a", "b"], raw: "2" }, null],
    ["cannot remove the document", "{}", { op: "remove", path: [] }, null]
  ]
  for (const [name, before, change, after] of table) {
    it(name, () => {
      assert.strictEqual(edit(Buffer.from(before), [change])?.toString() ?? null, after)
    })
  }

  it("does not take an escape in a key for the characters it is written with", () => {
    const json = Buffer.from('{"a\\nb":1}')
    assert.isNull(locate(json, ["a\\nb"]))
    assert.isNotNull(locate(json, ["a\nb"]))
  })

  it("refuses edits that touch the same bytes", () => {
    const json = Buffer.from('{"a":{"b":1},"c":2}')
    const replaceA: Edit = { op: "replace", path: ["a"], raw: "1" }
    for (const other of [
      { op: "replace", path: ["a", "b"], raw: "2" },
      { op: "insert", path: ["a"], key: "x", raw: "2" },
      { op: "replace", path: ["a"], raw: "2" },
      { op: "remove", path: ["a"] }
    ] satisfies Array<Edit>) {
      assert.isNull(edit(json, [replaceA, other]), JSON.stringify(other))
      assert.isNull(edit(json, [other, replaceA]), JSON.stringify(other))
    }
  })

  it("answers single edits by their own functions", () => {
    const json = Buffer.from('{"a":[1]}')
    assert.strictEqual(text(replace(json, ["a", 0], "1e2")), '{"a":[1e2]}')
    assert.strictEqual(text(set(json, ["b"], Buffer.from("2"))), '{"a":[1],"b":2}')
    assert.strictEqual(text(insert(json, ["a"], { raw: "2", at: "first" })), '{"a":[2,1]}')
    assert.strictEqual(text(remove(json, ["a"])), "{}")
    assert.strictEqual(edit(json, []), json)
  })

  it("never throws and always ends on what is not JSON", () => {
    const odd = [
      "",
      " ",
      "{",
      "[",
      '{"a"',
      '{"a":',
      '{"a":1',
      '{"a":1,',
      '{"a" 1}',
      "{,}",
      "[,]",
      "[1 2]",
      '"\\',
      '{"a\\',
      "{a:1}",
      "]",
      '{"\\u12":1}',
      '{"a":1}x'
    ]
    for (const source of odd) {
      const json = Buffer.from(source)
      assert.isNull(locate(json, ["a"]), source)
      assert.isNull(replace(json, ["a"], "2"), source)
      assert.doesNotThrow(() => [members(json), elements(json), set(json, ["b"], "2")])
    }
    for (let seed = 1; seed <= 2000; seed++) {
      const random = new Random(seed)
      const json = Buffer.from(document(random))
      for (let n = 1 + random.below(3); n > 0; n--)
        json[random.below(json.length)] = random.pick([...Buffer.from('{}[]",:\\ 1a\xff', "latin1")])
      const cut = json.subarray(0, random.below(json.length + 1))
      assert.doesNotThrow(() => {
        for (const path of [[], ["a"], ["model", 0], [1, "b"]]) {
          locate(cut, path)
          extend(cut, "a", json)
          set(cut, ["a"], "1")
          insert(cut, ["a"], { raw: "1" })
          edit(cut, [
            { op: "set", path: [...path, "a"], raw: "1" },
            { op: "remove", path: [...path, "b"] }
          ])
        }
        members(cut)
        elements(cut)
      })
    }
  })

  it("goes through any depth, also along the path", () => {
    const depth = 50_000
    const json = Buffer.from(`${'{"a":['.repeat(depth)}1${"]}".repeat(depth)}`)
    const start = '{"a":['.length * depth
    const path = Array.from({ length: 2 * depth }, (_, i) => (i % 2 === 0 ? "a" : 0))
    assert.deepStrictEqual(locate(json, path), { start, end: start + 1 })
    assert.strictEqual(set(json, ["b"], "2")?.length, json.length + 6)
    const twice = Buffer.from(`{"k":${json},"k":${json}}`)
    assert.strictEqual(replace(twice, ["k", ...path], "22")?.length, twice.length + 2)
  })
})

/** Whether any object in the text has a key twice, so that one edit stands at several places. */
const hasDuplicate = (source: string): boolean => {
  const json = Buffer.from(source)
  const spans = [{ start: 0, end: json.length }]
  for (let span = spans.pop(); span !== undefined; span = spans.pop()) {
    const inside = members(json, span)
    if (inside !== null) {
      if (new Set(inside.map((member) => member.key)).size < inside.length) return true
      spans.push(...inside.map((member) => member.span))
    } else spans.push(...(elements(json, span) ?? []))
  }
  return false
}

describe("a byte order mark", () => {
  const json = Buffer.from('\ufeff {"a":{"b":[1]},"c":2}')

  it("is passed over by whoever looks for a value", () => {
    const found = locate(json, ["c"])!
    assert.strictEqual(json.toString("utf8", found.start, found.end), "2")
    const [whole, inner] = locateAll(json, [[], ["a", "b", 0]])
    assert.deepStrictEqual([whole!.start, json.toString("utf8", inner!.start, inner!.end)], [4, "1"])
    assert.deepStrictEqual(
      members(json)!.map(({ key }) => key),
      ["a", "c"]
    )
    assert.lengthOf(elements(Buffer.from("\ufeff[1,2]"))!, 2)
  })

  it("stays where it is when something is edited", () => {
    const edited = (change: Edit) => edit(json, [change])!.toString("latin1").replace("\u00ef\u00bb\u00bf", "BOM")
    assert.strictEqual(edited({ op: "replace", path: ["c"], raw: "3" }), 'BOM {"a":{"b":[1]},"c":3}')
    assert.strictEqual(edited({ op: "set", path: ["d"], raw: "3" }), 'BOM {"a":{"b":[1]},"c":2,"d":3}')
    assert.strictEqual(edited({ op: "remove", path: ["a"] }), 'BOM {"c":2}')
    assert.strictEqual(edited({ op: "insert", path: ["a", "b"], raw: "2" }), 'BOM {"a":{"b":[1,2]},"c":2}')
  })
})
