import { anthropicMessages } from "./anthropic-messages/AnthropicMessages.ts"
import type { Dialect, DialectName } from "./Dialect.ts"
import { openAiChat } from "./openai-chat/OpenAiChat.ts"
import { openAiResponses } from "./openai-responses/OpenAiResponses.ts"
import { passThrough } from "./pass-through/PassThrough.ts"

const dialects: { readonly [name in DialectName]?: Dialect } = {
  "openai-chat": openAiChat,
  "openai-responses": openAiResponses,
  "anthropic-messages": anthropicMessages
}

/** The dialect of a name; without one, that of inference which is passed through. */
export const dialectOf = (name: DialectName | null): Dialect => {
  const dialect = name === null ? passThrough : dialects[name]
  if (dialect === undefined) throw new Error(`the dialect ${name} is not built yet`)
  return dialect
}
