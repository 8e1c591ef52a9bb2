import OpenAI from "openai"
import { ResponsesWS } from "openai/resources/responses/ws"

/** What a test asks for; the rest is always the same. */
export type SocketAsk = Omit<OpenAI.Responses.ResponsesClientEvent.ResponseCreate, "type" | "model">

/** A response that came whole: its text, which the SDK does not put together here, and the types of all events. */
export interface SocketAnswer {
  readonly response: OpenAI.Responses.Response
  readonly text: string
  readonly seen: ReadonlyArray<string>
}

/** The OpenAI SDK on a WebSocket. */
export interface OpenAiSocket {
  /** Asks for one response; where that fails, the promise is rejected with what the SDK says. */
  readonly ask: (create: SocketAsk) => Promise<SocketAnswer>
  readonly close: () => void
}

const textOf = ({ output }: OpenAI.Responses.Response): string =>
  output
    .flatMap((item) => (item.type === "message" ? item.content : []))
    .map((part) => (part.type === "output_text" ? part.text : ""))
    .join("")

/**
 * Opens one.
 *
 * @param baseURL with the version
 */
export const openOpenAiSocket = (baseURL: string, model: string): OpenAiSocket => {
  const socket = new ResponsesWS(new OpenAI({ baseURL, apiKey: "sk-test" }))
  const events = socket.stream()
  // Without it, an error would be thrown where nobody is.
  socket.on("error", () => {})
  const ask = async (create: SocketAsk): Promise<SocketAnswer> => {
    socket.send({ type: "response.create", model, store: false, ...create })
    const seen: Array<string> = []
    for (;;) {
      const { done, value } = await events.next()
      if (done === true) throw new Error("the connection has ended")
      if (value.type === "error") throw value.error
      if (value.type === "close") throw new Error(`closed: ${value.code} ${value.reason}`)
      if (value.type !== "message") continue
      const { message } = value
      seen.push(message.type)
      if (message.type === "response.completed")
        return { response: message.response, text: textOf(message.response), seen }
    }
  }
  return { ask, close: () => socket.close() }
}
