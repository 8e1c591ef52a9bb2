import type { Dialect } from "../Dialect.ts"
import { memory } from "./Memory.ts"
import { ChatReader } from "./Reader.ts"
import { askForUsage, editModel, view } from "./Request.ts"
import { continueWith, forbidTools, injectTools, output } from "./Tools.ts"
import { ChatWriter, errorBody } from "./Writer.ts"

/** OpenAI's Chat Completions, and what compatible providers made of it. */
export const openAiChat: Dialect = {
  name: "openai-chat",
  terminalEvents: new Set(),
  view,
  // Nothing is stored that a request could go on from.
  edit: { model: editModel, continueFrom: (body) => body, askForUsage, injectTools, forbidTools, continueWith },
  output,
  memory,
  turn: (options) => new ChatReader(options),
  answer: (options) => new ChatWriter(options),
  errorBody,
  requestIdHeader: "x-request-id"
}
