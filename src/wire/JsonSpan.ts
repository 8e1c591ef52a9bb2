import {
  behindColon,
  documentStart,
  findMember,
  findPlace,
  type Key,
  keyEquals,
  type MemberPlace,
  makeKey,
  readString,
  skipSpace,
  skipSpaceBefore,
  skipString,
  skipValue
} from "./JsonScan.ts"

/**
 * Reading and editing values inside raw JSON, every other byte left as it is: white space, key order, number text,
 * escapes and unknown fields survive.
 *
 * The input is taken to be valid JSON in UTF-8; a byte order mark before it stays there. Where it is not, the answer is `null` or a
 * span of something; nothing throws, loops for ever, or recurses into the document.
 *
 * Where an object has a key twice the last one counts, as for `JSON.parse`. Edits are made at every one of them, so
 * that no other parser sees another value.
 */

/** A range of bytes: from `start` up to, but not including, `end`. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** The way from the root to a value: the key of a member, or the index of an element, for each step. */
export type JsonPath = ReadonlyArray<string | number>

/** One member of an object. */
export interface Member {
  /** The key, unescaped. */
  readonly key: string
  /** The key as it stands, with its quotes. */
  readonly keySpan: Span
  readonly span: Span
}

/** One change to a document. `raw` is JSON text and goes in as it is. */
export type Edit =
  | { readonly op: "replace"; readonly path: JsonPath; readonly raw: string | Buffer }
  /** Replaces the member at `path`, or adds it as the last one of an object that is there. */
  | { readonly op: "set"; readonly path: JsonPath; readonly raw: string | Buffer }
  /** Takes away a member or an element with one comma and the white space between the two. */
  | { readonly op: "remove"; readonly path: JsonPath }
  | Insert

/**
 * Adds a member to the object at `path`, or without `key` an element to the array there. `at` is `"last"` if left out;
 * a number is the index, in the original array, of the element to stand before, or the array's length. Whether the
 * object has the key already is not looked at.
 */
export interface Insert {
  readonly op: "insert"
  readonly path: JsonPath
  readonly key?: string
  readonly at?: "first" | "last" | number
  readonly raw: string | Buffer
}

/** The span of the value at `path`, or `null` where there is none. */
export const locate = (json: Buffer, path: JsonPath): Span | null => {
  const step = path[0]
  if (path.length !== 1 || typeof step !== "string") return locateAll(json, [path])[0]!
  const found = findMember(json, makeKey(step))
  return found === null ? null : { start: found.start, end: found.end }
}

/** The spans of the values at several paths, found in one pass. */
export const locateAll = (json: Buffer, paths: ReadonlyArray<JsonPath>): ReadonlyArray<Span | null> => {
  const root = new Node()
  const nodes = paths.map((path) => root.descend(path))
  if (!walk(json, root, null)) return paths.map(() => null)
  return nodes.map((node) => node.span)
}

/** The members of the object at `span` (the whole document if left out) in their order; `null` where it is none. */
export const members = (json: Buffer, span?: Span): ReadonlyArray<Member> | null => {
  const found: Array<Member> = []
  const whole = eachItem(json, span, brace, (start) => {
    if (json[start] !== quote) return -1
    const keyEnd = skipString(json, start)
    if (keyEnd === -1) return -1
    const value = behindColon(json, keyEnd)
    const end = value === -1 ? -1 : skipValue(json, value)
    const key = end === -1 ? null : readString(json, start, keyEnd)
    if (key === null) return -1
    found.push({ key, keySpan: { start, end: keyEnd }, span: { start: value, end } })
    return end
  })
  return whole ? found : null
}

/** The spans of the elements of the array at `span` (the whole document if left out); `null` where it is none. */
export const elements = (json: Buffer, span?: Span): ReadonlyArray<Span> | null => {
  const found: Array<Span> = []
  const whole = eachItem(json, span, bracket, (start) => {
    const end = skipValue(json, start)
    if (end !== -1) found.push({ start, end })
    return end
  })
  return whole ? found : null
}

/**
 * The document with all `edits` made, in one pass; their paths mean the original document. `null` where one of them has
 * no place: a value to replace or remove that is not there, an insert into what is no object or array, an index past the
 * end, or two edits that touch the same bytes.
 */
export const edit = (json: Buffer, edits: ReadonlyArray<Edit>): Buffer | null => {
  if (edits.length === 0) return json
  if (edits.length === 1) {
    const quick = editMember(json, edits[0]!)
    if (quick !== undefined) return quick
  }
  const root = new Node()
  const checks: Array<() => boolean> = []
  for (const change of edits) {
    const check = prepare(root, change)
    if (check === null) return null
    checks.push(check)
  }
  const splices: Array<Splice> = []
  if (!walk(json, root, splices)) return null
  return checks.every((check) => check()) ? applySplices(json, splices) : null
}

/**
 * The commonest edits, without the tree: a member of the root gets another value, is added, or has elements added to its
 * array. `undefined` for any other, and where the member is there twice.
 */
const editMember = (json: Buffer, change: Edit): Buffer | null | undefined => {
  const { op, path } = change
  const step = path[0]
  if (op === "remove" || path.length !== 1 || typeof step !== "string") return undefined
  const at = op === "insert" ? change.at : undefined
  if (typeof at === "number" || (op === "insert" && change.key !== undefined)) return undefined
  const place = findPlace(json, makeKey(step))
  if (place === null) return null
  if (place.repeated) return undefined
  const raw = toBuffer(change.raw)
  if (op === "insert") return addElements(json, place, raw, at)
  if (place.end === -1) return op === "set" ? addMember(json, place, step, [raw]) : null
  return splice(json, place.start, place.end, [raw])
}

/** The document with a member behind all others of the root. */
const addMember = (json: Buffer, { behind }: MemberPlace, key: string, raw: ReadonlyArray<Buffer>): Buffer => {
  const name = Buffer.from(`${json[behind - 1] === brace ? "" : ","}${JSON.stringify(key)}:`)
  return splice(json, behind, behind, [name, ...raw])
}

/** The document with elements at one end of the array at `start`; `null` where there is none. */
const addElements = (json: Buffer, { end, start }: Span, raw: Buffer, at: "first" | "last" = "last"): Buffer | null => {
  if (json[start] !== bracket) return null
  const first = skipSpace(json, start + 1)
  if (first === end - 1) return splice(json, start + 1, start + 1, [raw])
  if (at === "first") return splice(json, first, first, [raw, commaText])
  const behind = skipSpaceBefore(json, end - 1)
  return splice(json, behind, behind, [commaText, raw])
}

/** The document with other bytes from `start` to `end`. */
const splice = (json: Buffer, start: number, end: number, raw: ReadonlyArray<Buffer>): Buffer => {
  let length = json.length - (end - start)
  for (const piece of raw) length += piece.length
  const result = Buffer.allocUnsafe(length)
  let at = json.copy(result, 0, 0, start)
  for (const piece of raw) at += piece.copy(result, at)
  json.copy(result, at, end)
  return result
}

/** The document with the value at `path` replaced by the JSON text `raw`; see `edit`. */
export const replace = (json: Buffer, path: JsonPath, raw: string | Buffer): Buffer | null =>
  edit(json, [{ op: "replace", path, raw }])

/** The document with the member at `path` replaced or added; see `edit`. */
export const set = (json: Buffer, path: JsonPath, raw: string | Buffer): Buffer | null =>
  edit(json, [{ op: "set", path, raw }])

/** The document with a member, or without `key` an element, added to the container at `path`; see `Insert`. */
export const insert = (json: Buffer, path: JsonPath, options: Omit<Insert, "op" | "path">): Buffer | null =>
  edit(json, [{ op: "insert", path, ...options }])

/**
 * The document with elements added to the array that is the member `key` of the root. Where that is missing or null, they
 * are its array; `null` where it is anything else.
 *
 * @param raw an element, or several with commas between them, as JSON text
 */
export const extend = (json: Buffer, key: string, raw: Buffer, at: "first" | "last" = "last"): Buffer | null => {
  const place = findPlace(json, makeKey(key))
  if (place === null) return null
  const first = place.end === -1 ? nullStart : json[place.start]
  if (first === bracket) return place.repeated ? insert(json, [key], { at, raw }) : addElements(json, place, raw, at)
  if (first !== nullStart) return null
  const list = [openText, raw, closeText]
  if (place.end === -1) return addMember(json, place, key, list)
  return place.repeated ? set(json, [key], Buffer.concat(list)) : splice(json, place.start, place.end, list)
}

/** The document without the member or element at `path`; see `edit`. */
export const remove = (json: Buffer, path: JsonPath): Buffer | null => edit(json, [{ op: "remove", path }])

const quote = 0x22
const comma = 0x2c
const bracket = 0x5b
const brace = 0x7b
/** The first byte of a JSON null. */
const nullStart = 0x6e
/** Both closing brackets are the opening one and two. */
const toCloser = 2

const commaText = Buffer.from(",")
const openText = Buffer.from("[")
const closeText = Buffer.from("]")

interface Splice extends Span {
  readonly raw: Buffer | null
}

/** What is looked for, and what is to be done, at one place of the document: a tree in the shape of the paths. */
class Node {
  readonly members: Array<{ readonly key: Key; readonly node: Node }> = []
  readonly elements = new Map<number, Node>()
  readonly inserts: Array<Insert> = []
  replacement: Buffer | null = null
  /** Whether a missing member is to be added. */
  addIfMissing = false
  removed = false
  /** Whether anything below this value is of interest. */
  inner = false
  /** Whether the container's members or elements get fewer or more. */
  reshaped = false
  /** The value as found last. */
  span: Span | null = null
  /** Whether the container found last has the place that every insert asks for. */
  fits = false

  descend(path: JsonPath): Node {
    let node: Node = this
    for (const step of path) node = node.child(step)
    return node
  }

  private child(step: string | number): Node {
    this.inner = true
    if (typeof step === "number") {
      const known = this.elements.get(step)
      if (known !== undefined) return known
      const node = new Node()
      this.elements.set(step, node)
      return node
    }
    const known = this.members.find((member) => member.key.text === step)
    if (known !== undefined) return known.node
    const node = new Node()
    this.members.push({ key: makeKey(step), node })
    return node
  }

  /** Forgets what was found here and below: the key comes again, and the last one counts. */
  forget(): void {
    const nodes: Array<Node> = [this]
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      if (node.span === null) continue
      node.span = null
      node.fits = false
      for (const member of node.members) nodes.push(member.node)
      for (const element of node.elements.values()) nodes.push(element)
    }
  }
}

/** Notes one edit in the tree. Answers what must hold when the document was walked, or `null` if it is at odds. */
const prepare = (root: Node, change: Edit): (() => boolean) | null => {
  const node = root.descend(change.path)
  if (change.op === "insert") {
    node.inserts.push(change)
    node.inner = true
    node.reshaped = true
    return () => node.fits
  }
  if (node.removed || node.replacement !== null) return null
  if (change.op === "replace") {
    node.replacement = toBuffer(change.raw)
    return () => node.span !== null
  }
  if (change.path.length === 0) return null
  const parent = root.descend(change.path.slice(0, -1))
  parent.reshaped = true
  if (change.op === "remove") {
    node.removed = true
    return () => node.span !== null
  }
  if (typeof change.path.at(-1) !== "string") return null
  node.replacement = toBuffer(change.raw)
  node.addIfMissing = true
  return () => node.span !== null || parent.fits
}

const toBuffer = (raw: string | Buffer): Buffer => (typeof raw === "string" ? Buffer.from(raw) : raw)

/** A member or element of a container that gets reshaped, its key included. */
interface Item extends Span {
  readonly removed: boolean
}

/** A container that the walk is in. */
interface Level {
  readonly node: Node
  readonly open: number
  readonly kind: number
  index: number
  itemStart: number
  child: Node | undefined
  readonly items: Array<Item>
}

/** Walks the document once, noting in the tree what was found and, for edits, the changes. `false` if it is broken. */
const walk = (json: Buffer, root: Node, splices: Array<Splice> | null): boolean => {
  const levels: Array<Level> = []
  let node: Node | undefined = root
  let value = documentStart(json)
  for (;;) {
    let end: number
    const kind = json[value]!
    if (node?.inner && (kind === brace || kind === bracket)) {
      const level: Level = { node, open: value, kind, index: -1, itemStart: 0, child: undefined, items: [] }
      const at = skipSpace(json, value + 1)
      if (json[at] !== kind + toCloser) {
        levels.push(level)
        value = beginItem(json, level, at)
        if (value === -1) return false
        node = level.child
        continue
      }
      reshape(level, splices)
      end = at + 1
    } else {
      end = skipValue(json, value)
      if (end === -1) return false
    }
    for (;;) {
      if (node !== undefined) {
        node.span = { start: value, end }
        if (node.replacement !== null && splices !== null) splices.push({ start: value, end, raw: node.replacement })
      }
      const level = levels.at(-1)
      const at = skipSpace(json, end)
      if (level === undefined) return at === json.length
      if (level.node.reshaped) level.items.push({ start: level.itemStart, end, removed: node?.removed === true })
      if (json[at] === comma) {
        value = beginItem(json, level, skipSpace(json, at + 1))
        if (value === -1) return false
        node = level.child
        break
      }
      if (json[at] !== level.kind + toCloser) return false
      levels.pop()
      reshape(level, splices)
      node = level.node
      value = level.open
      end = at + 1
    }
  }
}

/** Begins the member or element at `at`: where its value starts, or -1. `level.child` is its node, if it has one. */
const beginItem = (json: Buffer, level: Level, at: number): number => {
  level.index++
  level.itemStart = at
  level.child = undefined
  if (level.kind === bracket) {
    level.child = level.node.elements.get(level.index)
    return at
  }
  if (json[at] !== quote) return -1
  const end = skipString(json, at)
  if (end === -1) return -1
  for (const member of level.node.members) {
    if (!keyEquals(json, at + 1, end - 1, member.key)) continue
    member.node.forget()
    level.child = member.node
    break
  }
  return behindColon(json, end)
}

/** Adds to `splices` what takes members or elements out of a container, and what puts new ones in. */
const reshape = (level: Level, splices: Array<Splice> | null): void => {
  const { node, items } = level
  if (splices === null || !node.reshaped) return
  const object = level.kind === brace
  const fitting = node.inserts.filter(
    (insert) => (insert.key !== undefined) === object && slotOf(insert, items.length) <= items.length
  )
  node.fits =
    fitting.length === node.inserts.length && (object || !node.members.some((member) => member.node.addIfMissing))
  const added = fitting.map((insert) => ({ slot: slotOf(insert, items.length), raw: textOf(insert) }))
  if (object) {
    for (const { key, node: child } of node.members) {
      if (!child.addIfMissing || child.span !== null) continue
      added.push({ slot: items.length, raw: memberText(key.text, child.replacement!) })
    }
  }
  added.sort((a, b) => a.slot - b.slot)
  const lastKept = items.findLastIndex((item) => !item.removed)
  takeOut(items, lastKept, splices)
  let alone = true
  for (const { slot, raw } of added) {
    const next = items.findIndex((item, index) => index >= slot && !item.removed)
    if (next !== -1) splices.push(insertion(items[next]!.start, Buffer.concat([raw, commaText])))
    else if (lastKept !== -1) splices.push(insertion(items[lastKept]!.end, Buffer.concat([commaText, raw])))
    else {
      splices.push(insertion(level.open + 1, alone ? raw : Buffer.concat([commaText, raw])))
      alone = false
    }
  }
}

/** A run of removed items goes up to the next one that stays, or, at the end, from the last one that stays. */
const takeOut = (items: ReadonlyArray<Item>, lastKept: number, splices: Array<Splice>): void => {
  let runStart = -1
  for (let index = 0; index <= lastKept; index++) {
    const item = items[index]!
    if (item.removed) {
      if (runStart === -1) runStart = item.start
    } else if (runStart !== -1) {
      splices.push({ start: runStart, end: item.start, raw: null })
      runStart = -1
    }
  }
  if (lastKept + 1 === items.length) return
  const start = lastKept === -1 ? items[0]!.start : items[lastKept]!.end
  splices.push({ start, end: items.at(-1)!.end, raw: null })
}

const insertion = (offset: number, raw: Buffer): Splice => ({ start: offset, end: offset, raw })

const textOf = (insert: Insert): Buffer =>
  insert.key === undefined ? toBuffer(insert.raw) : memberText(insert.key, toBuffer(insert.raw))

const memberText = (key: string, raw: Buffer): Buffer => Buffer.concat([Buffer.from(`${JSON.stringify(key)}:`), raw])

/** Before which of `count` items an insert stands; past `count` if nowhere. */
const slotOf = (insert: Insert, count: number): number => {
  if (insert.at === "first") return 0
  if (insert.at === undefined || insert.at === "last") return count
  return insert.key === undefined && Number.isInteger(insert.at) && insert.at >= 0 ? insert.at : count + 1
}

/** The document with the changes made, or `null` where two of them touch the same bytes. */
const applySplices = (json: Buffer, splices: Array<Splice>): Buffer | null => {
  // Sorting is stable, so texts put in at one place keep their order; they come before what is taken out there.
  splices.sort((a, b) => a.start - b.start || a.end - b.end)
  let from = 0
  let length = json.length
  for (const { start, end, raw } of splices) {
    if (start < from) return null
    length += (raw?.length ?? 0) - (end - start)
    from = end
  }
  const result = Buffer.allocUnsafe(length)
  let at = 0
  from = 0
  for (const { start, end, raw } of splices) {
    at += json.copy(result, at, from, start)
    if (raw !== null) at += raw.copy(result, at)
    from = end
  }
  json.copy(result, at, from)
  return result
}

/** Steps through the items of a container. `read` answers where the item at an offset ends, or -1. */
const eachItem = (json: Buffer, span: Span | undefined, kind: number, read: (start: number) => number): boolean => {
  const open = span === undefined ? documentStart(json) : skipSpace(json, span.start)
  if (json[open] !== kind) return false
  let at = skipSpace(json, open + 1)
  if (json[at] === kind + toCloser) return true
  for (;;) {
    const end = read(at)
    if (end === -1) return false
    at = skipSpace(json, end)
    if (json[at] === kind + toCloser) return true
    if (json[at] !== comma) return false
    at = skipSpace(json, at + 1)
  }
}
