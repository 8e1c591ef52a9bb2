import type { Dialect } from "../Dialect.ts"
import { output } from "./Blocks.ts"
import { memory } from "./Memory.ts"
import { MessagesReader } from "./Reader.ts"
import { editModel, view } from "./Request.ts"
import { continueWith, forbidTools, injectTools } from "./Tools.ts"
import { errorBody, MessagesWriter } from "./Writer.ts"

/** Anthropic's Messages: https://docs.anthropic.com/en/api/messages */
export const anthropicMessages: Dialect = {
  name: "anthropic-messages",
  terminalEvents: new Set(["message_stop"]),
  view,
  edit: {
    model: editModel,
    // Nothing is stored that a request could go on from.
    continueFrom: (body) => body,
    // Usage comes unasked.
    askForUsage: (_view, body) => body,
    injectTools,
    forbidTools,
    continueWith
  },
  output,
  memory,
  turn: (options) => new MessagesReader(options),
  answer: (options) => new MessagesWriter(options),
  errorBody,
  requestIdHeader: "request-id"
}
