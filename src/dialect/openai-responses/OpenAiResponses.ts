import type { Dialect } from "../Dialect.ts"
import { errorBody } from "../openai-chat/Writer.ts"
import { terminals } from "./Events.ts"
import { ResponsesReader } from "./Reader.ts"
import { askForUsage, editModel, view } from "./Request.ts"
import { continueWith, forbidTools, injectTools, output } from "./Tools.ts"
import { ResponsesWriter } from "./Writer.ts"

/** OpenAI's Responses. */
export const openAiResponses: Dialect = {
  name: "openai-responses",
  terminalEvents: new Set(terminals.keys()),
  view,
  edit: { model: editModel, askForUsage, injectTools, forbidTools, continueWith },
  output,
  turn: (options) => new ResponsesReader(options),
  answer: (options) => new ResponsesWriter(options),
  errorBody,
  requestIdHeader: "x-request-id"
}
