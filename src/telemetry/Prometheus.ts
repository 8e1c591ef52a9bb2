import type { Histogram } from "../recorder/Recorder.ts"

/** The content type of what is rendered here: Prometheus text exposition format, version 0.0.4. */
export const contentType = "text/plain; version=0.0.4; charset=utf-8"

/** Values of a metric's labels, in the order of their names. */
export type LabelValues = ReadonlyArray<string>

/** Something that is rendered into a family of lines. */
export interface Family {
  readonly render: (lines: Array<string>) => void
}

/** A value in a set of labels is quoted; only these characters have another form there. */
const quoteLabel = (value: string): string =>
  `"${value.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`))}"`

const labelsOf = (names: ReadonlyArray<string>, values: LabelValues): string =>
  names.map((name, i) => `${name}=${quoteLabel(values[i]!)}`).join(",")

const head = (lines: Array<string>, name: string, help: string, type: string): void => {
  lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`)
}

/** A family with one value and no labels. */
export const single = (type: "counter" | "gauge", name: string, help: string, value: number): Family => ({
  render: (lines) => {
    head(lines, name, help, type)
    lines.push(`${name} ${value}`)
  }
})

const buckets = (lines: Array<string>, name: string, labels: string, histogram: Histogram): void => {
  const prefix = labels === "" ? "" : `${labels},`
  const braces = labels === "" ? "" : `{${labels}}`
  let total = 0
  histogram.bounds.forEach((bound, i) => {
    total += histogram.counts[i]!
    lines.push(`${name}_bucket{${prefix}le="${bound}"} ${total}`)
  })
  lines.push(
    `${name}_bucket{${prefix}le="+Inf"} ${histogram.count}`,
    `${name}_sum${braces} ${histogram.sum}`,
    `${name}_count${braces} ${histogram.count}`
  )
}

/** A family of one histogram that somebody else keeps. */
export const histogram = (name: string, help: string, value: Histogram): Family => ({
  render: (lines) => {
    head(lines, name, help, "histogram")
    buckets(lines, name, "", value)
  }
})

/** A counter with its labels, which whoever counts holds on to. */
export interface Series {
  count: number
}

/**
 * A family of counters.
 *
 * Plain numbers and not Effect's `Metric`, of which one update with labels costs as much as everything that is counted at
 * the end of an interception may.
 */
export class Counters implements Family {
  private readonly name: string
  private readonly help: string
  private readonly labels: ReadonlyArray<string>
  private readonly all: Array<{ readonly values: LabelValues; readonly series: Series }> = []

  constructor(name: string, help: string, labels: ReadonlyArray<string>) {
    this.name = name
    this.help = help
    this.labels = labels
  }

  /** Adds a counter, which must not be there yet. */
  series(...values: LabelValues): Series {
    const series: Series = { count: 0 }
    this.all.push({ values, series })
    return series
  }

  render(lines: Array<string>): void {
    head(lines, this.name, this.help, "counter")
    for (const { values, series } of this.all) {
      lines.push(`${this.name}{${labelsOf(this.labels, values)}} ${series.count}`)
    }
  }
}

/** A histogram that is counted in, as its family holds it. */
export class Buckets implements Histogram {
  readonly bounds: ReadonlyArray<number>
  readonly counts: Array<number>
  sum = 0
  count = 0

  /** @param bounds upper bounds in seconds, inclusive, ascending */
  constructor(bounds: ReadonlyArray<number>) {
    this.bounds = bounds
    this.counts = new Array(bounds.length + 1).fill(0)
  }

  observe(seconds: number): void {
    let bucket = 0
    while (bucket < this.bounds.length && seconds > this.bounds[bucket]!) bucket++
    this.counts[bucket]!++
    this.sum += seconds
    this.count++
  }
}

/** A family of histograms with one label. */
export class Histograms implements Family {
  private readonly name: string
  private readonly help: string
  private readonly label: string
  private readonly bounds: ReadonlyArray<number>
  private readonly all: Array<{ readonly value: string; readonly buckets: Buckets }> = []

  /** @param bounds upper bounds in seconds, inclusive, ascending */
  constructor(name: string, help: string, label: string, bounds: ReadonlyArray<number>) {
    this.name = name
    this.help = help
    this.label = label
    this.bounds = bounds
  }

  /** Adds a histogram, which must not be there yet. */
  series(value: string): Buckets {
    const added = new Buckets(this.bounds)
    this.all.push({ value, buckets: added })
    return added
  }

  render(lines: Array<string>): void {
    head(lines, this.name, this.help, "histogram")
    for (const { value, buckets: counted } of this.all) {
      buckets(lines, this.name, labelsOf([this.label], [value]), counted)
    }
  }
}

/** The text of several families. */
export const render = (families: ReadonlyArray<Family>): string => {
  const lines: Array<string> = []
  for (const family of families) family.render(lines)
  return `${lines.join("\n")}\n`
}
