import Anthropic from "@anthropic-ai/sdk"
import { createAnthropic } from "@ai-sdk/anthropic"
import { createOpenAI } from "@ai-sdk/openai"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { generateText, isStepCount, jsonSchema, type LanguageModel, streamText, tool } from "ai"
import OpenAI from "openai"
import type { DialectName } from "./ModelAnswer.ts"
import { readFile, readFileTool } from "./ReadFile.ts"

/** What an SDK is asked to do. */
export interface Ask {
  /** The gateway's address. */
  readonly url: string
  readonly key: string
  readonly model: string
  readonly prompt: string
  /** Counts the requests. */
  readonly fetch: typeof fetch
  readonly signal?: AbortSignal
  /** Called at each piece of text. */
  readonly onText?: () => void
  /** How often it may try again; not at all unless given. */
  readonly retries?: number
}

/** What came of it: the text that it showed in all. Where the answer failed, the promise is rejected. */
export type Said = Promise<string>

/** One way to ask a model through an SDK. */
export interface SdkCase {
  readonly name: string
  /** What the caller is recorded as. */
  readonly client: string
  readonly dialect: DialectName
  /** Reads a streamed answer. */
  readonly stream: (ask: Ask) => Said
  /** Reads a whole answer. */
  readonly whole: (ask: Ask) => Said
  /** Asks with a tool, `read_file`, runs it where it is called, and sends its results, until there is text. */
  readonly tools: (ask: Ask) => Said
}

const joined = async <A>(events: AsyncIterable<A>, textOf: (event: A) => string | null | undefined, ask: Ask) => {
  let text = ""
  for await (const event of events) {
    const piece = textOf(event)
    if (piece === null || piece === undefined || piece === "") continue
    text += piece
    ask.onText?.()
  }
  return text
}

const openAi = ({ url, key, fetch, retries = 0 }: Ask) =>
  new OpenAI({ baseURL: `${url}/openai/v1`, apiKey: key, fetch, maxRetries: retries })

const chat = ({ model, prompt }: Ask) => ({ model, messages: [{ role: "user" as const, content: prompt }] })

const chatTools: Array<OpenAI.ChatCompletionFunctionTool> = [{ type: "function", function: readFileTool }]

const options = ({ signal }: Ask) => (signal === undefined ? {} : { signal })

const chatWhole = async (ask: Ask): Said => {
  const completion = await openAi(ask).chat.completions.create(chat(ask), options(ask))
  return completion.choices[0]?.message.content ?? ""
}

const openAiChat: SdkCase = {
  name: "OpenAI SDK, chat",
  client: "openai-sdk",
  dialect: "openai-chat",
  stream: async (ask) =>
    joined(
      await openAi(ask).chat.completions.create({ ...chat(ask), stream: true }, options(ask)),
      ({ choices }) => choices[0]?.delta.content,
      ask
    ),
  whole: chatWhole,
  tools: async (ask) => {
    const messages: Array<OpenAI.ChatCompletionMessageParam> = [...chat(ask).messages]
    for (;;) {
      const completion = await openAi(ask).chat.completions.create({ model: ask.model, messages, tools: chatTools })
      const message = completion.choices[0]!.message
      if (message.tool_calls === undefined) return message.content ?? ""
      messages.push(message)
      for (const call of message.tool_calls) {
        if (call.type !== "function") continue
        const content = readFile(JSON.parse(call.function.arguments))
        messages.push({ role: "tool", tool_call_id: call.id, content })
      }
    }
  }
}

const openAiChatHelper: SdkCase = {
  ...openAiChat,
  name: "OpenAI SDK, chat.completions.stream",
  stream: async (ask) => {
    const stream = openAi(ask).chat.completions.stream({ ...chat(ask), stream: true }, options(ask))
    stream.on("content", () => ask.onText?.())
    return (await stream.finalChatCompletion()).choices[0]?.message.content ?? ""
  },
  tools: async (ask) => {
    const runner = openAi(ask).chat.completions.runTools({
      ...chat(ask),
      stream: true,
      tools: [
        {
          type: "function",
          function: { ...readFileTool, parse: JSON.parse, function: readFile }
        }
      ]
    })
    return (await runner.finalContent()) ?? ""
  }
}

const responseTools: Array<OpenAI.Responses.FunctionTool> = [{ type: "function", ...readFileTool, strict: true }]

const outputOf = (response: OpenAI.Responses.Response): string => response.output_text

/** Runs the calls of a response; `null` where it has none. */
const resultsOf = (response: OpenAI.Responses.Response): Array<OpenAI.Responses.ResponseInputItem> | null => {
  const calls = response.output.filter((item) => item.type === "function_call")
  if (calls.length === 0) return null
  return [
    ...(response.output as Array<OpenAI.Responses.ResponseInputItem>),
    ...calls.map(({ call_id, arguments: args }) => ({
      type: "function_call_output" as const,
      call_id,
      output: readFile(JSON.parse(args))
    }))
  ]
}

const responses = ({ model, prompt }: Ask) => ({ model, input: prompt, store: false })

const openAiResponses: SdkCase = {
  name: "OpenAI SDK, responses",
  client: "openai-sdk",
  dialect: "openai-responses",
  stream: async (ask) =>
    joined(
      await openAi(ask).responses.create({ ...responses(ask), stream: true }, options(ask)),
      (event) => (event.type === "response.output_text.delta" ? event.delta : null),
      ask
    ),
  whole: async (ask) => outputOf(await openAi(ask).responses.create(responses(ask), options(ask))),
  tools: async (ask) => {
    const input: Array<OpenAI.Responses.ResponseInputItem> = [{ role: "user", content: ask.prompt }]
    for (;;) {
      const given = { ...responses(ask), input, tools: responseTools }
      const response = await openAi(ask).responses.create(given)
      const results = resultsOf(response)
      if (results === null) return outputOf(response)
      input.push(...results)
    }
  }
}

const openAiResponsesHelper: SdkCase = {
  ...openAiResponses,
  name: "OpenAI SDK, responses.stream",
  stream: async (ask) => {
    const stream = openAi(ask).responses.stream(responses(ask), options(ask))
    stream.on("response.output_text.delta", () => ask.onText?.())
    return outputOf(await stream.finalResponse())
  },
  tools: async (ask) => {
    const input: Array<OpenAI.Responses.ResponseInputItem> = [{ role: "user", content: ask.prompt }]
    for (;;) {
      const response = await openAi(ask)
        .responses.stream({ ...responses(ask), input, tools: responseTools })
        .finalResponse()
      const results = resultsOf(response)
      if (results === null) return outputOf(response)
      input.push(...results)
    }
  }
}

const anthropicSdk = ({ url, key, fetch, retries = 0 }: Ask) =>
  new Anthropic({ baseURL: `${url}/anthropic`, apiKey: key, fetch, maxRetries: retries })

const messages = ({ model, prompt }: Ask) => ({
  model,
  max_tokens: 1_000,
  messages: [{ role: "user" as const, content: prompt }]
})

const { description, parameters } = readFileTool

const messageTools: Array<Anthropic.Tool> = [{ name: readFileTool.name, description, input_schema: parameters }]

const textOf = ({ content }: Anthropic.Message): string =>
  content.map((block) => (block.type === "text" ? block.text : "")).join("")

/** Asks until the model calls no tool. */
const messagesLoop = async (
  ask: Ask,
  answer: (given: Anthropic.MessageCreateParamsNonStreaming) => Promise<Anthropic.Message>
): Said => {
  const given: Anthropic.MessageCreateParamsNonStreaming = { ...messages(ask), tools: messageTools }
  for (;;) {
    const message = await answer(given)
    const calls = message.content.filter((block) => block.type === "tool_use")
    if (calls.length === 0) return textOf(message)
    given.messages.push(
      { role: "assistant", content: message.content },
      {
        role: "user",
        content: calls.map(({ id, input }) => ({ type: "tool_result", tool_use_id: id, content: readFile(input) }))
      }
    )
  }
}

const anthropicMessages: SdkCase = {
  name: "Anthropic SDK, messages",
  client: "anthropic-sdk",
  dialect: "anthropic-messages",
  stream: async (ask) =>
    joined(
      await anthropicSdk(ask).messages.create({ ...messages(ask), stream: true }, options(ask)),
      (event) => (event.type === "content_block_delta" && event.delta.type === "text_delta" ? event.delta.text : null),
      ask
    ),
  whole: async (ask) => textOf(await anthropicSdk(ask).messages.create(messages(ask), options(ask))),
  tools: (ask) => messagesLoop(ask, (given) => anthropicSdk(ask).messages.create(given))
}

const anthropicMessagesHelper: SdkCase = {
  ...anthropicMessages,
  name: "Anthropic SDK, messages.stream",
  stream: async (ask) => {
    const stream = anthropicSdk(ask).messages.stream(messages(ask), options(ask))
    stream.on("text", () => ask.onText?.())
    return textOf(await stream.finalMessage())
  },
  tools: (ask) => messagesLoop(ask, (given) => anthropicSdk(ask).messages.stream(given).finalMessage())
}

/** The Vercel AI SDK with one of its providers. */
const aiSdk = (name: string, dialect: DialectName, modelOf: (ask: Ask) => LanguageModel): SdkCase => {
  const given = (ask: Ask) => ({
    model: modelOf(ask),
    prompt: ask.prompt,
    maxRetries: ask.retries ?? 0,
    maxOutputTokens: 1_000,
    ...(ask.signal === undefined ? {} : { abortSignal: ask.signal })
  })
  const read_file = tool({
    description,
    inputSchema: jsonSchema<{ readonly path: string }>(parameters),
    execute: async (args) => readFile(args)
  })
  const tooled = (ask: Ask) => ({ ...given(ask), tools: { read_file }, stopWhen: isStepCount(3) })
  const read = async (ask: Ask, result: ReturnType<typeof streamText>): Said => {
    let text = ""
    for await (const part of result.fullStream) {
      if (part.type === "error") throw part.error
      if (part.type === "abort") throw new DOMException("aborted", "AbortError")
      if (part.type !== "text-delta") continue
      text += part.text
      ask.onText?.()
    }
    return text
  }
  return {
    name: `AI SDK, ${name}`,
    client: "ai-sdk",
    dialect,
    stream: (ask) => read(ask, streamText({ ...given(ask), onError: () => {} })),
    whole: async (ask) => (await generateText(given(ask))).text,
    tools: async (ask) => await streamText(tooled(ask)).text
  }
}

/** All of them. */
export const sdkCases: ReadonlyArray<SdkCase> = [
  openAiChat,
  openAiChatHelper,
  openAiResponses,
  openAiResponsesHelper,
  anthropicMessages,
  anthropicMessagesHelper,
  aiSdk("openai.chat", "openai-chat", ({ url, key, model, fetch }) =>
    createOpenAI({ baseURL: `${url}/openai/v1`, apiKey: key, fetch }).chat(model)
  ),
  aiSdk("openai.responses", "openai-responses", ({ url, key, model, fetch }) =>
    createOpenAI({ baseURL: `${url}/openai/v1`, apiKey: key, fetch }).responses(model)
  ),
  aiSdk("openai-compatible", "openai-chat", ({ url, key, model, fetch }) =>
    createOpenAICompatible({ name: "gateway", baseURL: `${url}/compatible/v1`, apiKey: key, fetch }).chatModel(model)
  ),
  aiSdk("anthropic", "anthropic-messages", ({ url, key, model, fetch }) =>
    createAnthropic({ baseURL: `${url}/anthropic/v1`, apiKey: key, fetch })(model)
  )
]
