import { anthropicMessagesCase } from "./AnthropicMessagesCase.ts"
import type { DialectCase, Reply } from "./DialectCase.ts"
import { openAiChatCase } from "./OpenAiChatCase.ts"
import { openAiResponsesCase } from "./OpenAiResponsesCase.ts"

/** The dialects that conform: a new one is a row here. */
export const dialects: ReadonlyArray<DialectCase> = [openAiChatCase, openAiResponsesCase, anthropicMessagesCase]

/** The transports every dialect has over HTTP. */
export const transports = ["sse", "json"] as const

/** Every dialect over each of them. */
export const dialectTransports = dialects.flatMap((dialect) =>
  transports.map((transport) => ({ dialect, transport, title: `${dialect.name}, ${transport}` }))
)

/** What the upstream says wherever it does not matter what. */
export const reply: Reply = {
  text: ["Grüezi ", "mitenand ", "👋"],
  usage: { input: 8, cacheRead: 4, output: 7, reasoning: 2 }
}

/** What is recorded of its usage. */
export const replyUsage = { input: 8, output: 7, cacheRead: 4, reasoning: 2 }
