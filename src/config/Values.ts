import { isIP } from "node:net"
import { Duration, Effect, Option, Redacted, Schema, SchemaGetter, SchemaIssue } from "effect"

/**
 * The kinds of values a config is made of. Each takes what YAML and an embedding program write (text from `${ENV}`
 * where a number is meant, a `Duration` or `Redacted` that is one already) and says in its errors what it expects.
 */

/** A codec from what stands in a config to a value, by one function that answers `undefined` for what is wrong. */
const parsed = <I>() => {
  const written = Schema.declare((_): _ is I => true)
  return <S extends Schema.Constraint>(
    type: S,
    expected: string | ((input: unknown) => string),
    parse: (input: unknown) => S["Type"] | undefined
  ) =>
    written.pipe(
      Schema.decodeTo(Schema.toType(type), {
        decode: SchemaGetter.transformEffect((input: I) => {
          const value = parse(input)
          return value === undefined
            ? Effect.fail(
                new SchemaIssue.InvalidValue({ message: typeof expected === "string" ? expected : expected(input) })
              )
            : Effect.succeed(value)
        }),
        encode: SchemaGetter.forbidden(() => "a config is read, never written")
      })
    )
}

/** Text that is not empty. */
export const text = (expected: string, accepts: (text: string) => boolean = (value) => value !== "") =>
  parsed<string>()(Schema.String, expected, (input) =>
    typeof input === "string" && accepts(input) ? input : undefined
  )

/** A host name or IP address to listen on; brackets around an IPv6 address are dropped. */
export const host = parsed<string>()(Schema.String, "expected a host name or IP address, without a port", (input) => {
  if (typeof input !== "string") return undefined
  const bare = /^\[(.+)\]$/.exec(input)?.[1] ?? input
  return isIP(bare) !== 0 || /^[A-Za-z0-9_.-]+$/.test(bare) ? bare : undefined
})

/** One of a few words. */
export const oneOf = <const Words extends ReadonlyArray<string>>(
  words: Words,
  expected = `expected one of ${words.join(", ")}`
) => {
  const isWord = (input: unknown): input is Words[number] => words.some((word) => word === input)
  return parsed<Words[number]>()(Schema.declare(isWord), expected, (input) => (isWord(input) ? input : undefined))
}

/** A whole number within bounds, both included. */
export const whole = (minimum: number, maximum: number = Number.MAX_SAFE_INTEGER) => {
  const bounds = maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`
  return parsed<number>()(Schema.Finite, `expected a whole number ${bounds}`, (input) => {
    const value = typeof input === "string" && /^\d{1,16}$/.test(input) ? Number(input) : input
    return Number.isSafeInteger(value) && (value as number) >= minimum && (value as number) <= maximum
      ? (value as number)
      : undefined
  })
}

/** Yes or no. */
export const trueOrFalse = parsed<boolean>()(Schema.Boolean, "expected true or false", (input) =>
  input === true || input === "true" ? true : input === false || input === "false" ? false : undefined
)

/** The longest span a timer of Node can wait for is a little over 24 days; a longer one would fire at once. */
const longest = Duration.days(24)

/**
 * A span of time: an Effect duration string (`"5 seconds"`) or, from a program, a `Duration`.
 *
 * @param minimum - the shortest one allowed
 */
export const span = (minimum: Duration.Input) => {
  const shortest = Duration.fromInputUnsafe(minimum)
  const bound = Duration.isZero(shortest) ? "zero or more" : `at least ${Duration.format(shortest)}`
  return parsed<string | Duration.Duration>()(
    Schema.Duration,
    `expected a duration such as "5 seconds" or "2 minutes", ${bound} and at most 24 days`,
    (input) => {
      const value =
        typeof input === "string"
          ? Option.getOrUndefined(Duration.fromInput(input as Duration.Input))
          : Duration.isDuration(input)
            ? input
            : undefined
      return value !== undefined &&
        Duration.isGreaterThanOrEqualTo(value, shortest) &&
        Duration.isLessThanOrEqualTo(value, longest)
        ? value
        : undefined
    }
  )
}

/** A secret that goes into a header: kept `Redacted`; white space around it, which files tend to add, is dropped. */
export const secret = parsed<string | Redacted.Redacted<string>>()(
  Schema.Redacted(Schema.String),
  "expected a secret of printable characters without white space",
  (input) => {
    const value = Redacted.isRedacted(input) ? Redacted.value(input) : input
    if (typeof value !== "string") return undefined
    const trimmed = value.trim()
    return /^[\x21-\x7e]+$/.test(trimmed) ? Redacted.make(trimmed) : undefined
  }
)

/** What YAML reads as a number, or as `true`, is not taken as text: `1.10` would become `1.1`. */
const quoting = (expected: string) => (input: unknown) =>
  typeof input === "number" || typeof input === "boolean"
    ? `${expected}: put the ${typeof input === "number" ? "number" : "word"} in quotes`
    : expected

/** Any text, also none. */
export const anyText = parsed<string>()(Schema.String, quoting("expected text"), (input) =>
  typeof input === "string" ? input : undefined
)

/** A value that may be secret and may hold anything a header value may. */
export const secretText = parsed<string | Redacted.Redacted<string>>()(
  Schema.Redacted(Schema.String),
  quoting("expected text without line breaks"),
  (input) => {
    const value = Redacted.isRedacted(input) ? Redacted.value(input) : input
    return typeof value === "string" && /^[^\r\n\0]*$/.test(value) ? Redacted.make(value) : undefined
  }
)

const isAddress = (input: unknown): input is string => {
  if (typeof input !== "string" || !/^https?:\/\/[^/]/i.test(input) || !URL.canParse(input)) return false
  const url = new URL(input)
  return url.username === "" && url.password === "" && !/[#\s]/.test(input)
}

const addressExpected = (example: string) =>
  `expected an http or https address without user name and fragment, such as "${example}"`

/** The address of a server, without the slashes at its end. A query (`?api-version=…`) goes along with every request. */
export const address = parsed<string>()(Schema.String, addressExpected("http://127.0.0.1:8000/v1"), (input) =>
  isAddress(input) ? input.replace(/\/+$/, "") : undefined
)

/** The address of the one thing that stands there, as it is written. */
export const endpoint = parsed<string>()(Schema.String, addressExpected("http://127.0.0.1:3001/mcp"), (input) =>
  isAddress(input) ? input : undefined
)

/** A browser's origin in the form browsers send it. */
export const origin = parsed<string>()(
  Schema.String,
  'expected an origin, scheme, host and port only, such as "https://tools.example.com"',
  (input) => {
    if (typeof input !== "string" || !URL.canParse(input)) return undefined
    const url = new URL(input)
    return url.origin !== "null" && url.pathname === "/" && url.search === "" && url.hash === "" && url.username === ""
      ? url.origin
      : undefined
  }
)

/** What the engine says is wrong with a regular expression, without the expression itself. */
const patternFault = (source: string): string | undefined => {
  try {
    new RegExp(source)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message.slice(error.message.lastIndexOf(": ") + 2) : String(error)
  }
}

/** A regular expression, by its source. */
export const pattern = parsed<string>()(
  Schema.String,
  (input) => {
    const fault = typeof input === "string" ? patternFault(input) : undefined
    return `expected a regular expression, such as "search_.*"${fault === undefined ? "" : `: ${fault}`}`
  },
  (input) => (typeof input === "string" && patternFault(input) === undefined ? input : undefined)
)

/** What the name of a header is made of (RFC 9110 §5.6.2). */
export const headerNamePattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** The name of a header, in lower case. */
export const headerName = parsed<string>()(Schema.String, 'expected the name of a header, such as "x-team"', (input) =>
  typeof input === "string" && headerNamePattern.test(input) ? input.toLowerCase() : undefined
)
