import type { Interception, Prompt, Thought, ToolCall, Turn, Usage } from "../../src/recorder/Records.ts"

/** 2023-11-14T22:13:20.000Z */
export const start = 1_700_000_000_000

export const interception = (id: string, change: Partial<Interception> = {}): Interception => ({
  id,
  actor: "anonymous",
  provider: "openai",
  providerType: "openai",
  requestedModel: "fast",
  servedModel: null,
  dialect: "openai-chat",
  transport: "sse",
  client: "codex",
  sessionId: null,
  parentId: null,
  userAgent: "codex/1.0",
  credentialKind: "central",
  credentialHint: "sk-a…wxyz",
  startedAt: start,
  endedAt: null,
  status: null,
  error: null,
  ...change
})

export const turn = (interceptionId: string, index = 0, change: Partial<Turn> = {}): Turn => ({
  id: `${interceptionId}-t${index}`,
  interceptionId,
  index,
  startedAt: start + 1,
  endedAt: start + 100,
  transport: "sse",
  upstreamResponseId: `chatcmpl-${interceptionId}-${index}`,
  servedModel: "gpt-4.1-mini-2025-04-14",
  httpStatus: 200,
  status: "completed",
  finishReason: "stop",
  error: null,
  timeToFirstFrameMs: 12.5,
  durationMs: 99,
  attempts: 1,
  framesIn: 100,
  framesOut: 100,
  lane: null,
  closeCode: null,
  closeReason: null,
  ...change
})

export const prompt = (interceptionId: string, text = "Wie spät ist es? 🕐"): Prompt => ({
  interceptionId,
  turnId: `${interceptionId}-t0`,
  text
})

export const usage = (interceptionId: string, index = 0, change: Partial<Usage> = {}): Usage => ({
  interceptionId,
  turnId: `${interceptionId}-t${index}`,
  input: 10,
  output: 20,
  cacheRead: 5,
  cacheWrite: null,
  reasoning: 3,
  other: { web_search_requests: 1 },
  provenance: "provider",
  raw: '{"prompt_tokens":15,"completion_tokens":20}',
  cost: null,
  currency: null,
  priceVersion: null,
  ...change
})

export const toolCall = (interceptionId: string, callId: string, change: Partial<ToolCall> = {}): ToolCall => ({
  interceptionId,
  turnId: `${interceptionId}-t0`,
  callId,
  name: "get_time",
  arguments: '{"zone":"UTC"}',
  injected: false,
  serverUrl: null,
  error: null,
  durationMs: null,
  ...change
})

export const thought = (interceptionId: string, text: string): Thought => ({
  interceptionId,
  turnId: `${interceptionId}-t0`,
  text,
  source: "thinking"
})

export const close = (id: string) => ({
  id,
  endedAt: start + 200,
  status: "completed" as const,
  error: null,
  servedModel: "gpt-4.1-mini-2025-04-14"
})

/** All that is recorded of a plain call but its opening. */
export const settlement = (id: string) => ({
  turns: [turn(id)],
  prompts: [prompt(id)],
  usage: [usage(id)],
  closes: [close(id)]
})
