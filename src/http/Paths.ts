import type { DialectName } from "../dialect/Dialect.ts"

/** What a path behind a provider's name, or of the unified routes, asks for. */
export type Target =
  | { readonly _tag: "Intercepted"; readonly dialect: DialectName }
  /** Passed through. Inference among it is recorded; with `byModel` the body's model may pick the provider. */
  | {
      readonly _tag: "PassedThrough"
      readonly methods: ReadonlyArray<string>
      readonly inference: boolean
      readonly byModel: DialectName | null
    }
  | { readonly _tag: "Unknown" }

const intercepted: ReadonlyMap<string, DialectName> = new Map([
  ["chat/completions", "openai-chat"],
  ["responses", "openai-responses"],
  ["messages", "anthropic-messages"]
])

/** The unified paths that are intercepted. */
export const interceptedPaths: ReadonlyArray<string> = [...intercepted.keys()].map((name) => `/v1/${name}`)

interface Rule {
  readonly path: RegExp
  readonly methods: ReadonlyArray<string>
  readonly inference?: boolean
  /** The protocol of a call whose body names a model. */
  readonly byModel?: DialectName
}

const read = ["GET", "HEAD"]
const any = ["GET", "HEAD", "POST", "DELETE"]

/**
 * What is passed through unread. A central key may be able to administer the account, so everything else stays shut.
 */
const passedThrough: ReadonlyArray<Rule> = [
  { path: /^models(\/.+)?$/, methods: read },
  { path: /^(embeddings|moderations|completions|rerank)$/, methods: ["POST"], inference: true },
  { path: /^images\/(generations|edits|variations)$/, methods: ["POST"], inference: true },
  { path: /^audio\/(speech|transcriptions|translations)$/, methods: ["POST"], inference: true },
  { path: /^responses\/compact$/, methods: ["POST"], inference: true },
  { path: /^responses\/input_tokens$/, methods: ["POST"], byModel: "openai-responses" },
  { path: /^responses\/[^/]+(\/(cancel|input_items))?$/, methods: any },
  { path: /^chat\/completions\/[^/]+(\/messages)?$/, methods: any },
  { path: /^conversations(\/.+)?$/, methods: any },
  { path: /^messages\/count_tokens$/, methods: ["POST"], byModel: "anthropic-messages" },
  { path: /^messages\/batches(\/.+)?$/, methods: any },
  { path: /^(files|uploads|batches|vector_stores)(\/.+)?$/, methods: any }
]

/**
 * What some provider, or a proxy before it, may read as another path than it looks: segments of dots, also in front of
 * a parameter (`..;`); dots, slashes, backslashes and control characters that are escaped, once or twice; empty
 * segments; backslashes.
 */
const ambiguous = /(^|\/)\.{1,2}(;|\/|$)|%(25)*(2[ef]|5c|[01][0-9a-f]|7f)|\/\/|\\/i

/**
 * What a path asks for.
 *
 * @param path behind the provider's name, beginning with a slash; its leading `/v1` may be left out, as clients do whose
 * base URL has none
 */
export const targetOf = (path: string): Target => {
  const name = path.startsWith("/v1/") ? path.slice(4) : path.slice(1)
  const dialect = intercepted.get(name)
  if (dialect !== undefined) return { _tag: "Intercepted", dialect }
  if (ambiguous.test(name)) return { _tag: "Unknown" }
  const rule = passedThrough.find((one) => one.path.test(name))
  return rule === undefined
    ? { _tag: "Unknown" }
    : {
        _tag: "PassedThrough",
        methods: rule.methods,
        inference: rule.inference === true,
        byModel: rule.byModel ?? null
      }
}

/** The dialect whose clients call a path, in either address form, or anything below it; `null` where others may. */
export const dialectOfPath = (path: string): DialectName | null => {
  const name = /^(?:\/[^/]+)?(?:\/v1)?\/(chat\/completions|responses|messages)(?:\/|$)/.exec(path)?.[1]
  return name === undefined ? null : intercepted.get(name)!
}
