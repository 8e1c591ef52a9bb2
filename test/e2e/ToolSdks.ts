import { createAnthropic } from "@ai-sdk/anthropic"
import { createOpenAI } from "@ai-sdk/openai"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import Anthropic from "@anthropic-ai/sdk"
import {
  generateText,
  isStepCount,
  jsonSchema,
  type LanguageModel,
  type ModelMessage,
  type StepResult,
  streamText,
  type Tool,
  tool
} from "ai"
import OpenAI from "openai"
import type { DialectName } from "../clients/ModelAnswer.ts"
import { readFile, readFileTool } from "../clients/ReadFile.ts"

/** What an SDK is asked to do: it has a tool, `read_file`, runs it where it is called, and sends what that says. */
export interface Ask {
  /** The gateway's address. */
  readonly url: string
  /** What the user says, one behind the other, each when the model has answered. */
  readonly prompts: ReadonlyArray<string>
  readonly fetch: typeof fetch
  readonly stream: boolean
}

/** One answer as an SDK puts it together. */
export interface Shown {
  readonly id: string
  readonly text: string
  readonly calls: ReadonlyArray<{ readonly name: string; readonly arguments: unknown }>
  /** Whether it ended on its calls. */
  readonly stoppedOnCalls: boolean
  /** `input` is all of it, what was read from a cache as well. */
  readonly usage: { readonly input: number; readonly output: number }
}

/** An SDK that keeps a conversation going until the model calls no tool any more. */
export interface ToolSdk {
  readonly name: string
  readonly dialect: DialectName
  /** Whether it sends references to texts of the model's, which the upstream keeps, and not the texts. */
  readonly refers?: boolean
  /** Its answers, one for each request. */
  readonly talk: (ask: Ask) => Promise<ReadonlyArray<Shown>>
}

const apiKey = "sk-test-0123456789abcdefghij"

const model = "test-model"

const { description, parameters } = readFileTool

const openAi = ({ url, fetch }: Ask) => new OpenAI({ baseURL: `${url}/openai/v1`, apiKey, fetch, maxRetries: 0 })

const completionShown = ({ choices, id, usage }: OpenAI.ChatCompletion): Shown => {
  const { finish_reason, message } = choices[0]!
  return {
    id,
    text: message.content ?? "",
    calls: (message.tool_calls ?? []).map((call) =>
      call.type === "function"
        ? { name: call.function.name, arguments: JSON.parse(call.function.arguments) as unknown }
        : { name: call.custom.name, arguments: call.custom.input }
    ),
    stoppedOnCalls: finish_reason === "tool_calls",
    usage: { input: usage?.prompt_tokens ?? 0, output: usage?.completion_tokens ?? 0 }
  }
}

const openAiChat: ToolSdk = {
  name: "OpenAI SDK, chat.completions.stream",
  dialect: "openai-chat",
  talk: async (ask) => {
    const { completions } = openAi(ask).chat
    const messages: Array<OpenAI.ChatCompletionMessageParam> = []
    const all: Array<Shown> = []
    const prompts = [...ask.prompts]
    for (;;) {
      if (messages.at(-1)?.role !== "tool") {
        const content = prompts.shift()
        if (content === undefined) return all
        messages.push({ role: "user", content })
      }
      const given = { model, messages, tools: [{ type: "function" as const, function: readFileTool }] }
      const completion: OpenAI.ChatCompletion = ask.stream
        ? await completions.stream({ ...given, stream_options: { include_usage: true } }).finalChatCompletion()
        : await completions.create(given)
      all.push(completionShown(completion))
      const { message } = completion.choices[0]!
      messages.push(message)
      for (const call of message.tool_calls ?? []) {
        if (call.type !== "function") continue
        messages.push({ role: "tool", tool_call_id: call.id, content: readFile(JSON.parse(call.function.arguments)) })
      }
    }
  }
}

const openAiChatRunner: ToolSdk = {
  name: "OpenAI SDK, chat.completions.runTools",
  dialect: "openai-chat",
  talk: async (ask) => {
    const { completions } = openAi(ask).chat
    const messages: Array<OpenAI.ChatCompletionMessageParam> = []
    const all: Array<Shown> = []
    const tools = [{ type: "function" as const, function: { ...readFileTool, parse: JSON.parse, function: readFile } }]
    for (const content of ask.prompts) {
      const given = { model, messages: [...messages, { role: "user" as const, content }], tools }
      const runner = ask.stream
        ? completions.runTools({ ...given, stream: true, stream_options: { include_usage: true } })
        : completions.runTools(given)
      await runner.done()
      messages.splice(0, messages.length, ...runner.messages)
      all.push(...runner.allChatCompletions().map(completionShown))
    }
    return all
  }
}

const openAiResponses: ToolSdk = {
  name: "OpenAI SDK, responses.stream",
  dialect: "openai-responses",
  talk: async (ask) => {
    const { responses } = openAi(ask)
    const input: Array<OpenAI.Responses.ResponseInputItem> = []
    const prompts = [...ask.prompts]
    const tools: Array<OpenAI.Responses.FunctionTool> = [{ type: "function", ...readFileTool, strict: true }]
    const all: Array<Shown> = []
    for (;;) {
      if (input.at(-1)?.type !== "function_call_output") {
        const content = prompts.shift()
        if (content === undefined) return all
        input.push({ role: "user", content })
      }
      const given = { model, store: false, input, tools }
      const response: OpenAI.Responses.Response = ask.stream
        ? await responses.stream(given).finalResponse()
        : await responses.create(given)
      const calls = response.output.filter((item) => item.type === "function_call")
      all.push({
        id: response.id,
        text: response.output_text,
        calls: calls.map(({ arguments: args, name }) => ({ name, arguments: JSON.parse(args) as unknown })),
        stoppedOnCalls: calls.length > 0,
        usage: { input: response.usage?.input_tokens ?? 0, output: response.usage?.output_tokens ?? 0 }
      })
      input.push(
        ...(response.output as Array<OpenAI.Responses.ResponseInputItem>),
        ...calls.map(({ arguments: args, call_id }) => ({
          type: "function_call_output" as const,
          call_id,
          output: readFile(JSON.parse(args))
        }))
      )
    }
  }
}

const anthropicMessages: ToolSdk = {
  name: "Anthropic SDK, messages.stream",
  dialect: "anthropic-messages",
  talk: async (ask) => {
    const { messages } = new Anthropic({ baseURL: `${ask.url}/anthropic`, apiKey, fetch: ask.fetch, maxRetries: 0 })
    const said: Array<Anthropic.MessageParam> = []
    const prompts = [...ask.prompts]
    const tools: Array<Anthropic.Tool> = [{ name: readFileTool.name, description, input_schema: parameters }]
    const all: Array<Shown> = []
    for (;;) {
      if (said.at(-1)?.role !== "user") {
        const content = prompts.shift()
        if (content === undefined) return all
        said.push({ role: "user", content })
      }
      const given = { model, max_tokens: 1_000, messages: said, tools }
      const message = ask.stream ? await messages.stream(given).finalMessage() : await messages.create(given)
      const { content, id, stop_reason, usage } = message
      const calls = content.filter((block) => block.type === "tool_use")
      all.push({
        id,
        text: content.map((block) => (block.type === "text" ? block.text : "")).join(""),
        calls: calls.map(({ input, name }) => ({ name, arguments: input })),
        stoppedOnCalls: stop_reason === "tool_use",
        usage: { input: usage.input_tokens + (usage.cache_read_input_tokens ?? 0), output: usage.output_tokens }
      })
      said.push({ role: "assistant", content })
      if (calls.length === 0) continue
      said.push({
        role: "user",
        content: calls.map(({ id: tool_use_id, input }) => ({
          type: "tool_result",
          tool_use_id,
          content: readFile(input)
        }))
      })
    }
  }
}

const stepShown = (step: StepResult<{ read_file: Tool<{ readonly path: string }, string> }>): Shown => ({
  id: step.response.id,
  text: step.text,
  calls: step.toolCalls.map(({ input, toolName }) => ({ name: toolName, arguments: input })),
  stoppedOnCalls: step.finishReason === "tool-calls",
  usage: { input: step.usage.inputTokens ?? 0, output: step.usage.outputTokens ?? 0 }
})

/** The Vercel AI SDK with one of its providers. */
const aiSdk = (name: string, dialect: DialectName, modelOf: (ask: Ask) => LanguageModel): ToolSdk => {
  const read_file = tool({
    description,
    inputSchema: jsonSchema<{ readonly path: string }>(parameters),
    execute: async (args) => readFile(args)
  })
  return {
    name: `AI SDK, ${name}`,
    dialect,
    talk: async (ask) => {
      const given = {
        model: modelOf(ask),
        maxRetries: 0,
        maxOutputTokens: 1_000,
        tools: { read_file },
        stopWhen: isStepCount(5)
      }
      const messages: Array<ModelMessage> = []
      const answer = async () => {
        if (!ask.stream) return generateText({ ...given, messages })
        const result = streamText({ ...given, messages, onError: () => {} })
        for await (const part of result.fullStream) if (part.type === "error") throw part.error
        return { steps: await result.steps, responseMessages: await result.responseMessages }
      }
      const all: Array<Shown> = []
      for (const content of ask.prompts) {
        messages.push({ role: "user", content })
        const { responseMessages, steps } = await answer()
        messages.push(...responseMessages)
        all.push(...steps.map(stepShown))
      }
      return all
    }
  }
}

/** Each of the official SDKs by the way that puts streams together. */
export const toolSdks: ReadonlyArray<ToolSdk> = [
  openAiChat,
  openAiChatRunner,
  openAiResponses,
  anthropicMessages,
  aiSdk("openai.chat", "openai-chat", ({ url, fetch }) =>
    createOpenAI({ baseURL: `${url}/openai/v1`, apiKey, fetch }).chat(model)
  ),
  {
    ...aiSdk("openai.responses", "openai-responses", ({ url, fetch }) =>
      createOpenAI({ baseURL: `${url}/openai/v1`, apiKey, fetch }).responses(model)
    ),
    refers: true
  },
  aiSdk("openai-compatible", "openai-chat", ({ url, fetch }) =>
    createOpenAICompatible({
      name: "gateway",
      baseURL: `${url}/compatible/v1`,
      apiKey,
      fetch,
      includeUsage: true
    }).chatModel(model)
  ),
  aiSdk("anthropic", "anthropic-messages", ({ url, fetch }) =>
    createAnthropic({ baseURL: `${url}/anthropic/v1`, apiKey, fetch })(model)
  )
]
