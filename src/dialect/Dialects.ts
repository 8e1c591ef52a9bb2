import type { Dialect, DialectName } from "./Dialect.ts"
import { openAiChat } from "./openai-chat/OpenAiChat.ts"

/** The dialects there are, by name. */
export const dialects: { readonly [name in DialectName]?: Dialect } = {
  "openai-chat": openAiChat
}
