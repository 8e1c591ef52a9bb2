import { locate, replace } from "../../wire/JsonSpan.ts"
import { type Dialect, noSession, noTools, type RequestView } from "../Dialect.ts"
import { errorBody } from "../openai-chat/Writer.ts"
import { parsed } from "./Protocol.ts"
import { PassThroughReader } from "./Reader.ts"
import { PassThroughWriter } from "./Writer.ts"

/**
 * Inference in calls that Sluice does not take part in (embeddings, images, `responses/compact`, …): of the request only
 * the model is read, of the answer what it used and how it ended.
 */
export const passThrough: Dialect = {
  name: null,
  terminalEvents: new Set(),
  view: (raw) => ({
    _tag: "RequestView",
    raw,
    model: modelOf(raw),
    stream: false,
    prompt: null,
    wantsUsage: true,
    choices: 1,
    background: false,
    previous: null,
    answered: null,
    tools: noTools,
    session: noSession
  }),
  edit: {
    model: (body, model) =>
      locate(body, ["model"]) === null ? body : (replace(body, ["model"], JSON.stringify(model)) ?? body),
    continueFrom: (body) => body,
    askForUsage: (_view: RequestView, body) => body,
    injectTools: (body) => body,
    forbidTools: (body) => body,
    continueWith: () => null
  },
  output: () => null,
  turn: (options) => new PassThroughReader(options),
  answer: (options) => new PassThroughWriter(options),
  errorBody,
  requestIdHeader: "x-request-id"
}

const modelOf = (raw: Buffer): string => {
  const model = parsed(raw)?.model
  return typeof model === "string" ? model : ""
}
