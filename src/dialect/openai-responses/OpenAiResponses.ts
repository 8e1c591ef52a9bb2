import type { Dialect } from "../Dialect.ts"
import { errorBody } from "../openai-chat/Writer.ts"
import { terminals } from "./Events.ts"
import { memory } from "./Memory.ts"
import { ResponsesReader } from "./Reader.ts"
import { askForUsage, continueFrom, editModel, view } from "./Request.ts"
import { continueWith, forbidTools, injectTools, output } from "./Tools.ts"
import { ResponsesWriter } from "./Writer.ts"

/** OpenAI's Responses. */
export const openAiResponses: Dialect = {
  name: "openai-responses",
  terminalEvents: new Set(terminals.keys()),
  view,
  edit: { model: editModel, continueFrom, askForUsage, injectTools, forbidTools, continueWith },
  output,
  memory,
  turn: (options) => new ResponsesReader(options),
  answer: (options) => new ResponsesWriter(options),
  errorBody,
  requestIdHeader: "x-request-id"
}
