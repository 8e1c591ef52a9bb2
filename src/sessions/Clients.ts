/** Headers by lower-case name, as Node gives them. */
export interface HeaderMap {
  readonly [name: string]: string | ReadonlyArray<string> | undefined
}

/** A sign by which a program is known: a header that is there and not empty, and reads like this where it matters. */
interface Sign {
  readonly header: string
  readonly pattern: RegExp | null
}

const userAgent = "user-agent"

const has = (name: string): Sign => ({ header: name, pattern: null })
const header = (name: string, pattern: RegExp): Sign => ({ header: name, pattern })
const agent = (pattern: RegExp): Sign => header(userAgent, pattern)

/** The name that an app gives itself for the rankings of OpenRouter; it goes to every endpoint that is configured. */
const title = (pattern: RegExp): Sign => header("x-title", pattern)

/** Signs that mean something only together. */
const all = (...signs: ReadonlyArray<Sign>): ReadonlyArray<Sign> => signs

/**
 * Who is known by what: the first row of which one sign is seen names the client. Apps stand before what they are built
 * on, since a fork still sends headers of its origin and an app those of its SDK; to know another one is to add a row.
 *
 * Where nothing else is said, a sign was observed in requests of the app, or is what its own source sends.
 */
const table: ReadonlyArray<readonly [client: string, ...signs: ReadonlyArray<Sign | ReadonlyArray<Sign>>]> = [
  [
    "claude-code",
    has("x-claude-code-session-id"),
    // The user agent alone proves nothing: qwen-code and pi have sent it, too.
    all(agent(/^claude-(?:cli|code)\//i), header("anthropic-beta", /\bclaude-code-/i))
  ],
  [
    "qwen-code",
    agent(/^qwencode\//i),
    title(/^qwen code$/i),
    // Towards Messages it takes Claude Code's user agent with its own version, which is still below 1.
    agent(/^claude-cli\/0\./i)
  ],
  // Before opencode and Roo, both of which Kilo was made from, and whose headers it inherits on some paths.
  ["kilo", agent(/^(?:opencode-)?kilo(?:[-_ ]?code)?[/-]/i), title(/^kilo code$/i), has("x-kilocode-version")],
  // `Roo-Code 3.54.0` to its own service, `RooCode/3.54.0` to others, `roo-code/3.54.0 (…)` with Responses.
  ["roo", agent(/^roo-?code[/ ]/i), title(/^roo code$/i), header("originator", /^roo-?code$/i)],
  ["cline", agent(/^cline\//i), title(/^cline$/i), header("x-client-type", /^cline\b/i)],
  // Before Codex and opencode, as whom it calls their services.
  [
    "pi",
    agent(/^pi(?:-coding-agent)?(?:\/\d| \(|$)/i),
    title(/^pi$/i),
    header("originator", /^pi$/i),
    header("x-opencode-client", /^pi$/i),
    // Until August 2026 (earendil-works/pi#8361) it left the SDK's user agent; nobody else sends these two with it.
    all(agent(/^(?:openai|anthropic)\/js /i), has("session_id"), has("x-client-request-id"))
  ],
  // `codex_exec`, `codex_cli_rs`, `codex-tui`, `codex_vscode`, `Codex Desktop`, and whatever comes next.
  ["codex", header("originator", /^codex(?:[_ -]|$)/i), agent(/^codex(?:[_ -][\w -]{1,40})?\//i)],
  ["opencode", agent(/^opencode\d?\//i), has("x-opencode-client"), header("originator", /^opencode$/i)],
  // Calls of a custom endpoint come from Cursor's servers.
  ["cursor", agent(/(?:^|[ (])cursor\//i), has("x-cursor-client-version")],
  ["zed", agent(/^zed\//i), header("editor-version", /^zed\//i)],
  [
    "copilot-vscode",
    agent(/^githubcopilotchat\//i),
    header("editor-plugin-version", /^copilot-chat\//i),
    header("copilot-integration-id", /^vscode-chat$/i)
  ],
  [
    "copilot-cli",
    agent(/^(?:github-)?copilot(?:-cli)?\//i),
    header("copilot-integration-id", /^copilot-developer-cli$/i),
    // With a provider of one's own it sends the SDK's user agent and what it tells its own service of the turn.
    has("x-interaction-type")
  ],
  // `Charm Crush/` until April 2026 (charmbracelet/crush#2403).
  ["crush", agent(/^(?:charm[- ])?crush\//i)],
  // `GeminiCLI-a2a-server/`, `GeminiCLI-acp-zed/`: google-gemini/gemini-cli#22059.
  ["gemini-cli", agent(/^geminicli[/-]/i)],
  // Inferred: JetBrains' plugins name themselves to their own service in `grazie-agent`.
  ["junie", agent(/\bjunie\b/i), header("grazie-agent", /\bjunie\b/i)],
  // `ai/7.0.173 ai-sdk-provider-utils/5.0.81 node.js/24`; until version 6 `ai-sdk/provider-utils/…`.
  ["ai-sdk", agent(/(?:^|\s)ai-sdk(?:-provider-utils)?\//i)],
  ["anthropic-sdk", agent(/^(?:async)?anthropic(?:\w+)?[/ ]/i), all(has("x-stainless-lang"), has("anthropic-version"))],
  [
    "openai-sdk",
    agent(/^(?:async)?(?:azure)?openai[/ ]/i),
    agent(/^openai-(?:python|node)\//i),
    has("x-stainless-lang")
  ]
]

/** What a caller is called whom no sign gives away. */
const unknown = "unknown"

/** Every name a client can have, `unknown` included. */
export const clients: ReadonlyArray<string> = [...table.map(([client]) => client), unknown]

const rows = table.map(([client, ...signs]) => ({
  client,
  signs: signs.map((sign) => ("header" in sign ? [sign] : sign))
}))
/** The signs apart from the user agent, by their headers, each with a letter of its own. */
const others = [
  ...Map.groupBy(
    rows.flatMap((row) => row.signs.flat()).map((sign, i) => ({ ...sign, letter: String.fromCharCode(0x100 + i) })),
    (sign) => sign.header
  )
].filter(([name]) => name !== userAgent)

/** How much of a header is read. */
const readLength = 512
/** How many callers are remembered. What they send is theirs to choose, so the oldest are forgotten. */
const remembered = 1024
const known = new Map<string, string>()

const textOf = (value: HeaderMap[string]): string =>
  value === undefined ? "" : (typeof value === "string" ? value : value.join(", ")).slice(0, readLength)

const shows = (headers: HeaderMap, { header, pattern }: Sign): boolean => {
  const text = textOf(headers[header])
  return text !== "" && (pattern === null || pattern.test(text))
}

const search = (headers: HeaderMap): string =>
  rows.find((row) => row.signs.some((together) => together.every((sign) => shows(headers, sign))))?.client ?? unknown

/**
 * The program that makes a call, by the headers it sends: a name for people to read and filter by. Anybody can send
 * any header, so nothing may be allowed or refused because of it.
 */
export const clientOf = (headers: HeaderMap): string => {
  // All that the answer depends on: the signs that other headers show, of which there are few, and the user agent.
  let key = ""
  for (let i = 0; i < others.length; i++) {
    const [name, signs] = others[i]!
    if (headers[name] === undefined) continue
    for (const sign of signs) if (shows(headers, sign)) key += sign.letter
  }
  key += textOf(headers[userAgent])
  const found = known.get(key)
  if (found !== undefined) return found
  const client = search(headers)
  if (known.size >= remembered) known.delete(known.keys().next().value!)
  known.set(key, client)
  return client
}

/** Clients that are no program of their own, but a library in anybody's. */
const libraries = new Set(["openai-sdk", "anthropic-sdk", "ai-sdk", unknown])

/** Whether a client is known to be a coding agent. */
export const isCodingAgent = (client: string): boolean => !libraries.has(client)
