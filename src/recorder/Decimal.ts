/** The exact sum of two decimals written without an exponent. */
export const addDecimals = (left: string, right: string): string => {
  const scale = Math.max(digitsAfterPoint(left), digitsAfterPoint(right))
  const sum = scaled(left, scale) + scaled(right, scale)
  const digits = (sum < 0n ? -sum : sum).toString().padStart(scale + 1, "0")
  const whole = digits.slice(0, digits.length - scale)
  return `${sum < 0n ? "-" : ""}${whole}${scale === 0 ? "" : `.${digits.slice(digits.length - scale)}`}`
}

const digitsAfterPoint = (decimal: string): number => {
  const point = decimal.indexOf(".")
  return point < 0 ? 0 : decimal.length - point - 1
}

const scaled = (decimal: string, scale: number): bigint =>
  BigInt(decimal.replace(".", "") + "0".repeat(scale - digitsAfterPoint(decimal)))

const decimal = /^-?\d+(\.\d+)?$/

/** Adds up priced turns by key. A key whose prices are in several currencies, or are no decimals, has no sum. */
export class CostSums {
  private readonly sums = new Map<string, { cost: string; currency: string } | null>()

  add(key: string, cost: string, currency: string): void {
    const sum = this.sums.get(key)
    if (!decimal.test(cost)) this.sums.set(key, null)
    else if (sum === undefined) this.sums.set(key, { cost, currency })
    else if (sum !== null && sum.currency === currency) sum.cost = addDecimals(sum.cost, cost)
    else this.sums.set(key, null)
  }

  of(key: string): { readonly cost: string | null; readonly currency: string | null } {
    return this.sums.get(key) ?? { cost: null, currency: null }
  }
}
