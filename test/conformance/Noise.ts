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
const lines = ["id: 17\n", "retry: 3000\n", ": note 👋\n", "x-unknown: y\n", "id\n", "event: message\n"]

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
 * @param event an event of one `data:` line
 * @param alone nothing of its own stands before it
 */
export const disguise = (random: Random, event: string, alone = false): string => {
  const data = event.slice("data: ".length, -2)
  const json = data.startsWith("{")
  let text = random.chance(15) && !alone ? random.pick(between) : ""
  while (random.chance(20)) text += random.pick(lines)
  text += random.chance(30) ? "data:" : "data: "
  text += json && random.chance(30) ? spaced(random, data) : data
  text += "\n"
  while (random.chance(10)) text += random.pick(lines)
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
