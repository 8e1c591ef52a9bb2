import type { Histogram } from "./Recorder.ts"

/** Upper bounds in seconds. */
const bounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

/** Counts by bucket how long batches waited. */
export class LagHistogram {
  private readonly counts: Array<number> = new Array(bounds.length + 1).fill(0)
  private sum = 0
  private count = 0

  observe(seconds: number): void {
    let bucket = 0
    while (bucket < bounds.length && seconds > bounds[bucket]!) bucket++
    this.counts[bucket]!++
    this.sum += seconds
    this.count++
  }

  get snapshot(): Histogram {
    return { bounds, counts: this.counts.slice(), sum: this.sum, count: this.count }
  }
}
