import type { Dialect } from "../Dialect.ts"
import { output } from "./Blocks.ts"
import { MessagesReader } from "./Reader.ts"
import { editModel, view } from "./Request.ts"
import { continueWith, forbidTools, injectTools } from "./Tools.ts"
import { errorBody, MessagesWriter } from "./Writer.ts"

/** Anthropic's Messages: https://docs.anthropic.com/en/api/messages */
export const anthropicMessages: Dialect = {
  name: "anthropic-messages",
  terminalEvents: new Set(["message_stop"]),
  view,
  // Usage comes unasked.
  edit: { model: editModel, askForUsage: (_view, body) => body, injectTools, forbidTools, continueWith },
  output,
  turn: (options) => new MessagesReader(options),
  answer: (options) => new MessagesWriter(options),
  errorBody,
  requestIdHeader: "request-id"
}
