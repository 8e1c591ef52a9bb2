import type { Random } from "../wire/Random.ts"

/** Things that stand between the events of real streams. */
const between = [
  ": keep-alive\n\n",
  ":\n\n",
  "\n",
  ": OPENROUTER PROCESSING\n\n",
  'event: ping\ndata: {"type": "ping"}\n\n'
]

/** Lines that stand within the events of real streams, and mean nothing to anybody. */
const namelessLines = ["id: 17\n", "retry: 3000\n", ": note 👋\n", "x-unknown: y\n", "id\n"]

/** The same for events that have no name: this is the one they have by default. */
const lines = [...namelessLines, "event: message\n"]

/** JSON text with white space where JSON allows some. */
const spaced = (random: Random, json: string): string => {
  let out = ""
  let quoted = false
  for (let at = 0; at < json.length; at++) {
    const char = json[at]!
    if (char === '"' && json[at - 1] !== "\\") quoted = !quoted
    out += char
    if (!quoted && (char === ":" || char === ",") && random.chance(20)) out += random.pick([" ", "  ", "\t"])
  }
  return out
}

/**
 * An event as some other server would have written it: the same data behind odd spacing, in several lines, among
 * comments, ids and unknown fields.
 *
 * @param event an event of one `data:` line, with or without an `event:` line before it
 * @param alone nothing of its own stands before it
 */
export const disguise = (random: Random, event: string, alone = false): string => {
  const [, name = "", data = ""] = /^(?:event: ([^\n]*)\n)?data: ([^\n]*)\n\n$/.exec(event)!
  const json = data.startsWith("{")
  const noise = name === "" ? lines : namelessLines
  let text = random.chance(15) && !alone ? random.pick(between) : ""
  while (random.chance(20)) text += random.pick(noise)
  // The name may stand behind the data as well.
  const named = name === "" ? "" : `event:${random.chance(30) ? "" : " "}${name}\n`
  const nameLast = random.chance(10)
  if (!nameLast) text += named
  text += random.chance(30) ? "data:" : "data: "
  text += json && random.chance(30) ? spaced(random, data) : data
  text += "\n"
  if (nameLast) text += named
  while (random.chance(10)) text += random.pick(noise)
  return `${text}\n`
}

/** The same event with its data in several lines. */
export const inLines = (event: string): string =>
  event.replace('data: {"', 'data: {\ndata:"').replace(',"', ',\ndata:  "')

/** Texts whose bytes are awkward to cut. */
export const awkward = [
  "Zürich",
  "👋🏽",
  "한글",
  '"quoted" \\ ',
  "\u2028",
  "a",
  " ",
  "\n\n",
  "data: [DONE]",
  "\r\n",
  '"usage":{'
]
