/** The words that all log lines of Sluice are made of, in logfmt: `name=value name="another value"`. */

let second = 0
let untilSecond = new Date(0).toISOString().slice(0, 20)

/** A time as ISO 8601. Most calls share their second with the one before, and formatting it is half a line's cost. */
export const timestamp = (millis: number): string => {
  const current = Math.floor(millis / 1000)
  if (current !== second) {
    second = current
    untilSecond = new Date(current * 1000).toISOString().slice(0, 20)
  }
  return `${untilSecond}${String(Math.floor(millis) - current * 1000).padStart(3, "0")}Z`
}

/** The longest string that somebody else chose, in characters. */
const longestText = 120

/** What would end a line, move a cursor or turn the direction of writing, and JSON leaves as it is. */
const unsafe = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g

/**
 * A string as a value, quoted where it is more than a plain word, and always on one line; `-` where there is none.
 *
 * @param longest how many characters are shown before an ellipsis
 */
export const text = (value: string | null, longest: number = longestText): string => {
  if (value === null) return "-"
  if (value.length <= longest && /^\w[\w.:/@+-]*$/.test(value)) return value
  const shown = value.length <= longest ? value : `${value.slice(0, longest)}…`
  return JSON.stringify(shown).replace(
    unsafe,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
}
