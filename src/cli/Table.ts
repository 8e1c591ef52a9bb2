import { CliOutput } from "effect/cli"

/** One column of a table. */
export interface Column {
  readonly title: string
  /** Numbers stand at the right. */
  readonly align?: "left" | "right"
  /** Whether its text may be cut where the table is wider than the terminal. */
  readonly shrink?: boolean
}

const gap = "  "
/** No column is cut below this: less says nothing. */
const narrowest = 6

const segmenter = new Intl.Segmenter()

/**
 * Text that can do nothing to a terminal: what people and models wrote may hold escape sequences.
 *
 * @returns the text with each run of control characters, line breaks included, as one space
 */
// Bidirectional controls could show a line as something else than it is.
export const printable = (text: string): string =>
  text.replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu, " ")

/** Text cut to a number of terminal cells, with an ellipsis where something was cut. */
export const cut = (text: string, width: number): string => {
  if (CliOutput.displayWidth(text) <= width) return text
  let shown = ""
  let used = 1
  for (const { segment } of segmenter.segment(text)) {
    used += CliOutput.displayWidth(segment)
    if (used > width) break
    shown += segment
  }
  return `${shown}…`
}

const padded = (text: string, width: number, align: "left" | "right" | undefined): string => {
  const space = " ".repeat(Math.max(0, width - CliOutput.displayWidth(text)))
  return align === "right" ? space + text : text + space
}

/**
 * A plain text table: titles, then one line for each row, in columns as wide as their widest text.
 *
 * @param width - the terminal's width in cells; columns that may `shrink` are cut, the widest first, until the table
 *   fits. 0 stands for no terminal: nothing is cut
 */
export const table = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  width = 0
): string => {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => row.map(printable))]
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => CliOutput.displayWidth(row[index] ?? ""))))
  const total = () => widths.reduce((sum, column) => sum + column, gap.length * (widths.length - 1))
  while (width > 0 && total() > width) {
    let widest = -1
    for (const [index, column] of columns.entries()) {
      const size = widths[index]!
      if (column.shrink === true && size > narrowest && (widest < 0 || size > widths[widest]!)) widest = index
    }
    if (widest < 0) break
    widths[widest]!--
  }
  return cells
    .map((row) =>
      columns
        .map(({ align }, index) => padded(cut(row[index] ?? "", widths[index]!), widths[index]!, align))
        .join(gap)
        .trimEnd()
    )
    .join("\n")
}
